"""The malformed messages of `tests/data/http` at a real gateway with nginx behind it, and at nginx itself."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Callable

import pytest

from testbed.nginx import Nginx
from testbed.rawclient import Answer, Cut, Http1
from testbed.scripted import Script, Scripted
from tests.e2e.apis.conftest import Gate
from tests.e2e.test_custody import records, until
from tests.protocols.http.support import Vector, vectors

REQUESTS = vectors("requests")
ANSWERS = tuple(one for one in vectors("responses") if one.method in (b"", b"GET", b"HEAD") and not one.upgrade)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
NGINX_TAKES, NGINX_PASSES = 150, 50
"""At least so many requests and answers of the table nginx 1.22 takes for good ones. The gateway takes none."""

BEHIND = frozenset(f"framing:-{name}" for name in (
    "204-and-content", "304-and-content", "content-to-HEAD", "more-than-the-length", "another-response-behind", "bytes-behind-the-last-chunk"))
"""Answers that are whole, and something behind: they are passed, what is behind is nobody's, and the backend's connection ends."""


def fired(port: int, data: bytes, *, ends: bool = False) -> bytes:
    """All that comes back of bytes, until the other side has enough; `ends`: the end of the stream follows them."""
    came = b""
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        try:
            line.sendall(data)
            if ends:
                line.shutdown(socket.SHUT_WR)
        except OSError:
            pass                                # it has been refused before all of it was there
        try:
            while piece := line.recv(65_536):
                came += piece
        except ConnectionResetError:
            pass
    return came


def with_token(vector: Vector, gate: Gate) -> bytes:
    """The vector, of somebody who may ask."""
    host = b"Host: a.example\r\n"
    return vector.data.replace(host, host + b"Authorization: " + gate.bearer + b"\r\n")


@pytest.fixture
def nginx(server: Nginx | None) -> Nginx:
    if server is None:
        pytest.skip("nginx is not installed")
    return server


def shown(counts: Counter[str]) -> str:
    return ", ".join(f"{group} {count}" for group, count in sorted(counts.items()))


def test_of_requests_that_could_be_two_the_gateway_takes_none(
    gate: Gate, nginx: Nginx, record_property: Callable[[str, object], None]
) -> None:
    """Each is refused with its status; nothing of it reaches nginx, which takes many of them. What stands whole in front of
    one is a request like others, and on record."""
    behind, intents = len(nginx.lines(nginx.behind)), len(asked(gate))
    taken: Counter[str] = Counter()
    wrong, whole = [], 0
    for vector in REQUESTS:
        statuses = [int(one) for one in _STATUS.findall(fired(gate.port, with_token(vector, gate)))]
        whole += sum(status < 400 for status in statuses)
        if not statuses or statuses[-1] != vector.status or any(status >= 400 for status in statuses[:-1]):
            wrong.append((str(vector), vector.status, statuses))
        found = [int(one) for one in _STATUS.findall(fired(nginx.direct, vector.data, ends=True))]
        taken[vector.group] += bool(found) and all(status < 400 for status in found)
    assert not wrong, wrong[:10]
    until(lambda: len(asked(gate)) - intents == whole)
    assert len(nginx.lines(nginx.behind)) - behind == whole         # all that was forwarded is on record
    record_property("taken by nginx and refused here", shown(taken))
    print(f"of {len(REQUESTS)} requests nginx takes {taken.total()}, the gateway none: {shown(taken)}")
    assert taken.total() >= NGINX_TAKES


def asked(gate: Gate) -> list[dict[str, object]]:
    """What is on record of requests that went to nginx."""
    sessions = {one["sid"] for one in records(gate.gateway, "session_begin") if one["connection"] == "server"}
    return [one for one in records(gate.gateway, "intent") if one["sid"] in sessions and "refusal" not in one]


def test_of_answers_that_could_be_two_the_gateway_passes_none(
    gate: Gate, origin: Scripted, nginx: Nginx, record_property: Callable[[str, object], None]
) -> None:
    """Each ends in a 502, or cut off where something of it had gone on, or without what stood behind it; nginx as a proxy passes
    many of them."""
    passed: Counter[str] = Counter()
    wrong = []
    for at, vector in enumerate(ANSWERS):
        case = b"r%d" % at
        origin.scripts[case] = Script([vector.data], closes=True)
        method = vector.method or b"GET"
        answer = once(gate.port, b"%b / HTTP/1.1\r\nHost: plain.example\r\nX-Case: %b\r\nAuthorization: %b\r\n\r\n" % (
            method, case, gate.bearer), method)
        if isinstance(answer, Answer) and answer.status != 502 and (
                str(vector) not in BEHIND or not vector.data.startswith(answer.raw) or vector.data == answer.raw):
            wrong.append((str(vector), answer))
        theirs = _STATUS.findall(fired(nginx.proxy, b"%b / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Case: %b\r\n\r\n" % (method, case)))
        passed[vector.group] += theirs not in ([], [b"502"])
    assert not wrong, wrong[:10]
    record_property("passed by nginx and refused here", shown(passed))
    print(f"of {len(ANSWERS)} answers nginx passes {passed.total()}, the gateway none: {shown(passed)}")
    assert passed.total() >= NGINX_PASSES


def once(port: int, data: bytes, method: bytes) -> Answer | Cut:
    """One exchange over a connection of its own."""
    with Http1(port) as line:
        try:
            return line.ask(data, method)
        except Cut as cut:
            return cut
