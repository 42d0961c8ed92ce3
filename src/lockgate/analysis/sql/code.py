"""Code that somebody added to a database: functions, triggers, and the expressions that call them unseen.

Apart from `catalogue`, which holds what a database stores: here is what it can run, as values and as the
queries that find it. Bodies come as text and are read by `routines` when a statement first reaches them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Row = Sequence[str | None]
Name = tuple[str | None, str]
"""Schema (None: any) and name."""

FIRST_USER_OID: Final = 16384
"""Everything below was there when the database was made (`FirstNormalObjectId`, access/transam.h)."""
LONGEST_BODY: Final = 262_144
"""Bytes of a function body that is fetched; a longer one is a function of unknown effect."""

NOT_TEMPORARY: Final = "n.nspname !~ '^pg_(toast_)?temp_'"
_IS_EXTENSION: Final = """exists (select from pg_catalog.pg_depend x where x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        and x.objid = p.oid and x.deptype = 'e')"""
_EXTENSION_ADMITTED: Final = ", ".join(f"'{name}'" for name in (
    "autoinc", "gen_random_bytes", "gen_random_uuid", "gen_salt", "insert_username", "moddatetime", "show_limit",
    "unaccent", "uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4",
))
"""Functions of pgcrypto, pg_trgm, spi, unaccent and uuid-ossp that are not immutable and read no relation.
Others stay out: `crosstab`, `connectby` and `xpath_table` are declared stable and run SQL given as text."""
_IS_PURE: Final = f"""(p.provolatile = 'i' and l.lanname in ('internal', 'c') and p.prokind in ('f', 'w')
        or p.prokind = 'a' and p.oid < {FIRST_USER_OID}
        or p.prokind in ('a', 'f', 'w') and p.provolatile = 'i' and l.lanname in ('internal', 'c') and {_IS_EXTENSION}
        or p.oid < {FIRST_USER_OID} and p.provolatile in ('i', 's') and l.lanname in ('internal', 'sql')
        or p.proname in ({_EXTENSION_ADMITTED}) and l.lanname = 'c' and {_IS_EXTENSION})"""

# The text that CREATE FUNCTION would take, with every name qualified (`search_path` is empty): language,
# arguments with their defaults, and a BEGIN ATOMIC body, which is kept as a tree, come out of it alike.
_FUNCTIONS: Final = f"""
select n.nspname::text, p.proname::text, {_IS_PURE}::text,
       (p.pronargs - p.pronargdefaults <= 1 and p.pronargs >= 1 and t.typtype in ('c', 'p', 'd'))::text,
       p.oid::text, p.prokind::text, l.lanname::text, (p.pronargs - p.pronargdefaults)::text,
       case when p.provariadic = 0 then p.pronargs::text end,
       case when l.lanname in ('sql', 'plpgsql') and p.prokind in ('f', 'p') and octet_length(p.prosrc) <= {LONGEST_BODY}
            then pg_catalog.pg_get_functiondef(p.oid) end,
       p.proretset::text
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
left join pg_catalog.pg_type t on t.oid = p.proargtypes[0]
where p.oid >= {FIRST_USER_OID} and {NOT_TEMPORARY}
"""  # noqa: S608 - constants of this file
# Every function that an aggregate calls (manual, "pg_aggregate").
_AGGREGATES: Final = f"""
select a.aggfnoid::pg_catalog.oid::text, n.nspname::text, p.proname::text
from pg_catalog.pg_aggregate a
cross join lateral unnest(array[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                                a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]) f(part)
join pg_catalog.pg_proc p on p.oid = f.part::pg_catalog.oid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where a.aggfnoid::pg_catalog.oid >= {FIRST_USER_OID}
"""  # noqa: S608 - constants of this file
_OPERATORS: Final = f"""
select n.nspname::text, o.oprname::text,
       ({_IS_PURE} or p.provolatile = 's' and l.lanname = 'c' and {_IS_EXTENSION})::text, pn.nspname::text, p.proname::text
from pg_catalog.pg_operator o
join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
join pg_catalog.pg_proc p on p.oid = o.oprcode
join pg_catalog.pg_namespace pn on pn.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
where o.oid >= {FIRST_USER_OID}
"""  # noqa: S608 - constants of this file
_CASTS: Final = f"""
select s.typname::text, t.typname::text, {_IS_PURE}::text,
       (s.typnamespace = 'pg_catalog'::pg_catalog.regnamespace)::text,
       (t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace)::text, pn.nspname::text, p.proname::text
