"""Plays a recording in a terminal: in its own time or faster, with pause, jumps and search.

    space  pause            + -    twice or half as fast       q  quit
    → ←    next or previous statement or request (a terminal: 5 seconds)  ↓ ↑  10 seconds on or back
    /text  search on        n      the next place              0  from the beginning

`Player` is the logic over a `Screen`; `Tty` is a real one. A jump shows nothing of what lies between, except on a
terminal's recording, whose picture is made of everything before.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from lockgate.cli.played import Moment, Script, clock, searchable
from lockgate.cli.shown import clean

SLOWEST: Final = 1 / 16
FASTEST: Final = 256.0
_STEP: Final = 10.0
_SMALL_STEP: Final = 5.0
_WINDOW: Final = 400            # characters of what came before that a search looks at too
_KEYS: Final = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left", b"\x1bOA": "up",
                b"\x1bOB": "down", b"\x1bOC": "right", b"\x1bOD": "left"}


class Screen(Protocol):
    """A terminal: what the player shows and hears."""

    def write(self, text: str) -> None: ...

    def status(self, text: str) -> None:
        """Something of the player's own."""

    def clear(self) -> None:
        """Begin a terminal's picture anew."""

    def key(self, seconds: float | None) -> str | None:
        """The next key within so many seconds (None: whenever it comes), or None. ``q`` where the keyboard is gone."""

    def line(self, prompt: str) -> str: ...

    def now(self) -> float:
        """Seconds that never step."""


class Player:
    """One run. `position` is where it is, in seconds after the session began."""

    def __init__(self, script: Script, screen: Screen, *, speed: float = 1.0) -> None:
        self._script = script
        self._screen = screen
        self.speed = min(max(speed, SLOWEST), FASTEST)
        self.position = 0.0
        self.is_paused = False
        self._text = ""
        self._found = -1
        self._rewind()

    def run(self, at: float = 0.0, search: str = "") -> None:
        """Play until the end is left or ``q`` is pressed."""
        if at:
            self._jump(at)
        if search:
            self._search(search)
        while True:
            upcoming = self._next
            key = self._wait(upcoming)
            if key == "q":
                return
            if key is not None:
                self._press(key)
            elif upcoming is not None:
                self._pass(show=True)

    def _wait(self, upcoming: Moment | None) -> str | None:
        """Wait until the next moment is due, or a key comes."""
        if upcoming is None:
            self._screen.status(f"end of the recording, {clock(self.position)}; q quits")
            return self._screen.key(None)
        if self.is_paused:
            return self._screen.key(None)
        begun = self._screen.now()
        key = self._screen.key(max(0.0, (upcoming.at - self.position) / self.speed))
        if key is not None:
            self.position = min(upcoming.at, self.position + (self._screen.now() - begun) * self.speed)
        return key

    def _press(self, key: str) -> None:
        if key == " ":
            self.is_paused = not self.is_paused
            self._screen.status(f"{'paused at' if self.is_paused else 'on from'} {clock(self.position)}")
        elif key in ("+", "=", "-"):
            self.speed = min(max(self.speed * (0.5 if key == "-" else 2.0), SLOWEST), FASTEST)
            self._screen.status(f"speed {self.speed:g}")
        elif key == "right":
            self._on()
        elif key == "left":
            self._back()
        elif key in ("down", "up"):
            self._jump(self.position + (_STEP if key == "down" else -_STEP))
        elif key == "0":
            self._jump(0.0)
        elif key == "/":
            self._search(self._screen.line("search: "))
        elif key == "n" and self._text:
            self._search(self._text)

    # ------------------------------------------------------------ moving

    def _rewind(self) -> None:
        self._moments = iter(self._script.moments())
        self._next = next(self._moments, None)
        self._index = 0                     # of `_next`
        self._before = ""                   # the end of what was passed, for a search that spans moments
        self._stops: list[int] = []         # where statements began, as far as it has come
        self.position = 0.0

    def _pass(self, *, show: bool) -> None:
        """Go past the next moment."""
        moment = self._next
        assert moment is not None
        if show:
            self._screen.write(moment.text)
        self.position = max(self.position, moment.at)
        self._before = (self._before + moment.sought)[-_WINDOW:]
        if moment.is_stop:
            self._stops.append(self._index)
        self._index += 1
        self._next = next(self._moments, None)

    def _skip(self) -> None:
        """Go past the next moment on a jump: only a terminal's picture needs it."""
        self._pass(show=self._script.is_terminal)

    def _land(self) -> None:
        """A jump is over: what comes next is due now."""
        upcoming = self._next
        if upcoming is None:
            return
        self.position = upcoming.at
        first = next(iter(upcoming.text.split("\n")[2:3]), "").strip() if upcoming.is_stop else ""
        self._screen.status(f"at {clock(self.position)}  {first}".rstrip())

    def _start_over(self) -> None:
        self._rewind()
        if self._script.is_terminal:
            self._screen.clear()

    def _jump(self, to: float) -> None:
        """Be at a time."""
        if to < self.position:
            self._start_over()
        while self._next is not None and self._next.at < to:
            self._skip()
        if self._next is not None:
            self.position = max(to, 0.0)
            self._screen.status(f"at {clock(self.position)}")

    def _go_to(self, index: int) -> None:
        """Be before a moment."""
        if index < self._index:
            self._start_over()
        while self._next is not None and self._index < index:
            self._skip()
        self._land()

    def _on(self) -> None:
        if self._script.is_terminal:
            self._jump(self.position + _SMALL_STEP)
            return
        if self._next is not None:
            self._skip()
        while self._next is not None and not self._next.is_stop:
            self._skip()
        self._land()

    def _back(self) -> None:
        if self._script.is_terminal:
            self._jump(self.position - _SMALL_STEP)
        else:
            self._go_to(self._stops[-1] if self._stops else 0)

    def _search(self, text: str) -> None:
        """Go on to the next moment that holds the text; stay where none does."""
        wanted = searchable(text)
        if not wanted:
            return
        self._text = text
        start, position = self._index, self.position
        while (moment := self._next) is not None:
            tail = self._before[max(len(self._before) - len(wanted) + 1, 0):]
            if self._index != self._found and wanted in tail + moment.sought:
                self._found = self._index
                self._land()
                return
            self._skip()
        self._go_to(start)
        self.position = position
        self._screen.status(f"no further {clean(text)}")


