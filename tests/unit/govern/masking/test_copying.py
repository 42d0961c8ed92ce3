"""COPY under content masks: three formats, every cut of the stream, options that hide, limits."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking import CopyFormat, DetectPlan
from lockgate.govern.masking.copying import CopyMask
from lockgate.govern.masking.detection import Kind
from lockgate.govern.masking.requests import ContentCheck
from lockgate.govern.masking.screen import Columns
from lockgate.model import DetectMask, MaskMethod, RequestAction, RequestCheck
from tests.unit.govern.masking.shapes import framed, row_body

CARD = "4111111111111111"
DETECTS = (DetectMask(("credit_card", "email"), MaskMethod.REDACT),)
DONE = framed(b"", "c")
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
cells = st.sampled_from([CARD, "jane@example.org", "a\tb\\", "", "x,y", 'say "hi"', "line\nbreak", "é", "4111 1111\t1111 1111"])
tables = st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=4)


def plan(kind: Kind, copy: CopyFormat | None = None, limit: int = 1 << 20, types: tuple[int, ...] = (25, 25)) -> DetectPlan:
    return DetectPlan(DETECTS, types, (), kind, ord("d"), copy, limit)


def content(out: bytes) -> bytes:
    """The COPY stream in the frames of `out`, which must add up."""
    parts = []
    while out:
        (length,) = struct.unpack_from("!I", out, 1)
        if out[:1] == b"d":
            parts.append(out[5 : 1 + length])
        out = out[1 + length :]
    return b"".join(parts)


def cut_up(data: st.DataObject, stream: bytes) -> list[bytes]:
    """The stream in frames cut anywhere, and the frames in chunks."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)) | {0, len(stream)})
    frames = [framed(stream[start:end], "d") for start, end in pairwise(cuts)]
    return [*frames, DONE] if data.draw(st.booleans()) else [b"".join(frames), DONE]


def hidden(cell: str) -> str:
    return "xxxx" if cell in (CARD, "jane@example.org") else cell


def escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


@settings(max_examples=150)
@given(table=tables, data=st.data())
def test_text_is_masked_at_every_cut(table: list[list[str]], data: st.DataObject) -> None:
    """However rows lie in messages and chunks, each value comes out masked and each escape intact."""
    lines = "".join("\t".join(map(escaped, row)) + "\n" for row in table).encode()
    masks = plan("copy-text")
    out = b"".join(masks.apply(chunk) for chunk in cut_up(data, lines))
    assert content(out).decode() == "".join("\t".join(escaped(hidden(cell)) for cell in row) + "\n" for row in table)


@settings(max_examples=150)
@given(table=tables, data=st.data())
def test_csv_is_masked_at_every_cut(table: list[list[str]], data: st.DataObject) -> None:
    """Quoted newlines, delimiters and quotes do not move values out of sight."""
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows(table)
    masks = plan("copy-csv")
    out = b"".join(masks.apply(chunk) for chunk in cut_up(data, sink.getvalue().encode()))
    assert list(csv.reader(io.StringIO(content(out).decode(), newline=""))) == [list(map(hidden, row)) for row in table]


@settings(max_examples=150)
@given(table=tables, data=st.data())
def test_binary_is_masked_at_every_cut(table: list[list[str]], data: st.DataObject) -> None:
    """Header, tuples and trailer add up after masking."""

    def encoded(rows: list[list[str]]) -> bytes:
        return HEADER + b"".join(row_body([cell.encode() for cell in row]) for row in rows) + b"\xff\xff"

    masks = plan("copy-binary")
    out = b"".join(masks.apply(chunk) for chunk in cut_up(data, encoded(table)))
    assert content(out) == encoded([list(map(hidden, row)) for row in table])


@pytest.mark.parametrize("kind", ["copy-text", "copy-csv"])
def test_a_clean_chunk_of_whole_rows_is_the_same_object(kind: Kind) -> None:
    """Rows that end where their messages end go by uncopied."""
    chunk = framed(b"a\tb,c\n", "d") + framed(b"d\te\n", "d") + DONE
    assert plan(kind).apply(chunk) is chunk


def test_clean_binary_rows_are_the_same_object_after_the_header() -> None:
    """The header is checked once; rows behind it go by uncopied."""
    masks = plan("copy-binary")
    first = framed(HEADER, "d") + framed(row_body([b"a", None]), "d")
    assert masks.apply(first) is first
    chunk = framed(row_body([b"a", b"b"]), "d") + framed(b"\xff\xff", "d") + DONE
    assert masks.apply(chunk) is chunk


