"""Column masks over rows and COPY streams: the right columns, at every cut, and detectors on the rest."""

from __future__ import annotations

import csv
import io
import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.columns import CopyKind, copy_plan, row_plan
from lockgate.govern.masking.copying import CopyFormat
from lockgate.govern.masking.detection import ClearPlan, PassPlan
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.value_masks import MaskTerms, value_mask
from lockgate.model import DetectMask, MaskMethod, Secret
from tests.unit.govern.masking.shapes import Row, framed, read_rows, row_body, stream

KEYS = MaskKeys(Secret("5a" * 32))
BULK = ord("D")
TEXT = ColumnType(25)
CARD = "4111111111111111"
DETECTS = (DetectMask(("credit_card", "email"), MaskMethod.REDACT),)
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
DONE = framed(b"", "c")
HASH, REDACT = MaskTerms(MaskMethod.HASH, b"task", "pii"), MaskTerms(MaskMethod.REDACT)


def hashed(value: bytes) -> bytes:
    new = value_mask(HASH, TEXT, False, KEYS).replace(value)
    assert new is not None
    return new


def rows_plan(terms: dict[int, MaskTerms], columns: tuple[ColumnType, ...], formats: tuple[int, ...] | None = None,
              detects: tuple[DetectMask, ...] = ()) -> ClearPlan:
    return row_plan(terms, columns, formats or (0,) * len(columns), KEYS, detects, BULK)


values = st.none() | st.binary(max_size=12)


@given(rows=st.lists(st.lists(values, min_size=3, max_size=3), max_size=6), data=st.data())
def test_exactly_the_chosen_columns_are_masked(kernel: Any, rows: list[Row], data: st.DataObject) -> None:
    """Whatever stands beside them, wherever chunks of whole frames are cut, and whatever else is in the stream."""
    made = kernel.load("lockgate.govern.masking.columns").row_plan
    terms = dict.fromkeys(data.draw(st.sets(st.integers(0, 2), min_size=1)), REDACT)
    plan = made(terms, (TEXT,) * 3, (0, 1, 0), KEYS, (), BULK)
    out, at = b"", 0
    while at < len(rows):
        step = data.draw(st.integers(1, len(rows)))
        out += plan.apply(framed(b"N", "N") + stream(rows[at:at + step]))
        at += step
    assert read_rows(out.replace(framed(b"N", "N"), b"")) == [
        [b"xxxx" if at in terms else item for at, item in enumerate(row)] for row in rows]
    count = sum(row[at] is not None for row in rows for at in terms)
    assert plan.masked == ({"column": count} if count else {})


def test_text_and_binary_columns_get_their_own_form() -> None:
    """The format is the column's, as Bind or RowDescription says it."""
    plan = rows_plan({0: HASH, 1: REDACT, 2: REDACT}, (ColumnType(23), ColumnType(23), ColumnType(1184)), (1, 0, 1))
    out = read_rows(plan.apply(stream([[struct.pack("!i", 7), b"7", bytes(8)], [None, None, None]])))
    assert out[0][0] == value_mask(HASH, ColumnType(23), True, KEYS).replace(struct.pack("!i", 7))
    assert out[0][1:] == [b"0", struct.pack("!q", -946_684_800_000_000)]
    assert out[1] == [None, *out[0][1:]]            # redaction hides that nothing was there
    assert plan.masked == {"column": 3}


def test_detectors_look_at_the_rest_and_leave_masks_alone() -> None:
    """A card number beside a masked column is found; an invented e-mail is not taken for a real one."""
    fake = MaskTerms(MaskMethod.FAKE, b"task", "pii")
    plan = rows_plan({0: fake}, (TEXT, TEXT), detects=DETECTS)
    out = read_rows(plan.apply(stream([[b"ann@example.com", CARD.encode()]])))
    assert out == [[value_mask(fake, TEXT, False, KEYS).replace(b"ann@example.com"), b"xxxx"]]
    assert b"@" in (out[0][0] or b"")
    assert plan.masked == {"column": 1, "credit_card": 1}


def test_detectors_look_into_what_paths_leave() -> None:
    """A document that is masked in part is searched."""
    terms = MaskTerms(MaskMethod.REDACT, paths=frozenset(("$.a",)))
    plan = rows_plan({0: terms}, (ColumnType(3802),), detects=DETECTS)
    out = read_rows(plan.apply(stream([[b'{"a": "x", "b": "ann@example.org"}']])))
    assert out == [[b'{"a": "xxxx", "b": "xxxx"}']]


