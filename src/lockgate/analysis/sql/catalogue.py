"""What a database holds: relations, columns, views and what users added to the language.

A snapshot, taken on a connection that the gateway holds itself, with `search_path = ''`, so that view
definitions come with qualified names. It does no I/O: the protocol runs `Catalogue.QUERIES` (every
column is text) and hands over the rows.

Temporary relations of any session are left out: another session's cannot be read, and one's own are
known to `SessionNames`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from lockgate.analysis.sql.covers import KnownColumns

Row = Sequence[str | None]

SYSTEM_SCHEMAS: Final = frozenset(("pg_catalog", "information_schema", "pg_toast"))

_NOT_TEMPORARY: Final = "n.nspname !~ '^pg_(toast_)?temp_'"
_FIRST_USER_OID: Final = 16384

_RELATIONS: Final = f"""
select c.oid::text, n.nspname::text, c.relname::text, c.relkind::text,
       case when c.relkind in ('v', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
            then pg_catalog.pg_get_viewdef(c.oid) end,
       (c.relhasrules and exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid and r.ev_type <> '1'))::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where (c.relkind in ('r', 'p', 'v', 'm', 'f', 't', 'S', 'c')
       or c.relkind in ('i', 'I') and n.nspname not in ('pg_catalog', 'pg_toast')) and {_NOT_TEMPORARY}
order by c.oid
"""  # noqa: S608 - constants of this file
_ROW_OF: Final = """(with recursive part(oid, depth) as (
           select t.oid, 0 union all
           select case when y.typtype = 'd' then y.typbasetype else y.typelem end, depth + 1
           from part join pg_catalog.pg_type y on y.oid = part.oid
           where depth < 8 and (y.typtype = 'd' or y.typelem <> 0))
         select max(y.typrelid::bigint)::text from part join pg_catalog.pg_type y on y.oid = part.oid
         where y.typrelid <> 0)"""
# The type of a domain is given as its base type: it is what goes over the wire, and a domain may forbid
# the NULL that stands for a protected value.
_COLUMNS: Final = f"""
select a.attrelid::text, a.attnum::text, a.attname::text,
       coalesce(pg_catalog.format_type(bt.oid, t.typtypmod), pg_catalog.format_type(a.atttypid, a.atttypmod)),
       case when tn.nspname = 'pg_catalog' then t.typname::text end, t.typtype::text,
       case when a.attgenerated <> '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end, t.typname::text,
       case when tn.nspname <> 'pg_catalog' then {_ROW_OF} end
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_namespace tn on tn.oid = t.typnamespace
left join pg_catalog.pg_type bt on t.typtype = 'd' and bt.oid = t.typbasetype and bt.typtype = 'b'
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and {_NOT_TEMPORARY}
order by a.attrelid, a.attnum
"""  # noqa: S608 - constants of this file
_INHERITS: Final = """
select i.inhrelid::text, i.inhparent::text from pg_catalog.pg_inherits i
join pg_catalog.pg_class c on c.oid = i.inhrelid where c.relkind in ('r', 'p', 'f')
"""
# What a write sets in motion: the relation with a foreign key to this one, or 0 for a trigger's function.
_REACTIONS: Final = """
select k.confrelid::text, k.conrelid::text from pg_catalog.pg_constraint k where k.contype = 'f'
union all
select g.tgrelid::text, '0' from pg_catalog.pg_trigger g where not g.tgisinternal
"""
# Of the foreign keys those that change rows of the referencing relation: CASCADE, SET NULL, SET DEFAULT.
_CASCADES: Final = """
select k.confrelid::text, k.conrelid::text from pg_catalog.pg_constraint k
where k.contype = 'f' and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
"""
_IS_EXTENSION: Final = """exists (select from pg_catalog.pg_depend x where x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        and x.objid = p.oid and x.deptype = 'e')"""
_EXTENSION_ADMITTED: Final = ", ".join(f"'{name}'" for name in (
    "gen_random_bytes", "gen_random_uuid", "gen_salt", "show_limit", "unaccent", "uuid_generate_v1",
    "uuid_generate_v1mc", "uuid_generate_v4",
))
"""Functions of pgcrypto, pg_trgm, unaccent and uuid-ossp that are not immutable and read no relation.
Others stay out: `crosstab`, `connectby` and `xpath_table` are declared stable and run SQL given as text."""
_IS_PURE: Final = f"""(p.provolatile = 'i' and l.lanname in ('internal', 'c') and p.prokind in ('f', 'w')
        or p.prokind = 'a' and p.oid < {_FIRST_USER_OID}
        or p.prokind in ('a', 'f', 'w') and p.provolatile = 'i' and l.lanname in ('internal', 'c') and {_IS_EXTENSION}
        or p.oid < {_FIRST_USER_OID} and p.provolatile in ('i', 's') and l.lanname in ('internal', 'sql')
        or p.proname in ({_EXTENSION_ADMITTED}) and l.lanname = 'c' and {_IS_EXTENSION})"""
_FUNCTIONS: Final = f"""
select n.nspname::text, p.proname::text, {_IS_PURE}::text,
       (p.pronargs - p.pronargdefaults <= 1 and p.pronargs >= 1 and t.typtype in ('c', 'p', 'd'))::text
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
left join pg_catalog.pg_type t on t.oid = p.proargtypes[0]
where p.oid >= {_FIRST_USER_OID} and {_NOT_TEMPORARY}
"""  # noqa: S608 - constants of this file
_OPERATORS: Final = f"""
select n.nspname::text, o.oprname::text,
       ({_IS_PURE} or p.provolatile = 's' and l.lanname = 'c' and {_IS_EXTENSION})::text