from pg_catalog.pg_cast k
join pg_catalog.pg_type s on s.oid = k.castsource
join pg_catalog.pg_type t on t.oid = k.casttarget
join pg_catalog.pg_proc p on p.oid = k.castfunc
join pg_catalog.pg_namespace pn on pn.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
where k.oid >= {FIRST_USER_OID}
"""  # noqa: S608 - constants of this file
_TRIGGERS: Final = """
select g.tgrelid::text, n.nspname::text, p.proname::text, g.tgtype::text, pg_catalog.encode(g.tgargs, 'escape'),
       case when g.tgqual is not null then pg_catalog.pg_get_triggerdef(g.oid) end
from pg_catalog.pg_trigger g
join pg_catalog.pg_proc p on p.oid = g.tgfoid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where not g.tgisinternal and g.tgenabled <> 'D'
"""


def _calls(catalogue: str, oid: str) -> str:
    """Whether an object's expressions call a function or operator that somebody added: such a dependency is
    always recorded (manual, "pg_depend")."""
    return (f"exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.{catalogue}'::pg_catalog.regclass"
            f" and d.objid = {oid} and d.refobjid >= {FIRST_USER_OID} and d.refclassid in ("
            "'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass))")


# Expressions that run without being written in a statement. An event trigger is one that calls its function.
_WIRED: Final = f"""
select 'default', a.adrelid::text, a.adnum::text, '', pg_catalog.pg_get_expr(a.adbin, a.adrelid)
from pg_catalog.pg_attrdef a
where {_calls('pg_attrdef', 'a.oid')} or pg_catalog.pg_get_expr(a.adbin, a.adrelid) like '%current_query%'
union all
select case when k.contypid <> 0 then 'domain' else 'check' end, k.conrelid::text, '0', coalesce(t.typname::text, ''),
       pg_catalog.pg_get_expr(k.conbin, k.conrelid)
from pg_catalog.pg_constraint k left join pg_catalog.pg_type t on t.oid = k.contypid
where k.contype = 'c' and {_calls('pg_constraint', 'k.oid')}
union all
select 'domain', '0', '0', t.typname::text, pg_catalog.pg_get_expr(t.typdefaultbin, 0)
from pg_catalog.pg_type t where t.typtype = 'd' and t.typdefaultbin is not null
  and ({_calls('pg_type', 't.oid')} or pg_catalog.pg_get_expr(t.typdefaultbin, 0) like '%current_query%')
union all
select 'index', i.indrelid::text, '0', '', e.expression
from pg_catalog.pg_index i
cross join lateral unnest(array[pg_catalog.pg_get_expr(i.indexprs, i.indrelid),
                                pg_catalog.pg_get_expr(i.indpred, i.indrelid)]) e(expression)
where (i.indexprs is not null or i.indpred is not null) and e.expression is not null and {_calls('pg_class', 'i.indexrelid')}
union all
select 'partition', q.partrelid::text, '0', '', pg_catalog.pg_get_expr(q.partexprs, q.partrelid)
from pg_catalog.pg_partitioned_table q where q.partexprs is not null and {_calls('pg_class', 'q.partrelid')}
union all
select 'policy', q.polrelid::text, '0', '', e.expression
from pg_catalog.pg_policy q
cross join lateral unnest(array[pg_catalog.pg_get_expr(q.polqual, q.polrelid),
                                pg_catalog.pg_get_expr(q.polwithcheck, q.polrelid)]) e(expression)
where e.expression is not null
union all
select 'event', '0', '0', '', pg_catalog.format('%I.%I()', n.nspname, p.proname)
from pg_catalog.pg_event_trigger g join pg_catalog.pg_proc p on p.oid = g.evtfoid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace where g.evtenabled <> 'D'
"""  # noqa: S608 - constants of this file

QUERIES: Final[Mapping[str, str]] = {
    "functions": _FUNCTIONS, "aggregates": _AGGREGATES, "operators": _OPERATORS, "casts": _CASTS,
    "triggers": _TRIGGERS, "wired": _WIRED,
}
"""Name → SQL, a part of `Catalogue.QUERIES`."""


@dataclass(frozen=True, slots=True)
class Routine:
    """A function, procedure, aggregate or operator that somebody added.

    `is_pure`: a function of its arguments alone, as far as its declaration and its origin (an extension's
    C code) can vouch for it. `definition` is what CREATE FUNCTION takes, or an expression where `language` is
    "expression"; None where the body is not known. `least` and `most` bound the arguments that a call gives;
    None is no bound. `parts` are functions that it runs by its definition: an aggregate's, an operator's.
    """

    schema: str
    name: str
    is_pure: bool
    takes_row: bool = False
    oid: int = 0
    kind: str = "f"
    language: str = ""
    least: int = 0
    most: int | None = None
    definition: str | None = None
    parts: tuple[Name, ...] = ()
    returns_set: bool = True

    def takes(self, count: int) -> bool:
        """Whether a call with so many arguments can mean this one; a negative number is unknown.

        Only plain functions are told apart: a CALL also names output arguments, and an ordered-set
        aggregate takes some behind WITHIN GROUP (manual, "Function Type Resolution").
        """
        return count < 0 or self.kind != "f" or (self.least <= count and (self.most is None or count <= self.most))


_ROW, _BEFORE, _INSTEAD = 1, 2, 64


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger that is not disabled. `type` has the bits of `pg_trigger.tgtype`; `definition` is there where it
    has a WHEN, and then is the whole CREATE TRIGGER."""

    relation: int
    function: Name
    type: int
    arguments: tuple[str, ...] = ()
    definition: str | None = None

    @property
    def changes_row(self) -> bool:
        """Whether what it leaves in NEW is what is stored."""
        return bool(self.type & _ROW and self.type & (_BEFORE | _INSTEAD))


