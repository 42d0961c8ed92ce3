"""Analysis and rewriting without a gateway: plan a statement, run what comes out on a real server.

One session. It follows a session as the protocol does: relations, prepared statements and cursors become
known when their statement has succeeded; errors and notices are worded as the gateway words them.
"""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import pq

from lockgate.analysis.sql import Analyzer, Catalogue, Masked, NotUnderstood, SessionNames, Statement
from lockgate.model import ColumnMask, Refusal, RefusalCode
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.results import rebuilt
from testbed.noninterference.databases import Databases
from testbed.noninterference.harness import Harness
from testbed.noninterference.outcome import Message, Outcome

SLOW: Final = 1_000
"""Milliseconds after which a statement is too slow to be compared."""
MOST_ROWS: Final = 20_000
"""Of one result; a longer one is cancelled there and compared so far. What comes then is a race: it is left out."""

_FIRST_USER_OID: Final = 16_384
_FIELDS: Final = tuple(pq.DiagnosticField)
_STATUSES: Final = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.SINGLE_TUPLE)


def direct_harness(databases: Databases, timeout: int = SLOW) -> Harness:
    """A harness over sessions of this kind. They share one analysis, as those of a gateway do."""
    model, analyzer = databases.model, Analyzer()
    return Harness(databases, lambda side: Direct(
        databases.dsn(side), model.masks, databases.catalogue, model.path, analyzer, timeout))


