"""Bad input and dead backends end in a clear status with a reason, and the connection can be used on or says that it cannot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from testbed.rawclient import Answer, Http1, Http2
from testbed.scripted import Script, Scripted
from tests.e2e.apis.conftest import Gate

SCRIPTS = {
    b"ok": Script([b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"]),
    b"silent": Script([]), b"gone": Script([], closes=True), b"reset": Script([], resets=True), b"garbage": Script([b"\x15\x03\x01\0\2\2F"]),
    b"half head": Script([b"HTTP/1.1 200 OK\r\nContent-"], closes=True), b"no http": Script([b"SSH-2.0-x\r\n"]),
    b"half": Script([b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nhalf"], closes=True),
    b"silent half": Script([b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nhalf"]),
    b"no json": Script([b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{ssn"]),
}
LARGE = b'{"a":"' + b"x" * 2_000_000 + b'"}'


@dataclass(frozen=True)
class Bad:
    """A request, and what comes of it. `token`: none, a bad one, or the agent's. `lives`: whether the connection does, over
    HTTP/1.1. `only_1`: it cannot be said in HTTP/2."""

    name: str
    status: int
    code: str
    method: str = "GET"
    target: str = "/a"
    host: str = "ruled.example"
    case: str = "ok"
    fields: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    token: str = "agent"
    raw: bytes | None = None
    lives: bool = True
    only_1: bool = False
    also: tuple[str, ...] = ()
    """Fields that the answer has to have."""


JSON = (("Content-Type", "application/json"),)
CASES = (
    Bad("dots in the path", 400, "not_understood", target="/../a"),
    Bad("an escaped slash", 400, "not_understood", target="/a%2fb"),
    Bad("a query that is none", 400, "not_understood", target="/a?b=%zz"),
    Bad("json of two readings", 400, "not_understood", "POST", "/json", fields=JSON, content=b'{"amount":1,"amount":2}'),
    Bad("no json", 400, "not_understood", "POST", "/json", fields=JSON, content=b"{"),
    Bad("another method in a field", 400, "not_understood", fields=(("X-HTTP-Method-Override", "DELETE"),)),
    Bad("no request line", 400, "not_understood", raw=b"GET\r\n\r\n", lives=False, only_1=True),
    Bad("a line feed alone", 400, "not_understood", raw=b"GET / HTTP/1.1\nHost: ruled.example\n\n", lives=False, only_1=True),
    Bad("no host", 400, "not_understood", raw=b"GET / HTTP/1.1\r\n\r\n", lives=False, only_1=True),
    Bad("two lengths", 400, "not_understood", raw=b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", lives=False,
        only_1=True),
    Bad("TLS on a port without", 400, "not_understood", raw=b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", lives=False, only_1=True),
    Bad("no token", 401, "unauthenticated", token="", also=("WWW-Authenticate",)),
    Bad("no token, and content", 401, "unauthenticated", "POST", token="", content=b"x" * 10, lives=False, also=("WWW-Authenticate",)),
    Bad("a bad token", 401, "unauthenticated", token="x.y.z", also=("WWW-Authenticate",)),
    Bad("a scheme that is none", 401, "unauthenticated", fields=(("Authorization", "Digest a=b"),), token="", also=("WWW-Authenticate",)),
    Bad("not this path", 403, "denied", target="/echo/forbidden"),
    Bad("not so much", 403, "denied", "POST", "/json", fields=JSON, content=b'{"amount":101}'),
    Bad("a host that is none", 404, "denied", host="nobody.example"),
    Bad("a proxy without a token", 407, "unauthenticated", target="http://ruled.example/a", token="", only_1=True, also=("Proxy-Authenticate",)),
    Bad("a tunnel without a token", 407, "unauthenticated", "CONNECT", "ruled.example:443", host="ruled.example:443", token="", only_1=True,
        also=("Proxy-Authenticate",)),
    Bad("a tunnel to nowhere", 403, "denied", "CONNECT", "evil.example:443", host="evil.example:443", only_1=True),
    Bad("too much to look into", 413, "too_large", "POST", "/json", fields=JSON, content=LARGE, lives=False),
    Bad("a length beyond all", 413, "not_understood", raw=b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", lives=False,
        only_1=True),
    Bad("a long target", 414, "not_understood", target="/" + "a" * 9_000, lives=False),
    Bad("another expectation", 417, "not_understood", fields=(("Expect", "a-miracle"),), lives=False),
    Bad("too often", 429, "limited", target="/seldom", also=("Retry-After",)),
    Bad("a long field", 431, "not_understood", fields=(("X-Long", "a" * 20_000),), lives=False),
    Bad("many fields", 431, "not_understood", fields=tuple((f"X-{n}", "a") for n in range(120)), lives=False),
    Bad("an unknown method", 501, "unsupported", "BREW"), Bad("TRACE", 501, "unsupported", "TRACE"),
    Bad("another version", 505, "not_understood", raw=b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", lives=False, only_1=True),
    Bad("nobody listens", 502, "backend_unavailable", host="down.example"),
    Bad("it closes", 502, "backend_unavailable", "POST", content=b"", case="gone"), Bad("it closes on a GET", 502, "backend_unavailable", case="gone"),
    Bad("it resets", 502, "backend_unavailable", "POST", content=b"", case="reset"), Bad("garbage", 502, "backend_unavailable", case="garbage"),
    Bad("no http", 502, "backend_unavailable", case="no http"), Bad("half a head", 502, "backend_unavailable", case="half head"),
    Bad("half of it", 502, "backend_unavailable", case="half"), Bad("no json that is said to be", 502, "not_enforceable", host="crm.example", case="no json"),
    Bad("it says nothing", 504, "backend_unavailable", host="slow.example", case="silent"),
    Bad("it says half", 504, "backend_unavailable", host="slow.example", case="silent half"),
    Bad("it says nothing to a HEAD", 504, "backend_unavailable", "HEAD", host="slow.example", case="silent"),
)
STATUSES = {400, 401, 403, 407, 413, 429, 431, 502, 504}


def token_of(bad: Bad, gate: Gate) -> list[tuple[str, str]]:
    if not bad.token:
        return []
    return [("Authorization", f"Bearer {gate.token if bad.token == 'agent' else bad.token}")]


def data_of(bad: Bad, gate: Gate) -> bytes:
    if bad.raw is not None:
        return bad.raw
    fields = [("Host", bad.host), ("X-Case", bad.case), *token_of(bad, gate), *bad.fields]
    if bad.content is not None:
        fields.append(("Content-Length", str(len(bad.content))))
    head = f"{bad.method} {bad.target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    return head.encode() + (bad.content or b"")


def verify_problem(bad: Bad, answer: Answer) -> None:
    """A status, a type, and a reason that a program can act on; nothing that may be stored."""
    assert answer.status == bad.status, answer
    assert answer.all(b"content-type") == [b"application/problem+json"]
    assert answer.all(b"cache-control") == [b"no-store"]
    for name in bad.also:
        assert answer.all(name.lower().encode()), name
    if bad.method == "HEAD":
        assert answer.content == b""
        return
    said: dict[str, Any] = json.loads(answer.content)
    assert (said["status"], said["code"]) == (bad.status, bad.code)
    assert said["type"] == f"urn:lockgate:refusal:{bad.code.replace('_', '-')}"
    assert said["title"]
    assert said["detail"]
    assert b"ssn" not in answer.content


@pytest.fixture
def ready(gate: Gate, origin: Scripted) -> Gate:
    """The origin knows its answers, and what may be asked once has been asked."""
    origin.scripts.update(SCRIPTS)
    with Http1(gate.port) as line:
        line.ask(data_of(Bad("", 0, "", target="/seldom"), gate))
    return gate


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: f"{bad.status} {bad.name}")
def test_over_http_1(bad: Bad, ready: Gate) -> None:
    """The same connection serves the next request, or says that it is over and is (RFC 9112 section 9.6)."""
    with Http1(ready.port) as line:
        answer = line.ask(data_of(bad, ready), bad.method.encode())
        verify_problem(bad, answer)
        says = answer.all(b"connection") == [b"close"]
        assert says is not bad.lives
        if says:
            assert line.has_ended()
        else:
            good = line.ask(data_of(Bad("", 0, ""), ready))
            assert (good.status, good.content) == (200, b"{}")


def test_over_http_2(ready: Gate) -> None:
    """One stream ends so, the connection goes on: all of them one after the other."""
    cases = [bad for bad in CASES if not bad.only_1]
    with Http2(ready.tls_port, ready.context(), "") as line:
        for bad in cases:
            fields = [(":method", bad.method), (":scheme", "https"), (":authority", bad.host), (":path", bad.target), ("x-case", bad.case),
                      *token_of(bad, ready), *bad.fields]
            answer = line.ask([(name.lower().encode(), value.encode()) for name, value in fields], bad.content)
            verify_problem(bad, answer)
        good = line.ask([(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"ruled.example"), (b":path", b"/a"), (b"x-case", b"ok"),
                         (b"authorization", ready.bearer)])
        assert good.status == 200
    assert {bad.status for bad in CASES} >= STATUSES
