"""Fields that are for one connection alone, and fields that must stay where they are."""

from __future__ import annotations

import pytest

from lockgate.protocols.http.framing import end_to_end, is_guarded, verify_trailers
from lockgate.protocols.http.messages import Field, MessageError


def fields(text: str) -> tuple[Field, ...]:
    return tuple(Field.of(name.encode(), value.strip().encode())
                 for name, _, value in (line.strip().partition(":") for line in text.strip().splitlines()))


def test_what_is_for_this_connection_goes() -> None:
    """RFC 9110, 7.6.1: Connection, what it names, and the known others; everything else stays in its order."""
    kept = end_to_end(fields("""
        Host: a.example
        Connection: close, X-Hop
        Keep-Alive: 5
        Connection: keep-alive, TE
        TE: trailers
        X-Hop: 1
        x-hop: 2
        Upgrade: h2c
        HTTP2-Settings: AA
        Transfer-Encoding: chunked
        Proxy-Connection: close
        Proxy-Authorization: Basic x
        Proxy-Authenticate: Basic
        Trailer: X-Sum
        Content-Length: 5
        Authorization: Bearer x
        Proxy-Status: a
        X-Hop-Not: 3
    """))
    assert [field.raw for field in kept] == [
        b"Host", b"Trailer", b"Content-Length", b"Authorization", b"Proxy-Status", b"X-Hop-Not"]


def test_nothing_to_remove() -> None:
    """Fields without hop-by-hop ones stay as they are."""
    assert end_to_end(()) == ()
    assert len(end_to_end(fields("Host: a\nX: y"))) == 2


@pytest.mark.parametrize("name", [
    "Host", "content-length", "Content-Type", "Authorization", "Cookie", "Set-Cookie", "X-Forwarded-For", "Content-Encoding",
    "Range", "If-Match", "Cache-Control", "Expect", "X-Api-Key", "Origin", "Sec-WebSocket-Key", "Via",
])
def test_connection_takes_away_nothing_that_matters(name: str) -> None:
    """A field that the peer behind must see cannot be removed by naming it in Connection."""
    with pytest.raises(MessageError):
        end_to_end(fields(f"Connection: close, {name}\n{name}: x"))


@pytest.mark.parametrize("name", [b"content-digest", b"etag", b"grpc-status", b"x-amz-checksum-crc32", b"server-timing", b"x"])
def test_trailers_that_are_used(name: bytes) -> None:
    """What RFC 9530, gRPC and object stores send behind content may stand there."""
    assert not is_guarded(name)
    verify_trailers((Field.of(name, b"x"),))
