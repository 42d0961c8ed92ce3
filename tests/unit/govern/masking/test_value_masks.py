"""Masks of single values: what holds for every method, type and format."""

from __future__ import annotations

import itertools
import struct
import uuid
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.analysis.sql.builtin_types import BY_ARRAY, BY_OID
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.redaction import constant
from lockgate.govern.masking.value_masks import MaskTerms, ValueMask, value_mask
from lockgate.model import MaskMethod, Secret

KEYS = MaskKeys(Secret("5a" * 32))
KEYED = (MaskMethod.DATE_SHIFT, MaskMethod.FPE, MaskMethod.TOKEN, MaskMethod.HASH, MaskMethod.FAKE)
OIDS = (*BY_OID, *BY_ARRAY, 22, 24, 705, 1033, 2205, 2249, 2278, 16_400)
CANARY = b"CANARY-4711-0815-219099999"
oids = st.sampled_from(sorted(OIDS))
typmods = st.just(-1) | st.integers(0, 90) | st.sampled_from([4 + (9 << 16) + 2, 4 + (3 << 16) + 6, 4 + (2 << 16) + 0x7FD, 1 << 24])
methods = st.sampled_from(list(MaskMethod))


def mask(method: MaskMethod, column: ColumnType, binary: bool = False, scope: bytes = b"task", label: str = "pii",
         paths: frozenset[str] = frozenset(), keys: MaskKeys = KEYS) -> ValueMask:
    return value_mask(MaskTerms(method, scope, label, paths), column, binary, keys)


@settings(max_examples=600)
@given(method=methods, oid=oids, typmod=typmods, binary=st.booleans(), has_paths=st.booleans(), value=st.binary(max_size=60) | st.text(max_size=30).map(str.encode) | st.from_regex(
           r"[{\[(\"\\]*[0-9]{4}-[0-9]{2}-[0-9]{2}[ T0-9:.+-]*( BC)?[})\]\"]*|-?[0-9]*\.?[0-9]*|\\x([0-9a-f]{2})*",
           fullmatch=True).map(str.encode))
def test_no_bytes_make_a_mask_fail(method: MaskMethod, oid: int, typmod: int, binary: bool, has_paths: bool, value: bytes) -> None:
    """Random bytes, and texts that look like values, are masked to bytes or NULL, always to the same."""
    paths = frozenset(("$.a", "$..b")) if has_paths else frozenset()
    replace = mask(method, ColumnType(oid, typmod), binary, paths=paths).replace
    new = replace(value)
    assert new is None or type(new) is bytes
    assert replace(value) == new


@settings(max_examples=300)
@given(method=methods, oid=oids, typmod=typmods, binary=st.booleans(), front=st.binary(max_size=12), back=st.binary(max_size=12))
def test_a_canary_never_gets_through(method: MaskMethod, oid: int, typmod: int, binary: bool, front: bytes, back: bytes) -> None:
    """Whatever the type is said to be, and however little the value fits it."""
    canary = CANARY.lower()
    for value in (CANARY, front + CANARY + back, b"{" + CANARY + b"}", b'"' + CANARY + b'"', b"\1" + CANARY):
        new = mask(method, ColumnType(oid, typmod), binary).replace(value) or b""
        forms = (canary, canary.hex().encode(), canary.upper().hex().encode(), canary[::-1])
        assert not any(form in new.lower() for form in forms), new
        if method is not MaskMethod.PARTIAL:
            assert not any(part in new for part in (b"CANARY", b"219099999", b"9999"))


