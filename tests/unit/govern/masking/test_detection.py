"""Detection: two stages give what a scan of every field gives, and clean bytes stay what they are."""

from __future__ import annotations

import gc
import json
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import pq
from psycopg.adapt import Transformer

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking import DETECTORS, SHIPPED, DetectPlan, PassPlan, plan_for
from lockgate.govern.masking.conceal import Concealer
from lockgate.govern.masking.search import Search
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.shapes import Row, accepted, as_array, framed, read_rows, row_body, stream

CARD = b"4111111111111111"
ALL = (DetectMask(tuple(DETECTORS), MaskMethod.REDACT),)
BULK = ord("D")


def one(value: bytes, oid: int, binary: bool = False, method: MaskMethod = MaskMethod.REDACT,
        names: tuple[str, ...] = tuple(DETECTORS)) -> bytes | None:
    """One value of one column through a plan."""
    plan = DetectPlan((DetectMask(names, method),), (oid,), (int(binary),), "rows", BULK)
    return read_rows(plan.apply(framed(row_body([value]))))[0][0]


noise = st.binary(max_size=70) | st.text(max_size=30).map(str.encode) | st.text("0123456789- @.", max_size=40).map(str.encode)
finds = st.sampled_from(sorted(DETECTORS)).flatmap(accepted)


@st.composite
def cells(draw: st.DrawFn) -> bytes | None:
    if draw(st.integers(0, 9)) == 0:
        return None
    parts = draw(st.lists(noise | finds, max_size=3))
    return b"".join(parts)


@settings(max_examples=150)
@given(rows=st.lists(st.lists(cells(), min_size=2, max_size=2), min_size=1, max_size=5), data=st.data())
def test_two_stages_equal_a_scan_of_every_field(rows: list[Row], data: st.DataObject) -> None:
    """Whatever the rows and wherever chunks of whole frames are cut, each field comes out as if it had
    been searched alone.
    """
    whole = Concealer(Search(SHIPPED.active(ALL), {}))
    expected = [[None if item is None else whole.text(item) for item in row] for row in rows]
    plan = DetectPlan(ALL, (25, 25), (0, 1), "rows", BULK)
    out = b""
    at = 0
    while at < len(rows):
        step = data.draw(st.integers(1, len(rows)))
        out += plan.apply(stream(rows[at : at + step]))
        at += step
    assert read_rows(out) == expected
    assert plan.masked == whole.search.masked


def test_a_clean_chunk_is_the_same_object() -> None:
    """Nothing found means nothing copied."""
    chunk = stream([[b"abc", None], [b"42", b""]]) + framed(b"SELECT 2\0", "C")
    assert DetectPlan(ALL, (25, 25), (0, 0), "rows", BULK).apply(chunk) is chunk


def test_other_frames_pass_and_rows_around_them_are_masked() -> None:
    """Only frames of the row type are rewritten; their neighbours keep every byte."""
    notice = framed(b"SWARNING\0Mcard 4111111111111111\0\0", "N")
    plan = DetectPlan(ALL, (25,), (0,), "rows", BULK)
    result = plan.apply(notice + framed(row_body([CARD])) + notice)
    assert result == notice + framed(row_body([b"xxxx"])) + notice
    assert plan.masked == {"credit_card": 1}


def test_a_find_never_crosses_a_field() -> None:
    """Half a number in one column and half in the next is no number."""
    rows: list[Row] = [[b"41111111", b"11111111"], [b"user@", b"example.org"]]
    chunk = stream(rows)
    assert DetectPlan(ALL, (25, 25), (0, 0), "rows", BULK).apply(chunk) == chunk


@pytest.mark.parametrize("pad", range(140))
def test_a_value_is_found_whatever_its_length_byte(pad: int) -> None:
    """Fields of 48 to 57, 65 to 90, 97 to 122 bytes begin behind a digit or a letter."""
    value = CARD + b" " + b"~" * pad
    assert one(value, 25) == b"xxxx " + b"~" * pad


