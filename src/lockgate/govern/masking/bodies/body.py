"""Which mask a body gets, by what its sender says that it is.

Apart from the shapes themselves, a file for each. What is not known by its type is running text if it is called text, and
otherwise nothing that can be looked into: None, and the caller's settings decide whether such a body passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lockgate.govern.masking.bodies.json_body import JsonBody
from lockgate.govern.masking.bodies.terms import BodyMask, BodyTerms
from lockgate.govern.masking.bodies.text_body import TextBody, TextSearch
from lockgate.govern.masking.bodies.values import Values

_JSON: Final = frozenset((b"application/json", b"text/json", b"application/x-json"))
_LINES: Final = frozenset((
    b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/jsonlines",
    b"application/x-jsonlines", b"application/json-seq", b"text/x-ndjson", b"application/stream+json",
))
_TEXTS: Final = frozenset((
    b"application/javascript", b"application/x-javascript", b"application/ecmascript", b"application/graphql",
    b"application/yaml", b"application/x-yaml", b"application/toml", b"application/sql", b"application/x-sh",
))
_UTF8: Final = frozenset((b"", b"utf-8", b"utf8", b"us-ascii", b"ascii"))
_ASCII_LIKE: Final = (b"iso-8859-", b"iso8859-", b"latin", b"windows-125", b"cp125", b"koi8-")


def body_mask(
    terms: BodyTerms, media_type: bytes, charset: bytes = b"", parameters: Mapping[bytes, bytes] | None = None
) -> BodyMask | None:
    """The mask for a body, or None for one that nothing can look into (images, archives …).

    `media_type` in small letters and without parameters, `charset` and `parameters` as Content-Type has them. ValueError
    for a character encoding in which the shape cannot be read.
    """
    values = Values(terms)
    charset = charset.strip(b'" ').lower()
    if media_type in _LINES or media_type in _JSON or media_type.endswith(b"+json"):
        _require(charset in _UTF8)
        return JsonBody(values, terms.limit, many=media_type in _LINES)
    if media_type.startswith(b"text/") or media_type in _TEXTS:
        _require_text(charset)
        return TextBody(values, terms.limit)
    return None


def mask_text(terms: BodyTerms, text: bytes) -> tuple[bytes, dict[str, int]]:
    """A header's value, a URL or the text of an error page with its finds hidden, and what was hidden."""
    values = Values(terms)
    search = TextSearch(values, max(terms.limit, len(text)))
    return search.feed(text) + search.finish(), values.masked


def _require_text(charset: bytes) -> None:
    _require(charset in _UTF8 or charset.startswith(_ASCII_LIKE))


def _require(is_known: bool) -> None:
    if not is_known:
        raise ValueError("the body is in a character encoding that is not looked into")
