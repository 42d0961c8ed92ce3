"""The compiled policies of one configuration, and the view of them that one caller has.

A `View` is made once for an identity on a connection: it holds the rules whose `who` and
`connections` match, so that a request only evaluates conditions. Decisions are cached by the
operation's key unless a condition reads what the key does not cover (`time`, `session`, bound
parameters); such rules alone are then evaluated again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import Protocol

from lockgate.errors import ConfigError
from lockgate.govern.policy.compiled import (
    CompiledRule,
    Context,
    identity_facts,
    on_connection,
    operation_facts,
    parts,
    time_facts,
)
from lockgate.govern.policy.composition import column_masks, compose, detect_masks
from lockgate.govern.policy.condition import Vocabulary, compile_condition
from lockgate.model import AuditMode, ColumnMask, Decision, DetectMask, Identity, Operation, Rule

_VIEWS = 4096
_DECISIONS = 8192
_CACHED_TEXT = 8192
"""Statements longer than this are decided anew each time, which bounds the cache's bytes."""

_Matching = tuple[tuple[Rule, ...], frozenset[str]]
"""Rules that match, and the facts that others hang on which were left aside."""
_Cached = Decision | _Matching
"""A whole decision, or what the rules come to that can be cached."""

_ANYTHING = Vocabulary()


class SessionFacts(Protocol):
    """Whatever can say what conditions see as `session`; asked only where one reads it."""

    def session_facts(self) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class GivenFacts:
    """Session facts that are there already."""

    facts: Mapping[str, object]

    def session_facts(self) -> Mapping[str, object]:
        """The facts as given."""
        return self.facts


MayHide = tuple[tuple[ColumnMask, ...], tuple[DetectMask, ...]]
"""Masks of columns and detectors."""


def hides_nothing() -> MayHide:
    """For a session that no rule speaks of."""
    return (), ()


class PolicySet:
    """Every rule, compiled. Does not change (its caches are bounded); made by `compile`."""

    def __init__(
        self, rules: tuple[Rule, ...], compiled: tuple[CompiledRule, ...], policy_hash: str, zone: tzinfo = UTC
    ) -> None:
        self._zone = zone
        self.policy_hash = policy_hash
        self.rules = rules
        self._compiled = compiled
        self._views: OrderedDict[Hashable, View] = OrderedDict()
        self._decisions: OrderedDict[Hashable, _Cached] = OrderedDict()
        self._serial = 0

    @classmethod
    def compile(
        cls, rules: Iterable[Rule], policy_hash: str, vocabulary: Vocabulary = _ANYTHING, zone: tzinfo = UTC
    ) -> PolicySet:
        """Compile, or raise `ConfigError` that begins with the rule's ``file:line``. `zone`: for `time.local_…`."""
        compiled: list[CompiledRule] = []
        named: dict[str, Rule] = {}
        for rule in rules:
            where = f"{rule.origin or 'policies'}: rule {rule.name!r}"
            if named.setdefault(rule.name, rule) is not rule:
                raise ConfigError(f"{where}: another rule has this name; give each rule its own")
            try:
                condition = None if rule.when is None else compile_condition(rule.when, vocabulary)
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None
            made = parts(rule, condition)
            if not made:
                raise ConfigError(f"{where} does nothing; give it allow, deny, review, mask, requests, limit, audit or record")
            compiled.extend(made)
        return cls(tuple(named.values()), tuple(compiled), policy_hash, zone)

    def view(self, identity: Identity, connection: str, audit: AuditMode = AuditMode.FULL) -> View:
        """What these policies mean for one caller on one connection with this default audit mode."""
        key = (identity.issuer, identity.subject, identity.provider, identity.groups, identity.client_id,
               identity.agent, identity.model, connection, audit)
        view = self._views.get(key)
        if view is not None:
            self._views.move_to_end(key)
            return view
        self._serial += 1
        view = View(
            self._serial, tuple(rule.on(connection) for rule in self._compiled if rule.applies_to(identity, connection)),
            self.policy_hash, identity, connection, audit, self._decisions, self._zone,
        )
        self._views[key] = view
        if len(self._views) > _VIEWS:
            self._views.popitem(last=False)
        return view

    def decide(
        self, identity: Identity, connection: str, operation: Operation, session_facts: Mapping[str, object],
        *, now: float = 0.0, audit: AuditMode = AuditMode.FULL,
    ) -> Decision:
        """The decision for one operation (`now` in Unix seconds, for `time`)."""
        return self.view(identity, connection, audit).decide(operation, now, GivenFacts(session_facts))

    def may_connect(self, identity: Identity, connection: str, *, now: float = 0.0) -> Decision:
        """May a session open at all? What depends on the request is left to each request."""
        return self.view(identity, connection).connect(now)

    def rules_for(self, connection: str) -> tuple[Rule, ...]:
        """Every rule that can apply on a connection, whoever asks, in the order of the file."""
        return tuple(
            on_connection(rule, connection) for rule in self.rules
            if not rule.connections or connection in rule.connections
        )

    def masks_for(
        self, identity: Identity, connection: str
    ) -> MayHide:
        """Every mask that can be due for this caller, with conditions on requests taken as true."""
        return self.view(identity, connection).may_hide