def test_the_strongest_mask_wins() -> None:
    """A detector named twice hides with the stronger method; one NULL makes the field NULL."""
    partial, redact, null = (DetectMask(("email",), method)
                             for method in (MaskMethod.PARTIAL, MaskMethod.REDACT, MaskMethod.NULL))
    value = b"jane@example.org"

    def shown(*detects: DetectMask) -> bytes | None:
        plan = DetectPlan(detects, (25,), (0,), "rows", BULK)
        return read_rows(plan.apply(framed(row_body([value]))))[0][0]

    assert shown(partial) == b"jxxxx@example.org"
    assert shown(redact, partial) == b"xxxx"
    assert shown(partial, null, redact) is None


def test_overlapping_finds_are_merged() -> None:
    """Two detectors on one text hide the union once, readable only when both agree on the extent."""
    plan = DetectPlan((DetectMask(("email", "password_assignment"), MaskMethod.PARTIAL),), (25,), (0,), "rows", BULK)
    result = read_rows(plan.apply(framed(row_body([b"password=jane@example.org;x"]))))[0][0]
    assert result == b"password=jxxxx@example.org;x" or result == b"password=xxxx;x"
    assert result is not None
    assert b"jane" not in result


MASKED_AS: list[tuple[int, bytes, bool, bytes | None]] = [
    (25, b"a " + CARD, False, b"a xxxx"),
    (1043, b"a " + CARD, True, b"a xxxx"),
    (20, CARD, False, b"0"),
    (20, struct.pack("!q", int(CARD)), True, bytes(8)),
    (20, b"1732341234567890", False, b"1732341234567890"),
    (1700, CARD + b".00", False, b"0"),
    (1700, struct.pack("!HhHH4H", 4, 3, 0, 0, 4111, 1111, 1111, 1111), True, bytes(8)),
    (1700, struct.pack("!HhHH4H", 4, 3, 0, 0, 4111, 1111, 1111, 1112), True,
     struct.pack("!HhHH4H", 4, 3, 0, 0, 4111, 1111, 1111, 1112)),
    (701, b"4111111111111111", False, b"4111111111111111"),
    (17, b"\\x" + (b"\0" + CARD).hex().encode(), False, b"\\x0078787878"),
    (17, b"\\012" + CARD, False, b"\\x0a78787878"),
    (17, b"\0" + CARD, True, b"\0xxxx"),
    (114, b'{"a":4111111111111111,"b":[1.5,"jane@example.org"]}', False, b'{"a":0,"b":[1.5,"xxxx"]}'),
    (114, b'{"a":"\\njane@example.org"}', True, b'{"a":"\\nxxxx"}'),
    (114, b'{"a":"jane\\u0040example.org"}', False, b'{"a":"xxxx"}'),
    (114, b'{"db_password": "hunter2"}', False, b'{"db_password": "xxxx"}'),
    (3802, b'\x01{"jane@example.org": "\xc3\xa9"}', True, b'\x01{"xxxx": "\xc3\xa9"}'),
    (3802, b'\x02{"jane@example.org": 1}', True, None),
    (1009, b'{a,jane@example.org,"say \\"4111111111111111\\"",NULL}', False, b'{a,"xxxx","say \\"xxxx\\"",NULL}'),
    (1001, b'{"\\\\x' + CARD.hex().encode() + b'"}', False, b'{"\\\\x78787878"}'),
    (1016, b"{1,4111111111111111}", False, b'{1,"0"}'),
    (869, b"10.0.0.1/8", False, b"0.0.0.0"),
    (869, b"2001:db8::1", False, b"::"),
    (650, b"2001:db8::/32", False, b"::"),
    (869, b"\x03\x80\x00\x10\x20\x01\x0d\xb8" + bytes(11) + b"\x01", True, b"\x03\x80\x00\x10" + bytes(16)),
    (1700, b"6200000000000000000", False, b"0"),
    (1700, struct.pack("!HhHH5H", 5, 4, 0, 0, 620, 0, 0, 0, 0), True, bytes(8)),
    (1700, struct.pack("!HhHHH", 1, 4, 0, 0, 620), True, bytes(8)),
    (3926, b"[4111111111111111,4111111111111112)", False, None),
    (3926, b"\x02" + struct.pack("!iqiq", 8, int(CARD), 8, 5), True, None),
    (3926, b"\x02" + struct.pack("!iqiq", 8, 5, 8, 7), True, b"\x02" + struct.pack("!iqiq", 8, 5, 8, 7)),
    (4536, struct.pack("!iibiq", 1, 13, 8, 8, int(CARD)), True, None),
    (2249, struct.pack("!iIiqIi", 2, 20, 8, int(CARD), 25, -1), True, None),
    (2249, struct.pack("!iIiqIi", 2, 20, 8, 5, 25, -1), True, struct.pack("!iIiqIi", 2, 20, 8, 5, 25, -1)),
    (20000, struct.pack("!iIiq", 1, 20, 8, int(CARD)), True, None),
    (3614, b"'example':2 'jane@example.org':1", False, None),
    (142, b"<a>jane@example.org</a>", False, b"<a>xxxx</a>"),
    (869, b"\x02\x20\x00\x04\x0a\x00\x00\x01", True, b"\x02\x20\x00\x04\0\0\0\0"),
    (2249, b"(1,jane@example.org)", False, None),
    (20000, b"jane@example.org", True, b"xxxx"),
    (20000, b"\0\0\0\1jane@example.org", True, None),
]  # fmt: skip


