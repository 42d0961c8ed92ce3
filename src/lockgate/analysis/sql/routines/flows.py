"""Where a trigger puts protected values: columns that hold what depends on them, and so carry their label.

Apart from `verdicts`, because a trigger is handed real rows, whoever changes the relation: what it stores
elsewhere can be read by anybody who may read that. The analysis follows names and not their order. A value
depends on what its expression mentions, and on what decides whether it is computed. That a row is there at
all may depend on protected values, too; that is not followed (a count can tell that something changed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

import pgparse

from lockgate.analysis.sql.catalogue import Catalogue
from lockgate.analysis.sql.code import Name, Routine, Trigger
from lockgate.analysis.sql.errors import NotUnderstood
from lockgate.analysis.sql.parser import nodes, parse_trees
from lockgate.analysis.sql.reading import Node, Reader, Reading, qualified, strings
from lockgate.analysis.sql.routines.bodies import Mention, Source, Step, mentions_of, source_of
from lockgate.analysis.sql.routines.calls import Call, calls_of, named, parts_of
from lockgate.analysis.sql.routines.plpgsql import Unreadable
from lockgate.analysis.sql.routines.verdicts import QUERY, Verdicts

_WRITES: Final = frozenset(("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CreateTableAsStmt"))
_NOT_DECIDING: Final = frozenset(("targetList", "valuesLists", "relation", "returningList"))
"""Fields of a statement that do not decide which rows it writes."""
_ROWS: Final = ("new", "old")
_STORES: Final = frozenset((
    "lo_create", "lo_creat", "lo_from_bytea", "lo_import", "lo_open", "lo_put", "lo_truncate", "lo_truncate64", "lo_unlink",
    "loread", "lowrite", "pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_unlock", "pg_advisory_unlock_shared",
    "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared",
    "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared", "set_config", "setseed", "setval",
))
"""Functions that keep a value where anybody can ask for it: a setting, a sequence, the number of a lock (pg_locks) or
of a large object (pg_largeobject_metadata)."""
_STEPS_ON: Final = "nextval"
_IN_SESSION: Final = frozenset((
    "AlterSeqStmt", "CommentStmt", "CopyStmt", "DeclareCursorStmt", "PrepareStmt", "VariableSetStmt"))
"""Statements whose rows or effect anybody can ask for afterwards."""
_MOST_ROUTINES: Final = 64

Protected = Callable[[str | None, str], "frozenset[str] | None"]
"""(schema, name) → names of the protected columns, or None where every column of it counts."""


@dataclass(slots=True)
class Spread:
    """What depends on protected values after all of it ran: columns by relation (`None`: all of them), the columns
    of the trigger's own row, and whether something went where no label follows (a setting, a temporary table)."""

    columns: dict[Name, set[str | int] | None] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    is_whole_row: bool = False
    escapes: bool = False
    routines: set[str] = field(default_factory=set)
    reads: set[Name] = field(default_factory=set)
    """The names of all that runs, and of the relations that it reads."""

    @property
    def is_empty(self) -> bool:
        """Whether it fills no column."""
        return not self.is_whole_row and not self.own and all(
            columns is not None and not columns for columns in self.columns.values())

    def add(self, relation: Name, columns: set[str | int] | None) -> None:
        """Columns by name, or by their place in the row."""
        before = self.columns.setdefault(relation, set())
        self.columns[relation] = None if columns is None or before is None else before | columns


def spread_of(trigger: Trigger, names: frozenset[str], catalogue: Catalogue, verdicts: Verdicts,
              protected: Protected) -> Spread:
    """Where the trigger puts protected values. `names` are the protected columns of its own relation."""
    spread = Spread()
    if trigger.function[0] == "pg_catalog":
        if trigger.function[1].startswith("tsvector_update_trigger") and not names.isdisjoint(trigger.arguments[1:]):
            spread.own.add(trigger.arguments[0])
        return spread
    call = named(*trigger.function, catalogue)
    if call is None:
        return spread
    tainted = frozenset(f"{row}.{name}" for row in _ROWS for name in names)
    whole = _Whole(catalogue, verdicts, protected, spread, names, trigger.tables)
    for routine in call.routines:
        whole.visit(routine, tainted, trigger)
    for called in _condition(trigger, catalogue) if names else ():
        for routine in called.routines:
            whole.visit(routine, frozenset(), None, arguments=True)
    return spread


