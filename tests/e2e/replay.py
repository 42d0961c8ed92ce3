"""Replays the benign corpus over a real connection, statement by statement, and compares what came back.

Apart from the test because it judges nothing but equality. What depends on a labelled column is not asked of
our own analysis: a column of a result does if it differs between two databases that differ in labelled columns
only. What differs between two runs on equal databases (times, random ids) is nobody's fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import pq

FOLDER = Path(__file__).parents[1] / "data" / "benign"
_NAMED = re.compile(r"\{(relation|type|function|schema|database):([^}]+)\}")
_OID = {"relation": "%s::regclass", "type": "%s::regtype", "function": "%s::regprocedure", "schema": "%s::regnamespace",
        "database": "(select oid from pg_database where datname = current_database() and %s <> '')"}
_PROTECTED = re.compile(r"\s*(?:select|with|insert|update|delete|merge|table|values|explain)\b", re.IGNORECASE)
_OWN_NAME = re.compile(rb"^lockgate:[0-9a-f]{32}$")      # the application_name that the gateway gives a session
_HOLES = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b|\$\d+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One statement as a client sent it."""

    sql: str
    values: tuple[bytes | None, ...] = ()
    types: tuple[int, ...] = ()
    formats: tuple[int, ...] = ()
    is_extended: bool = False
    is_binary: bool = False
    predicate: str = ""         # why it filters on a labelled column, which a policy may refuse

    @property
    def shape(self) -> str:
        """Statements that differ in literals only are the same one for the count."""
        return _HOLES.sub("?", self.sql)


@dataclass(frozen=True, slots=True)
class Corpus:
    """One file: what it runs on, what is labelled there, and the statements in their order.

    Files with one `place` share their databases and run one after the other, those that write last.
    """

    name: str
    place: str
    database: str
    labels: tuple[str, ...]
    raw: tuple[Any, ...]


@dataclass(slots=True)
class Answer:
    """What came back for one statement."""

    code: str = ""
    reason: str = ""
    tags: list[str] = field(default_factory=list)
    columns: list[tuple[bytes, int]] = field(default_factory=list)
    origins: list[tuple[int, int]] = field(default_factory=list)    # table and attribute of each, 0 where it is an expression
    rows: list[tuple[bytes | None, ...]] = field(default_factory=list)
    copied: list[bytes] = field(default_factory=list)

    def column(self, number: int) -> list[bytes | None]:
        return [row[number] for row in self.rows]


def corpora() -> list[Corpus]:
    """All files."""
    found = []
    for path in sorted(FOLDER.glob("*.json"), reverse=True):
        content = json.loads(path.read_text())
        found.append(Corpus(path.stem, content.get("place", path.stem), content["database"], tuple(content["labels"]), tuple(content["statements"])))
    return found


def entries(corpus: Corpus, connection: psycopg.Connection[Any]) -> list[Entry]:
    """The statements, with the OIDs that objects have in this database."""
    known: dict[str, str] = {}

    def oid(found: re.Match[str]) -> str:
        if found[0] not in known:
            row = connection.execute(f"select {_OID[found[1]]}::oid".encode(), [found[2]]).fetchone()
            assert row is not None
            known[found[0]] = str(row[0])
        return known[found[0]]

    def value(given: Any) -> bytes | None:
        if given is None:
            return None
        if isinstance(given, str):
            return _NAMED.sub(oid, given).encode()
        if "hex4" in given:
            return int(_NAMED.sub(oid, given["hex4"])).to_bytes(4, "big")
        return bytes.fromhex(given["hex"])

    made = []
    for raw in corpus.raw:
        if isinstance(raw, str):
            raw = {"sql": raw}
        values = raw.get("values", ())
        made.append(Entry(
            _NAMED.sub(oid, raw["sql"]), tuple(map(value, values)),
            tuple(int(_NAMED.sub(oid, str(type_))) for type_ in raw.get("types", ())),
            tuple(int(isinstance(given, dict)) for given in values), raw.get("extended", False), raw.get("binary", False),
            raw.get("predicate", "")))
    return made


class Replay:
    """One session. Inside a transaction block a statement that fails is rolled back alone, so that the rest can go on."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.connection.add_notice_handler(lambda _: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def run(self, entry: Entry) -> Answer:
        raw = self.connection.pgconn
        guarded = raw.transaction_status == pq.TransactionStatus.INTRANS and _PROTECTED.match(entry.sql) is not None
        if guarded:
            raw.exec_(b"savepoint lockgate_replay")
        answer = Answer()
        if entry.is_extended:
            self._collect(raw.exec_params(entry.sql.encode(), list(entry.values), list(entry.types) or None,
                                          list(entry.formats) or None, int(entry.is_binary)), answer)
        else:
            raw.send_query(entry.sql.encode())
            self._drain(raw, answer)
        if guarded and raw.transaction_status == pq.TransactionStatus.INERROR:
            raw.exec_(b"rollback to savepoint lockgate_replay")
        elif guarded and raw.transaction_status == pq.TransactionStatus.INTRANS:
            raw.exec_(b"release savepoint lockgate_replay")
        return answer

    def _drain(self, raw: pq.abc.PGconn, answer: Answer) -> None:
        while (result := raw.get_result()) is not None:
            if result.status == pq.ExecStatus.COPY_OUT:
                while True:
                    size, data = raw.get_copy_data(0)
                    if size < 0:
                        break
                    answer.copied.append(bytes(data))
            elif result.status == pq.ExecStatus.COPY_IN:
                raw.put_copy_end()
            else:
                self._collect(result, answer)

    def _collect(self, result: pq.abc.PGresult, answer: Answer) -> None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            answer.code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"?").decode()
            answer.reason = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()
            return
        answer.tags.append((result.command_status or b"").decode())
        if result.nfields:
            answer.columns = [(result.fname(at) or b"", result.ftype(at)) for at in range(result.nfields)]
            answer.origins = [(result.ftable(at), result.ftablecol(at)) for at in range(result.nfields)]
            answer.rows = [tuple(result.get_value(row, at) for at in range(result.nfields)) for row in range(result.ntuples)]


def independent(one: Answer, again: Answer, other: Answer, labelled: frozenset[tuple[int, int]]) -> list[int]:
    """Numbers of the columns that depend neither on a labelled column nor on the moment.

    What the corpus itself has written is the same in both databases, so a plain labelled column is told by its origin.
    """
    if one.code or again.code or other.code or not len(one.rows) == len(again.rows) == len(other.rows):
        return []
    return [at for at in range(len(one.columns)) if one.origins[at] not in labelled
            and one.column(at) == again.column(at) and sorted(one.column(at), key=repr) == sorted(other.column(at), key=repr)]


def differences(direct: Answer, gated: Answer, columns: Sequence[int]) -> str:
    """How an answer through the gateway differs from the direct one, where it may not; empty if it does not."""
    if gated.columns != direct.columns:
        return f"columns {gated.columns} instead of {direct.columns}"
    if gated.tags != direct.tags:
        return f"tags {gated.tags} instead of {direct.tags}"
    mine = [tuple(_OWN_NAME.sub(b"", row[at]) if row[at] else row[at] for at in columns) for row in gated.rows]
    theirs = [tuple(row[at] for at in columns) for row in direct.rows]
    if [name for name, _ in direct.columns] == [b"QUERY PLAN"] or sorted(mine, key=repr) == sorted(theirs, key=repr):
        return ""           # a plan may be another
    wrong = next((pair for pair in zip(mine, theirs, strict=False) if pair[0] != pair[1]), (mine[-1:], theirs[-1:]))
    return f"{wrong[0]!r} instead of {wrong[1]!r}"
