"""What a recorded session of HTTP holds: pieces of messages → requests and answers, by the number of their exchange.

Apart from `recording`, which makes the pieces: here they have passed, so nothing is refused, and what does not add up is shown
as it is. Exchanges may run at the same time (HTTP/2); each piece says which one it is of.
"""

from __future__ import annotations

import base64
import codecs
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from lockgate.audit.recording.events import CUT, INPUT, OUTPUT, Event
from lockgate.audit.recording.shown import Shown
from lockgate.protocols.http.recording import BYTES, CONTENT, END, HEAD, SOCKET, WHOLE, is_text
from lockgate.protocols.http.results import media_type
from lockgate.protocols.http.statuses import SWITCHING

REQUEST: Final = "request"
RESPONSE: Final = "response"
_SIDES: Final = {INPUT: REQUEST, OUTPUT: RESPONSE}
_SHOWN: Final = 256                         # bytes of what cannot be read that are shown
_DOES_NOT_ADD_UP: Final = (ValueError, IndexError, KeyError, TypeError)


@dataclass(slots=True)
class _Side:
    """One message of an exchange: how its content is read."""

    kind: bytes = b""
    text: codecs.IncrementalDecoder | None = None

    def content(self, data: bytes, *, is_last: bool) -> dict[str, str]:
        """Content as text, or in base64 where it is none."""
        if self.text is None:
            return {"base64": base64.b64encode(data).decode()} if data else {}
        text = self.text.decode(data, is_last)
        return {"text": text} if text else {}


@dataclass(slots=True)
class _Exchange:
    """`asked` is when its request came, None where there is none."""

    asked: float | None = None
    sides: dict[str, _Side] = field(default_factory=dict)


class HttpDecoder:
    """`wire.spec.Decoder`. Mutable."""

    def __init__(self) -> None:
        self._exchanges: dict[int, _Exchange] = {}

    def take(self, event: Event) -> list[Shown]:
        """What an event shows."""
        if event.kind == CUT:
            return [Shown(event.at, "cut", dict(event.fields))]
        number, part, side = event.fields.get("x"), event.fields.get("p"), _SIDES.get(event.kind)
        if side is None:
            return []
        if type(number) is not int or not isinstance(part, str):
            return [self._unreadable(event, 0)]
        try:
            return self._part(event, number, part, side)
        except _DOES_NOT_ADD_UP:
            return [self._unreadable(event, number)]

    def _part(self, event: Event, number: int, part: str, side: str) -> list[Shown]:
        exchange = self._exchanges.setdefault(number, _Exchange())
        if part in (WHOLE, HEAD):
            shown = self._head(event, number, exchange, side, is_whole=part == WHOLE)
        elif part == CONTENT:
            found = exchange.sides.setdefault(side, _Side()).content(event.data, is_last=False)
            shown = Shown(event.at, "content", {"of": number, "from": side, **found})
        elif part == END:
            rest = exchange.sides.setdefault(side, _Side()).content(b"", is_last=True)
            shown = Shown(event.at, "end", {
                "of": number, "from": side, "seconds": self._since(exchange, event.at), **rest, **orjson.loads(event.data)})
        elif part == SOCKET:
            sent = _Side(b"", codecs.getincrementaldecoder("utf-8")("replace")).content(event.data, is_last=True)
            shown = Shown(event.at, "socket", {"of": number, "from": side, **sent})
        elif part == BYTES:
            shown = self._unreadable(event, number)
        else:
            return []
        if side == RESPONSE and part in (WHOLE, END) and shown.fields.get("status") != SWITCHING:
            self._exchanges.pop(number, None)
        return [shown]

    def _head(self, event: Event, number: int, exchange: _Exchange, side: str, *, is_whole: bool) -> Shown:
        head, _, content = event.data.partition(b"\r\n\r\n")
        opening, *lines = head.split(b"\r\n")
        fields = [[_latin(name), _latin(value)] for name, _, value in (line.partition(b": ") for line in lines)]
        exchange.sides[side] = reader = _reader(fields)
        told: dict[str, Any] = reader.content(content, is_last=True) if is_whole else {"more": True}
        first, second, third = (_latin(word) for word in opening.split(b" ", 2))
        if side == REQUEST:
            exchange.asked = event.at
            return Shown(event.at, REQUEST, {
                "number": number, "method": first, "target": second, "fields": fields, **told})
        return Shown(event.at, RESPONSE, {
            "of": number, "status": int(second), "reason": third, "fields": fields,
            "seconds": self._since(exchange, event.at), **told})

    @staticmethod
    def _since(exchange: _Exchange, at: float) -> float | None:
        return None if exchange.asked is None else round(max(at - exchange.asked, 0.0), 6)

    @staticmethod
    def _unreadable(event: Event, number: int) -> Shown:
        return Shown(event.at, "unreadable", {"of": number, "text": event.data[:_SHOWN].hex()})


def _reader(fields: list[list[str]]) -> _Side:
    kind, parameters = media_type(", ".join(
        value for name, value in fields if name.lower() == "content-type").encode("latin-1"))
    if not is_text(kind):
        return _Side(kind)
    try:
        decoder = codecs.getincrementaldecoder(parameters.get(b"charset", b"utf-8").decode("ascii"))("replace")
        decoder.decode(b"")
    except (LookupError, UnicodeError):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return _Side(kind, decoder)


def _latin(raw: bytes) -> str:
    return raw.decode("latin-1")
