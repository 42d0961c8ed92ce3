"""Lines of messages: any split gives the same ones, and none is longer than it may be."""

from __future__ import annotations

import pytest

from lockgate.protocols.mcp.lines import Line, LineReader
from lockgate.wire import conformance
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Hangup
from tests.protocols.mcp import pipes as p
from tests.protocols.mcp import scene as s

STREAM = b'{"a":1}\r\n\n \t\nxx\n\n12345678\n123456789\n0123456789012345\nlast\nrest'
LINES = [Line(b'{"a":1}\r'), Line(b"xx"), Line(b"12345678"), Line(b"123456789", is_whole=False),
         Line(b"0123456789012345", is_whole=False), Line(b"last")]


def read(pieces: list[bytes], longest: int = 8) -> list[Line]:
    reader = LineReader(longest)
    return [line for piece in pieces for line in reader.feed(piece)]


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_any_split_gives_the_same_lines(at: int) -> None:
    """Once anywhere, and a byte at a time up to there. What is kept of a line that is too long is its beginning."""
    for pieces in ([STREAM[:at], STREAM[at:]], [*(STREAM[one:one + 1] for one in range(at)), STREAM[at:]]):
        found = read(pieces)
        assert [line.is_whole for line in found] == [line.is_whole for line in LINES]
        assert all(theirs.data.startswith(ours.data) for ours, theirs in zip(found, LINES, strict=True))
        assert [line for line in found if line.is_whole] == [line for line in LINES if line.is_whole]


def test_a_line_without_an_end_takes_bounded_memory() -> None:
    """Only its beginning is kept, however long it gets, and what comes behind it is read."""
    reader = LineReader(4_096)
    for _ in range(1_000):
        assert not reader.feed(b"x" * 1_000)
        assert sum(map(len, reader._pieces)) <= 5_096
    assert reader.feed(b"\nok\n") == [Line(b"x" * 1_024, is_whole=False), Line(b"ok")]


def script() -> list[conformance.Event]:
    """A session with everything in it."""
    return [
        Bytes(CLIENT, p.line(s.call(1, "initialize"), {"jsonrpc": "2.0", "method": "notifications/initialized"})),
        Bytes(SERVER, b"hello\n" + p.line(s.result(1, capabilities={}), s.call(5, "roots/list"), s.call(6, "tools/steal"))),
        Bytes(CLIENT, p.line(s.result(5, roots=[]), s.tool(2, "customer"), s.tool(3, "drop"), [s.tool(4, "note"), s.tool(4, "x")])),
        Bytes(SERVER, p.line(s.result(2, structuredContent={"ssn": "219-09-9999"}, content=[]), s.result(4, content=[
            {"type": "text", "text": '{"ssn": "219-09-9999", "card": "4111 1111 1111 1111"}'}]))),
        Hangup(CLIENT),
    ]


CASE = conformance.Case(lambda: p.world(s.HIDE, s.NO_DROP).book(), script(), canary=s.CANARY)


@pytest.mark.parametrize("rule", [
    conformance.require_split_independence, conformance.require_fail_closed, conformance.require_no_canary,
    conformance.require_settled,
])
def test_the_contract_holds(rule: object) -> None:
    """The rules that every protocol keeps, at every split."""
    rule(CASE)  # type: ignore[operator]
