"""The ticket store against a real SQLite file: what is kept, who wins, what a restart finds."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from lockgate.model import Review, ReviewState
from lockgate.store import SqlReviewStore, StoreError, open_database
from lockgate.store.tables import metadata

REVIEW = Review(
    "LG-AAAA-AAAA", "b" * 64, ReviewState.PENDING, "https://idp", "agent", None, "crm", "s1", "DELETE FROM t – ü",
    ("1", None), ("ask",), ("dba",), "h", 1.5, 100.0, also_groups=(("x", "y"), ("z",)),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlReviewStore]:
    engine = open_database(tmp_path / "state")
    yield SqlReviewStore(engine)
    engine.dispose()


def test_a_ticket_comes_back_as_it_went_in(store: SqlReviewStore) -> None:
    """Every field, also NULL parameters and nested groups."""
    store.create(REVIEW)
    assert store.get(REVIEW.ticket) == REVIEW
    assert store.get("LG-BBBB-BBBB") is None


def test_a_transition_happens_once(store: SqlReviewStore) -> None:
    """Compare and swap: the second caller with the same expectation loses."""
    store.create(replace(REVIEW, state=ReviewState.APPROVED))
    used = replace(REVIEW, state=ReviewState.USED, comment="c", decided_at=2.0, reviewer_subject="dora")
    assert store.transition(used, ReviewState.APPROVED)
    assert not store.transition(used, ReviewState.APPROVED)
    assert store.get(REVIEW.ticket) == used


def test_what_stands_is_approved_then_pending_then_denied_the_newest_and_never_expired(store: SqlReviewStore) -> None:
    """What a retry gets is an approval if there is one."""
    denied = replace(REVIEW, ticket="LG-D", created_at=99.0, state=ReviewState.DENIED)
    store.create(denied)
    assert store.standing("b" * 64, 50.0) == denied
    store.create(REVIEW)
    store.create(replace(REVIEW, ticket="LG-2", created_at=9.0))
    assert store.standing("b" * 64, 50.0) == replace(REVIEW, ticket="LG-2", created_at=9.0)
    approved = replace(REVIEW, ticket="LG-3", created_at=0.5, state=ReviewState.APPROVED)
    store.create(approved)
    assert store.standing("b" * 64, 50.0) == approved
    assert store.standing("b" * 64, 100.0) is None
    assert store.standing("c" * 64, 50.0) is None


def test_lists_are_newest_first_and_bounded(store: SqlReviewStore) -> None:
    """By state, as the reviewer sees them."""
    for number in range(4):
        store.create(replace(REVIEW, ticket=f"LG-{number}", created_at=float(number)))
    store.create(replace(REVIEW, ticket="LG-D", state=ReviewState.DENIED))
    assert [review.ticket for review in store.list(states=[ReviewState.PENDING], limit=2)] == ["LG-3", "LG-2"]


def test_closed_tickets_are_forgotten_and_open_ones_are_not(store: SqlReviewStore) -> None:
    """The store does not grow for ever."""
    store.create(REVIEW)
    store.create(replace(REVIEW, ticket="LG-D", state=ReviewState.DENIED))
    assert store.forget(before=1000.0) == 1
    assert store.get(REVIEW.ticket) is not None


def test_a_second_ticket_with_the_same_number_is_refused(store: SqlReviewStore) -> None:
    """And the message quotes no statement."""
    store.create(REVIEW)
    with pytest.raises(StoreError) as failed:
        store.create(REVIEW)
    assert "DELETE" not in str(failed.value)


def test_tickets_survive_a_restart_in_a_private_file(tmp_path: Path) -> None:
    """The file is the owner's alone, also its write-ahead log."""
    engine = open_database(tmp_path)
    SqlReviewStore(engine).create(REVIEW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    engine.dispose()
    engine = open_database(tmp_path)
    assert SqlReviewStore(engine).get(REVIEW.ticket) == REVIEW
    engine.dispose()


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    """Nobody changes a table without a migration."""
    engine = open_database(tmp_path)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to look like one" * 20, b"\0" * 4096])
def test_a_damaged_file_is_an_error_and_not_an_empty_store(tmp_path: Path, content: bytes) -> None:
    """An attacker who scribbles over the file does not get a fresh start."""
    (tmp_path / "lockgate.db").write_bytes(content)
    with pytest.raises(StoreError):
        open_database(tmp_path)


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """An old program does not guess about new tables."""
    open_database(tmp_path).dispose()
    with closing(sqlite3.connect(tmp_path / "lockgate.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer version"):
        open_database(tmp_path)


def test_a_link_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """The database is not written through somebody else's link."""
    (tmp_path / "lockgate.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        open_database(tmp_path)
