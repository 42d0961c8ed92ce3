"""Which relations and columns a statement touches, by the catalogue: for conditions, not for masks.

Apart from `rewrite`, which has to be exact: here every doubt counts as a touch, so that a rule about a
table is not got round by another spelling, a view, a partition or a name that the search path finds. An
unqualified name is every relation of that name, and a FETCH touches what its cursor's query did when it was
opened. What cannot be told (an unknown name, code of unknown effect, a rewrite rule in the way of DML) is
None, on which conditions fail closed.

Not counted: what triggers do, and relations that only functions of the database's owner read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.cursors import Reach
from lockgate.analysis.sql.definitions import definition_of
from lockgate.analysis.sql.effects import NAMED_RELATIONS
from lockgate.analysis.sql.reading import Reading, Use
from lockgate.analysis.sql.routines.calls import calls_of

if TYPE_CHECKING:
    from lockgate.analysis.sql.session import SessionNames
    from lockgate.analysis.sql.statement import Statement

_VIEWS: Final = "vm"
_HELD: Final = "rpf"                # kinds that have partitions or children
_STAR: Final = "*"
_ROWS: Final = frozenset(("old", "new", "excluded"))
_CACHE: Final = "definitions"
_IN_USES: Final = frozenset((
    "AlterSeqStmt", "AlterTableStmt", "CheckPointStmt", "ClosePortalStmt", "ClusterStmt", "ConstraintsSetStmt",
    "CopyStmt", "CreateDomainStmt", "CreateEnumStmt", "CreateSchemaStmt", "CreateSeqStmt", "CreateStatsStmt",
    "CreateStmt", "CreateTableAsStmt", "DeallocateStmt", "DeclareCursorStmt", "DiscardStmt", "ExecuteStmt",
    "ExplainStmt", "FetchStmt", "IndexStmt", "ListenStmt", "LockStmt", "NotifyStmt", "PrepareStmt",
    "RefreshMatViewStmt", "TransactionStmt", "TruncateStmt", "UnlistenStmt", "VacuumStmt", "VariableSetStmt",
    "VariableShowStmt", "ViewStmt",
))
"""Utility statements that reach no relation but those in `Reading.uses`."""


class _Unknown(Exception):
    """Something in the way cannot be looked through."""


@dataclass(slots=True)
class Touched:
    """OIDs of what one statement reads and writes, with the column names that it reads them by.

    `names` maps an OID to names, of which ``*`` is every column; it holds whatever is in `written` too.
    """

    catalogue: Catalogue
    names: dict[int, set[str]] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)

    @property
    def reach(self) -> Reach:
        """The same without the catalogue, which a session is not to keep for long."""
        return Reach(self.names, frozenset(self.written))

    @property
    def tables(self) -> list[str]:
        """Every relation touched, as ``schema.name``, sorted."""
        return self._named(self.names)

    @property
    def tables_written(self) -> list[str]:
        """Those that it may change."""
        return self._named(self.written)

    @property
    def columns(self) -> list[str]:
        """Every column that it may read or set, as ``schema.relation.column``, sorted."""
        found = set()
        for oid, names in self.names.items():
            relation = self.catalogue.by_oid[oid]
            named = names if _STAR in names else _with_sources(relation, names)
            found |= {f"{relation.schema}.{relation.name}.{column.name}" for column in relation.columns
                      if _STAR in named or column.name in named}
        return sorted(found)

    def _named(self, oids: Iterable[int]) -> list[str]:
        relations = (self.catalogue.by_oid[oid] for oid in oids)
        return sorted({f"{relation.schema}.{relation.name}" for relation in relations})


def touched(statement: Statement, catalogue: Catalogue, session: SessionNames) -> Touched | None:
    """What the statement touches, or None where it cannot be told."""
    reading = statement.whole.reading
    if statement.is_opaque or reading is None or not session.knows_all:
        return None
    try:
        walk = _Walk(catalogue, session)
        walk.statement(reading)
        walk.fetches(statement)
    except (_Unknown, RecursionError):
        return None
    return walk.found


class _Walk:
    def __init__(self, catalogue: Catalogue, session: SessionNames) -> None:
        self.catalogue = catalogue
        self.session = session
        self.found = Touched(catalogue)
        self.defined: set[int] = set()      # readings of the session's own views that were looked through

    def statement(self, reading: Reading) -> None:
        self._require_known(reading)
        if not all(_is_in_uses(name, body) for name, body in reading.utilities):
            raise _Unknown
        self._by_name(reading)
        names = _column_names(reading)
        cascades = bool(reading.verbs & {"update", "delete", "merge"})
        for use in reading.uses:
            found = self._relations(use)
            if use.kind == "create" and use.context != "ViewStmt":
                continue                            # something new; a view may replace another
            is_definition = use.kind in ("utility", "create")
            if is_definition or use.kind == "target" or (use.kind == "copy" and "insert" in reading.verbs):
                for relation in found:
                    self._written(relation, cascades, is_truncate=use.context == "TruncateStmt")
            for relation in found:
                self._read(relation, {_STAR} if is_definition else names, use.inherit)
        for target in reading.targets:
            set_ = {*target.columns, *target.infer} | ({_STAR} if target.names_constraint else set())
            for relation in self._relations(target.use):
                self._read(relation, set_, use_children=True)

    def _by_name(self, reading: Reading) -> None:
        """What EXECUTE runs: all that its name may stand for. What the string itself has prepared is in its uses."""
        prepared = set()
        for kind, body in reading.utilities:
            if kind == "PrepareStmt":
                prepared.add(body.get("name", ""))
            elif kind == "ExecuteStmt" and body.get("name", "") not in prepared:
                self._executed(body.get("name", ""))

    def _executed(self, name: str) -> None:
        candidates = self.session.prepared(name)
        if not candidates or not self.session.knows_prepared:
            raise _Unknown
        for inner, _ in candidates:
            reading = inner.whole.reading
            if not inner.is_plain or reading is None:
                raise _Unknown
            self.statement(reading)

    def fetches(self, statement: Statement) -> None:
        """What its FETCHes run that was opened before it; what it has opened itself is in its uses."""
        if statement.cursors_lost:
            raise _Unknown
        for name in statement.cursors_before:
            cursor = self.session.cursors.get(name)
            self._fetched(None if cursor is None else cursor.reach)

    def _fetched(self, reach: Reach | None) -> None:
        if reach is None or not reach.names.keys() <= self.catalogue.by_oid.keys():
            raise _Unknown                          # … or it is gone, and no rule can name it
        for oid, names in reach.names.items():
            self.found.names.setdefault(oid, set()).update(names)
        self.found.written |= reach.written

    def _require_known(self, reading: Reading) -> None:
        """Whatever runs code other than a function of its arguments may touch anything, whatever its body says now."""
        is_opaque = any(not why.startswith("function ") and why != "EXECUTE" for why in reading.opaque)
        if is_opaque or reading.unknown or next(calls_of(reading, self.catalogue), None) is not None:
            raise _Unknown

    def _relations(self, use: Use) -> tuple[Relation, ...]:
        """Everything that the name may mean."""
        if use.name in self.session.adopting and use.kind != "create":
            raise _Unknown
        found = () if use.schema == "pg_temp" else self.catalogue.candidates(use.schema, use.name)
        in_session = self.session.has_relation(use.schema, use.name)
        for definition in self.session.definitions(use.schema, use.name):
            self._definition(definition)
        if not found and not in_session and use.kind != "create" and use.context != "DropStmt":
            raise _Unknown
        return found

    def _definition(self, reading: Reading | None) -> None:
        """A view that this session made, and that the catalogue may not know."""
        if reading is None:
            raise _Unknown
        if id(reading) in self.defined:
            return
        self.defined.add(id(reading))
        self._require_known(reading)
        names = _column_names(reading)
        for use in reading.uses:
            if use.kind == "read":
                for relation in self._relations(use):
                    self._read(relation, names, use.inherit)

    def _read(self, relation: Relation, names: set[str], use_children: bool) -> None:
        """The relation, what a view of it reads, its partitions and what it is a partition of."""
        for reached in self._family(relation, use_children):
            known = self.found.names.get(reached.oid)
            if known is not None and names <= known:
                continue
            self.found.names.setdefault(reached.oid, set()).update(names)
            if known is None and reached.kind in _VIEWS and not reached.is_system:
                self._view(reached)

    def _view(self, view: Relation) -> None:
        reading = _view_reading(view, self.catalogue)
        if reading is None:
            raise _Unknown
        self._require_known(reading)
        names = _column_names(reading)
        for use in reading.uses:
            found = self.catalogue.candidates(use.schema, use.name)
            if not found:
                raise _Unknown
            for relation in found:
                self._read(relation, names, use.inherit)

    def _family(self, relation: Relation, use_children: bool) -> Iterator[Relation]:
        if relation.name in self.session.adopting:
            raise _Unknown
        yield relation
        if relation.kind not in _HELD:
            return
        below = self.catalogue.children if use_children else {}
        for edges in (below, self.catalogue.parents):
            for oid in _reached(relation.oid, edges):
                found = self.catalogue.by_oid.get(oid)
                if found is not None:
                    if found.name in self.session.adopting and edges is below:
                        raise _Unknown
                    yield found

    def _written(self, relation: Relation, cascades: bool, is_truncate: bool) -> None:
        """The relation as a target: also what it is a view of, its family, and what foreign keys carry on."""
        stack = [relation]
        while stack:
            one = stack.pop()
            for reached in self._family(one, use_children=True):
                if reached.oid in self.found.written:
                    continue
                if reached.has_rules:
                    raise _Unknown
                self.found.written.add(reached.oid)
                self._read(reached, set(), use_children=True)
                edges = self.catalogue.reactions if is_truncate else self.catalogue.cascades if cascades else {}
                stack += [self.catalogue.by_oid[oid] for oid in edges.get(reached.oid, ()) if oid in self.catalogue.by_oid]
                if reached.kind == "v" and not reached.is_system:
                    reading = _view_reading(reached, self.catalogue)
                    for use in () if reading is None else reading.uses:
                        stack += self.catalogue.candidates(use.schema, use.name)


def _is_in_uses(name: str, body: dict[str, Any]) -> bool:
    """Whether a utility statement reaches no relation but those that were found in it."""
    if name in ("RenameStmt", "AlterObjectSchemaStmt", "ReindexStmt"):
        return "relation" in body
    if name == "GrantStmt":
        return body.get("targtype") == "ACL_TARGET_OBJECT"
    if name in ("DropStmt", "CommentStmt"):
        return body.get("removeType", body.get("objtype")) in (*NAMED_RELATIONS, "OBJECT_COLUMN")
    return name in _IN_USES


# ---------------------------------------------------------------- names of columns


def _column_names(reading: Reading) -> set[str]:
    """Names that may be columns of what is read: a star, or a row as a whole, is every column."""
    names = {parts[-1] for parts in reading.columns} | reading.attributes
    rows = {use.name for use in reading.uses} | {use.alias for use in reading.uses}
    if reading.targets:
        rows |= _ROWS
    if reading.renames or not rows.isdisjoint(names):
        names.add(_STAR)
    return names


def _with_sources(relation: Relation, names: set[str]) -> set[str]:
    """With the columns that generated columns among them are made of."""
    found = set(names)
    for column in relation.columns:
        if column.generated is not None and column.name in names:
            reading = _read(f"SELECT {column.generated}")
            found |= {_STAR} if reading is None else _column_names(reading)
    return found


# ---------------------------------------------------------------- the catalogue


def _view_reading(view: Relation, catalogue: Catalogue) -> Reading | None:
    """What a view's definition reads; None where it cannot be parsed."""
    known = catalogue.derived.setdefault(_CACHE, {})
    assert isinstance(known, dict)
    if view.oid not in known:
        known[view.oid] = None if view.definition is None else _read(view.definition)
    found = known[view.oid]
    assert found is None or isinstance(found, Reading)
    return found


def _read(text: str) -> Reading | None:
    found = definition_of(text)
    return None if found is None else found.reading


def _reached(start: int, edges: dict[int, tuple[int, ...]]) -> Iterator[int]:
    """OIDs that `edges` lead to from `start`, each once."""
    seen = {start}
    stack = list(edges.get(start, ()))
    while stack:
        oid = stack.pop()
        if oid not in seen:
            seen.add(oid)
            yield oid
            stack += edges.get(oid, ())
