"""`lockgate audit events`: the log as OCSF events, of a fleet all shards in the order of time.

Apart from `audit_export` because this one can follow logs that grow, and shards that begin meanwhile.
"""

from __future__ import annotations

import heapq
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lockgate.audit.export.cursor import Cursor, require_same_log
from lockgate.audit.export.told import Teller
from lockgate.audit.ocsf import Mapper
from lockgate.audit.query.portion import Portion
from lockgate.cli.disclosed import record
from lockgate.cli.failing import fail
from lockgate.cli.period import First, From, Last, Period, To, period_of
from lockgate.cli.portions import portions_of
from lockgate.cli.state import State
from lockgate.errors import AuditError

_BATCH = 1_000      # entries that are read from one snapshot
_POLL = 1.0         # seconds


def events(
    state: State = Path("state"), start: From = None, end: To = None, first: First = None, last: Last = None,
    names: Annotated[bool, typer.Option("--names", help="With names, groups, agents and addresses.")] = False,
    statements: Annotated[bool, typer.Option("--statements", help="With the texts of statements.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="With the entry itself in `raw_data`.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is written later, until Ctrl-C.")] = False,
) -> None:
    """Print the log as OCSF 1.6 events, one JSON object a line, in order; of a fleet all shards. ASCII only.

    That names or statements were asked for is put on record.
    """
    period = period_of(start, end, first, last)
    if follow and end is not None:
        fail(AuditError("what is followed has no end in time", advice="leave out --to, or --follow"))
    try:
        for line in _lines(state, period, names=names, statements=statements, raw=raw, follow=follow):
            sys.stdout.write(line + "\n")
            if follow:
                sys.stdout.flush()
    except (BrokenPipeError, KeyboardInterrupt):
        raise typer.Exit(0) from None


def _lines(state: Path, period: Period, *, names: bool, statements: bool, raw: bool, follow: bool) -> Iterator[str]:
    """Round by round what is there; a shard that begins meanwhile is in the next one."""
    tails: dict[Path, _Tail] = {}
    while True:
        new = [log for log in portions_of(state, period, waits=follow) if log.folder not in tails]
        for portion in new if names or statements else ():
            record("events", portion)
        tails |= {portion.folder: _Tail(portion, Teller(names=names, statements=statements), raw=raw) for portion in new}
        for _, line in heapq.merge(*(tail.told() for tail in tails.values()), key=lambda told: told[0]):
            yield line
        if not follow or all(tail.is_done for tail in tails.values()):
            return
        _pause(_POLL)


def _pause(seconds: float) -> None:
    """Wait for the log to grow."""
    threading.Event().wait(seconds)


class _Tail:
    """One log, and how far it was read."""

    def __init__(self, portion: Portion, teller: Teller, *, raw: bool) -> None:
        self._portion = portion
        self._teller = teller
        self._raw = raw
        self._next = portion.first
        self._cursor: Cursor | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing that comes is asked for."""
        return self._portion.last is not None and self._next > self._portion.last

    def told(self) -> Iterator[tuple[int, str]]:
        """Times (Unix milliseconds) and events of what is there now: what is written meanwhile waits for the next call,
        so that a busy shard does not keep the others waiting. A snapshot is open for one batch only, however slowly
        the lines are read.
        """
        from lockgate.app.targets import protocols, version  # only here: it knows the whole gateway

        end: int | None = None
        while end is None or self._next <= end:
            with self._portion.opened() as source:
                if self._cursor is not None:
                    require_same_log(self._cursor, source)
                if end is None:
                    newest = source.head().size - 1
                    end = newest if self._portion.last is None else min(newest, self._portion.last)
                mapper = Mapper(source.origin, version(), protocols(), raw=self._raw)
                batch = list(self._teller.tell(source, self._next, min(end, self._next + _BATCH - 1)))
                if not batch:
                    return
                self._next = batch[-1].leaf.index + 1
                self._cursor = Cursor(source.origin, self._next, batch[-1].leaf.hash.hex())
            for one in batch:
                for event in mapper.events(one):
                    yield one.leaf.record["time"], json.dumps(event, separators=(",", ":"))
