"""Bound values in words: what a reviewer and the record read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import PyFormat
from psycopg.types.json import Json, Jsonb

from lockgate.govern.review import binding
from lockgate.model import ReviewMode, ReviewTerms, Rule
from lockgate.protocols.postgres.values import read_values
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.postgres import support as s
from tests.protocols.postgres.support import World

REVIEW = Rule(name="ask", review=ReviewTerms(frozenset({"dba"}), 900.0, ReviewMode.HOLD))


def dumped(value: Any) -> tuple[bytes, int]:
    """The value as psycopg sends it in binary: bytes and type OID."""
    transformer = psycopg.adapt.Transformer()
    dumper = transformer.get_dumper(value, PyFormat.BINARY)
    raw = dumper.dump(value)
    assert raw is not None
    return bytes(raw), dumper.oid


def shown(raw: bytes, oid: int) -> str:
    """One binary parameter of a stated type, in words."""
    [value] = read_values((1,), (raw,), struct.pack("!HI", 1, oid), ())
    assert value is not None
    return value


SHOWN = [
    (100, "100"), (70_000, "70000"), (-(2**40), "-1099511627776"), (True, "true"),
    (0.1, "0.1"), ("O'Hare", "O'Hare"), (b"\0\xff", "\\x00ff"),
    (Decimal("-1234567.8900"), "-1234567.8900"), (Decimal("0.00001"), "0.00001"),
    (Decimal("NaN"), "NaN"), (Decimal(0), "0"), (Decimal(10000), "10000"),
    (UUID(int=7), "00000000-0000-0000-0000-000000000007"), (date(1969, 7, 20), "1969-07-20"),
    (datetime.fromisoformat("2026-01-02T03:04:05.000006"), "2026-01-02 03:04:05.000006"),
    (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1))), "2026-01-02 02:00:00+00:00"),
    (Json({"a": 1}), '{"a": 1}'), (Jsonb([1]), "[1]"),
    ([1, 2, None], "{1,2,NULL}"), (["a,b", 'c"', None, "NULL"], '{"a,b","c\\"",NULL,"NULL"}'),
]


@pytest.mark.parametrize(("value", "expected"), SHOWN)
def test_binary_values_of_common_types_are_readable(value: Any, expected: str) -> None:
    """A person reads the value, not its bytes."""
    raw, oid = dumped(value)
    assert shown(raw, oid) == expected


@given(st.decimals(allow_infinity=False, min_value=Decimal("-1e60"), max_value=Decimal("1e60"), places=12))
def test_a_numeric_reads_as_the_same_number(value: Decimal) -> None:
    """Digits, weight, sign and scale come back as the number that was sent."""
    raw, oid = dumped(value)
    assert Decimal(shown(raw, oid)) == value


@given(st.binary(max_size=40), st.sampled_from([16, 17, 20, 21, 25, 701, 1007, 1009, 1082, 1114, 1700, 2950, 3802, 0, 9]))
def test_any_bytes_are_shown_and_never_raise(raw: bytes, oid: int) -> None:
    """Hostile bytes of any type end as text of bounded length, never as an exception."""
    assert len(shown(raw, oid)) <= 600 + 8 * len(raw)


@pytest.mark.parametrize("hostile", [b"\0\1", b"\x7f\xff\xff\xff", b""])
def test_bytes_that_do_not_add_up_are_hex(hostile: bytes) -> None:
    """What is not of the type that was said is shown as it came."""
    assert shown(hostile, 2950) == "\\x" + hostile.hex()


def test_the_backends_type_helps_where_parse_said_none() -> None:
    """ParameterDescription types bytes; without one they stay hex."""
    raw = struct.pack("!i", 5)
    assert read_values((1, 0), (raw, b"5"), b"\0\0", (23, 23)) == ("5", "5")
    assert read_values((1,), (raw,), b"\0\0", ()) == ("\\x00000005",)


def forms() -> Iterator[bytes]:
    """One `\\x0007` to the eye, three requests on the wire."""
    for types, formats, value in (
        (b"\0\0", [0], b"\\x0007"), (b"\0\0", [1], b"\0\7"), (struct.pack("!HI", 1, 17), [1], b"\0\7"),
    ):
        yield (s.frame(ord("P"), b"\0delete from t where id = $1\0" + types) + s.bind(values=[value], formats=formats)
               + s.execute() + s.SYNC)


def test_a_review_tells_text_and_bytes_apart() -> None:
    """An approval of one form is not one of another that reads the same."""
    world = World(rules=(s.ALLOW, REVIEW))
    for form in forms():
        world.session() >> Bytes(CLIENT, form)
    assert {ask.parameters for ask in world.desk.asked} == {("\\x0007",)}
    assert len({binding(ask) for ask in world.desk.asked}) == 3


def test_described_types_reach_the_operation() -> None:
    """asyncpg says no types in Parse, asks, and binds in binary."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, s.parse("select $1::int", "s1") + s.describe("S", "s1") + s.SYNC)
    book >> Bytes(SERVER, s.PARSED + s.frame(ord("t"), struct.pack("!HI", 1, 23)) + s.columns("x") + s.ready())
    book >> Bytes(CLIENT, s.bind("s1", values=[struct.pack("!i", 42)], formats=[1]) + s.execute() + s.SYNC)
    assert world.log.intents[-1].parameters == ("42",)
