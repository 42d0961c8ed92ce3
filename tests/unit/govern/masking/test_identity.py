"""Detection equals a scan of every field: all detectors, all formats, any chunks, with and without voting.

The checks are functions, so that each of them is also seen to fail on a seeded fault.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking import (
    DETECTORS,
    DetectorSet,
    DetectPlan,
    Terms,
    copy_rows,
    copying,
    detection,
    screen,
    search,
)
from lockgate.model import DetectMask, MaskMethod
from tests.conftest import Kernel
from tests.unit.govern.masking.cases import FOUND, NOT_FOUND
from tests.unit.govern.masking.oracle import expected
from tests.unit.govern.masking.shapes import (
    Row,
    accepted,
    as_array,
    as_json,
    as_octal,
    framed,
    read_rows,
    row_body,
    stream,
)

BULK = ord("D")
COPY_BULK = ord("d")
DONE = framed(b"", "c")
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TERMS = Terms(least=3, share=60)
SUSPICIOUS = [b"219099999", b"219-09-9999", b"4111111111111111", b"4111 1111 1111 1112", b"jane@example.org", b"jane@localhost",
              b"+1 415 555 2671", b"5552671", b"DE89 3704 0044 0532 0130 00", b"DE00 3704 0044 0532 0130 00"]  # fmt: skip
POOL = [text.encode() for _, text, _ in FOUND] + [text.encode() for _, text in NOT_FOUND] + SUSPICIOUS

noise = (
    st.binary(max_size=70)
    | st.text(max_size=30).map(str.encode)
    | st.text("0123456789- @.", max_size=40).map(str.encode)
)
pieces = st.sampled_from(POOL) | st.sampled_from(POOL) | noise | st.sampled_from(sorted(DETECTORS)).flatmap(accepted)
texts = st.lists(pieces, min_size=1, max_size=2).map(lambda parts: b" ".join(parts).replace(b"\0", b""))
methods = st.sampled_from(list(MaskMethod))
suspicious = st.sampled_from(SUSPICIOUS)


@st.composite
def masks(draw: st.DrawFn) -> tuple[DetectMask, ...]:
    """All detectors, hidden in up to three ways."""
    ways: dict[MaskMethod, list[str]] = {}
    chosen = draw(
        st.lists(methods, min_size=len(DETECTORS), max_size=len(DETECTORS))
        | st.just([MaskMethod.REDACT] * len(DETECTORS))
    )
    for name, method in zip(DETECTORS, chosen, strict=True):
        ways.setdefault(method, []).append(name)
    return tuple(DetectMask(tuple(names), method) for method, names in ways.items())


NUMBERS = [4111111111111111, 1732341234567890, 122000000000003, 6200000000000000003, -5, 0]
COLUMNS: dict[str, tuple[int, bool, st.SearchStrategy[bytes | None]]] = {
    "text": (25, False, texts | suspicious),
    "varchar, binary": (1043, True, texts | suspicious),
    "bytea, hex": (17, False, texts.map(lambda text: b"\\x" + text.hex().encode())),
    "bytea, octal": (17, False, texts.map(as_octal)),
    "bytea, binary": (17, True, texts | st.binary(max_size=40)),
    "json": (114, False, st.tuples(texts, st.booleans()).map(lambda made: as_json(*made))),
    "jsonb, binary": (3802, True, texts.map(lambda text: b"\x01" + as_json(text, False))),
    "text[]": (1009, False, texts.map(as_array)),
    "int8": (20, False, st.sampled_from(NUMBERS).map(lambda number: b"%d" % number)),
    "int8, binary": (20, True, st.sampled_from(NUMBERS).map(lambda number: struct.pack("!q", number))),
    "inet": (869, False, st.sampled_from([b"10.0.0.1", b"2001:db8::1"])),
    "record, binary": (2249, True, texts.map(lambda text: struct.pack("!iIi", 1, 25, len(text)) + text)),
}


def check_rows(
    plan: Any,
    rows: list[Row],
    cuts: list[int],
    types: tuple[int, ...],
    binary: tuple[bool, ...],
    detects: tuple[DetectMask, ...],
    terms: Terms | None,
    detectors: DetectorSet,
) -> None:
    """The plan gives, over chunks of these many rows, what the scan of every field gives."""
    out = b""
    at = 0
    for cut in [*cuts, len(rows)]:
        out += plan.apply(stream(rows[at : at + cut]))
        at += cut
        if at >= len(rows):
            break
    assert (read_rows(out), plan.masked) == expected(rows, detectors.active(detects), types, binary, terms)


@settings(max_examples=120)
@given(
    data=st.data(),
    detects=masks(),
    terms=st.sampled_from([None, TERMS]),
    names=st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3),
)
def test_rows_are_masked_as_if_every_field_was_searched(
    kernel: Kernel, data: st.DataObject, detects: tuple[DetectMask, ...], terms: Terms | None, names: list[str]
) -> None:
    """Whatever the types and formats, and wherever chunks of whole frames are cut."""
    columns = [COLUMNS[name] for name in names]
    rows = data.draw(
        st.lists(st.tuples(*(values | st.none() for _, _, values in columns)).map(list), min_size=1, max_size=8)
    )
    cuts = data.draw(st.lists(st.integers(1, 4), max_size=8))
    types, binary = tuple(oid for oid, _, _ in columns), tuple(is_binary for _, is_binary, _ in columns)
    module = kernel.load("lockgate.govern.masking.detection")
    shipped = kernel.load("lockgate.govern.masking.detectors").SHIPPED
    plan = module.DetectPlan(detects, types, tuple(map(int, binary)), "rows", BULK, terms=terms, detectors=shipped)
    check_rows(plan, rows, cuts, types, binary, detects, terms, DetectorSet.of())


@settings(max_examples=100)
@given(
    rows=st.lists(st.tuples(suspicious | st.none(), suspicious).map(list), min_size=6, max_size=40),
    data=st.data(),
    detects=masks(),
)
def test_votes_depend_on_rows_and_not_on_chunks(
    rows: list[Row], data: st.DataObject, detects: tuple[DetectMask, ...]
) -> None:
    """In columns where many values are finds the vote comes to the same at every cut."""
    cuts = data.draw(st.lists(st.integers(1, 20), max_size=40))
    plan = DetectPlan(detects, (25, 25), (0, 1), "rows", BULK, terms=TERMS)
    check_rows(plan, rows, cuts, (25, 25), (False, True), detects, TERMS, DetectorSet.of())


@pytest.fixture(scope="module")
def soon_hot() -> Iterator[None]:
    """Columns count as full of finds after two of them, not after dozens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection, "_LEAST_HOT", 2)
        yield


