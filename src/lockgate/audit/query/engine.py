"""One question to DuckDB, which can do nothing but answer it.

The database is a copy in a folder of its own that goes away afterwards, or with payloads in memory only, so
that what was opened is not written to a disk. Before the question is read, the engine is locked: no file, no
network, no extension, no change of settings, bounded memory, and only one statement that reads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb

from lockgate.audit.query.portion import Portion
from lockgate.audit.query.tables import VIEWS, create, fill
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
    """The rows as they are asked for; `save` writes them as Parquet instead."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, question: str) -> None:
        self._connection = connection
        self._question = question
        self.columns: list[str] = []
        """The names of the columns, known when `rows` has begun."""

    def rows(self) -> Iterator[list[tuple[Any, ...]]]:
        """All rows by batches; one at least, which may be empty. Raises `QueryError`."""
        result = _answered(lambda: self._connection.execute(self._question))
        self.columns = [str(column[0]) for column in result.description or ()]
        batch = _answered(lambda: result.fetchmany(_ROWS))
        yield batch
        while batch := _answered(lambda: result.fetchmany(_ROWS)):
            yield batch

    def save(self, path: Path) -> None:
        """Write the rows to the one Parquet file that the question was allowed to be saved in."""
        _answered(lambda: self._connection.sql(self._question).write_parquet(
            str(path), compression="zstd", overwrite=True, use_tmp_file=False))


@contextmanager
def asked(
    portions: Sequence[Portion], question: str, *, payloads: bool = False, out: Path | None = None,
) -> Iterator[Answer]:
    """Answer one SQL statement over these entries. `out`: where `Answer.save` may write.

    Raises `QueryError` for what is no single reading statement, and for what DuckDB refuses.
    """
    with tempfile.TemporaryDirectory(prefix="lockgate-query-") as folder:
        database = ":memory:" if payloads else f"{folder}/log.duckdb"
        with _opened(database, Path(folder), spill=not payloads) as connection:
            create(connection)
            _answered(lambda: _fill(connection, portions, payloads=payloads))
            if payloads:
                yield _ask(connection, question, out)
                return
        with _opened(database, Path(folder), spill=True, read_only=True) as connection:
            yield _ask(connection, question, out)


def _fill(connection: duckdb.DuckDBPyConnection, portions: Sequence[Portion], *, payloads: bool) -> None:
    for portion in portions:
        with portion.opened() as source:
            fill(connection, source, portion.first, portion.last, shard=portion.shard, payloads=payloads)


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
        raise QueryError("a question is one SELECT",
                         advice=f"the tables are: {', '.join(('leaves', *VIEWS))}; `DESCRIBE requests` shows one")
    return Answer(connection, question)


def _answered(call: Callable[[], T]) -> T:
    try:
        return call()
    except duckdb.Error as error:
        raise QueryError(str(error).split("\n\n")[0]) from None
