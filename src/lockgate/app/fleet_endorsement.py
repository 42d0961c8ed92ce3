"""The fleet log before the same witnesses and the same authority as the shards.

Each gateway offers its own shard (`witnessing`, `anchoring`). The fleet log holds the checkpoints of all of them, so one
quorum over it vouches for every shard, also for one that nobody holds. It is offered by whichever gateway writes it: what
came of it lies in that gateway's folder of the fleet log, and a witness tells the next one how far it has come. It is
nobody's reason to refuse a request: in mode `require` that is a gateway's own shard.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from lockgate.app.housekeeping import Chore
from lockgate.app.witnessing import Witnessing
from lockgate.audit.storage.contract import Source
from lockgate.config.duration import seconds
from lockgate.config.settings import AuditSettings


class _Endorser(Protocol):
    def run(self) -> None: ...

    def close(self) -> None: ...


class WhileHeld:
    """Runs an endorser every so often, as long as this gateway writes the fleet log: from the moment that it does."""

    def __init__(self, endorser: _Endorser, every: float, is_held: Callable[[], bool], now: Callable[[], float]) -> None:
        self._endorser = endorser
        self._every = every
        self._is_held = is_held
        self._now = now
        self._due = float("-inf")

    def run(self) -> None:
        """Once, if it is due. Raises what the endorser raises, which then has its turn again at its next time."""
        if self._is_held() and self._now() >= self._due:
            self._due = self._now() + self._every
            self._endorser.run()


def fleet_endorsement(
    audit: AuditSettings, folder: Path, open_source: Callable[[], Source], is_held: Callable[[], bool], often: float,
    clocks: tuple[Callable[[], float], Callable[[], float]], stack: ExitStack,
) -> list[Chore]:
    """What the settings ask for, as chores that look every `often` seconds whether this gateway writes the fleet log.

    `folder` is the fleet log's here; `clocks` are the time and a clock that nobody sets. `stack` closes what is opened.
    """
    now, steady = clocks
    made: list[tuple[str, float, _Endorser]] = []
    if audit.witness is not None:
        made.append(("fleet_witness", seconds(audit.witness.every), Witnessing(audit.witness, folder, open_source, now)))
    if audit.anchor is not None:
        from lockgate.app.anchoring import Anchoring  # only where it is configured

        made.append(("fleet_anchor", seconds(audit.anchor.every), Anchoring(audit.anchor, folder, open_source)))
    for _, _, endorser in made:
        stack.callback(endorser.close)
    return [Chore(name, min(often, every), WhileHeld(endorser, every, is_held, steady).run) for name, every, endorser in made]