@pytest.mark.parametrize(("oid", "value", "binary", "due"), MASKED_AS)
def test_what_is_masked_stays_valid_for_its_type(oid: int, value: bytes, binary: bool, due: bytes | None) -> None:
    """Numbers become 0, bytes keep their encoding, JSON and arrays parse; what cannot becomes NULL."""
    assert one(value, oid, binary) == due


BROKEN: list[tuple[int, bytes]] = [
    (1700, b"\0\1\0\3"), (1700, b""), (869, b"\x02\x20\0\4\x0a"), (869, b""), (3926, b"\x02\0\0\0\x08\0"),
    (3926, b"\x02" + struct.pack("!iq", 8, 5) + b"\0"), (3926, b"\x02\xff\xff\xff\xfe"), (4536, struct.pack("!ii", 1, 99)),
    (4536, struct.pack("!iib", 1, 1, 0) + b"\0"), (4536, struct.pack("!iibi", 1, 5, 0, 99)), (2249, b"\0"),
    (2249, struct.pack("!iIi", 1, 20, 99)), (2249, struct.pack("!iIi", 1, 20, -2)), (2249, struct.pack("!i", 9999)),
    (2249, struct.pack("!iIi", 2, 20, -1)), (2249, struct.pack("!iIi", 1, 20, -1) + b"\0"),
]  # fmt: skip


@pytest.mark.parametrize(("oid", "value"), BROKEN)
def test_binary_values_that_do_not_add_up_become_null(oid: int, value: bytes) -> None:
    """What must be read value by value and cannot be is not passed."""
    assert one(value, oid, binary=True) is None


def test_an_empty_record_and_range_pass() -> None:
    """They add up and hold nothing."""
    assert one(bytes(4), 2249, binary=True) == bytes(4)
    assert one(b"\x01", 3926, binary=True) == b"\x01"
    assert one(bytes(4), 4536, binary=True) == bytes(4)


def test_a_member_of_a_telling_name_goes_as_a_whole() -> None:
    """In JSON the name and the value are two tokens: together they are a find, however far the colon is within reason."""
    for text, due in (
        (b'{"password": "a b"}', b'{"password": "xxxx"}'), (b'{"userPhone" : "5552671"}', b'{"userPhone" : "xxxx"}'),
        (b'{"cardNumber":"122000000000003"}', b'{"cardNumber":"xxxx"}'), (b'{"ssn": "107111013"}', b'{"ssn": "xxxx"}'),
        (b'{"SecretAccessKey": "x"}', b'{"SecretAccessKey": "xxxx"}'), (b'{"salt": "9fJ2kQ7xVb4Zt1Rw8Lm3"}', b'{"salt": "xxxx"}'),
        (b'{"phone":         "5552671"}', b'{"phone":         "xxxx"}'), (b'{"phone"\n\t:\n "5552671"}', b'{"phone"\n\t:\n "xxxx"}'),
        (b'{"ssn":\t219099999}', b'{"ssn":\t0}'), (b'{"password":12345678}', b'{"password":0}'),
        (b'{"card_number":9111111111111110}', b'{"card_number":0}'), (b'[4111111111111111.0]', b"[0]"),
        (b'{"password":["hunter2xyz", 12345678, 1, true]}', b'{"password":["xxxx", 0, 1, true]}'),
        (b'{"password" : {"v":"x\\"y","w":[{"z":"q"}]},"b":"q"}', b'{"password" : {"v":"xxxx","w":[{"z":"xxxx"}]},"b":"q"}'),
        (b'{"salt":\n                    "9fJ2kQ7xVb4Zt1Rw8Lm3"}', b'{"salt":\n                    "xxxx"}'),
        (b'{"userPhone":5552671}', b'{"userPhone":0}'), (b'{"password":null,"a":"b"}', b'{"password":null,"a":"b"}'),
        (b'{"password_attempts":12345}', b'{"password_attempts":12345}'), (b'{"secretary":"Ann"}', b'{"secretary":"Ann"}'),
        (b'{"password_changed_at":"2024"}', b'{"password_changed_at":"2024"}'), (b'{"has_password":"yes"}', b'{"has_password":"yes"}'),
        (b'{"reset_password_url":"x"}', b'{"reset_password_url":"x"}'), (b'{"credential_type":"x"}', b'{"credential_type":"x"}'),
        (b'{"order": "5552671"}', b'{"order": "5552671"}'),
    ):  # fmt: skip
        assert one(text, 114) == due
    assert one(b'{"password": "a b"}', 114, method=MaskMethod.NULL) is None