def _condition(trigger: Trigger, catalogue: Catalogue) -> Iterator[Call]:
    """What the WHEN of a trigger calls."""
    if trigger.definition is not None:
        try:
            trees = parse_trees(trigger.definition)
        except (pgparse.PGQueryError, RecursionError):
            return
        for tree in trees:
            reader = Reader()
            reader.walk(tree["stmt"].get("CreateTrigStmt", {}).get("whenClause"), "SelectStmt")
            yield from calls_of(reader.reading, catalogue)


def spread_of_expression(expression: Routine, names: frozenset[str], catalogue: Catalogue, verdicts: Verdicts,
                         protected: Protected) -> Spread:
    """Where an expression that the server evaluates of real rows (a check, an index, a policy) puts what it is given.
    `names` are the protected columns of the relation."""
    spread = Spread()
    _Whole(catalogue, verdicts, protected, spread, names, frozenset()).visit(expression, names, None)
    return spread


class _Whole:
    """All routines that one trigger or expression leads to."""

    def __init__(self, catalogue: Catalogue, verdicts: Verdicts, protected: Protected, spread: Spread,
                 names: frozenset[str], tables: frozenset[str]) -> None:
        self.catalogue = catalogue
        self.verdicts = verdicts
        self._protected = protected
        self._names = names                     # protected columns of the trigger's relation
        self._tables = tables                   # and by what names its rows can be read
        self.spread = spread
        self.seen: set[tuple[Routine, bool]] = set()

    def protected(self, schema: str | None, name: str) -> frozenset[str] | None:
        """As `Protected`, with the transition tables of the trigger."""
        found = self._protected(schema, name)
        if found is None or schema is not None or name not in self._tables:
            return found
        return found | self._names

    def visit(self, routine: Routine, tainted: frozenset[str], trigger: Trigger | None, *, arguments: bool = False) -> None:
        if (routine, arguments) in self.seen or len(self.seen) >= _MOST_ROUTINES:
            return
        self.seen.add((routine, arguments))
        self.spread.routines.add(routine.name)
        if routine.definition is None and routine.parts:
            for call in parts_of(routine, self.catalogue):
                for part in call.routines:
                    self.visit(part, frozenset(), None, arguments=arguments)
            return
        try:
            taken = _taken(routine)
        except (Unreadable, NotUnderstood, RecursionError):
            return                              # what it does is not known at all: see SECURITY.md
        if arguments:
            tainted |= frozenset((*taken.source.parameters, "value"))      # `value`: what a domain checks
        _Flow(self, taken, set(tainted), arguments, trigger).run()