@pytest.mark.parametrize("row", [[b"a"], [b"a", b"b", b"c"], []])
def test_rows_of_another_width_are_refused(row: Row) -> None:
    """The positions of the analysis would mean other columns (I3)."""
    with pytest.raises(RemoteProtocolError):
        rows_plan({0: REDACT}, (TEXT, TEXT)).apply(stream([[b"a", b"b"], row]))


def test_plans_that_do_not_fit_are_refused() -> None:
    """A column that is not there, formats that nobody knows."""
    for terms, columns, formats in (({2: REDACT}, (TEXT, TEXT), (0, 0)), ({-1: REDACT}, (TEXT,), (0,)),
                                    ({0: REDACT}, (TEXT,), (2,)), ({0: REDACT}, (TEXT,), (0, 0))):
        with pytest.raises(RemoteProtocolError):
            row_plan(terms, columns, formats, KEYS, (), BULK)
    with pytest.raises(RemoteProtocolError):
        copy_plan({2: (REDACT, TEXT)}, 2, KEYS, (), "copy-text", ord("d"), CopyFormat())


def test_no_mask_and_no_detector_is_no_work() -> None:
    """A result without either goes by uncopied."""
    assert isinstance(rows_plan({}, (TEXT,)), PassPlan)
    chunk = framed(b"x", "N")
    assert rows_plan({0: REDACT}, (TEXT,)).apply(chunk) is chunk


@given(data=st.binary(max_size=60))
def test_random_frames_are_masked_or_refused(data: bytes) -> None:
    """Nothing but the protocol error comes out of a plan."""
    for one in (data, framed(data)):
        try:
            rows_plan({0: HASH}, (TEXT,), detects=DETECTS).apply(one)
        except RemoteProtocolError:
            continue


# ---------------------------------------------------------------- COPY

cells = st.sampled_from([CARD, "jane@example.org", "a\tb\\", "", "x,y", 'say "hi"', "line\nbreak", "é", "\\N", "N", "\\.", "secret"])
tables = st.lists(st.lists(cells | st.none(), min_size=3, max_size=3), min_size=1, max_size=4)


def copying(kind: CopyKind, options: CopyFormat | None = None, terms: dict[int, MaskTerms] | None = None, width: int = 3,
            detects: tuple[DetectMask, ...] = DETECTS) -> ClearPlan:
    chosen = {0: HASH, 1: REDACT} if terms is None else terms
    return copy_plan({at: (one, TEXT) for at, one in chosen.items()}, width, KEYS, detects, kind, ord("d"),
                     options or CopyFormat.of(kind), 1 << 20)


def content(out: bytes) -> bytes:
    parts = []
    while out:
        (length,) = struct.unpack_from("!I", out, 1)
        if out[:1] == b"d":
            parts.append(out[5:1 + length])
        out = out[1 + length:]
    return b"".join(parts)


def cut_up(data: st.DataObject, whole: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=6)) | {0, len(whole)})
    frames = [framed(whole[start:end], "d") for start, end in pairwise(cuts)]
    return [*frames, DONE] if data.draw(st.booleans()) else [b"".join(frames), DONE]


def due(row: list[str | None]) -> list[str | None]:
    first, _, third = row
    return [None if first is None else hashed(first.encode()).decode(), "xxxx",
            "xxxx" if third in (CARD, "jane@example.org") else third]


def text_line(row: list[str | None]) -> str:
    return "\t".join("\\N" if cell is None else cell.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
                     for cell in row) + "\n"


def csv_line(row: list[str | None]) -> str:
    """As the server writes it: a text that is like the null string, or like the end mark, is quoted."""
    return ",".join("" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in row) + "\n"


@settings(max_examples=150)
@given(table=tables, data=st.data(), has_header=st.booleans())
def test_text_rows_are_masked_at_every_cut(table: list[list[str | None]], data: st.DataObject, has_header: bool) -> None:
    """Rows cross messages; NULL is told from its text; a header stays."""
    front = "a\tsecret\tc\n" if has_header else ""
    plan = copying("copy-text", CopyFormat(has_header=has_header))
    out = b"".join(plan.apply(chunk) for chunk in cut_up(data, (front + "".join(map(text_line, table))).encode()))
    assert content(out).decode() == front + "".join(text_line(due(row)) for row in table)
    assert plan.masked.get("column", 0) == sum(row[at] is not None for row in table for at in (0, 1))


