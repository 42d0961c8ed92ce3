"""What of a client's end is recorded where a protocol has messages: a tap makes pieces out of the bytes that pass.

Apart from `steps`, because a tap is asked by whoever records and not by a mediator. What goes to the client comes from the
driver, out of a clearance, so that nothing is missing that the client got; what goes on of a request comes from the mediator
(`steps.Passed`), because only that knows the request without the backend's credential.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lockgate.wire.steps import Side


@dataclass(frozen=True, slots=True)
class Taken:
    """A piece that is recorded: `part` of an exchange, as the protocol calls it, and what it came from. `more` of the same part
    may follow. `left_out`: bytes that passed with it and are not recorded."""

    source: Side
    exchange: int
    part: str
    data: bytes
    more: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Shares:
    """Bytes that are recorded of one content: of text, and of what nobody reads."""

    text: int
    binary: int


class Tap(Protocol):
    """Of one client's end. Sans-IO; never raises for bytes that do not add up, but takes them as they are."""

    def told(self, data: bytes) -> list[Taken]:
        """Bytes that go to the client."""

    def passed(self, source: Side, data: bytes, part: str, left_out: int) -> list[Taken]:
        """What the mediator says (`steps.Passed`)."""

    def closed(self) -> list[Taken]:
        """No more comes."""


TapMaker = Callable[[Callable[[], int], Shares], Tap]
"""Makes a tap; the function gives the number of the next exchange of the session, which may have several taps."""
