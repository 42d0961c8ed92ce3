"""Column masks over rows and COPY streams: the right columns, at every cut, and detectors on the rest."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.columns import row_plan
from lockgate.govern.masking.detection import ClearPlan, PassPlan
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.value_masks import MaskTerms, value_mask
from lockgate.model import DetectMask, MaskMethod, Secret
from tests.unit.govern.masking.shapes import Row, framed, read_rows, stream

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