VALUES = {                                          # type → values that every keyed method of it masks
    25: [b"219-09-9999", b"ann@example.com", b"Ann Miller 1234567"], 1043: [b"219-09-9999"], 1042: [b"219-09-9999"],
    19: [b"somebody_12345678"], 114: [b'{"a": 1}'], 17: [b"\\x0001ff"], 142: [b"<a/>"],
    21: [b"31000"], 23: [b"1234567", b"-2147483648"], 20: [b"1234567890123"], 26: [b"4294967295"],
    1700: [b"1234567.89", b"-987654321"], 701: [b"1234.5"], 700: [b"1.5"], 2950: [b"9b2f4c1e-8a57-4a35-9b6f-0d6c1f7a2e11"],
    869: [b"10.1.2.3"], 650: [b"10.1.2.0/24"], 829: [b"08:00:2b:01:02:03"], 774: [b"08:00:2b:01:02:03:04:05"],
    1082: [b"1984-02-29"], 1114: [b"1984-02-29 01:02:03"], 1184: [b"1984-02-29 01:02:03+00"],
    1009: [b'{219-09-9999,NULL,"a b 1234567"}'], 1007: [b"{1234567,7654321}"], 1182: [b"{1984-02-29}"],
}  # fmt: skip
WORKS = {
    MaskMethod.HASH: set(VALUES) - {1082, 1114, 1184, 1182},
    MaskMethod.TOKEN: {25, 1043, 1042, 142, 114, 17, 23, 20, 26, 2950, 1009, 1007},
    MaskMethod.FPE: {25, 1043, 1042, 19, 23, 20, 26, 1700, 2950, 1007, 1009},
    MaskMethod.FAKE: {25, 1043, 1042, 19, 1009},
    MaskMethod.DATE_SHIFT: {1082, 1114, 1184, 1182},
}  # fmt: skip


@pytest.mark.parametrize("method", KEYED)
@pytest.mark.parametrize("oid", sorted(VALUES))
def test_keyed_masks_keep_to_scope_and_label(method: MaskMethod, oid: int) -> None:
    """The same under one scope and label, another under any other; a type without the method gets its constant."""
    column = ColumnType(oid)
    for value in VALUES[oid]:
        new = mask(method, column).replace(value)
        assert new == mask(method, column).replace(value)
        others = [mask(method, column, scope=b"other %d" % number).replace(value) for number in range(3)]
        others += [mask(method, column, label=f"label {number}").replace(value) for number in range(3)]
        others += [mask(method, column, keys=MaskKeys(Secret(f"{number:02x}" * 32))).replace(value) for number in range(3)]
        if oid in WORKS[method]:
            assert new != constant(column, False)
            assert new != value
            assert all(other not in (None, value) for other in others)
            assert sum(other == new for other in others) <= (method in (MaskMethod.DATE_SHIFT, MaskMethod.FAKE))
        else:
            assert {new, *others} == {constant(column, False)}


@pytest.mark.parametrize("method", KEYED)
def test_columns_of_one_label_join(method: MaskMethod) -> None:
    """A text, a varchar(n) and a char(n) that hold the same show the same."""
    value = b"Ann Miller 1234567"
    shown = {(mask(method, column).replace(blank) or b"").rstrip(b" ") for column, blank in (
        (ColumnType(25), value), (ColumnType(1043), value), (ColumnType(1043, 204), value), (ColumnType(1042, 104), value.ljust(100)))}
    assert len(shown) == 1


@given(method=methods, oid=oids, typmod=typmods)
def test_null_stays_null_unless_redacted(method: MaskMethod, oid: int, typmod: int) -> None:
    """Redaction hides that nothing is there, as it does in statements."""
    column = ColumnType(oid, typmod)
    found = mask(method, column)
    assert found.null == (constant(column, False) if method is MaskMethod.REDACT else None)
    if method in (MaskMethod.NULL, MaskMethod.REDACT):
        assert found.replace(b"anything") == found.null


@pytest.mark.parametrize(("oid", "typmod", "value", "due"), [
    (25, -1, b"219-09-9999", 34), (1043, 14, b"219-09-9999", 10), (1043, 13, b"219-09-9999", None), (1042, 54, b"219-09-9999", 50),
    (1042, 15, b"219-09-9999", 11), (19, -1, b"x", 34)])
