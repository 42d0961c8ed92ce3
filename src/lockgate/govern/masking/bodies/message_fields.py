"""Fields of messages (headers and trailers): values under names, of which most hold nothing of anybody.

Apart from `members`, whose texts are data and nothing else. Here a value may be a URL or a cookie, with parameters of its own
and percent signs:

1. a field that a mask names is hidden as a whole: `ssn`, `X-SSN`; `customer_id` names `X-Customer-Id` too;
2. so is a parameter in the query or fragment of a URL, a cookie, and in fields that no standard knows whatever looks like
   `name=value`;
3. a field, a parameter or a cookie that is a JSON document, with percent signs or without, is masked as one;
4. detectors search the value as it is written and with its escapes undone.

Fields of the protocol itself are never hidden by their own name, since `customers.*` does not mean `Content-Type`; nor are
the parameters that they have by their standards. A field whose own name holds a find (`telling_names`) is for the caller to
leave out: no other name could stand for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from lockgate.govern.masking.bodies.json_body import JsonBody
from lockgate.govern.masking.bodies.members import Members
from lockgate.govern.masking.bodies.selection import Selection, selection
from lockgate.govern.masking.bodies.shown import ShownValues, looks_of
from lockgate.govern.masking.bodies.terms import BodyTerms
from lockgate.govern.masking.bodies.values import Values
from lockgate.govern.masking.detector import REDACTED
from lockgate.model import DetectMask

Named = tuple[bytes, bytes]
"""A field: its name in small letters, and its value."""

_OF_THE_PROTOCOL: Final = frozenset((                # RFC 9110, 9111 and their kin
    b"accept-ch", b"accept-patch", b"accept-post", b"accept-ranges", b"age", b"allow", b"alt-svc", b"cache-control", b"connection",
    b"content-disposition", b"content-encoding", b"content-language", b"content-length", b"content-location", b"content-range",
    b"content-security-policy", b"content-security-policy-report-only", b"content-type", b"cross-origin-embedder-policy",
    b"cross-origin-opener-policy", b"cross-origin-resource-policy", b"date", b"etag", b"expires", b"last-modified", b"link",
    b"location", b"permissions-policy", b"pragma", b"preference-applied", b"proxy-authenticate", b"referrer-policy", b"refresh",
    b"retry-after", b"server", b"server-timing", b"set-cookie", b"strict-transport-security", b"trailer", b"transfer-encoding",
    b"vary", b"via", b"warning", b"www-authenticate", b"x-content-type-options", b"x-frame-options", b"x-xss-protection",
))
_CORS: Final = b"access-control-"
_WITH_PARAMETERS: Final = frozenset((b"content-type", b"content-disposition", b"www-authenticate", b"proxy-authenticate"))
"""Fields of the protocol that are lists of parameters, which nobody keeps to those of the standard."""
_STANDARD: Final = frozenset((                      # RFC 2046, 6266, 6750, 7578, 7616, 9110 and 9728
    b"algorithm", b"boundary", b"charset", b"domain", b"error", b"error_description", b"error_uri", b"header", b"max_age", b"name",
    b"nonce", b"opaque", b"profile", b"q", b"qop", b"realm", b"resource_metadata", b"scope", b"stale", b"start", b"type",
    b"userhash",
))
_IN_URLS: Final = re.compile(rb"([?&;#])([^=&?;#\s<>\",]{1,256})=([^&;#\s<>\",]*)")
_ANYWHERE: Final = re.compile(rb"(^|[?&;#,\s{(])([^=&?;#\s<>\",]{1,256})=(\"[^\"]*\"|[^&;#\s<>\",]*)")
_PARAMETERS: Final = re.compile(
    rb"(^|[;,\s])((?!(?:" + b"|".join(sorted(_STANDARD)) + rb")\s*=)[^=;,\s\"]{1,256})\s*=\s*(\"(?:[^\"\\]|\\.)*(?:\"|$)|[^;,\s]*)",
    re.IGNORECASE)
_COOKIE: Final = re.compile(rb"(^)([^=;]{1,256})=([^;]*)")
_EXTENDED: Final = re.compile(rb"[A-Za-z0-9!#$%&+^_`{}~-]+'[A-Za-z0-9-]*'")
"""What stands before the text of a parameter whose name ends with `*` (RFC 8187 section 3.2)."""
_BREAKS: Final = bytes.maketrans(b"&?;,#<>\"({\0\t", b" " * 12)
_OPENING: Final = re.compile(rb"[{\[]|%(?:25)*(?:7b|5b)", re.IGNORECASE)
"""What may begin a document somewhere in fields."""
_DOCUMENT: Final = re.compile(rb"[ \t]*(?:j:)?(?=[{\[])")
"""What stands before one that is all of a value; `j:` is Express's."""
_PIECE: Final = re.compile(rb"[^\s/?&;=#,<>\"']+")
_MOST_NAMES: Final = 1_024


