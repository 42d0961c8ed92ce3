"""How each glob of a policy's masks is held on one database: rows for the enforcement table (I5)."""

from __future__ import annotations

from lockgate.analysis.sql.catalogue import Catalogue, Column
from lockgate.analysis.sql.labels import matches
from lockgate.analysis.sql.masks import TEXTUAL, redacted
from lockgate.model import ColumnMask, MaskMethod

Row = tuple[str, list[str], str | None]


def enforce_masks(masks: tuple[ColumnMask, ...], catalogue: Catalogue) -> list[Row]:
    """For each glob: the columns that it names, and why it cannot be held, or None.

    A glob that names nothing is a problem: a mistyped name must not look like protection. So is one
    that names system relations, whose columns cannot be masked one by one.
    """
    return [_row(glob, mask.method, catalogue) for mask in masks for glob in mask.columns]


def _row(glob: str, method: MaskMethod, catalogue: Catalogue) -> Row:
    parts = glob.split(".")
    if len(parts) > 3 or "" in parts:
        return (glob, [], "write it as column, relation.column or schema.relation.column")
    if len(parts) == 3 and parts[0] in ("pg_catalog", "information_schema"):
        return (glob, [], "columns of system relations cannot be masked; sensitive ones are closed anyway")
    found = [
        f"{relation.schema}.{relation.name}.{column.name}{_note(column, method)}"
        for relation in catalogue.relations if not relation.is_system
        for column in relation.columns if matches(glob, relation, column)
    ]
    if not found:
        return (glob, [], "names no column of this database")
    return (glob, found, None)


def _note(column: Column, method: MaskMethod) -> str:
    """What is shown instead of what was asked for, where the type has no such mask."""
    if method is MaskMethod.PARTIAL and column.base not in TEXTUAL:
        return " (redact)" if redacted(column) is not None else " (null)"
    if method is MaskMethod.REDACT and redacted(column) is None:
        return " (null)"
    return ""
