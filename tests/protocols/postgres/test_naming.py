"""`application_name`: whatever a client sets, the backend sees the session's tag in front of it."""

from __future__ import annotations

import pytest

from lockgate.protocols.postgres.mediator import PostgresMediator
from lockgate.protocols.postgres.operations import StatementReader
from lockgate.protocols.postgres.states import SessionState
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from lockgate.wire.steps import Snapshot
from tests.protocols.postgres import support as s
from tests.protocols.postgres.support import World

TAG = "lockgate:0123456789abcdef0123456789abcdef"


def session(world: World) -> Playbook:
    state = SessionState(StatementReader(world.limits.statement), world.limits, "psql", b"\0\0\0\1key!", TAG)
    return Playbook(PostgresMediator(state), world.governor(), {Snapshot: world.snapshot})


REWRITTEN = [
    ("set application_name = 'my''app'", f"SET SESSION application_name = '{TAG} my''app'"),
    ("SET LOCAL application_name TO report", f"SET LOCAL application_name = '{TAG} report'"),
    ("set session application_name = ''", f"SET SESSION application_name = '{TAG} '"),
    ("set application_name = '" + "ü" * 60 + "'", f"SET SESSION application_name = '{TAG} " + "ü" * 10 + "'"),
]


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize(("text", "forwarded"), REWRITTEN)
def test_a_name_goes_on_behind_the_tag(text: str, forwarded: str, extended: bool) -> None:
    """SET is forwarded with tag and name within 63 bytes; the record keeps what was asked and what was sent."""
    world = World()
    book = session(world)
    book >> Bytes(CLIENT, s.parse(text) + s.bind() + s.execute() + s.SYNC if extended else s.query(text))
    assert forwarded.encode() + b"\0" in book.sent(SERVER)
    assert text.encode() not in book.sent(SERVER)
    assert world.log.intents[-1].text == text
    assert world.log.intents[-1].forwarded == forwarded.encode()
    assert len(f"{TAG} ".encode()) + 21 <= 63


@pytest.mark.parametrize("text", [
    "reset application_name", "set application_name to default", "reset all", "discard all",
    "alter role app set application_name = 'x'",
])
def test_what_restores_the_tag_goes_on_as_it_is(text: str) -> None:
    """RESET and its kin restore the start-up value, which is the tag; other sessions have their own."""
    book = session(World())
    book >> Bytes(CLIENT, s.query(text))
    assert book.sent(SERVER) == s.query(text)


@pytest.mark.parametrize("text", [
    "select set_config('application_name', 'x', false)",
    "select set_config('Application_Name', 'x', true)",
    "set application_name = 'x'; select 1",
    "select set_config('application_name', $1, false)",
    "prepare p as select set_config('application_name', 'x', false)",
])
def test_what_cannot_carry_the_tag_is_refused(text: str) -> None:
    """A way of setting the name that the gateway does not write anew is refused, in words that help."""
    book = session(World())
    book >> Bytes(CLIENT, s.query(text))
    assert book.sent(SERVER) == b""
    [found] = s.errors(book.sent(CLIENT))
    assert found["C"] == "0A000"
    assert "SET application_name" in found["H"]


@pytest.mark.parametrize(("reported", "shown"), [(TAG, "psql"), (f"{TAG} my app", "my app"), (f"{TAG} ", "")])
def test_the_client_reads_its_own_name(reported: str, shown: str) -> None:
    """The backend's report comes back without the tag; the tag alone is the name of the start-up message."""
    book = session(World())
    book >> Bytes(SERVER, s.parameter("application_name", reported))
    assert book.sent(CLIENT) == s.parameter("application_name", shown)


def test_a_lost_tag_ends_the_session() -> None:
    """A function that took the tag away leaves no session that could not be found."""
    book = session(World())
    book >> Bytes(SERVER, s.parameter("application_name", "somebody"))
    assert s.errors(book.sent(CLIENT))[0]["S"] == "FATAL"
    assert book.is_closed
