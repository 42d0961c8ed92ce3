"""Row bodies: fields that add up, rewriting against a reference, hostile rows; both builds."""

from __future__ import annotations

import string
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import RemoteProtocolError

BULK = ord("D")
Row = list[bytes | None]
values = st.none() | st.binary(max_size=20)


def body(row: Row) -> bytes:
    parts = [b"\xff\xff\xff\xff" if item is None else struct.pack("!I", len(item)) + item for item in row]
    return struct.pack("!H", len(row)) + b"".join(parts)


def frame(row: Row, kind: int = BULK) -> bytes:
    data = body(row)
    return bytes([kind]) + struct.pack("!I", len(data) + 4) + data


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    width = draw(st.integers(0, 5))
    return draw(st.lists(st.lists(values, min_size=width, max_size=width), max_size=6))


@given(row=st.lists(values, max_size=6), before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_fields_are_where_they_were_put(kernel: Any, row: Row, before: bytes, after: bytes) -> None:
    """Every value is found, NULL is told from empty, and the neighbours do not matter."""
    data = body(row)
    spans = kernel.rows.fields(before + data + after, len(before), len(before) + len(data))
    found = [None if start < 0 else (before + data + after)[start:end] for start, end in spans]
    assert found == row


@given(row=st.lists(values, max_size=4), cut=st.integers(1, 30), more=st.binary(min_size=1, max_size=5))
def test_a_row_that_does_not_add_up_is_an_error(kernel: Any, row: Row, cut: int, more: bytes) -> None:
    """One byte too few or too many and the whole row is refused."""
    data = body(row)
    for wrong in (data[: max(0, len(data) - cut)], data + more):
        with pytest.raises(RemoteProtocolError):
            kernel.rows.fields(wrong, 0, len(wrong))


@pytest.mark.parametrize("length", [0x80000000, 0xFFFFFFFE, 0x7FFFFFFF, 5])
def test_a_hostile_field_length_is_an_error(kernel: Any, length: int) -> None:
    """Negative lengths other than -1 and lengths beyond the row never give an offset."""
    data = b"\0\1" + struct.pack("!I", length) + b"abcd"
    with pytest.raises(RemoteProtocolError):
        kernel.rows.fields(data, 0, len(data))
    framed = b"D" + struct.pack("!I", len(data) + 4) + data
    with pytest.raises(RemoteProtocolError):
        kernel.rows.rewrite_rows(framed, BULK, 1, [0], [lambda value: value], [None])


@pytest.mark.parametrize(("start", "end"), [(-1, 4), (0, 99), (3, 2), (50, 60)])
def test_offsets_outside_the_buffer_are_an_error(kernel: Any, start: int, end: int) -> None:
    """A caller's wrong offset is refused, it does not wrap around to the buffer's end."""
    with pytest.raises(RemoteProtocolError):
        kernel.rows.fields(b"\0\0\0\0\0\0", start, end)


@given(table=tables(), data=st.data())
def test_rewriting_equals_decoding_and_encoding(kernel: Any, table: list[Row], data: st.DataObject) -> None:
    """Rewriting columns in place gives the bytes of the rows with these values replaced."""
    width = len(table[0]) if table else 0
    columns = data.draw(st.lists(st.integers(0, width - 1), max_size=width) if width else st.just([]))
    new = data.draw(st.sampled_from([None, b"", b"xxxx", b"y" * 5000]))
    filled = data.draw(st.sampled_from([None, b"", b"none"]))
    columns = sorted(set(columns))
    calls: list[tuple[int, bytes]] = []

    def replacing(column: int) -> Any:
        def replace(value: bytes) -> bytes | None:
            calls.append((column, value))
            return new

        return replace

    kinds = [data.draw(st.sampled_from([BULK, BULK, ord("N")])) for _ in table]
    stream = b"".join(frame(row, kind) for row, kind in zip(table, kinds, strict=True))
    result, count = kernel.rows.rewrite_rows(
        stream, BULK, width, columns, [replacing(column) for column in columns], [filled] * len(columns))
    rows = [row for row, kind in zip(table, kinds, strict=True) if kind == BULK]
    due = [[(filled if item is None else new) if index in columns and kind == BULK else item
            for index, item in enumerate(row)] for row, kind in zip(table, kinds, strict=True)]
    assert result == b"".join(frame(row, kind) for row, kind in zip(due, kinds, strict=True))
    assert calls == [(column, row[column]) for row in rows for column in columns if row[column] is not None]
    assert count == len(calls)


@pytest.mark.parametrize(("width", "columns"), [
    (2, [2]), (2, [0, 2]), (2, [-1]), (2, [-1, 0]), (2, [1, 0]), (2, [0, 0]), (1, [0]), (3, [0]), (3, [2]), (1, [])])
def test_a_mask_for_another_row_is_an_error(kernel: Any, width: int, columns: list[int]) -> None:
    """A mask that finds no column, or a row of another width than was analysed, must not pass unnoticed."""
    data = frame([b"a", b"b"])
    with pytest.raises(RemoteProtocolError):
        kernel.rows.rewrite_rows(data, BULK, width, columns, [lambda _value: b"x"] * len(columns), [None] * len(columns))


def test_rows_that_nothing_is_due_in_are_the_same_object(kernel: Any) -> None:
    """Other messages, and NULLs that stay NULL, cost no copy."""
    data = frame([None], BULK) + frame([b"a"], ord("N"))
    assert kernel.rows.rewrite_rows(data, BULK, 1, [0], [lambda _value: b"x"], [None]) == (data, 0)


@given(data=st.binary(max_size=60), columns=st.lists(st.integers(-1, 3), max_size=3))
def test_random_bytes_are_rewritten_or_refused(kernel: Any, data: bytes, columns: list[int]) -> None:
    """No bytes make row code fail in another way than the protocol error."""
    for run in (
        lambda: kernel.rows.rewrite_rows(data, BULK, 1, columns, [lambda value: value] * len(columns), [b""] * len(columns)),
        lambda: kernel.rows.fields(data, 0, len(data)),
        lambda: kernel.rows.touched_fields(data, BULK, 1, [(0, len(data))]),
        lambda: kernel.rows.column_values(data, BULK, 1, [0]),
        lambda: kernel.rows.blanked(data, BULK, 1, [0]),
        lambda: kernel.rows.row_numbers(data, BULK, [0]),
        lambda: kernel.rows.long_values(data * 9, BULK, 1, [0]),
    ):
        try:
            run()
        except RemoteProtocolError:
            continue


@given(table=tables(), data=st.data())
def test_touched_fields_are_those_that_share_a_byte(kernel: Any, table: list[Row], data: st.DataObject) -> None:
    """Exactly the fields of which value or length overlap a hit are given, in order, and never one of another frame
    type."""
    width = len(table[0]) if table else 0
    kinds = [data.draw(st.sampled_from([BULK, BULK, ord("N")])) for _ in table]
    stream = b"".join(frame(row, kind) for row, kind in zip(table, kinds, strict=True))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    hits = [(start, end) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
    expected = []
    at = 0
    for row, kind in zip(table, kinds, strict=True):
        last = at + len(frame(row))
        inner = at + 7
        for column, item in enumerate(row):
            inner += 4
            end = inner + len(item or b"")
            if kind == BULK and item and any(start < end and stop > inner - 4 for start, stop in hits):
                expected.append((at, last, column, inner, end))
            inner = end
        at = last
    assert kernel.rows.touched_fields(stream, BULK, width, hits) == expected
    due = [(first, last, begin, end, b"new value") for first, last, _column, begin, end in expected]
    touched = {(first, column) for first, _, column, _, _ in expected}
    offsets = [sum(len(frame(row)) for row in table[:index]) for index in range(len(table))]
    renewed = b"".join(
        frame([b"new value" if (offset, column) in touched else item for column, item in enumerate(row)], kind)
        for offset, row, kind in zip(offsets, table, kinds, strict=True)
    )
    assert kernel.rows.apply_edits(stream, due) == renewed


def test_a_touched_row_of_another_width_is_an_error(kernel: Any) -> None:
    """Rows must have the width that their description told; else columns would shift."""
    data = frame([b"a", b"b"])
    for width in (1, 3):
        with pytest.raises(RemoteProtocolError):
            kernel.rows.touched_fields(data, BULK, width, [(0, len(data))])


@given(table=tables(), data=st.data())
def test_rows_are_numbered_by_their_frames(kernel: Any, table: list[Row], data: st.DataObject) -> None:
    """Frames of another type are no rows; every row is counted once, looked for or not."""
    kinds = [data.draw(st.sampled_from([BULK, BULK, ord("N")])) for _ in table]
    frames = [frame(row, kind) for row, kind in zip(table, kinds, strict=True)]
    starts = [sum(map(len, frames[:place])) for place, kind in enumerate(kinds) if kind == BULK]
    chosen = data.draw(st.sets(st.sampled_from(range(len(starts))))) if starts else set()
    assert kernel.rows.row_numbers(b"".join(frames), BULK, [starts[place] for place in sorted(chosen)]) == sorted(chosen)
    assert kernel.rows.long_values(b"".join(frames), BULK, len(table[0]) if table else 0, []) == ([], len(starts))


@pytest.mark.parametrize("starts", [[1], [0, 3], [-1], [99]])
def test_a_row_that_begins_nowhere_is_an_error(kernel: Any, starts: list[int]) -> None:
    """A wrong offset is refused, it does not count as some row."""
    with pytest.raises(RemoteProtocolError):
        kernel.rows.row_numbers(frame([b"a"]) * 2, BULK, starts)


@given(table=tables(), data=st.data())
def test_blanking_moves_nothing(kernel: Any, table: list[Row], data: st.DataObject) -> None:
    """The values of the columns become zero bytes; lengths, other values and other frames keep every byte."""
    width = len(table[0]) if table else 0
    columns = sorted(data.draw(st.sets(st.integers(0, width - 1)))) if width else []
    other = frame([b"x" * 30], ord("N"))
    due = [[item if item is None or place not in columns else bytes(len(item)) for place, item in enumerate(row)] for row in table]
    stream = other.join(frame(row) for row in table) + other
    assert kernel.rows.blanked(stream, BULK, width, columns) == other.join(frame(row) for row in due) + other
    with pytest.raises(RemoteProtocolError):
        kernel.rows.blanked(frame([None] * (width + 1)), BULK, width, columns)


def test_a_large_value_is_blanked_whole(kernel: Any) -> None:
    """Beyond the prepared zeros too."""
    assert kernel.rows.blanked(frame([b"x" * 9000, b"a"]), BULK, 2, [0]) == frame([bytes(9000), b"a"])


@given(sizes=st.lists(st.lists(st.integers(0, 700) | st.sampled_from([255, 256, 0x130, 0x161, 0x22B]), min_size=3, max_size=3), max_size=4),
       containers=st.sets(st.integers(0, 2)))
def test_long_values_that_may_hide_their_beginning_are_told(kernel: Any, sizes: list[list[int]], containers: set[int]) -> None:
    """Those of 256 bytes or more whose length ends like text, and all that long in columns of containers."""
    stream = b"".join(frame([bytes(size) for size in row]) + frame([bytes(999)], ord("N")) for row in sizes)
    found, rows = kernel.rows.long_values(stream, BULK, 3, sorted(containers))
    assert rows == len(sizes)
    due = [(row, column) for row, widths in enumerate(sizes) for column, size in enumerate(widths)
           if size >= 256 and (column in containers or chr(size % 256) in string.ascii_letters + string.digits + "+-.")]
    starts = sorted({first for first, *_ in found})
    numbers = dict(zip(starts, kernel.rows.row_numbers(stream, BULK, starts), strict=True))
    assert [(numbers[first], column) for first, _, column, _, _ in found] == due
    assert all(end - begin == sizes[numbers[first]][column] for first, _, column, begin, end in found)


def test_a_long_row_of_another_width_is_an_error(kernel: Any) -> None:
    """What is looked into must fit its description, found or not."""
    for width in (1, 3):
        with pytest.raises(RemoteProtocolError):
            kernel.rows.long_values(frame([b"a" * 300, b"b"]), BULK, width, [])
