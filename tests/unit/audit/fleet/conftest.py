"""A PostgreSQL for fleets, and a fresh database on it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from lockgate.audit.storage.database.place import Place
from testbed.postgres import Server, embedded
from tests.unit.audit.storage.stores import DURABLE, place_of

_NUMBERS = count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with embedded(DURABLE) as running:
        yield running


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Iterator[Place]:
    """An empty database."""
    name = f"fleet{next(_NUMBERS)}"
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield place_of(server, tmp_path, name)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
