"""What goes on beside the requests and never in front of one: publishing, cosigning, exporting, retention.

Each chore is a plain blocking function that runs in a thread of its own, one run after the other. One
that raises is logged, counted as ``chore.<name>`` and tried again at its next time: nothing here may
stop a request, except by closing the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from lockgate.errors import LockgateError
from lockgate.proxy.counters import Counters
from lockgate.proxy.driver import place

log = structlog.get_logger("lockgate")


@dataclass(frozen=True, slots=True)
class Chore:
    """`run` every `every` seconds, for the first time at once. `run` bounds its own time."""

    name: str
    every: float
    run: Callable[[], None]


async def keep_house(chore: Chore, counters: Counters) -> None:
    """Run one chore until cancelled. What is running then is waited for by nobody."""
    while True:
        try:
            await asyncio.to_thread(chore.run)
        except (LockgateError, OSError) as error:
            counters.errors[f"chore.{chore.name}"] += 1
            log.error("chore failed", chore=chore.name, error=str(error), place=place(error))
        await asyncio.sleep(chore.every)
