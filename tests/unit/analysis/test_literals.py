"""Literals are found where the server finds them, with the value that it reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pgparse
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lockgate.analysis.sql.literals import literal_places, literals, replaced


def values_of(text: str) -> list[str]:
    return [literal.value for literal in literals(text) if not literal.is_number]


@pytest.mark.parametrize(("text", "expected"), [
    ("select 'a', 'it''s', ''", ["a", "it's", ""]),
    (r"select E'a\nb\'c\\d', e'\x41\101\u0042\U00000043'", ["a\nb'c\\d", "AABC"]),
    (r"select 'back\slash', 'x'", ["back\\slash", "x"]),
    (r"select U&'d\0061t\+000061', u&'d!0061!!' uescape '!', U&'it''s'", ["data", "da!", "it's"]),
    ("select $$it's$$, $tag$a $$ b$tag$, $1, 'z'", ["it's", "a $$ b", "z"]),
    ("select 'one'\n  'two', 'three' 'x'", ["onetwo", "three", "x"]),
    ("select E'a'\n'\\x41'", ["aA"]),
    ("select \"it's\", x'1F', b'01', n'nat'", ["nat"]),
    ("select 4111111111111111, 1_000, a1, 1.5, $2, t1.c2", []),
    ("select 'unterminated", []),
    ("select'a', text'b', case when true then'c'end, 'd'", ["a", "b", "c", "d"]),
    ("execute k(text'a',E'b'), varchar(3)'c', 1'd'", ["a", "b", "c", "d"]),
    ("select U&'a'\n'b', U&'!0041'UESCAPE'!', U&'!0041' uescape\n$$!$$, u&'\\D83D\\DE00'", ["ab", "A", "A", "\U0001f600"]),
    ("select E'\\xC3\\xA9', E'\\uD83D\\uDE00', xE'a\\', u'b', x'1F'\n'20', 'z'", ["é", "\U0001f600", "a\\", "b", "z"]),
])
def test_strings(text: str, expected: list[str]) -> None:
    """Every form of string constant, and nothing that is none."""
    assert values_of(text) == expected


def test_numbers() -> None:
    """They are found in every form, as decimal digits."""
    text = "select 4111111111111111, 1_000, a1, 1.5, $2, 0x1F, 0o17, 0B11, 4111., 4111.0, 4111e0, .5, 41.11e2, t1.c2, a[1:2]"
    assert [literal.value for literal in literals(text) if literal.is_number] == [
        "4111111111111111", "1000", "1.5", "31", "15", "3", "4111", "4111", "4111", "0.5", "4111", "1", "2"]


def _located(value: Any) -> Iterator[tuple[int, str | Decimal]]:
    """Position and text of every string and number of a parse tree."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, list):
            stack += one
        elif isinstance(one, dict):
            stack += one.values()
            constant = one.get("A_Const", {})
            for kind in ("sval", "ival", "fval"):
                if kind in constant:
                    number = constant[kind].get(kind, 0 if kind == "ival" else "")
                    yield constant.get("location", 0), number if kind == "sval" else Decimal(number)


INNER = st.text(st.sampled_from(list("aA'\\x0041u!$n \n\U0001f600é")), max_size=6)
PREFIXES = ["", "E", "e", "N", "n", "U&", "u&", "x", "text", "date ", "varchar(3)", "+", "-"]


@st.composite
def written(draw: st.DrawFn) -> str:
    """A constant in some form; what the parser does not take is thrown away."""
    quoted = "'" + draw(INNER).replace("'", "''") + "'"
    number = draw(st.sampled_from(["7", "0x1f", "4.", ".5", "4e1", "1_0", "-3", "- 3", "'7'"]))
    joined = draw(st.sampled_from(["", "", "\n'" + draw(INNER).replace("'", "''") + "'"]))
    escape = draw(st.sampled_from(["", "", "UESCAPE'!'", " uescape E'!'", "uescape $$!$$"]))
    literal = draw(st.sampled_from([quoted + joined + escape, number, "$q$" + draw(INNER) + "$q$"]))
    return draw(st.sampled_from(["{}", "({})", "case when true then{}end", "f({})", "a={}", 'b"c"={}', "xE{}", "{}::text"])).format(
        draw(st.sampled_from(PREFIXES)) + literal)


@settings(max_examples=100, deadline=None)
@given(st.lists(written(), min_size=1, max_size=5), st.sampled_from([",", ", ", "\n,\t"]))
def test_every_constant_that_the_parser_sees_is_seen(parts: list[str], between: str) -> None:
    """Where the parser has a constant there is one here, with its value, however the text around it is written."""
    text = "select" + between.join(parts)
    assume("--" not in text)
    try:
        tree = pgparse.parse(text)
    except pgparse.PGQueryError:
        assume(False)
    found, places = literals(text), literal_places(text)
    for position, expected in _located(tree):
        literal = found[places[position]]
        assert literal.is_number == isinstance(expected, Decimal)
        assert (abs(expected) == Decimal(literal.value)) if isinstance(expected, Decimal) else (expected == literal.value)


def test_replaced() -> None:
    """New values are written as plain strings, whatever form the old ones had."""
    text = "insert into t values ($$a$$, E'b\\n', 7, 'c')"
    found = literals(text)
    assert replaced(text, [(found[0], "it's"), (found[1], None), (found[2], "8")]) == (
        "insert into t values ( 'it''s' ,  NULL ,  '8' , 'c')")


def _constants(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["sval"].get("sval", "")] if "sval" in value and isinstance(value["sval"], dict) else []
        return found + [text for child in value.values() for text in _constants(child)]
    if isinstance(value, list):
        return [text for child in value for text in _constants(child)]
    return []


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(st.lists(st.tuples(st.sampled_from(["plain", "escape", "dollar"]), WORDS), min_size=1, max_size=5))
def test_the_parser_reads_the_same_values(words: list[tuple[str, str]]) -> None:
    """What is found is what PostgreSQL's own scanner finds."""
    written = []
    for form, word in words:
        if form == "plain":
            written.append("'" + word.replace("'", "''") + "'")
        elif form == "escape":
            written.append("E'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'")
        else:
            written.append(f"$q${word.replace('$', '')}$q$")
    text = "select " + ", ".join(written)
    tree = pgparse.parse(text)
    json.dumps(tree)
    assert values_of(text) == _constants(tree)