class Direct:
    """One session on the database of `dsn`. `catalogue` and `masks` are those of its model."""

    def __init__(self, dsn: str, masks: tuple[ColumnMask, ...], catalogue: Catalogue, path: str,
                 analyzer: Analyzer | None = None, timeout: int = 0) -> None:
        self.analyzer = analyzer or Analyzer()
        self.masks = masks
        self.catalogue = catalogue
        self._path = path
        self.session = self._names()
        self.connection = psycopg.connect(dsn, autocommit=True, options=f"-c statement_timeout={timeout}")
        self.connection.execute(f"set search_path = {path}".encode())
        self._outcome = Outcome()
        self._is_rewritten = False
        self._is_labelled = False           # a labelled relation was touched in this transaction
        self.connection.pgconn.notice_handler = self._notice

    def _names(self) -> SessionNames:
        names = SessionNames()
        names.path = tuple(name.strip() for name in self._path.split(","))
        return names

    def close(self) -> None:
        self.connection.close()

    def statement(self, text: str) -> Statement:
        """As the protocol judges it, with the effects of the code that it runs."""
        return self.analyzer.in_catalogue(self.analyzer.statement(text), self.catalogue, self.session)

    def plan(self, text: str) -> Masked | Refusal | NotUnderstood:
        try:
            statement = self.statement(text)
        except NotUnderstood as error:
            return error
        if statement.forbidden is not None:
            return Refusal(RefusalCode.UNSUPPORTED, statement.forbidden)
        return self.analyzer.mask(statement, self.masks, self.catalogue, self.session)

    def run(self, text: str, parameters: tuple[str | None, ...] = (), *, binary: bool = False) -> Outcome:
        """Plans the whole string and runs it; what has parameters or asks for binary results, as one statement.

        A transaction that the string leaves open stays open.
        """
        planned = self.plan(text)
        if isinstance(planned, NotUnderstood):
            return Outcome(refusal=planned.message)
        if isinstance(planned, Refusal):
            return Outcome(refusal=planned.reason)
        if planned.results:
            raise NotImplementedError("results are masked by the gateway: compare through it")
        outcome = self._outcome = Outcome(touches=planned.touches_labelled, text=planned.text)
        self._is_rewritten = planned.text != text
        connection = self.connection.pgconn
        if connection.transaction_status == pq.TransactionStatus.IDLE:
            self._is_labelled = False
        self._is_labelled |= planned.touches_labelled
        if binary or parameters:
            values = [None if value is None else value.encode() for value in parameters]
            connection.send_query_params(planned.text.encode(), values, result_format=int(binary))
        else:
            connection.send_query(planned.text.encode())
        self._drain(outcome, planned.labelled)
        self._notified(outcome)
        if not outcome.state:
            self.session.succeeded(self.statement(text), planned)
        return outcome

    def begin(self, *, is_transaction: bool) -> None:
        """Same random numbers on every side; with `is_transaction`, inside a new transaction."""
        self._command(("begin;" if is_transaction else "") + "select pg_catalog.setseed(0.25)")

    def reset(self) -> None:
        """Rolls back and forgets whatever the session has."""
        if self.connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            self._command("rollback")
        self._command("discard all")
        self._command(f"set search_path = {self._path}")
        self.session = self._names()
        self._is_labelled = False

    def _command(self, text: str) -> None:
        """A statement of the harness itself, past the masks; its words are nobody's."""
        self._outcome = Outcome()
        self.connection.pgconn.exec_(text.encode())

    # ---------------------------------------------------------------- results

    def _drain(self, outcome: Outcome, labelled: frozenset[tuple[int, int]]) -> None:
        connection = self.connection.pgconn
        connection.set_single_row_mode()
        is_described, rows = False, 0
        while (result := connection.get_result()) is not None:
            if result.status == pq.ExecStatus.COPY_OUT:
                self._copied(outcome)
            elif result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_BOTH):
                connection.put_copy_end(b"the harness sends no data")
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                if not outcome.is_cut:
                    self._error(_fields(result), outcome)
            elif result.status in _STATUSES:
                if not is_described:
                    self._described(result, outcome, labelled)
                    is_described, rows = True, 0
                for row in range(result.ntuples):
                    rows += 1
                    if not outcome.is_cut:
                        outcome.messages.append(Message("D", tuple(
                            result.get_value(row, column) for column in range(result.nfields))))
                if rows == MOST_ROWS:
                    outcome.is_cut = True
                    connection.get_cancel().cancel()
                if result.status == pq.ExecStatus.TUPLES_OK and not outcome.is_cut:
                    self._tagged(result, outcome)
                    is_described = False
            elif not outcome.is_cut:
                self._tagged(result, outcome)

    def _copied(self, outcome: Outcome) -> None:
        connection = self.connection.pgconn
        while True:
            size, data = connection.get_copy_data(0)
            if size < 0:
                return
            outcome.messages.append(Message("d", (bytes(data),)))

    def _described(self, result: pq.abc.PGresult, outcome: Outcome, labelled: frozenset[tuple[int, int]]) -> None:
        """RowDescription: names, types, modifiers, formats, and where the server says a column comes from."""
        cells: list[bytes | None] = []
        for column in range(result.nfields):
            table = result.ftable(column)
            place = table, result.ftablecol(column)
            outcome.witnessed |= place in labelled
            if table >= _FIRST_USER_OID and table not in self.catalogue.by_oid:
                place = _FIRST_USER_OID, place[1]       # made just now: its number is chance
            numbers = result.ftype(column), result.fmod(column), int(result.fformat(column)), *place
            cells += [result.fname(column), repr(numbers).encode()]
        outcome.messages.append(Message("T", tuple(cells)))

    def _tagged(self, result: pq.abc.PGresult, outcome: Outcome) -> None:
        tag = result.command_status or b""
        outcome.tags.append(tag.decode())
        outcome.messages.append(Message("C", (tag,)))

    # ---------------------------------------------------------------- errors, notices, notifications

    def _error(self, found: dict[str, str], outcome: Outcome) -> None:
        outcome.state = found.get("C", "XX000")
        outcome.constraint = found.get("n", "")
        self._worded(m.ERROR_RESPONSE, found, outcome)

    def _notice(self, result: pq.abc.PGresult) -> None:
        self._worded(m.NOTICE_RESPONSE, _fields(result), self._outcome)

    def _worded(self, kind: int, found: dict[str, str], outcome: Outcome) -> None:
        """As the gateway words it (`protocols.postgres.replies`)."""
        if self._is_rewritten:
            found.pop("P", None)
        if not self._is_labelled:
            outcome.messages.append(Message(chr(kind), tuple(
                f"{letter}{text}".encode() for letter, text in sorted(found.items()))))
            return
        outcome.withheld += [text.encode() for text in found.values()]
        shown = rebuilt(kind, found)
        if shown is not None:
            outcome.messages.append(Message(chr(kind), (shown,)))

    def _notified(self, outcome: Outcome) -> None:
        connection = self.connection.pgconn
        connection.consume_input()
        while (notify := connection.notifies()) is not None:
            # the gateway empties the payload
            outcome.messages.append(Message("A", (notify.relname,)))
            outcome.withheld.append(notify.extra)


def _fields(result: pq.abc.PGresult) -> dict[str, str]:
    """The fields of an error or notice by the protocol's letters (manual, "Error and Notice Message Fields")."""
    found = {}
    for name in _FIELDS:
        value = result.error_field(name)
        if value is not None:
            found[chr(name)] = value.decode("utf-8", "replace")
    return found