def mask_fields(terms: BodyTerms, fields: Sequence[Named]) -> tuple[list[bytes] | None, dict[str, int]]:
    """The values that may be shown, in their order, and what was hidden in them; None where they are what they were, as they
    mostly are: one search over all of them tells whether there can be anything.
    """
    row = b"\0".join([value for _, value in fields])
    if not _may_be_found(terms, row) and not (terms.masks and _is_named(terms, fields, row)):
        return None, {}
    values = ShownValues(terms)
    members = Members(values)
    return [_shown(members, name, value) for name, value in fields], values.masked


@lru_cache(maxsize=_MOST_NAMES)
def telling_names(detects: tuple[DetectMask, ...], names: tuple[bytes, ...]) -> tuple[frozenset[int], tuple[tuple[str, int], ...]]:
    """Which of these names of fields, as they are written, hold something that detectors find, and how often which. Kept:
    a backend sends the same ones again and again.
    """
    if looks_of(detects) is None:
        return frozenset(), ()
    values = ShownValues(BodyTerms(detects=detects))
    found = frozenset(at for at, name in enumerate(names) if values.text(name) != name or (
        _is_escaped(name) and values.text(_plain(name)) != _plain(name)))
    return found, tuple(values.masked.items())


def _may_be_found(terms: BodyTerms, row: bytes) -> bool:
    looks = looks_of(terms.detects)
    if looks is None:
        return False
    return looks.text.search(row) is not None or (_is_escaped(row) and looks.text.search(_plain(row)) is not None)


def _is_named(terms: BodyTerms, fields: Sequence[Named], row: bytes) -> bool:
    """Whether a mask may name a field, or something in one."""
    if _OPENING.search(row) is not None:
        return True
    chosen = selection(terms.masks, terms.place, (), terms.renamed)
    if _any_hidden(chosen, tuple([name for name, _ in fields])):
        return True
    return any(_hides_parameter(chosen, name) >= 0 for name in _before_values(row))


def _before_values(row: bytes) -> Iterator[bytes]:
    """What stands before an equal sign, back to what could not be of a name."""
    for piece in row.translate(_BREAKS).split(b"=")[:-1]:
        piece = piece.rstrip()          # RFC 9110 section 11.2 lets space stand before the equal sign
        yield piece[piece.rfind(b" ") + 1:]


@lru_cache(maxsize=_MOST_NAMES)
def _any_hidden(chosen: Selection, names: tuple[bytes, ...]) -> bool:
    return any(_hides(chosen, name) >= 0 for name in names)


@lru_cache(maxsize=_MOST_NAMES)
def _pattern(name: bytes) -> re.Pattern[bytes]:
    if name == b"set-cookie":
        return _COOKIE
    if name in _WITH_PARAMETERS:
        return _PARAMETERS
    return _IN_URLS if name in _OF_THE_PROTOCOL or name.startswith(_CORS) else _ANYWHERE


