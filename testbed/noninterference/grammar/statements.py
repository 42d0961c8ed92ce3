"""All of the grammar: queries and changes, in every wrapping in which a client may send them."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from typing import Final

import psycopg

from testbed.noninterference.grammar.changes import Changes
from testbed.noninterference.grammar.queries import Queries, Query
from testbed.noninterference.grammar.schema import read
from testbed.noninterference.statements import Statement

_EXPLAIN: Final = (
    "explain (costs off) ", "explain (costs off, verbose) ",
    "explain (analyze, costs off, timing off, summary off, buffers off) ",
)
"""Without estimates, times and buffers: those are not claimed to be equal."""
_COPY: Final = ("", " with (format csv, header)", " with (format binary)", " with (delimiter '|', null 'none')",
                " with (format csv, force_quote *)")


class Grammar:
    """An endless source of statements over the schema of a database; the same seed gives the same ones.

    `closed` are relations that are always refused: they are named in short statements only.
    """

    def __init__(self, connection: psycopg.Connection, seed: int, closed: Collection[str] = ()) -> None:
        self.dice = random.Random(seed)
        self.seed = seed
        self.relations = read(connection)
        self.queries = Queries(self.dice, tuple(one for one in self.relations if one.name not in closed))
        self.changes = Changes(self.dice, self.queries)

    def __iter__(self) -> Iterator[Statement]:
        number = 0
        while True:
            number += 1
            self.queries.begin()
            yield self._statement(f"grammar {self.seed}/{number}")

    def _statement(self, name: str) -> Statement:
        dice = self.dice
        roll = dice.random()
        if roll < 0.17:
            return Statement(self.changes.change(), name)
        if roll < 0.19:
            return Statement(self._change_in_with(), name)
        if roll < 0.21:
            return Statement(self._short(), name)
        query = self.queries.query(dice.choice((1, 2, 2, 3)))
        if roll < 0.33:
            return Statement(self._wrapped(query), name)
        if roll < 0.37:
            return Statement(f"{dice.choice(_EXPLAIN)}{query.text}", name)
        if roll < 0.42:
            return self._with_parameters(query, name)
        if roll < 0.5:
            return Statement(self._folded(query), name)
        return Statement(query.text, name, is_binary=dice.random() < 0.4)

    def _wrapped(self, query: Query) -> str:
        """Through something that keeps the query, or sends its rows another way."""
        dice, text = self.dice, query.text
        return dice.choice((
            f"copy ({text}) to stdout{dice.choice(_COPY)}",
            f"copy ({text}) to stdout{dice.choice(_COPY)}",
            f"create temp table kept as {text}; select * from kept",
            f"create temp view kept as {text}; select * from kept",
            f"create table crm.stored as {text}; select count(*) from crm.stored",
            f"prepare p1 as {text}; execute p1; execute p1",
            f"declare c1 scroll cursor for {text}; fetch 2 from c1; fetch all from c1; fetch first from c1",
            f"declare c1 cursor for {text}; move 1 in c1; fetch next from c1; close c1",
            f"select 1; {text}; select 2",
        ))

    def _change_in_with(self) -> str:
        dice = self.dice
        return (f"with changed as ({self.changes.change()}) select * from changed"
                if dice.random() < 0.5 else
                f"with changed as ({self.changes.change()}) {self.queries.query(1).text}")

    def _short(self) -> str:
        """What is said in few words."""
        dice = self.dice
        relation, other = dice.choice(self.relations), dice.choice(self.relations)
        short = relation.name.split(".")[1]
        return dice.choice((
            f"table {relation.name}", f"select * from only {relation.name}", f"copy {relation.name} to stdout",
            f"copy {relation.name} to stdout with (format binary)", f"select {short} from {relation.name}",
            f"select {short}.* from {short}", f"select count(*), count(distinct {short}::text) from {relation.name}",
            f"select row_to_json(x) from {relation.name} x", f"select to_jsonb(x) - 'id' from {relation.name} x",
            f"select * from {relation.name} natural left join {other.name}",
            f"select x is null, x = x from {relation.name} x", f"select x from {relation.name} x order by x desc",
            f"select tableoid::regclass, ctid from {relation.name}", f"select hashtext(x::text) from {relation.name} x",
            f"select (x).* from (select {short} as x from {relation.name}) z",
        ))

    def _folded(self, query: Query) -> str:
        """One row of everything: what is not shown in rows shows in an aggregate."""
        return self.dice.choice((
            f"select count(*), md5(string_agg(x::text, ';')) from ({query.text}) x",
            f"select json_agg(x) from ({query.text}) x",
            f"select array_agg(x::text order by x::text) from ({query.text}) x",
            f"select x::text, count(*) over () from ({query.text}) x",
        ))

    def _with_parameters(self, query: Query, name: str) -> Statement:
        dice = self.dice
        constants = (("'ann'", "text"), ("'219-09-9999'", "text"), ("1", "int"), ("date '2026-01-15'", "date"), ("40", "int"))
        text, values = query.text, []
        for constant, kind in constants:
            place = text.find(f"= {constant}")
            if place >= 0:
                values.append(constant.removeprefix("date ").strip("'"))
                text = f"{text[:place]}= ${len(values)}::{kind}{text[place + 2 + len(constant):]}"
        return Statement(text, name, tuple(values), is_binary=dice.random() < 0.5)
