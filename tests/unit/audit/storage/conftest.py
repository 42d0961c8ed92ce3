"""A PostgreSQL that keeps what it acknowledges, for all tests of the stores, and a log in either store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from testbed.postgres import Server, embedded
from tests.unit.audit.storage.stores import DATABASE, DURABLE, DatabaseLog, FileLog


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all; each test has a shard of its own."""
    with embedded(DURABLE) as running:
        with psycopg.connect(running.dsn(), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {DATABASE}")
        yield running


@pytest.fixture(params=["file", "database"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> FileLog:
    """An empty log, once in a file and once in a database."""
    if request.param == "file":
        return FileLog(tmp_path)
    return DatabaseLog(tmp_path, request.getfixturevalue("server"))


@pytest.fixture
def both(server: Server, tmp_path: Path) -> tuple[FileLog, DatabaseLog]:
    """The same empty log in both."""
    for name in ("file", "database"):
        (tmp_path / name).mkdir()
    return FileLog(tmp_path / "file"), DatabaseLog(tmp_path / "database", server)
