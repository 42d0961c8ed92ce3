"""The prefilter: it finds something in whatever the precise half accepts, for every detector, in every format."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.govern.masking import DETECTORS, SHIPPED, DetectPlan, prefilter
from lockgate.govern.masking.detector import before
from lockgate.govern.masking.prefilter import Choice, union
from lockgate.govern.masking.search import Search
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.cases import FOUND
from tests.unit.govern.masking.oracle import Thorough, expected
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
from tests.unit.govern.masking.test_identity import COLUMNS, FORMATS, HEADER, check_copy, chunked

EVERY = tuple(DETECTORS[name].prefilter for name in sorted(DETECTORS))
lengths = st.integers(0, 255).map(lambda last: bytes((0, 0, 0, last))) | st.tuples(
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
    st.sampled_from([*range(43), 44, 47, *range(58, 65), *range(123, 256)]),
).map(bytes)
"""Lengths behind which a prefilter must see a value begin: short ones, and those that do not end like text."""


@pytest.mark.parametrize("name", sorted(DETECTORS))
@settings(max_examples=60)
@given(data=st.data())
def test_no_prefilter_misses_what_its_detector_accepts(name: str, data: st.DataObject) -> None:
    """In a raw row, whatever the length before it and the bytes around, each find shares a byte with a hit:
    of the detector's own prefilter and of all prefilters together.
    """
    value = data.draw(accepted(name))
    assert union((DETECTORS[name].prefilter,)).search(value) is not None
    filler = data.draw(st.binary(max_size=130))
    beside = data.draw(st.sampled_from([b"", b"0", b"A", b"z", b"@", b"-", b"4111 ", b"\xff"]))
    raw = framed(row_body([filler, beside, value, filler]))
    start = 5 + 2 + 4 + len(filler) + 4 + len(beside) + 4
    for whole in (raw, raw[: start - 4] + data.draw(lengths) + raw[start:]):  # as if more of the value were to come
        for patterns in ((DETECTORS[name].prefilter,), EVERY):
            hits = [hit.span() for hit in union(patterns).finditer(whole)]
            assert any(first < start + len(value) and last > start for first, last in hits)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_length_byte_before_a_value_is_harmless(name: str) -> None:
    """The byte before a value is its length: all 256 of them leave the value found."""
    for _, text, _hidden in (case for case in FOUND if case[0] == name):
        for length in range(256):
            assert union((DETECTORS[name].prefilter,)).search(bytes((0, length)) + text.encode() + b"D") is not None


@pytest.mark.parametrize("name", sorted(DETECTORS))
@settings(max_examples=25)
@given(data=st.data())
def test_no_format_hides_a_find(name: str, data: st.DataObject) -> None:
    """Escaped, quoted, encoded: with this detector alone in force each type and each COPY format gives what the
    scan of every field gives.
    """
    detects = (DetectMask((name,), MaskMethod.REDACT),)
    active = SHIPPED.active(detects)
    before_it = data.draw(st.sampled_from([b"", b" ", b"\n", b"\t", b'"', b"\\", b"x", b"\r\n", "é".encode()]))
    value = before_it + data.draw(accepted(name)).replace(b"\0", b"") + before_it
    column = data.draw(st.sampled_from(sorted(COLUMNS)))
    oid, binary, _ = COLUMNS[column]
    made = {
        "json": lambda: as_json(value, data.draw(st.booleans())),
        "jsonb, binary": lambda: b"\x01" + as_json(value, False),
        "bytea, hex": lambda: b"\\x" + value.hex().encode(),
        "text[]": lambda: as_array(value),
        "bytea, octal": lambda: as_octal(value),
        "record, binary": lambda: struct.pack("!iIi", 1, 25, len(value)) + value,
    }.get(column, lambda: value)
    if not column.startswith(("int8", "inet")):
        plan = DetectPlan(detects, (oid,), (int(binary),), "rows", ord("D"))
        rows = [[made()]]
        assert read_rows(plan.apply(stream(rows))) == expected(rows, active, (oid,), (binary,), None)[0]
    for kind, (line, _) in FORMATS.items():
        copy = DetectPlan(detects, (), (), kind, ord("d"))  # type: ignore[arg-type]
        check_copy(copy, kind, [[value, b"a"]], chunked(line([value, b"a"]), [], []), detects, None)
    copy = DetectPlan(detects, (), (), "copy-binary", ord("d"))
    check_copy(
        copy, "copy-binary", [[value]], chunked(HEADER + row_body([value]) + b"\xff\xff", [19], [1]), detects, None
    )


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_a_blind_prefilter_is_caught(name: str) -> None:
    """The superset check fails for a pattern that wants one byte more than there is."""
    value = next(text for detector, text, _ in FOUND if detector == name).encode()
    blind = f"(?:{DETECTORS[name].prefilter})~"
    assert union((blind,)).search(value) is None


@settings(max_examples=200)
@given(values=st.lists(st.sampled_from([text.encode() for _, text, _ in FOUND]) | st.binary(max_size=30), max_size=8))
def test_joined_values_are_searched_like_single_ones(values: list[bytes]) -> None:
    """Searching many values in one go gives what searching each by every detector gives."""
    active = SHIPPED.active((DetectMask(tuple(DETECTORS), MaskMethod.REDACT),))
    single = [sorted(found, key=str) for found in Thorough(active, {}).finds_in(values)]
    assert [sorted(found, key=str) for found in Search(active, {}).finds_in(values)] == single


LONG = [0x0130, 0x0161, 0x0261, 0x3030, 0x3161, 0x2B2D, 0x013030, 0x016162]
"""Lengths of which the last byte looks like text and the ones before it do not all look like the length's begin."""


