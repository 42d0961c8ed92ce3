"""PostgreSQL's own parser: text to parse trees, as nested dicts.

Apart from `analyzer` because more than one place parses: shapes, rewritten texts, view definitions. Two
things about it cost more than the grammar does, so they are settled here, once:

- libpg_query gives its tree as JSON, and decoding it is four fifths of the time. `pgparse` looks its
  decoder up as `pgparse.json` at each call; orjson takes its place and makes the same objects.
- A big tree is tens of thousands of new dicts that refer to no older object and never form a cycle. The
  collector would walk them again and again and find nothing, so it rests while one is made and read.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import orjson
import pgparse

Tree = dict[str, Any]


class _Decoder:
    """What `pgparse` asks of the module `json`."""

    @staticmethod
    def loads(text: str) -> Any:
        """The value. Raises `RecursionError` above orjson's 1,024 levels, as `json` would at Python's limit."""
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            raise RecursionError("the parse tree is nested too deeply") from None


pgparse.json = _Decoder


def parse_trees(text: str) -> list[Tree]:
    """The parse trees of a string, one per statement.

    Raises `pgparse.PGQueryError` in PostgreSQL's words, and `RecursionError` where the tree is too deep.
    The text has no NUL, and passed `text.require_parsable` if it is a client's.
    """
    found: list[Tree] = pgparse.parse(text)
    return found


def nodes(value: Any) -> Iterator[Tree]:
    """Every node (dict) of a tree, of a list of trees or of a part of one: a node before those inside it."""
    stack = [value]
    while stack:
        node = stack.pop()
        if type(node) is dict:
            yield node
            stack.extend(node.values())
        elif type(node) is list:
            stack.extend(node)


class CollectorRests:
    """Within this block the cyclic garbage collector does not run. Nests."""

    __slots__ = ("_was_on",)

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._was_on:
            gc.enable()


