"""Addresses, listening sockets and dialling."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lockgate.errors import BackendError, ConfigError
from lockgate.net.address import is_loopback, split_address
from lockgate.net.dial import dial
from lockgate.net.listen import open_listeners


@pytest.mark.parametrize(("address", "parts"), [
    ("db.example:5432", ("db.example", 5432)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:6543", ("::1", 6543)),
])
def test_addresses_are_split(address: str, parts: tuple[str, int]) -> None:
    """Host and port, without the brackets of IPv6."""
    assert split_address(address) == parts


@pytest.mark.parametrize(("host", "answer"), [
    ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("::ffff:10.0.0.1", False),
    ("10.0.0.1", False), ("0.0.0.0", False), ("unknown", False), ("localhost.evil.example", False), ("", False),
])
def test_only_loopback_is_loopback(host: str, answer: bool) -> None:
    """Tokens without TLS depend on it: names and mapped foreign addresses do not count."""
    assert is_loopback(host) is answer


def test_a_taken_port_is_a_clear_error() -> None:
    """Two listeners on one port: the second says which address and why."""
    first = open_listeners("127.0.0.1:0")
    try:
        port = first[0].getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*in use"):
            open_listeners(f"127.0.0.1:{port}")
    finally:
        for listening in first:
            listening.close()


def test_a_port_can_be_shared_where_asked() -> None:
    """SO_REUSEPORT: several processes on one port."""
    first = open_listeners("127.0.0.1:0", reuse_port=True)
    second = open_listeners(f"127.0.0.1:{first[0].getsockname()[1]}", reuse_port=True)
    for listening in (*first, *second):
        listening.close()


def test_an_unknown_name_is_a_clear_error() -> None:
    """A host that does not resolve names the address."""
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid:1"):
        open_listeners("no-such-host.invalid:1")


async def test_a_refused_connection_says_so_without_the_address() -> None:
    """What goes into an error must not tell where the backend is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(BackendError) as caught:
            await dial("127.0.0.1", port, asyncio.Protocol, 5.0)
    assert "refused" in str(caught.value)
    assert str(port) not in str(caught.value)


async def test_a_backend_that_does_not_answer_is_given_up() -> None:
    """A full backlog never answers: the deadline ends it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            with pytest.raises(BackendError, match="no answer in time"):
                await dial("127.0.0.1", port, asyncio.Protocol, 0.2)
        finally:
            for filler in fillers:
                filler.close()
