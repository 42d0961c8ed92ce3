"""Tickets in the database: `ports.ReviewStore` on SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, desc, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from lockgate.model import Review, ReviewState
from lockgate.store.database import StoreError
from lockgate.store.tables import reviews

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine, RowMapping

_OPEN = (ReviewState.PENDING.value, ReviewState.APPROVED.value)

_TOGETHER = 500      # tickets in one statement
_STANDING = (ReviewState.APPROVED.value, ReviewState.PENDING.value, ReviewState.DENIED.value)


class SqlReviewStore:
    """Every call is one short transaction; `StoreError` where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, review: Review) -> None:
        """Keep a new ticket; one with this number must not exist."""
        with self._transaction() as connection:
            connection.execute(insert(reviews).values(_columns(review)))

    def get(self, ticket: str) -> Review | None:
        """The ticket in whatever state."""
        query = select(reviews).where(reviews.c.ticket == ticket)
        with self._transaction() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _review(row)

    def standing(self, binding: str, now: float) -> Review | None:
        """An approved ticket with this binding before a pending one before a denied one, the newest first."""
        order = case({state: place for place, state in enumerate(_STANDING)}, value=reviews.c.state)
        query = (
            select(reviews)
            .where(reviews.c.binding == binding, reviews.c.state.in_(_STANDING), reviews.c.expires_at > now)
            .order_by(order, desc(reviews.c.created_at))
            .limit(1)
        )
        with self._transaction() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _review(row)

    def transition(self, review: Review, expected: str) -> bool:
        """Compare and swap on the state: of two callers one wins, also between processes."""
        query = (
            update(reviews)
            .where(reviews.c.ticket == review.ticket, reviews.c.state == str(expected))
            .values(_columns(review))
        )
        with self._transaction() as connection:
            return connection.execute(query).rowcount == 1

    def list(self, *, states: Sequence[str], limit: int) -> list[Review]:
        """Tickets in these states, the newest first."""
        query = (
            select(reviews)
            .where(reviews.c.state.in_([str(state) for state in states]))
            .order_by(desc(reviews.c.created_at), reviews.c.ticket)
            .limit(limit)
        )
        with self._transaction() as connection:
            return [_review(row) for row in connection.execute(query).mappings()]

    def forget(self, before: float) -> int:
        """Delete tickets that closed before a time (Unix seconds); how many. The log keeps their story."""
        query = delete(reviews).where(reviews.c.state.not_in(_OPEN), reviews.c.expires_at < before)
        with self._transaction() as connection:
            return connection.execute(query).rowcount

    def drop(self, tickets: Sequence[str]) -> int:
        """Delete these tickets, unless they are open, so that no byte of them stays in the files; how many."""
        count = 0
        for at in range(0, len(tickets), _TOGETHER):
            query = delete(reviews).where(
                reviews.c.ticket.in_(tickets[at : at + _TOGETHER]), reviews.c.state.not_in(_OPEN))
            with self._transaction() as connection:
                count += connection.execute(query).rowcount
        if count:
            with self._autocommit() as connection:
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        return count

    @contextmanager
    def _autocommit(self) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"the ticket store failed: {type(error).__name__}") from None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            # The message of a database error may quote bound values, that is statements: name its kind only.
            raise StoreError(f"the ticket store failed: {type(error).__name__}") from None


_READ: dict[str, Callable[[Any], Any]] = {
    "state": ReviewState, "parameters": tuple, "rules": tuple, "context": tuple, "reviewer_groups": tuple,
    "also_groups": lambda sets: tuple(tuple(groups) for groups in sets),
}


def _columns(review: Review) -> dict[str, Any]:
    values = {column.name: getattr(review, column.name) for column in reviews.columns}
    values["state"] = review.state.value
    return values


def _review(row: RowMapping) -> Review:
    return Review(**{name: _READ.get(name, _same)(value) for name, value in row.items()})


def _same(value: Any) -> Any:
    return value
