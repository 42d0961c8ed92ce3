"""The codec against any bytes: it reads, or it raises RemoteProtocolError; it never does anything else."""

from __future__ import annotations

import struct
from random import Random  # noqa: TID251 - test data

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import LocalProtocolError, RemoteProtocolError
from lockgate.kernel.frames import frame
from lockgate.protocols.postgres import codec
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.postgres import support as s

READERS = [codec.read_parse, codec.read_bind, codec.read_execute, codec.read_target, codec.read_row_description,
           codec.read_copy_response, codec.read_fields, codec.read_parameter, codec.silenced_notification,
           codec.affected_rows]


@given(st.sampled_from(READERS), st.binary(max_size=80))
def test_readers_read_or_refuse(reader: object, body: bytes) -> None:
    """No reader raises anything but RemoteProtocolError, whatever the body holds."""
    whole = frame(ord("?"), body)
    try:
        reader(whole, 0, len(whole))  # type: ignore[operator]
    except RemoteProtocolError:
        pass


@given(st.sampled_from(READERS), st.binary(max_size=40), st.binary(max_size=40))
def test_readers_stay_inside_their_frame(reader: object, body: bytes, behind: bytes) -> None:
    """What lies behind a frame changes nothing about what is read from it."""
    whole = frame(ord("?"), body)
    results = []
    for buffer in (whole, whole + behind):
        try:
            results.append(reader(buffer, 0, len(whole)))  # type: ignore[operator]
        except RemoteProtocolError:
            results.append("refused")
    assert results[0] == results[1]


@given(st.lists(st.one_of(st.none(), st.binary(max_size=20)), max_size=5), st.lists(st.integers(0, 1), max_size=3))
def test_bind_reads_back(values: list[bytes | None], results: list[int]) -> None:
    """A Bind that was written is read as it was meant."""
    whole = s.bind("st", "po", values, [1] if values else [], results)
    found = codec.read_bind(whole, 0, len(whole))
    assert (found.statement, found.portal, found.values, found.result_formats) == (
        b"st", b"po", tuple(values), tuple(results))


@pytest.mark.parametrize("body", [
    struct.pack("!BBHHi", 0, 0, 0, 1, 0x7FFFFFFF), struct.pack("!BBHHi", 0, 0, 0, 1, -2),
    struct.pack("!BBH", 0, 0, 0xFFFF), struct.pack("!BBHH", 0, 0, 0, 0xFFFF), b"\0\0\0\1\0\2\0\0\0\0",
    b"\0\0\0\0\0\0\0\0more", b"\0\0", b"",
])
def test_hostile_binds(body: bytes) -> None:
    """Counts and lengths that do not add up to the frame are refused."""
    whole = frame(ord("B"), body)
    with pytest.raises(RemoteProtocolError):
        codec.read_bind(whole, 0, len(whole))


def test_a_nul_cannot_be_written() -> None:
    """A string with a NUL would end early: an error of this side."""
    with pytest.raises(LocalProtocolError):
        codec.query("select 'a\0b'")


@given(st.binary(min_size=1, max_size=300), st.integers(0, 1 << 32))
def test_random_client_bytes_forward_nothing_unjudged(data: bytes, seed: int) -> None:
    """Random bytes end the session or wait for more; what goes upstream was judged, the process lives."""
    world = s.World()
    book = world.session()
    dice = Random(seed)
    while data:
        size = dice.randrange(1, len(data) + 1)
        book >> Bytes(CLIENT, data[:size])
        data = data[size:]
    assert world.faults == []


@given(st.sampled_from(list(b"QPBEDCSHXFdcfp")), st.integers(0, 0xFFFFFFFF), st.binary(max_size=60))
def test_every_client_message_with_any_length(kind: int, length: int, body: bytes) -> None:
    """Hostile lengths are refused as soon as the header is there, or waited for within bounds."""
    book = s.World().session()
    book >> Bytes(CLIENT, bytes((kind,)) + struct.pack("!I", length) + body)
    if length < 4 or length > (16 << 20) + 10:
        assert s.errors(book.sent(CLIENT))[0]["C"] == "08P01"
        assert book.is_closed


@given(st.sampled_from(list(b"123CDEGHIKNRSTVWZAcdnstv?")), st.binary(max_size=60), st.sampled_from(["idle", "query", "extended"]))
def test_every_backend_message_with_any_body(kind: int, body: bytes, state: str) -> None:
    """A backend that talks nonsense ends the session; it never raises and never half-passes."""
    world = s.World()
    book = world.session()
    if state == "query":
        book >> Bytes(CLIENT, s.query("select 1"))
    elif state == "extended":
        book >> Bytes(CLIENT, s.parse("select 1") + s.bind() + s.describe() + s.execute() + s.SYNC)
    book >> Bytes(SERVER, frame(kind, body))
    assert world.faults == []
    s.messages(book.sent(CLIENT))


@given(st.binary(min_size=1, max_size=200))
def test_random_backend_bytes(data: bytes) -> None:
    """Random bytes from a backend never raise."""
    world = s.World()
    book = world.session()
    book >> Bytes(CLIENT, s.query("select 1")) >> Bytes(SERVER, data)
    assert world.faults == []
