"""What a recording holds once it is decrypted: JSON lines, and bytes behind those that announce some.

    {"v":1,"kind":"sql","protocol":"postgres","sid":…,"stream":"client","begun":<Unix milliseconds>}
    {"t":0.004182,"k":"i","n":31}      and 31 bytes, and a newline
    {"t":0.004182,"k":"i","x":3,"p":"m","n":31}    the same, of exchange 3, of which this is part ``m``
    {"t":0.113,"k":"w","columns":80,"rows":24}

`t` is seconds since the session began. `i` are bytes that came from the client, `o` bytes that went to it; in the stream
of the backend's end, bytes that went there and came from there. `w` is a terminal's size, `x` the end of a recording
that was cut, with its reason. Exchanges that run at the same time in one session have numbers, and their pieces have parts
as the protocol calls them (`wire.tap`). Bytes are not written as base64 or with escapes: bulk results are recorded while they
pass, and either would cost more than compressing and encrypting them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from lockgate.errors import AuditError

FORMAT: Final = 1
INPUT: Final = "i"
OUTPUT: Final = "o"
WINDOW: Final = "w"
CUT: Final = "x"
_LINE: Final = 4_096                # bytes of the longest line
BYTES_LIMIT: Final = 1 << 20
"""Bytes behind one line."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is recorded. `kind` is ``sql``, ``terminal`` or ``exchanges``, `begun` Unix milliseconds, `stream` ``client`` or ``backend``."""

    kind: str
    protocol: str
    sid: str
    stream: str
    begun: int


class Tag(NamedTuple):
    """Where bytes belong in a stream that holds exchanges: number, part, and whether more of the same part may follow (so
    that what is torn apart between the two is one thing)."""

    exchange: int
    part: str
    more: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `at` seconds since the session began, its kind, its bytes, and whatever else its line holds."""

    at: float
    kind: str
    data: bytes = b""
    fields: Mapping[str, Any] = field(default_factory=dict)


def header_line(header: Header) -> bytes:
    """The first line."""
    return orjson.dumps({
        "v": FORMAT, "kind": header.kind, "protocol": header.protocol, "sid": header.sid, "stream": header.stream,
        "begun": header.begun,
    }) + b"\n"


def bytes_line(at: float, kind: str, size: int, tag: Tag | None = None) -> bytes:
    """The line in front of `size` bytes, which a newline follows."""
    if tag is None:
        return b'{"t":%.6f,"k":"%b","n":%d}\n' % (at, kind.encode(), size)
    return b'{"t":%.6f,"k":"%b","x":%d,"p":"%b","n":%d}\n' % (at, kind.encode(), tag.exchange, tag.part.encode(), size)


def fields_line(at: float, kind: str, fields: Mapping[str, Any]) -> bytes:
    """An event without bytes."""
    return orjson.dumps({"t": round(at, 6), "k": kind, **fields}) + b"\n"


class EventReader:
    """Plaintext, in pieces of any size → the header, then events. Raises `AuditError` for what is none of this format."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events that are whole now."""
        data = self._rest + data
        position, found = 0, []
        while (stop := data.find(b"\n", position)) >= 0:
            if stop - position > _LINE:
                raise _broken()
            line = _object(data[position:stop])
            if self.header is None:
                self.header = _header(line)
                position = stop + 1
                continue
            size = line.pop("n", None)
            if size is None:
                found.append(_event(line, b""))
                position = stop + 1
                continue
            if type(size) is not int or not 0 <= size <= BYTES_LIMIT:
                raise _broken()
            end = stop + 1 + size
            if end >= len(data):
                break
            if data[end] != 0x0A:
                raise _broken()
            found.append(_event(line, data[stop + 1:end]))
            position = end + 1
        self._rest = data[position:]
        if len(self._rest) > BYTES_LIMIT + _LINE + 1 or (b"\n" not in self._rest and len(self._rest) > _LINE):
            raise _broken()
        return found


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise _broken() from None
    if type(found) is not dict:
        raise _broken()
    return found


def _header(line: Mapping[str, Any]) -> Header:
    if line.get("v") != FORMAT:
        raise AuditError("the recording is of another version", advice="use the version of Lockgate that wrote it, or newer")
    try:
        header = Header(line["kind"], line["protocol"], line["sid"], line["stream"], line["begun"])
    except KeyError:
        raise _broken() from None
    if not all(isinstance(text, str) for text in (header.kind, header.protocol, header.sid, header.stream)) \
            or type(header.begun) is not int:
        raise _broken()
    return header


def _event(line: dict[str, Any], data: bytes) -> Event:
    at, kind = line.pop("t", None), line.pop("k", None)
    if not isinstance(at, (int, float)) or not isinstance(kind, str):
        raise _broken()
    return Event(float(at), kind, data, line)


def _broken() -> AuditError:
    return AuditError("the recording holds what no recording holds", advice="run `lockgate audit verify`")