def test_a_value_in_two_messages_is_held_back_until_it_is_whole() -> None:
    """No half of a number leaves before the row was searched."""
    masks = plan("copy-text")
    assert content(masks.apply(framed(b"a\t41111111", "d"))) == b""
    assert content(masks.apply(framed(b"11111111\n", "d"))) == b"a\txxxx\n"
    assert masks.masked == {"credit_card": 1}


def test_a_notice_inside_a_row_does_not_tear_it() -> None:
    """Other messages pass between the halves, the row stays together."""
    masks = plan("copy-text")
    notice = framed(b"N\0", "N")
    out = masks.apply(framed(b"a\t41111111", "d") + notice + framed(b"11111111\n", "d"))
    assert out == notice + framed(b"a\txxxx\n", "d")


def test_a_last_line_without_its_end_is_searched() -> None:
    """What is still held back when the stream ends is masked and sent."""
    masks = plan("copy-text")
    assert masks.apply(framed(b"a\t" + CARD.encode(), "d")) == b""
    assert masks.apply(DONE) == framed(b"a\txxxx", "d") + DONE


@pytest.mark.parametrize(
    ("kind", "copy", "line", "due"),
    [("copy-text", CopyFormat(delimiter=b"@"), b"x@jane\\@example.org\n", b"x@xxxx\n"),
     ("copy-text", CopyFormat(delimiter=b"-", null=b"?"), b"?-4111\\-1111\\-1111\\-1111\n", b"?-xxxx\n"),
     ("copy-csv", CopyFormat(b",", b"", b"@", b"@"), b"x,@jane@@example.org@\n", b"x,@xxxx@\n"),
     ("copy-csv", CopyFormat(b",", b"", b'"', b"1"), b'x,"4111111111111111111111111111111"\n', None),
     ("copy-csv", CopyFormat(b"-", b"", b'"', b'"'), b'x-"4111-1111-1111-1111"\n', b'x-"xxxx"\n')],
)  # fmt: skip
def test_options_cannot_hide_a_value(kind: Kind, copy: CopyFormat, line: bytes, due: bytes | None) -> None:
    """Delimiters, quotes and escapes that would stand inside a value are undone before the search."""
    result = content(plan(kind, copy).apply(framed(line, "d")))
    assert CARD.encode() not in result
    if due is not None:
        assert result == due


@pytest.mark.parametrize(("raw", "value"), [
    (b'xx"xx"', b"xxxx"), (b'"xx"xx', b"xxxx"), (b'"a""b"', b'a"b'), (b'a""b', b"ab"), (b'""""', b'"'), (b'""', b""),
    (b'x"a,""b"y', b'xa,"by'), (b'""x""', b"x"), (b'a"b"c"d"', b"abcd"),
])
def test_a_csv_field_is_read_as_the_backend_reads_it(raw: bytes, value: bytes) -> None:
    """Quotes begin and end anywhere in a field (manual, COPY, "CSV Format")."""
    seen: list[bytes] = []

    def look(item: bytes) -> bytes:
        seen.append(item)
        return item

    columns = Columns((), (), look, None)
    mask = CopyMask("copy-csv", CopyFormat(b",", b""), lambda: columns, ord("d"), 1 << 20, None, must_read=True)
    assert mask.apply(framed(b"1," + raw + b"\n", "d"), []) == framed(b"1," + raw + b"\n", "d")
    assert seen == [b"1", value]


def intake(look: Callable[[bytes], bytes | None]) -> CopyMask:
    """A COPY FROM whose fields are given to `look`."""
    columns = Columns((), (), look, None)
    return CopyMask("copy-text", CopyFormat(), lambda: columns, ord("d"), 1 << 20, None, must_read=True)


@pytest.mark.parametrize("escaped", [rb"AKIA\x49OSFODNN7EXAMPLE", rb"\101KIA\111OSFODNN7EXAMPLE", rb"\x41\x4bIA\x49OSFODNN7EXAMPL\105",
                                     rb"xx\x78x", rb"\170\170xx"])
def test_numbered_escapes_hide_nothing_from_the_look_at_requests(escaped: bytes) -> None:
    """Keys and masks that come in are seen, wherever the messages are cut."""
    line = b"7031\t" + escaped + b"\n"
    for cut in range(len(line)):
        check = ContentCheck((RequestCheck(("aws_key",), RequestAction.BLOCK),), None, guards=True)
        intake(lambda value, check=check: check.value(value, 0, binary=False)).apply(    # type: ignore[misc]
            framed(line[:cut], "d") + framed(line[cut:], "d"), [])
        assert check.action is RequestAction.BLOCK or check.has_mask


