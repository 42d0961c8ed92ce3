"""Messages on a pipe: one a line, UTF-8, no newline within (MCP 2025-11-25, "Transports", stdio).

A carriage return is space to JSON and a line's end to many readers (Python's text files among them), so one between two
values could make two lines of what was judged as one message. None goes on: `on_one_line` makes a blank of it. Every other sign
that some readers end a line at (U+0085, U+2028 …) can stand within a string only, where nothing behind it is a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_KEPT: Final = 1_024
"""Bytes of a line that is too long that are kept, to find out what it answers."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end. `is_whole` is False where it was longer than it may be: then `data` is its beginning."""

    data: bytes
    is_whole: bool = True


class LineReader:
    """Bytes to lines of at most `longest` bytes. Empty lines are none. What stands behind a line that is too long is read
    again."""

    __slots__ = ("_is_cut", "_longest", "_pieces", "_size")

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_cut = False

    def feed(self, data: bytes) -> list[Line]:
        """The lines that `data` ends."""
        found: list[Line] = []
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            self._keep(data[at:end])
            line = self._taken()
            if line.data.strip() or not line.is_whole:
                found.append(line)
            at = end + 1
        self._keep(data[at:])
        return found

    def _keep(self, piece: bytes) -> None:
        if self._is_cut or not piece:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._longest:
            self._is_cut = True
            self._pieces = [b"".join(self._pieces)[:_KEPT]]

    def _taken(self) -> Line:
        line = Line(b"".join(self._pieces), not self._is_cut)
        self._pieces, self._size, self._is_cut = [], 0, False
        return line


def on_one_line(text: str) -> str:
    """A message's text as every reader takes it for one line. It holds no newline, for it was one."""
    return text.replace("\r", " ")


def line_of(text: str) -> bytes:
    """A message as a line."""
    return on_one_line(text).encode() + b"\n"
