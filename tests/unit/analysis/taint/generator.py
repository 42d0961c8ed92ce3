"""Random statements over the world: deterministic by seed, mostly valid, and sparing with labelled columns.

A statement that uses labelled columns everywhere is called sensitive by any analysis. So each statement may
use a few at most (`hot`), in places that chance picks: an analysis that overlooks the place calls it clean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
INT, TEXT, BOOL = "int", "text", "bool"


class Draw:
    """Choices that a seed decides."""

    def __init__(self, seed: str) -> None:
        self.seed = seed.encode()
        self.count = 0

    def below(self, bound: int) -> int:
        self.count += 1
        digest = hashlib.blake2b(self.seed + self.count.to_bytes(8, "big"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % bound

    def one_of(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent


@dataclass(frozen=True)
class Col:
    """A column in reach: how it is written, its type, and whether it may hold labelled values."""

    text: str
    type: str
    hot: bool = False


Columns = tuple[tuple[str, str, bool], ...]
RELATIONS: dict[str, Columns] = {
    "t": (("id", INT, False), ("name", TEXT, False), ("ssn", TEXT, True), ("n", INT, True)),
    "u": (("id", INT, False), ("note", TEXT, False), ("tid", INT, False)),
    "docs": (("id", INT, False), ("grp", INT, False)),
    "gen": (("id", INT, False), ("ssn", TEXT, True), ("tail", TEXT, True)),
    "par": (("id", INT, False), ("ssn", TEXT, True)),
    "v": (("id", INT, False), ("s", TEXT, True)),
    "vv": (("q", TEXT, True), ("k", INT, False)),
    "vagg": (("m", TEXT, True), ("c", INT, False)),
    "vunion": (("z", TEXT, True),),
    "vcte": (("w", TEXT, True),),
    "vopen": (("id", INT, False), ("note", TEXT, False)),
    "mv": (("id", INT, False), ("s", TEXT, True)),
}


class Generator:
    """Makes one statement after the other."""

    def __init__(self, seed: str) -> None:
        self.draw = Draw(seed)
        self.hot = 0
        self.names = 0
        self.ctes: dict[str, Columns] = {}

    def statement(self) -> str:
        self.hot = self.draw.one_of((0, 1, 1, 1, 2, 3))
        self.names = 0
        self.ctes = {}
        prefix = ""
        if self.draw.chance(30):
            prefix = self.with_clause()
        if self.draw.chance(15):
            return prefix + self.change()
        text, _ = self.query(self.draw.one_of((1, 1, 2, 2, 3)), [])
        return prefix + text

    # ---------------------------------------------------------------- DML

    def change(self) -> str:
        """INSERT, UPDATE, DELETE or MERGE on a relation without labels, or one with them."""
        target = self.draw.one_of(("u", "u", "notes", "trig", "t"))
        columns = {"u": RELATIONS["u"], "t": RELATIONS["t"], "trig": (("id", INT, False), ("a", TEXT, False), ("b", TEXT, False)),
                   "notes": (("id", INT, False), ("body", TEXT, False), ("loud", TEXT, False))}[target]
        own = [Col(f"x.{column}", kind, hot) for column, kind, hot in columns]
        written = next(column for column, kind, hot in columns if kind == TEXT and not hot and column != "loud")
        kind = self.draw.below(5)
        if kind == 0:
            inner, made = self.select(1, [], want=(TEXT,))
            conflict = self.draw.one_of(("", "", f" ON CONFLICT (id) DO UPDATE SET {written} = excluded.{written} || x.{written}"))
            if conflict and target not in ("u", "t"):
                conflict = ""
            offset = self.draw.one_of((0, 500)) if conflict else 500
            return (f"INSERT INTO {target} AS x (id, {written}) SELECT {offset} + row_number() OVER (), s.{made[0][0]} FROM {inner} s"
                    f"{conflict} RETURNING {self.returned(own)}")
        other, more = self.item(1, [], [])
        joined = f"x.id = {self.column(INT, more)}"
        where = f"{joined} AND {self.expression(BOOL, own + more, 1)}" if self.draw.chance(50) else joined
        if kind == 1:
            return f"DELETE FROM {target} x USING {other} WHERE {where} RETURNING {self.returned(own)}"
        value = self.expression(TEXT, own + more, 1)
        if kind == 2:
            condition = f" AND {self.expression(BOOL, own + more, 0)}" if self.draw.chance(30) else ""
            return (f"MERGE INTO {target} x USING (SELECT DISTINCT ON (1) * FROM {other}) s ON x.id = 1"
                    f" WHEN MATCHED{condition.replace(more[0].text.split('.')[0] + '.', 's.')} THEN UPDATE SET {written} ="
                    f" {value.replace(more[0].text.split('.')[0] + '.', 's.')} RETURNING {self.returned(own)}")
        return f"UPDATE {target} x SET {written} = {value} FROM {other} WHERE {where} RETURNING {self.returned(own)}"

    def returned(self, own: list[Col]) -> str:
        """A RETURNING list, now and then with what was there before."""
        items = [f"{self.expression(self.draw.one_of((INT, TEXT)), own, 1)} AS {self.fresh('o')}" for _ in range(2)]
        if self.draw.chance(30):
            items.append(f"old.{own[1].text[2:]} AS {self.fresh('o')}")
        if self.draw.chance(30):
            items.append(f"new.{own[1].text[2:]} AS {self.fresh('o')}")
        return ", ".join(items)

    def fresh(self, letter: str) -> str:
        self.names += 1
        return f"{letter}{self.names}"

    # ---------------------------------------------------------------- queries

    def with_clause(self) -> str:
        parts = []
        is_recursive = self.draw.chance(40)
        for _ in range(1 + self.draw.below(2)):
            name = self.fresh("c")
            if is_recursive and self.draw.chance(60):
                inner, columns = self.select(2, [], want=(INT, self.draw.one_of((INT, TEXT))))
                kind = columns[1][1]
                step = self.expression(kind, [Col("r.y", kind, columns[1][2])], 1)
                union = self.draw.one_of(("UNION ALL", "UNION"))
                parts.append(f"{name}(x, y) AS ({inner} {union} SELECT r.x + 100, {step} FROM {name} r WHERE r.x < 150)")
                columns = (("x", INT, columns[0][2]), ("y", kind, columns[1][2]))
            else:
                inner, columns = self.query(2, [])
                hint = self.draw.one_of(("", "MATERIALIZED ", "NOT MATERIALIZED "))
                parts.append(f"{name} AS {hint}({inner})")
            self.ctes[name] = columns
        return f"WITH {'RECURSIVE ' if is_recursive else ''}{', '.join(parts)} "

    def query(self, depth: int, outer: list[Col]) -> tuple[str, Columns]:
        if depth > 0 and self.draw.chance(15):
            want = tuple(self.draw.one_of((INT, TEXT)) for _ in range(1 + self.draw.below(2)))
            left, one = self.select(depth - 1, outer, want=want)
            right, two = self.select(depth - 1, outer, want=want)
            operation = self.draw.one_of(("UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT", "EXCEPT ALL"))
            columns = tuple((a[0], a[1], a[2] or b[2]) for a, b in zip(one, two, strict=True))
            return f"{left} {operation} {right}", columns
        if depth > 0 and self.draw.chance(4):
            name = self.draw.one_of([name for name in RELATIONS if name != "docs"])
            return f"TABLE {name}", RELATIONS[name]
        return self.select(depth, outer)

    def select(self, depth: int, outer: list[Col], want: tuple[str, ...] | None = None) -> tuple[str, Columns]:
        items, scope = self.from_clause(depth, outer)
        reach = scope + outer
        where = f" WHERE {self.expression(BOOL, reach, depth)}" if self.draw.chance(45) else ""
        if want is None:
            want = tuple(self.draw.one_of((INT, TEXT, TEXT, BOOL)) for _ in range(1 + self.draw.below(3)))
        if self.draw.chance(18):
            return self.grouped(items, scope, where, depth, want)
        window = ""
        outputs, columns = [], []
        for kind in want:
            before = self.hot
            if kind == INT and self.draw.chance(10):
                over = self.over(scope)
                if self.draw.chance(30):
                    name = self.fresh("w")
                    window += (", " if window else " WINDOW ") + f"{name} AS ({over})"
                    over = name
                else:
                    over = f"({over})"
                call = self.draw.one_of(("row_number()", "count(*)", f"sum({self.expression(INT, scope, 0)})", "rank()"))
                text = f"{call} OVER {over}"
            elif not outer and self.draw.chance(4):
                text = f"unnest(ARRAY[{self.expression(kind, reach, 1)}, {self.expression(kind, reach, 0)}])"
            else:
                text = self.expression(kind, reach, depth)
            name = self.fresh("o")
            outputs.append(f"{text} AS {name}")
            columns.append((name, kind, self.hot != before or any(col.hot and col.text in text for col in reach)))
        tail = ""
        distinct = ""
        if self.draw.chance(8):
            distinct = "DISTINCT "
        elif self.draw.chance(5) and scope:
            distinct = f"DISTINCT ON ({self.column(None, scope)}) "
        if self.draw.chance(20) and not distinct:
            key = self.draw.one_of(("1", columns[0][0], self.column(None, reach) if reach else "1"))
            tail = f" ORDER BY {key}"
            if self.draw.chance(50):
                tail += f" LIMIT {1 + self.draw.below(6)}"
        return f"(SELECT {distinct}{', '.join(outputs)}{items}{where}{window}{tail})", tuple(columns)

    def grouped(self, items: str, scope: list[Col], where: str, depth: int, want: tuple[str, ...]) -> tuple[str, Columns]:
        """Aggregates, with or without GROUP BY."""
        keys = [self.column(None, scope) for _ in range(self.draw.below(2))] if scope else []
        outputs, columns = [], []
        for kind in want:
            inner = self.expression(kind if kind != BOOL else INT, scope, 1)
            clean = f"FILTER (WHERE {self.expression(BOOL, scope, 0)})" if self.draw.chance(15) else ""
            order = f" ORDER BY {self.column(None, scope)}" if scope and self.draw.chance(30) else ""
            if kind == INT:
                text = self.draw.one_of((f"count(*) {clean}", f"max({inner}) {clean}", f"count(DISTINCT {inner}) {clean}"))
            elif kind == TEXT:
                text = self.draw.one_of((f"max({inner}) {clean}", f"string_agg({inner}, ','{order}) {clean}"))
            else:
                text = f"count({inner}) {clean} > 3"
            name = self.fresh("o")
            outputs.append(f"{text} AS {name}")
            columns.append((name, kind, any(col.hot and col.text in text for col in scope)))
        having = f" HAVING count(*) > {self.draw.below(3)}" if self.draw.chance(20) else ""
        if having and self.draw.chance(40):
            having = f" HAVING max({self.expression(TEXT, scope, 0)}) > '3'"
        group = ""
        if keys:
            group = " GROUP BY " + (f"GROUPING SETS (({keys[0]}), ())" if self.draw.chance(20) else keys[0])
        return f"(SELECT {', '.join(outputs)}{items}{where}{group}{having})", tuple(columns)

    def over(self, scope: list[Col]) -> str:
        parts = []
        if scope and self.draw.chance(50):
            parts.append(f"PARTITION BY {self.column(None, scope)}")
        if scope and self.draw.chance(70):
            parts.append(f"ORDER BY {self.column(None, scope)}")
        return " ".join(parts)

    # ---------------------------------------------------------------- FROM

    def from_clause(self, depth: int, outer: list[Col]) -> tuple[str, list[Col]]:
        if outer and self.draw.chance(8):
            return "", []
        text, scope = self.item(depth, outer, [])
        for _ in range(self.draw.one_of((0, 0, 1, 1, 2)) if depth > 0 else self.draw.below(2)):
            other, more = self.item(depth - 1, outer, scope)
            kind = self.draw.below(10)
            if kind < 2:
                text += f", {other}"
            elif kind == 2:
                text += f" CROSS JOIN {other}"
            else:
                join = "JOIN" if "LATERAL" in other or "(" in other else self.draw.one_of(
                    ("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "LEFT JOIN"))
                text += f" {join} {other} ON {self.joined(scope, more)}"
            scope = scope + more
        return f" FROM {text}", scope

    def joined(self, left: list[Col], right: list[Col]) -> str:
        if self.draw.chance(70):
            kind = self.draw.one_of((INT, INT, TEXT))
            one, two = self.column(kind, left, None), self.column(kind, right, None)
            if one is not None and two is not None:
                return f"{one} = {two}"
        return self.expression(BOOL, left + right, 0)

    def item(self, depth: int, outer: list[Col], left: list[Col]) -> tuple[str, list[Col]]:
        choice = self.draw.below(100)
        alias = self.fresh("a")
        if choice < 12 and self.ctes:
            name = self.draw.one_of(list(self.ctes))
            return f"{name} {alias}", [Col(f"{alias}.{column}", kind, hot) for column, kind, hot in self.ctes[name]]
        if depth > 0 and choice < 35:
            lateral = bool(left) and self.draw.chance(40)
            inner, columns = self.query(depth - 1, (left if lateral else []) + outer)
            return (f"{'LATERAL ' if lateral else ''}({inner}) {alias}",
                    [Col(f"{alias}.{column}", kind, hot) for column, kind, hot in columns])
        if depth > 0 and choice < 40:
            star = self.draw.one_of(("t", "gen", "v", "par"))
            names = ", ".join(f"k{index}" for index in range(len(RELATIONS[star])))
            return (f"(SELECT * FROM {star}) {alias}({names})",
                    [Col(f"{alias}.k{index}", kind, hot) for index, (_, kind, hot) in enumerate(RELATIONS[star])])
        if choice < 44:
            return (f"(VALUES (1, 'a'), (2, '219-09-0002'), (3, NULL)) {alias}(x, y)",
                    [Col(f"{alias}.x", INT), Col(f"{alias}.y", TEXT)])
        if choice < 49:
            bound = self.expression(INT, left, 0) if left and self.draw.chance(60) else "3"
            return f"generate_series(1, least(5, {bound})) {alias}(g)", [Col(f"{alias}.g", INT)]
        if choice < 70 and self.hot and any(col.text.endswith(".grp") for col in left):
            self.hot -= 1
            docs = next(col.text for col in left if col.text.endswith(".grp"))[:-4]
            if self.draw.chance(50):
                return f"jsonb_each_text({docs}.doc) {alias}", [Col(f"{alias}.key", TEXT, True), Col(f"{alias}.value", TEXT, True)]
            return f"unnest({docs}.tags) {alias}(tag)", [Col(f"{alias}.tag", TEXT, True)]
        if choice < 59:
            one, two = self.draw.one_of((("t", "u"), ("u", "docs"), ("t", "gen"), ("v", "u"), ("par", "t")))
            columns = {name: (kind, hot) for name, kind, hot in RELATIONS[one]}
            using = self.draw.one_of(("id", "id", "id, ssn")) if self.hot and {one, two} == {"t", "gen"} else "id"
            self.hot -= using != "id"
            return (f"({one} JOIN {two} {self.fresh('b')} USING ({using})) {alias}" if self.draw.chance(50) else
                    f"(SELECT * FROM {one} JOIN {two} {self.fresh('b')} USING ({using})) {alias}",
                    [Col(f"{alias}.id", INT)] + [Col(f"{alias}.{name}", kind, hot) for name, (kind, hot) in columns.items()
                                                 if name not in ("id", "ssn")])
        name = self.draw.one_of(list(RELATIONS))
        columns = RELATIONS[name]
        return f"{name} {alias}", [Col(f"{alias}.{column}", kind, hot) for column, kind, hot in columns]

    # ---------------------------------------------------------------- expressions

    def column(self, kind: str | None, scope: list[Col], default: str | None = "1") -> str | None:
        """A column of the type, a labelled one if the statement may still have one."""
        fitting = [col for col in scope if kind in (None, col.type)]
        hot = [col for col in fitting if col.hot]
        cold = [col for col in fitting if not col.hot]
        if hot and self.hot > 0 and self.draw.chance(60):
            self.hot -= 1
            return self.draw.one_of(hot).text
        if cold:
            return self.draw.one_of(cold).text
        return default

    def expression(self, kind: str, scope: list[Col], depth: int) -> str:
        if self.draw.chance(35) or depth <= 0:
            found = self.column(kind, scope, None)
            if found is not None:
                return found
        if kind == INT:
            return self.integer(scope, depth - 1)
        if kind == TEXT:
            return self.string(scope, depth - 1)
        return self.boolean(scope, depth - 1)

    def integer(self, scope: list[Col], depth: int) -> str:
        choice = self.draw.below(8) if depth >= 0 else 0
        if choice == 1:
            return f"({self.expression(INT, scope, depth)} + {self.expression(INT, scope, depth)})"
        if choice == 2:
            return f"length({self.expression(TEXT, scope, depth)})"
        if choice == 3:
            return (f"CASE WHEN {self.expression(BOOL, scope, depth)} THEN {self.expression(INT, scope, depth)}"
                    f" ELSE {self.expression(INT, scope, depth)} END")
        if choice == 4:
            inner, columns = self.select(depth, scope, want=(INT,))
            return f"(SELECT max(s.{columns[0][0]}) FROM {inner} s)"
        if choice == 5:
            return f"coalesce({self.expression(INT, scope, depth)}, 7)"
        if choice == 6:
            inner, _ = self.select(depth, scope)
            return f"(SELECT count(*) FROM {inner} s)"
        return str(self.draw.below(9))

    def string(self, scope: list[Col], depth: int) -> str:
        choice = self.draw.below(9) if depth >= 0 else 0
        if choice == 1:
            return f"({self.expression(TEXT, scope, depth)} || {self.expression(TEXT, scope, depth)})"
        if choice == 2:
            return f"upper({self.expression(TEXT, scope, depth)})"
        if choice == 3:
            return (f"CASE {self.expression(INT, scope, depth)} WHEN {self.expression(INT, scope, depth)}"
                    f" THEN {self.expression(TEXT, scope, depth)} ELSE {self.expression(TEXT, scope, depth)} END")
        if choice == 4:
            inner, columns = self.select(depth, scope, want=(TEXT,))
            return f"(SELECT min(s.{columns[0][0]}) FROM {inner} s)"
        if choice == 5:
            return f"({self.expression(INT, scope, depth)})::text"
        if choice == 6:
            return f"left({self.expression(TEXT, scope, depth)}, 6)"
        if choice == 7:
            inner, columns = self.select(depth, scope, want=(TEXT,))
            return f"ARRAY(SELECT s.{columns[0][0]} FROM {inner} s)::text"
        return self.draw.one_of(("'a'", "'219-09-0001'", "'x'", "NULL::text"))

    def boolean(self, scope: list[Col], depth: int) -> str:
        choice = self.draw.below(11)
        if depth >= 0 and choice == 1:
            inner, _ = self.select(depth, scope)
            return f"EXISTS {inner}"
        if depth >= 0 and choice == 2:
            kind = self.draw.one_of((INT, TEXT))
            inner, _ = self.select(depth, scope, want=(kind,))
            return f"{self.expression(kind, scope, 0)} {self.draw.one_of(('IN', 'NOT IN', '< ANY', '>= ALL'))} {inner}"
        if choice == 3:
            return f"({self.expression(BOOL, scope, depth)} AND {self.expression(BOOL, scope, depth)})" if depth >= 0 else "true"
        if choice == 4:
            return f"({self.expression(BOOL, scope, depth)} OR {self.expression(BOOL, scope, depth)})" if depth >= 0 else "true"
        if choice == 5:
            return f"{self.expression(TEXT, scope, depth)} IS NULL"
        if choice == 6:
            return f"{self.expression(TEXT, scope, depth)} LIKE '2%'"
        if choice == 7:
            return f"NOT ({self.expression(BOOL, scope, depth)})" if depth >= 0 else "true"
        if choice == 8:
            return f"{self.expression(TEXT, scope, depth)} IN ('a', '219-09-0002', 'x')"
        if choice == 9:
            return f"{self.expression(TEXT, scope, depth)} = '219-09-0001'"
        return f"{self.expression(INT, scope, depth)} {self.draw.one_of(('<', '=', '>', '<>'))} {self.expression(INT, scope, depth)}"
