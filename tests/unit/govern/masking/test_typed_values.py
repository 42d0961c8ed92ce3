"""Typed values: both formats read as the same, and only what the server can have sent is read."""

from __future__ import annotations

import ipaddress
import struct
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.types.numeric import DecimalBinaryDumper

from lockgate.govern.masking import typed_values as typed
from lockgate.govern.masking.typed_values import Codec

CODECS: dict[str, tuple[Codec[Any], Codec[Any]]] = {
    "int2": (typed.integers(2, False), typed.integers(2, True)),
    "int8": (typed.integers(8, False), typed.integers(8, True)),
    "oid": (typed.integers(4, False, signed=False), typed.integers(4, True, signed=False)),
    "float4": (typed.reals(4, False), typed.reals(4, True)),
    "float8": (typed.reals(8, False), typed.reals(8, True)),
    "numeric": (typed.numerics(False), typed.numerics(True)),
    "bytea": (typed.byte_strings(False), typed.byte_strings(True)),
    "uuid": (typed.uuids(False), typed.uuids(True)),
    "inet": (typed.addresses(False, is_network=False), typed.addresses(True, is_network=False)),
    "cidr": (typed.addresses(False, is_network=True), typed.addresses(True, is_network=True)),
    "macaddr": (typed.macs(6, False), typed.macs(6, True)),
    "macaddr8": (typed.macs(8, False), typed.macs(8, True)),
}
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-10**40, max_value=10**40).map(lambda one: f"{one:f}")
hosts = st.ip_addresses().map(str)
networks = st.tuples(st.ip_addresses(), st.integers(0, 32)).map(
    lambda pair: str(ipaddress.ip_network(f"{pair[0]}/{pair[1]}", strict=False)))
TEXTS = {
    "int2": st.integers(-(1 << 15), (1 << 15) - 1).map(str), "int8": st.integers(-(1 << 63), (1 << 63) - 1).map(str),
    "oid": st.integers(0, (1 << 32) - 1).map(str), "numeric": decimals,
    "bytea": st.binary(max_size=20).map(lambda raw: "\\x" + raw.hex()), "uuid": st.uuids().map(str),
    "inet": hosts | networks.filter(lambda text: not text.endswith(("/32", "/128")) or (":" in text and text.endswith("/32"))),
    "cidr": networks, "macaddr": st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":")),
    "macaddr8": st.binary(min_size=8, max_size=8).map(lambda raw: raw.hex(":")),
    "float8": st.floats(allow_nan=False).map(lambda number: repr(number).removesuffix(".0")),
}


@pytest.mark.parametrize("name", sorted(TEXTS))
@given(data=st.data())
def test_both_formats_are_one_value(name: str, data: st.DataObject) -> None:
    """Text → value → binary → value → text gives the text that the server wrote."""
    written = data.draw(TEXTS[name])
    text, binary = CODECS[name]
    value = text.read(written.encode())
    raw = binary.write(value)
    assert binary.read(raw) == value or name == "numeric"
    back = text.write(binary.read(raw)).decode()
    assert back == written or (name == "numeric" and Decimal(back) == Decimal(written) == 0)


@given(number=st.decimals(allow_nan=False, allow_infinity=False, min_value=-10**40, max_value=10**40))
def test_a_numeric_is_sent_as_the_clients_send_it(number: Decimal) -> None:
    """psycopg's own binary form reads as this number, and it reads ours."""
    sent = DecimalBinaryDumper(Decimal, Transformer()).dump(number)
    assert sent is not None
    text, binary = CODECS["numeric"]
    value = binary.read(bytes(sent))
    assert Decimal(text.write(value).decode()) == number
    assert Decimal(text.write(binary.read(binary.write(value))).decode()) == number


@pytest.mark.parametrize("name", sorted(CODECS))
@given(value=st.binary(max_size=40) | st.text("0123456789abcdefxX-+.:/ \\NaInfity_e", max_size=24).map(str.encode))
def test_other_bytes_are_a_value_error(name: str, value: bytes) -> None:
    """Readers raise nothing else; and what they read can be written."""
    for codec in CODECS[name]:
        try:
            read = codec.read(value)
        except ValueError:
            continue
        codec.write(read)


@pytest.mark.parametrize(("name", "value"), [
    ("int2", b"32768"), ("int8", b"9223372036854775808"), ("oid", b"-1"), ("oid", b"4294967296"), ("int2", b"1_0"), ("int2", b" 1"),
    ("int2", b"1\n"), ("numeric", b"1_0"), ("numeric", b"NaN"), ("numeric", b"1e5"), ("numeric", b"9" * 2_000), ("numeric", b"\xd9\xa1"),
    ("uuid", b"9b2f4c1e8a574a359b6f0d6c1f7a2e11"), ("macaddr", b"08:00:2b:01:02"), ("macaddr", b"08:00:2b:01:02:03:04:05"),
    ("inet", b"10.1.2"), ("inet", b"10.1.2.3/33"), ("float4", b"1e60"), ("float8", b"x")])
def test_what_only_python_reads_is_refused(name: str, value: bytes) -> None:
    """Underscores, spaces, digits of other scripts and numbers beyond the type come from no server."""
    with pytest.raises(ValueError):
        CODECS[name][0].read(value)


@pytest.mark.parametrize("value", [
    struct.pack("!HhHH", 0, 0, 0xC000, 0), struct.pack("!HhHH", 1, 0, 0, 0), struct.pack("!HhHHH", 1, 0, 0, 0, 10_000),
    struct.pack("!HhHHH", 1, 30_000, 0, 0, 1), struct.pack("!HhHHH", 1, 0, 0, 16_383, 1), struct.pack("!HhHHH", 1, 0, 1, 0, 1)])
def test_a_numeric_that_means_too_much_is_refused(value: bytes) -> None:
    """Ten bytes can stand for a hundred thousand digits."""
    with pytest.raises(ValueError):
        CODECS["numeric"][1].read(value)


def test_octal_escapes_are_the_older_bytea() -> None:
    """`bytea_output = escape`."""
    assert typed.bytes_of(b"a\\\\b\\000\\377") == b"a\\b\x00\xff"
    assert typed.bytes_of(b"\\x6162") == b"ab"


def test_uuids_and_addresses_read_as_python_has_them() -> None:
    """Against the standard library."""
    one = uuid.uuid5(uuid.NAMESPACE_DNS, "example.org")
    assert CODECS["uuid"][0].read(str(one).encode()) == one.bytes
    assert CODECS["inet"][0].read(b"10.1.2.3/8") == b"\x08\x0a\x01\x02\x03"
    assert CODECS["inet"][1].read(b"\x02\x08\x00\x04\x0a\x01\x02\x03") == b"\x08\x0a\x01\x02\x03"
    assert CODECS["cidr"][0].write(b"\x20\x0a\x01\x02\x03") == b"10.1.2.3/32"
