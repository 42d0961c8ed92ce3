"""A small PostgreSQL: the message flow of section 54.2, with statements that say what they do.

`select N` gives N rows, `fail …` (as `select fail`) an error, `begin`, `commit`, `rollback` move the
block, `drop …` fails with 42501 as the policy of the tests words it, `copy … from stdin` reads.
It is the oracle of the property tests: what a client sees through the mediator must be what it sees
from this server directly.
"""

from __future__ import annotations

import re

from lockgate.kernel.frames import split_frames
from tests.protocols.postgres import support as s


class ModelServer:
    def __init__(self) -> None:
        self.status = "I"
        self.skipping = False
        self.buffer = b""
        self.statements: dict[str, str] = {}
        self.portals: dict[str, list[int | str]] = {}
        self.copying: str | None = None
        self.executed: list[str] = []

    def feed(self, data: bytes) -> bytes:
        self.buffer += data
        frames, rest = split_frames(self.buffer, 0, 1 << 30)
        out = b"".join(self._message(chr(kind), self.buffer[start + 5:end]) for kind, start, end in frames)
        self.buffer = self.buffer[rest:]
        return out

    def _message(self, kind: str, body: bytes) -> bytes:
        if self.copying is not None:
            return self._copy(kind)
        if self.skipping and kind not in "SX":
            return b""
        if kind == "Q":
            return self._simple(body[:-1].decode())
        if kind == "S":
            self.skipping = False
            return self._ready()
        if kind in "HXdcf":
            return b""
        try:
            return self._extended(kind, body)
        except Failure as failure:
            self.skipping = True
            return self._failed(failure)

    def _ready(self) -> bytes:
        if self.status == "I":
            self.portals.clear()
        return s.ready(self.status)

    def _failed(self, failure: Failure) -> bytes:
        if self.status == "T":
            self.status = "E"
        return s.error(failure.args[0], failure.args[1])

    def _copy(self, kind: str) -> bytes:
        if kind in "dSH":
            return b""
        mode, self.copying = self.copying, None
        if kind == "c":
            return s.complete("COPY 1") + (self._ready() if mode == "simple" else b"")
        failed = self._failed(Failure("57014", "COPY from stdin failed"))
        if mode == "simple":
            return failed + self._ready()
        self.skipping = True
        return failed

    def _simple(self, text: str) -> bytes:
        self.portals.pop("", None)
        try:
            self._check(text)
            if text.startswith("copy"):
                self.copying = "simple"
                return b"G\0\0\0\7\0\0\0"
            rows = self._rows(text)
            head = s.columns("a") if rows is not None else b""
            return head + self._run(text, rows or 0) + self._ready()
        except Failure as failure:
            return self._failed(failure) + self._ready()

    def _check(self, text: str) -> None:
        if not re.match(r"(select|begin|commit|rollback|drop|copy)\b", text):
            raise Failure("42601", "syntax error")
        if text.startswith("drop"):
            raise Failure("42501", "drops are not allowed")
        if self.status == "E" and not re.match("commit|rollback", text):
            raise Failure("25P02", "current transaction is aborted")

    def _rows(self, text: str) -> int | None:
        found = re.match(r"select (\d+)", text)
        return int(found[1]) if found else (0 if text.startswith("select") else None)

    def _run(self, text: str, rows: int) -> bytes:
        self.executed.append(text)
        if "fail" in text:
            raise Failure("22012", "division by zero")
        if text == "begin":
            self.status = "T"
            return s.complete("BEGIN")
        if text in ("commit", "rollback"):
            tag = "ROLLBACK" if self.status == "E" else text.upper()
            self.status = "I"
            return s.complete(tag)
        return s.row(b"x") * rows + s.complete(f"SELECT {rows}")

    def _extended(self, kind: str, body: bytes) -> bytes:
        if kind == "P":
            name, text, _ = body.split(b"\0", 2)
            if text.startswith(b"drop"):
                raise Failure("42501", "drops are not allowed")       # the gateway comes before the server
            if name and name.decode() in self.statements:
                raise Failure("42P05", "prepared statement already exists")
            self.statements.pop("", None) if not name else None
            self._check(text.decode())
            self.statements[name.decode()] = text.decode()
            return s.PARSED
        if kind == "B":
            portal, name, _ = body.split(b"\0", 2)
            text = self._named(self.statements, name, "26000")
            if portal and portal.decode() in self.portals:
                raise Failure("42P03", "cursor already exists")
            self._check(text)
            self.portals[portal.decode()] = [text, self._rows(text) if self._rows(text) is not None else -1]
            return s.BOUND
        if kind == "D":
            which, name = body[:1], body[1:-1]
            text = self._named(self.statements, name, "26000") if which == b"S" else \
                self._named(self.portals, name, "34000")[0]
            head = b"t\0\0\0\6\0\0" if which == b"S" else b""
            return head + (s.columns("a") if str(text).startswith("select") else s.NO_DATA)
        if kind == "C":
            (self.statements if body[:1] == b"S" else self.portals).pop(body[1:-1].decode(), None)
            return s.CLOSED
        assert kind == "E"
        name, limit = body[:-5], int.from_bytes(body[-4:], "big")
        return self._execute(self._named(self.portals, name, "34000"), limit)

    def _execute(self, portal: list[int | str], limit: int) -> bytes:
        text, left = str(portal[0]), int(portal[1])
        self._check(text)
        if text.startswith("copy"):
            self.copying = "extended"
            return b"G\0\0\0\7\0\0\0"
        if limit and left > limit:
            portal[1] = left - limit
            return s.row(b"x") * limit + s.SUSPENDED
        portal[1] = 0
        return self._run(text, max(left, 0))

    @staticmethod
    def _named(items: dict, name: bytes, code: str):  # type: ignore[no-untyped-def,type-arg]
        if name.decode() not in items:
            raise Failure(code, "does not exist")
        return items[name.decode()]


class Failure(Exception):
    pass
