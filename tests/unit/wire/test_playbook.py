"""The test tools themselves: a playbook that does not notice is worth nothing."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.errors import Uncleared
from lockgate.govern.pending import Pending
from lockgate.govern.permit import Permit, issue_clearance, issue_permit
from lockgate.wire.conformance import Case, require_no_canary, require_split_independence
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Closed, Playbook
from lockgate.wire.steps import Close, Compose, Record, Steps, ToClient, ToServer


class Governor:
    def __init__(self) -> None:
        self.pending: Pending[Permit] | None = None

    def compose(self, payload: bytes) -> object:
        return issue_clearance(payload)

    def record(self, grants: object, payload: bytes, under: int) -> object:
        return issue_permit("s", (), under, payload) if self.pending is None else self.pending


class Echo:
    """Forwards what comes; `per_read` makes its output depend on the reads."""

    def __init__(self, per_read: bytes = b"") -> None:
        self.per_read = per_read

    def client_data(self, data: bytes) -> Steps[None]:
        yield ToServer((yield Record((), data + self.per_read)))

    def server_data(self, data: bytes) -> Steps[None]:
        yield ToClient((yield Compose(data)))

    def server_closed(self) -> Steps[None]:
        yield Close("gone")


def book(mediator: Any = None) -> Playbook:
    return Playbook(mediator or Echo(), Governor())


def test_plays_in_order() -> None:
    """What goes in comes out where it was expected, and nothing else."""
    played = book() >> Bytes(CLIENT, b"a") << Bytes(SERVER, b"a") >> Bytes(SERVER, b"b") << Bytes(CLIENT, b"b")
    played.finish()


def test_notices_what_was_not_expected() -> None:
    """A missing or different output fails."""
    with pytest.raises(AssertionError):
        book() >> Bytes(CLIENT, b"a") << Bytes(SERVER, b"b")
    with pytest.raises(AssertionError):
        (book() >> Bytes(CLIENT, b"a")).finish()


def test_parks_what_waits() -> None:
    """A step whose answer has not come parks the generator until `resume`."""
    played = book()
    played.governor.pending = Pending()
    played >> Bytes(CLIENT, b"a")
    assert played.is_waiting
    assert played.seen == []
    played.governor.pending.resolve(issue_permit("s", (), 0, b"a"))
    played.resume()
    played << Bytes(SERVER, b"a")


def test_nothing_runs_after_close() -> None:
    """A closed session takes nothing in."""
    from lockgate.wire.playbook import Hangup

    played = book() >> Hangup(SERVER) << Closed("gone") >> Bytes(CLIENT, b"a")
    played.finish()


def test_raw_bytes_to_the_client_raise() -> None:
    """Only a clearance leaves towards the client (I3)."""

    class Rogue(Echo):
        def server_data(self, data: bytes) -> Steps[None]:
            yield ToClient(data)  # type: ignore[arg-type]

    with pytest.raises(Uncleared):
        book(Rogue()) >> Bytes(SERVER, b"rows")


def test_conformance_sees_a_dependence_on_reads() -> None:
    """A mediator whose output depends on the reads is caught."""
    require_split_independence(Case(book, [Bytes(CLIENT, b"abcdef")]))
    with pytest.raises(AssertionError):
        require_split_independence(Case(lambda: book(Echo(b"!")), [Bytes(CLIENT, b"abcdef")]))


def test_conformance_sees_a_canary() -> None:
    """A mediator that does not mask is caught, and a case without a canary is refused."""
    with pytest.raises(AssertionError):
        require_no_canary(Case(book, [Bytes(SERVER, b"107-11-1013")], b"107-11"))
    with pytest.raises(ValueError, match="canary"):
        require_no_canary(Case(book, []))