@dataclass(frozen=True, slots=True)
class Wired:
    """An expression that runs where nobody wrote it: a default (of the column `number`), check, index,
    partition key or row-level policy of a relation."""

    kind: str
    number: int
    routine: Routine


class Code:
    """All of it, by what leads to it. `rows` are the results of `QUERIES`."""

    def __init__(self, rows: Mapping[str, Sequence[Row]]) -> None:
        parts: dict[str | None, list[Name]] = {}
        for row in rows.get("aggregates", ()):
            parts.setdefault(row[0], []).append((row[1], row[2] or ""))
        self.functions = _by_name([_function(row, tuple(parts.get(row[4], ())) if len(row) > 4 else ())
                                   for row in rows["functions"]])
        self.operators = _by_name([
            Routine(row[0] or "", row[1] or "", is_true(row[2]), parts=((row[3], row[4] or ""),) if len(row) > 4 else ())
            for row in rows["operators"]])
        self.casts: dict[str, tuple[Name, ...]] = {}
        """Type → functions of casts from or to it that are not pure."""
        for row in rows["casts"]:
            if not is_true(row[2]):
                for name in _cast_types(row):
                    self.casts[name] = (*self.casts.get(name, ()), (row[5], row[6] or "") if len(row) > 6 else (None, ""))
        self.triggers: dict[int, tuple[Trigger, ...]] = {}
        for row in rows.get("triggers", ()):
            trigger = _trigger(row)
            self.triggers[trigger.relation] = (*self.triggers.get(trigger.relation, ()), trigger)
        self.wired: dict[int, tuple[Wired, ...]] = {}
        self.domains: dict[str, tuple[Routine, ...]] = {}
        """Domain → what is checked of its values, and what makes its default."""
        self.events: tuple[Routine, ...] = ()
        """What runs at every change of a definition."""
        for row in rows.get("wired", ()):
            self._wire(row)

    def _wire(self, row: Row) -> None:
        kind, relation, type_name = row[0] or "", number(row[1]), row[3] or ""
        shown = f"{kind} of domain {type_name}" if kind == "domain" else kind
        routine = Routine("", shown, False, language="expression", definition=row[4])
        if kind == "domain":
            self.domains[type_name] = (*self.domains.get(type_name, ()), routine)
        elif kind == "event":
            self.events = (*self.events, routine)
        else:
            self.wired[relation] = (*self.wired.get(relation, ()), Wired(kind, number(row[2]), routine))


def _function(row: Row, parts: tuple[Name, ...]) -> Routine:
    if len(row) <= 4:
        return Routine(row[0] or "", row[1] or "", is_true(row[2]), is_true(row[3]))
    return Routine(row[0] or "", row[1] or "", is_true(row[2]), is_true(row[3]), number(row[4]), row[5] or "f",
                   row[6] or "", number(row[7]), None if row[8] is None else int(row[8]), row[9], parts,
                   len(row) <= 10 or is_true(row[10]))


def _trigger(row: Row) -> Trigger:
    # encode(…, 'escape') writes the NUL that ends each argument as \000
    arguments = tuple((row[4] or "").split("\\000")[:-1])
    return Trigger(number(row[0]), (row[1], row[2] or ""), number(row[3]), arguments, row[5])


def _cast_types(row: Row) -> list[str]:
    """The types that give a cast away: the user's own ones, or both where both are built in."""
    names, builtin = (row[0] or "", row[1] or ""), (is_true(row[3]), is_true(row[4]))
    own = [name for name, is_builtin in zip(names, builtin, strict=True) if not is_builtin]
    return own or list(names)


def _by_name(routines: Sequence[Routine]) -> dict[str, tuple[Routine, ...]]:
    found: dict[str, tuple[Routine, ...]] = {}
    for routine in routines:
        found[routine.name] = (*found.get(routine.name, ()), routine)
    return found


def number(text: str | None) -> int:
    """An integer column; 0 for NULL."""
    return int(text or "0")


def is_true(text: str | None) -> bool:
    """A boolean column, as text or by a cast to it."""
    return text in ("t", "true")
