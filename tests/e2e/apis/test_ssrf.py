"""The connection's address is the only place that a request goes to, whatever a client writes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from lockgate.config.settings import Connection
from lockgate.protocols.http.checks import mismatches
from testbed.rawclient import Answer, Cut, Http1, Http2
from testbed.scripted import Script, Scripted
from tests.e2e.apis import elsewhere
from tests.e2e.apis.conftest import Gate
from tests.e2e.test_custody import until

OK = Script([b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"])
VECTORS = 400


@dataclass
class Decoy:
    """Counts who comes."""

    port: int
    visits: int = 0


@pytest.fixture(scope="module")
def decoy() -> Iterator[Decoy]:
    """Listens on every address of this machine, and is seen to count."""
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        found = Decoy(first.getsockname()[1])
        listeners = [first]
        try:
            listeners.append(stack.enter_context(socket.create_server(("::", found.port), family=socket.AF_INET6)))
        except OSError:
            pass                                # no IPv6 here

        def count(listener: socket.socket) -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return
                found.visits += 1

        threads = [threading.Thread(target=count, args=(one,)) for one in listeners]
        for thread in threads:
            thread.start()
        for name in ("127.0.0.1", "127.0.0.2", *(["::1"] if len(listeners) > 1 else [])):
            before = found.visits
            socket.create_connection((name, found.port)).close()
            until(lambda before=before: found.visits == before + 1)     # type: ignore[misc]
        found.visits = 0
        try:
            yield found
        finally:
            for one in listeners:
                one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


class Asking:
    """Requests with a good token, of which nothing but the origin may hear."""

    def __init__(self, gate: Gate, origin: Scripted) -> None:
        self._gate, self._origin = gate, origin
        self.count = 0
        origin.scripts[b"ssrf"] = OK
        origin.seen.pop(b"ssrf", None)

    def raw(self, start: str, host: str | None, method: bytes = b"GET", *more: str) -> Answer | Cut:
        """One request of this first line."""
        self.count += 1
        lines = [start, *([] if host is None else [f"Host: {host}"]), "X-Case: ssrf", *more]
        data = "\r\n".join(lines).encode() + b"\r\nProxy-Authorization: " + self._gate.bearer + b"\r\n\r\n"
        with Http1(self._gate.port) as line:
            try:
                return line.ask(data, method)
            except Cut as cut:
                return cut

    def http2(self, authority: bytes, path: bytes = b"/x") -> Answer | Cut:
        """One request over HTTP/2."""
        self.count += 1
        with Http2(self._gate.tls_port, self._gate.context(), "crm.example") as line:
            try:
                return line.ask([(b":method", b"GET"), (b":scheme", b"https"), (b":authority", authority), (b":path", path),
                                 (b"authorization", self._gate.bearer), (b"x-case", b"ssrf")])
            except Cut as cut:
                return cut

    @property
    def arrived(self) -> int:
        """Requests that the origin has seen."""
        return len(self._origin.seen.get(b"ssrf", ()))


@pytest.fixture
def asking(gate: Gate, origin: Scripted) -> Asking:
    return Asking(gate, origin)


def refused(answer: Answer | Cut) -> bool:
    """A clear 4xx, or over HTTP/2 a stream that is reset because no request was on it."""
    if isinstance(answer, Cut):
        return answer.data == b""
    return answer.status in (400, 403, 404, 421) and answer.all(b"content-type") == [b"application/problem+json"]


def spelled(decoy: Decoy) -> list[str]:
    """Every host with the decoy's port, where it has none."""
    return [host if host.endswith(":80") else f"{host}:{decoy.port}" for host in elsewhere.HOSTS]


def test_hosts_that_are_no_connection_are_refused(asking: Asking, decoy: Decoy) -> None:
    """As the Host, in absolute form, and by CONNECT: in all spellings of loopback, metadata services and private addresses."""
    wrong = []
    for host in spelled(decoy):
        for start, method in ((f"GET http://{host}/latest/meta-data HTTP/1.1", b"GET"), ("GET /latest/meta-data HTTP/1.1", b"GET"),
                              (f"CONNECT {host} HTTP/1.1", b"CONNECT")):
            answer = asking.raw(start, host, method)
            if not refused(answer):
                wrong.append((start, host, answer))
    assert not wrong, wrong[:5]
    assert (asking.arrived, decoy.visits) == (0, 0)
    assert asking.count >= 3 * 70


def test_a_name_that_is_two_is_refused(asking: Asking, decoy: Decoy) -> None:
    """Userinfo, escapes, separators, white space, other dots and digits, ports that are none."""
    wrong = []
    for text in elsewhere.CONFUSED:
        name = text.format(host=f"127.0.0.1:{decoy.port}")
        for start, method in ((f"GET http://{name}/x HTTP/1.1", b"GET"), ("GET /x HTTP/1.1", b"GET"), (f"CONNECT {name} HTTP/1.1", b"CONNECT")):
            answer = asking.raw(start, name, method)
            if not refused(answer):
                wrong.append((start, name, answer))
    assert not wrong, wrong[:5]
    assert (asking.arrived, decoy.visits) == (0, 0)