@settings(max_examples=150)
@given(
    rows=st.lists(st.tuples(suspicious | texts, suspicious | st.none(), st.sampled_from([b"4111111111111111", b"7"])).map(list),
                  min_size=4, max_size=40),
    data=st.data(), detects=masks(), terms=st.sampled_from([None, TERMS]),
)  # fmt: skip
def test_columns_full_of_finds_are_read_without_being_looked_for(
    soon_hot: None, rows: list[Row], data: st.DataObject, detects: tuple[DetectMask, ...], terms: Terms | None
) -> None:
    """When the prefilter looks at the other columns only, the result is the same."""
    cuts = data.draw(st.lists(st.integers(1, 9), max_size=40))
    plan = DetectPlan(detects, (25, 1043, 20), (0, 1, 0), "rows", BULK, terms=terms)
    check_rows(plan, rows, cuts, (25, 1043, 20), (False, True, False), detects, terms, DetectorSet.of())


# ---------------------------------------------------------------- COPY


def _text_line(row: Row) -> bytes:
    escapes = {8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 92: b"\\\\"}
    cells = [b"\\N" if cell is None else b"".join(escapes.get(byte, bytes((byte,))) for byte in cell) for cell in row]
    return b"\t".join(cells) + b"\n"


def _read_text(data: bytes) -> list[Row]:
    plain = {b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
    rows: list[Row] = []
    for line in data.split(b"\n")[:-1]:
        row: Row = []
        for cell in line.split(b"\t"):
            parts = cell.split(b"\\\\")
            for escape, byte in plain.items():
                parts = [part.replace(b"\\" + escape, byte) for part in parts]
            row.append(None if cell == b"\\N" else b"\\".join(parts))
        rows.append(row)
    return rows


def _csv_line(row: Row) -> bytes:
    return b",".join(b"" if cell is None else b'"' + cell.replace(b'"', b'""') + b'"' for cell in row) + b"\n"


def _read_csv(data: bytes) -> list[Row]:
    rows = csv.reader(io.StringIO(data.decode("latin-1"), newline=""), lineterminator="\n")
    return [[cell.encode("latin-1") for cell in row] for row in rows]


FORMATS: dict[str, tuple[Callable[[Row], bytes], Callable[[bytes], list[Row]]]] = {
    "copy-text": (_text_line, _read_text),
    "copy-csv": (_csv_line, _read_csv),
}


def content(out: bytes) -> bytes:
    """The COPY stream in the frames of `out`, which must add up."""
    parts = []
    while out:
        (length,) = struct.unpack_from("!I", out, 1)
        if out[:1] == b"d":
            parts.append(out[5 : 1 + length])
        out = out[1 + length :]
    return b"".join(parts)


def chunked(whole: bytes, cuts: list[int], groups: list[int]) -> list[bytes]:
    """The stream in frames cut at these offsets, and these many frames a chunk."""
    edges = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    frames = [framed(whole[start:end], "d") for start, end in pairwise(edges)] + [DONE]
    chunks = []
    for size in [*groups, len(frames)]:
        chunks.append(b"".join(frames[:size]))
        frames = frames[size:]
    return [chunk for chunk in chunks if chunk]


def check_copy(
    plan: Any,
    kind: str,
    rows: list[Row],
    chunks: list[bytes],
    detects: tuple[DetectMask, ...],
    terms: Terms | None,
    detectors: DetectorSet | None = None,
) -> None:
    """The plan gives, over these chunks of the COPY of the rows, what the scan of every field gives."""
    due, masked = expected(rows, (detectors or DetectorSet.of()).active(detects), (), (kind == "copy-binary",), terms)
    out = content(b"".join(plan.apply(chunk) for chunk in chunks))
    if kind == "copy-binary":
        assert out == HEADER + b"".join(map(row_body, due)) + b"\xff\xff"
    else:
        assert FORMATS[kind][1](out) == [
            [b"" if cell is None and kind == "copy-csv" else cell for cell in row] for row in due
        ]
    assert plan.masked == masked


@pytest.mark.parametrize("kind", ["copy-text", "copy-csv", "copy-binary"])
@settings(max_examples=80)
@given(
    rows=st.lists(st.tuples(texts | suspicious | st.none(), suspicious | texts).map(list), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 5000), max_size=8), groups=st.lists(st.integers(1, 3), max_size=6),
    detects=masks(), terms=st.sampled_from([None, TERMS]),
)  # fmt: skip
def test_copy_is_masked_as_if_every_field_was_searched(
    kernel: Kernel,
    kind: str,
    rows: list[Row],
    cuts: list[int],
    groups: list[int],
    detects: tuple[DetectMask, ...],
    terms: Terms | None,
) -> None:
    """However rows lie in messages and messages in chunks."""
    module = kernel.load("lockgate.govern.masking.detection")
    shipped = kernel.load("lockgate.govern.masking.detectors").SHIPPED
    plan = module.DetectPlan(detects, (), (), kind, COPY_BULK, terms=terms, detectors=shipped)
    whole = (
        HEADER + b"".join(map(row_body, rows)) + b"\xff\xff"
        if kind == "copy-binary"
        else (b"".join(map(FORMATS[kind][0], rows)))
    )
    check_copy(plan, kind, rows, chunked(whole, cuts, groups), detects, terms)