@lru_cache(maxsize=_MOST_NAMES)
def _hides(chosen: Selection, name: bytes) -> int:
    """What hides a field of this name, -1 for nothing."""
    if name in _OF_THE_PROTOCOL or name.startswith(_CORS):
        return -1
    bare = name.removeprefix(b"x-")
    return _hidden_by(chosen, dict.fromkeys((name, bare, bare.replace(b"-", b"_"))))


@lru_cache(maxsize=_MOST_NAMES)
def _hides_parameter(chosen: Selection, name: bytes) -> int:
    plain = _plain(name).strip()
    return _hidden_by(chosen, dict.fromkeys((plain, plain.removesuffix(b"*"))))


def _hidden_by(chosen: Selection, names: Sequence[bytes] | dict[bytes, None]) -> int:
    for name in names:
        at = chosen.hides_name(name.decode("utf-8", "replace"))
        if at >= 0:
            return at
    return -1


def _shown(members: Members, name: bytes, value: bytes) -> bytes:
    values = members.values
    at = _hides(values.selection, name)
    if at >= 0 and value:
        return _written(values.hidden_text(at, _latin(value)))
    found = _document(values, _latin(value))
    if found is not None:
        return _written(found)
    if b"=" in value and values.terms.masks:
        value = _pattern(name).sub(lambda found: _parameter(values, found), value)
    running = values.running()
    value = running.feed(value) + running.finish()
    if not _is_escaped(value) or not values.looks:
        return value
    value = _PIECE.sub(lambda found: _unescaped(values, found[0]), value)
    plain = _plain(value)
    return value if values.text(plain) == plain else REDACTED        # a find over several pieces


def _parameter(values: Values, found: re.Match[bytes]) -> bytes:
    at = _hides_parameter(values.selection, found[2])
    if at < 0:
        document = _document(values, _plain(found[3]))
        return found[0] if document is None else found[1] + found[2] + b"=" + quote(document, safe=b"").encode("ascii")
    if not found[3]:
        return found[0]
    is_quoted = found[3].startswith(b'"')
    before = _EXTENDED.match(found[3]) if found[2].endswith(b"*") else None
    if before is not None:
        new = values.hidden_text(at, _plain(found[3][before.end():]))
        return found[1] + found[2] + b"=UTF-8''" + quote(new, safe=b"").encode("ascii")
    new = values.hidden_text(at, found[3][1:-1] if is_quoted else _plain(found[3]))
    new = quote(new, safe=b"").encode("ascii")
    return found[1] + found[2] + b"=" + (b'"' + new + b'"' if is_quoted else new)


def _document(values: Values, text: bytes) -> bytes | None:
    """A JSON document behind its masks; None for another text, and where it stays what it is."""
    before, inner = _DOCUMENT.match(text), values.documents()
    if before is None or inner is None or not values.terms.masks:
        return None
    body = JsonBody(inner)
    try:
        new = body.feed(text[before.end():]) + body.finish()
    except ValueError:
        return None
    for name, count in inner.masked.items():
        values.masked[name] = values.masked.get(name, 0) + count
    return text[:before.end()] + new if inner.masked else None


def _unescaped(values: Values, piece: bytes) -> bytes:
    """A piece with percent signs, and what is found behind them hidden."""
    if not _is_escaped(piece):
        return piece
    plain = _plain(piece)
    new = values.text(plain)
    return piece if new == plain else quote(new, safe=b"").encode("ascii")


def _is_escaped(text: bytes) -> bool:
    return b"%" in text or b"+" in text


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _latin(value: bytes) -> bytes:
    """A value as UTF-8, in whatever its octets above ASCII were meant."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1").encode()
    return value


def _written(value: bytes) -> bytes:
    """A value in which nothing ends the field."""
    return re.sub(rb"[\x00-\x1f\x7f]", b" ", value).strip()
