"""The text of a statement before it is parsed: comments, nesting, and where a name ends.

PostgreSQL's scanner rules (manual, "Lexical Structure"; `src/backend/parser/scan.l`), as far as
they decide what is a comment and what is inside a literal. Nothing here has to be right for safety:
what is parsed, judged, recorded and forwarded is always the *result* of `strip_comments`, so a
difference to the server's scanner could only turn a valid statement into an invalid one.
"""

from __future__ import annotations

import re
from typing import Final

from lockgate.analysis.sql.errors import (
    NOT_IN_REPERTOIRE,
    SYNTAX_ERROR,
    TOO_COMPLEX,
    TOO_LARGE,
    NotUnderstood,
)

SAFE_LENGTH: Final = 40_000
"""Bytes below which no nesting can overflow the parser's C stack: its printer crashed at 100,000
levels (8 MiB stack), a level needs two bytes where the grammar recurses on the left, and Bison's
own limit of 10,000 guards where it recurses on the right."""

MAX_CHAIN: Final = 20_000
"""Largest nesting estimate that is handed to the parser; the tree is refused far earlier (about 480)."""

_PIECE: Final = re.compile(
    r"""
      (?P<line>--[^\n\r]*)
    | (?P<block>/\*)
    | (?P<estring>[eE]'(?:[^'\\]|\\.)*+(?:'|\Z))
    | (?P<plain>'[^']*+(?:'|\Z))
    | (?P<quoted>"[^"]*+(?:"|\Z))
    | (?P<dollar>\$(?P<tag>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<space>[ \t\n\r\f\v]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE: Final = re.compile(r"/\*|\*/")
_ESTRING_REST: Final = re.compile(r"'(?:[^'\\]|\\.)*+(?:'|\Z)", re.DOTALL)
_NAME: Final = re.compile(
    rb"""(?:[uU]&)?"(?:[^"]|"")*"|[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*""", re.VERBOSE
)
_SPACE: Final = re.compile(rb"[ \t\n\r\f\v]*")
_CHAIN: Final = re.compile(
    r"""(?P<open>[(\[])|(?P<close>[)\]])|(?P<comma>,)|(?P<semicolon>;)
      | (?P<join>\b(?:union|intersect|except|join)\b)
      | (?P<step>'[^']*+'|"[^"]*+"|[A-Za-z_0-9$.\x80-\U0010ffff]+|[^\s\w])""",
    re.VERBOSE | re.IGNORECASE,
)


_PARTS: Final = 65_536
"""Each part of a list costs more than its two bytes say: about 10 microseconds of CPU."""


def require_readable(text: str, limit: int) -> bytes:
    """The statement as UTF-8. Refuses NUL (the parser would stop there), lone surrogates and length."""
    if "\0" in text:
        raise NotUnderstood(NOT_IN_REPERTOIRE, 'invalid byte sequence for encoding "UTF8": 0x00')
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise NotUnderstood(NOT_IN_REPERTOIRE, 'invalid byte sequence for encoding "UTF8"') from None
    if len(data) > limit:
        raise NotUnderstood(TOO_LARGE, f"statement is longer than {limit} bytes")
    if len(data) > _PARTS and data.count(b",") + data.count(b";") > _PARTS:
        raise NotUnderstood(TOO_LARGE, f"statement has more than {_PARTS} commas and semicolons")
    return data


def strip_comments(text: str) -> str:
    """The same statement without comments; everything else stays byte for byte.

    A block comment and the blanks behind it become one space, or none where one stands before it:
    the same statement with another comment is the same text. A line comment vanishes (its newline
    stays), so that two literals that the newline joins are still joined.
    """
    if "--" not in text and "/*" not in text:
        return text
    kept: list[str] = []
    start = position = 0
    escaped = False             # the last literal was E'…', and only newlines followed so far
    end = len(text)
    while position < end:
        if escaped and text[position] == "'":
            match = _ESTRING_REST.match(text, position)
        else:
            match = _PIECE.match(text, position)
        if match is None:
            position += 1
            escaped = False
            continue
        kind = match.lastgroup if match.re is _PIECE else "estring"
        if kind == "tag":
            kind = "dollar"
        if kind == "line":
            if position > start:
                kept.append(text[start:position])
            position = start = match.end()
            continue
        if kind == "block":
            if position > start:                        # no empty piece is kept: `kept[-1]` ends what stands before
                kept.append(text[start:position])
            if kept and not kept[-1][-1].isspace():
                kept.append(" ")
            position = _after_block(text, position)
            while position < end and text[position] in " \t":
                position += 1
            start = position
            escaped = False
            continue
        if kind == "dollar":
            closing = text.find(match.group("dollar"), match.end())
            position = end if closing < 0 else closing + len(match.group("dollar"))
            escaped = False
            continue
        position = match.end()
        if kind == "estring":
            escaped = True
        elif kind != "space":
            escaped = False
    kept.append(text[start:])
    return "".join(kept)


def _after_block(text: str, start: int) -> int:
    """The position after a (nested) block comment that opens at `start`."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    raise NotUnderstood(SYNTAX_ERROR, 'unterminated /* comment', start + 1)


def require_flat(text: str, size: int) -> None:
    """Refuses what could overflow the C stack of the parser, before it is called.

    An upper bound of the tree's depth: operators and words since the last comma of each open
    bracket, summed over the open brackets, and every set operation and join.
    """
    if size <= SAFE_LENGTH:
        return
    levels = [0]
    total = joins = 0
    for piece in _CHAIN.finditer(text):
        kind = piece.lastgroup
        if kind == "step":
            levels[-1] += 1
            total += 1
            if total + joins > MAX_CHAIN:
                raise NotUnderstood(TOO_COMPLEX, "statement is nested too deeply")
        elif kind == "comma":
            total -= levels[-1]
            levels[-1] = 0
        elif kind == "open":
            levels.append(1)
            total += 1
        elif kind == "close":
            total -= levels.pop() if len(levels) > 1 else 0
        elif kind == "join":
            joins += 1
        elif len(levels) == 1:
            total = joins = levels[0] = 0
    if joins > MAX_CHAIN:
        raise NotUnderstood(TOO_COMPLEX, "statement is nested too deeply")


def name_end(data: bytes, start: int, parts: int) -> int:
    """Where a dotted name of `parts` parts that starts at byte `start` ends, or -1."""
    position = start
    for index in range(parts):
        if index:
            position = _SPACE.match(data, position).end()  # type: ignore[union-attr]
            if data[position:position + 1] != b".":
                return -1
            position = _SPACE.match(data, position + 1).end()  # type: ignore[union-attr]
        match = _NAME.match(data, position)
        if match is None:
            return -1
        position = match.end()
    return position


def skip_space(data: bytes, position: int) -> int:
    """The next byte that is not white space."""
    return _SPACE.match(data, position).end()  # type: ignore[union-attr]
