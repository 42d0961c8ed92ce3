"""No value that must not be seen comes through the gateway, in any form, coding, framing, status or version of HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from lockgate.model import ColumnMask, DetectMask, MaskMethod, Rule
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Hangup
from testbed.rawclient import Answer, Cut, Http1, Http2
from testbed.scripted import Scripted
from tests.e2e.apis.conftest import Gate
from tests.e2e.apis.leaks import CARD, SSN, Leak, leaks, readings
from tests.protocols.http import scene

CASES = 430
"""At least so many answers are in the matrix."""
HIDE = Rule(name="hide", masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),), detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))


@cache
def matrix() -> tuple[Leak, ...]:
    return tuple(leaks())


def seen(answer: Answer | Cut) -> set[bytes]:
    """Which of the values somebody can read out of an answer."""
    if isinstance(answer, Cut):
        views = list(readings(answer.data))
    else:
        views = list(readings(answer.raw, answer.content, b",".join(answer.all(b"content-encoding")).lower().replace(b"x-gzip", b"gzip")))
    return {value for value in (SSN, CARD) if any(value in view or value.replace(b"-", b"") in view for view in views)}


class Ways:
    """The ways to ask: each over connections of its own, which are kept while they hold."""

    def __init__(self, stack: ExitStack, gate: Gate) -> None:
        self._stack, self._gate = stack, gate
        self._open: dict[tuple[str, str], Http1] = {}
        self._http2 = {host: stack.enter_context(Http2(gate.tls_port, gate.context(), f"{host}.example")) for host in ("crm", "plain")}

    def __call__(self, way: str, host: str, leak: Leak) -> Answer | Cut:
        name = f"{host}.example".encode()
        token = self._gate.bearer
        try:
            if way == "HTTP/2":
                return self._http2[host].ask([
                    (b":method", leak.method), (b":scheme", b"https"), (b":authority", name), (b":path", b"/a"),
                    (b"authorization", token), (b"x-case", leak.name.encode())])
            line = self._line(way, host)
            target = b"http://" + name + b"/a" if way == "forward proxy" else b"/a"
            answer = line.ask(b"%b %b HTTP/1.1\r\nHost: %b\r\nX-Case: %b\r\n" % (leak.method, target, name, leak.name.encode())
                              + (b"" if way == "tunnel" else b"Authorization: " + token + b"\r\n") + b"\r\n", leak.method)
            if answer.closed:
                line.close()
            return answer
        except Cut as cut:
            if way != "HTTP/2":
                self._line(way, host).close()
            return cut

    def _line(self, way: str, host: str) -> Http1:
        found = self._open.get((way, host))
        if found is None or found.closed:
            found = self._open[way, host] = self._stack.enter_context(Http1(self._gate.port))
            if way == "tunnel":
                name = f"{host}.example"
                said = found.ask(f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\nProxy-Authorization: {self._gate.bearer.decode()}\r\n\r\n"
                                 .encode(), b"CONNECT")
                assert said.status == 200
                found.secure(self._gate.inside(), name)
        return found


@pytest.fixture
def ways(gate: Gate, origin: Scripted) -> Iterator[Ways]:
    origin.scripts.update({leak.name.encode(): leak.script for leak in matrix()})
    with ExitStack() as stack:
        yield Ways(stack, gate)


def test_the_matrix_is_as_large_as_it_says() -> None:
    """Answers are known by their names."""
    assert len({leak.name for leak in matrix()}) == len(matrix()) >= CASES


@pytest.mark.parametrize("way", ["HTTP/1.1", "HTTP/2", "forward proxy", "tunnel"])
def test_nothing_leaks_and_without_the_mask_everything_does(way: str, ways: Ways) -> None:
    """Each answer twice: over the connection with masks nothing can be read out of it, over the one without all that is in it.
    All of them over HTTP/1.1, every fourth of them the other ways."""
    cases = matrix() if way == "HTTP/1.1" else matrix()[::4]
    leaked = [(leak.name, found) for leak in cases if (found := seen(ways(way, "crm", leak)))]
    missed = [leak.name for leak in cases if not seen(ways(way, "plain", leak)) >= set(leak.hides)]
    assert not leaked, f"{len(leaked)} of {len(cases)} leak: {leaked[:20]}"
    assert not missed, f"the test cannot see {missed[:20]}"
    assert sum(len(leak.hides) for leak in cases) > len(cases)


def test_nothing_leaks_at_any_border_of_the_backends_bytes() -> None:
    """Every shape of content cut in two at each of its bytes, and every answer byte by byte: what the client gets has nothing
    of the values."""
    splits, book = 0, None
    for leak in matrix():
        raw = leak.raw
        whole = leak.name.endswith(" by length") and " in " not in leak.name
        borders = range(raw.index(b"\r\n\r\n"), len(raw)) if whole or leak.name.startswith("trailer") else ()
        for pieces in ([raw], [bytes([byte]) for byte in raw], *([raw[:at], raw[at:]] for at in borders)):
            splits += 1
            if book is None or book.is_closed:
                book = scene.World(rules=(scene.ALLOW, HIDE)).book()
            before = len(book.sent(CLIENT))
            book >> Bytes(CLIENT, scene.request(leak.method.decode()))
            for piece in pieces:
                if not book.is_closed:
                    book >> Bytes(SERVER, piece)
            if leak.script.closes and not book.is_closed:
                book >> Hangup(SERVER)
            out = book.sent(CLIENT)[before:]
            assert out.startswith(b"HTTP/1.1 ")
            assert SSN not in out, (leak.name, len(pieces[0]))
            assert CARD not in out, (leak.name, len(pieces[0]))
    assert splits > 6_000


def test_answers_that_nobody_asked_for_are_given_to_nobody(gate: Gate, origin: Scripted) -> None:
    """What a backend sends behind an answer, or before it is asked, is not the answer to the next request."""
    case = b"unasked"
    for behind in (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + SSN, SSN, b"\r\n" + SSN):
        origin.scripts[case] = type(matrix()[0].script)([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" + behind])
        with Http1(gate.port) as line:
            for _ in range(3):
                answer = line.ask(b"GET / HTTP/1.1\r\nHost: plain.example\r\nX-Case: unasked\r\nAuthorization: " + gate.bearer + b"\r\n\r\n")
                assert (answer.status, answer.content) == (200, b"{}")
                assert SSN not in answer.raw
