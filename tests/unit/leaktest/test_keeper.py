"""What is made is dropped, and what somebody else made is not."""

from __future__ import annotations

import pytest

from lockgate.errors import BackendError
from lockgate.leaktest.keeper import Keeper, wait_masked
from lockgate.wire.leaktest import Canary, Delivery, Ground, Inside, Shot

GROUND = Ground((Canary("first", "29105-34-88641"),), (), (), (), {}, is_read_only=False, guard="guard", build=("build",),
                drop=("drop",), state="state", harvest=("harvest",))


class Database:
    """Runs nothing; fails at the statements of `fails`, and gives `state` for the state."""

    is_usable = True

    def __init__(self, *fails: str) -> None:
        self.fails = fails
        self.ran: list[str] = []
        self.state = b"as made"

    def run(self, statement: str) -> tuple[tuple[bytes | None, ...], ...]:
        if statement in self.fails:
            raise BackendError("no")
        self.ran.append(statement)
        return ((self.state,),)

    def cells(self, statement: str) -> frozenset[bytes]:
        return frozenset((b"a form",))

    def deliver(self, shot: Shot, way: str, *, inside: Inside, seconds: float) -> Delivery:
        raise AssertionError

    def close(self) -> None:
        self.is_usable = False


def test_the_ground_is_made_and_dropped() -> None:
    """And the forms that the backend gives the canaries are canaries as well."""
    database = Database()
    keeper = Keeper(GROUND, database)
    assert keeper.build().canaries[-1].exact == frozenset((b"a form",))
    keeper.drop()
    assert database.ran == ["guard", "build", "state", "drop"]
    assert not database.is_usable


def test_what_the_guard_refuses_is_not_dropped() -> None:
    """A schema of the same name that somebody else made survives the test's failure."""
    database = Database("guard")
    keeper = Keeper(GROUND, database)
    with pytest.raises(BackendError, match="cannot be made"):
        keeper.build()
    keeper.drop()
    assert database.ran == []


def test_half_a_ground_is_dropped() -> None:
    """If the making fails half-way, what is there goes."""
    database = Database("build")
    keeper = Keeper(GROUND, database)
    with pytest.raises(BackendError, match="cannot be made"):
        keeper.build()
    keeper.drop()
    assert database.ran == ["guard", "drop"]


def test_a_changed_ground_is_made_again() -> None:
    """Only if it did change, or can no longer be looked at."""
    database = Database()
    keeper = Keeper(GROUND, database)
    keeper.build()
    assert keeper.restore() is False
    database.state = b"otherwise"
    assert keeper.restore() is True
    assert keeper.restore() is False
    assert database.ran.count("build") == 2


def test_waiting_ends_when_all_is_masked_or_time_is_over() -> None:
    """It answers what is still shown."""
    answers = iter([("t.ssn",), ()])
    assert wait_masked(lambda: next(answers), 60) == ()
    assert wait_masked(lambda: ("t.ssn",), 0) == ("t.ssn",)
