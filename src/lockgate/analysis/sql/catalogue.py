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
from typing import TYPE_CHECKING, Any, ClassVar, Final

from lockgate.analysis.sql import code
from lockgate.analysis.sql.code import FIRST_USER_OID, NOT_TEMPORARY, Code, Row, is_true, number

if TYPE_CHECKING:
    from lockgate.analysis.sql.covers import KnownColumns

SYSTEM_SCHEMAS: Final = frozenset(("pg_catalog", "information_schema", "pg_toast"))


_RELATIONS: Final = f"""
select c.oid::text, n.nspname::text, c.relname::text, c.relkind::text,
       case when c.relkind in ('v', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
            then pg_catalog.pg_get_viewdef(c.oid) end,
       (c.relhasrules and exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid and r.ev_type <> '1'))::text,
       case when c.relkind in ('v', 'm') then exists (
           select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
           and d.objid = c.oid and d.deptype = 'e') end::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where (c.relkind in ('r', 'p', 'v', 'm', 'f', 't', 'S', 'c')
       or c.relkind in ('i', 'I') and n.nspname not in ('pg_catalog', 'pg_toast')) and {NOT_TEMPORARY}
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
  and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and {NOT_TEMPORARY}
order by a.attrelid, a.attnum
"""  # noqa: S608 - constants of this file
_INHERITS: Final = """
select i.inhrelid::text, i.inhparent::text from pg_catalog.pg_inherits i
join pg_catalog.pg_class c on c.oid = i.inhrelid where c.relkind in ('r', 'p', 'f')
"""
# What a change sets in motion: the relation with a foreign key to this one.
_REACTIONS: Final = """
select k.confrelid::text, k.conrelid::text from pg_catalog.pg_constraint k where k.contype = 'f'
"""
# The columns of foreign keys, and those that they refer to.
_REFERENCES: Final = """
select k.conrelid::text, c.own::text, k.confrelid::text, c.other::text from pg_catalog.pg_constraint k
cross join lateral rows from (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) as c(own, other)
where k.contype = 'f'
"""
_KEYS: Final = f"""
select i.indrelid::text, k.number::text from pg_catalog.pg_index i
cross join lateral pg_catalog.unnest(i.indkey::int2[]) as k(number)
where i.indisprimary and i.indrelid >= {FIRST_USER_OID}
"""  # noqa: S608 - constants of this file
# Of the foreign keys those that change rows of the referencing relation: CASCADE, SET NULL, SET DEFAULT.
_CASCADES: Final = """
select k.confrelid::text, k.conrelid::text from pg_catalog.pg_constraint k
where k.contype = 'f' and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
"""
# Columns that a unique or exclusion constraint or index holds; 0 stands for an expression over any of them.
_UNIQUES: Final = f"""
select i.indrelid::text, k.number::text from pg_catalog.pg_index i
cross join lateral pg_catalog.unnest(i.indkey::int2[]) as k(number)
where (i.indisunique or i.indisexclusion) and i.indrelid >= {FIRST_USER_OID}
"""  # noqa: S608 - constants of this file
# A partition key cannot be altered: the stamp of pg_class tells of every new one.
_PARTITIONS: Final = """
select p.partrelid::text, k.number::text from pg_catalog.pg_partitioned_table p
cross join lateral pg_catalog.unnest(p.partattrs::int2[]) as k(number)
"""

_SUM: Final = "coalesce(sum(x.xmin::text::bigint), 0)::text || ':' || count(*)::text"


def _stamp(table: str, where: str = "", join: str = "") -> str:
    return f"(select {_SUM} from pg_catalog.{table} x {join} {where})"  # noqa: S608 - constants of this file


