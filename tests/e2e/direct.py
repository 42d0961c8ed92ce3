"""Analysis and rewriting without a gateway: plan a statement, run what comes out on a real server.

Follows a session as the protocol does: relations, prepared statements and cursors become known when
their statement has succeeded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
from psycopg import pq

from lockgate.analysis.sql import Analyzer, Catalogue, Masked, NotUnderstood, SessionNames, Statement
from lockgate.model import ColumnMask, Refusal, RefusalCode


def snapshot(connection: psycopg.Connection, version: int = 1) -> Catalogue:
    """The catalogue as the gateway takes it."""
    connection.rollback()
    with connection.transaction():
        connection.execute("set local search_path = ''")
        rows = {name: [tuple(row) for row in connection.execute(query).fetchall()]
                for name, query in Catalogue.QUERIES.items()}
        found = connection.execute(Catalogue.FINGERPRINT).fetchone()
    assert found is not None
    return Catalogue.from_rows(rows, version, str(found[0]))


@dataclass
class Outcome:
    """What one statement string delivered: every byte that a client could have seen."""

    refusal: str | None = None
    rows: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)      # error and notice texts
    state: str = ""                                     # SQLSTATE
    tags: list[str] = field(default_factory=list)
    touches: bool = False
    witnessed: bool = False                             # a labelled column in a RowDescription

    @property
    def allowed(self) -> bool:
        return self.refusal is None

    @property
    def seen(self) -> bytes:
        """What reaches the client: where a protected relation is touched, texts are rebuilt and do not."""
        texts = [] if self.touches else [text.encode() for text in self.texts]
        return b"\n".join([*self.rows, *texts])

    @property
    def everything(self) -> bytes:
        return b"\n".join([*self.rows, *(text.encode() for text in self.texts)])


class Direct:
    """One session."""

    def __init__(self, dsn: str, masks: tuple[ColumnMask, ...], catalogue: Catalogue, path: str = "p") -> None:
        self.analyzer = Analyzer()
        self.masks = masks
        self.catalogue = catalogue
        self.session = SessionNames()
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.connection.execute(f"set search_path = {path}")
        self.notices: list[str] = []
        self.connection.add_notice_handler(lambda diagnostic: self.notices.append(
            f"{diagnostic.message_primary} {diagnostic.message_detail}"))

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

    def run(self, text: str, *, binary: bool = False) -> Outcome:
        """Plans the whole string, then runs it (split by statement for binary results)."""
        planned = self.plan(text)
        if isinstance(planned, NotUnderstood):
            return Outcome(refusal=planned.message)
        if isinstance(planned, Refusal):
            return Outcome(refusal=planned.reason)
        outcome = Outcome(touches=planned.touches_labelled)
        connection = self.connection.pgconn
        self.notices.clear()
        if binary:
            results = [connection.exec_params(planned.text.encode(), None, result_format=1)]
        else:
            connection.send_query(planned.text.encode())
            results = self._drain(outcome)
        for result in results:
            self._collect(result, outcome, planned)
        outcome.texts.extend(self.notices)
        if not outcome.state:
            self._follow(text, planned)
        if connection.transaction_status not in (pq.TransactionStatus.IDLE, pq.TransactionStatus.ACTIVE):
            connection.exec_(b"rollback")
        notify = connection.notifies()
        while notify is not None:
            outcome.rows.append(notify.extra)
            notify = connection.notifies()
        return outcome

    def _drain(self, outcome: Outcome) -> list[pq.abc.PGresult]:
        connection = self.connection.pgconn
        results = []
        while (result := connection.get_result()) is not None:
            if result.status == pq.ExecStatus.COPY_OUT:
                while True:
                    size, data = connection.get_copy_data(0)
                    if size < 0:
                        break
                    outcome.rows.append(bytes(data))
                continue
            if result.status == pq.ExecStatus.COPY_IN:
                connection.put_copy_end(b"not in this test")
                continue
            results.append(result)
        return results

    def _collect(self, result: pq.abc.PGresult, outcome: Outcome, planned: Masked) -> None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            outcome.state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
            outcome.texts.append(str(result.error_message))
            for part in (pq.DiagnosticField.MESSAGE_PRIMARY, pq.DiagnosticField.MESSAGE_DETAIL,
                         pq.DiagnosticField.MESSAGE_HINT, pq.DiagnosticField.CONTEXT):
                outcome.texts.append((result.error_field(part) or b"").decode())
            return
        outcome.tags.append((result.command_status or b"").decode())
        for column in range(result.nfields):
            if (result.ftable(column), result.ftablecol(column)) in planned.labelled:
                outcome.witnessed = True
        for row in range(result.ntuples):
            for column in range(result.nfields):
                outcome.rows.append(result.get_value(row, column) or b"")

    def _follow(self, text: str, planned: Masked) -> None:
        self.session.succeeded(self.statement(text), planned)
