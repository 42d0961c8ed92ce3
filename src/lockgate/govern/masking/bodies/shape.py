"""Which shape a body has, by what its sender says that it is.

Apart from the shapes themselves, a file for each. What is not known by its type is running text if it is called text, and
otherwise nothing that can be looked into: None, and the caller's settings decide whether such a body passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lockgate.govern.masking.bodies.csv_body import CsvBody
from lockgate.govern.masking.bodies.event_body import EventBody
from lockgate.govern.masking.bodies.form_body import FormBody
from lockgate.govern.masking.bodies.json_body import JsonBody
from lockgate.govern.masking.bodies.multipart_body import MultipartBody
from lockgate.govern.masking.bodies.script_body import ScriptBody
from lockgate.govern.masking.bodies.seeming_body import SeemingBody
from lockgate.govern.masking.bodies.terms import BodyMask
from lockgate.govern.masking.bodies.text_body import TextBody
from lockgate.govern.masking.bodies.values import Values
from lockgate.govern.masking.bodies.xml_body import XmlBody

_JSON: Final = frozenset((b"application/json", b"text/json", b"application/x-json"))
_LINES: Final = frozenset((
    b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/jsonlines",
    b"application/x-jsonlines", b"application/json-seq", b"text/x-ndjson", b"application/stream+json",
))
_SCRIPTS: Final = frozenset((
    b"application/javascript", b"application/x-javascript", b"application/ecmascript", b"text/javascript", b"text/ecmascript",
    b"text/x-javascript",
))
_TEXTS: Final = _SCRIPTS | frozenset((
    b"application/graphql",
    b"application/xhtml+xml",                       # its document type means nothing, as in HTML
    b"application/yaml", b"application/x-yaml", b"application/toml", b"application/sql", b"application/x-sh",
))
_XML: Final = frozenset((b"application/xml", b"text/xml"))
_TABLES: Final = frozenset((b"text/csv", b"text/tab-separated-values"))
_MAY_BE_JSON: Final = (FormBody, EventBody, CsvBody, TextBody)
"""Shapes that would take a document for words. XML and bodies in parts refuse one."""
_UTF8: Final = frozenset((b"", b"utf-8", b"utf8", b"us-ascii", b"ascii"))
_ASCII_LIKE: Final = (b"iso-8859-", b"iso8859-", b"latin", b"windows-125", b"cp125", b"koi8-")


def shape_for(
    values: Values, media_type: bytes, charset: bytes, parameters: Mapping[bytes, bytes], root: int = 0
) -> BodyMask | None:
    """The shape of a body. `media_type` in small letters and without parameters; `root` is the automaton's state for a
    document that stands there. ValueError for a character encoding in which it cannot be read, and where the type lacks
    a parameter.
    """
    found = _called(values, media_type, charset, parameters, root)
    document = values.documents() if isinstance(found, _MAY_BE_JSON) else None
    if found is None or document is None:
        return found
    if media_type in _SCRIPTS and values.terms.masks:
        found = ScriptBody(values.documents() or document, found, root)
    return SeemingBody(document, found, root)


def _called(
    values: Values, media_type: bytes, charset: bytes, parameters: Mapping[bytes, bytes], root: int
) -> BodyMask | None:
    """The shape of what the body is called."""
    charset = charset.strip(b'" ').lower()
    is_utf8 = charset in _UTF8
    if media_type in _LINES or media_type in _JSON or media_type.endswith(b"+json"):
        _require(is_utf8)
        return JsonBody(values, many=media_type in _LINES, root=root)
    if media_type == b"application/x-www-form-urlencoded":
        _require(is_utf8)
        return FormBody(values)
    if media_type == b"text/event-stream":
        _require(is_utf8)
        return EventBody(values)
    if media_type == b"multipart/byteranges":
        raise ValueError("parts of a body cannot be looked into without the rest")
    if media_type.startswith(b"multipart/"):
        return MultipartBody(values, parameters.get(b"boundary", b""), shape_for)
    if media_type in _XML or (media_type.endswith(b"+xml") and media_type not in _TEXTS):
        _require(is_utf8)
        return XmlBody(values)
    if media_type.startswith(b"text/") or media_type in _TEXTS:
        _require(is_utf8 or charset.startswith(_ASCII_LIKE))
        return _table(values, media_type, parameters) or TextBody(values)
    return None


def _table(values: Values, media_type: bytes, parameters: Mapping[bytes, bytes]) -> BodyMask | None:
    """A table, if it is one and masks may name its columns."""
    if media_type not in _TABLES or not values.terms.masks:
        return None
    if parameters.get(b"header", b"").strip(b'"').lower() == b"absent":
        raise ValueError("a table without names cannot be masked by them")
    return CsvBody(values, is_quoted=media_type == b"text/csv")


def _require(is_known: bool) -> None:
    if not is_known:
        raise ValueError("the body is in a character encoding that is not looked into")