@pytest.mark.parametrize(("raw", "value"), [
    (rb"\x49\x4a9\x4g\xg\x", b"IJ9\x04gxgx"), (rb"\1\12\1234\400\8", b"\1\n\x53" + b"4\x008"),
    (rb"\b\f\n\r\t\v\N\\x41", b"\b\f\n\r\t\vN\\x41"), (b"a\\\nb\\\tc", b"a\nb\tc"), (b"\\.x", b".x"),
])
def test_a_text_field_is_read_as_the_backend_reads_it(raw: bytes, value: bytes) -> None:
    """All escapes of the format (manual, COPY, "Text Format"), over every cut between messages."""
    data = b"1\t" + raw + b"\n2\tlast\n"
    for cut in range(len(data)):
        seen: list[bytes] = []

        def note(field: bytes, seen: list[bytes] = seen) -> bytes:
            seen.append(field)
            return field

        rows = intake(note)
        assert content(rows.apply(framed(data[:cut], "d") + framed(data[cut:], "d"), [])) == data
        assert seen == [b"1", value, b"2", b"last"]


def test_a_carriage_return_ends_a_line_that_comes_in() -> None:
    """COPY FROM takes lines that end in one; an escaped one is data."""
    seen: list[bytes] = []
    rows = intake(lambda field: seen.append(field) or field)        # type: ignore[func-returns-value]
    data = b"1\txxxx\r2\ta\\\rb\r"
    assert content(rows.apply(framed(data, "d") + DONE, [])) == data
    assert seen == [b"1", b"xxxx", b"2", b"a\rb"]


def test_null_is_written_as_the_format_says() -> None:
    """A value that is masked to NULL becomes the null string of the format."""
    null = (DetectMask(("email",), MaskMethod.NULL),)
    for kind, line, due in (
        ("copy-text", b"a\tjane@example.org\n", b"a\t\\N\n"),
        ("copy-csv", b"a,jane@example.org\n", b"a,\n"),
        ("copy-binary", HEADER + row_body([b"a", b"jane@example.org"]), HEADER + row_body([b"a", None])),
    ):
        masks = DetectPlan(null, (), (), kind, ord("d"))  # type: ignore[arg-type]
        assert content(masks.apply(framed(line, "d"))) == due


def test_bytes_in_a_stream_without_types_are_decoded() -> None:
    """A hex field is looked into although nothing says that it is one."""
    line = b"a\t\\\\x" + CARD.encode().hex().encode() + b"\n"
    assert content(plan("copy-text", types=()).apply(framed(line, "d"))) == b"a\t\\\\x78787878\n"


@pytest.mark.parametrize("kind", ["copy-text", "copy-csv", "copy-binary"])
def test_a_row_above_the_limit_is_refused(kind: Kind) -> None:
    """What is held back is bounded."""
    masks = plan(kind, limit=100)
    start = HEADER + b"\0\1\0\0\1\0" if kind == "copy-binary" else b""
    with pytest.raises(RemoteProtocolError):
        for _ in range(20):
            masks.apply(framed(start + b"x" * 50, "d"))
            start = b""


@pytest.mark.parametrize("header", [b"PGCOPX\n\xff\r\n\x00" + bytes(8), HEADER[:11] + b"\0\1\0\0\0\0\0\0", HEADER[:15] + b"\0\0\0\1"])
def test_an_unknown_binary_header_is_refused(header: bytes) -> None:
    """Flags and extensions that nobody knows could move the tuples."""
    with pytest.raises(RemoteProtocolError):
        plan("copy-binary").apply(framed(header + b"\xff\xff", "d"))


def test_a_row_of_another_width_is_refused() -> None:
    """A find in a row that does not fit the described columns stops the stream."""
    with pytest.raises(RemoteProtocolError):
        plan("copy-text").apply(framed(b"a\tb\t" + CARD.encode() + b"\n", "d"))


@settings(max_examples=150)
@given(kind=st.sampled_from(["copy-text", "copy-csv", "copy-binary"]), parts=st.lists(st.binary(max_size=30), max_size=4),
       tail=st.sampled_from([b"", b"4111111111111111\n", b"a@b.co", HEADER]))
def test_random_streams_are_masked_or_refused(kind: Kind, parts: list[bytes], tail: bytes) -> None:
    """No stream makes COPY masking fail in another way than the protocol error."""
    masks = plan(kind, types=())
    try:
        for part in parts:
            masks.apply(framed(tail + part, "d"))
        masks.apply(DONE)
    except RemoteProtocolError:
        return