# ---------------------------------------------------------------- seeded faults

ALL = (DetectMask(tuple(DETECTORS), MaskMethod.REDACT),)
Patch = Callable[[pytest.MonkeyPatch], None]


def check_pool(terms: Terms | None = None, detects: tuple[DetectMask, ...] = ALL) -> None:
    """Fixed rows through `check_rows` and `check_copy`: each case of each detector, cut between any two rows."""
    screen.screen.cache_clear()
    detectors = DetectorSet.of()
    rows: list[Row] = [
        [b"41111111", b"11111111"],
        *([value, b"x"] for value in POOL),
        [b"a", b"4111111111111111"],
        [b"a", b"10.0.0.1"],
    ]
    for size in (1, 7, len(rows)):
        plan = DetectPlan(detects, (25, 25), (0, 0), "rows", BULK, terms=terms, detectors=detectors)
        check_rows(plan, rows, [size] * len(rows), (25, 25), (False, False), detects, terms, DetectorSet.of())
        for kind, (line, _) in FORMATS.items():
            whole = b"".join(map(line, rows))
            plan = DetectPlan(detects, (), (), kind, COPY_BULK, terms=terms, detectors=detectors)  # type: ignore[arg-type]
            check_copy(plan, kind, rows, chunked(whole, [size * 97, size * 1013], [1]), detects, terms)
            plan = DetectPlan(detects, (), (), kind, COPY_BULK, terms=terms, detectors=detectors)  # type: ignore[arg-type]
            check_copy(plan, kind, rows, [*(framed(line(row), "d") for row in rows), DONE], detects, terms)
    screen.screen.cache_clear()


