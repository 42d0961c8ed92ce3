"""With no mask due, an exchange through the gateway is the exchange without it, but for what `DIFFERENCES` says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lockgate.protocols.http.requests import HELD
from testbed.rawclient import Answer, Http1, Http2
from testbed.scripted import Fields, Scripted, Seen
from tests.e2e.apis.conftest import Gate
from tests.e2e.apis.exchanges import Exchange, exchanges

SEED, COUNT, OF_HTTP2 = 20261127, 600, 5
"""One exchange in `OF_HTTP2` is asked over HTTP/2."""

DIFFERENCES = {
    "request": {
        b"host": "the backend's own name: its address, or the connection's `host`",
        b"authorization": "the agent's token, which never travels on",
        b"content-length": "framing is made anew: short content has a length, whatever it came in",
        b"transfer-encoding": "framing",
        b"trailer": "with the trailers",
        b"expect": "answered by the gateway once it has judged the head",
        b"connection": "of one connection; `close` where content comes with a method that need not have any",
    },
    "answer": {
        b"connection": "of one connection",
        b"keep-alive": "of one connection",
        b"x-hop": "named by Connection",
        b"content-length": "framing: up to 256 KiB with a length, streams in chunks; HTTP/2 needs neither",
        b"transfer-encoding": "framing",
        # Via, Date, Server: none is added, none is changed.
    },
    "besides": {
        "interim answers": "102 and 103 are not passed on",
        "trailers of requests": "dropped where the content was held until it was judged",
        "names of fields": "in small letters over HTTP/2; as written otherwise",
        "cookies": "several Cookie fields become one over HTTP/2 (RFC 9113 section 8.2.3)",
        "chunks": "their borders",
        "Content-Length: 0": "stands for no content at all where no field says anything of it",
    },
}


@pytest.fixture(scope="module")
def made(origin: Scripted) -> list[Exchange]:
    found = exchanges(SEED, COUNT)
    origin.scripts.update({one.case: one.script for one in found})
    return found


class Lines:
    """Connections that are kept as long as both sides want it."""

    def __init__(self, stack: ExitStack, gate: Gate, origin: Scripted) -> None:
        self._stack, self._ports = stack, {"direct": origin.port, "gateway": gate.port}
        self._open: dict[str, Http1] = {}
        self._gate = gate
        self.http2 = stack.enter_context(Http2(gate.tls_port, gate.context(), "plain.example"))

    def __call__(self, which: str) -> Http1:
        found = self._open.get(which)
        if found is None or found.closed:
            found = self._open[which] = self._stack.enter_context(Http1(self._ports[which]))
        return found


@pytest.fixture
def connections(gate: Gate, origin: Scripted) -> Iterator[Lines]:
    with ExitStack() as stack:
        yield Lines(stack, gate, origin)


def asked(line: Http1, exchange: Exchange, *more: tuple[bytes, bytes]) -> Answer:
    """Over HTTP/1.1."""
    head, body = exchange.head(*more), exchange.body()
    if exchange.expects:
        answer = line.ask(head, exchange.method, behind_continue=body)
    else:
        answer = line.ask(head + body, exchange.method)
    if answer.closed:
        line.close()
    return answer


def asked_2(line: Http2, exchange: Exchange, host: bytes, *more: tuple[bytes, bytes]) -> Answer:
    """Over HTTP/2."""
    fields = [(b":method", exchange.method), (b":scheme", b"https"), (b":authority", host), (b":path", exchange.target),
              *((name.lower(), value) for name, value in (*more, (b"X-Case", exchange.case), *exchange.fields))]
    if exchange.content is not None and exchange.chunks is None:
        fields.append((b"content-length", b"%d" % len(exchange.content)))
    return line.ask(fields, exchange.content, tuple((name.lower(), value) for name, value in exchange.trailers))


def end_to_end(fields: Fields, side: str, *, is_small: bool) -> list[tuple[bytes, bytes]]:
    """The fields that must be equal, in their order."""
    return [(name.lower() if is_small else name, value) for name, value in fields if name.lower() not in DIFFERENCES[side]]


def request_of(seen: Seen, *, is_small: bool) -> tuple[object, ...]:
    fields = end_to_end(seen.fields, "request", is_small=is_small)
    if is_small:                                        # cookies go last there
        fields.sort(key=lambda field: field[0] == b"cookie")
    return seen.method, seen.target, fields, seen.content


def answer_of(answer: Answer, *, is_small: bool) -> tuple[object, ...]:
    return (answer.status, end_to_end(answer.fields, "answer", is_small=is_small), answer.content,
            [(name.lower(), value) for name, value in answer.trailers])


def compared(lines: Lines, gate: Gate, origin: Scripted, exchange: Exchange, host: bytes, *, is_2: bool) -> str:
    """What is not the same about an exchange, "" for nothing."""
    origin.seen.pop(exchange.case, None)
    direct = asked(lines("direct"), exchange, (b"Host", host))
    sent = origin.asked(exchange.case)
    token = (b"Authorization", gate.bearer)
    through = asked_2(lines.http2, exchange, host, token) if is_2 else asked(lines("gateway"), exchange, (b"Host", host), token)
    arrived = origin.asked(exchange.case)
    if len(origin.seen[exchange.case]) != 2 or not set(through.interims) <= {100}:      # which is the gateway's own
        return f"not forwarded once: {exchange} {through}"
    if answer_of(through, is_small=is_2) != answer_of(direct, is_small=is_2):
        return f"another answer: {exchange}\n{direct}\n{through}"
    if request_of(arrived, is_small=is_2) != request_of(sent, is_small=is_2):
        return f"another request: {exchange}\n{sent}\n{arrived}"
    is_held = exchange.content is None or len(exchange.content) <= HELD
    if [(name.lower(), value) for name, value in arrived.trailers] != [
            (name.lower(), value) for name, value in (() if is_held else exchange.trailers)]:
        return f"other trailers: {exchange}\n{sent}\n{arrived}"
    return ""


def test_the_gateway_changes_nothing_that_it_does_not_say(
    gate: Gate, origin: Scripted, made: list[Exchange], connections: Lines
) -> None:
    """600 made-up exchanges, one in five of them over HTTP/2: what the backend and the client see is the same."""
    over_2 = {exchange.number for exchange in made if exchange.number % OF_HTTP2 == 0 and not exchange.expects}
    assert len(over_2) > 100
    found = [compared(connections, gate, origin, exchange, b"plain.example", is_2=exchange.number in over_2) for exchange in made]
    faults = [one for one in found if one]
    assert not faults, f"{len(faults)} of {COUNT}; the first ones: " + "\n\n".join(one[:3000] for one in faults[:3])


def test_the_comparison_sees_what_a_mask_changes(
    gate: Gate, origin: Scripted, made: list[Exchange], connections: Lines
) -> None:
    """The same exchanges over a connection with masks are not the same: a comparison that finds nothing there shows nothing."""
    some = [one for one in made if any(b'"ssn"' in piece for piece in one.script.pieces) and one.method != b"HEAD"][:20]
    faults = [compared(connections, gate, origin, exchange, b"crm.example", is_2=False) for exchange in some]
    assert sum(bool(one) for one in faults) > 10