def test_a_hash_is_cut_but_not_too_short(oid: int, typmod: int, value: bytes, due: int | None) -> None:
    """Below eight digits everything would collide with everything."""
    new = mask(MaskMethod.HASH, ColumnType(oid, typmod)).replace(value)
    assert new is not None
    if due is None:
        assert new == b"xxxx"
    else:
        assert len(new) == due
        assert new.startswith(b"h_")


@given(number=st.integers(-(1 << 31), (1 << 31) - 1), raw=st.binary(min_size=16, max_size=16))
def test_hashes_are_values_of_their_type(number: int, raw: bytes) -> None:
    """Whole numbers of the type, a uuid of version 8, an address that nobody routes."""
    new = int(mask(MaskMethod.HASH, ColumnType(23)).replace(b"%d" % number) or b"")
    assert 1 <= new <= (1 << 31) - 1
    sent = mask(MaskMethod.HASH, ColumnType(23), True).replace(struct.pack("!i", number))
    assert sent == struct.pack("!i", new)
    found = uuid.UUID(bytes=mask(MaskMethod.HASH, ColumnType(2950), True).replace(raw))
    assert (found.version, found.variant) == (8, uuid.RFC_4122)
    address = mask(MaskMethod.HASH, ColumnType(869), True).replace(b"\2\x20\0\4" + raw[:4]) or b""
    assert address[:5] == b"\3\x80\0\x10\xfd"
    assert len(address) == 20


def test_hashes_spread() -> None:
    """A thousand neighbours, no two alike."""
    for column in (ColumnType(25), ColumnType(23), ColumnType(1700), ColumnType(701)):
        replace = mask(MaskMethod.HASH, column).replace
        assert len({replace(b"%d" % number) for number in range(1_000)}) == 1_000


def test_numerics_that_are_equal_hash_alike() -> None:
    """1.50 and 1.5 are one number; the column's own precision holds the hash."""
    replace = mask(MaskMethod.HASH, ColumnType(1700)).replace
    assert replace(b"1.50") == replace(b"1.5") != replace(b"-1.5")
    for precision, scale, most in ((4, 2, 99.99), (2, 0, 99), (9, 9, 0.999999999)):
        column = ColumnType(1700, 4 + (precision << 16) + scale)
        new = mask(MaskMethod.HASH, column).replace(b"1.5") or b""
        assert float(new) <= most
        assert len(new.partition(b".")[2]) == scale


def test_masks_of_xml_are_xml() -> None:
    """A plain word is well-formed content."""
    for method in MaskMethod:
        new = mask(method, ColumnType(142)).replace(b"<ssn>219</ssn>")
        assert new is None or ET.fromstring(f"<a>{new.decode()}</a>").text == new.decode()


@pytest.mark.parametrize("oid", [1033, 2249, 24, 2205, 22, 16_400, 0])
def test_a_type_that_is_not_known_becomes_null(oid: int) -> None:
    """Enums, composites, records, names of objects: no constant is sure to be valid."""
    for method, binary in itertools.product(MaskMethod, (False, True)):
        found = mask(method, ColumnType(oid), binary)
        assert found.replace(b"anything") is None
        assert found.null is None


def test_a_wide_bit_string_becomes_null() -> None:
    """Ten million zeros are no mask that anybody wants in every row."""
    assert constant(ColumnType(1560, 70_000), False) is None
    assert constant(ColumnType(1560, 9), False) == b"0" * 9
    assert constant(ColumnType(1560, 9), True) == struct.pack("!i", 9) + b"\0\0"


def test_keyed_methods_need_a_scope() -> None:
    """Without one, masks of all tasks would be the same."""
    for method in KEYED:
        column = ColumnType(1082 if method is MaskMethod.DATE_SHIFT else 25)
        with pytest.raises(ValueError, match="scope"):
            mask(method, column, scope=b"")
    for method in set(MaskMethod) - set(KEYED):
        mask(method, ColumnType(25), scope=b"")
