"""Statements that differ in their literals only: read once, known again without parsing.

Apart from `analyzer`, which asks here before it parses, because the claim that makes it safe is one of
its own: *nothing that the analysis says depends on these literals*. It rests on three checks, and
whatever fails one takes the full road.

1. **Tokens.** Literals are unsigned integers of at most nine digits and plain `'…'` strings without
   backslash; what stands between them is ASCII without quotes, `$`, `&`, backslash or comments, never
   empty and never only blanks. So every literal is one token of the same kind whatever its value
   (manual, "Lexical Structure"; `scan.l`), and so are the tokens around it. A number that touches a
   letter, digit, dot or `$` and a string behind one (`E'…'`, `U&'…'`) are no literals here.
2. **Tree.** PostgreSQL's grammar chooses by token kinds. The places where an action of the grammar
   reads a value (type modifiers, the sign of a constant, counts of FETCH …) leave no plain constant
   with that value at the literal's own position; each literal must be found as one.
3. **Meaning.** Of the values of constants, the analysis reads those in conditions of UPDATE and DELETE
   (`conditions`), of `set_config` and of utility statements, and positions in ORDER BY and GROUP BY. So there is one query and nothing else,
   without settings; and where it changes or deletes rows, literals stand beside a bare column, in a
   condition without OR and NOT.

The text that is judged, recorded and forwarded stays the new one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import MISSING, fields, replace
from typing import Any, Final

import pgparse

from lockgate.analysis.sql.effects import read
from lockgate.analysis.sql.parser import nodes, parse_trees
from lockgate.analysis.sql.statement import Masked, Statement

LONGEST: Final = 4_096
"""Characters of a text that is looked at. Too short for a nesting that the parser's stack could not hold (`text.MAX_CHAIN`)."""
LONGEST_MASKED: Final = 1_048_576
MOST_LITERALS: Final = 128

_LITERAL: Final = re.compile(
    r"""((?<![\w.$])[0-9]{1,9}+(?![\w.])|(?<![\w$&"'])'(?:[^'\\\0\ud800-\udfff]|'')*+')""", re.ASCII
)
_MARK: Final = re.compile(r"'mark [0-9]{9}'|9000[0-9]{5}")
_BETWEEN: Final = re.compile(r"[A-Za-z0-9_ \t\n\r(),.;*=<>!+\-/%|:\[\]]*")
_WEIGHT: Final = 2_000
"""Bytes of a statement that was known by its shape, besides its text and literals."""
_QUERIES: Final = frozenset(("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt"))
_BESIDE_COLUMN: Final = frozenset(("AEXPR_OP", "AEXPR_IN", "AEXPR_BETWEEN"))

_READ: Final = frozenset(("typmods", "sortClause", "groupClause", "distinctClause"))
"""Parts whose constants mean something: the grammar reads FLOAT(24) and INTERVAL(3), and `ORDER BY 2` is a column."""

_CARRIED: Final = frozenset(("returns_rows_maybe", "reading", "shape", "literals", "weight"))
_DEFAULTS: Final = tuple(
    (one.name, one.default) for one in fields(Statement) if one.default is not MISSING and one.name not in _CARRIED
)
"""What a field must be where `Shape.filled` leaves it out; a new field of `Statement` is in here by itself."""

Pieces = tuple[tuple[str, ...], tuple[bool, ...]]
"""The texts around the literals, and which literals are strings."""


class Shape:
    """One statement with its literals taken out."""

    __slots__ = ("_marks", "_masked", "_masked_pieces", "statement")

    def __init__(self, statement: Statement, marks: tuple[str, ...]) -> None:
        self.statement = statement
        """The same statement with marks for literals; its `reading` is what masks are planned on."""
        self._marks = marks
        self._masked: Masked | None = None
        self._masked_pieces: list[str] | None = None

    def filled(self, text: str, literals: list[str]) -> Statement:
        """The statement of `text`, which has this shape. Its `reading` is None: positions differ."""
        one = self.statement
        size = len(text) if text.isascii() else len(text.encode())
        return Statement(
            text, one.key + size.to_bytes(4, "big"), one.verbs, {**one.facts, "text_length": size}, one.objects,
            one.count, one.is_empty, one.is_opaque, one.changes_catalogue, returns_rows_maybe=one.returns_rows_maybe,
            shape=self, literals=literals, weight=_WEIGHT + 4 * size,
        )

    def masked(self, masked: Masked, statement: Statement) -> Masked | None:
        """What the mask plan of `self.statement` is for a statement of this shape, or None."""
        if not masked.digest:
            return replace(masked, text=statement.text)
        if self._masked is not masked:
            self._masked = masked
            self._masked_pieces = _cut(masked.text, self._marks)
        pieces = self._masked_pieces
        if pieces is None:
            return None
        text = _join(pieces, statement.literals)
        if len(text) > LONGEST_MASKED:
            return None
        digest = hashlib.sha256(masked.masks_digest.encode() + text.encode()).hexdigest()
        return replace(masked, text=text, digest=digest)


