"""Rows of a stream in pieces: whole, in order, and at a cost that the number of pieces does not multiply."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking import copy_rows
from lockgate.govern.masking.copy_rows import RowPieces

LIMIT = 10_000
KINDS = {"copy-text": b"", "copy-csv": b'"', "copy-binary": b""}
TEXT = st.text(alphabet='a\\",\n\r', max_size=60).map(str.encode)
FIELD = st.none() | st.binary(max_size=12)


def tuple_of(fields: list[bytes | None]) -> bytes:
    return struct.pack("!h", len(fields)) + b"".join(
        b"\xff\xff\xff\xff" if one is None else struct.pack("!i", len(one)) + one for one in fields)


def pieces_of(data: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [*found, data]


def check(kind: str, data: bytes, sizes: list[int]) -> None:
    whole, rest = RowPieces(kind, KINDS[kind], LIMIT).split(data)
    stream = RowPieces(kind, KINDS[kind], LIMIT)
    rows = [row for piece in pieces_of(data, sizes) for row in stream.feed(piece)]
    assert rows == whole
    assert stream.size == len(rest)
    assert stream.take() == rest
    assert stream.size == 0


@given(st.sampled_from(["copy-text", "copy-csv"]), TEXT, st.lists(st.integers(0, 9), max_size=40))
def test_lines_are_the_same_in_any_pieces(kind: str, data: bytes, sizes: list[int]) -> None:
    """Escaped and quoted newlines, wherever a piece ends."""
    check(kind, data, sizes)


@given(st.lists(st.lists(FIELD, max_size=5), max_size=6), st.integers(0, 20), st.lists(st.integers(0, 9), max_size=60))
def test_tuples_are_the_same_in_any_pieces(rows: list[list[bytes | None]], cut: int, sizes: list[int]) -> None:
    """Counts, lengths and values, wherever a piece ends."""
    data = b"".join(map(tuple_of, rows)) + b"\xff\xff"
    check("copy-binary", data[:len(data) - cut], sizes)


@pytest.mark.parametrize(("kind", "begin", "more"), [
    ("copy-text", b"a", b"b"), ("copy-text", b"a", b"\\\n"), ("copy-text", b"a\\", b"\n\\"), ("copy-csv", b'"a', b"\n"), ("copy-csv", b"", b'"\n"'),
    ("copy-binary", struct.pack("!hi", 1, 1_000_000), b"x"), ("copy-binary", struct.pack("!h", 2_000), b"\xff\xff\xff\xff"),
])
def test_every_byte_is_looked_at_once(kind: str, begin: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that does not end is not put together, nor split, anew with each piece."""
    seen = 0

    def counted(data: bytes, *rest: object) -> object:
        nonlocal seen
        seen += len(data)
        return split(data, *rest)

    name = "split_tuples" if kind == "copy-binary" else "split_lines"
    split = getattr(copy_rows, name)
    monkeypatch.setattr(copy_rows, name, counted)
    stream = RowPieces(kind, KINDS[kind], 1_000_000)
    for piece in (begin, *[more] * 1_500):
        assert stream.feed(piece) == []
    assert stream.size == len(begin) + 1_500 * len(more)
    assert seen <= 2 * stream.size


def test_a_row_has_a_limit() -> None:
    """What is kept is bounded; the row of the last byte is whole."""
    stream = RowPieces("copy-text", b"", 100)
    assert stream.feed(b"x" * 100) == []
    with pytest.raises(RemoteProtocolError, match="larger than the limit"):
        stream.feed(b"x")


@pytest.mark.parametrize("data", [struct.pack("!hI", 1, 0xFFFFFFFE), struct.pack("!H", 0x8000)])
def test_a_tuple_that_cannot_be_is_refused_when_it_comes(data: bytes) -> None:
    """Not when there is no room for more of it."""
    stream = RowPieces("copy-binary", b"", 1_000_000)
    with pytest.raises(RemoteProtocolError):
        for byte in data + b"\0" * 10:
            stream.feed(bytes((byte,)))