@pytest.mark.parametrize("length", LONG)
def test_long_values_hide_nothing_at_their_beginning(length: int) -> None:
    """Where no prefilter can tell the length from the value, the value is looked at: rows, arrays and COPY."""
    detects = (DetectMask(tuple(DETECTORS), MaskMethod.REDACT),)
    active = SHIPPED.active(detects)
    bounded = [text.encode() for name, text, _ in FOUND if "(?:^|" in DETECTORS[name].prefilter]
    values = [text.ljust(length, b"~") for text in bounded[:: 1 if length < 0xFFFF else 6]]
    assert any(union(EVERY).search(row_body([value])) is None for value in values)
    plan = DetectPlan(detects, (25, 25), (0, 1), "rows", ord("D"), terms=None)
    rows: list[Row] = [[value, b"x"] for value in values] + [[b"x", value] for value in values[:9]]
    assert read_rows(plan.apply(stream(rows))) == expected(rows, active, (25, 25), (False, True), None)[0]
    arrays: list[Row] = [[struct.pack("!iiIiii", 1, 0, 25, 1, 1, length) + value] for value in values[:30]]
    plan = DetectPlan(detects, (1009,), (1,), "rows", ord("D"))
    assert read_rows(plan.apply(stream(arrays))) == expected(arrays, active, (1009,), (True,), None)[0]
    lines = [framed((text + b"\t").ljust(length - 5, b"~") + b"\n", "d") for text in bounded]
    copy = DetectPlan(detects, (), (), "copy-text", ord("d"))
    assert all(line not in copy.apply(line) for line in lines)
    copy = DetectPlan(detects, (), (), "copy-binary", ord("d"), terms=None)
    check_copy(
        copy,
        "copy-binary",
        rows,
        [framed(HEADER, "d"), *(framed(row_body(row), "d") for row in rows), framed(b"\xff\xff", "d")],
        detects,
        None,
    )


def test_what_may_stand_before_a_find_is_what_the_precise_half_allows() -> None:
    """`before` takes the start, any other character, the letter of an escape, and every length below 256."""
    pattern = union((before("A-Za-z0-9") + "x",))
    for text in (b"x", b" x", b"\\nx", *(bytes((0, last)) + b"x" for last in range(256))):
        assert pattern.search(text) is not None
    for text in (b"ax", b" abx", b"\0abx", b"9x", b"\1ax"):
        assert pattern.search(text) is None


def test_a_hit_that_ends_where_the_next_would_begin_hides_nothing() -> None:
    """Bytes of a length that complete a hit are lost for the next one: whatever lies behind them is looked at too."""
    value = b"DE89 3704 0044 0532 0130 00".ljust(0x303A3A, b"~")
    assert struct.pack("!I", len(value)) == b"\0" + b"0::"
    row: Row = [value]
    plan = DetectPlan((DetectMask(("iban", "ipv6"), MaskMethod.REDACT),), (25,), (0,), "rows", ord("D"))
    hits = [
        hit.span() for hit in union((DETECTORS["iban"].prefilter, DETECTORS["ipv6"].prefilter)).finditer(stream([row]))
    ]
    assert hits == [(8, 11)]
    assert read_rows(plan.apply(stream([row])))[0][0] == b"xxxx" + value[27:]


def test_a_choice_says_which_patterns_occur() -> None:
    """In ascending order; of one pattern always it, of none nothing."""
    assert Choice(("b", "a", "c"))(b"xaxb") == [0, 1]
    assert Choice(("b", "a", "c"))(b"x") == []
    assert Choice(("b",))(b"x") == [0]
    assert Choice(())(b"x") == []


def test_patterns_that_are_too_large_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory a set would silently match nothing: it is refused when it is made."""
    monkeypatch.setattr(prefilter, "_MEMORY", 100_000)
    with pytest.raises(ConfigError):
        Choice(EVERY)


def test_a_choice_that_runs_out_of_memory_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the least memory that is accepted every case is still told: states are made again, not left out."""
    monkeypatch.setattr(prefilter, "_MEMORY", 200_000)
    names = sorted(DETECTORS)
    tight = Choice(EVERY)
    long = b"\0".join(text.encode() for _, text, _ in FOUND)
    assert tight(long) == list(range(len(names)))
    assert all(names.index(name) in tight(text.encode()) for name, text, _ in FOUND)


def test_a_union_of_nothing_finds_nothing() -> None:
    """No detectors in force: no byte is a hit."""
    assert union(()).search(bytes(range(256))) is None