# ---------------------------------------------------------------- a real terminal


class Tty:
    """Standard input and output, both of them a terminal; made by `on_terminal`."""

    def __init__(self, *, is_picture: bool) -> None:
        """`is_picture`: what is shown is a terminal's own output, so that words of the player's stand aside of it."""
        self._is_picture = is_picture
        self._waiting = b""

    def write(self, text: str) -> None:
        """Show text of the recording."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def status(self, text: str) -> None:
        """Say something of the player's own: dim, on the last line of a picture."""
        text = clean(text)
        if self._is_picture:
            self.write(f"\x1b7\x1b[999;1H\x1b[2K\x1b[7m {text} \x1b[0m\x1b8")
        else:
            self.write(f"\x1b[2m── {text} ──\x1b[0m\n")

    def clear(self) -> None:
        """An empty picture (RIS)."""
        self.write("\x1bc")

    def now(self) -> float:
        """Seconds that never step."""
        return time.monotonic()

    def key(self, seconds: float | None) -> str | None:
        """See `Screen`."""
        if not self._waiting:
            ready, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
            if not ready:
                return None
            self._waiting = os.read(sys.stdin.fileno(), 64)
            if not self._waiting:
                return "q"
        for sequence, name in _KEYS.items():
            if self._waiting.startswith(sequence):
                self._waiting = self._waiting[len(sequence):]
                return name
        first, self._waiting = self._waiting[:1], self._waiting[1:]
        return "q" if first in (b"\x03", b"\x04") else first.decode("latin-1")

    def line(self, prompt: str) -> str:
        """What is typed up to Enter; empty where it is given up with Escape."""
        typed = ""
        while True:
            self.write(f"\r\x1b[2K{prompt}{typed}")
            key = self.key(None)
            if key in ("\r", "\n", "\x1b"):
                self.write("\r\x1b[2K")
                return "" if key == "\x1b" else typed
            if key in ("\x7f", "\x08"):
                typed = typed[:-1]
            elif key and len(key) == 1 and key.isprintable():
                typed += key


@contextmanager
def on_terminal(*, is_picture: bool) -> Iterator[Tty]:
    """The terminal, with keys as they are pressed, until the block ends."""
    before = termios.tcgetattr(sys.stdin.fileno())
    try:
        tty.setcbreak(sys.stdin.fileno())
        yield Tty(is_picture=is_picture)
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSAFLUSH, before)    # what nobody has read goes to nobody
        if is_picture:
            sys.stdout.write("\x1b[!p\x1b[0m\x1b[?25h\x1b[?1049l\n")
            sys.stdout.flush()
