"""The codec is compiled where that can be: its two builds read the same bytes the same way."""

from __future__ import annotations

from typing import Any

import pytest

from fuzz import corpus
from tests.conftest import Kernel
from tests.protocols.http import support as s


def told(reader: Any, data: bytes) -> list[str]:
    """What a reader says of the bytes, which come in two pieces. The two builds have classes of their own."""
    found: list[str] = []
    try:
        for part in s.pieces(data, len(data) // 2):
            reader.feed(part)
            while (event := reader.event()) is not None:
                found.append(repr(event))
    except Exception as error:
        assert type(error).__name__ == "MessageError"
        found.append(f"{error} {error.status}")     # type: ignore[attr-defined]
    return found


@pytest.fixture(scope="module")
def usual() -> Any:
    """The build that runs here."""
    return Kernel("compiled").load("lockgate.protocols.http.codec")


def test_requests(usual: Any, kernel: Kernel) -> None:
    """Requests that are taken, and every one that is refused, with the same words."""
    codec = kernel.load("lockgate.protocols.http.codec")
    for data in (*corpus.REQUESTS, *(vector.data for vector in s.vectors("requests"))):
        assert told(codec.RequestReader(), data) == told(usual.RequestReader(), data)


def test_responses(usual: Any, kernel: Kernel) -> None:
    """The same for responses."""
    codec = kernel.load("lockgate.protocols.http.codec")
    for data in (*corpus.RESPONSES, *(vector.data for vector in s.vectors("responses"))):
        pair = codec.ResponseReader(), usual.ResponseReader()
        for reader in pair:
            reader.expect(b"GET")
        assert told(pair[0], data) == told(pair[1], data)


def test_writers(usual: Any, kernel: Kernel) -> None:
    """What is written, and what cannot be."""
    codec = kernel.load("lockgate.protocols.http.codec")
    for name, value in ((b"X-One", b"a b"), (b"X", b"a\r\nY: b"), (b"", b"x"), (b"Content-Length", b"1"), (b"\xff", b"")):
        found = []
        for build in (codec, usual):
            try:
                found.append(build.field_lines([build.Field.of(name, value)]))
            except Exception as error:
                found.append(type(error).__name__)
        assert found[0] == found[1]
