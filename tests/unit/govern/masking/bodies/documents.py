"""Documents with canaries, each together with what has to be left of it; and bodies fed in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from lockgate.govern.masking.keys import MaskKeys
from lockgate.model import ColumnMask, MaskMethod, Secret

KEYS = MaskKeys(Secret("5a" * 32))
CANARY = "c4n4ry"
NAME = "ssn"
Pair = tuple[str, str]
"""A piece of a document as it comes, and as it goes on."""


def mask(*columns: str, method: MaskMethod = MaskMethod.REDACT, **more: Any) -> ColumnMask:
    return ColumnMask(columns, method, **more)


def run(body: Any, data: bytes, cuts: Iterable[int] = ()) -> bytes:
    """The body fed in pieces that end at `cuts`."""
    at, out = 0, []
    for cut in (*sorted(cuts), len(data)):
        if cut > at:
            out.append(body.feed(data[at:cut]))
            at = cut
    return b"".join(out) + bytes(body.finish())


def cuts(size: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, size), max_size=12)


def every_split(make: Any, data: bytes) -> bytes:
    """What comes out whole, which has to come out at every single cut and byte by byte as well."""
    whole = run(make(), data)
    for cut in range(1, len(data)):
        assert run(make(), data, [cut]) == whole, cut
    assert run(make(), data, range(len(data))) == whole
    return whole


_SPACE = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])
_PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)


@st.composite
def written(draw: st.DrawFn, text: str) -> str:
    """A JSON string of this text, some of its characters as escapes."""
    out = []
    for letter in text:
        way = draw(st.integers(0, 9))
        if way == 0 and ord(letter) < 0x10000:
            out.append(f"\\u{ord(letter):04{draw(st.sampled_from('xX'))}}")
        elif way == 1 and letter == "/":
            out.append("\\/")
        else:
            out.append(json.dumps(letter, ensure_ascii=draw(st.booleans()))[1:-1])
    return '"' + "".join(out) + '"'


@st.composite
def cased(draw: st.DrawFn, text: str) -> str:
    return "".join(draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in text)


_NUMBERS = st.sampled_from(["0", "-0", "12", "-7.50", "1e5", "1E-400", "123456789012345678901234567890.5", "0.10"])
_WORDS = st.sampled_from(["true", "false", "null"])


@st.composite
def harmless(draw: st.DrawFn, depth: int = 2) -> str:
    """A value without a member that is hidden."""
    kind = draw(st.integers(0, 5 if depth else 2))
    if kind == 0:
        return draw(_NUMBERS)
    if kind == 1:
        return draw(_WORDS)
    if kind == 2:
        return draw(_PLAIN.flatmap(written))
    items = [draw(harmless(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    if kind == 3:
        return "[" + ",".join(draw(_SPACE) + item + draw(_SPACE) for item in items) + "]"
    return "{" + ",".join(f'{draw(_SPACE)}"k{at}"{draw(_SPACE)}:{draw(_SPACE)}{item}{draw(_SPACE)}'
                          for at, item in enumerate(items)) + "}"


@st.composite
def secret(draw: st.DrawFn) -> Pair:
    """A value that goes, with the canary in it, and what stands in its place."""
    kind = draw(st.integers(0, 4))
    inside = draw(written(CANARY + draw(_PLAIN)))
    if kind == 0:
        return inside, '"xxxx"'
    if kind == 1:
        return draw(st.sampled_from(["219099999", "-2190.99999", "2190e7"])), "0"
    if kind == 2:
        return draw(st.sampled_from([("true", "false"), ("false", "false"), ("null", '"xxxx"')]))
    other = draw(harmless(1))
    if kind == 3:
        return f"[{other},{inside} ,[{other}]]", '"xxxx"'
    return f'{{"a":{inside}, "{NAME}":{other}}}', '"xxxx"'


@st.composite
def documents(draw: st.DrawFn, depth: int = 4, texts: int = 1) -> Pair:
    """A document with members to hide anywhere in it."""
    kind = draw(st.integers(0, 6))
    if depth == 0 or kind == 0:
        value = draw(harmless(1))
        return value, value
    if kind == 1 and texts:
        inner, left = draw(st.one_of(objects(depth - 1, texts - 1), arrays(depth - 1, texts - 1)))
        raw = draw(written(inner))
        return raw, raw if inner == left else json.dumps(left, ensure_ascii=False)
    if kind < 4:
        return draw(objects(depth - 1, texts))
    return draw(arrays(depth - 1, texts))


@st.composite
def objects(draw: st.DrawFn, depth: int, texts: int) -> Pair:
    raw, left = [], []
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            name, (value, shown) = draw(cased(NAME).flatmap(written)), draw(secret())
        else:
            name = draw(_PLAIN.filter(lambda text: text.casefold() != NAME).flatmap(written))
            value, shown = draw(documents(depth, texts))
        before = f"{draw(_SPACE)}{name}{draw(_SPACE)}:{draw(_SPACE)}"
        after = draw(_SPACE)
        raw.append(before + value + after)
        left.append(before + shown + after)
    return "{" + ",".join(raw) + "}", "{" + ",".join(left) + "}"


@st.composite
def arrays(draw: st.DrawFn, depth: int, texts: int) -> Pair:
    raw, left = [], []
    for _ in range(draw(st.integers(0, 3))):
        value, shown = draw(documents(depth, texts))
        before, after = draw(_SPACE), draw(_SPACE)
        raw.append(before + value + after)
        left.append(before + shown + after)
    return "[" + ",".join(raw) + "]", "[" + ",".join(left) + "]"
