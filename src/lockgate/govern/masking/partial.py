"""Partial masks of result values: what `analysis.sql.masks` writes as SQL, computed here.

A value that is one e-mail address keeps its first letter and its domain, any other text of eight characters and more
its last four, the rest nothing.
Only textual types have one; every other is redacted.
"""

from __future__ import annotations

import re
from typing import Final

from lockgate.analysis.sql.builtin_types import REDACTED
from lockgate.analysis.sql.masks import EMAIL, TEXTUAL
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.redaction import Replace, fitted

_EMAIL: Final = re.compile(EMAIL)
_KEPT = 4
_LONG = 8


def partial_mask(column: ColumnType, redact: Replace) -> Replace | None:
    """The mask for a column, None where its type has none."""
    if column.name not in TEXTUAL:
        return None

    def replace(value: bytes) -> bytes | None:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return redact(value)
        # The cast of a char(n) to text drops its blanks.
        return fitted(partial(text.rstrip(" ") if column.name == "bpchar" else text), column)

    return replace


def partial(text: str) -> str:
    """What may be seen of a text."""
    if _EMAIL.fullmatch(text):
        return f"{text[0]}xxx@{text.split('@')[1]}"
    return REDACTED + text[-_KEPT:] if len(text) >= _LONG else REDACTED
