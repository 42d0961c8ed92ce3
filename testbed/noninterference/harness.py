"""The comparison of many statements: each on both sides, several times where they differ, with figures.

A statement runs in a transaction that is rolled back afterwards, so that the next one finds the databases
as they were; one that has transactions of its own has the databases made anew. After a change, what the
client can read of every relation is compared as well: a value that was stored in an open column shows there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, Protocol

from testbed.noninterference.comparison import Runs, Verdict, are_equal, judge
from testbed.noninterference.databases import Databases
from testbed.noninterference.models import SIDES
from testbed.noninterference.outcome import Kind, Message, Outcome
from testbed.noninterference.statements import Statement

ROUNDS: Final = 5
"""Runs per side, at most, before a difference counts."""
_ENOUGH: Final = 3
"""Runs per side of a statement that never differs from itself."""

_RELATIONS: Final = """
select case when c.relpersistence = 't' then 'pg_temp' else quote_ident(n.nspname) end || '.' || quote_ident(c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
  and (c.relpersistence <> 't' or n.oid = pg_catalog.pg_my_temp_schema()) order by 1
"""


class Session(Protocol):
    """One client's session on one database, masks in force."""

    def run(self, text: str, parameters: tuple[str | None, ...] = (), *, binary: bool = False) -> Outcome: ...

    def begin(self, *, is_transaction: bool) -> None:
        """Same random numbers on every side; with `is_transaction`, inside a new transaction."""

    def reset(self) -> None:
        """Rolls back and forgets whatever the session has."""

    def close(self) -> None: ...


class Side:
    """One of the two, with a session that is opened when it is needed."""

    def __init__(self, name: str, databases: Databases, connect: Callable[[str], Session]) -> None:
        self.name = name
        self.databases = databases
        self.connect = connect
        self.session: Session | None = None
        self.is_dirty = False

    def observe(self, statement: Statement) -> Outcome:
        """What the statement delivers on this database, as it was in the beginning."""
        if self.is_dirty:
            self.restore()
        session = self.session = self.session or self.connect(self.name)
        is_own = statement.has_own_transaction
        session.begin(is_transaction=not is_own)
        outcome = session.run(statement.sql, statement.parameters, binary=statement.is_binary)
        if outcome.changes and not outcome.state:
            if not is_own:
                self._append(outcome, "set constraints all immediate", session)
            if not outcome.state:
                self._look(outcome, session)
        session.reset()
        if statement.may_write and outcome.allowed:
            self.databases.tidy(self.name)
        self.is_dirty = is_own and outcome.allowed and (outcome.changes or bool(outcome.state))
        return outcome

    def restore(self) -> None:
        """The database as it was in the beginning."""
        self.close()
        self.databases.restore(self.name)
        self.is_dirty = False

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None

    def _append(self, outcome: Outcome, text: str, session: Session) -> None:
        """A deferred constraint speaks when the transaction ends."""
        more = session.run(text)
        outcome.messages += [message for message in more.messages if message.kind != "C"]
        outcome.withheld += more.withheld
        outcome.state, outcome.constraint = more.state, more.constraint

    def _look(self, outcome: Outcome, session: Session) -> None:
        """What the client can read now, relation by relation, whatever the order of the rows."""
        for relation in session.run(_RELATIONS).rows:
            seen = session.run(f"select * from {relation.decode()}")
            if not seen.allowed:
                continue
            rows = sorted((message.cells for message in seen.messages), key=repr)
            cells = [cell for row in rows for cell in row]
            outcome.messages.append(Message("state", (relation, *cells)))
            if seen.state:          # the transaction is lost
                return


@dataclass(frozen=True, slots=True)
class Difference:
    """A statement that tells the sides apart, why, and the text that went to the server in its place."""

    statement: Statement
    reason: str
    text: str


@dataclass
class Report:
    """Figures of a run. `compared` leaves out what proves nothing: refusals and what took too long."""

    compared: Counter[Kind] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    too_slow: int = 0
    unsettled: list[Difference] = field(default_factory=list)
    stated: list[Difference] = field(default_factory=list)      # existence, by constraints: the threat model
    differences: list[Difference] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Statements compared to the end."""
        return sum(self.compared.values())

    def __str__(self) -> str:
        kinds = ", ".join(f"{self.compared[kind]:,d} {kind.value}" for kind in
                          (Kind.ROWS, Kind.EMPTY, Kind.CHANGE, Kind.ERROR))
        return (f"{self.total:,d} compared ({kinds}), {len(self.differences)} differ; beside them "
                f"{self.refused.total():,d} refused, {len(self.unsettled)} that differ from themselves, "
                f"{len(self.stated)} that a constraint answers, {self.too_slow} too slow")


class Harness:
    """Compares statements on the databases of one model. `connect` opens a session on one of `SIDES`."""

    def __init__(self, databases: Databases, connect: Callable[[str], Session]) -> None:
        self.sides = {name: Side(name, databases, connect) for name in SIDES}
        self.constraints = databases.constraints()
        labelled = databases.differing.values()
        self.values_one = frozenset(value[1:].encode() for column in labelled for value in column.one)
        self.values_two = frozenset(value[1:].encode() for column in labelled for value in column.two)
        self.report = Report()

    def close(self) -> None:
        for side in self.sides.values():
            side.close()

    def compare(self, statement: Statement) -> Verdict:
        """Runs one statement, counts it in `report` and says what came of it."""
        report = self.report
        one, two = self.sides["one"].observe(statement), self.sides["two"].observe(statement)
        if Kind.TIMEOUT in (one.kind, two.kind):
            report.too_slow += 1
            return Verdict.UNSETTLED
        if are_equal(one, two) and not one.witnessed:
            if one.refusal is not None:
                report.refused[one.refusal] += 1
            else:
                report.compared[one.kind] += 1
            return Verdict.EQUAL
        return self._again(statement, one, two)

    def compare_all(self, statements: Iterable[Statement]) -> Report:
        """Compares one after the other; returns `report`, which goes on counting."""
        for statement in statements:
            self.compare(statement)
        return self.report

    def _again(self, statement: Statement, one: Outcome, two: Outcome) -> Verdict:
        """The sides differ: once more on fresh databases, until it is clear why."""
        runs = {"one": [one], "two": [two]}
        is_plain = not (one.changes or two.changes or statement.has_own_transaction)
        verdict, reason = Verdict.DIFFERENT, ""
        for count in range(2, ROUNDS + 1):
            for name, side in self.sides.items():
                if not is_plain:
                    side.restore()
                runs[name].append(side.observe(statement))
            verdict, reason = judge(Runs(runs["one"], runs["two"]), self.values_one, self.values_two)
            if verdict is not Verdict.DIFFERENT or (count >= _ENOUGH and _is_steady(runs["one"] + runs["two"], count)):
                break
        if not is_plain:
            self._restore()
        found = Difference(statement, reason, one.text)
        outcomes = runs["one"] + runs["two"]
        if any(outcome.kind is Kind.TIMEOUT for outcome in outcomes):
            self.report.too_slow += 1
            return Verdict.UNSETTLED
        if verdict is Verdict.DIFFERENT and self._is_stated(one, two):
            verdict = Verdict.STATED
        listed = {Verdict.DIFFERENT: self.report.differences, Verdict.UNSETTLED: self.report.unsettled,
                  Verdict.STATED: self.report.stated}
        if verdict in listed:
            listed[verdict].append(found)
        else:
            self.report.compared[one.kind] += 1
        return verdict

    def _restore(self) -> None:
        """Both, so that they stay in step."""
        for side in self.sides.values():
            side.restore()

    def _is_stated(self, one: Outcome, two: Outcome) -> bool:
        """Whether all that differs is that a constraint on a labelled column is violated on one side, or another one."""
        if one.constraint == two.constraint or not self.constraints & {one.constraint, two.constraint}:
            return False
        before = [_before_end(one), _before_end(two)]
        length = min(map(len, before))
        return before[0][:length] == before[1][:length]


def _is_steady(outcomes: Sequence[Outcome], count: int) -> bool:
    """Whether each side has always said the same; the first `count` are those of one side."""
    return all(are_equal(outcome, side[0]) for side in (outcomes[:count], outcomes[count:]) for outcome in side)


def _before_end(outcome: Outcome) -> list[Message]:
    """What came before an error, or before what was looked at afterwards."""
    return list(takewhile(lambda message: message.kind not in ("E", "state"), outcome.messages))
