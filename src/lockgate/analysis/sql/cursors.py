"""The cursors and named portals of one session that are known to be open, and what they show.

Apart from `session`, which keeps names that may mean several things: a FETCH runs whatever bears the name, so a
cursor is known only from the moment when the server has said that it opened it, and only until something was sent
that may end it. Between the two no other one can have its name: the server refuses a second one, and no code that
can be read closes a cursor of the session's. What is known for too short a time is refused; never the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from lockgate.analysis.sql.statement import Statement

_MOST: Final = 16_384
_MOST_SAVEPOINTS: Final = 4_096
_HELD: Final = 1 << 16
"""Relations that the cursors of a session touch, in all; what is beyond them is not known."""
_IN_BLOCK: Final = frozenset(("begin", "savepoint", "release", "rollback_to", "commit_prepared", "rollback_prepared"))
"""Words that, failing alone, end no transaction: it can still be rolled back to a savepoint."""


class Reach(NamedTuple):
    """What a cursor's query touches, by OID, when it was opened: a view that is another one by now changes no row of it."""

    names: Mapping[int, set[str]]
    written: frozenset[int]


class Cursor:
    """One that is open."""

    __slots__ = ("digest", "is_bound", "is_held", "is_kept", "is_lost", "number", "reach")

    def __init__(self, digest: str, reach: Reach | None, number: int, *, is_held: bool, is_bound: bool) -> None:
        self.digest = digest            # `masks_digest` of the labels that it was opened under
        self.reach = reach              # None: not known
        self.number = number            # in the order of opening, with savepoints
        self.is_held = is_held          # WITH HOLD: it outlives a COMMIT
        self.is_kept = False            # … and has
        self.is_bound = is_bound        # made by Bind
        self.is_lost = False            # code may have put another one in its place: no FETCH may name it

    @property
    def size(self) -> int:
        return 0 if self.reach is None else 1 + len(self.reach.names)


class Cursors:
    """Of one session, changed by the protocol. `version` counts changes."""

    __slots__ = ("_gone", "_held", "_number", "_open", "_savepoints", "version")

    def __init__(self) -> None:
        self.version = 0
        self._open: dict[str, Cursor] = {}
        self._gone: list[str] = []
        self._held = 0                                  # what they touch, in all
        self._number = 0
        self._savepoints: list[tuple[str, int]] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    def __contains__(self, name: str) -> bool:
        """Whether FETCH may name it."""
        return self.get(name) is not None

    def get(self, name: str) -> Cursor | None:
        """What a FETCH of the name runs; None where nobody has judged that."""
        cursor = self._open.get(name)
        return None if cursor is None or cursor.is_lost else cursor

    def take_gone(self) -> list[str]:
        """The portals made by Bind that have ended with a transaction or a savepoint since this was last asked for."""
        gone, self._gone = self._gone, []
        return gone

    def opened(self, name: str, digest: str = "", reach: Reach | None = None, *, is_held: bool = False,
               is_bound: bool = False) -> bool:
        """The server has opened it, which it does only where no other one has that name. False where it is not kept."""
        self.close(name)
        if len(self._open) >= _MOST:
            return False
        cursor = Cursor(digest, reach, self._next(), is_held=is_held, is_bound=is_bound)
        if self._held + cursor.size > _HELD:
            cursor.reach = None
        self._held += cursor.size
        self._open[name] = cursor
        return True

    def close(self, name: str | None) -> None:
        """A CLOSE (None: ALL) is about to be sent, or has been carried out. One that fails closes nothing, but nobody
        knows of a failed string what of it ran."""
        if name is None:
            self._drop(list(self._open))
        elif name in self._open:
            self._drop([name])

    def lose(self) -> None:
        """Code of unknown effect is about to run: it may close any and open another one under its name."""
        self._drop([name for name, cursor in self._open.items() if not cursor.is_bound])
        for cursor in self._open.values():
            cursor.is_lost = True
        self.version += bool(self._open)

    # ---------------------------------------------------------------- transactions

    def ended(self, *, is_committed: bool, running: str = "") -> None:
        """The transaction is over. The portal that ended it, if it has a name, is there until the next one is."""
        for cursor in self._open.values():
            cursor.is_kept = cursor.is_kept or (is_committed and cursor.is_held)
        self._savepoints.clear()
        self._end([name for name, cursor in self._open.items() if not cursor.is_kept and name != running])

    def went_through(self, statement: Statement, *, rolls_back: bool, running: str = "") -> None:
        """A string with transaction control was carried out, by the portal `running` if it has a name. `rolls_back`:
        the server said ROLLBACK of some of it."""
        if statement.runs_code:
            self.ended(is_committed=False, running=running)         # of unknown order
            return
        for kind, body in () if statement.whole.reading is None else statement.whole.reading.utilities:
            if kind == "TransactionStmt":
                kind = str(body.get("kind", "")).removeprefix("TRANS_STMT_")
                if kind in ("COMMIT", "ROLLBACK", "PREPARE"):
                    self.ended(is_committed=kind == "COMMIT" and not rolls_back, running=running)
                else:
                    self._step(kind, body.get("savepoint_name", ""))

    def _step(self, kind: str, name: str) -> None:
        if kind == "SAVEPOINT":
            if len(self._savepoints) == _MOST_SAVEPOINTS:
                del self._savepoints[0]                 # unknown ones take everything with them
            self._savepoints.append((name, self._next()))
        elif kind in ("RELEASE", "ROLLBACK_TO"):
            found = next((index for index in reversed(range(len(self._savepoints))) if self._savepoints[index][0] == name), -1)
            if kind == "RELEASE":
                del self._savepoints[max(found, 0):]
                return
            number = 0 if found < 0 else self._savepoints[found][1]
            del self._savepoints[found + 1:]
            self._end([one for one, cursor in self._open.items() if cursor.number > number and not cursor.is_kept])

    def failed(self, statement: Statement) -> None:
        """A statement with transaction control failed: of a string of several, nobody knows what ran."""
        if statement.count > 1 or statement.runs_code or not _IN_BLOCK.issuperset(statement.transaction):
            self.ended(is_committed=False)

    def _end(self, names: list[str]) -> None:
        self._gone += [name for name in names if self._open[name].is_bound]
        self._drop(names)

    def _drop(self, names: list[str]) -> None:
        for name in names:
            self._held -= self._open.pop(name).size
        self.version += bool(names)

    def _next(self) -> int:
        self._number += 1
        self.version += 1
        return self._number
