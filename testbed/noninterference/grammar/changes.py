"""INSERT, UPDATE, DELETE and MERGE, with everything that reads in them."""

from __future__ import annotations

import random

from testbed.noninterference.grammar.expressions import Scope
from testbed.noninterference.grammar.queries import Queries
from testbed.noninterference.grammar.schema import Column, Relation

_FRESH = 100
"""Keys from here on are not taken."""


class Changes:
    """Makes changes of tables, and of views that may be changed through."""

    def __init__(self, dice: random.Random, queries: Queries) -> None:
        self.dice = dice
        self.queries = queries
        self.targets = [one for one in queries.relations if one.is_target]

    def change(self) -> str:
        """One statement."""
        make = self.dice.choice((self._insert, self._insert, self._update, self._update, self._delete, self._merge))
        return make(self.dice.choice(self.targets))

    def _insert(self, target: Relation) -> str:
        dice, queries = self.dice, self.queries
        columns = [column for column in target.writable if column.text == target.key or dice.random() < 0.6]
        columns = columns or list(target.writable[:1])
        named = ", ".join(column.text for column in columns)
        groups = tuple(column.group for column in columns)
        if dice.random() < 0.5:
            rows = ", ".join(f"({', '.join(self._value(target, column) for column in columns)})"
                             for _ in range(dice.randint(1, 2)))
            source = f"values {rows}"
        else:
            source = queries.query(2, groups).text
        text = f"insert into {target.name} as t ({named}) {source}"
        if target.key is not None and target.is_table and dice.random() < 0.4:
            text += f" on conflict ({target.key}) do "
            settable = [column for column in target.writable if column.text != target.key]
            column = dice.choice(settable)
            value = dice.choice((f"excluded.{column.text}", self._expression(column, self._scope(target, "t"))))
            text += dice.choice(("nothing", f"update set {column.text} = {value}"))
        elif dice.random() < 0.1:
            text += " on conflict do nothing"
        return text + self._returning(target)

    def _value(self, target: Relation, column: Column) -> str:
        if column.text == target.key and column.group == "int":
            return str(self.dice.choice((1, _FRESH + self.dice.randrange(9))))
        return self._expression(column, ())

    def _update(self, target: Relation) -> str:
        dice = self.dice
        scope: list[Column] = [*self._scope(target, "t")]
        source = ""
        if dice.random() < 0.3:
            other = dice.choice(self.queries.relations)
            scope += self._scope(other, "s")
            source = f" from {other.name} as s"
        columns = dice.sample(list(target.writable), k=min(len(target.writable), dice.randint(1, 2)))
        values = ", ".join(f"{column.text} = {self._expression(column, scope)}" for column in columns)
        return f"update {target.name} as t set {values}{source}{self._where(scope)}{self._returning(target)}"

    def _delete(self, target: Relation) -> str:
        scope: list[Column] = [*self._scope(target, "t")]
        source = ""
        if self.dice.random() < 0.3:
            other = self.dice.choice(self.queries.relations)
            scope += self._scope(other, "s")
            source = f" using {other.name} as s"
        return f"delete from {target.name} as t{source}{self._where(scope)}{self._returning(target)}"

    def _merge(self, target: Relation) -> str:
        dice, queries = self.dice, self.queries
        source = queries.query(1, ("int", "text"))
        scope = [*self._scope(target, "t"), Column("s.c0", "int"), Column("s.c1", "text")]
        column = dice.choice(list(target.writable))
        condition = f"t.{target.key} = s.c0" if target.key and dice.random() < 0.7 else self._condition(scope)
        whens = [f"when matched then update set {column.text} = {self._expression(column, scope)}",
                 f"when matched and {self._condition(scope)} then delete",
                 f"when not matched by source then update set {column.text} = {self._expression(column, scope[:-2])}",
                 "when not matched then do nothing"]
        picked = " ".join(when for when in whens if dice.random() < 0.6) or whens[-1]
        text = f"merge into {target.name} as t using ({source.text}) as s on {condition} {picked}"
        return text + (f" returning merge_action(), {self._any(target)}" if dice.random() < 0.3 else "")

    # ---------------------------------------------------------------- parts

    def _scope(self, relation: Relation, alias: str) -> list[Column]:
        """Mostly without the labelled columns: the wider a scope, the surer a refusal."""
        columns = list(relation.columns)
        if self.dice.random() < 0.7:
            columns = [column for column in columns if column.text in _OPEN]
        return [Column(f"{alias}.{column.text}", column.group) for column in columns]

    def _expression(self, column: Column, scope: Scope) -> str:
        return self.queries.expressions.make(column.group, scope, self.dice.randint(0, 2))

    def _condition(self, scope: Scope) -> str:
        return self.queries.expressions.make("bool", scope, 2)

    def _where(self, scope: Scope) -> str:
        return f" where {self._condition(scope)}" if self.dice.random() < 0.75 else ""

    def _any(self, target: Relation) -> str:
        scope = self._scope(target, "t")
        return self.queries.expressions.any(scope, 1)

    def _returning(self, target: Relation) -> str:
        roll = self.dice.random()
        if roll < 0.5:
            return ""
        if roll < 0.6:
            return " returning *"
        if roll < 0.65:
            return " returning t"
        return f" returning {self._any(target)} as r0, {self._any(target)} as r1"


_OPEN = frozenset((
    "id", "name", "region", "born", "active", "owner", "currency", "opened", "account", "amount", "note", "paid", "day",
    "person", "kind", "model", "carrier", "item", "quantity", "placed", "extra", "price", "stock", "word", "population",
    "founded", "title", "entry",
))
"""Names of columns that both sides have in common."""
