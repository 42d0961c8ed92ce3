"""A YAML file as plain values that remember their lines.

PyYAML composes nodes (no tags are obeyed, nothing is constructed); values are then made here with
the core schema of YAML 1.2: only ``true``/``false``, ``null``/``~``, integers and decimals are not
text, so ``on``, ``no`` and ``12:30`` stay what was written. Size, depth, aliases and the number of
values are bounded before anything is built.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from lockgate.errors import ConfigError

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
MAX_ALIASES = 64
MAX_VALUES = 100_000

Location = tuple[str | int, ...]
"""Keys and indexes from the top to a value."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "false": False, "False": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]*")
_SPECIAL = re.compile(r"""[:\[,-]\ +([*!&%@`"'])|\[([*!&%@`])""")
"""The beginning of a value that YAML takes for its own: an alias, a tag, an anchor, a text that ends at its quote."""
_PLAIN_TAGS = frozenset({f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")})
_TEXT_KEYS = frozenset({"with"})
"""Keys whose values are words even where they look like ``null``."""


@dataclass(slots=True)
class Document:
    """`content` is the whole file; `lines` and `keys` say on which line a value and its key stand."""

    source: str
    content: object = None
    lines: dict[Location, int] = field(default_factory=dict)
    keys: dict[Location, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def line(self, location: Location) -> int:
        """The line of a value, or of the nearest thing around it that was written."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def read(path: Path, needed: str = "listeners, identity and connections") -> Document:
    """The file's values and lines, or `ConfigError`. Duplicate keys are in `problems`. `needed`: what has to be in it."""
    document = Document(str(path))
    text = _text(path)
    try:
        _require_bounds(text)
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        raise ConfigError(f"{path}:{line + 1}: not valid YAML: {error.problem}{_quoting(text, line) or _indentation(error)}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{path}:1: not valid YAML: it holds characters that YAML does not allow") from None
    except _Bound as bound:
        raise ConfigError(f"{path}:{bound.line}: {bound.args[0]}") from None
    if root is None:
        raise ConfigError(f"{path}:1: the file is empty; it needs {needed}")
    _Builder(document).build_root(root)
    return document


class _Bound(Exception):
    """A bound of this file was passed."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: longer than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}:{data[:error.start].count(10) + 1}: not UTF-8 text") from None


def _quoting(text: str, line: int) -> str:
    """What to write where a value begins with what YAML takes for its own."""
    lines = text.splitlines()
    found = _SPECIAL.search(lines[line]) if line < len(lines) else None
    mark = "" if found is None else found[1] or found[2]
    quote = '"' if mark == "'" else "'"
    return f"; put a value that begins with {mark} in quotes: {quote}{mark}…{quote}" if mark else ""


def _indentation(error: yaml.MarkedYAMLError) -> str:
    """What is wrong where a key stands neither beside its neighbours nor below them."""
    is_key = error.problem in (
        "expected <block end>, but found '<block mapping start>'", "mapping values are not allowed here",
        "expected <block end>, but found '<block sequence start>'")
    return "; indent the line like its neighbours" if is_key else ""


def _require_bounds(text: str) -> None:
    """Walk the parser's events, which need no recursion, before the composer, which does."""
    depth = aliases = 0
    events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.BaseLoader)
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if depth > MAX_DEPTH:
            raise _Bound(line, f"nested deeper than {MAX_DEPTH} levels")
        if aliases > MAX_ALIASES:
            raise _Bound(line, f"more than {MAX_ALIASES} aliases (`*name`)")


class _Builder:
    """Nodes to values."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = 0

    def build_root(self, root: yaml.Node) -> None:
        try:
            self._document.content = self._build(root, (), ())
        except _Bound as bound:
            raise ConfigError(f"{self._document.source}:{bound.line}: {bound.args[0]}") from None

    def _build(self, node: yaml.Node, at: Location, inside: tuple[int, ...]) -> object:
        line = node.start_mark.line + 1
        self._values += 1
        if self._values > MAX_VALUES:
            raise _Bound(line, f"more than {MAX_VALUES} values")
        if id(node) in inside:
            raise _Bound(line, "an alias that contains itself")
        if node.tag not in _PLAIN_TAGS:
            raise _Bound(line, f"the tag {node.tag!r} is not allowed; write plain values, and one that begins with ! in "
                               "quotes: '!(…)'")
        self._document.lines[at] = line
        inside = (*inside, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*at, index), inside) for index, item in enumerate(node.value)]
        return _scalar(typing.cast("yaml.ScalarNode", node), at)

    def _mapping(self, node: yaml.MappingNode, at: Location, inside: tuple[int, ...]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Bound(line, "a key must be a word")
            key = str(key_node.value)
            here = (*at, key)
            if key in found:
                self._document.problems.append(
                    (line, f"`{key}` is here twice (first on line {self._document.keys[here]}); keep one")
                )
                continue
            self._document.keys[here] = line
            found[key] = self._build(value_node, here, inside)
        return found


def _scalar(node: yaml.ScalarNode, at: Location) -> object:
    text = str(node.value)
    if node.style is not None or (at and at[-1] in _TEXT_KEYS):     # quoted, or a block
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
