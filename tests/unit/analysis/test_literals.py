"""Literals are found where the server finds them, with the value that it reads."""

from __future__ import annotations

import json
from typing import Any

import pgparse
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.analysis.sql.literals import literals, replaced


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
])
def test_strings(text: str, expected: list[str]) -> None:
    """Every form of string constant, and nothing that is none."""
    assert values_of(text) == expected


def test_numbers() -> None:
    """Unsigned integers are found with their digits alone."""
    assert [literal.value for literal in literals("select 4111111111111111, 1_000, a1, 1.5, $2") if literal.is_number] == [
        "4111111111111111", "1000"]


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
