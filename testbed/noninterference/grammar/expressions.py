"""Expressions of a wanted type over the columns in scope."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from testbed.noninterference.grammar.schema import Column
from testbed.noninterference.grammar.templates import AGGREGATES, CONSTANTS, MADE, RISKY, WINDOWS

Scope = Sequence[Column]
SubSelect = Callable[[tuple[str, ...], Scope, int], str]

_HOLE: Final = re.compile(r"\{(" + "|".join((*CONSTANTS, "col")) + r")\}")
_COMPARED: Final = ("int", "int", "text", "text", "text", "num", "float", "date", "ts", "tstz", "bool", "uuid", "jsonb",
                    "bytea", "texts", "ints", "tier", "inet", "range", "time", "span")
"""Groups whose values can be compared and sorted; the common ones more often."""
_OPERATORS: Final = ("=", "=", "<", ">", "<=", ">=", "<>", "is distinct from", "is not distinct from")


@dataclass
class Expressions:
    """Makes expressions. `select` makes a sub-select of given groups; `windows` are the names of WINDOW in reach."""

    dice: random.Random
    select: SubSelect
    windows: list[str] = field(default_factory=list)

    def make(self, group: str, scope: Scope, depth: int) -> str:
        """An expression of the group: a column where there is one, else something made of columns."""
        dice = self.dice
        columns = [column for column in scope if column.group == group]
        roll = dice.random()
        if depth <= 0 or roll < 0.35:
            if columns and dice.random() < 0.8:
                return dice.choice(columns).text
            return dice.choice(CONSTANTS[group])
        if group == "bool" and roll < 0.7:
            return self._condition(scope, depth - 1)
        if roll < 0.45:
            return self._case(group, scope, depth - 1)
        if roll < 0.53:
            return f"({self.select((group,), scope, depth - 1)} limit 1)"
        if roll < 0.56 and group in RISKY:
            return self._filled(dice.choice(RISKY[group]), scope, depth - 1)
        if group not in MADE:
            return dice.choice(CONSTANTS[group])
        return self._filled(dice.choice(MADE[group]), scope, depth - 1)

    def aggregate(self, group: str, scope: Scope, depth: int) -> str | None:
        """An aggregate call of the group over the rows of the scope, or None where there is none."""
        if group not in AGGREGATES:
            return None
        return self._filled(self.dice.choice(AGGREGATES[group]), scope, depth - 1)

    def window(self, group: str, scope: Scope, depth: int) -> str | None:
        """A window function call of the group, or None."""
        if group not in WINDOWS:
            return None
        dice = self.dice
        call = self._filled(dice.choice(WINDOWS[group]), scope, depth - 1)
        if self.windows and dice.random() < 0.4:
            return f"{call} over {dice.choice(self.windows)}"
        return f"{call} over ({self.window_definition(scope, depth - 1)})"

    def window_definition(self, scope: Scope, depth: int) -> str:
        """What stands in OVER (…) or WINDOW w AS (…)."""
        dice = self.dice
        words = []
        if dice.random() < 0.5:
            words.append(f"partition by {self.key(scope, depth)}")
        if dice.random() < 0.8:
            words.append(f"order by {self.sort(scope, depth)}")
            if dice.random() < 0.3:
                words.append(dice.choice((
                    "rows between unbounded preceding and current row", "rows 1 preceding",
                    "groups between 1 preceding and 1 following", "range unbounded preceding exclude current row",
                    f"rows between {abs(dice.randrange(3))} preceding and (select 1) following")))
        return " ".join(words)

    def any(self, scope: Scope, depth: int) -> str:
        """An expression of whatever type can be sorted: of one that is in scope, mostly."""
        return self.make(self.group(scope), scope, depth)

    def group(self, scope: Scope) -> str:
        """A group whose values can be sorted, mostly one that is in scope."""
        found = [column.group for column in scope if column.group in _COMPARED]
        return self.dice.choice(found if found and self.dice.random() < 0.85 else _COMPARED)

    def key(self, scope: Scope, depth: int) -> str:
        """An expression for ORDER BY or GROUP BY, where a bare constant would be a position."""
        made = self.any(scope, depth)
        return made if "." in made and not made.startswith("'") else f"(select {made})"

    def sort(self, scope: Scope, depth: int) -> str:
        """An item of ORDER BY."""
        dice = self.dice
        return f"{self.key(scope, depth)}{dice.choice(('', '', ' desc', ' nulls first', ' desc nulls last'))}"

    def _case(self, group: str, scope: Scope, depth: int) -> str:
        whens = [f"when {self.make('bool', scope, depth)} then {self.make(group, scope, depth)}"
                 for _ in range(self.dice.randint(1, 2))]
        if self.dice.random() < 0.3:
            compared = self.group(scope)
            return (f"case {self.make(compared, scope, depth)} when {self.make(compared, scope, depth)}"
                    f" then {self.make(group, scope, depth)} else {self.make(group, scope, depth)} end")
        return f"case {' '.join(whens)} else {self.make(group, scope, depth)} end"

    def _condition(self, scope: Scope, depth: int) -> str:
        dice = self.dice
        group = self.group(scope)
        left = self.make(group, scope, depth)
        roll = dice.random()
        if roll < 0.5:
            return f"({left} {dice.choice(_OPERATORS)} {self.make(group, scope, depth)})"
        if roll < 0.6:
            return f"({left} in ({self.make(group, scope, depth)}, {self.make(group, scope, depth)}))"
        if roll < 0.7:
            return f"{dice.choice(('', 'not '))}exists ({self.select((group,), scope, depth)})"
        if roll < 0.8:
            return f"({left} {dice.choice(('in', 'not in', '= any', '<= all', '<> some'))} ({self.select((group,), scope, depth)}))"
        if roll < 0.84:
            other = self.group(scope)
            return f"(({left}, {self.make(other, scope, depth)}) in ({self.select((group, other), scope, depth)}))"
        if roll < 0.88:
            return f"({left} = any (array({self.select((group,), scope, depth)})))"
        return self._filled(dice.choice(MADE["bool"]), scope, depth)

    def _filled(self, template: str, scope: Scope, depth: int) -> str:
        def expression(found: re.Match[str]) -> str:
            group = found[1]
            return self.any(scope, depth) if group == "col" else self.make(group, scope, depth)
        return _HOLE.sub(expression, template)
