"""Queries: every clause of SELECT, set operations, WITH, VALUES and TABLE."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from testbed.noninterference.grammar.expressions import Expressions, Scope
from testbed.noninterference.grammar.schema import Column, Relation
from testbed.noninterference.grammar.templates import CONSTANTS

_SHOWN: Final = ("int", "int", "text", "text", "text", "num", "date", "bool", "jsonb", "uuid", "tstz", "texts", "ints", "float",
                 "bytea", "tier", "inet", "range", "ts", "time", "span", "json", "contact")
_SHARED: Final = ("int", "text", "num", "date", "bool")


@dataclass
class Query:
    """A query's text and the groups of its columns, which are named c0, c1, …"""

    text: str
    groups: tuple[str, ...]


@dataclass
class _Frame:
    """What one level of a query has in its FROM."""

    items: list[str] = field(default_factory=list)
    scope: list[Column] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)         # aliases of plain tables: FOR UPDATE, system columns


class Queries:
    """Makes queries over `relations`. Names are unique in a statement: `begin` starts with the first again."""

    def __init__(self, dice: random.Random, relations: tuple[Relation, ...]) -> None:
        self.dice = dice
        self.relations = relations
        self.expressions = Expressions(dice, self.sub_select)
        self.ctes: list[tuple[str, tuple[str, ...]]] = []
        self._names = 0

    def begin(self) -> None:
        self._names = 0
        self.ctes = []
        self.expressions.windows = []

    def name(self, letter: str) -> str:
        self._names += 1
        return f"{letter}{self._names}"

    # ---------------------------------------------------------------- whole queries

    def query(self, depth: int, groups: tuple[str, ...] | None = None, outer: Scope = ()) -> Query:
        """A query, perhaps with WITH or of several joined by set operations."""
        dice = self.dice
        before = list(self.ctes)
        head = self._with(depth - 1) if depth > 1 and dice.random() < 0.2 else ""
        if dice.random() < 0.12 and depth > 0:
            made = self._set_operation(depth, groups, outer)
        elif groups is not None and dice.random() < 0.03:
            made = Query(self._values(groups, outer), groups)
        else:
            made = self.select(depth, groups, outer)
        self.ctes = before
        return Query(head + made.text, made.groups)

    def sub_select(self, groups: tuple[str, ...], outer: Scope, depth: int) -> str:
        """A sub-select for an expression: correlated through `outer`, without ORDER BY or LIMIT of its own."""
        windows, self.expressions.windows = self.expressions.windows, []
        frame = self._from(max(depth - 1, 0), outer, 1 if depth < 2 else 2)
        scope = [*frame.scope, *outer]
        shown = []
        is_aggregate = self.dice.random() < 0.35
        for group in groups:
            made = self.expressions.aggregate(group, frame.scope, 0) if is_aggregate else None
            if is_aggregate and made is None:
                made = self.dice.choice(CONSTANTS[group])
            shown.append(made or self.expressions.make(group, scope, depth - 1))
        text = f"select {', '.join(shown)} from {', '.join(frame.items)}"
        if self.dice.random() < 0.5:
            text += f" where {self._condition(scope, depth)}"
        self.expressions.windows = windows
        return text

    def select(self, depth: int, groups: tuple[str, ...] | None, outer: Scope = ()) -> Query:
        """SELECT with any of its clauses; `groups` are taken from what is in FROM where none are asked for."""
        dice, windows = self.dice, self.expressions.windows
        self.expressions.windows = []
        frame = self._from(depth, outer, dice.choice((1, 1, 2, 2, 3)))
        scope = [*frame.scope, *outer]
        groups = groups or tuple(dice.choice(frame.scope).group if dice.random() < 0.7 else dice.choice(_SHOWN)
                                 for _ in range(dice.randint(1, 5)))
        where = f" where {self._condition(scope, depth)}" if dice.random() < 0.45 else ""
        if dice.random() < 0.22:
            text = self._grouped(frame, scope, where, groups, depth)
        else:
            text = self._plain(frame, scope, where, groups, depth)
        self.expressions.windows = windows
        return Query(text, groups)

    def _condition(self, scope: Scope, depth: int) -> str:
        """Half of them let NULL through: a query without rows says little."""
        made = self.expressions.make("bool", scope, depth)
        return made if self.dice.random() < 0.5 else f"({made}) is not false"

    def _plain(self, frame: _Frame, scope: Scope, where: str, groups: tuple[str, ...], depth: int) -> str:
        dice, make = self.dice, self.expressions
        tail = ""
        if dice.random() < 0.12:
            name = self.name("w")
            tail = f" window {name} as ({make.window_definition(scope, depth - 1)})"
            make.windows = [name]
        shown = []
        is_windowed = dice.random() < 0.25
        for group in groups:
            made = make.window(group, scope, depth) if is_windowed else None
            shown.append(made or make.make(group, scope, depth))
        roll = dice.random()
        distinct = ""
        if roll < 0.06 and "json" not in groups:
            distinct = "distinct "
        elif roll < 0.12:
            key = make.key(frame.scope, depth - 1)
            distinct, tail = f"distinct on ({key}) ", f"{tail} order by {key}, {make.sort(scope, 0)}"
        elif roll < 0.5:
            tail += f" order by {make.sort(scope, depth - 1)}"
            if dice.random() < 0.2 and not {"json", "contact"} & set(groups):
                tail += f", {dice.randint(1, len(groups))}"
        tail += self._limit(tail, depth)
        if frame.tables and not distinct and not is_windowed and not make.windows and dice.random() < 0.05:
            tail += f" for {dice.choice(('update', 'share', 'no key update', 'key share'))} of {dice.choice(frame.tables)}"
        names = ", ".join(f"{text} as c{number}" for number, text in enumerate(shown))
        return f"select {distinct}{names} from {', '.join(frame.items)}{where}{tail}"

    def _grouped(self, frame: _Frame, scope: Scope, where: str, groups: tuple[str, ...], depth: int) -> str:
        dice, make = self.dice, self.expressions
        keys = [make.key(frame.scope, min(depth - 1, 1)) for _ in range(dice.randint(0, 2))]
        shown = []
        for number, group in enumerate(groups):
            made = make.aggregate(group, frame.scope, min(depth, 2))
            shown.append(f"{made or dice.choice(CONSTANTS[group])} as c{number}")
        text = f"select {', '.join(shown)} from {', '.join(frame.items)}{where}"
        if keys:
            style = dice.choice(("{}", "{}", "{}", "rollup ({})", "cube ({})", "grouping sets (({}), ())"))
            text += f" group by {style.format(', '.join(keys))}"
        if dice.random() < 0.3:
            text += f" having {make.aggregate('bool', frame.scope, 1)}"
        if dice.random() < 0.4:
            text += f" order by {make.aggregate(dice.choice(_SHARED), frame.scope, 1)}"
            text += self._limit(" order", depth)
        return text

    def _limit(self, tail: str, depth: int) -> str:
        dice = self.dice
        roll = dice.random()
        if roll < 0.15:
            return f" limit {dice.randint(1, 9)}"
        if roll < 0.2:
            return f" limit ({self.sub_select(('int',), (), 1)} limit 1)"
        if roll < 0.24 and "order" in tail:
            return f" fetch first {dice.randint(1, 3)} rows with ties"
        return f" offset {dice.randint(0, 2)}" if roll < 0.3 else ""

    def _set_operation(self, depth: int, groups: tuple[str, ...] | None, outer: Scope) -> Query:
        dice = self.dice
        left = self.select(depth - 1, groups, outer)
        right = self.query(depth - 1, left.groups, outer)
        is_sortable = not {"json", "contact"} & set(left.groups)
        operator = dice.choice(("union", "union all", "union all", "intersect", "intersect all", "except", "except all")
                               if "json" not in left.groups else ("union all",))
        tail = f" order by {dice.randint(1, len(left.groups))}" if is_sortable and dice.random() < 0.4 else ""
        return Query(f"({left.text}) {operator} ({right.text}){tail}", left.groups)

    def _values(self, groups: tuple[str, ...], outer: Scope) -> str:
        rows = [", ".join(self.expressions.make(group, outer, 1) for group in groups) for _ in range(2)]
        names = ", ".join(f"c{number}" for number in range(len(groups)))
        return f"select * from (values ({rows[0]}), ({rows[1]})) as {self.name('v')} ({names})"

    def _with(self, depth: int) -> str:
        """WITH and what it defines; its names can be used from then on."""
        dice = self.dice
        parts = []
        for _ in range(dice.randint(1, 2)):
            if dice.random() < 0.15:
                relation = dice.choice([one for one in self.relations if any(c.group == "text" for c in one.columns)])
                text = dice.choice([column for column in relation.columns if column.group == "text"]).text
                name, groups = self.name("r"), ("int", "text")
                parts.append(f"{name} (c0, c1) as (select 1, max({text}::text) from {relation.name} union all"
                             f" select c0 + 1, c1 || {name}.c0 from {name} where c0 < 3)")
                self.ctes.append((name, groups))
                continue
            made = self.query(depth)
            # now and then a name that is a relation's as well
            name = dice.choice(self.relations).name.split(".")[1] if dice.random() < 0.15 else self.name("q")
            if any(name == other for other, _ in self.ctes):
                name = self.name("q")
            listed = ", ".join(f"c{number}" for number in range(len(made.groups)))
            parts.append(f"{name} ({listed}) as {dice.choice(('', 'materialized ', 'not materialized '))}({made.text})")
            self.ctes.append((name, made.groups))
        return f"with recursive {', '.join(parts)} " if any(part.startswith("r") for part in parts) \
            else f"with {', '.join(parts)} "

    # ---------------------------------------------------------------- FROM

    def _from(self, depth: int, outer: Scope, count: int) -> _Frame:
        frame = _Frame()
        while count > 0:
            if count > 1 and self.dice.random() < 0.75:
                frame.items.append(self._join(frame, depth, outer))
                count -= 2
            elif depth > 0 and frame.scope and self.dice.random() < 0.2:
                frame.items.append(self._lateral(frame, depth, outer))
                count -= 1
            else:
                frame.items.append(self._item(frame, depth, outer))
                count -= 1
        return frame

    def _join(self, frame: _Frame, depth: int, outer: Scope) -> str:
        dice = self.dice
        before = len(frame.scope)
        left = self._item(frame, depth - 1, outer)
        middle = len(frame.scope)
        right = self._item(frame, depth - 1, outer)
        kind = dice.choice(("join", "join", "left join", "left join", "right join", "full join", "cross join"))
        if kind == "cross join":
            return f"{left} cross join {right}"
        one, two = frame.scope[before:middle], frame.scope[middle:]
        pairs = [(a.text, b.text) for a in one for b in two if a.group == b.group and a.group not in ("json", "contact")]
        if pairs and (dice.random() < 0.7 or kind == "full join"):
            condition = " = ".join(dice.choice(pairs))
        else:
            if kind == "full join":
                kind = "left join"
            condition = self._condition([*one, *two, *outer], depth)
        return f"{left} {kind} {right} on {condition}"

    def _item(self, frame: _Frame, depth: int, outer: Scope) -> str:
        """One item of FROM; its columns are in scope afterwards."""
        dice = self.dice
        roll = dice.random()
        alias = self.name("t")
        frame.aliases.append(alias)
        if self.ctes and roll < 0.3:
            name, groups = dice.choice(self.ctes)
            frame.scope += [Column(f"{alias}.c{number}", group) for number, group in enumerate(groups)]
            return f"{name} as {alias}"
        if depth > 0 and roll < 0.42:
            made = self.query(depth - 1)
            frame.scope += [Column(f"{alias}.c{number}", group) for number, group in enumerate(made.groups)]
            return f"({made.text}) as {alias}"
        if roll < 0.5:
            frame.scope.append(Column(f"{alias}.g", "int"))
            return f"generate_series(1, {dice.randint(1, 4)}) as {alias} (g)"
        if roll < 0.52:
            frame.scope.append(Column(f"{alias}.s", "text"))
            return f"crm.staff({dice.randint(1, 3)}) as {alias} (s)"
        return self._relation(frame, alias)

    def _lateral(self, frame: _Frame, depth: int, outer: Scope) -> str:
        """A sub-select that sees the items to its left."""
        made, alias = self.query(depth - 1, None, [*frame.scope, *outer]), self.name("t")
        frame.aliases.append(alias)
        frame.scope += [Column(f"{alias}.c{number}", group) for number, group in enumerate(made.groups)]
        return f"lateral ({made.text}) as {alias}"

    def _relation(self, frame: _Frame, alias: str) -> str:
        dice = self.dice
        relation = dice.choice(self.relations)
        name, columns = relation.name, [column.text for column in relation.columns]
        listed = ""
        if dice.random() < 0.1:
            columns = [f"a{number}" for number in range(len(columns))]
            listed = f" ({', '.join(columns)})"
        frame.scope += [Column(f"{alias}.{text}", column.group)
                        for text, column in zip(columns, relation.columns, strict=True)]
        if relation.is_table:
            frame.tables.append(alias)
            if dice.random() < 0.06:
                name = f"only {name}"
        sample = ""
        if relation.kind in "rpm" and dice.random() < 0.04:
            sample = f" tablesample {dice.choice(('bernoulli (60)', 'system (90)'))} repeatable (3)"
        return f"{name} as {alias}{listed}{sample}"