def test_targets_that_name_something_else_are_refused(asking: Asking, decoy: Decoy) -> None:
    """Other schemes, half a URL, paths that lead up or that two readers take for two."""
    host, wrong = f"127.0.0.1:{decoy.port}", []
    targets = [text.format(host=host, port=decoy.port) for text in elsewhere.TARGETS]
    targets += [f"{scheme}://{name}/x" for scheme in elsewhere.SCHEMES for name in (host, "crm.example")]
    for target in targets:
        answer = asking.raw(f"GET {target} HTTP/1.1", "crm.example")
        if not refused(answer):
            wrong.append((target, answer))
    for two in (host, "169.254.169.254"):
        answer = asking.raw("GET http://crm.example/x HTTP/1.1", two)
        if not refused(answer):
            wrong.append((two, answer))
    assert not wrong, wrong[:5]
    assert (asking.arrived, decoy.visits) == (0, 0)


def test_the_same_over_http2(asking: Asking, decoy: Decoy) -> None:
    """As :authority and :path. The name in TLS is a connection's, so an authority that is none contradicts it or is refused."""
    wrong = []
    for host in spelled(decoy)[::4]:
        answer = asking.http2(host.encode())
        if not refused(answer):
            # A name that leads nowhere, where TLS named a connection: that one is asked, nobody else.
            assert isinstance(answer, Answer)
            assert answer.status == 200, answer
    for text in elsewhere.CONFUSED[::2]:
        answer = asking.http2(text.format(host=f"127.0.0.1:{decoy.port}").encode())
        if not refused(answer):
            wrong.append((text, answer))
    for text in elsewhere.TARGETS[::2]:
        answer = asking.http2(b"crm.example", text.format(host=f"127.0.0.1:{decoy.port}", port=decoy.port).encode())
        if not refused(answer):
            wrong.append((text, answer))
    assert not wrong, wrong[:5]
    assert decoy.visits == 0


def test_what_only_looks_like_an_address_goes_to_the_connection(asking: Asking, origin: Scripted, decoy: Decoy) -> None:
    """Targets that hold a URL, ports that a client adds, and fields that say where a request was for."""
    host = f"127.0.0.1:{decoy.port}"
    before = asking.arrived
    for text in elsewhere.HARMLESS:
        answer = asking.raw(f"GET {text.format(host=host)} HTTP/1.1", "crm.example")
        assert isinstance(answer, Answer)
        assert answer.status == 200, (text, answer)
    for start in (f"GET http://crm.example:{decoy.port}/x HTTP/1.1", "GET /x HTTP/1.1"):
        assert asking.raw(start, f"crm.example:{decoy.port}").status == 200     # type: ignore[union-attr]
    for name in elsewhere.FIELDS:
        assert asking.raw("GET /x HTTP/1.1", "crm.example", b"GET", f"{name}: {host}").status == 200    # type: ignore[union-attr]
        assert host.encode() not in b"".join(value for _, value in origin.asked(b"ssrf").fields), name
    assert dict(origin.asked(b"ssrf").fields)[b"Host"] == f"127.0.0.1:{origin.port}".encode()
    assert asking.arrived == before + len(elsewhere.HARMLESS) + 2 + len(elsewhere.FIELDS)
    assert decoy.visits == 0


def test_redirects_are_passed_on_and_not_followed(asking: Asking, origin: Scripted, decoy: Decoy) -> None:
    """By a backend to a decoy, in a field or in the content."""
    for status in elsewhere.REDIRECTS:
        place = f"http://127.0.0.1:{decoy.port}/".encode()
        origin.scripts[b"ssrf"] = Script([b"HTTP/1.1 %d Away\r\nLocation: %b\r\nRefresh: 0; url=%b\r\nContent-Length: 0\r\n\r\n"
                                          % (status, place, place)])
        answer = asking.raw("GET /x HTTP/1.1", "crm.example")
        assert isinstance(answer, Answer)
        assert (answer.status, answer.all(b"location")) == (status, [place])
    assert decoy.visits == 0


def test_a_token_server_that_leads_away_is_not_followed(asking: Asking, origin: Scripted, decoy: Decoy) -> None:
    """With the connection's secret in hand nobody goes where an answer points to."""
    origin.scripts[b""] = Script([b"HTTP/1.1 307 Away\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % decoy.port])
    before = len(origin.seen.get(b"", ()))
    answer = asking.raw("GET /x HTTP/1.1", "oauth.example")
    assert isinstance(answer, Answer)
    assert answer.status == 502
    assert len(origin.seen[b""]) == before + 1
    assert decoy.visits == 0


@pytest.mark.parametrize("url", [
    "http://token.example/", "http://127.0.0.1.nip.io/", "http://localhost.example/", "http://169.254.169.254/", "http://2130706433/", "http://127.1/",
    "http://127.0.0.1@token.example/", "https://user@token.example/", "https://token.example/#x", "gopher://127.0.0.1/", "file:///etc/passwd",
    "//token.example/", "https://", "https://token.example:0/", "http://[::ffff:169.254.169.254]/",
])
def test_a_token_server_without_tls_is_this_machine_by_its_very_name(url: str) -> None:
    """So that there is no name whose meaning could change between the check and the use; all others prove theirs by TLS."""
    connection = Connection.model_validate({
        "name": "crm", "protocol": "http", "address": "crm.internal:443", "server_names": ["crm.example"],
        "credential": {"user": "me", "password": {"env": "X"}},
        "options": {"inject": "oauth2", "token_url": url, "unsafe_http": True}})
    assert [keys for keys, _ in mismatches(connection)] == [("options", "token_url")]


def test_there_are_as_many_vectors_as_it_says(decoy: Decoy) -> None:
    """Counted over all that a client can write, once each."""
    count = 3 * len(spelled(decoy)) + 3 * len(elsewhere.CONFUSED) + len(elsewhere.TARGETS) + 2 * len(elsewhere.SCHEMES) + 2
    assert count >= VECTORS
