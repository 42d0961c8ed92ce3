"""What a result says of a column's type, and what of it a mask has to respect.

Apart from `column_types`, which sorts types by what detectors may find in them: here is one column with its modifier
(``atttypmod``, as RowDescription gives it). A domain goes over the wire as its base type (``getBaseTypeAndTypmod``),
so nobody who reads a result looks for its CHECK.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lockgate.analysis.sql.builtin_types import BY_ARRAY, BY_OID, BuiltinType

_HEADER: Final = 4                                  # VARHDRSZ, added to the modifiers of these types
_NAME_BYTES: Final = 63                             # NAMEDATALEN - 1


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column's type: its OID on the wire and its modifier (-1: none)."""

    oid: int
    typmod: int = -1

    @property
    def builtin(self) -> BuiltinType | None:
        """The built-in type, None for an array and for every type that has no constant (enums, composites …)."""
        return BY_OID.get(self.oid)

    @property
    def name(self) -> str:
        """The built-in type's name, or an empty text."""
        found = BY_OID.get(self.oid)
        return "" if found is None else found.name

    @property
    def element(self) -> ColumnType | None:
        """The type of an array's elements (the modifier is theirs), None for what is no array of a built-in type."""
        found = BY_ARRAY.get(self.oid)
        return None if found is None else ColumnType(found.oid, self.typmod)

    @property
    def limit(self) -> int | None:
        """Characters that a text of this type may have, or bits of a bit string; None where there is no bound."""
        name = self.name
        if name == "name":
            return _NAME_BYTES
        if name in ("varchar", "bpchar") and self.typmod > _HEADER:
            return self.typmod - _HEADER
        return self.typmod if name in ("bit", "varbit") and self.typmod > 0 else None

    @property
    def precision(self) -> tuple[int, int] | None:
        """(digits, digits behind the point) of a numeric with a modifier (numeric.c, ``make_numeric_typmod``)."""
        if self.name != "numeric" or self.typmod < _HEADER:
            return None
        packed = self.typmod - _HEADER
        return (packed >> 16) & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024
