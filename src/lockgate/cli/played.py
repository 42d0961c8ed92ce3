"""What a recording shows, moment by moment: as text for a terminal, for a search, and for whoever only reads it.

Apart from the player, which knows time and keys. What was recorded of SQL is cleaned of control characters; of a
terminal's own output, which means nothing without them, those are kept that only draw (`picture`), and for a terminal only.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockgate.audit.recording.events import CUT, OUTPUT, WINDOW, Event
from lockgate.audit.recording.playback import Playback
from lockgate.audit.recording.shown import Shown
from lockgate.cli.exchanged import EXCHANGED, exchange_lines, whole_text
from lockgate.cli.picture import Picture
from lockgate.cli.shown import clean, framed, one_line, valued
from lockgate.wire.spec import Decoder, Written

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""Control sequences of a terminal (ECMA-48), for text that is searched."""
_STOPS: Final = ("statement", "request")
_CELL: Final = 200                  # characters of a value that are shown in a row


@dataclass(frozen=True, slots=True)
class Moment:
    """Something to show `at` seconds after the session began. `is_stop`: a statement or request begins, where a jump may
    land. `whole`: what a search looks at, where more is there than is shown."""

    at: float
    text: str
    is_stop: bool = False
    whole: str = ""

    @property
    def sought(self) -> str:
        """What a search looks at."""
        return searchable(f"{self.text} {self.whole}" if self.whole else self.text)


class Script:
    """A recording as moments. `moments` may be asked for again and begins anew. `formats` are the protocol's own."""

    def __init__(
        self, playback: Playback, decoder: Callable[[], Decoder] | None, formats: Mapping[str, Written] | None = None,
    ) -> None:
        self.playback = playback
        self.formats = formats or {}
        self._decoder = decoder

    @property
    def is_terminal(self) -> bool:
        """Whether the moments are a terminal's own output, with control sequences."""
        return self._decoder is None

    def shown(self) -> Iterator[Shown]:
        """What a recording of statements holds. Of a terminal: nothing."""
        if self._decoder is None:
            return
        decoder = self._decoder()
        for event in self.playback.events():
            yield from decoder.take(event)

    def moments(self) -> Iterator[Moment]:
        """Everything, in order."""
        if self._decoder is None:
            yield from _screen(self.playback.events())
            return
        for shown in self.shown():
            lines = lines_of(shown)
            if lines:
                yield Moment(shown.at, "\n".join(lines) + "\n", shown.kind in _STOPS,
                             whole_text(shown) if shown.kind in EXCHANGED else "")


def _screen(events: Iterator[Event]) -> Iterator[Moment]:
    decoder, picture = codecs.getincrementaldecoder("utf-8")("replace"), Picture()
    for event in events:
        if event.kind == OUTPUT:
            text = picture.feed(decoder.decode(event.data))
            if text:
                yield Moment(event.at, text)
        elif event.kind == WINDOW:
            yield Moment(event.at, "")
        elif event.kind == CUT:
            yield Moment(event.at, "\r\n" + clean(f"the recording is cut: {event.fields.get('reason', '')}") + "\r\n")


def plain(text: str) -> str:
    """A terminal's output for whoever is none: without control sequences, and with nothing that is left of one."""
    return clean(_ESCAPES.sub("", text).replace("\r\n", "\n"))


def searchable(text: str) -> str:
    """Text as a person would look for it: without control sequences, in one case."""
    return _ESCAPES.sub("", text).casefold()


def clock(seconds: float) -> str:
    """``1:02.345``."""
    minutes, rest = divmod(max(seconds, 0.0), 60)
    return f"{int(minutes)}:{rest:06.3f}"


# ---------------------------------------------------------------- statements


def lines_of(shown: Shown) -> list[str]:
    """One thing as lines that are safe on a terminal."""
    fields = shown.fields
    exchanged = exchange_lines(shown, clock)
    if exchanged is not None:
        return exchanged
    if shown.kind == "statement":
        return _statement(shown)
    if shown.kind in ("columns", "row"):
        cells = fields.get("names") or fields.get("values") or []
        return ["    " + " | ".join("NULL" if cell is None else _short(cell) for cell in cells)]
    if shown.kind in ("error", "notice"):
        return _problem(fields)
    return ["    " + _LINES[shown.kind](fields) if shown.kind in _LINES else one_line(f"    {shown.kind}")]


def _statement(shown: Shown) -> list[str]:
    fields = shown.fields
    name = f" (prepared as {one_line(fields['name'])})" if fields.get("name") else ""
    failed = ", which failed before it ran" if fields.get("failed_before") else ""
    lines = ["", f"[{clock(shown.at)}] statement {fields['number']}{name}{failed}"]
    lines += (f"    {row}" for row in framed(fields["text"]))
    for number, value in enumerate(fields["parameters"], 1):
        lines += valued(f"    ${number} = ", value if value is None else repr(value))
    return lines


def _problem(fields: Any) -> list[str]:
    severity, code, message = (one_line(fields.get(name, "")) for name in ("severity", "code", "message"))
    lines = [f"    {severity} {code}: {message}"]
    return lines + [f"      {name}: {one_line(fields[name])}" for name in ("detail", "hint", "where") if name in fields]


def _short(value: str) -> str:
    shown = one_line(value)
    return shown if len(shown) <= _CELL else f"{shown[:_CELL]}… ({len(shown)} characters)"


def _copied(word: str) -> Callable[[Any], str]:
    return lambda fields: f"{word} {_short(fields['text'].rstrip(chr(10)))}" if "text" in fields \
        else f"{word} given up: {one_line(fields['failed'])}"


_LINES: Final[dict[str, Callable[[Any], str]]] = {
    "prepare": lambda fields: f"prepared as {one_line(fields['name'])}: {_short(fields['text'])}",
    "done": lambda fields: f"→ {one_line(fields['tag'])}",
    "copy_in": _copied("copied in:"),
    "copy_out": _copied("copied out:"),
    "notification": lambda fields: f"notification on {one_line(fields['channel'])}: {_short(fields['payload'])}",
    "setting": lambda fields: f"{one_line(fields['name'])} is {_short(fields['value'])}",
    "cut": lambda fields: f"the recording is cut: {one_line(fields.get('reason', ''))}",
    "unreadable": lambda fields: f"bytes that cannot be read: {fields['text']}",
}
