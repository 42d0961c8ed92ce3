"""The rules of `wire.conformance`, applied to this protocol's mediator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lockgate.protocols.http.codec import RequestReader, ResponseReader
from lockgate.protocols.http.messages import End
from lockgate.wire.conformance import (
    Case,
    require_fail_closed,
    require_settled,
    require_split_independence,
)
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Hangup, Playbook
from lockgate.wire.steps import Side
from tests.protocols.http import scene as s


def make() -> Playbook:
    return s.World().book()


def meaning(*methods: bytes) -> Callable[[Side, bytes], object]:
    """The messages, whatever pieces their content came in; `methods` are of the requests that are answered."""
    return lambda side, data: _messages(side, data, iter(methods))


def _messages(side: Side, data: bytes, methods: Iterator[bytes]) -> list[object]:
    found: list[object] = []
    while data:
        reader: RequestReader | ResponseReader = ResponseReader() if side is CLIENT else RequestReader()
        if isinstance(reader, ResponseReader):
            reader.expect(next(methods))
        reader.feed(data)
        content, event = b"", reader.event()
        while event is not None and not isinstance(event, End):
            if isinstance(event, bytes):
                content += event
            else:
                found.append(event)
            event = reader.event()
        found += [content, event]
        data = b"" if event is None else reader.rest()
    return found


PLAIN = Case(make, [
    Bytes(CLIENT, s.request() + s.request("DELETE") + s.request("POST", "/notes", b'{"a":1}', Content_Type="application/json")),
    Bytes(SERVER, s.answer()),
    Bytes(SERVER, s.answer(b"", 204).replace(b"Content-Length: 0\r\n", b"")),
    Bytes(CLIENT, s.request("GET", "/away?x=%20y")),
    Bytes(SERVER, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
    Bytes(CLIENT, s.request("HEAD")),
    Bytes(SERVER, b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"),
    Hangup(CLIENT),
], meaning=meaning(b"GET", b"DELETE", b"POST", b"GET", b"HEAD"))
UPLOAD = Case(make, [
    Bytes(CLIENT, s.request("POST", "/sink", Transfer_Encoding="chunked")),
    Bytes(CLIENT, b"5\r\nhello\r\n0\r\n\r\n"),
    Bytes(SERVER, b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
    Hangup(SERVER),
    Bytes(CLIENT, s.request()),
    Bytes(SERVER, s.answer()),
], meaning=meaning(b"POST", b"GET"))
CASES = pytest.mark.parametrize("case", [PLAIN, UPLOAD], ids=["plain", "upload"])


@CASES
def test_any_split_gives_the_same_output(case: Case) -> None:
    """How TCP cut the bytes up is nobody's business."""
    require_split_independence(case)


@CASES
def test_broken_stages_are_refusals(case: Case) -> None:
    """A broken policy, log or mask lets nothing through."""
    require_fail_closed(case)


@CASES
def test_every_request_is_settled_once(case: Case) -> None:
    """One outcome per request, whatever way it ended."""
    require_settled(case)
