"""What the texts that the catalogue holds read: definitions of views, expressions of generated columns.

Apart from `labels` and `touched`, which both look through them: the one for what is protected, the other for
what a condition of a policy counts.
"""

from __future__ import annotations

from typing import NamedTuple

import pgparse

from lockgate.analysis.sql.parser import Tree, parse_trees
from lockgate.analysis.sql.reading import Reader, Reading


class Definition(NamedTuple):
    """The body of a query, and what it reads."""

    select: Tree
    reading: Reading


def definition_of(text: str) -> Definition | None:
    """The query that a text is; None where it is anything else, or cannot be read."""
    try:
        trees = parse_trees(text)
    except (pgparse.PGQueryError, RecursionError):
        return None
    if len(trees) != 1 or "SelectStmt" not in trees[0]["stmt"]:
        return None
    reader = Reader()
    reader.walk(trees[0]["stmt"], "SelectStmt")
    return Definition(trees[0]["stmt"]["SelectStmt"], reader.reading)
