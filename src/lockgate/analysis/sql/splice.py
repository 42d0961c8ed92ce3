"""Textual replacement at the parser's byte offsets. Knows tokens, not meaning.

Positions come from the parse tree; where a name *ends* is found by the scanner's rules for
identifiers. If anything at a position is not what the tree says, the splice is refused.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

import pgparse

from lockgate.analysis.sql.effects import StatementReader
from lockgate.analysis.sql.masks import quote_name
from lockgate.analysis.sql.parser import parse_trees
from lockgate.analysis.sql.reading import Node, Reading, Use
from lockgate.analysis.sql.text import name_end, skip_space

_BLANKS: Final = b" \t\n\r\f\v"
_REPEATABLE: Final = re.compile(rb"\s*REPEATABLE\s*(?=\()", re.IGNORECASE)
_ARGUMENT: Final = re.compile(rb"""[(]|[)]|'[^']*'|"[^"]*"|[^()'"]+""", re.DOTALL)
"""Arguments of a sampling method are numbers; what a backslash or a dollar quote could hide fails to add up and is
refused when the new text is parsed."""
_PART: Final = re.compile(rb"\s*\.\s*")

STAND_IN: Final = "(SELECT)"
"""A sub-select in its shortest form: what stands for a projection where the new text is parsed again."""


class Unspliceable(Exception):
    """The text at a position is not what the parse tree says."""


