"""Comments go, everything else stays; the guard against nesting is an upper bound."""

from __future__ import annotations

from typing import Any

import pgparse
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.analysis.sql.errors import NotUnderstood
from lockgate.analysis.sql.text import (
    MAX_CHAIN,
    _outline,
    name_end,
    require_flat,
    require_parsable,
    strip_comments,
)


@pytest.mark.parametrize(("text", "expected"), [
    ("SELECT 1", "SELECT 1"),
    ("SELECT/**/1", "SELECT 1"),
    ("SELECT 1 -- x", "SELECT 1 "),
    ("SELECT 1 -- x\n, 2", "SELECT 1 \n, 2"),
    ("SELECT /* a /* b */ c */ 1", "SELECT 1"),
    ("SELECT '-- no' , '/* no */'", "SELECT '-- no' , '/* no */'"),
    ("SELECT 'it''s -- no'--yes", "SELECT 'it''s -- no'"),
    ("SELECT E'\\' -- no' -- yes", "SELECT E'\\' -- no' "),
    ("SELECT E'a''\\'b -- no'", "SELECT E'a''\\'b -- no'"),
    ("SELECT e'a'\n'\\' -- no' -- yes", "SELECT e'a'\n'\\' -- no' "),
    ("SELECT '\\' -- yes", "SELECT '\\' "),
    ('SELECT "a--b" -- c', 'SELECT "a--b" '),
    ('SELECT U&"a--b", U&\'c--d\' -- e', 'SELECT U&"a--b", U&\'c--d\' '),
    ("SELECT $$ -- no $$ -- yes", "SELECT $$ -- no $$ "),
    ("SELECT $a$ $$ -- no $b$ $a$ /* yes */", "SELECT $a$ $$ -- no $b$ $a$ "),
    ("SELECT a$$b -- yes", "SELECT a$$b "),
    ("SELECT $1 -- $$ yes\n", "SELECT $1 \n"),
    ("SELECT foe'x' -- y", "SELECT foe'x' "),
    ("SELECT 1 +/* x */- 2", "SELECT 1 + - 2"),
    ("SELECT b'1'--x", "SELECT b'1'"),
])
def test_comments_go_and_literals_stay(text: str, expected: str) -> None:
    """A comment is removed only where PostgreSQL's scanner would see one."""
    assert strip_comments(text) == expected


def test_unterminated_comment_is_a_syntax_error() -> None:
    """An open block comment is refused, not passed on."""
    with pytest.raises(NotUnderstood, match="unterminated"):
        strip_comments("SELECT 1 /* /* */")


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(child) for key, child in value.items()
                if key not in ("location", "stmt_location", "stmt_len", "name_location")}
    if isinstance(value, list):
        return [_bare(child) for child in value]
    return value


_PIECES = st.sampled_from([
    "SELECT ", "1", " ", "\n", "'", "''", "\\", "--", "/*", "*/", "$$", "$a$", "a", "e'", "E'\\'", '"', "x", ",", "U&'",
    "'lit'", "'-- no'", "/* c */", "-- c\n", "+", "-", "$1", "é", "(", ")", " AS b", " FROM t", ";",
])


@given(st.lists(_PIECES, max_size=30).map(lambda pieces: "SELECT " + "".join(pieces)))
def test_stripping_never_changes_the_meaning(text: str) -> None:
    """Where the original parses, the text without comments parses to the same tree."""
    try:
        original = pgparse.parse(text)
    except (pgparse.PGQueryError, RecursionError):
        return
    stripped = strip_comments(text)
    assert _bare(pgparse.parse(stripped)) == _bare(original)


@given(st.lists(_PIECES, max_size=30).map("".join))
def test_stripping_is_idempotent(text: str) -> None:
    """What comes out has no comment left: doing it again changes nothing."""
    try:
        once = strip_comments(text)
    except NotUnderstood:
        return
    assert strip_comments(once) == once or "--" in once or "/*" in once


@pytest.mark.parametrize("unit", [
    "+1", "-1", "||a", "::text", " IS NULL", " COLLATE x", " IN (1)", " AT LOCAL", " AND 1+1", " LIKE 'a'", "[1]", ".a",
])
def test_nesting_estimate_is_an_upper_bound(unit: str) -> None:
    """Every way to nest by repetition is stopped before the parser sees it."""
    text = "SELECT 1" + unit * (MAX_CHAIN + 50_000)
    if unit in (".a", "[1]"):
        return                              # flat in the tree
    with pytest.raises(NotUnderstood):
        require_parsable(text, text.encode(), 1 << 24)


_LITERALS = st.sampled_from([
    "'", "''", "E'", "e'", "\\", "\\'", "$$", "$a$", "$b$", '"', '""', "U&'", 'U&"', "N'", "B'0'", "X'", "\n", "\r", " ", "\t", "\v",
    "a", "e", "$1", "1", "E", "-", "/", "+", "||", ",", "DO ", "; SELECT ", "'a'", "E'a'", "E'\\''", "$", "é", "(", ")", "::text",
    "DO E'a' 'b'", " UESCAPE '!'", "--", "/*", "*/",
])
_TEXTS = st.tuples(
    st.sampled_from(["SELECT ", "DO ", "SELECT 'x' || "]), st.lists(_LITERALS, max_size=12).map("".join),
    st.sampled_from([" ", " || ", "; SELECT ", "\n; SELECT "]), st.sampled_from(["", " || 'z'", ' AS "q"', "||E'\\''"]),
)


@settings(max_examples=2_000, deadline=None)
@given(_TEXTS)
def test_what_is_code_is_outside_of_literals(parts: tuple[str, str, str, str]) -> None:
    """Where the parser sees a call, the outline has it, and where it sees a string, the outline has none: so no
    nesting hides behind a literal's end, whatever literals stand in front."""
    begin, literals, joint, end = parts
    try:
        bare = strip_comments(f"{begin}{literals}{joint}marker(1){end}")
        trees = pgparse.parse(bare)
    except (NotUnderstood, pgparse.PGQueryError, RecursionError):
        return
    is_called = any(names[-1] == "marker" for names in _calls(trees))
    assert ("marker" in _outline(bare)) == is_called


def _calls(value: Any) -> list[list[str]]:
    found, stack = [], [value]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "FuncCall" in node:
                found.append([name["String"]["sval"] for name in node["FuncCall"]["funcname"]])
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    return found


@pytest.mark.parametrize("between", ["'||'", "E'\\''", "$$'$$", "'a'\n'\\'", "E'a'\n'\\''", "/* ' */", "-- '\n", '"a""b"'])
def test_a_chain_behind_a_literal_is_seen(between: str) -> None:
    """A chain that would overflow the parser's stack is refused, whatever literal or comment stands before it."""
    text = f"SELECT a || {between} b" + "||','||b" * 30_000
    bare = strip_comments(text)
    with pytest.raises(NotUnderstood):
        require_parsable(bare, bare.encode(), 1 << 24)
    with pytest.raises(NotUnderstood):
        require_flat(text)


@pytest.mark.parametrize(("text", "parts", "end"), [
    (b"t x", 1, 1), (b"s.t x", 2, 3), (b's . "a""b" x', 2, 10), (b'U&"a" x', 1, 5), ("é1$ x".encode(), 1, 4),
    (b"1", 1, -1), (b"s t", 2, -1), (b'"open', 1, -1),
])
def test_name_end(text: bytes, parts: int, end: int) -> None:
    """Names end where the scanner ends them; anything else is -1."""
    assert name_end(text, 0, parts) == end