def split(text: str) -> tuple[Pieces, list[str]] | None:
    """A text's pieces and its literals; None where it has none or is too long."""
    if len(text) > LONGEST:
        return None
    parts = _LITERAL.split(text)
    if len(parts) == 1:
        return None
    literals = parts[1::2]
    return (tuple(parts[::2]), tuple([literal[0] == "'" for literal in literals])), literals


def learn(pieces: Pieces) -> Shape | None:
    """The shape that these pieces are, or None where a literal's value might matter."""
    texts, are_strings = pieces
    if len(are_strings) > MOST_LITERALS or not all(map(_is_plain, texts)):
        return None
    if not texts[0].strip() or any(not between.strip() for between in texts[1:-1]):
        return None                                 # touching, or strings that a newline joins
    marks = tuple(f"'mark {number:09}'" if is_string else str(900_000_000 + number)     # `_MARK` finds them
                  for number, is_string in enumerate(are_strings))
    text = _join(list(texts), list(marks))
    try:
        trees = parse_trees(text)
    except (pgparse.PGQueryError, RecursionError):
        return None
    if len(trees) != 1 or next(iter(trees[0]["stmt"])) not in _QUERIES:
        return None
    found = _constants(trees[0]["stmt"])
    if found is None:
        return None
    position = 0
    for before, mark in zip(texts, marks, strict=False):
        position += len(before)
        if found.pop(position, None) != mark:
            return None
        position += len(mark)
    statement = read(trees, text, text.encode())
    if not _is_query_alone(statement):
        return None
    return Shape(statement, marks)


def _is_plain(text: str) -> bool:
    return _BETWEEN.fullmatch(text) is not None and "--" not in text and "/*" not in text


def _is_query_alone(one: Statement) -> bool:
    """One query, and nothing in any field that `Shape.filled` does not carry over."""
    reading = one.reading
    return (
        one.count == 1 and not one.is_opaque and not one.changes_catalogue
        and reading is not None and not reading.settings and not reading.utilities
        and all(getattr(one, name) == default for name, default in _DEFAULTS)
    )


def _constants(statement: dict[str, Any]) -> dict[int, str] | None:
    """Position → text of every integer and string that may stand for any other; None where none may."""
    found: dict[int, str] = {}
    changes_rows = _has(statement, ("UpdateStmt", "DeleteStmt", "MergeStmt"))
    stack: list[tuple[Any, bool]] = [(statement, not changes_rows)]
    while stack:
        value, is_free = stack.pop()
        if type(value) is list:
            stack.extend((item, is_free) for item in value)
            continue
        if type(value) is not dict:
            continue
        for key, child in value.items():
            if key == "A_Const":
                if is_free:
                    _note(child, found)
            elif key in _READ:
                continue                            # their constants stay unfound
            elif not changes_rows:
                stack.append((child, True))
            elif key == "MergeStmt" or (key == "BoolExpr" and child.get("boolop") != "AND_EXPR"):
                return None
            elif key == "A_Expr":
                sides = _sides(child)
                if sides is None:
                    return None
                stack.append((sides, True))
            elif key == "ResTarget" and "A_Const" in child.get("val", ()):
                stack.append((child["val"], True))      # SET column = literal
            else:
                stack.append((child, False))
    return found


def _sides(expression: dict[str, Any]) -> list[Any] | None:
    """The constants of an expression that compares one bare column with constants, [] where it holds none
    of its own; None where something else could be compared with something that holds a literal."""
    left, right = expression.get("lexpr", {}), expression.get("rexpr", {})
    items = right["List"].get("items", []) if "List" in right else [right]
    if not all(_is_simple(item) for item in (left, *items)):
        return None
    if not any("A_Const" in item for item in (left, *items)):
        return []
    if expression.get("kind") not in _BESIDE_COLUMN:
        return []                                   # its literals stay unfound
    if "ColumnRef" in left:
        return [item for item in items if "A_Const" in item]
    return [left] if "ColumnRef" in right else []


def _is_simple(operand: dict[str, Any]) -> bool:
    return not operand or "ColumnRef" in operand or "A_Const" in operand or "ParamRef" in operand


def _has(statement: Any, names: tuple[str, ...]) -> bool:
    return any(name in node for node in nodes(statement) for name in names)


def _note(constant: dict[str, Any], found: dict[int, str]) -> None:
    position = constant.get("location", 0)
    if "ival" in constant:
        found[position] = str(constant["ival"].get("ival", 0))
    elif "sval" in constant:
        found[position] = "'" + constant["sval"].get("sval", "") + "'"


def _cut(text: str, marks: tuple[str, ...]) -> list[str] | None:
    """The text between the marks; None unless each stands in it once, in order."""
    if _MARK.findall(text) != list(marks):
        return None
    pieces: list[str] = []
    start = 0
    for mark in marks:
        position = text.find(mark, start)
        pieces.append(text[start:position])
        start = position + len(mark)
    pieces.append(text[start:])
    return pieces


def _join(pieces: list[str], literals: list[str]) -> str:
    parts = [""] * (len(pieces) + len(literals))
    parts[::2] = pieces
    parts[1::2] = literals
    return "".join(parts)