class Intervals:
    """Byte ranges of the new text that are the gateway's own."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        self._starts = [start for start, _ in ranges]
        self._ends = [end for _, end in ranges]

    def covers(self, position: int) -> bool:
        index = bisect_right(self._starts, position) - 1
        return index >= 0 and position < self._ends[index]


class _Edit(NamedTuple):
    """`text` is what goes on; `outline` is parsed again in its place."""

    text: bytes
    outline: bytes
    is_projection: bool = False


class Splices:
    """Replacements of one text, collected in any order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._edits: dict[tuple[int, int], _Edit] = {}

    @property
    def data(self) -> bytes:
        """The text that is replaced in."""
        return self._data

    def __bool__(self) -> bool:
        return bool(self._edits)

    def relation(self, use: Use, projection: str, stand_in: str = STAND_IN) -> None:
        """Replaces `[ONLY] name [*]` by the projection, with the name as alias where there is none.

        `stand_in` is parsed instead of a projection that was parsed before (`projection`).
        """
        start, end = self._name(use)
        alias = "" if use.alias is not None else f" AS {quote_name(use.name)}"
        command = ""
        if use.is_table_command:
            start = self._word_before(b"TABLE", start)
            command = "SELECT * FROM "
        self._edits[(start, end)] = _Edit(
            f"{command}{projection}{alias}".encode(), f"{command}{stand_in}{alias}".encode(), is_projection=True)

    def take_sample(self, use: Use) -> str:
        """Cuts the TABLESAMPLE clause behind a relation out of the text; it belongs into the projection."""
        if use.sample < 0:
            return ""
        start = self._word_before(b"TABLESAMPLE", use.sample)
        end = name_end(self._data, use.sample, 1)
        dot = _PART.match(self._data, end)
        if end >= 0 and dot is not None:
            end = name_end(self._data, use.sample, 2)
        end = self._arguments_end(end)
        repeatable = _REPEATABLE.match(self._data, end)
        if repeatable is not None:
            end = self._arguments_end(repeatable.end())
        clause = self._data[start:end].decode()
        self._edits[(start, end)] = _Edit(b"", b"")     # a name that is replaced inside of it overlaps: see `apply`
        return f" {clause}"

    def pin(self, use: Use, schema: str) -> None:
        """Writes the schema in front of a bare name."""
        start = use.location
        if name_end(self._data, start, 1) < 0:
            raise Unspliceable("a relation's name")
        prefix = quote_name(schema).encode() + b"."
        self._edits[(start, start)] = _Edit(prefix, prefix, is_projection=True)

    def replace_name(self, location: int, parts: int, text: str) -> None:
        """Another expression in the place of a dotted name, or of a star behind one."""
        data = self._data
        end = name_end(data, location, parts)
        if end < 0:                                 # `t.*`, `*`
            end = location if parts == 1 else name_end(data, location, parts - 1)
            if parts > 1:
                dot = _PART.match(data, end) if end >= 0 else None
                end = -1 if dot is None else dot.end()
            if end < 0 or data[end:end + 1] != b"*":
                raise Unspliceable("a name in RETURNING")
            end += 1
        self._edits[(location, end)] = _Edit(text.encode(), text.encode())

    def insert_behind(self, location: int, parts: int, text: str) -> None:
        """More text behind a dotted name."""
        end = name_end(self._data, location, parts)
        if end < 0:
            raise Unspliceable("a name in GROUP BY")
        self._edits[(end, end)] = _Edit(text.encode(), text.encode())

    def unqualify_all(self, reading: Reading, replaced: set[tuple[str, str]]) -> None:
        """Every `schema.t.column` whose relation was replaced under its own name."""
        for location, names in reading.qualified:
            if (names[-3], names[-2]) in replaced:
                self.unqualify(location, len(names))

    def copy(self, use: Use, has_columns: bool, query: str) -> None:
        """Replaces `name [(columns)]` of a COPY by a query."""
        start, end = self._name(use)
        if has_columns:
            end = self._data.find(b"(", end)
            depth_end = self._closing(end)
            end = depth_end
        self._edits[(start, end)] = _Edit(query.encode(), STAND_IN.encode(), is_projection=True)

    def unqualify(self, location: int, parts: int) -> None:
        """`schema.t.column` becomes `t.column`: the relation is known by its alias now."""
        data = self._data
        keep = name_end(data, location, parts - 2)
        if keep < 0:
            raise Unspliceable("a qualified column")
        dot = _PART.match(data, keep)
        if dot is None:
            raise Unspliceable("a qualified column")
        self._edits[(location, dot.end())] = _Edit(b"", b"")

    def _name(self, use: Use) -> tuple[int, int]:
        data = self._data
        start = use.location
        parts = 1 + (use.schema is not None) + (use.catalog is not None)
        end = name_end(data, start, parts)
        if end < 0:
            raise Unspliceable("a relation's name")
        if not use.inherit and use.kind == "read":
            before = self._blanks_before(start)
            is_bracketed = data[before - 1:before] == b"("
            start = self._word_before(b"ONLY", before - 1 if is_bracketed else start)
            if is_bracketed:
                end = skip_space(data, end)
                if data[end:end + 1] != b")":
                    raise Unspliceable("ONLY")
                end += 1
        else:
            after = skip_space(data, end)
            if data[after:after + 1] == b"*" and use.kind == "read":
                end = after + 1
        return start, end

    def _arguments_end(self, position: int) -> int:
        """The byte after the parenthesis that closes the arguments which begin behind `position`."""
        if position < 0:
            raise Unspliceable("TABLESAMPLE")
        position = skip_space(self._data, position)
        depth = 0
        for token in _ARGUMENT.finditer(self._data, position):
            if token.group() == b"(":
                depth += 1
            elif token.group() == b")":
                depth -= 1
            if depth == 0:
                return token.end() if token.group() == b")" else -1
        raise Unspliceable("TABLESAMPLE")

    def _closing(self, opening: int) -> int:
        """The byte after the parenthesis that closes a plain list of names."""
        position = opening + 1
        data = self._data
        if opening < 0:
            raise Unspliceable("a column list")
        while True:
            position = skip_space(data, position)
            position = name_end(data, position, 1)
            if position < 0:
                raise Unspliceable("a column list")
            position = skip_space(data, position)
            if data[position:position + 1] == b")":
                return position + 1
            if data[position:position + 1] != b",":
                raise Unspliceable("a column list")
            position += 1

    def _blanks_before(self, position: int) -> int:
        """Where the blanks begin that end at a position."""
        data = self._data
        while position > 0 and data[position - 1] in _BLANKS:
            position -= 1
        return position

    def _word_before(self, word: bytes, position: int) -> int:
        """Where the keyword begins that stands, with blanks behind it, before a position. A look back, not a search:
        a text has thousands of them."""
        end = self._blanks_before(position)
        start = end - len(word)
        if start < 0 or self._data[start:end].upper() != word:
            raise Unspliceable(word.decode())
        return start

    def apply(self) -> bytes:
        """The new text."""
        return b"".join(self._pieces(outline=False))

    def outline(self) -> tuple[str, Intervals]:
        """The new text with stand-ins for projections, and where in it they are."""
        ranges: list[tuple[int, int]] = []
        data = b"".join(self._pieces(outline=True, ranges=ranges))
        return data.decode(), Intervals(ranges)

    def _pieces(self, *, outline: bool, ranges: list[tuple[int, int]] | None = None) -> Iterator[bytes]:
        position = length = 0
        for (start, end), edit in sorted(self._edits.items()):
            if start < position:
                raise Unspliceable("overlapping names")
            text = edit.outline if outline else edit.text
            yield self._data[position:start]
            yield text
            length += start - position
            if ranges is not None and edit.is_projection:
                ranges.append((length, length + len(text)))
            length += len(text)
            position = end
        yield self._data[position:]


def require_projection(text: str) -> None:
    """Raises `Unspliceable` unless a projection is one parenthesised SELECT and nothing else."""
    try:
        trees = parse_trees(f"SELECT FROM {text} AS x")
    except (pgparse.PGQueryError, RecursionError):
        raise Unspliceable("its masked form cannot be read") from None
    items = trees[0]["stmt"].get("SelectStmt", {}).get("fromClause", [])
    if len(trees) != 1 or [next(iter(item)) for item in items] != ["RangeSubselect"]:
        raise Unspliceable("its masked form is another statement")


def parsed(text: str) -> list[Node]:
    """The trees of a text that has been read before."""
    try:
        return parse_trees(text)
    except (pgparse.PGQueryError, RecursionError):
        raise Unspliceable("it cannot be read again") from None


def reparse(text: str, count: int) -> Reading:
    """Reads the rewritten text again. Raises `Unspliceable` where it is not what was meant."""
    try:
        trees = parse_trees(text)
    except (pgparse.PGQueryError, RecursionError):
        raise Unspliceable("its rewritten form cannot be read") from None
    if len(trees) != count:
        raise Unspliceable("its rewritten form is another statement")
    reader = StatementReader()
    for tree in trees:
        reader.statement(tree["stmt"])
    return reader.reader.reading
