"""Connections to a backend that clients share one after the other: how few there are, and what never crosses."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator

import httpx
import pytest

from testbed.certificates import Certificate, make_certificate
from testbed.gateway import Gateway, Issuer, gateway
from tests.e2e.rawbackend import RawBackend, plain, raw_backend
from tests.e2e.test_custody import records
from tests.e2e.test_http import HEAD, SECRET

BOTH = HEAD.replace(
    "connections:", '  - {{name: tls, protocol: http, address: "127.0.0.1:{tls}", tls: {{certificate: {certificate}, key: {key}}}}}\nconnections:', 1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "plain.example", "127.0.0.1")


@pytest.fixture(scope="module")
def running(
    certificate: Certificate, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, RawBackend]]:
    with raw_backend() as backend, gateway(
            tmp_path_factory.mktemp("reuse"), BOTH, env={"API_TOKEN": SECRET}, backend=backend.port, issuer=tokens.url,
            more_ports=["tls"], certificate=certificate.certificate, key=certificate.key) as api:
        yield api, backend


@pytest.fixture
def api(running: tuple[Gateway, RawBackend]) -> Gateway:
    return running[0]


@pytest.fixture
def backend(running: tuple[Gateway, RawBackend]) -> RawBackend:
    running[1].answer = plain
    return running[1]


@pytest.fixture(scope="module")
def other(tokens: Issuer) -> str:
    """Another caller, who may do the same."""
    return tokens.token("agent-2", "agents")


def links(api: Gateway, event: str) -> int:
    """Connections to backends of which this became."""
    with urllib.request.urlopen(f"{api.control_url}/metrics", timeout=10) as answer:
        found = re.search(rf'lockgate_backend_links_total{{event="{event}"}} (\d+)', answer.read().decode())
    return int(found[1]) if found else 0


def until(api: Gateway, event: str, least: int) -> None:
    """Until so many have come to that."""
    for _ in range(2000):
        if links(api, event) >= least:
            return
    raise AssertionError(f"no {event}")


def ask(api: Gateway, token: str, path: str, method: str = "GET") -> bytes:
    """One request over a connection of its own that ends behind it: the answer's content, and its status in front."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: plain.example\r\nAuthorization: Bearer {token}\r\n"
                       "Connection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    return answer.split(b" ")[1] + b" " + answer.partition(b"\r\n\r\n")[2]


def test_short_connections_share_a_long_one(api: Gateway, backend: RawBackend, agent: str, other: str) -> None:
    """Twenty clients of two callers come and go; the backend sees one connection, and each gets its own answer, on record."""
    before, recorded = backend.connections, len(records(api, "intent"))
    answers = [ask(api, token, f"/short/{number}") for number, token in enumerate([agent, other] * 10)]
    assert [re.match(rb"200 /short/(\d+) over", answer)[1] for answer in answers] == [b"%d" % number for number in range(20)]  # type: ignore[index]
    assert backend.connections - before <= 1
    assert len(records(api, "intent")) == recorded + 20


def test_curl_leaves_its_connection_to_the_next(api: Gateway, backend: RawBackend, agent: str) -> None:
    """A real client that hangs up without a word."""
    before = backend.connections
    for number in range(5):
        command = ["curl", "-s", "--max-time", "20", "-H", f"Authorization: Bearer {agent}", "-H", "Host: plain.example",
                   f"http://127.0.0.1:{api.port}/curl/{number}"]
        shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        assert shown.startswith(f"/curl/{number} over ")
    assert backend.connections - before <= 1


async def test_streams_of_a_connection_share_what_earlier_ones_left(
    api: Gateway, backend: RawBackend, certificate: Certificate, agent: str
) -> None:
    """Three times fifty streams at once: no answer crosses, and the backend sees no more than fifty connections for them."""
    before = backend.connections
    context = ssl.create_default_context(cafile=str(certificate.authority))
    async with httpx.AsyncClient(
            http2=True, verify=context, base_url=f"https://127.0.0.1:{api.ports['tls']}", timeout=20,
            headers={"authorization": f"Bearer {agent}", "host": "plain.example"}) as client:
        for turn in range(3):
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(client.get(f"/stream/{turn}-{number}")) for number in range(50)]
            answers = [one.result() for one in asked]
            assert [answer.text.partition(" ")[0] for answer in answers] == [f"/stream/{turn}-{number}" for number in range(50)]
            assert {answer.http_version for answer in answers} == {"HTTP/2"}
    assert 1 <= backend.connections - before <= 50


def test_an_answer_that_nobody_asked_for_reaches_nobody(api: Gateway, backend: RawBackend, agent: str, other: str) -> None:
    """Response queue poisoning: a backend that answers once more finds its connection closed, not another client."""
    def twice(backend: RawBackend, number: int, head: bytes, connection: socket.socket) -> None:
        plain(backend, number, head, connection)
        if b"/evil" in head:
            with backend.changed:       # not before the first has arrived and its client is gone
                assert backend.changed.wait_for(lambda: left, 20)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

    left: list[bool] = []
    backend.answer = twice
    before = links(api, "spoke unasked")
    assert ask(api, agent, "/evil").startswith(b"200 /evil")
    with backend.changed:
        left.append(True)
        backend.changed.notify_all()
    until(api, "spoke unasked", before + 1)
    for number in range(5):
        assert ask(api, other, f"/good/{number}").startswith(b"200 /good/%d " % number)


def test_an_answer_with_another_behind_it_is_the_last_of_its_connection(
    api: Gateway, backend: RawBackend, agent: str, other: str
) -> None:
    """In one piece with the first: the connection never goes back."""
    def both(backend: RawBackend, number: int, head: bytes, connection: socket.socket) -> None:
        if b"/evil" in head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        else:
            plain(backend, number, head, connection)

    backend.answer = both
    assert ask(api, agent, "/evil") == b"200 ok"
    (number, _), *_ = backend.heads[-1:]
    answer = ask(api, other, "/good")
    assert answer.startswith(b"200 /good ")
    assert not answer.endswith(b"over %d" % number)


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_a_connection_that_is_somebodys_is_nobody_elses(
    api: Gateway, backend: RawBackend, agent: str, other: str, scheme: str
) -> None:
    """A backend that authenticates connections gets one for each client's connection."""
    def challenged(backend: RawBackend, number: int, head: bytes, connection: socket.socket) -> None:
        if b"/who" in head:
            connection.sendall(f"HTTP/1.1 401 No\r\nWWW-Authenticate: {scheme}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            plain(backend, number, head, connection)

    backend.answer = challenged
    assert ask(api, agent, "/who") == b"401 "
    number, _ = backend.heads[-1]
    assert not ask(api, other, "/me").endswith(b" over %d" % number)


def test_connections_that_the_backend_closed_are_not_used(api: Gateway, backend: RawBackend, agent: str) -> None:
    """It restarts, and every request is answered by what is there then: GET and POST."""
    def leaving(backend: RawBackend, number: int, head: bytes, connection: socket.socket) -> None:
        plain(backend, number, head, connection)
        connection.shutdown(socket.SHUT_RDWR)

    for number in range(6):
        backend.answer = leaving
        assert ask(api, agent, f"/last/{number}").startswith(b"200 /last")
        backend.answer = plain
        assert ask(api, agent, f"/next/{number}", "POST" if number % 2 else "GET").startswith(b"200 /next")
