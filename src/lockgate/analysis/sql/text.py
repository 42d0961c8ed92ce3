"""The text of a statement before it is parsed: comments, how much work it is, and where a name ends.

PostgreSQL's scanner rules (manual, "Lexical Structure"; `src/backend/parser/scan.l`), as far as they
decide what is a comment and what is inside a literal. `strip_comments` need not be right for safety: what
is parsed, judged, recorded and forwarded is always its result, so a difference to the server's scanner
could only turn a valid statement into an invalid one. `require_parsable` has to be right: a literal's end
that it misses would hide the nesting behind it from the guard of the parser's C stack.
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

MOST_WORK: Final = 45_875
"""Units of work that reading one text may cost, a microsecond each or less: a word, a bracket or an operator
is two, a value and a comma are one, a statement eight more. A thousand rows of ten parameters with casts are 44,000."""

MOST_COMMENTS: Final = 10_000

MAX_CHAIN: Final = 50_000
"""Steps that may depend on each other in a row. Where the grammar recurses on the left, the printer of the
tree overflows a C stack of 8 MiB at 65,000 levels of two steps (`a || b`) and 130,000 of one (`NOTNULL`).
Where it recurses on the right, Bison's own limit of 10,000 guards. A tree that comes out is refused far
earlier (`parser`)."""

_HINT: Final = "Bulk data belongs into parameters or COPY. The limits are set by limits.statement of the gateway."

_WORD: Final = r"A-Za-z_\x80-\U0010ffff"
_RUN: Final = rf"""(?:
      [A-DF-Za-df-z_\x80-\U0010ffff][{_WORD}0-9$]*+
    | [eE](?!')[{_WORD}0-9$]*+
    | \$[0-9]++
    | [^{_WORD}$'"/-]++
    | -(?!-) | /(?!\*)
    | \$(?!(?:[{_WORD}][{_WORD}0-9]*+)?\$)
  )++"""
"""A stretch without literals and comments; whole words, so that an E in front of a quote is one by itself."""
_ESCAPED: Final = r"(?:[^'\\]++|\\.|'(?:[ \t\f\v]*+[\n\r][ \t\n\r\f\v]*+)?')*+(?:'|\Z)"
"""Behind the first quote of a string with escapes; it goes on behind a newline."""
_PLAIN: Final = r"""'[^']*+(?:'|\Z) | "[^"]*+(?:"|\Z)"""
_TAG: Final = rf"((?:[{_WORD}][{_WORD}0-9]*+)?)"
_STRETCH: Final = re.compile(
    rf"""(?: {_RUN} | [eE]'(?P<escaped>{_ESCAPED}) | {_PLAIN} | \${_TAG}\$ (?:.*?\$\2\$ | .*+) )*+""",
    re.VERBOSE | re.DOTALL,
)
"""All that stands before a comment."""
_LINE: Final = re.compile(r"--[^\n\r]*")
_REST: Final = re.compile(rf"[ \t\n\r\f\v]*+'{_ESCAPED}", re.DOTALL)
_BLOCK_EDGE: Final = re.compile(r"/\*|\*/")
_OUTLINE: Final = re.compile(
    rf"""({_RUN})?+ (?: (--|/\*) | (?=(.)) (?: [eE]'{_ESCAPED} | {_PLAIN} | \${_TAG}\$ (?:.*?\$\4\$ | .*+)) | \Z )""",
    re.VERBOSE | re.DOTALL,
)
"""A stretch and what is behind it: groups are the stretch, a comment, the first sign of a literal or quoted name."""
_NAME: Final = re.compile(
    rb"""(?:[uU]&)?"(?:[^"]|"")*"|[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*""", re.VERBOSE
)
_BLANKS: Final = " \t\n\r\f\v"
_SPACE: Final = re.compile(rb"[ \t\n\r\f\v]*")
_NESTING: Final = re.compile(
    r"""(?P<open>[(\[])|(?P<close>[)\]])|(?P<comma>,)|(?P<semicolon>;)
      | (?P<join>\b(?:union|intersect|except|join)\b)
      | (?P<step>[A-Za-z_0-9$.\x80-\U0010ffff]+|[^\s\w])""",
    re.VERBOSE | re.IGNORECASE,
)


def _class_of(byte: int) -> int:
    char = chr(byte)
    if byte >= 0x80 or char.isalpha() or char == "_":
        return ord("a")
    if char.isdigit() or char == "$":
        return ord("0")
    return byte if char in ".':" else ord(" ")


_BEFORE: Final = (b" ", b".", b"'", b":")
_CLASSES: Final = bytes(map(_class_of, range(256)))
_NO_SIGNS: Final = bytes(byte for byte in range(256) if chr(_class_of(byte)) in "a0'" or chr(byte) in f"{_BLANKS},")


def most_work(limit: int) -> int:
    """The bound on work that goes with a limit on bytes: as much more as somebody has raised the limit."""
    return max(MOST_WORK, limit * 7 // 40)


def require_readable(text: str, limit: int) -> bytes:
    """The statement as UTF-8. Refuses NUL (the parser would stop there), lone surrogates and length."""
    if "\0" in text:
        raise NotUnderstood(NOT_IN_REPERTOIRE, 'invalid byte sequence for encoding "UTF8": 0x00')
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise NotUnderstood(NOT_IN_REPERTOIRE, 'invalid byte sequence for encoding "UTF8"') from None
    if len(data) > limit:
        raise NotUnderstood(TOO_LARGE, f"statement is longer than {limit} bytes", hint=_HINT)
    return data


def strip_comments(text: str) -> str:
    """The same statement without comments; everything else stays byte for byte.

    A block comment and the blanks behind it become one space, or none where one stands before it:
    the same statement with another comment is the same text. A line comment vanishes (its newline
    stays), so that two literals that the newline joins are still joined. Refuses more than
    `MOST_COMMENTS`.
    """
    if "--" not in text and "/*" not in text:
        return text
    kept: list[str] = []
    position, end = 0, len(text)
    goes_on = False             # the last literal was E'…', and blanks with a newline followed
    for _ in range(MOST_COMMENTS + 1):
        start = position
        rest = _REST.match(text, position) if goes_on else None
        match = _STRETCH.match(text, position if rest is None else rest.end())
        assert match is not None                        # it matches nothing at all as well
        position = match.end()
        if position > start:                            # no empty piece is kept: `kept[-1]` ends what stands before
            kept.append(text[start:position])
        if position == end:
            return "".join(kept)
        escaped = match.end("escaped") if rest is None or match.end("escaped") >= 0 else rest.end()
        blanks = text[escaped:position] if escaped >= 0 else "x"
        goes_on = not blanks.strip(_BLANKS) and ("\n" in blanks or "\r" in blanks)
        line = _LINE.match(text, position)
        if line is not None:
            position = line.end()
            continue
        if kept and not kept[-1][-1].isspace():
            kept.append(" ")
        position = _after_block(text, position)
        while position < end and text[position] in " \t":
            position += 1
        goes_on = False
    raise NotUnderstood(TOO_LARGE, f"statement has more than {MOST_COMMENTS} comments", hint=_HINT)


def _after_block(text: str, start: int) -> int:
    """The position after a (nested) block comment that opens at `start`."""
    depth = 0
    for edges, edge in enumerate(_BLOCK_EDGE.finditer(text, start)):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
        if edges > MOST_COMMENTS:
            raise NotUnderstood(TOO_LARGE, f"statement has more than {MOST_COMMENTS} comments", hint=_HINT)
    raise NotUnderstood(SYNTAX_ERROR, 'unterminated /* comment', start + 1)


def require_parsable(text: str, data: bytes, limit: int) -> None:
    """Refuses, before it is parsed, what would cost too much or could overflow the parser's C stack.

    `data` is the text as UTF-8, without comments; `limit` is the limit on bytes. First all of it is
    weighed as if nothing were inside a literal, which is fast and too much; only if that is more than
    is allowed, literals are told apart.
    """
    most = most_work(limit)
    at_once = min(most, MAX_CHAIN)
    if len(data) * 4 <= at_once or _work(data, data.translate(_CLASSES)) <= at_once:
        return
    if data.count(b"'") > 2 * most:                     # more strings than that, or one of nearly nothing but quotes
        raise NotUnderstood(TOO_LARGE, f"statement has more than {2 * most} quotes", hint=_HINT)
    text = _outline(text)
    data = b" ".join(text.encode().split())
    classes = data.translate(_CLASSES)
    casts = classes.count(b"a'") + classes.count(b"a '")        # DATE '…' is more than a value
    work = _work(data, classes) - data.count(b"'") + 2 * casts
    if work > most:
        raise NotUnderstood(TOO_LARGE, f"statement has too many words, values and signs: {work} of {most}", hint=_HINT)
    if work - data.count(b",") > MAX_CHAIN:
        _require_flat(text)


def _outline(text: str) -> str:
    """The text with a mark for each literal and a word for each quoted name."""
    pieces: list[str] = []
    for run, comment, sign, _ in _OUTLINE.findall(text):
        if comment:
            raise NotUnderstood(SYNTAX_ERROR, "a comment in this statement is not understood")
        pieces.append(run)
        if sign:
            pieces.append(" q " if sign == '"' else "'")
    return "".join(pieces)


def _work(data: bytes, classes: bytes) -> int:
    """What it costs to read a text, never less than for what is outside of literals; a quote is two."""
    words = sum([classes.count(before + b"a") for before in _BEFORE]) + classes.startswith(b"a")
    values = sum([classes.count(before + b"0") for before in _BEFORE]) - 3 * classes.count(b"0.0")
    casts = data.count(b"::") + classes.count(b"0::") + classes.count(b"'::")      # of a value: with its type
    signs = len(data.translate(None, _NO_SIGNS)) + 3 * data.count(b";") - casts
    return 2 * (words + signs + data.count(b"'")) + values + data.count(b",")


def require_flat(text: str) -> None:
    """Refuses what could overflow the parser's C stack in the body of a function, which a limit on work would be in
    the way of: comments and literals are told apart here."""
    _require_flat(_outline(strip_comments(text)))


def _require_flat(text: str) -> None:
    """An upper bound of the tree's depth, for a text whose literals are marks: operators and words since
    the last comma of each open bracket, summed over the open brackets, and every set operation and join."""
    levels = [0]
    total = joins = 0
    for piece in _NESTING.finditer(text):
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
