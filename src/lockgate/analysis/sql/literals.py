r"""The constants written in a statement: where each stands and what value the server reads from it.

Apart from `text`, which only has to know where literals end. Rules of PostgreSQL's scanner under
`standard_conforming_strings = on` (manual, "Lexical Structure", "String Constants"; `scan.l`): plain, `E'…'`,
`U&'…'` and dollar-quoted strings; literals that only white space with a newline parts are one. What is found here is
looked at and can be replaced; it decides nothing about what the statement means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<escape>[eE]'(?:[^'\\]|\\.|'')*+')
    | (?P<unicode>[uU]&'(?:[^']|'')*+'(?:\s+[uU][eE][sS][cC][aA][pP][eE]\s+'(?P<mark>.)')?)
    | (?P<plain>(?<![xXbB\w$])[nN]?'(?:[^']|'')*+')
    | (?P<other>[xXbB]'[^']*+'|(?:[uU]&)?"(?:[^"]|"")*+")
    | (?P<dollar>\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?)\$)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<number>(?<![\w$.])[0-9][0-9_]*(?![\w.]))
    | (?P<parameter>\$[0-9]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_JOINED: Final = re.compile(r"[ \t\f\v]*[\n\r]\s*(?=')")
_REST: Final = re.compile(r"'(?:[^']|'')*+'", re.DOTALL)
_ESCAPED_REST: Final = re.compile(r"'(?:[^'\\]|\\.|'')*+'", re.DOTALL)
_ESCAPE: Final = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))|''", re.DOTALL)
_SIMPLE: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LARGEST: Final = 0x10FFFF


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: `start` and `end` are character offsets in the text, `value` what the server reads.

    `is_number` is true for an unsigned integer; its `value` are its digits.
    """

    start: int
    end: int
    value: str
    is_number: bool = False


def literals(text: str) -> tuple[Literal, ...]:
    """Every string and every unsigned integer of a text without comments, in order."""
    found: list[Literal] = []
    position = 0
    while True:
        match = _TOKEN.search(text, position)
        if match is None:
            return tuple(found)
        position = match.end()
        kind = match.lastgroup
        if kind in ("dollar", "tag"):
            closing = text.find(match.group("dollar"), position)
            end = len(text) if closing < 0 else closing
            found.append(Literal(match.start(), min(end + len(match.group("dollar")), len(text)), text[position:end]))
            position = found[-1].end
        elif kind == "number":
            found.append(Literal(match.start(), position, match.group().replace("_", ""), is_number=True))
        elif kind in ("plain", "escape", "unicode", "mark"):
            position = _string(text, match, found)


def replaced(text: str, changes: Iterable[tuple[Literal, str | None]]) -> str:
    """The text with other values in the literals' places, as plain strings (None is NULL). Ascending order."""
    pieces: list[str] = []
    position = 0
    for literal, value in changes:
        pieces.append(text[position:literal.start])
        # blanks around it: what stands beside a dollar quote or a number may touch it
        pieces.append(" NULL " if value is None else " '" + value.replace("'", "''").replace("\0", "") + "' ")
        position = literal.end
    pieces.append(text[position:])
    return "".join(pieces)


def _string(text: str, match: re.Match[str], found: list[Literal]) -> int:
    """Notes a string with what a newline joins to it; returns where it ends."""
    is_escaped = match.group("escape") is not None
    if match.group("unicode") is not None:
        quoted = match.group()
        inner = quoted[3:quoted.index("'", 3) if "''" not in quoted else _end_of(quoted)]
        found.append(Literal(match.start(), match.end(), _unicode(inner, match.group("mark") or "\\")))
        return match.end()
    quoted = match.group()
    parts = [quoted[quoted.index("'") + 1:-1]]
    end = match.end()
    while (joined := _JOINED.match(text, end)) is not None:
        rest = (_ESCAPED_REST if is_escaped else _REST).match(text, joined.end())
        if rest is None:
            break
        parts.append(rest.group()[1:-1])
        end = rest.end()
    value = "".join(parts)
    value = _ESCAPE.sub(_unescaped, value) if is_escaped else value.replace("''", "'")
    found.append(Literal(match.start(), end, value))
    return end


def _end_of(quoted: str) -> int:
    """Where the first string of ``U&'…' UESCAPE '…'`` ends."""
    match = _REST.match(quoted, 2)
    return match.end() - 1 if match is not None else len(quoted)


def _unescaped(found: re.Match[str]) -> str:
    octal, short, four, eight, other = found.groups()
    for digits, base in ((octal, 8), (short, 16), (four, 16), (eight, 16)):
        if digits is not None:
            code = int(digits, base)
            return chr(code) if code <= _LARGEST else "\ufffd"
    return "'" if other is None else _SIMPLE.get(other, other)


def _unicode(inner: str, mark: str) -> str:
    escape = re.escape(mark)

    def one(found: re.Match[str]) -> str:
        digits = found.group(1) or found.group(2)
        if digits is None:
            return mark
        code = int(digits, 16)
        return chr(code) if code <= _LARGEST else "\ufffd"

    return re.sub(rf"{escape}(?:([0-9A-Fa-f]{{4}})|\+([0-9A-Fa-f]{{6}})|{escape})", one, inner.replace("''", "'"))