class _Flow:
    """One body: which of its variables and evaluations depend on protected values."""

    def __init__(self, whole: _Whole, taken: _Taken, tainted: set[str], arguments: bool, trigger: Trigger | None) -> None:
        self.whole = whole
        self.taken = taken
        self.source = source = taken.source
        self.tainted = tainted
        self.arguments = arguments
        self.trigger = trigger
        self.assigned: set[str] = set()
        script = source.script
        if script.catches and (tainted or self._reads_any()):
            self.tainted.add("sqlerrm")
        relation = None if trigger is None else whole.catalogue.by_oid.get(trigger.relation)
        self.columns = None if relation is None else [column.name for column in relation.columns]
        self.is_blurred = script.renames and (bool(tainted) or arguments or self._reads_any())
        self.index = {id(evaluation): number for number, evaluation in enumerate(script.evaluations)}
        self.calls = [self._calls(step) for step in source.steps]
        self.hot: set[int] = set()              # evaluations that depend on protected values

    def run(self) -> None:
        before = (-1, -1)
        while before != (len(self.tainted), len(self.hot)):
            before = len(self.tainted), len(self.hot)
            for step, (suspicious, _) in zip(self.source.steps, self.calls, strict=True):
                if suspicious or self._is_hot(step.tree, step):
                    self.hot.add(self.index.get(id(step.evaluation), -1))
                    self._assign(step)
                elif self._is_controlled(step) or self._jumps() or (self._leaves() and _sets_row(step)):
                    self._assign(step)
        self._write()
        self._own()
        for step, (suspicious, routines) in zip(self.source.steps, self.calls, strict=True):
            for routine in routines:
                self.whole.visit(routine, frozenset(), None, arguments=suspicious or self._is_hot(step.tree, step))

    # ---------------------------------------------------------------- values

    def _assign(self, step: Step) -> None:
        targets = {*step.evaluation.targets, *_called(step.tree)}
        self.tainted |= targets
        self.assigned |= targets
        if self._decides_rows(step):
            self.tainted.add("found")

    def _decides_rows(self, step: Step) -> bool:
        """Whether protected values decide how many rows a statement has."""
        evaluation = step.evaluation
        if evaluation.iterates or (evaluation.counts and (self._is_controlled(step) or self._jumps())):
            return True
        if not evaluation.counts:
            return False
        return next(iter(step.tree.values())).get("onConflictClause") is not None or self._has_hot_rows(step)

    def _has_hot_rows(self, step: Step) -> bool:
        """Whether anything of a statement but its values depends on protected ones: how many rows, and which."""
        node = next(iter(step.tree.values()))
        if "selectStmt" in node:
            node = node["selectStmt"].get("SelectStmt", {})
        among, is_any = self._protected_in(node)
        return is_any or self._rest_is_hot(node, step, _NOT_DECIDING, among)

    def _is_controlled(self, step: Step) -> bool:
        return not self.hot.isdisjoint(step.evaluation.under)

    def _jumps(self) -> bool:
        """Whether protected values decide what runs after what."""
        script = self.source.script
        return any(not self.hot.isdisjoint(under) for under in script.jumps) or (
            bool(self.hot) and script.catches)

    def _leaves(self) -> bool:
        """Whether they decide what of the body runs before the row is stored."""
        return any(not self.hot.isdisjoint(under) for under in self.source.script.leaves)

    def _stops(self) -> bool:
        """Whether they decide if the rest runs at all."""
        if self.trigger is not None and self.trigger.definition is not None:
            return True
        return any(not self.hot.isdisjoint(under) for under in self.source.script.returns)

    def _is_hot(self, tree: Any, step: Step, among: frozenset[str] = frozenset()) -> bool:
        """Whether a part of a step mentions something that depends on protected values. `among` are names of protected
        columns of relations that the statement around it reads."""
        part = self.taken.of(tree)
        names, is_any = self._protected_in(tree)
        if is_any or (self.is_blurred and part.mentions) or QUERY in part.functions:
            return True
        names |= among
        if any(self._is_tainted(mention, names) for mention in part.mentions):
            return True
        if part.has_parameters:
            parameters = step.evaluation.parameters
            return self.arguments or any(
                self._is_tainted(mention, names) for text in parameters for mention in _mentions(text))
        return False

    def _rest_is_hot(self, node: Node, step: Step, without: frozenset[str], among: frozenset[str]) -> bool:
        """Whether any other field of a statement does: what decides which rows there are."""
        return any(self._is_hot(value, step, among) for key, value in node.items()
                   if key not in without and isinstance(value, dict | list))

    def _is_tainted(self, mention: Mention, names: frozenset[str]) -> bool:
        qualifier, last = mention
        tainted = self.tainted
        if last in names or (last == "*" and names and qualifier is None):
            return True
        if last in tainted or qualifier in tainted or f"{qualifier}.{last}" in tainted:
            return True
        row = qualifier if last == "*" else last if qualifier is None else None
        if qualifier in _ROWS and last not in (self.columns or ()):
            row = qualifier                     # a function of the row, written like a column
        return row is not None and any(one.startswith(f"{row}.") for one in tainted)

    def _protected_in(self, tree: Any) -> tuple[frozenset[str], bool]:
        """Names of protected columns and whole rows of the relations that a statement names, and whether all count."""
        found: set[str] = set()
        for schema, name, alias in self.taken.of(tree).relations:
            names = self.whole.protected(schema, name)
            if names is None:
                return frozenset(), True
            if names:
                found |= names | {name, alias}
        return frozenset(found), False

    def _reads_any(self) -> bool:
        return any(self.whole.protected(schema, name) != frozenset()
                   for step in self.source.steps for schema, name, _ in self.taken.of(step.tree).relations)

    def _calls(self, step: Step) -> tuple[bool, list[Routine]]:
        """Whether a step calls what may show protected values, and the routines that it calls."""
        calls = list(calls_of(self.taken.reading(step.tree), self.whole.catalogue))
        return (any(self.whole.verdicts.of(call).reason is not None for call in calls),
                [routine for call in calls for routine in call.routines])

    # ---------------------------------------------------------------- what is stored

    def _write(self) -> None:
        for step in self.source.steps:
            self._read(step)
        writes = [(step, suspicious, kind, node) for step, (suspicious, _) in zip(self.source.steps, self.calls, strict=True)
                  for kind, node in _writes(step.tree)]
        targets = [_target(kind, node) for _, _, kind, node in writes]
        for (step, suspicious, kind, node), target in zip(writes, targets, strict=True):
            decides = self._jumps() or (self._is_controlled(step) and targets.count(target) > 1)
            if kind != "InsertStmt":
                decides = decides or self._is_controlled(step) or (self._stops() and bool(self.hot))
            columns = self._columns(step, kind, node, decides or suspicious)
            if columns is None or columns:
                self._store(target, columns)
        if self._keeps_cursor() or any(map(self._keeps, self.source.steps)):
            self.whole.spread.escapes = True

    def _read(self, step: Step) -> None:
        """Notes what a step reads, and views that it writes to."""
        targets = {_target(kind, node) for kind, node in _writes(step.tree)}
        self.whole.spread.reads.update(
            (schema, name) for schema, name, _ in self.taken.of(step.tree).relations if (schema, name) not in targets
            or any(relation.kind == "v" for relation in self.whole.catalogue.candidates(schema, name)))

    def _keeps(self, step: Step) -> bool:
        """Whether a step leaves what depends on protected values where the session can ask for it. That a sequence
        moved on tells no more than a row that is there; but whether it did may not be for a condition to say."""
        functions = self.taken.of(step.tree).functions
        is_decided = self._is_controlled(step) or self._jumps()
        if _STEPS_ON in functions and (is_decided or self._has_hot_rows(step)):
            return True
        if _STORES.isdisjoint(functions) and _IN_SESSION.isdisjoint(step.tree):
            return False
        return is_decided or self._is_hot(step.tree, step)

    def _keeps_cursor(self) -> bool:
        """Whether a cursor over protected rows may be open afterwards: the session can fetch from it by its name."""
        script = self.source.script
        is_straight = len(script.returns) <= 1 and not script.catches
        return any(name in self.tainted for name in script.opened if not (is_straight and name in script.closed))

    def _store(self, target: Name, columns: set[str | int] | None) -> None:
        if not self.whole.catalogue.candidates(*target):
            self.whole.spread.escapes = True    # a temporary relation: the session can read it
        self.whole.spread.add(target, columns)

    def _columns(self, step: Step, kind: str, node: Node, is_decided: bool) -> set[str | int] | None:
        """The columns that a write fills with what depends on protected values; None for all of the relation."""
        if kind == "DeleteStmt":
            return set()
        if kind == "InsertStmt":
            return self._inserted(step, node, is_decided)
        if kind == "UpdateStmt":
            among, is_any = self._protected_in(node)
            is_all = is_decided or is_any or self._rest_is_hot(node, step, _NOT_DECIDING, among)
            return self._set(step, node.get("targetList", ()), is_all, among)
        return None if is_decided or self._is_hot(node, step) else set()

    def _inserted(self, step: Step, node: Node, is_decided: bool) -> set[str | int] | None:
        names = [item.get("ResTarget", {}).get("name", "") for item in node.get("cols", ())]
        select = node.get("selectStmt", {}).get("SelectStmt", {})
        among, is_any = self._protected_in(select) if select else (frozenset[str](), False)
        everything: set[str | int] | None = set(names) if names else None
        if is_decided or is_any or self._rest_is_hot(select, step, _NOT_DECIDING, among) or (
                "withClause" in node and self._is_hot(node["withClause"], step)):
            return everything
        hot: set[int] = set()
        rows = [one.get("List", {}).get("items", []) for one in select["valuesLists"]] if "valuesLists" in select else [
            select.get("targetList", [])]
        for row in rows:
            places = self._row(step, row, among)
            if places is None:
                return everything
            hot |= places
        found: set[str | int] = {names[place] if place < len(names) else place for place in hot}
        conflict = node.get("onConflictClause")
        if conflict is not None:
            is_all = bool(found) or self._rest_is_hot(conflict, step, _NOT_DECIDING, among)
            found |= self._set(step, conflict.get("targetList", ()), is_all or (self._stops() and bool(self.hot)), among)
        return found

    def _row(self, step: Step, items: Sequence[Node], among: frozenset[str]) -> set[int] | None:
        """The places of a row with what depends on protected values; None where places cannot be counted."""
        places: set[int] = set()
        position = 0
        for item in items:
            value = item["ResTarget"].get("val", item) if "ResTarget" in item else item
            row = _star_of(value)
            if row is None:
                if self._is_hot(value, step, among):
                    places.add(position)
                position += 1
                continue
            columns = self.columns
            if row not in _ROWS or columns is None:
                return None if among or self._is_hot(value, step) else places
            places |= {position + number for number, name in enumerate(columns)
                       if row in self.tainted or f"{row}.{name}" in self.tainted}
            position += len(columns)
        return places

    def _set(self, step: Step, items: Sequence[Node], is_all: bool, among: frozenset[str]) -> set[str | int]:
        found: set[str | int] = set()
        for item in items:
            target = item["ResTarget"]
            if is_all or ("val" in target and self._is_hot(target["val"], step, among)):
                found.add(target.get("name", ""))
        return found

    def _own(self) -> None:
        """The row that the trigger leaves to be stored."""
        if self.trigger is None or not self.trigger.changes_row:
            return
        spread = self.whole.spread
        for name in self.assigned:
            row, _, column = name.partition(".")
            if row == "new":
                spread.is_whole_row = spread.is_whole_row or not column
                spread.own.update([column] if column else ())
        for step in self.source.steps:
            if step.evaluation.returns and self._is_hot(step.tree, step) \
                    and not mentions_of(step.tree) <= {(None, row) for row in _ROWS}:
                spread.is_whole_row = True


