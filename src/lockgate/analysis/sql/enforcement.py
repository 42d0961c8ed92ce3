"""How each glob of a policy's masks is held on one database: rows for the enforcement table (I5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lockgate.analysis.sql.catalogue import Catalogue, Column
from lockgate.analysis.sql.covers import is_named
from lockgate.analysis.sql.masks import TEXTUAL, redacted
from lockgate.model import ColumnMask, MaskMethod

Row = tuple[str, list[str], str | None]


def enforce_masks(masks: tuple[ColumnMask, ...], catalogue: Catalogue) -> list[Row]:
    """For each way of naming columns: the columns that it names, and why it cannot be held, or None.

    A glob or pattern that names nothing is a problem: a mistyped name must not look like protection. (One of a
    label is not, where another of the label's names something here: a label is for every connection.) So is one
    that names system relations, whose columns cannot be masked one by one.
    """
    rows: list[Row] = []
    for mask in masks:
        found = [_row(what, one, catalogue) for what, one in _ways(mask)]
        if mask.label and any(columns for _, columns, _ in found):
            found = [row for row in found if row[1]]
        rows += found
    return rows


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
            return (what, [], "write it as column, relation.column or schema.relation.column")
        if len(parts) == 3 and parts[0] in ("pg_catalog", "information_schema"):
            return (what, [], "columns of system relations cannot be masked; sensitive ones are closed anyway")
    if mask.is_new and catalogue.known is None:
        return (what, [], ("the connection has no list of known columns; write one under its options.known_columns "
                          "(`lockgate columns` prints it)"))
    found = [
        f"{relation.schema}.{relation.name}.{column.name}{_note(column, mask.method)}"
        for relation in catalogue.relations if not relation.is_system
        for column in relation.columns if is_named(mask, relation, column, catalogue.known)
    ]
    if mask.is_new:
        return (what, found or ["(none now)"], None)
    return (what, found, None if found else "names no column of this database")


def _note(column: Column, method: MaskMethod) -> str:
    """What is shown instead of what was asked for, where the type has no such mask."""
    if method is MaskMethod.PARTIAL and column.base not in TEXTUAL:
        return " (redact)" if redacted(column) is not None else " (null)"
    if method is MaskMethod.REDACT and redacted(column) is None:
        return " (null)"
    return ""
