"""What a call means for the labels: whether a routine shows protected data, or may set free what quotes it.

A routine is *admitted* where all that runs is known, and no statement of it refers to a protected column, a
whole row of a protected relation, or a relation that is closed. Then what it gives is a function of its
arguments and of columns that are not protected: arguments are computed on masked data. That it names a
protected relation at all, or sets something in motion that does, still matters for its errors, which may
quote a row (`Verdict.touches`), and for what catches errors: the text of one is a value inside a routine.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lockgate.analysis.sql.builtin_names import VOLATILE
from lockgate.analysis.sql.catalogue import Catalogue, Relation
from lockgate.analysis.sql.code import Routine, Trigger
from lockgate.analysis.sql.dropping import dropped_reason
from lockgate.analysis.sql.reactions import reached_by_change, reacts_by_rule
from lockgate.analysis.sql.reading import Reading, Target, Use
from lockgate.analysis.sql.routines.bodies import Body, Mention
from lockgate.analysis.sql.routines.calls import Call, calls_of, named
from lockgate.analysis.sql.routines.closure import closure_of

if TYPE_CHECKING:
    from lockgate.analysis.sql.labels import Labels

_READS: Final = "it reads protected data"
_CHANGES: Final = "it changes a protected relation in a way that could show what it holds"
_CATCHES: Final = "it catches errors that may quote protected data"
_RULES: Final = "it changes a relation by rules whose effect is not known here"
_UTILITIES: Final = frozenset((
    "AlterSeqStmt", "CallStmt", "CommentStmt", "ConstraintsSetStmt", "CreateSeqStmt", "CreateStmt", "CreateTableAsStmt",
    "DoStmt", "DropStmt", "ExplainStmt", "IndexStmt", "ListenStmt", "LockStmt", "NotifyStmt", "RefreshMatViewStmt",
    "TransactionStmt", "TruncateStmt", "UnlistenStmt", "VariableSetStmt", "VariableShowStmt", "ViewStmt",
))
"""Utility statements that a routine may run on relations that are not protected."""
_QUIET: Final = frozenset(("select", "empty", "explain", "show"))
_ROW_NAMES: Final = frozenset(("excluded", "new", "old"))
QUERY: Final = "current_query"
"""The one admitted function that gives the text of the statement that runs."""
_WORD: Final = re.compile(r"\w+")
_SYSTEM_COLUMNS: Final = frozenset(("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason`: why the call is refused, None where it is admitted; `shows` where that is because of what is protected.
    `touches`: its errors may quote protected rows."""

    reason: str | None = None
    shows: bool = False
    touches: bool = False


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a statement is refused for what it runs: the call as people read it, and the reason."""

    call: str
    reason: str
    shows: bool = False


@dataclass(frozen=True, slots=True)
class _Findings:
    """What one call does by itself and by what it calls, without what that sets in motion."""

    reason: str | None = None
    shows: bool = False
    touches: bool = False
    catches: bool = False
    changed: frozenset[int] = frozenset()
    used: frozenset[int] = frozenset()


class Verdicts:
    """For one catalogue and the labels as they are now; make a new one when labels were added."""

    def __init__(self, labels: Labels, catalogue: Catalogue) -> None:
        self._labels = labels
        self._catalogue = catalogue
        self._findings: dict[Call, _Findings] = {}
        self._verdicts: dict[Call, Verdict] = {}
        self._silent: set[Call | int] = set()       # calls, and changes of relations, that cannot speak

    # ---------------------------------------------------------------- a statement

    def obstacle(self, reading: Reading) -> Obstacle | None:
        """Why what was read may not run, or None."""
        for call in calls_of(reading, self._catalogue):
            verdict = self.of(call)
            if verdict.reason is not None:
                return Obstacle(call.shown, verdict.reason, verdict.shows)
        for why in reading.opaque:
            if not why.startswith("function ") and why not in ("EXECUTE", "CALL", "DO"):
                return Obstacle(why, "its effect is not known")
        if reading.unknown:
            return Obstacle("syntax", "it is not understood")
        return None

    def touches(self, reading: Reading) -> bool:
        """Whether something that the statement runs, written or not, may speak of protected rows."""
        return self._speaks([
            *calls_of(reading, self._catalogue),
            *(call for use in reading.uses for relation in self._catalogue.candidates(use.schema, use.name)
              for call in self._policies(relation.oid)),
        ])

    def acts(self, reading: Reading) -> str | None:
        """A call, as people read it, that changes or keeps something, or that others can tell: what it is given may
        come out elsewhere. None where nothing called does."""
        for call in calls_of(reading, self._catalogue):
            if any(_acts(body) for body in closure_of(call, self._catalogue).bodies):
                return call.shown
        return None

    def quotes(self, reading: Reading) -> bool:
        """Whether the statement's own text may become a value: `current_query` is called in it, in a view or routine
        that it uses or in what its changes set in motion, or what runs there is not known."""
        if asks_for_text(reading):
            return True
        roots: list[Call | int] = list(calls_of(reading, self._catalogue))
        for use in reading.uses:
            for relation in self._catalogue.candidates(use.schema, use.name):
                roots += self._policies(relation.oid)
                if use.kind != "read":
                    roots.append(relation.oid)
                if relation.definition is not None and self._view_quotes(relation, roots):
                    return True
        seen: set[Call | int] = set()
        while roots:
            batch, roots = roots, []
            for node in self._reached(batch, frozenset(seen)):
                seen.add(node)
                if isinstance(node, int):
                    continue
                closure = closure_of(node, self._catalogue)
                if closure.opaque is not None or any(asks_for_text(body.reading) for body in closure.bodies):
                    return True
                for body in closure.bodies:
                    if any(relation.definition is not None and self._view_quotes(relation, roots)
                           for use in body.reading.uses for relation in self._catalogue.candidates(use.schema, use.name)):
                        return True
        return False

    def _view_quotes(self, view: Relation, roots: list[Call | int]) -> bool:
        """Whether a view, or one below it, asks for the text. By words: what it may call is put among the roots."""
        seen = {view.oid}
        stack = [view]
        while stack:
            for word in _WORD.findall(stack.pop().definition or ""):
                if word == QUERY:
                    return True
                if word in self._catalogue.functions:
                    call = named(None, word, self._catalogue)
                    roots += [] if call is None else [call]
                for relation in self._catalogue.by_name.get(word, ()):
                    if relation.definition is not None and relation.oid not in seen:
                        seen.add(relation.oid)
                        stack.append(relation)
        return False

    def reacts(self, relation: Relation) -> bool:
        """Whether a change of the relation reaches a protected one, or code that may speak of one."""
        return self._speaks([relation.oid])

    def escapes(self, relation: Relation) -> bool:
        """Whether a change of the relation makes a trigger put protected values where no label follows."""
        return bool(self._labels.escaping) and self._escapes([relation.oid])

    def fills(self, roots: Iterable[Call | int]) -> frozenset[tuple[str | None, str]]:
        """Names under which triggers write protected values, where calls or changes of relations (OIDs) lead to them. The
        server looks a name up when it runs: the labels hold for what the catalogue knows by it."""
        known = self._labels.fills
        if not known:
            return frozenset()
        return frozenset(name for node in self._reached(roots, frozenset()) if isinstance(node, int)
                         for name in known.get(node, ()))

    def redefining_speaks(self) -> bool:
        """Whether an event trigger may speak of protected rows."""
        return self._speaks([Call(routine.name, (routine,)) for routine in self._catalogue.code.events])

    # ---------------------------------------------------------------- a call

    def of(self, call: Call) -> Verdict:
        """The verdict on one call."""
        found = self._verdicts.get(call)
        if found is None:
            found = self._judge(call)
            if not call.is_block:
                self._verdicts[call] = found
        return found

    def of_trigger(self, trigger: Trigger) -> Verdict:
        """The verdict on what a trigger runs, apart from the row that it is handed."""
        call = named(*trigger.function, self._catalogue)
        return Verdict() if call is None else self.of(call)

    def of_routine(self, routine: Routine) -> Verdict:
        """The verdict on one routine, or on an expression that runs unseen."""
        return self.of(Call(routine.name, (routine,)))

    def _judge(self, call: Call) -> Verdict:
        findings = self._find(call)
        if findings.reason is not None:
            return Verdict(findings.reason, findings.shows, touches=True)
        if self._labels.escaping and self._escapes([call]):
            return Verdict(_CHANGES, shows=True, touches=True)
        touches = self._speaks([call])
        if touches and findings.catches:
            return Verdict(_CATCHES, shows=True, touches=True)
        return Verdict(touches=touches)

    def _find(self, call: Call) -> _Findings:
        found = self._findings.get(call)
        if found is None:
            found = self._look(call)
            if not call.is_block:
                self._findings[call] = found
        return found

    def _look(self, call: Call) -> _Findings:
        closure = closure_of(call, self._catalogue)
        if closure.opaque is not None:
            return _Findings(closure.opaque)
        touches = False
        changed: set[int] = set()
        used: set[int] = set()
        for body in closure.bodies:
            reading = body.reading
            targets = {id(target.use): target for target in reading.targets}
            for use in reading.uses:
                for relation in self._catalogue.candidates(use.schema, use.name):
                    reason = self._of_use(use, relation, body, targets.get(id(use)))
                    if reason is not None:
                        return _Findings(reason, shows=reason is not _RULES)
                    touches = touches or self._labels.is_protected(relation)
                    used.add(relation.oid)
                    if use.kind != "read":
                        changed.add(relation.oid)
            if any(name not in _UTILITIES for name, _ in reading.utilities):
                return _Findings("it changes definitions")
            for name, node in reading.utilities:
                why = dropped_reason(name, node, self._labels, self._catalogue)
                if why is not None:
                    return _Findings(why)
            for schema, name in reading.created:
                if self._labels.is_filled(schema, name):
                    return _Findings("it makes a relation by a name into which a trigger puts protected values")
        return _Findings(touches=touches, catches=any(body.catches for body in closure.bodies),
                         changed=frozenset(changed), used=frozenset(used))

    # ---------------------------------------------------------------- one relation in one statement

    def _of_use(self, use: Use, relation: Relation, body: Body, target: Target | None) -> str | None:
        labels = self._labels
        if use.kind == "target" and (relation.is_system or reacts_by_rule(relation, labels, self._catalogue)):
            return _RULES
        if not labels.is_protected(relation):
            return None
        if use.kind not in ("read", "target"):
            return _CHANGES
        names = labels.protected_names(relation)
        if labels.is_closed(relation) or len(names) == len(relation.columns):
            return _READS                   # which rows there are may depend on what is protected
        if _refers(body.mentions[use.statement], use, relation, names):
            return _READS
        if target is not None and _infers(target, names):
            return _CHANGES
        return None

    # ---------------------------------------------------------------- what is set in motion

    def _speaks(self, roots: Iterable[Call | int]) -> bool:
        """Whether a call, or a change of a relation (by OID), may lead to an error or notice with protected data."""
        seen: list[Call | int] = []
        for node in self._reached(roots, self._silent):
            if isinstance(node, int):
                if self._labels.protected.get(node):
                    return True
            else:
                findings = self._find(node)
                if findings.reason is not None or findings.touches:
                    return True
            seen.append(node)
        self._silent.update(node for node in seen if isinstance(node, int) or not node.is_block)
        return False

    def _escapes(self, roots: Iterable[Call | int]) -> bool:
        return any(node in self._labels.escaping for node in self._reached(roots, frozenset()))

    def _reached(self, roots: Iterable[Call | int], known: Collection[Call | int]) -> Iterator[Call | int]:
        """Calls, and relations that change, that the roots lead to; what is known already is left out."""
        seen: set[Call | int] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node in seen or node in known:
                continue
            seen.add(node)
            yield node
            if isinstance(node, int):
                stack.extend(reached_by_change(node, self._labels, self._catalogue))
                stack.extend(self._triggered(node))
            else:
                findings = self._find(node)
                stack.extend(findings.changed)
                stack.extend(call for oid in findings.used for call in self._policies(oid))

    def _triggered(self, oid: int) -> Iterator[Call]:
        """What runs when a row of the relation changes: triggers, defaults, checks, indexes, policies, domains."""
        code = self._catalogue.code
        for trigger in code.triggers.get(oid, ()):
            call = named(*trigger.function, self._catalogue)
            if call is not None:
                yield call
        for wired in code.wired.get(oid, ()):
            yield Call(wired.routine.name, (wired.routine,))
        for domain in self._catalogue.checked.get(oid, ()):
            yield Call(f"domain {domain}", code.domains[domain])

    def _policies(self, oid: int) -> Iterator[Call]:
        for wired in self._catalogue.code.wired.get(oid, ()):
            if wired.kind == "policy":
                yield Call(wired.routine.name, (wired.routine,))


def _refers(mentions: frozenset[Mention], use: Use, relation: Relation, names: frozenset[str]) -> bool:
    """Whether a statement may refer to a protected column of the relation, or to a whole row of it."""
    rows = {use.alias or use.name, use.name}
    if use.kind == "target":
        rows |= _ROW_NAMES
    known = _SYSTEM_COLUMNS.union(column.name for column in relation.columns)
    for qualifier, last in mentions:
        if last in names or last in rows or (last == "*" and (qualifier is None or qualifier in rows)):
            return True
        if qualifier in rows and last not in known:
            return True                     # a function of the row, written like a column
    return False


def _acts(body: Body) -> bool:
    return (not body.reading.verbs <= _QUIET or bool(body.reading.settings)
            or any(name in VOLATILE for _, name in body.reading.functions))


def _infers(target: Target, names: frozenset[str]) -> bool:
    """Whether an INSERT or MERGE tells which protected values there are."""
    return target.kind == "merge" or target.names_constraint or not names.isdisjoint(target.infer)


def asks_for_text(reading: Reading) -> bool:
    """Whether it asks for the text that a client has sent."""
    return any(name == QUERY for _, name in reading.functions)
