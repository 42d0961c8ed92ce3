"""Recorded requests and answers as lines for a terminal: the line, a few fields, content, time.

Apart from `played`, which knows all kinds of recordings. Everything here came from outside and is shown without control
characters; long content shows its head and its tail, and a search still finds what stands between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lockgate.audit.recording.shown import Shown
from lockgate.cli.shown import clean, one_line

_FIELDS: Final = ("host", "content-type", "location", "retry-after")
"""Those that are shown; an export has all of them."""
_WHOLE: Final = 40
_HEAD: Final = 24
_TAIL: Final = 12
_WIDTH: Final = 240                     # characters of a line that are shown
_LONGEST: Final = 1 << 20               # characters that are put into lines
_DEEPEST: Final = 64
_PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]+|"')


def exchange_lines(shown: Shown, clock: Callable[[float], str]) -> list[str] | None:
    """The lines of a thing that belongs to an exchange; None for any other."""
    writer = _WRITERS.get(shown.kind)
    return None if writer is None else writer(shown, clock)


def whole_text(shown: Shown) -> str:
    """All text of it, for a search."""
    parts = [str(shown.fields.get(name, "")) for name in ("method", "target", "status", "reason", "what", "text", "message")]
    parts += [f"{name}: {value}" for name, value in shown.fields.get("fields", ())]
    return " ".join(parts)


def indented(text: str) -> str:
    """JSON with a member a line, nothing else of it changed, whatever it says twice; text that is none as it is."""
    if not text.lstrip().startswith(("{", "[")) or len(text) > _LONGEST:
        return text
    out: list[str] = []
    depth, before = 0, ""
    for piece in _PIECE.findall(text):
        if piece in "]}":
            depth -= 1
            if before not in ("[", "{"):
                out.append("\n" + "  " * depth)
        elif before in ("[", "{", ","):
            out.append("\n" + "  " * depth)
        elif before == ":":
            out.append(" ")
        if piece in "[{":
            depth += 1
        if not 0 <= depth <= _DEEPEST:
            return text
        out.append(piece)
        before = piece
    return "".join(out).lstrip("\n")


def _request(shown: Shown, clock: Callable[[float], str]) -> list[str]:
    fields = shown.fields
    return ["", f"[{clock(shown.at)}] request {fields['number']}",
            f"    {one_line(fields['method'])} {_short(one_line(fields['target']))}", *_fields(fields), *_content(fields)]


def _response(shown: Shown, clock: Callable[[float], str]) -> list[str]:
    fields = shown.fields
    return [f"[{clock(shown.at)}] answer to {fields['of']}: {fields['status']} {one_line(fields['reason'])}{_after(fields)}",
            *_fields(fields), *_content(fields)]


def _end(shown: Shown, clock: Callable[[float], str]) -> list[str]:
    fields = shown.fields
    what = f"{'request' if fields['from'] == 'request' else 'answer to'} {fields['of']}"
    lines = _content(fields)
    if fields.get("refused"):
        size = fields.get("left_out")
        return [*lines, "    did not go on" + (f"; {size} bytes of content are not recorded" if size else "")]
    kept = ""
    if "sha256" in fields:
        kept = f", of which {fields.get('kept', 0)} are recorded; SHA-256 of all of it {one_line(fields['sha256'])}"
    why = "".join(f"; {one_line(fields[name])}" for name in ("cut", "fault") if fields.get(name))
    return [*lines, f"[{clock(shown.at)}] end of {what}{_after(fields)}: {fields.get('size', 0)} bytes{kept}{why}"]


def _more(shown: Shown, _clock: Callable[[float], str]) -> list[str]:
    return _content(shown.fields)


def _message(shown: Shown, clock: Callable[[float], str]) -> list[str]:
    fields = shown.fields
    arrow = "→" if fields["from"] == "request" else "←"
    before = f"[{clock(shown.at)}]" if fields.get("alone") else "   "
    return [f"{before} {arrow} {_short(one_line(fields['what']))}", *_content({"text": fields["message"]})]


def _socket(shown: Shown, clock: Callable[[float], str]) -> list[str]:
    fields = shown.fields
    arrow = "→" if fields["from"] == "request" else "←"
    return [f"[{clock(shown.at)}] {arrow} in {fields['of']}", *_content(fields)]


def _after(fields: Mapping[str, Any]) -> str:
    seconds = fields.get("seconds")
    return "" if seconds is None else f", after {seconds:.3f} s"


def _fields(fields: Mapping[str, Any]) -> list[str]:
    return [f"      {one_line(name)}: {_short(one_line(value))}" for name, value in fields.get("fields", ())
            if name.lower() in _FIELDS]


def _content(fields: Mapping[str, Any]) -> list[str]:
    """Content behind a gutter; of messages that are shown one by one nothing."""
    if fields.get("messages"):
        return []
    if "base64" in fields:
        return [f"    │ {len(fields['base64']) * 3 // 4} bytes that are no text"]
    text = fields.get("text")
    if not text:
        return []
    lines = [f"    │ {_short(line)}" for line in clean(indented(text[:_LONGEST])).rstrip("\n").split("\n")]
    if len(lines) <= _WHOLE:
        return lines
    left = len(lines) - _HEAD - _TAIL
    return [*lines[:_HEAD], f"    ┆ {left} lines are not shown; a search finds them, an export holds them", *lines[-_TAIL:]]


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}… ({len(text)} characters)"


_WRITERS: Final[Mapping[str, Callable[[Shown, Callable[[float], str]], list[str]]]] = {
    "request": _request, "response": _response, "content": _more, "end": _end, "message": _message, "socket": _socket,
}
EXCHANGED: Final = frozenset(_WRITERS)
"""Kinds of things that belong to an exchange."""
