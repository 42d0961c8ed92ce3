"""What came from a client, on a terminal: it can neither drive it nor pass for a line of ours.

Apart from the commands because reviewers and readers of the log need the same. Control characters and
direction marks are made visible; every row of a statement, also one that the terminal would have wrapped,
stands behind a gutter; a statement that does not fit a screen shows its head and its tail and says so.
"""

from __future__ import annotations

from typing import Final

from rich.cells import chop_cells
from rich.console import Console

GUTTER: Final = "│ "
_WHOLE: Final = 40
_HEAD: Final = 24
_TAIL: Final = 12
_ENDLESS: Final = 1 << 30


def clean(value: object) -> str:
    """Text that is safe on a terminal: control characters and line separators are made visible."""
    return "".join(
        char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in str(value)
    )


def one_line(value: object) -> str:
    """The same on one line: newlines are shown as an escape, backslashes doubled, so that neither is the other."""
    return clean(str(value).replace("\\", "\\\\")).replace("\n", "\\n")


def framed(text: str, width: int = _ENDLESS) -> list[str]:
    """A statement row by row, each behind the gutter; `width` is what a row may take with it."""
    room = max(width - len(GUTTER), 8)
    lines = clean(text).split("\n")
    rows = [GUTTER + row for line in lines for row in _rows(line, room)]
    if len(rows) <= _WHOLE:
        return rows
    return [
        *rows[:_HEAD], f"┆ {len(rows) - _HEAD - _TAIL} rows are not shown here; --json shows all", *rows[-_TAIL:],
        f"┆ {len(lines)} lines, {len(text)} characters in all",
    ]


def valued(label: str, value: str | None, width: int = _ENDLESS) -> list[str]:
    """A parameter: its label and value, and behind the gutter what does not fit that row."""
    shown = "NULL" if value is None else one_line(value)
    rows = _rows(shown, max(width - len(label), 8))
    if len(rows) > _WHOLE:
        rows = [*rows[:_HEAD], "…", *rows[-_TAIL:], f"({len(shown)} characters in all; --json shows all)"]
    return [label + rows[0], *(GUTTER.rjust(len(label)) + row for row in rows[1:])]


def width_of(console: Console) -> int:
    """Cells of a row: a terminal's own width, and no bound for a file or pipe."""
    return console.width if console.is_terminal else _ENDLESS


def _rows(line: str, room: int) -> list[str]:
    return chop_cells(line, room) or [""] if len(line) * 2 > room else [line]