from pg_catalog.pg_operator o
join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
join pg_catalog.pg_proc p on p.oid = o.oprcode
join pg_catalog.pg_language l on l.oid = p.prolang
where o.oid >= {_FIRST_USER_OID}
"""  # noqa: S608 - constants of this file
_CASTS: Final = f"""
select s.typname::text, t.typname::text, {_IS_PURE}::text,
       (s.typnamespace = 'pg_catalog'::pg_catalog.regnamespace)::text,
       (t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace)::text
from pg_catalog.pg_cast k
join pg_catalog.pg_type s on s.oid = k.castsource
join pg_catalog.pg_type t on t.oid = k.casttarget
join pg_catalog.pg_proc p on p.oid = k.castfunc
join pg_catalog.pg_language l on l.oid = p.prolang
where k.oid >= {_FIRST_USER_OID}
"""  # noqa: S608 - constants of this file

_SUM: Final = "coalesce(sum(x.xmin::text::bigint), 0)::text || ':' || count(*)::text"


def _stamp(table: str, where: str = "", join: str = "") -> str:
    return f"(select {_SUM} from pg_catalog.{table} x {join} {where})"  # noqa: S608 - constants of this file


_FINGERPRINT: Final = "select " + " || '/' || ".join((
    _stamp("pg_class", "where x.relpersistence <> 't'"),
    _stamp("pg_attribute", "where x.attnum > 0",
           f"join pg_catalog.pg_class c on c.oid = x.attrelid and c.oid >= {_FIRST_USER_OID}"
           " and c.relpersistence <> 't' and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')"),
    _stamp("pg_constraint", "where x.contype = 'f'"),
    _stamp("pg_trigger", "where not x.tgisinternal"),
    _stamp("pg_rewrite", f"where x.oid >= {_FIRST_USER_OID}"),
    _stamp("pg_attrdef"),
    _stamp("pg_proc", f"where x.oid >= {_FIRST_USER_OID}"),
    _stamp("pg_operator", f"where x.oid >= {_FIRST_USER_OID}"),
    _stamp("pg_cast", f"where x.oid >= {_FIRST_USER_OID}"),
    _stamp("pg_inherits"),
    _stamp("pg_namespace", "where x.nspname !~ '^pg_(toast_)?temp_'"),
    _stamp("pg_type", f"where x.oid >= {_FIRST_USER_OID} and x.typtype in ('d', 'e', 'b', 'r')"
           " and x.typelem = 0"),
))


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `type` is the declared type with modifier; `base` its built-in type's name or None;
    `kind` is pg_type.typtype; `generated` the expression of a generated column."""

    number: int
    name: str
    type: str
    base: str | None
    kind: str
    generated: str | None = None
    type_name: str = ""
    row_of: int = 0             # the relation or composite type whose rows it holds, also in arrays and domains


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view, materialised view, foreign table, sequence or TOAST table (`kind` as in pg_class)."""

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[Column, ...] = ()
    definition: str | None = None
    has_rules: bool = False

    @property
    def is_system(self) -> bool:
        return self.schema in SYSTEM_SCHEMAS


@dataclass(frozen=True, slots=True)
class Routine:
    """A function or operator that somebody added. `is_pure`: a function of its arguments alone, as far
    as its declaration and its origin (an extension's C code) can vouch for it."""

    schema: str
    name: str
    is_pure: bool
    takes_row: bool = False


class Catalogue:
    """One snapshot. Immutable apart from what is derived from it and kept with it (`derived`)."""

    QUERIES: ClassVar[Mapping[str, str]] = {
        "relations": _RELATIONS, "columns": _COLUMNS, "inherits": _INHERITS, "functions": _FUNCTIONS,
        "operators": _OPERATORS, "casts": _CASTS, "reactions": _REACTIONS, "cascades": _CASCADES,
        "encoding": "select pg_catalog.getdatabaseencoding()::text",
    }
    """Name → SQL. Run them with `search_path = ''` in one REPEATABLE READ transaction."""

    FINGERPRINT: ClassVar[str] = _FINGERPRINT
    """One text value that changes with any DDL on user objects, whoever does it: row counts and summed
    transaction ids of twelve system catalogues. Not covered: changes to built-in objects (superuser
    only) and a rewritten row whose transaction id sums up to the old total."""

    def __init__(self, relations: Sequence[Relation], inherits: Sequence[tuple[int, int]],
                 functions: Sequence[Routine], operators: Sequence[Routine], casts: frozenset[str],
                 version: int, fingerprint: str,
                 reactions: Sequence[tuple[int, int]] = (), is_utf8: bool = True,
                 known: KnownColumns | None = None, cascades: Sequence[tuple[int, int]] = ()) -> None:
        self.version = version
        self.fingerprint = fingerprint
        self.relations = tuple(relations)
        self.by_oid = {relation.oid: relation for relation in relations}
        self.by_name: dict[str, tuple[Relation, ...]] = {}
        for relation in relations:
            self.by_name[relation.name] = (*self.by_name.get(relation.name, ()), relation)
        self.inherits = tuple(inherits)
        self.is_utf8 = is_utf8
        """Otherwise the server's scanner folds and cuts names outside ASCII in another way than ours."""
        self.children = _targets_of((parent, child) for child, parent in inherits)
        self.reactions = _targets_of(reactions)
        """Relation → relations whose foreign keys follow a change of it; 0 stands for a trigger's function."""
        self.cascades = _targets_of(cascades)
        """… and those of them whose rows a foreign key changes with it."""
        self.functions = _by_name(functions)
        self.operators = _by_name(operators)
        self.impure_casts = casts
        """Names of types that a cast with a function of unknown effect converts from or to."""
        self.by_cast = frozenset(
            relation.oid for relation in relations
            if any(column.type_name.lstrip("_") in casts and column.base is None for column in relation.columns))
        """Relations with a column of such a type: reading it may run the cast without naming the type."""
        self.known = known
        """The columns that somebody has classified; None where the connection keeps no list of them."""
        self.derived: dict[object, object] = {}

    @classmethod
    def from_rows(cls, rows: Mapping[str, Sequence[Row]], version: int, fingerprint: str,
                  known: KnownColumns | None = None) -> Catalogue:
        """A snapshot from the results of `QUERIES`."""
        columns: dict[int, list[Column]] = {}
        for row in rows["columns"]:
            columns.setdefault(_number(row[0]), []).append(
                Column(_number(row[1]), row[2] or "", row[3] or "", row[4], row[5] or "", row[6],
                       row[7] or "", _number(row[8]) if len(row) > 8 else 0))
        relations = [
            Relation(_number(row[0]), row[1] or "", row[2] or "", row[3] or "",
                     tuple(columns.get(_number(row[0]), ())), row[4], _is_true(row[5]))
            for row in rows["relations"]
        ]
        inherits = [(_number(row[0]), _number(row[1])) for row in rows["inherits"]]
        functions = [Routine(row[0] or "", row[1] or "", _is_true(row[2]), _is_true(row[3]))
                     for row in rows["functions"]]
        operators = [Routine(row[0] or "", row[1] or "", _is_true(row[2])) for row in rows["operators"]]
        casts = frozenset(name for row in rows["casts"] if not _is_true(row[2]) for name in _cast_types(row))
        reactions = [(_number(row[0]), _number(row[1])) for row in rows.get("reactions", ())]
        cascades = [(_number(row[0]), _number(row[1])) for row in rows.get("cascades", ())]
        return cls(relations, inherits, functions, operators, casts, version, fingerprint, reactions,
                   all(row[0] == "UTF8" for row in rows.get("encoding", ())), known, cascades)

    def candidates(self, schema: str | None, name: str) -> tuple[Relation, ...]:
        """Every relation that the name could mean, whatever the search path is."""
        found = self.by_name.get(name, ())
        if schema is None:
            return found
        return tuple(relation for relation in found if relation.schema == schema)


def _targets_of(pairs: Iterable[tuple[int, int]]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for source, target in pairs:
        found.setdefault(source, []).append(target)
    return {source: tuple(targets) for source, targets in found.items()}


def _cast_types(row: Row) -> list[str]:
    """The types that give a cast away: the user's own ones, or both where both are built in."""
    names, builtin = (row[0] or "", row[1] or ""), (_is_true(row[3]), _is_true(row[4]))
    own = [name for name, is_builtin in zip(names, builtin, strict=True) if not is_builtin]
    return own or list(names)


def _by_name(routines: Sequence[Routine]) -> dict[str, tuple[Routine, ...]]:
    found: dict[str, tuple[Routine, ...]] = {}
    for routine in routines:
        found[routine.name] = (*found.get(routine.name, ()), routine)
    return found


def _number(text: str | None) -> int:
    return int(text or "0")


def _is_true(text: str | None) -> bool:
    return text in ("t", "true")
