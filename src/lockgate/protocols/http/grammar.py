"""The characters of HTTP/1: lines, fields, targets and hosts, as patterns with their sources.

Apart from `framing`, which says what well-formed fields mean together. Stricter than RFC 9110, 9112 and
3986 wherever two readers of the same bytes were ever found to differ; nothing is repaired, and nothing
here looks at a message's content. No pattern backtracks: each runs in time linear in what it reads.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

from lockgate.protocols.http.messages import Field, Fields, HeadLimits, MessageError

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"    # RFC 9110, 5.6.2
_TEXT: Final = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))          # RFC 9110, 5.5
_CONTROL: Final = "a line holds a control character, or ends with CR or LF alone"
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Z-]++) ([\x21-\x7e]++) HTTP/1\.([01])")
_FIELD_LINE = re.compile(rb"(?m:^)([!#$%&'*+.^_`|~0-9A-Za-z-]++):[ \t]*+([\t -~\x80-\xff]*+)\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*+))?")

REQUEST_OPENING: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Z-]")
"""How a request begins."""
STATUS_OPENING: Final = re.compile(rb"HTTP/1\.|(?:HTTP/1|HTTP/|HTTP|HTT|HT|H)\Z")
"""How a response begins, or what has come of it."""

# RFC 3986, 3.3 and 3.4, and of what it leaves out only what browsers send as it is: ^ ` { | }. No quote,
# no angle bracket, no fragment, and no backslash, which some servers take for a slash.
_PATH: Final = rb"/(?:[!$&-;=@-\[\]^-~]++|%(?:[2-6][0-9A-Fa-f]|7[0-9A-Ea-e]|[89A-Fa-f][0-9A-Fa-f]))*+"
_QUERY: Final = rb"(?:\?[!$-;=?-\[\]^-~]*+)?"
_ORIGIN_FORM = re.compile(_PATH + _QUERY)
_ABSOLUTE_FORM = re.compile(rb"(?i:(https?|wss?))://([^/?]++)((?:" + _PATH + rb")?+" + _QUERY + rb")")
_LONGEST_METHOD: Final = 32

_PORT = re.compile(rb"[1-9][0-9]{0,4}")
_LABELS = re.compile(rb"(?:[0-9A-Za-z_]++(?:-++[0-9A-Za-z_]++)*+\.)*+([0-9A-Za-z_]++(?:-++[0-9A-Za-z_]++)*+)")
_NUMBER = re.compile(rb"[0-9]+|0[xX][0-9A-Fa-f]*")
_DEFAULT_PORTS: Final = {b"http": 80, b"https": 443, b"ws": 80, b"wss": 443}


class Authority(NamedTuple):
    """A host and a port. `host` is in lower case, an IPv6 address in its shortest form in brackets."""

    host: bytes
    port: int | None
    """None where none is written."""


def is_token(raw: bytes) -> bool:
    """Whether this is a token (RFC 9110, 5.6.2)."""
    return bool(raw) and not raw.translate(None, _TOKEN)


def is_text(raw: bytes) -> bool:
    """Whether this may stand inside one line: no control but the tab."""
    return not raw.translate(None, _TEXT)


def verify_lines(part: bytes) -> None:
    """Raises MessageError where a part of a head, from the beginning of a line's end at the latest, holds a
    control byte, or a CR or LF that stands alone."""
    controls = part.translate(None, _TEXT)
    if len(controls) != 2 * part.count(b"\r\n") + part.endswith(b"\r"):
        raise MessageError(_CONTROL)


def read_fields(section: bytes, limits: HeadLimits) -> Fields:
    """The fields of a head or trailer section (RFC 9112, 5), each line with its end. Raises MessageError.

    One search finds them all. It begins at a line's beginning and ends at that line's end, so that there are as
    many finds as line ends exactly where every line is a field.
    """
    found = _FIELD_LINE.findall(section)
    if len(found) != section.count(b"\n"):
        raise _bad_field(section)
    if len(found) > limits.fields:
        raise MessageError("the message has too many fields", 431)
    if len(section) > limits.field and max(map(len, section.split(b"\r\n"))) > limits.field:
        raise MessageError("a field is too long", 431)
    # Of what `rstrip` takes away only spaces and tabs can be there. Field._make without its frame: heads have dozens.
    new = tuple.__new__
    return tuple([new(Field, (raw.lower(), value.rstrip(), raw)) for raw, value in found])


def _bad_field(section: bytes) -> MessageError:
    """What is wrong with the first line that is no field."""
    for line in section.removesuffix(b"\r\n").split(b"\r\n"):
        name, colon, _ = line.partition(b":")
        if not is_text(line):
            return MessageError(_CONTROL)
        if line[:1] in (b" ", b"\t"):
            return MessageError("a field goes on in another line, which is obsolete (RFC 9112, 5.2)")
        if not colon:
            return MessageError("a line of the head is no field: it has no colon")
        if not name:
            return MessageError("a field has no name")
        if name[-1:] in (b" ", b"\t"):
            return MessageError("there is white space before a field's colon (RFC 9112, 5.1)")
        if not is_token(name):
            break
    return MessageError("a field's name is no token (RFC 9110, 5.1)")


def read_request_line(line: bytes) -> tuple[bytes, bytes, int]:
    """(method, target, minor version) of a request line; the target's form is not looked at (RFC 9112, 3)."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad_request_line(line)
    method, target, minor = match.groups()
    if len(method) > _LONGEST_METHOD:
        raise MessageError("the method is longer than any that is known", 501)
    return method, target, minor[0] - 48


