"""Arrays: every element goes through the mask, the shape stays, and what is no array is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.types.array import ListDumper

from lockgate.govern.masking.arrays import masked_binary, masked_text

elements = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=6)
arrays = st.lists(elements | st.none(), min_size=1, max_size=4) | st.lists(
    st.lists(elements, min_size=2, max_size=2), min_size=1, max_size=3)


def load(value: bytes, binary: bool) -> object:
    return Transformer().get_loader(1009, pq.Format(binary)).load(value)


def wrapped(value: bytes) -> bytes:
    return b"<" + value + b">"


def changed(value: object) -> object:
    if isinstance(value, list):
        return [changed(item) for item in value]
    return None if value is None else f"<{value}>"


@given(value=arrays)
def test_every_element_is_masked(value: list[object]) -> None:
    """Whatever stands in it: quotes, backslashes, braces, commas, spaces, the word NULL, nothing."""
    text = ListDumper(list, Transformer()).dump(value)
    assert text is not None
    assert load(masked_text(bytes(text), wrapped), False) == changed(value)
    assert load(masked_text(bytes(text), lambda one: one), False) == value
    raw = sent(value)
    assert load(masked_binary(raw, wrapped, 25), True) == changed(value)
    assert masked_binary(raw, lambda one: one, 25) == raw


def sent(value: list[object]) -> bytes:
    """``array_send`` by hand."""
    rows = value if isinstance(value[0], list) else [value]
    sizes = [len(value)] + ([len(value[0])] if isinstance(value[0], list) else [])
    flat = [item for row in rows for item in row]  # type: ignore[attr-defined]
    out = struct.pack("!iiI", len(sizes), None in flat, 25) + b"".join(struct.pack("!ii", size, 1) for size in sizes)
    for item in flat:
        data = None if item is None else item.encode()
        out += struct.pack("!i", -1 if data is None else len(data)) + (data or b"")
    return out


def test_elements_may_become_null() -> None:
    """The flag of the binary format follows."""
    assert masked_text(b'{a,"b c",NULL}', lambda _value: None) == b"{NULL,NULL,NULL}"
    assert masked_binary(sent(["a"]), lambda _value: None, 25) == struct.pack("!iiIiii", 1, 1, 25, 1, 1, -1)


def test_bounds_stay() -> None:
    """An array may begin at any index."""
    assert masked_text(b"[-1:0][2:3]={{a,b},{c,d}}", lambda _value: b"NULL") == \
        b'[-1:0][2:3]={{"NULL","NULL"},{"NULL","NULL"}}'


@pytest.mark.parametrize("value", [b"", b"a", b"{", b"}", b"{a", b"a}", b"{a}}", b"{{a}", b"{a}b", b"{}{}", b'{"a}', b"[1:2]", b"[1:2]=a",
                                   b"[a:b]={a}", b"{a b}", b"{a\\b}", b" {a}", b"{a} ", b'{"a"x"b"}', b"(a,b)"])
def test_a_text_that_is_no_array_is_refused(value: bytes) -> None:
    """No piece of it may stand outside of an element."""
    try:
        out = masked_text(value, lambda _value: b"#")
    except ValueError:
        return
    assert set(out) <= set(b'{},#"')


@given(value=st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: sent(["a", "b"])[:20] + tail))
def test_random_bytes_are_refused_or_masked(value: bytes) -> None:
    """Sizes that do not add up, negative ones, other elements than described."""
    try:
        out = masked_binary(value, lambda _value: b"#", 25)
    except ValueError:
        return
    assert masked_binary(out, lambda one: one, 25) == out


def test_elements_of_another_type_are_refused() -> None:
    """The element's type is that of the column."""
    with pytest.raises(ValueError, match="array"):
        masked_binary(sent(["a"]), lambda value: value, 23)
    with pytest.raises(ValueError, match="add up"):
        masked_binary(struct.pack("!iiIiiii", 2, 0, 25, 1 << 30, 1, 1 << 30, 1), lambda value: value, 25)