@pytest.mark.parametrize(("name", "member", "value"), [
    ("phone", "mobile", '"5552671"'), ("phone", "userPhone", "5552671"), ("phone", "tel", '"+(555) 2671 12"'),
    ("ssn", "ssn", "219099999"), ("ssn", "customerSsn", '"219099999"'), ("credit_card", "card_number", "9111111111111110"),
    ("high_entropy", "salt", '"9fJ2kQ7xVb4Zt1Rw8Lm3"'), ("password_assignment", "pwd", '[{"a":"b"}]'),
    ("aws_key", "SecretAccessKey", '["x"]'),
])
@pytest.mark.parametrize("between", [":", "\t:", " : ", ":\n\t\t", "\r\n:\r\n" + " " * 40])
def test_what_json_has_between_a_name_and_its_value_hides_nothing(name: str, member: str, value: str, between: str) -> None:
    """Each detector alone: its prefilter has to see the two as one find, in a document and in an array of them."""
    text = f'{{"{member}"{between}{value}}}'
    shown = one(text.encode(), 114, names=(name,))
    assert shown == one(text.encode(), 114)
    assert shown is not None
    assert shown != text.encode()
    array = as_array(text.encode())
    assert one(array, 199, names=(name,)) != array


UNSEEN: list[tuple[int, bytes, bool]] = [
    (701, CARD, False),                                             # a float that shows a card's digits
    (701, struct.pack("!d", float(CARD)), True),
    (23, b"107111013", False),                                      # nine digits
    (25, b"NDExMTExMTExMTExMTExMQ==", False),                       # base64
    (25, b"34313131313131313131313131313131", False),               # hex without \\x
    (142, b"<a>jane&#64;example.org</a>", False),                   # a character reference
    (17, b"\\x" + zlib.compress(CARD).hex().encode(), False),       # compressed
    (25, CARD[::-1], False),
]  # fmt: skip


@pytest.mark.parametrize(("oid", "value", "binary"), UNSEEN)
def test_where_detection_does_not_look_is_known(oid: int, value: bytes, binary: bool) -> None:
    """What `column_types` says detection does not claim passes as it is: masks at the source are for that."""
    assert one(value, oid, binary) == value


def array(oid: int, items: list[bytes | None]) -> bytes:
    head = struct.pack("!iiIii", 1, int(None in items), oid, len(items), 1)
    return head + b"".join(b"\xff" * 4 if item is None else struct.pack("!i", len(item)) + item for item in items)


@pytest.mark.parametrize(
    ("oid", "element", "items", "due"),
    [(1009, 25, [b"a", None, b"to jane@example.org"], [b"a", None, b"to xxxx"]),
     (1015, 1043, [CARD, CARD], [b"xxxx", b"xxxx"]),
     (1016, 20, [struct.pack("!q", int(CARD))], [bytes(8)]),
     (3807, 3802, [b'\x01"jane@example.org"'], [b'\x01"xxxx"'])],
)  # fmt: skip
def test_binary_arrays_are_rewritten_element_by_element(oid: int, element: int, items: list[Any], due: list[Any]) -> None:
    """Lengths, NULL flag and dimensions of the array add up after masking."""
    assert one(array(element, items), oid, True) == array(element, due)


