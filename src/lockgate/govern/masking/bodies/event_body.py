"""Streams of events: `text/event-stream` (HTML standard, "Server-sent events"), event by event.

The lines of an event's data are one text: a JSON document, whose values are masked, or else words, which are searched. What
does not change goes on byte for byte, ends of lines and all; `id`, `event` and `retry` are words. The texts of
language models come in pieces, one an event: `deltas` joins them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from lockgate.govern.masking.bodies.deltas import Deltas, Event
from lockgate.govern.masking.bodies.values import Values
from lockgate.kernel.json_rules import JsonTooDeep

_BOM: Final = b"\xef\xbb\xbf"
_END: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)|\A(?>\r\n|\n|\r)")
"""Of an event, or a line by itself: the line feed behind a carriage return that has ended an event may come later."""
_LINE: Final = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")
_LONGEST_END: Final = 3                             # bytes of an end that are there without its last


class EventBody:
    """The mask over a stream of events. `reads` says what of an event's data is shown, for streams whose events are known
    (data and the event's name → data, empty for none); else they are looked into as what they seem to be."""

    __slots__ = ("_deltas", "_end", "_held", "_is_first", "_limit", "_reads", "_values", "masked")

    def __init__(self, values: Values, reads: Callable[[bytes, bytes], bytes] | None = None) -> None:
        self.masked = values.masked
        self._values = values
        self._reads = reads
        self._deltas = Deltas(values)
        self._limit = values.terms.limit
        self._held = bytearray()
        self._is_first = True
        self._end = b"\n"

    def feed(self, data: bytes) -> bytes:
        """What may go on: whole events. ValueError for one that is too long, or that cannot be looked into."""
        out: list[bytes] = []
        held = self._held
        seen = max(0, len(held) - _LONGEST_END)
        held += data
        if self._is_first:
            if len(held) < len(_BOM) and _BOM.startswith(held):
                return b""
            self._is_first = False
            if held.startswith(_BOM):
                del held[:len(_BOM)]
                out.append(_BOM)
            seen = 0
        while held:
            found = _END.search(held, seen)
            if found is None:
                break
            event = bytes(held[:found.end()])
            del held[:found.end()]
            seen = 0
            out.append(self._event(event))
        if len(held) > self._limit:
            raise ValueError("an event is too long to be looked at")
        return b"".join(out)

    def finish(self) -> bytes:
        """Texts that were held, and an event that no empty line ended: readers drop it."""
        rest = bytes(self._held)
        self._held.clear()
        event = self._event(rest) if rest else b""
        return self._written(self._deltas.finish()) + event

    def _event(self, raw: bytes) -> bytes:
        """One event in its written form, with the events that have to come before it."""
        lines = [(line.partition(b":")[0], line, end) for line, end in _LINE.findall(raw) if line or end]
        data = [line for field, line, _ in lines if field == b"data"]
        before, new = b"", None
        if data:
            self._end = next(end for field, _, end in lines if field == b"data") or b"\n"
            name = next((_value(line) for field, line, _ in lines if field == b"event"), b"")
            text = b"\n".join([_value(line) for line in data])
            came, shown = self._shown(text, name)
            before = self._written(came)
            new = None if shown is text else shown
        out: list[bytes] = [before]
        is_first = True
        for field, line, end in lines:
            if field != b"data":
                out += (self._other(line), end)
            elif new is None:
                out += (line, end)
            elif is_first:
                is_first = False
                out += (_data(new, self._end), end)
        return b"".join(out)

    def _shown(self, text: bytes, name: bytes) -> tuple[list[Event], bytes]:
        """Events that come first, and what is left of an event's data; the same object where nothing goes."""
        if self._reads is not None:
            new = self._reads(text, name) if text else text
            return [], text if new == text else new
        first = text.lstrip(b" \t\n")[:1]
        if first == b"{":
            try:
                return self._deltas.event(text, name)
            except JsonTooDeep:
                raise
            except ValueError:
                if self._values.terms.masks:
                    raise                           # its members could be ones that masks name
        elif first in (b"[", b'"'):
            try:
                return [], self._deltas.document(text)
            except JsonTooDeep:
                raise
            except ValueError:
                pass
            if text.strip() == b"[DONE]":
                return self._deltas.finish(), text
        self._values.require_names(text)
        return [], self._values.text(text)

    def _other(self, line: bytes) -> bytes:
        """A comment or another field: words."""
        return self._values.text(line) if line else line

    def _written(self, events: list[Event]) -> bytes:
        end = self._end
        return b"".join((b"event: " + name + end if name else b"") + _data(data, end) + end + end for name, data in events)


def _value(line: bytes) -> bytes:
    value = line.partition(b":")[2]
    return value[1:] if value[:1] == b" " else value


def _data(text: bytes, end: bytes) -> bytes:
    return end.join(b"data: " + line for line in text.split(b"\n"))
