"""One question to DuckDB, which can do nothing but answer it.

The database is a copy in a folder of its own that goes away afterwards, or with payloads in memory only, so
that what was opened is not written to a disk. Before the question is read, the engine is locked: no file, no
network, no extension, no change of settings, bounded memory, and only one statement that reads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb

from lockgate.audit.query.tables import create, fill
from lockgate.audit.storage.contract import Source
from lockgate.errors import AuditError

T = TypeVar("T")
MEMORY: Final = 512         # MiB
_PAYLOAD_MEMORY: Final = 1024
_READS: Final = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})
_ROWS: Final = 500
_LOCK: Final = (
    "SET enable_external_access = false", "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false", "SET allow_community_extensions = false", "SET lock_configuration = true",
)


class QueryError(AuditError):
    """The question cannot be answered: DuckDB's own words say why."""

    code = "audit.query"


class Answer:
    """Names of the columns, and the rows as they are asked for; `save` writes them as Parquet instead."""

    def __init__(self, relation: duckdb.DuckDBPyRelation) -> None:
        self._relation = relation
        self.columns: list[str] = list(relation.columns)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Every row, fetched by batches. Raises `QueryError`."""
        while batch := _answered(lambda: self._relation.fetchmany(_ROWS)):
            yield from batch

    def save(self, path: Path) -> None:
        """Write the rows to the one Parquet file that the question was allowed to be saved in."""
        _answered(lambda: self._relation.write_parquet(str(path), compression="zstd"))


@contextmanager
def asked(
    source: Source, question: str, *, first: int = 0, last: int | None = None, payloads: bool = False,
    out: Path | None = None,
) -> Iterator[Answer]:
    """Answer one SQL statement over the entries from `first` to `last`. `out`: where `Answer.save` may write.

    Raises `QueryError` for what is no single reading statement, and for what DuckDB refuses.
    """
    with tempfile.TemporaryDirectory(prefix="lockgate-query-") as folder:
        database = ":memory:" if payloads else f"{folder}/log.duckdb"
        with _opened(database, Path(folder), spill=not payloads) as connection:
            create(connection)
            _answered(lambda: fill(connection, source, first, last, payloads=payloads))
            if payloads:
                yield _ask(connection, question, out)
                return
        with _opened(database, Path(folder), spill=True, read_only=True) as connection:
            yield _ask(connection, question, out)


@contextmanager
def _opened(database: str, folder: Path, *, spill: bool, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    memory = MEMORY if spill else _PAYLOAD_MEMORY
    connection = duckdb.connect(database, read_only=read_only, config={
        "memory_limit": f"{memory}MiB", "threads": 2, "temp_directory": str(folder / "spill") if spill else "",
        "extension_directory": str(folder / "none"), "custom_user_agent": "lockgate",
    })
    try:
        yield connection
    finally:
        connection.close()


def _ask(connection: duckdb.DuckDBPyConnection, question: str, out: Path | None) -> Answer:
    if out is not None:
        connection.execute("SET allowed_paths = [$1]", [str(out)])
    for statement in _LOCK:
        connection.execute(statement)
    statements = _answered(lambda: connection.extract_statements(question))
    if len(statements) != 1 or statements[0].type not in _READS:
        raise QueryError("a question is one SELECT", advice="the tables are: leaves, sessions, requests, masked, "
                                                            "reviews, acts, nodes; `DESCRIBE requests` shows one")
    return Answer(_answered(lambda: connection.sql(question)))


def _answered(call: Callable[[], T]) -> T:
    try:
        return call()
    except duckdb.Error as error:
        raise QueryError(str(error).split("\n\n")[0]) from None