def nested(depth: int, inner: bytes, oid: int = 25) -> bytes:
    """A row in a row, `depth` times, around one value."""
    for _ in range(depth):
        inner, oid = struct.pack("!iIi", 1, oid, len(inner)) + inner, 2249
    return inner


NUMBER = struct.pack("!q", int(CARD))
NUMERIC = struct.pack("!HhHH4H", 4, 3, 0, 0, *[4111, 1111, 1111, 1111])
RANGE = b"\x0a" + struct.pack("!i", 8) + NUMBER
IN_BINARY: list[tuple[int, bytes]] = [
    (5069, NUMBER), (2249, struct.pack("!iIi", 1, 5069, 8) + NUMBER), (271, array(5069, [NUMBER])),
    (6157, array(4536, [struct.pack("!ii", 1, len(RANGE)) + RANGE])), (20000, array(20001, [NUMBER])),
    (6151, array(4532, [struct.pack("!ii", 1, 5 + len(NUMERIC)) + b"\x0a" + struct.pack("!i", len(NUMERIC)) + NUMERIC])),
    (20000, array(20001, [struct.pack("!iIi", 1, 20, 8) + NUMBER])), (20000, RANGE), (20000, array(20001, [RANGE])),
    (20000, struct.pack("!ii", 1, len(RANGE)) + RANGE), (20000, array(20001, [NUMERIC])), (20000, NUMERIC),
    (20000, array(20001, [b"\2\x20\0\4\x0a\0\0\1"])), (20000, array(25, [b"to jane@example.org"])),
    (20000, struct.pack("!iIi", 1, 20001, 8) + NUMBER), (2249, struct.pack("!iIi", 1, 20001, len(NUMERIC)) + NUMERIC),
]  # fmt: skip


@pytest.mark.parametrize(("oid", "value"), IN_BINARY)
def test_a_number_is_hidden_in_whatever_binary_value_it_lies(oid: int, value: bytes) -> None:
    """Types of the server and types made at run time, domains too, in arrays, rows, ranges and multiranges."""
    new = one(value, oid, True)
    assert new is None or not any(part in new for part in (NUMBER, NUMERIC[8:], b"jane", b"\x0a\0\0\1"))


@pytest.mark.parametrize("value", [
    struct.pack("!d", 1.5), struct.pack("!d", -2e10), struct.pack("!q", 823_000_000_000_000), b"ABCDEFGH", b"happy",
    array(20001, [struct.pack("!d", 4.25), None, b"word"]), struct.pack("!iIid", 1, 20001, 8, 99.5), b"\1", b"", bytes(4),
    b"\x02" + struct.pack("!idid", 8, 0.5, 8, 7.25), struct.pack("!HhHHH", 1, 0, 0, 2, 620),
])
def test_ordinary_binary_values_of_unknown_types_pass(value: bytes) -> None:
    """Fractions, moments, words and their arrays, rows and ranges."""
    assert one(value, 20000, True) == value


@pytest.mark.parametrize("depth", [1, 20, 300])
def test_what_lies_deep_is_looked_into_or_hidden(depth: int) -> None:
    """Rows in rows: a find hides all, and so does a depth that nobody reaches by accident."""
    assert one(nested(depth, b"jane@example.org"), 2249, True) is None
    clean = nested(depth, b"jane")
    assert one(clean, 2249, True) == (clean if depth < 30 else None)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_broken_array_with_a_find_becomes_null(cut: int) -> None:
    """An array that does not add up is never passed in part."""
    value = array(25, [b"a", b"jane@example.org"])[:-cut]
    assert one(value + b"\0\0jane@example.org", 1009, True) is None


