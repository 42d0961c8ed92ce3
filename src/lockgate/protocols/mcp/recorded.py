"""What a recorded session of MCP holds: the messages that requests and answers carry, in both directions.

Over `protocols.http.recorded`, which reads the exchanges; of a session over standard streams, lines (`recording`). What is no JSON-RPC of one reading is shown as content.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from lockgate.audit.recording.events import INPUT, Event
from lockgate.audit.recording.shown import Shown
from lockgate.protocols.http.recorded import REQUEST, RESPONSE, HttpDecoder
from lockgate.protocols.http.results import media_type
from lockgate.protocols.mcp.jsonrpc import Kind, Malformed, Message, read
from lockgate.protocols.mcp.recording import LINE
from lockgate.protocols.mcp.streams import EVENTS, JSON

_DEEPEST: Final = 512
_OPEN: Final = 1_000                # requests whose answers are waited for, and contents that are not whole
_LONGEST: Final = 16 << 20          # characters of a content or an event
_OTHER: Final = {REQUEST: RESPONSE, RESPONSE: REQUEST}


@dataclass(slots=True)
class _Body:
    """A content in pieces. `is_stream`: of events."""

    is_stream: bool
    rest: str = ""


class McpDecoder:
    """`wire.spec.Decoder`. Mutable."""

    def __init__(self) -> None:
        self._http = HttpDecoder()
        self._bodies: OrderedDict[tuple[int, str], _Body] = OrderedDict()
        self._asked: OrderedDict[tuple[str, object], str] = OrderedDict()   # by who was asked, and the id
        self._numbers: OrderedDict[tuple[str, object], object] = OrderedDict()     # of exchanges, likewise
        self._rest = b""                    # of a line in pieces

    def take(self, event: Event) -> list[Shown]:
        """What an event shows: requests and answers, behind each the messages in it."""
        if event.fields.get("p") == LINE:
            return self._line(event)
        found: list[Shown] = []
        for shown in self._http.take(event):
            found += self._read(shown)
        return found

    def _line(self, event: Event) -> list[Shown]:
        """A message on a stream of lines, when it is whole; the answer belongs to the exchange of what it answers."""
        number, is_client = event.fields.get("x"), event.kind == INPUT
        side = REQUEST if is_client else RESPONSE
        self._rest += event.data            # a long one is several events, one behind the other
        if not self._rest.endswith(b"\n") and len(self._rest) <= _LONGEST:
            return []
        data, self._rest = self._rest.removesuffix(b"\n"), b""
        found: list[Shown] = []
        try:
            messages, _ = read(data, deepest=_DEEPEST)
        except (Malformed, ValueError):
            return [Shown(event.at, "socket", {"of": number, "from": side, "text": data.decode("utf-8", "replace")})]
        for message in messages:
            of: object = number
            if message.kind is Kind.RESPONSE:
                of = self._numbers.pop((side, message.id), number)
            elif message.kind is Kind.REQUEST:
                _put(self._numbers, (_OTHER[side], message.id), number)
            found.append(Shown(event.at, "message", {
                "of": of, "from": side, "what": self._words(message, side), "message": message.text, "alone": True}))
        return found

    def _read(self, shown: Shown) -> Iterator[Shown]:
        fields = shown.fields
        side = shown.kind if shown.kind in (REQUEST, RESPONSE) else fields.get("from")
        number = fields.get("number", fields.get("of"))
        if shown.kind not in (REQUEST, RESPONSE, "content", "end") or side is None or type(number) is not int:
            yield shown
            return
        key = (number, side)
        if shown.kind in (REQUEST, RESPONSE):
            self._begin(key, fields)
        body = self._bodies.get(key)
        if body is None:
            yield shown
            return
        is_last = not fields.get("more") and shown.kind != "content"
        body.rest += fields.get("text", "")
        texts = list(self._whole(body, is_last=is_last))
        messages = [message for text in texts for message in self._messages(shown, number, side, text)]
        is_held = bool(body.rest) and not is_last
        if is_last:
            del self._bodies[key]
        yield Shown(shown.at, shown.kind, {**fields, "messages": True} if messages or is_held else fields)
        yield from messages

    def _begin(self, key: tuple[int, str], fields: Any) -> None:
        kind = media_type(", ".join(
            value for name, value in fields["fields"] if name.lower() == "content-type").encode("latin-1"))[0]
        if kind in (JSON, EVENTS):
            _put(self._bodies, key, _Body(kind == EVENTS))

    @staticmethod
    def _whole(body: _Body, *, is_last: bool) -> Iterator[str]:
        """Documents that are whole now."""
        if not body.is_stream:
            if is_last and body.rest:
                yield body.rest
            if len(body.rest) > _LONGEST:
                body.rest = ""
            return
        *events, body.rest = body.rest.replace("\r\n", "\n").split("\n\n")
        if len(body.rest) > _LONGEST:
            body.rest = ""
        for event in events:
            data = "\n".join(line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:"))
            if data:
                yield data

    def _messages(self, shown: Shown, number: int, side: str, text: str) -> Iterator[Shown]:
        try:
            found, _ = read(text.encode(), deepest=_DEEPEST)
        except (Malformed, ValueError):
            return
        for message in found:
            yield Shown(shown.at, "message", {
                "of": number, "from": side, "what": self._words(message, side), "message": message.text})

    def _words(self, message: Message, side: str) -> str:
        """What a message is."""
        if message.kind is Kind.RESPONSE:
            asked = self._asked.pop((side, message.id), "")
            word = "error" if '"error"' in message.text and '"result"' not in message.text else "result"
            return f"{word} of {asked}" if asked else f"{word} (id {message.id})"
        name = message.params.get("name", message.params.get("uri"))
        words = f"{message.method} {name}" if isinstance(name, str) else message.method
        if message.kind is not Kind.REQUEST:
            return words
        words = f"{words} (id {message.id})"
        _put(self._asked, (_OTHER[side], message.id), words)
        return words


def _put(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    if len(kept) > _OPEN:
        kept.popitem(last=False)
