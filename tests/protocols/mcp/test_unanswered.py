"""An id belongs to one request of a session until it was answered, or an answer would come behind another's masks."""

from __future__ import annotations

import pytest

from lockgate.model import ColumnMask, MaskMethod, Rule
from lockgate.protocols.mcp.unanswered import Unanswered
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Hangup, Playbook
from tests.protocols.http.scene import World
from tests.protocols.mcp import scene as s

HIDE = Rule(name="hide", when='op.tool == "customer"', masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),))
SLOW = s.result(5, structuredContent={"ssn": s.CANARY.decode()})


def session(world: World) -> str:
    """A session's id as the client knows it."""
    book = world.book() >> Bytes(CLIENT, s.post(s.call(0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={})))
    book >> Bytes(SERVER, s.told(s.result(0, protocolVersion="2025-11-25")).replace(b"\r\n\r\n", b"\r\nMcp-Session-Id: one\r\n\r\n", 1))
    head = s.answers(book)[-1][0]
    return (head.get(b"mcp-session-id") or b"").decode()


def ask(world: World, number: int | str, name: str, **fields: str) -> Playbook:
    return world.book() >> Bytes(CLIENT, s.post(s.tool(number, name), **fields))


@pytest.mark.parametrize("number", [5, "5"])
def test_two_requests_of_a_session_do_not_share_an_id(number: int | str) -> None:
    """The second is refused, over whatever connection it comes, with words that say what to do; nothing of it goes on."""
    world = s.world(HIDE)
    own = session(world)
    first = ask(world, 5, "customer", Mcp_Session_Id=own)
    second = ask(world, number, "refund", Mcp_Session_Id=own)
    assert not second.sent(SERVER)
    assert "an id of its own" in str(s.last(second))
    first >> Bytes(SERVER, s.told(SLOW))
    assert s.CANARY not in first.sent(CLIENT)
    assert ask(world, number, "refund", Mcp_Session_Id=own).sent(SERVER)


def test_an_id_stays_taken_when_its_client_leaves() -> None:
    """The server may still answer it."""
    world = s.world(HIDE)
    own = session(world)
    ask(world, 5, "customer", Mcp_Session_Id=own) >> Hangup(CLIENT)
    assert not ask(world, 5, "refund", Mcp_Session_Id=own).sent(SERVER)
    assert ask(world, 6, "refund", Mcp_Session_Id=own).sent(SERVER)


def test_what_did_not_go_on_takes_no_id() -> None:
    """Refused calls, and ones that the server could not be reached for."""
    world = s.world(HIDE, s.NO_DROP)
    own = session(world)
    assert not ask(world, 5, "drop", Mcp_Session_Id=own).sent(SERVER)
    world.unreachable = True
    assert not ask(world, 5, "customer", Mcp_Session_Id=own).sent(SERVER)
    world.unreachable = False
    assert ask(world, 5, "customer", Mcp_Session_Id=own).sent(SERVER)


def test_without_a_session_ids_are_each_requests_own() -> None:
    """Servers without sessions answer each HTTP request by itself."""
    world = s.world(HIDE)
    assert ask(world, 5, "customer").sent(SERVER)
    assert ask(world, 5, "refund").sent(SERVER)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it the oldest is forgotten."""
    monkeypatch.setattr("lockgate.protocols.mcp.unanswered._MOST", 3)
    known = Unanswered()
    for number in range(5):
        assert known.ask(("tools", b"one"), number)
    assert [known.ask(("tools", b"one"), number) for number in (4, 3, 2)] == [False, False, False]
    assert known.ask(("tools", b"one"), 0)