def _bad_request_line(line: bytes) -> MessageError:
    """What is wrong with a request line."""
    parts = line.split(b" ")
    if len(parts) == 3 and _VERSION.fullmatch(parts[2]) and parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return MessageError("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if len(parts) == 3 and is_token(parts[0]) and parts[0] != parts[0].upper():
        return MessageError("a method is written in capital letters")
    if len(parts) == 2:
        return MessageError("the request line has no version: HTTP/0.9 is not spoken here")
    return MessageError("the first line is no request line: method, target and version with one space between them")


def read_status_line(line: bytes) -> tuple[int, int, bytes]:
    """(minor version, status, reason) of a status line (RFC 9112, 4). The space before no reason may be missing,
    as it often is."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise MessageError("the first line is no status line of HTTP/1.0 or HTTP/1.1")
    minor, status, reason = match.groups()
    return minor[0] - 48, int(status), reason or b""


def verify_target(method: bytes, target: bytes, host: bytes) -> None:
    """Raises MessageError unless the target has a form that the method may have and agrees with the Host field
    (RFC 9112, 3.2)."""
    if method == b"CONNECT":
        _verify_connect(target, host)
    elif target[:1] == b"/":
        if not _ORIGIN_FORM.fullmatch(target):
            raise MessageError("the target holds a character or an escape that no path or query may hold")
        read_authority(host)
    elif target == b"*" and method == b"OPTIONS":
        read_authority(host)
    else:
        _verify_absolute(target, host)


def _verify_connect(target: bytes, host: bytes) -> None:
    """The authority form, with a port (RFC 9110, 9.3.6)."""
    wanted, named = read_authority(target), read_authority(host)
    if wanted.port is None:
        raise MessageError("CONNECT asks for a host without a port")
    if named.host != wanted.host or named.port not in (wanted.port, None):
        raise MessageError("CONNECT asks for another host than the Host field names")


def _verify_absolute(target: bytes, host: bytes) -> None:
    """The absolute form. RFC 9112 (3.2.2) has the Host field ignored there, which not everybody does: it must agree."""
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise MessageError("the target has none of the forms that this method may have")
    default = _DEFAULT_PORTS[match[1].lower()]
    wanted, named = read_authority(match[2]), read_authority(host)
    if wanted.host != named.host or (wanted.port or default) != (named.port or default):
        raise MessageError("the target names another host than the Host field")


@lru_cache(maxsize=1_024)
def read_authority(raw: bytes) -> Authority:
    """The host and port of a Host field or a target (RFC 3986, 3.2, without user information).

    A host is a name of letters, digits, `-` and `_` in labels of which none is empty, an IPv4 address of four
    decimal numbers, or an IPv6 address in brackets. Other spellings of addresses (127.1, 0x7f000001, a dot at
    the end) are refused: they name one host here and another there. Raises MessageError.
    """
    if raw[:1] == b"[":
        address, bracket, rest = raw[1:].partition(b"]")
        if not bracket or (rest and rest[:1] != b":"):
            raise MessageError("a host in brackets is no address")
        return Authority(b"[%b]" % _ipv6(address), _port(rest[1:]) if rest else None)
    host, colon, port = raw.partition(b":")
    match = _LABELS.fullmatch(host)
    if match is None or len(host) > 253 or max(map(len, host.split(b"."))) > 63:
        raise MessageError("a host is neither a name nor an address")
    if _NUMBER.fullmatch(match[1]):
        try:
            IPv4Address(host.decode("ascii"))
        except AddressValueError:
            raise MessageError("a host that ends in a number is no IPv4 address") from None
    return Authority(host.lower(), _port(port) if colon else None)


def _ipv6(raw: bytes) -> bytes:
    try:
        address = IPv6Address(raw.decode("latin-1"))
    except AddressValueError:
        raise MessageError("a host in brackets is no address") from None
    if address.scope_id is not None:
        raise MessageError("an address has a zone, which means something on one machine only")
    return address.compressed.encode()


def _port(raw: bytes) -> int:
    if not _PORT.fullmatch(raw) or int(raw) > 65_535:
        raise MessageError("a port is no number from 1 to 65535")
    return int(raw)