def _sets_row(step: Step) -> bool:
    """Whether a step assigns to the row that the trigger was handed."""
    return any(target.partition(".")[0] == "new" for target in step.evaluation.targets)


class _Part(NamedTuple):
    """What a tree mentions: references, relations with their aliases, functions, and whether a parameter by number."""

    mentions: frozenset[Mention]
    relations: tuple[tuple[str | None, str, str], ...]
    functions: frozenset[str]
    has_parameters: bool


class _Taken:
    """A definition taken apart, and what was found out about its trees: one audit function serves many relations."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._parts: dict[int, _Part] = {}
        self._readings: dict[int, Reading] = {}
        self._trees: list[Any] = []             # what is known by its identity has to stay

    def of(self, tree: Any) -> _Part:
        found = self._parts.get(id(tree))
        if found is None:
            relations = tuple((node.get("schemaname"), node["relname"], node.get("alias", {}).get("aliasname", node["relname"]))
                              for node in _all(tree, "relname"))
            functions = frozenset(qualified(node["funcname"])[1] for node in _all(tree, "funcname"))
            found = _Part(frozenset(mentions_of(tree)), relations, functions, any(True for _ in _all(tree, "ParamRef")))
            self._parts[id(tree)] = found
            self._trees.append(tree)
        return found

    def reading(self, tree: Node) -> Reading:
        found = self._readings.get(id(tree))
        if found is None:
            reader = Reader()
            reader.walk(tree, "SelectStmt")
            found = self._readings[id(tree)] = reader.reading
        return found


@lru_cache(maxsize=32)
def _taken(routine: Routine) -> _Taken:
    return _Taken(source_of(routine.language, routine.definition))


@lru_cache(maxsize=1_024)
def _mentions(text: str) -> frozenset[Mention]:
    """Of an expression; asked at every round, for every relation."""
    try:
        return frozenset(mention for step in source_of("expression", text.removeprefix("SELECT ")).steps
                         for mention in mentions_of(step.tree))
    except (Unreadable, NotUnderstood, RecursionError):
        return frozenset({(None, "*")})


def _called(tree: Node) -> Iterator[str]:
    """The variables that a CALL may set: an argument of a procedure can be INOUT."""
    call = tree.get("CallStmt", {}).get("funccall", {})
    for item in call.get("args", ()):
        value = item.get("NamedArgExpr", {}).get("arg", item)
        if "ColumnRef" in value:
            yield ".".join(strings(value["ColumnRef"].get("fields")))


def _target(kind: str, node: Node) -> Name:
    relation = node.get("into", {}).get("rel", {}) if kind == "CreateTableAsStmt" else node.get("relation", {})
    return relation.get("schemaname"), relation.get("relname", "")


def _star_of(value: Node) -> str | None:
    """The row variable of `r.*` or `(r).*`, "" where it is another star; None for any other expression."""
    if "ColumnRef" in value:
        names = strings(value["ColumnRef"].get("fields"))
        return None if names[-1:] != ("*",) else names[-2] if len(names) > 1 else ""
    if "A_Indirection" in value:
        inner = value["A_Indirection"]
        if strings(inner.get("indirection"))[-1:] == ("*",):
            names = strings(inner.get("arg", {}).get("ColumnRef", {}).get("fields"))
            return names[-1] if names else ""
    return None


def _writes(tree: Any) -> Iterator[tuple[str, Node]]:
    for node in nodes(tree):
        for key in _WRITES.intersection(node):
            yield key, node[key]


def _all(tree: Any, key: str) -> Iterator[Node]:
    """Every node that has a field."""
    return (node for node in nodes(tree) if key in node)


