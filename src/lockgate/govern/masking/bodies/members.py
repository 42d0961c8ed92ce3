"""Texts under names: fields of a form, columns of CSV, elements and attributes of XML, parts.

Apart from JSON, whose values have types: here everything is text, which may be a document of its own.
"""

from __future__ import annotations

import re
from typing import Final

from lockgate.govern.masking.bodies.json_body import JsonRules
from lockgate.govern.masking.bodies.values import Values

_PARTS: Final = re.compile(r"[.\[\]]+")


class Members:
    """What becomes of the named texts of one body."""

    __slots__ = ("_rules", "values")

    def __init__(self, values: Values) -> None:
        self.values = values
        self._rules = JsonRules(values)

    def hides(self, name: str, state: int = 0) -> tuple[int, int]:
        """What hides a text under this name (-1: nothing), and the automaton's state for what lies in it. A name may
        tell where it lies: `person[ssn]`, `person.ssn`.
        """
        chosen = self.values.selection
        inner = chosen.below(state, name)
        at = chosen.tables.scalars[inner]
        if at < 0 and _PARTS.search(name) is not None:
            inner = state
            for part in _PARTS.split(name):
                inner = chosen.below(inner, part) if part else inner
            at = chosen.tables.scalars[inner]
        return at, inner

    def text(self, value: bytes, name: str, state: int = 0) -> bytes:
        """What becomes of a text under this name; the same object where nothing is hidden."""
        at, inner = self.hides(name, state)
        if at >= 0:
            return self.values.hidden_text(at, value)
        return self.looked_at(value, name, inner)

    def looked_at(self, value: bytes, name: str, inner: int) -> bytes:
        """What becomes of a text that no mask names: a document in it is looked into, else it is searched."""
        if value[:1] in b"{[ \t\r\n" and value:
            found = self._rules.documents(value, inner)
            if found is not None:
                return found
        return self.values.text(value, name.encode("utf-8", "replace"))