@pytest.mark.parametrize("method", list(MaskMethod))
@pytest.mark.parametrize(("oid", "value", "binary", "_due"), MASKED_AS)
def test_a_client_decodes_what_is_masked(oid: int, value: bytes, binary: bool, _due: object, method: MaskMethod) -> None:
    """psycopg's loaders, an independent reader of every type, accept what comes out."""
    result = one(value, oid, binary, method)
    if result is None:
        return
    if oid == 3802 and value[:1] == b"\x02":
        return
    Transformer().get_loader(oid, pq.Format(int(binary))).load(result)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(int(CARD))
    | st.sampled_from(["jane@example.org", "\n" + CARD.decode(), 'say "4111 1111 1111 1111"\\', "107-11-1013é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("password"), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(value=json_values, ascii_only=st.booleans(), oid=st.sampled_from([114, 3802]))
def test_json_stays_json_and_loses_only_finds(value: object, ascii_only: bool, oid: int) -> None:
    """The result parses, has the same form, and nothing that detectors know is left in it."""
    raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    result = one(raw, oid)
    assert result is not None
    again = json.loads(result)
    assert type(again) is type(value)
    flat = json.dumps(again, ensure_ascii=False)
    assert "jane@" not in flat
    assert CARD.decode() not in flat
    assert "4111 1111" not in flat


@settings(max_examples=150)
@given(data=st.binary(max_size=80), oids=st.lists(st.sampled_from([25, 20, 17, 114, 1009, 20000, 2249]), max_size=3),
       binary=st.booleans(), tail=st.sampled_from([b"", CARD, b"a@b.co"]))
def test_random_bytes_are_masked_or_refused(data: bytes, oids: list[int], binary: bool, tail: bytes) -> None:
    """No chunk makes detection fail in another way than the protocol error."""
    for body in (data + tail, framed(data + tail), framed(b"\0\1\0\0\0" + bytes([len(data + tail)]) + data + tail)):
        plan = DetectPlan(ALL, tuple(oids), (int(binary),) * len(oids), "rows", BULK)
        try:
            plan.apply(body)
        except RemoteProtocolError:
            continue


@pytest.mark.parametrize("width", [0, 2])
def test_a_row_of_another_width_is_refused(width: int) -> None:
    """A find in a row that does not fit its description stops the result."""
    plan = DetectPlan(ALL, (25,) * width, (0,) * width, "rows", BULK)
    with pytest.raises(RemoteProtocolError):
        plan.apply(framed(row_body([CARD])))


def test_a_row_that_does_not_add_up_is_refused() -> None:
    """A find in a broken row is not passed on."""
    plan = DetectPlan(ALL, (25,), (0,), "rows", BULK)
    with pytest.raises(RemoteProtocolError):
        plan.apply(framed(row_body([CARD]) + b"\0"))


def test_formats_must_describe_the_columns() -> None:
    """Without a known format for each column nothing is guessed."""
    for formats in ((), (0, 0), (2,)):
        with pytest.raises(RemoteProtocolError):
            DetectPlan(ALL, (25,), formats, "rows", BULK)


def test_no_plan_is_made_where_nothing_is_due() -> None:
    """No detector, or only columns that hold no text: the chunk goes by untouched."""
    assert isinstance(plan_for((), (25,), (0,), "rows", BULK), PassPlan)
    assert isinstance(plan_for(ALL, (23, 16), (0, 1), "rows", BULK), PassPlan)
    assert isinstance(plan_for(ALL, (23, 25), (0, 1), "rows", BULK), DetectPlan)
    assert isinstance(plan_for(ALL, (), (), "copy-text", ord("d")), DetectPlan)
    chunk = framed(row_body([CARD]))
    assert PassPlan().apply(chunk) is chunk


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("kind", ["rows", "copy-text"])
def test_what_a_plan_keeps_does_not_grow_with_the_rows(kind: Any, every: int) -> None:
    """Counts by detector and by column, one carried row: after ten thousand rows not more than after a thousand."""
    rows: list[Row] = [[b"219-09-9999" if number % every == 0 else b"%d" % number, b"jane@example.org"] for number in range(500)]
    if kind == "rows":
        plan, chunk = DetectPlan(ALL, (25, 25), (0, 0), "rows", BULK), stream(rows)
    else:
        plan = DetectPlan(ALL, (), (), kind, ord("d"))
        chunk = b"".join(framed(b"\t".join(item or b"" for item in row) + b"\n", "d") for row in rows)
    for _ in range(2):
        plan.apply(chunk)
    gc.collect()
    tracemalloc.start()
    try:
        plan.apply(chunk)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            plan.apply(chunk)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 5_000
    assert sum(plan.masked.values()) > 10_000
