"""What the fields of a message say together: where its content ends and what concerns this connection alone.

Apart from `grammar`, which sees one line at a time. Two readers that disagree on a message's end let one
request hide another (request smuggling), so here is no rule of precedence: where RFC 9112 (6.3) says which
of two fields wins, the message is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from lockgate.protocols.http.grammar import is_token
from lockgate.protocols.http.messages import Fields, Framing, MessageError

_LENGTH = re.compile(rb"0|[1-9][0-9]*+")
LARGEST: Final = (1 << 53) - 1
"""Bytes: the largest length that every language's numbers hold exactly."""

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
"""The fields that say where content ends."""
_CONNECTION: Final = frozenset({
    # RFC 9110, 7.6.1, the fields of a proxy's own authentication (11.7), and RFC 7540's upgrade
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings",
    b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info",
})
_ROUTING: Final = frozenset({
    b"host", b"forwarded", b"via", b"x-real-ip", b"x-original-url", b"x-rewrite-url", b"x-http-method-override",
    b"x-http-method", b"x-method-override", b"max-forwards", b"expect", b"origin", b"referer", b"location",
})
_AUTHENTICATION: Final = frozenset({
    b"authorization", b"authentication-info", b"www-authenticate", b"cookie", b"set-cookie", b"x-api-key", b"api-key",
    b"x-amz-security-token",
})
_CONTENT: Final = frozenset({
    b"range", b"cache-control", b"pragma", b"age", b"date", b"expires", b"vary", b"retry-after",
})
_GUARDED: Final = FRAMING | _ROUTING | _AUTHENTICATION | _CONTENT
_GUARDED_PREFIXES: Final = (b"content-", b"x-forwarded-", b"if-", b"accept", b"access-control-", b"sec-", b"proxy-")
_DIGESTS: Final = frozenset({b"content-digest", b"content-md5"})     # made for trailers (RFC 9530)

# Several of these would be read differently by different readers; RFC 9110 gives none of them a list.
_ONCE_IN_REQUESTS: Final = (
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-range", b"authorization",
    b"proxy-authorization", b"expect", b"range", b"if-range", b"if-modified-since", b"if-unmodified-since", b"origin",
    b"max-forwards",
)
_ONCE_IN_RESPONSES: Final = (
    b"content-length", b"transfer-encoding", b"content-type", b"content-range", b"location", b"etag", b"last-modified",
)
_NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
_PLAIN: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_ODD = re.compile(rb"[^a-z0-9]")


def is_guarded(name: bytes) -> bool:
    """Whether the field frames, routes, authenticates, or says how content is to be read: neither a trailer
    section (RFC 9110, 6.5.1) nor a Connection field that removes it may change it."""
    return name in _GUARDED or (name.startswith(_GUARDED_PREFIXES) and name not in _DIGESTS)


def request_values(fields: Fields) -> dict[bytes, bytes]:
    """The values of a request's fields by name, the last of several. Raises MessageError where a field is there
    more often than it may be, or could be taken for another."""
    values = {name: value for name, value, _ in fields}
    if len(values) != len(fields):
        _verify_once(fields, _ONCE_IN_REQUESTS)
    _verify_names(values)
    if b"proxy" in values:
        # RFC 3875 makes it the environment's HTTP_PROXY (CVE-2016-5385); no standard knows such a field.
        raise MessageError("a field is named Proxy, which some servers take for their own configuration")
    return values


def response_values(fields: Fields) -> dict[bytes, bytes]:
    """The values of a response's fields, as `request_values`."""
    values = {name: value for name, value, _ in fields}
    if len(values) != len(fields):
        _verify_once(fields, _ONCE_IN_RESPONSES)
    _verify_names(values)
    return values


def _verify_once(fields: Fields, once: Iterable[bytes]) -> None:
    names = [field.name for field in fields]
    for name in once:
        if names.count(name) > 1:
            raise MessageError("a field that may stand once is there several times")


def _verify_names(names: Iterable[bytes]) -> None:
    """CGI and its heirs read `_` and other characters as `-` (RFC 3875, 4.1.18): Content_Length would be a second one."""
    if not b"".join(names).translate(None, _PLAIN):
        return
    for name in names:
        if name.translate(None, _PLAIN):
            plain = _ODD.sub(b"-", name)
            if is_guarded(plain) or is_guarded(plain.strip(b"-")) or plain.strip(b"-") in _CONNECTION:
                raise MessageError("a field's name would be taken for another one that frames, routes or authenticates")


def read_framing(values: Mapping[bytes, bytes], minor: int) -> tuple[Framing, int]:
    """(framing, length) as the fields say; NONE where they say nothing (RFC 9112, 6.1 to 6.3)."""
    coding, length = values.get(b"transfer-encoding"), values.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise MessageError("there are both Content-Length and Transfer-Encoding")
        if minor == 0:
            raise MessageError("HTTP/1.0 has no Transfer-Encoding")
        if coding.lower() != b"chunked":
            raise MessageError("a transfer coding is not chunked alone", 501 if is_token(coding) else 400)
        return Framing.CHUNKED, 0
    if length is None:
        return Framing.NONE, 0
    if not _LENGTH.fullmatch(length):
        raise MessageError("Content-Length is no number in decimal digits")
    if len(length) > 16 or int(length) > LARGEST:
        raise MessageError("Content-Length is beyond every limit", 413)
    return Framing.LENGTH, int(length)


def connection_options(values: Mapping[bytes, bytes], fields: Fields) -> frozenset[bytes]:
    """The options of all Connection fields in lower case (RFC 9110, 7.6.1). Raises MessageError for what is no list
    of tokens, and for one that would remove a field which the peer behind must see."""
    value = values.get(b"connection")
    if value is None:
        return _NO_OPTIONS
    if len(values) != len(fields):
        value = b",".join([field.value for field in fields if field.name == b"connection"])
    return _options(value)


@lru_cache(maxsize=256)
def _options(value: bytes) -> frozenset[bytes]:
    """The options of one Connection field, which are the same few in most messages."""
    options = frozenset([option.strip(b" \t") for option in value.lower().split(b",")])
    for name in options:
        if not is_token(name):
            raise MessageError("Connection holds what is no option")
        if is_guarded(name) and name not in _CONNECTION:
            raise MessageError("Connection names a field that is not for one connection alone")
    return options


def offered_upgrade(fields: Fields, options: frozenset[bytes], minor: int) -> bytes:
    """The one protocol of an Upgrade field that Connection names, in lower case; empty for none or several (RFC 9110, 7.8)."""
    if b"upgrade" not in options or minor == 0:
        return b""
    offers = [field.value.lower() for field in fields if field.name == b"upgrade"]
    name, slash, version = offers[0].partition(b"/") if len(offers) == 1 else (b"", b"", b"")
    return offers[0] if is_token(name) and (not slash or is_token(version)) else b""


def end_to_end(fields: Fields) -> Fields:
    """The fields that are for the peer behind: without Connection, what it names, and the others that concern one
    connection alone. Trailer stays, for trailers are forwarded; so does Content-Length. Raises MessageError where
    Connection names what must not be removed."""
    names = {field.name: field.value for field in fields}
    gone = _CONNECTION | connection_options(names, fields)
    return tuple([field for field in fields if field.name not in gone])


def verify_trailers(trailers: Fields) -> None:
    """Raises MessageError where a trailer frames, routes, authenticates or concerns the connection (RFC 9110, 6.5.1)."""
    for field in trailers:
        if is_guarded(field.name) or field.name in _CONNECTION or field.name == b"trailer":
            raise MessageError("a trailer holds a field that may stand in the head only")
    _verify_names([field.name for field in trailers])
