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
from decimal import Decimal
from typing import Final

_IN_FRONT: Final = "-( \t\n\r\f\v"
_BLANK: Final = r"[ \t\n\r\f\v]"
_TOKEN: Final = re.compile(
    r"""
      (?P<escape>[eE]'(?:[^'\\]|\\.|'')*+')
    | (?P<unicode>[uU]&'(?:[^']|'')*+')
    | (?P<bits>[xXbB]'[^']*+')
    | (?P<name>(?:[uU]&)?"(?:[^"]|"")*+")
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+)
    | (?P<plain>'(?:[^']|'')*+')
    | (?P<parameter>\$[0-9]++)
    | (?P<dollar>\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+)?)\$)
    | (?P<number>0[xX](?:_?[0-9A-Fa-f])++|0[oO](?:_?[0-7])++|0[bB](?:_?[01])++
        |(?:[0-9](?:_?[0-9])*+(?:\.(?!\.)(?:[0-9](?:_?[0-9])*+)?)?|\.[0-9](?:_?[0-9])*+)(?:[eE][+-]?[0-9](?:_?[0-9])*+)?)
    """,
    re.VERBOSE | re.DOTALL,
)
"""Tried at each place from left to right, so a letter in front of a quote is a prefix only where no word holds it."""
_JOINED: Final = re.compile(r"[ \t\f\v]*+[\n\r][ \t\n\r\f\v]*+(?=')")
_UESCAPE: Final = re.compile(rf"{_BLANK}*+[uU][eE][sS][cC][aA][pP][eE]{_BLANK}*+")
_REST: Final = re.compile(r"'(?:[^']|'')*+'", re.DOTALL)
_ESCAPED_REST: Final = re.compile(r"'(?:[^'\\]|\\.|'')*+'", re.DOTALL)
_ESCAPE: Final = re.compile(
    rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))|''", re.DOTALL)
_SIMPLE: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_LARGEST: Final = 0x10FFFF
_MOST_DIGITS: Final = 400


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: `start` and `end` are character offsets in the text, `value` what the server reads.

    `is_number` is true for a number without sign; its `value` is decimal, and an integer's are its digits alone.
    """

    start: int
    end: int
    value: str
    is_number: bool = False


def literals(text: str) -> tuple[Literal, ...]:
    """Every string and every number of a text without comments, in order."""
    found: list[Literal] = []
    position = 0
    while True:
        match = _TOKEN.search(text, position)
        if match is None:
            return tuple(found)
        position = _end_of(text, match, found)


def literal_places(text: str) -> dict[int, int]:
    """Where in the UTF-8 of a text its constants begin for the parser → which of `literals` it is. A minus is a
    part of the constant."""
    found: dict[int, int] = {}
    start = offset = 0
    for index, literal in enumerate(literals(text)):
        offset += literal.start - start if text.isascii() else len(text[start:literal.start].encode())
        start = literal.start
        found[offset] = index
        before = start - 1
        while before >= 0 and text[before] in _IN_FRONT:
            if text[before] == "-":
                found[offset - (start - before)] = index
            before -= 1
    return found


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


def _end_of(text: str, match: re.Match[str], found: list[Literal]) -> int:
    """Notes the literal that a token begins; returns where it, or the token, ends."""
    kind = match.lastgroup
    if kind in ("dollar", "tag"):
        start = match.end()
        closing = text.find(match.group("dollar"), start)
        end = len(text) if closing < 0 else closing
        found.append(Literal(match.start(), min(end + len(match.group("dollar")), len(text)), text[start:end]))
        return found[-1].end
    if kind == "number":
        found.append(Literal(match.start(), match.end(), _decimal(match.group()), is_number=True))
    elif kind in ("plain", "escape", "unicode"):
        return _string(text, match, found)
    elif kind == "bits":
        return _joined(text, match.end(), _REST, [])
    return match.end()


def _string(text: str, match: re.Match[str], found: list[Literal]) -> int:
    """Notes a string with what a newline joins to it; returns where it ends."""
    quoted = match.group()
    parts = [quoted[quoted.index("'") + 1:-1]]
    if match.lastgroup == "escape":
        end = _joined(text, match.end(), _ESCAPED_REST, parts)
        value = _paired(_ESCAPE.sub(_unescaped, "".join(parts).encode("utf-8", "surrogatepass")))
    elif match.lastgroup == "unicode":
        end = _joined(text, match.end(), _REST, parts)
        mark, end = _mark(text, end)
        value = _unicode("".join(parts).replace("''", "'"), mark)
    else:
        end = _joined(text, match.end(), _REST, parts)
        value = "".join(parts).replace("''", "'")
    found.append(Literal(match.start(), end, value))
    return end


def _joined(text: str, end: int, form: re.Pattern[str], parts: list[str]) -> int:
    """Adds the pieces that white space with a newline joins to a string; returns where the last one ends."""
    while (joint := _JOINED.match(text, end)) is not None:
        rest = form.match(text, joint.end())
        if rest is None:
            break
        parts.append(rest.group()[1:-1])
        end = rest.end()
    return end


def _mark(text: str, end: int) -> tuple[str, int]:
    """The character that escapes in U&'…', and where its UESCAPE ends: it names it by a string of any form."""
    word = _UESCAPE.match(text, end)
    following = None if word is None else _TOKEN.match(text, word.end())
    if following is None or following.lastgroup not in ("plain", "escape", "dollar", "tag"):
        return "\\", end
    found: list[Literal] = []
    behind = _end_of(text, following, found)
    return (found[0].value, behind) if len(found[0].value) == 1 else ("\\", end)


def _decimal(number: str) -> str:
    """A number as decimal digits, without a fraction where there is none, however it is written."""
    bare = number.replace("_", "").lower()
    if bare[:2] in ("0x", "0o", "0b"):
        return str(int(bare, 0)) if len(bare) <= _MOST_DIGITS else bare
    if bare.isdigit():
        return bare
    value = Decimal(bare)
    if len(bare) > _MOST_DIGITS or abs(value.adjusted()) > _MOST_DIGITS:
        return bare
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _unescaped(found: re.Match[bytes]) -> bytes:
    octal, byte, four, eight, other = found.groups()
    if octal is not None:
        return bytes((int(octal, 8) & 0xFF,))
    if byte is not None:
        return bytes((int(byte, 16),))
    if four is not None or eight is not None:
        code = int(four or eight, 16)
        return chr(code).encode("utf-8", "surrogatepass") if code <= _LARGEST else "\ufffd".encode()
    return b"'" if other is None else _SIMPLE.get(other, other)


def _unicode(inner: str, mark: str) -> str:
    escape = re.escape(mark)

    def one(found: re.Match[str]) -> str:
        digits = found.group(1) or found.group(2)
        if digits is None:
            return mark
        code = int(digits, 16)
        return chr(code) if code <= _LARGEST else "\ufffd"

    decoded = re.sub(rf"{escape}(?:([0-9A-Fa-f]{{4}})|\+([0-9A-Fa-f]{{6}})|{escape})", one, inner)
    return _paired(decoded.encode("utf-8", "surrogatepass"))


def _paired(data: bytes) -> str:
    """Text whose characters above U+FFFF may be written as two halves."""
    try:
        return data.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")
