"""The forward proxy: what it stands in for, what it passes blindly, and that it leads nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lockgate.model import OutcomeStatus, Rule
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Closed, Hangup
from tests.protocols.http import scene as s

ROUTE = replace(s.ROUTE, is_proxy=True)
LOGIN = f"Bearer {s.TOKEN.decode()}"
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"


def connect(target: str = "crm.example:443", login: str | None = LOGIN) -> bytes:
    fields = {} if login is None else {"Proxy_Authorization": login}
    return s.request("CONNECT", target, token=None, host=target.encode(), **fields)


def test_what_is_inside_a_tunnel_is_judged() -> None:
    """The caller is the one of the CONNECT; each request inside is judged, recorded and answered by itself."""
    world = s.World(route=ROUTE)
    book = world.book() >> Bytes(CLIENT, connect()) << Bytes(CLIENT, ESTABLISHED)
    book.receive(CLIENT, s.request(token=None))
    assert b"Authorization: Bearer " + s.SECRET.encode() in book.sent(SERVER)
    assert s.TOKEN not in book.sent(SERVER)
    book >> Bytes(SERVER, s.answer()) >> Bytes(CLIENT, s.request("DELETE", token=None))
    assert s.status(book) == 403
    assert len(world.log.intents) == 2
    assert world.tokens == [s.TOKEN.decode()]


def test_another_host_inside_a_tunnel_is_refused() -> None:
    """421: nothing but the tunnel's own connection is reached through it."""
    world = s.World(route=ROUTE, connections=(s.connection(), s.connection("other")))
    book = world.book() >> Bytes(CLIENT, connect())
    book.receive(CLIENT, s.request(token=None, host=b"other.example"))
    assert s.status(book) == 421
    assert not book.sent(SERVER)


@pytest.mark.parametrize("target", ["evil.example:443", "169.254.169.254:80", "[::1]:443", "crm:443", "localhost:5432"])
def test_a_host_that_is_no_connection_is_refused(target: str) -> None:
    """Egress control: nothing is dialled, whatever the client names."""
    world = s.World(route=ROUTE)
    book = world.book() >> Bytes(CLIENT, connect(target))
    assert s.status(book) == 403
    assert world.dials == 0
    assert not book.sent(SERVER)


def test_a_proxys_client_is_asked_for_its_token_as_one() -> None:
    """407 with a challenge of its own, for CONNECT and for targets in absolute form."""
    world = s.World(route=ROUTE)
    for sent in (connect(login=None), connect(login="Bearer forged"), s.request("GET", "http://crm.example/x", token=None)):
        book = world.book() >> Bytes(CLIENT, sent)
        assert s.status(book) == 407
        assert b'Proxy-Authenticate: Basic realm="lockgate"' in book.sent(CLIENT)


def test_a_target_in_absolute_form_goes_to_its_connection() -> None:
    """The backend gets it in origin form; https is asked for by CONNECT."""
    world = s.World(route=ROUTE)
    book = world.book() >> Bytes(CLIENT, s.request("GET", "http://crm.example/a?b=1"))
    assert book.sent(SERVER).startswith(b"GET /a?b=1 HTTP/1.1\r\nHost: crm.internal:8080\r\n")
    book = s.World(route=ROUTE).book() >> Bytes(CLIENT, s.request("GET", "https://crm.example/a"))
    assert s.status(book) == 400


def test_a_port_that_is_no_proxy_is_none() -> None:
    """Neither CONNECT nor absolute form."""
    for sent, expected in ((connect(), 501), (s.request("GET", "http://crm.example/x"), 400)):
        book = s.World().book() >> Bytes(CLIENT, sent)
        assert s.status(book) == expected
        assert not book.sent(SERVER)


def test_blind_bytes_go_under_a_record() -> None:
    """Only where the connection says `tunnel`, only where policy allows `connect`, and with an outcome."""
    world = s.World(route=ROUTE, connections=(s.connection(tunnel=True, inject="none"),))
    book = world.book() >> Bytes(CLIENT, connect()) << Bytes(CLIENT, ESTABLISHED)
    assert [intent.verbs for intent in world.log.intents] == [("connect",)]
    book >> Bytes(CLIENT, b"\x16\x03ping") << Bytes(SERVER, b"\x16\x03ping")
    book >> Bytes(SERVER, b"pong") << Bytes(CLIENT, b"pong") >> Hangup(SERVER)
    assert isinstance(book.seen[-1], Closed)
    assert [(outcome.status, outcome.sent) for outcome in world.log.outcomes] == [(OutcomeStatus.OK, 4)]
    refused = s.World(route=ROUTE, connections=(s.connection(tunnel=True, inject="none"),), rules=(
        s.ALLOW, Rule(name="none", when='op.verb == "connect"', deny="no tunnels")))
    book = refused.book() >> Bytes(CLIENT, connect())
    assert s.status(book) == 403
    assert refused.dials == 0


def test_who_asks_for_a_host_that_is_no_connection_is_in_no_session_while_verified() -> None:
    """A driver admits nobody who is in a session still: that somebody asked would not be on record."""
    world = s.World(route=ROUTE)
    sent = s.request("GET", "http://crm.example/x", token=None, Proxy_Authorization=LOGIN)
    book = world.book() >> Bytes(CLIENT, sent) >> Bytes(SERVER, s.answer())
    assert (s.status(book), world.ended) == (200, [])
    book >> Bytes(CLIENT, connect("evil.example:443"))
    assert (s.status(book), len(world.ended)) == (403, 1)