class View:
    """The rules that speak of one caller on one connection."""

    __slots__ = ("_audit", "_base", "_decisions", "_facts", "_hash", "_may_hide", "_reads_session", "_rules", "_serial",
                 "_static", "_volatile", "_zone")

    def __init__(
        self, serial: int, rules: tuple[CompiledRule, ...], policy_hash: str, identity: Identity,
        connection: str, audit: AuditMode, decisions: OrderedDict[Hashable, _Cached], zone: tzinfo,
    ) -> None:
        self._zone = zone
        self._serial = serial     # not id(): a freed view's id is given out again, its decisions are not
        self._rules = rules
        self._hash = policy_hash
        self._audit = audit
        self._decisions = decisions
        self._static = tuple(rule for rule in rules if rule.is_cacheable)
        self._volatile = tuple(rule for rule in rules if not rule.is_cacheable)
        self._facts = frozenset().union(*(rule.condition.facts for rule in rules if rule.condition is not None))
        self._reads_session = any(
            rule.condition is not None and rule.condition.reads("session") for rule in rules
        )
        self._may_hide: MayHide | None = None
        self._base: dict[str, Mapping[str, object]] = {
            "identity": identity_facts(identity), "connection": {"name": connection},
        }

    @property
    def may_hide(self) -> MayHide:
        """Every mask and detector that can be due for this caller, with conditions on requests taken as true."""
        if self._may_hide is None:
            rules = [rule.rule for rule in self._rules if rule.may_match(self._base)]
            self._may_hide = column_masks(rules), detect_masks(rules)
        return self._may_hide

    @property
    def records(self) -> tuple[bool, bool]:
        """Whether rules want this caller's sessions recorded, and the backend's end of them too."""
        rules = [rule.rule for rule in self._rules]
        return any(rule.record for rule in rules), any(rule.record_raw for rule in rules)

    def decide(self, operation: Operation, now: float, session: SessionFacts) -> Decision:
        """Policy's answer; from the cache where the operation's key decides it."""
        key = (self._serial, operation.kind, operation.key)
        decisions = self._decisions
        found = decisions.get(key)
        if found is None:
            return self._decide(operation, now, session, key)
        decisions.move_to_end(key)
        if isinstance(found, Decision):
            return found
        return self._complete(found, self._context(operation, now, session), operation)

    def _decide(self, operation: Operation, now: float, session: SessionFacts, key: Hashable) -> Decision:
        context = self._context(operation, now, session)
        matching = _matching(self._static, context, operation)
        decision = self._complete(matching, context, operation)
        if len(operation.text) <= _CACHED_TEXT:
            self._decisions[key] = matching if self._volatile else decision
            if len(self._decisions) > _DECISIONS:
                self._decisions.popitem(last=False)
        return decision

    def _complete(self, matching: _Matching, context: Context, operation: Operation) -> Decision:
        """Add the rules that are evaluated each time, and compose."""
        more = _matching(self._volatile, context, operation)
        decision = compose(matching[0] + more[0], self._hash, self._audit)
        wants = matching[1] | more[1]
        return replace(decision, wants=wants) if wants else decision

    def _context(self, operation: Operation, now: float, session: SessionFacts) -> Context:
        context: dict[str, Mapping[str, object]] = {**self._base, "op": operation_facts(operation, self._facts)}
        if self._volatile:
            context["time"] = time_facts(now, self._zone)
        if self._reads_session:
            context["session"] = session.session_facts()
        return context

    def untold(self, decision: Decision, operation: Operation, now: float, session: SessionFacts) -> tuple[str, ...]:
        """Facts of the operation that could not be told, where that alone has the deciding rule deny it: whoever sent it may
        send it otherwise."""
        name, verbs = next(iter(decision.rules), None), sorted(operation.verbs)
        context = self._context(operation, now, session)
        found = (rule.untold(context, verbs) for rule in self._rules if rule.restricts and rule.rule.name == name)
        return tuple(sorted(frozenset[str]().union(*found)))

    def connect(self, now: float) -> Decision:
        """See `PolicySet.may_connect`. A review is about requests, never about the login."""
        context = {**self._base, "time": time_facts(now, self._zone)}
        matching = [
            rule.rule for rule in self._rules if rule.rule.review is None and rule.matches_login(context)
        ]
        return compose(matching, self._hash, self._audit)


def _matching(rules: tuple[CompiledRule, ...], context: Context, operation: Operation) -> _Matching:
    """The rules that match. One that hangs on a fact that the operation lacks is taken at its most lenient."""
    verbs, lacks = sorted(operation.verbs), operation.lacks
    found: list[Rule] = []
    wants: frozenset[str] = frozenset()
    for rule in rules:
        matches = rule.matches(context, verbs, lacks)
        if matches is None:
            assert rule.condition is not None
            wants |= rule.condition.facts & lacks
            matches = not rule.restricts
        if matches:
            found.append(rule.rule)
    return tuple(found), wants
