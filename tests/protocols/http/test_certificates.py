"""Callers that are known by the certificate of their connection: what it stands for, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lockgate.protocols.mcp.mediator import McpMediator
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from lockgate.wire.steps import TlsInfo
from tests.protocols.http import scene as s
from tests.protocols.world import IDENTITY

TLS = TlsInfo("crm.example", "http/1.1", None, "ab" * 32)
ANN = replace(IDENTITY, subject="spiffe://example.org/ann")


def begun(**more: Any) -> tuple[s.World, Playbook]:
    """A connection with a certificate that names ann."""
    world = s.World(tls=TLS, identities={s.TOKEN.decode(): IDENTITY, "a certificate": ANN}, **more)
    return world, world.book()


def test_who_sends_no_token_is_whom_the_certificate_names() -> None:
    """Once for all requests of the connection, in one session."""
    world, book = begun()
    for _ in range(3):
        book >> Bytes(CLIENT, s.request(token=None)) >> Bytes(SERVER, s.answer())
        assert s.status(book) == 200
    assert (world.tokens, world.admitted) == (["a certificate"], ["crm"])


def test_a_token_counts_before_the_certificate() -> None:
    """And whoever comes with the next request has a session of their own."""
    world, book = begun()
    for token in (None, s.TOKEN, None):
        book >> Bytes(CLIENT, s.request(token=token)) >> Bytes(SERVER, s.answer())
        assert s.status(book) == 200
    assert world.tokens == ["a certificate", s.TOKEN.decode(), "a certificate"]
    assert len(world.ended) == 2


@pytest.mark.parametrize("field", [
    "Authorization: Bearer forged", "Authorization: Basic !!", "Authorization: Negotiate abc", "Proxy-Authorization: Bearer forged",
])
def test_a_token_that_does_not_count_is_not_made_up_for(field: str) -> None:
    """Whoever sends one wants to be somebody else than the certificate says."""
    world, book = begun()
    book >> Bytes(CLIENT, s.request(token=None).replace(b"\r\n\r\n", f"\r\n{field}\r\n\r\n".encode(), 1))
    assert s.status(book) == 401
    assert (world.admitted, world.dials) == ([], 0)


@pytest.mark.parametrize("name", [
    "Client-Cert", "X-Client-Cert", "X-Forwarded-Client-Cert", "X-SSL-Client-Verify", "X-SSL-Client-S-DN", "Client-Cert-Chain",
])
def test_what_a_field_says_of_a_certificate_is_believed_nowhere(name: str) -> None:
    """Not here, and the backend does not get to read it (RFC 9440 section 4)."""
    world = s.World(identities={s.TOKEN.decode(): IDENTITY, "a certificate": ANN})
    book = world.book()
    book >> Bytes(CLIENT, s.request(token=None, **{name: ":abc=:"}))
    assert (s.status(book), world.tokens) == (401, [])
    book = (world := s.World()).book()
    book >> Bytes(CLIENT, s.request(**{name: ":abc=:"})) >> Bytes(SERVER, s.answer())
    assert s.status(book) == 200
    assert b"abc" not in book.sent(SERVER)


def test_a_certificate_says_who_asks_a_proxy_too() -> None:
    """With CONNECT and with a target in absolute form; a host that is no connection is refused with its caller on record."""
    world, book = begun(route=replace(s.ROUTE, is_proxy=True))
    book >> Bytes(CLIENT, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n")
    assert (s.status(book), world.tokens) == (403, ["a certificate"])
    book >> Bytes(CLIENT, s.request(target="http://crm.example/a", token=None)) >> Bytes(SERVER, s.answer())
    assert s.status(book) == 200
    book >> Bytes(CLIENT, b"CONNECT crm.example:443 HTTP/1.1\r\nHost: crm.example:443\r\n\r\n")
    assert b"200 Connection Established" in book.sent(CLIENT)


def test_mcp_knows_callers_by_certificates_too() -> None:
    """It is HTTP's admission."""
    world, book = begun(make=McpMediator)
    book >> Bytes(CLIENT, s.request("POST", "/mcp", b'{"jsonrpc":"2.0","id":1,"method":"ping"}', token=None,
                                    content_type="application/json"))
    assert (world.tokens, world.dials) == (["a certificate"], 1)


@pytest.mark.parametrize("values", [("",), ("", s.TOKEN.decode()), (s.TOKEN.decode(), s.TOKEN.decode()), (s.TOKEN.decode(), "")])
def test_a_token_header_that_says_nothing_or_two_things_is_nobody(values: tuple[str, ...]) -> None:
    """It is there, so whoever sends it wants to be known by it: the certificate does not step in."""
    world = s.World(tls=TLS, identities={s.TOKEN.decode(): IDENTITY, "a certificate": ANN},
                    connections=(s.connection(token_header="X-Agent"),))
    lines = "".join(f"X-Agent: {value}\r\n" for value in values).encode()
    book = world.book() >> Bytes(CLIENT, s.request(token=None)[:-2] + lines + b"\r\n")
    assert (s.status(book), world.tokens) == (401, [])
    assert ("empty" if len(values) == 1 else "x-agent occurs more than once") in s.problem(book)["detail"]


@pytest.mark.parametrize("takes", [True, False])
def test_who_shows_neither_reads_what_is_taken_here(takes: bool) -> None:
    """A certificate is spoken of only where one would be taken, and only to who has sent no token at all."""
    world = s.World(route=replace(s.ROUTE, takes_certificates=takes))
    book = world.book() >> Bytes(CLIENT, s.request(token=None))
    assert s.status(book) == 401
    assert (b"client certificate" in book.sent(CLIENT)) is takes
    book = s.World(route=replace(s.ROUTE, takes_certificates=takes)).book()
    book >> Bytes(CLIENT, s.request(token=None).replace(b"\r\n\r\n", b"\r\nAuthorization: Basic !!\r\n\r\n", 1))
    assert b"client certificate" not in book.sent(CLIENT)
