"""Textual replacement at the parser's byte offsets. Knows tokens, not meaning.

Positions come from the parse tree; where a name *ends* is found by the scanner's rules for
identifiers. If anything at a position is not what the tree says, the splice is refused.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

import pgparse

from lockgate.analysis.sql.effects import StatementReader
from lockgate.analysis.sql.masks import quote_name
from lockgate.analysis.sql.parser import parse_trees
from lockgate.analysis.sql.reading import Node, Reading, Use
from lockgate.analysis.sql.text import name_end, skip_space

_ONLY: Final = re.compile(rb"\bONLY\s*(\(\s*)?\Z", re.IGNORECASE)
_TABLE: Final = re.compile(rb"\bTABLE\s+\Z", re.IGNORECASE)
_TABLESAMPLE: Final = re.compile(rb"\bTABLESAMPLE\s+\Z", re.IGNORECASE)
_REPEATABLE: Final = re.compile(rb"\s*REPEATABLE\s*(?=\()", re.IGNORECASE)
_ARGUMENT: Final = re.compile(rb"""[(]|[)]|'[^']*'|"[^"]*"|[^()'"]+""", re.DOTALL)
"""Arguments of a sampling method are numbers; what a backslash or a dollar quote could hide fails to add up and is
refused when the new text is parsed."""
_PART: Final = re.compile(rb"\s*\.\s*")


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


class Splices:
    """Replacements of one text, collected in any order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._edits: dict[tuple[int, int], tuple[bytes, bool]] = {}

    @property
    def data(self) -> bytes:
        """The text that is replaced in."""
        return self._data

    def __bool__(self) -> bool:
        return bool(self._edits)

    def relation(self, use: Use, projection: str) -> None:
        """Replaces `[ONLY] name [*]` by the projection, with the name as alias where there is none."""
        start, end = self._name(use)
        replacement = projection if use.alias is not None else f"{projection} AS {quote_name(use.name)}"
        if use.is_table_command:
            match = _TABLE.search(self._data, 0, start)
            if match is None:
                raise Unspliceable("TABLE")
            start = match.start()
            replacement = f"SELECT * FROM {replacement}"  # noqa: S608 - the gateway's own projection
        self._edits[(start, end)] = (replacement.encode(), True)

    def take_sample(self, use: Use) -> str:
        """Cuts the TABLESAMPLE clause behind a relation out of the text; it belongs into the projection."""
        if use.sample < 0:
            return ""
        match = _TABLESAMPLE.search(self._data, 0, use.sample)
        if match is None:
            raise Unspliceable("TABLESAMPLE")
        end = name_end(self._data, use.sample, 1)
        dot = _PART.match(self._data, end)
        if end >= 0 and dot is not None:
            end = name_end(self._data, use.sample, 2)
        end = self._arguments_end(end)
        repeatable = _REPEATABLE.match(self._data, end)
        if repeatable is not None:
            end = self._arguments_end(repeatable.end())
        clause = self._data[match.start():end].decode()
        if any(match.start() < start < end for start, _ in self._edits):
            raise Unspliceable("a sub-select in TABLESAMPLE")
        self._edits[(match.start(), end)] = (b"", False)
        return f" {clause}"

    def pin(self, use: Use, schema: str) -> None:
        """Writes the schema in front of a bare name."""
        start = use.location
        if name_end(self._data, start, 1) < 0:
            raise Unspliceable("a relation's name")
        self._edits[(start, start)] = (quote_name(schema).encode() + b".", True)

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
        self._edits[(location, end)] = (text.encode(), False)

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
        self._edits[(start, end)] = (query.encode(), True)

    def unqualify(self, location: int, parts: int) -> None:
        """`schema.t.column` becomes `t.column`: the relation is known by its alias now."""
        data = self._data
        keep = name_end(data, location, parts - 2)
        if keep < 0:
            raise Unspliceable("a qualified column")
        dot = _PART.match(data, keep)
        if dot is None:
            raise Unspliceable("a qualified column")
        self._edits[(location, dot.end())] = (b"", False)

    def _name(self, use: Use) -> tuple[int, int]:
        data = self._data
        start = use.location
        parts = 1 + (use.schema is not None) + (use.catalog is not None)
        end = name_end(data, start, parts)
        if end < 0:
            raise Unspliceable("a relation's name")
        if not use.inherit and use.kind == "read":
            match = _ONLY.search(data, 0, start)
            if match is None:
                raise Unspliceable("ONLY")
            start = match.start()
            if match.group(1):
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

    def apply(self) -> tuple[bytes, Intervals]:
        """The new text and where in it the projections are."""
        pieces: list[bytes] = []
        ranges: list[tuple[int, int]] = []
        position = length = 0
        for (start, end), (text, is_projection) in sorted(self._edits.items()):
            if start < position:
                raise Unspliceable("overlapping names")
            pieces.append(self._data[position:start])
            length += start - position
            pieces.append(text)
            if is_projection:
                ranges.append((length, length + len(text)))
            length += len(text)
            position = end
        pieces.append(self._data[position:])
        return b"".join(pieces), Intervals(ranges)


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
