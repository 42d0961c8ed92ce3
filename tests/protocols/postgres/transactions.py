"""The model server with transactions that can be looked at: what was committed, and limits of its own.

It plans `select N` for N rows.

`select N` gives N rows, `insert into t values (N)` and `delete from t where id = N` change one and N rows. With
`limits` it is the oracle: what a client sees through a gateway with these limits, and what is left behind,
must be what this server does by itself.
"""

from __future__ import annotations

import re

from lockgate.model import UNLIMITED, RowLimits
from tests.protocols.postgres import support as s
from tests.protocols.postgres.model_server import Failure, ModelServer

OVER = "54000"


class Cut(Failure):
    """An error behind rows that were delivered."""

    def __init__(self, rows: bytes) -> None:
        super().__init__(OVER, "over a limit")
        self.rows = rows


class TransactionServer(ModelServer):
    def __init__(self, limits: RowLimits = UNLIMITED) -> None:
        super().__init__()
        self.limits = limits
        self.pending: list[str] = []
        self.committed: list[str] = []

    def _message(self, kind: str, body: bytes) -> bytes:
        if kind == "S" and not self.skipping and self.status == "I":
            self._commit()
        return super()._message(kind, body)

    def _commit(self) -> None:
        self.committed += self.pending
        self.pending = []

    def _failed(self, failure: Failure) -> bytes:
        if self.status == "I":
            self.pending = []
        rows = failure.rows if isinstance(failure, Cut) else b""
        return rows + super()._failed(failure)

    def _simple(self, text: str) -> bytes:
        out = b""
        self.portals.pop("", None)
        try:
            texts = [part.strip() for part in text.split(";") if part.strip()]
            for part in texts:
                self._check(part)
            for part in texts:
                if self.status == "E" and not re.match("(?i)commit|rollback", part):
                    raise Failure("25P02", "current transaction is aborted")
                rows = self._rows(part)
                out += s.columns("a") if rows is not None else b""
                out += self._run(part, rows or 0)
            if self.status == "I":
                self._commit()
        except Failure as failure:
            out += self._failed(failure)
        return out + self._ready()

    def _check(self, text: str) -> None:
        if not re.match(r"(?i)(explain|select|begin|commit|rollback|insert|delete)\b", text):
            raise Failure("42601", "syntax error")

    def _extended(self, kind: str, body: bytes) -> bytes:
        if self.status == "E" and kind in "PB":
            _, text, _ = body.split(b"\0", 2)
            statement = text.decode() if kind == "P" else self._named(self.statements, text, "26000")
            if not re.match("(?i)commit|rollback", statement):
                raise Failure("25P02", "current transaction is aborted")
        return super()._extended(kind, body)

    def _run(self, text: str, rows: int) -> bytes:
        if self.status == "E" and not re.match("(?i)commit|rollback", text):
            raise Failure("25P02", "current transaction is aborted")
        if text.startswith("EXPLAIN"):
            return s.row(b'[{"Plan": {"Plan Rows": %d, "Total Cost": 1}}]' % (self._rows(text[22:]) or 1)) + s.complete("EXPLAIN")
        if "fail" in text:
            raise Failure("22012", "division by zero")
        if text.lower() == "begin":
            self.status = "T"
            return s.complete("BEGIN")
        if text.lower() in ("commit", "rollback"):
            tag = "ROLLBACK" if self.status == "E" else text.upper()
            if tag == "COMMIT":
                self._commit()
            self.pending, self.status = [], "I"
            self.portals.clear()                    # of the transaction that has ended, begun with BEGIN or not
            return s.complete(tag)
        changed = re.search(r"(insert|delete).*?(\d+)", text)
        if changed:
            count = 1 if changed[1] == "insert" else int(changed[2])
            if self.limits.changed is not None and count > self.limits.changed:
                raise Failure(OVER, "over a limit")
            self.pending.append(text)
            return s.complete(f"INSERT 0 {count}" if changed[1] == "insert" else f"DELETE {count}")
        limit = self.limits.rows
        if limit is not None and rows > limit:
            raise Cut(s.row(b"x") * limit)
        return s.row(b"x") * rows + s.complete(f"SELECT {rows}")

    def _execute(self, portal: list[int | str], limit: int) -> bytes:
        text, left = str(portal[0]), int(portal[1])
        if self.status == "E" and not re.match("(?i)commit|rollback", text):
            raise Failure("25P02", "current transaction is aborted")
        if left == -2:
            raise Failure("55000", "portal cannot be run")
        if left < 0 or self.limits.rows is None or "fail" in text:
            out = super()._execute(portal, limit)
            portal[1] = int(portal[1]) if text.lower().startswith("select") else -2
            return out
        if len(portal) == 2:
            portal.append(0)                        # delivered
        spent = int(portal[2])
        wanted = min(left, limit) if limit else left
        may = min(wanted, self.limits.rows - spent)
        if may < wanted:
            raise Cut(s.row(b"x") * may)
        portal[2] = spent + wanted
        portal[1] = left - wanted
        is_over = not limit or left <= limit
        return s.row(b"x") * wanted + (s.complete(f"SELECT {wanted}") if is_over else s.SUSPENDED)