_FINGERPRINT: Final = "select " + " || '/' || ".join((
    _stamp("pg_class", "where x.relpersistence <> 't'"),
    _stamp("pg_attribute", "where x.attnum > 0",
           f"join pg_catalog.pg_class c on c.oid = x.attrelid and c.oid >= {FIRST_USER_OID}"
           " and c.relpersistence <> 't' and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')"),
    _stamp("pg_constraint", "where x.contype in ('c', 'f')"),
    _stamp("pg_trigger", "where not x.tgisinternal"),
    _stamp("pg_rewrite", f"where x.oid >= {FIRST_USER_OID}"),
    _stamp("pg_attrdef"),
    _stamp("pg_proc", f"where x.oid >= {FIRST_USER_OID}"),
    _stamp("pg_operator", f"where x.oid >= {FIRST_USER_OID}"),
    _stamp("pg_policy"),
    _stamp("pg_event_trigger"),
    _stamp("pg_cast", f"where x.oid >= {FIRST_USER_OID}"),
    _stamp("pg_inherits"),
    _stamp("pg_namespace", "where x.nspname !~ '^pg_(toast_)?temp_'"),
    _stamp("pg_type", f"where x.oid >= {FIRST_USER_OID} and x.typtype in ('d', 'e', 'b', 'r')"
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
    is_extension: bool = False      # a view that an extension has made

    @property
    def is_system(self) -> bool:
        return self.schema in SYSTEM_SCHEMAS


class Catalogue:
    """One snapshot. Immutable apart from what is derived from it and kept with it (`derived`)."""

    QUERIES: ClassVar[Mapping[str, str]] = {
        "relations": _RELATIONS, "columns": _COLUMNS, "inherits": _INHERITS, "reactions": _REACTIONS,
        "cascades": _CASCADES, "references": _REFERENCES, "uniques": _UNIQUES, "keys": _KEYS, "partitions": _PARTITIONS, **code.QUERIES,
        "encoding": "select pg_catalog.getdatabaseencoding()::text",
    }
    """Name → SQL. Run them with `search_path = ''` in one REPEATABLE READ transaction."""

    FINGERPRINT: ClassVar[str] = _FINGERPRINT
    """One text value that changes with any DDL on user objects, whoever does it: row counts and summed
    transaction ids of fourteen system catalogues. Not covered: changes to built-in objects (superuser
    only) and a rewritten row whose transaction id sums up to the old total."""

    def __init__(self, relations: Sequence[Relation], inherits: Sequence[tuple[int, int]],
                 added: Code, version: int, fingerprint: str,
                 reactions: Sequence[tuple[int, int]] = (), is_utf8: bool = True,
                 known: KnownColumns | None = None, uniques: Sequence[tuple[int, int]] | None = None,
                 partitions: Sequence[tuple[int, int]] = (), keys: Sequence[tuple[int, int]] = (),
                 cascades: Sequence[tuple[int, int]] = (),
                 references: Sequence[tuple[int, int, int, int]] = ()) -> None:
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
        self.parents = _targets_of(inherits)
        self.reactions = _targets_of(reactions)
        """Relation → relations whose foreign keys follow a change of it."""
        self.cascades = _targets_of(cascades)
        """… and those of them whose rows a foreign key changes with it."""
        self.references = tuple(references)
        """Columns of foreign keys: relation, attribute, the relation and attribute that it refers to."""
        self.filled: dict[object, dict[tuple[int, int], Any]] = {}
        """What `labels` knows of columns that code has filled, by the masks in force. Handed on from one snapshot of a
        database to the next, because what was put there stays when the code goes."""
        self.code = added
        self.functions = added.functions
        self.operators = added.operators
        self.casting = _types_of(relations, added.casts)
        """Relation → types of its columns that have casts of unknown purity: reading it may run one unnamed."""
        self.checked = _types_of(relations, added.domains)
        """Relation → domains of its columns whose checks call a function."""
        self.uniques = None if uniques is None else {
            oid: frozenset(numbers) for oid, numbers in _targets_of(uniques).items()}
        """Relation → attribute numbers whose values a constraint or index keeps apart; None where that is not known."""
        self.partition_keys = _targets_of(partitions)
        """Partitioned table → attribute numbers that say which partition a row is in; 0 stands for an expression."""
        self.keys = {oid: frozenset(numbers) for oid, numbers in _targets_of(keys).items()}
        """Relation → attribute numbers of its primary key."""
        self.known = known
        """The columns that somebody has classified; None where the connection keeps no list of them."""
        self.derived: dict[object, object] = {}

    @classmethod
    def from_rows(cls, rows: Mapping[str, Sequence[Row]], version: int, fingerprint: str,
                  known: KnownColumns | None = None, before: Catalogue | None = None) -> Catalogue:
        """A snapshot from the results of `QUERIES`; `before` is the one that it takes the place of."""
        columns: dict[int, list[Column]] = {}
        for row in rows["columns"]:
            columns.setdefault(number(row[0]), []).append(
                Column(number(row[1]), row[2] or "", row[3] or "", row[4], row[5] or "", row[6],
                       row[7] or "", number(row[8]) if len(row) > 8 else 0))
        relations = [
            Relation(number(row[0]), row[1] or "", row[2] or "", row[3] or "",
                     tuple(columns.get(number(row[0]), ())), row[4], is_true(row[5]),
                     len(row) > 6 and is_true(row[6]))
            for row in rows["relations"]
        ]
        inherits = [(number(row[0]), number(row[1])) for row in rows["inherits"]]
        reactions = [(number(row[0]), number(row[1])) for row in rows.get("reactions", ())]
        made = cls(relations, inherits, Code(rows), version, fingerprint, reactions,
                   all(row[0] == "UTF8" for row in rows.get("encoding", ())), known,
                   [(number(row[0]), number(row[1])) for row in rows["uniques"]] if "uniques" in rows else None,
                   [(number(row[0]), number(row[1])) for row in rows.get("partitions", ())],
                   [(number(row[0]), number(row[1])) for row in rows.get("keys", ())],
                   [(number(row[0]), number(row[1])) for row in rows.get("cascades", ())],
                   [(number(row[0]), number(row[1]), number(row[2]), number(row[3])) for row in rows.get("references", ())])
        if before is not None:
            made.filled = before.filled
        return made

    def is_unique(self, oid: int, attribute: int) -> bool:
        """Whether a constraint may tell that a value of the column is there already."""
        if self.uniques is None:
            return True
        seen: set[int] = set()
        stack = [oid]
        while stack:
            relation = stack.pop()
            if relation in seen:
                continue
            seen.add(relation)
            numbers = self.uniques.get(relation, frozenset())
            if 0 in numbers or attribute in numbers or (relation != oid and numbers):
                return True
            stack += self.children.get(relation, ())
        return False

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


def _types_of(relations: Sequence[Relation], names: Mapping[str, object]) -> dict[int, frozenset[str]]:
    """Relation → those of the named types that its columns have, in arrays too."""
    if not names:
        return {}
    found = {relation.oid: frozenset(
        name for column in relation.columns if column.base is None
        for name in (column.type_name, column.type_name[1:], column.type_name.lstrip("_")) if name in names)
        for relation in relations}
    return {oid: types for oid, types in found.items() if types}