def check_elections() -> None:
    """A column that is elected in the middle of a chunk, at every cut."""
    rows: list[Row] = [[b"219099999"], *[[b"219-09-9999"]] * 4, *[[b"219099999"]] * 4]
    for size in range(1, 10):
        plan = DetectPlan(ALL, (25,), (0,), "rows", BULK, terms=TERMS)
        check_rows(plan, rows, [size] * 9, (25,), (False,), ALL, TERMS, DetectorSet.of())
        whole = b"".join(map(_text_line, rows))
        plan = DetectPlan(ALL, (), (), "copy-text", COPY_BULK, terms=TERMS)
        check_copy(plan, "copy-text", rows, chunked(whole, [], []), ALL, TERMS)
        frames = [framed(_text_line(row), "d") for row in rows] + [DONE]
        plan = DetectPlan(ALL, (), (), "copy-text", COPY_BULK, terms=TERMS)
        check_copy(
            plan,
            "copy-text",
            rows,
            [b"".join(frames[at : at + size]) for at in range(0, len(frames), size)],
            ALL,
            TERMS,
        )


def test_the_fixed_checks_pass() -> None:
    """What the seeded faults are to break is whole without them."""
    check_pool()
    check_pool(TERMS)
    check_elections()


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_a_prefilter_blind_to_one_detector_is_caught(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each detector has a case that the check sees."""
    blind = DETECTORS[name].prefilter
    monkeypatch.setattr(
        screen,
        "union",
        lambda patterns, union=screen.union: union(tuple(pattern for pattern in patterns if pattern != blind)),
    )
    with pytest.raises(AssertionError):
        check_pool(detects=(DetectMask((name,), MaskMethod.REDACT),))
    screen.screen.cache_clear()


def _last_frame_unseen(patch: pytest.MonkeyPatch) -> None:
    whole = detection.touched_fields
    patch.setattr(
        detection,
        "touched_fields",
        lambda chunk, *rest: [field for field in whole(chunk, *rest) if field[1] != len(chunk)],
    )


def _hits_one_short(patch: pytest.MonkeyPatch) -> None:
    whole = DetectPlan._hits
    patch.setattr(
        DetectPlan,
        "_hits",
        lambda plan, chunk: [(start, end) for start, end in whole(plan, chunk) if end != len(chunk)],
    )


def _joined_without_a_mark(patch: pytest.MonkeyPatch) -> None:
    def finds_in(self: search.Search, values: list[bytes]) -> list[list[search.Find]]:
        found: list[list[search.Find]] = [[] for _ in values]
        for detector, method in self.active:
            search._deal_out(detector.find(b"".join(values)), [value[:-1] for value in values], detector, method, found)
        return found

    patch.setattr(search.Search, "finds_in", finds_in)


def _field_one_too_long(patch: pytest.MonkeyPatch) -> None:
    whole = detection.touched_fields
    patch.setattr(detection, "touched_fields", lambda *rest: [(*field[:4], field[4] + 1) for field in whole(*rest)])


def _carry_lost(patch: pytest.MonkeyPatch) -> None:
    whole = copy_rows.split_lines
    patch.setattr(copy_rows, "split_lines", lambda data, quote: (whole(data, quote)[0], whole(data, quote)[1][1:]))


def _whole_when_it_is_not(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(copying, "lines_are_whole", lambda *_rest: True)


@pytest.mark.parametrize("fault", [
    _last_frame_unseen, _hits_one_short, _joined_without_a_mark, _field_one_too_long, _carry_lost, _whole_when_it_is_not,
])  # fmt: skip
def test_a_fault_at_a_border_is_caught(monkeypatch: pytest.MonkeyPatch, fault: Patch) -> None:
    """A frame at a chunk's end, a field's end, a COPY row over two messages: each has a case."""
    fault(monkeypatch)
    with pytest.raises((AssertionError, RemoteProtocolError)):  # some rows no longer add up
        check_pool()


def _blanked_too_much(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(detection, "_LEAST_HOT", 2)
    patch.setattr(detection, "blanked", lambda chunk, *_rest: bytes(len(chunk)))


def _hot_columns_unread(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(detection, "_LEAST_HOT", 2)
    patch.setattr(detection, "column_values", lambda *_rest: [])


@pytest.mark.parametrize("fault", [_blanked_too_much, _hot_columns_unread])
def test_a_column_that_is_lost_when_it_is_full_of_finds_is_caught(
    monkeypatch: pytest.MonkeyPatch, fault: Patch
) -> None:
    """Both what is read and what is still looked for have a case."""
    rows: list[Row] = [[b"219-09-9999", b"x"]] * 6 + [[b"219-09-9999", b"jane@example.org"]] * 3
    for patched in (False, True):
        if patched:
            fault(monkeypatch)
        plan = DetectPlan(ALL, (25, 25), (0, 0), "rows", BULK, terms=None)
        with pytest.raises(AssertionError) if patched else contextlib.nullcontext():
            check_rows(plan, rows, [3, 3, 3], (25, 25), (False, False), ALL, None, DetectorSet.of())


def _rows_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(detection, "long_values", lambda *_rest: ([], 0))


def _election_from_its_own_chunk_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DetectPlan, "_behind", lambda _plan, _chunk, fields, _row: fields)


def _rest_of_the_chunk_unseen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DetectPlan, "_behind", lambda _plan, _chunk, _fields, _row: [])
    patch.setattr(copying.CopyMask, "_suspects", lambda _mask: False)


@pytest.mark.parametrize("fault", [_rows_not_counted, _election_from_its_own_chunk_on, _rest_of_the_chunk_unseen])
def test_a_vote_that_depends_on_chunks_is_caught(monkeypatch: pytest.MonkeyPatch, fault: Patch) -> None:
    """Where an election begins is checked at every cut."""
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        check_elections()


def test_a_detector_that_finds_less_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle has its detectors from elsewhere than the plan under test."""
    poorer = dict(DETECTORS) | {"email": dataclasses.replace(DETECTORS["email"], find=lambda _value: [])}
    plan = DetectPlan(ALL, (25,), (0,), "rows", BULK, detectors=DetectorSet(poorer))
    with pytest.raises(AssertionError):
        check_rows(plan, [[b"jane@example.org"]], [], (25,), (False,), ALL, None, DetectorSet.of())
