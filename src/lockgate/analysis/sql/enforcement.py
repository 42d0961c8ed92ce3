"""How each glob of a policy's masks is held on one database: rows for the enforcement table (I5)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from lockgate.analysis.sql.catalogue import Catalogue, Column
from lockgate.analysis.sql.covers import is_named
from lockgate.model import ColumnMask

_MOST_COMPARED: Final = 20_000
"""Names among which the closest to a misspelt one is looked for: each costs some microseconds."""


class Row(NamedTuple):
    """One way of naming columns: the word for it, the mask with this way alone, the columns that it names (with their
    full names), and why it cannot be held, or None."""

    what: str
    mask: ColumnMask
    columns: list[tuple[str, Column]]
    problem: str | None


def enforce_masks(masks: tuple[ColumnMask, ...], catalogue: Catalogue) -> list[Row]:
    """A row for each way of naming columns.

    A glob or pattern that names nothing is a problem: a mistyped name must not look like protection. (One of a
    label is not, where another of the label's names something here: a label is for every connection.) So is one
    that names system relations, whose columns cannot be masked one by one.
    """
    rows: list[Row] = []
    for mask in masks:
        found = [_row(what, one, catalogue) for what, one in _ways(mask)]
        if mask.label and any(row.columns for row in found):
            found = [row for row in found if row.columns]
        rows += found
    return rows


def unknown_name(fact: str, name: str, catalogue: Catalogue) -> str | None:
    """Why no statement of this database can have `name` in a fact of `QUALIFIED`, or None: a condition may misspell it."""
    names = column_names(catalogue) if fact == "columns" else [
        f"{relation.schema}.{relation.name}" for relation in catalogue.relations]
    if name in names or name.startswith(("pg_", "information_schema.")):
        return None
    return f"there is no {'column' if fact == 'columns' else 'relation'} {name}{_suggestion(name, names)}"


def column_names(catalogue: Catalogue) -> list[str]:
    """Every column that a label can name, as `schema.relation.column`, in order."""
    return sorted(
        f"{relation.schema}.{relation.name}.{column.name}"
        for relation in catalogue.relations if not relation.is_system and relation.kind not in ("i", "I", "c")
        for column in relation.columns
    )


def _ways(mask: ColumnMask) -> Iterator[tuple[str, ColumnMask]]:
    """The mask for each of its globs, patterns and types alone, with a word for it."""
    bare = replace(mask, columns=(), names=(), types=(), is_new=False)
    for glob in mask.columns:
        yield glob, replace(bare, columns=(glob,))
    for name in mask.names:
        yield f"names {name}", replace(bare, names=(name,))
    for kind in mask.types:
        yield f"type {kind}", replace(bare, types=(kind,))
    if mask.is_new:
        yield "new columns", replace(bare, is_new=True)


def _row(what: str, mask: ColumnMask, catalogue: Catalogue) -> Row:
    for glob in mask.columns:
        parts = glob.split(".")
        if len(parts) > 3 or "" in parts:
            return Row(what, mask, [], "write it as column, relation.column or schema.relation.column")
        if len(parts) == 3 and parts[0] in ("pg_catalog", "information_schema"):
            return Row(what, mask, [], "columns of system relations cannot be masked; sensitive ones are closed anyway")
    if mask.is_new and catalogue.known is None:
        return Row(what, mask, [], ("the connection has no list of known columns; write one under its options.known_columns "
                                   "(`lockgate columns` prints it)"))
    found = [
        (f"{relation.schema}.{relation.name}.{column.name}", column)
        for relation in catalogue.relations if not relation.is_system
        for column in relation.columns if is_named(mask, relation, column, catalogue.known)
    ]
    if found or mask.is_new:
        return Row(what, mask, found, None)
    suggestion = _suggestion(what, _like(what, catalogue)) if mask.columns else ""
    return Row(what, mask, [], f"`{what}` names no column of this database{suggestion}")


def _like(glob: str, catalogue: Catalogue) -> Iterator[str]:
    """The names of columns in the form of a glob: as many parts, and where a part of it stands for many, that part."""
    parts = glob.split(".")
    for name in column_names(catalogue):
        own = name.split(".")[-len(parts):]
        yield ".".join(part if any(mark in part for mark in "*?[") else word for part, word in zip(parts, own, strict=False))


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(islice(dict.fromkeys(known), _MOST_COMPARED)), 1, 0.6)
    return f"; write `{near[0]}`" if near else ""
