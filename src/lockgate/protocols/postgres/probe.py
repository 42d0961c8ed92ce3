"""The catalogue of a connection, read on a connection that the gateway holds itself.

Apart from `login`: no client takes part, no client's parameter reaches it, and `search_path` is empty
so that view definitions come fully qualified.
"""

from __future__ import annotations

from collections.abc import Sequence

from lockgate.analysis.sql import Catalogue, KnownColumns
from lockgate.errors import RemoteProtocolError
from lockgate.kernel.frames import frame
from lockgate.kernel.rows import fields
from lockgate.model import Refusal, RefusalCode
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.settings import settings_of
from lockgate.protocols.postgres.upstream import Failure, Upstream, log_in
from lockgate.wire.spec import ProbeContext
from lockgate.wire.steps import Steps

_LARGEST_ROW = 16 << 20
_MOST_ROWS = 2_000_000
_PARAMETERS = {
    "client_encoding": "UTF8", "search_path": "", "application_name": "lockgate:probe",
    "default_transaction_read_only": "on", "statement_timeout": "30000",
}


def probe(context: ProbeContext) -> Steps[Catalogue | Refusal]:
    """The newest catalogue; the previous one itself where the backend's fingerprint is unchanged."""
    connection = context.connection
    try:
        link, _ = yield from log_in(connection, settings_of(connection.options).database or connection.name, _PARAMETERS)
        fingerprint = yield from _value(link, Catalogue.FINGERPRINT)
        previous = context.previous
        if previous is not None and not context.fresh and previous.fingerprint == fingerprint:
            yield from link.send(m.TERMINATE_FRAME)
            return previous  # type: ignore[no-any-return]
        found: dict[str, Sequence[Sequence[str | None]]] = {}
        for name, statement in Catalogue.QUERIES.items():
            found[name] = yield from _rows(link, statement)
        yield from link.send(m.TERMINATE_FRAME)
        known = settings_of(connection.options).known_columns
        return Catalogue.from_rows(found, context.version, fingerprint,
                                   None if known is None else KnownColumns(known), previous)
    except Failure as failure:
        return Refusal(RefusalCode.BACKEND_UNAVAILABLE, failure.problem.message, hint=failure.problem.hint,
                       cause=failure.cause)
    except RemoteProtocolError:
        return Refusal(RefusalCode.BACKEND_UNAVAILABLE,
                       f"the catalogue of connection {connection.name} could not be read")


def _value(link: Upstream, statement: str) -> Steps[str]:
    rows = yield from _rows(link, statement)
    if len(rows) != 1 or len(rows[0]) != 1 or rows[0][0] is None:
        raise RemoteProtocolError("one value was expected")
    return rows[0][0]


def _rows(link: Upstream, statement: str) -> Steps[list[list[str | None]]]:
    """All rows of one statement, as text."""
    yield from link.send(codec.query(statement))
    rows: list[list[str | None]] = []
    sqlstate: str | None = None
    while True:
        kind, body = yield from link.message(_LARGEST_ROW)
        if kind == m.DATA_ROW:
            rows.append([
                None if start < 0 else body[start:end].decode("utf-8", "replace")
                for start, end in fields(body, 0, len(body))
            ])
            if len(rows) > _MOST_ROWS:
                raise RemoteProtocolError("the catalogue is too large")
        elif kind == m.ERROR_RESPONSE:
            whole = frame(kind, body)
            sqlstate = codec.read_fields(whole, 0, len(whole)).get("C", "")
        elif kind == m.READY:
            if sqlstate is not None:
                raise link.failure(f"does not let its catalogue be read (SQLSTATE {sqlstate[:5]})")
            return rows