@settings(max_examples=150)
@given(table=tables, data=st.data(), has_header=st.booleans())
def test_csv_rows_are_masked_at_every_cut(table: list[list[str | None]], data: st.DataObject, has_header: bool) -> None:
    """Quoted newlines and delimiters do not move a column out of its place."""
    front = 'a,"sec\nret",c\n' if has_header else ""
    plan = copying("copy-csv", CopyFormat(b",", b"", has_header=has_header))
    out = b"".join(plan.apply(chunk) for chunk in cut_up(data, (front + "".join(map(csv_line, table))).encode()))
    rows = list(csv.reader(io.StringIO(content(out).decode(), newline="")))
    assert rows == [*([["a", "sec\nret", "c"]] if has_header else []),
                    *([cell or "" for cell in due(row)] for row in table)]


@settings(max_examples=150)
@given(table=tables, data=st.data())
def test_binary_rows_are_masked_at_every_cut(table: list[list[str | None]], data: st.DataObject) -> None:
    """Header, tuples and trailer add up after masking."""

    def encoded(rows: list[list[str | None]]) -> bytes:
        bodies = (row_body([None if cell is None else cell.encode() for cell in row]) for row in rows)
        return HEADER + b"".join(bodies) + b"\xff\xff"

    plan = copying("copy-binary")
    out = b"".join(plan.apply(chunk) for chunk in cut_up(data, encoded(table)))
    assert content(out) == encoded([due(row) for row in table])


@pytest.mark.parametrize(("kind", "line"), [
    ("copy-text", b"a\tb\n"), ("copy-text", b"a\tb\tc\td\n"), ("copy-text", b"\\N\t\\N\n"), ("copy-csv", b"a,b\n"), ("copy-csv", b",,,\n"),
    ("copy-binary", HEADER + row_body([b"a"])), ("copy-binary", HEADER + row_body([None] * 4))])
def test_copy_rows_of_another_width_are_refused(kind: CopyKind, line: bytes) -> None:
    """COPY of a table leaves generated columns out: the analysed width has to be the row's."""
    with pytest.raises(RemoteProtocolError):
        copying(kind).apply(framed(line, "d"))


@pytest.mark.parametrize("null", [b"219-09-9999", b"", b"\\t", b"N"])
def test_a_null_string_of_one_s_own_is_no_way_around(null: bytes) -> None:
    """In text format a value may be written like NULL: what a client guesses would come out as it is, or not."""
    plan = copying("copy-text", CopyFormat(null=null), {0: HASH}, width=1, detects=())
    out = content(plan.apply(framed(null + b"\n", "d")))
    assert out.rstrip(b"\n") != null
    assert out.startswith(b"h_")


def test_a_null_string_is_for_columns_without_a_mask_as_before() -> None:
    """They may be NULL."""
    plan = copying("copy-text", CopyFormat(null=b"nix"), {0: HASH}, width=2, detects=())
    assert content(plan.apply(framed(b"a\tnix\n", "d"))) == hashed(b"a") + b"\tnix\n"


def test_a_quoted_null_string_is_a_value() -> None:
    """CSV tells them apart by quotes."""
    plan = copying("copy-csv", CopyFormat(b",", b"nix"), {0: REDACT, 1: HASH}, width=2, detects=())
    assert content(plan.apply(framed(b'nix,"nix"\nnix,nix\n', "d"))) == \
        b'"xxxx","' + hashed(b"nix") + b'"\n"xxxx",nix\n'


def test_detectors_search_what_columns_leave_in_a_copy() -> None:
    """Also bytes in hex, also a document of which a path hid a part."""
    terms = {0: MaskTerms(MaskMethod.REDACT, paths=frozenset(("$.a",)))}
    plan = copy_plan({at: (one, ColumnType(3802)) for at, one in terms.items()}, 2, KEYS, DETECTS, "copy-text", ord("d"),
                     CopyFormat())
    line = b'{"a": 1, "b": "jane@example.org"}\t\\\\x' + CARD.encode().hex().encode() + b"\n"
    out = content(plan.apply(framed(line, "d")))
    assert out == b'{"a": 0, "b": "xxxx"}\t\\\\x78787878\n'
    assert plan.masked == {"column": 1, "email": 1, "credit_card": 1}


@settings(max_examples=150)
@given(kind=st.sampled_from(["copy-text", "copy-csv", "copy-binary"]), parts=st.lists(st.binary(max_size=30), max_size=4))
def test_random_streams_hold_no_canary(kind: CopyKind, parts: list[bytes]) -> None:
    """All columns masked: whatever the cuts and marks, the secret is not there, or the stream is refused."""
    plan = copying(kind, terms={0: HASH, 1: REDACT}, width=2, detects=())
    out = b""
    try:
        for part in parts:
            out += plan.apply(framed(b"SECRET" + part, "d"))
        out += plan.apply(DONE)
    except RemoteProtocolError:
        pass
    assert b"SECRET" not in content(out)
