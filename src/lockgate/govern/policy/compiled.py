"""A rule ready to be asked: whom it speaks of, and whether its condition holds for a request.

Failing closed means opposite things for the two kinds of rule, so a rule that allows *and*
restricts (`allow: connect` with `audit: full`) is compiled into two parts. A part that restricts
matches if its condition holds for *any* verb of the request, or cannot be told; a part that allows
matches only if it holds for *every* verb. A request without verbs may do anything: for a condition
that reads verbs, it restricts and does not allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from fnmatch import fnmatchcase

from lockgate.govern.policy.condition import Condition
from lockgate.model import Identity, Operation, Rule, Who

_WITH_CONNECTION = 3
"""Dots of a glob whose first part is the connection's name."""

Context = Mapping[str, Mapping[str, object]]
"""What conditions see: ``op``, ``identity`` … and their names."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """One part of a rule. `restricts` is False for the part that allows."""

    rule: Rule
    condition: Condition | None
    restricts: bool

    @property
    def is_cacheable(self) -> bool:
        """Whether the operation's key is enough to tell whether it matches."""
        return self.condition is None or self.condition.is_cacheable

    def applies_to(self, identity: Identity, connection: str) -> bool:
        """Whether it speaks of this caller on this connection at all."""
        connections = self.rule.connections
        return (not connections or connection in connections) and speaks_of(self.rule.who, identity)

    def on(self, connection: str) -> CompiledRule:
        """The rule as it is on one connection."""
        rule = on_connection(self.rule, connection)
        return self if rule is self.rule else replace(self, rule=rule)

    def matches(self, context: Context, verbs: list[str], lacks: frozenset[str] = frozenset()) -> bool | None:
        """Whether its condition holds for a request with these verbs (see the module's docstring).

        None where that hangs on a fact in `lacks`, which the protocol can still find out.
        """
        condition = self.condition
        if condition is None:
            return True
        hangs = not lacks.isdisjoint(condition.facts)
        if hangs and condition.asks_presence:
            # "it is not there" is not the answer yet, unless the rest rules it out: content is held back and read for this.
            return False if self._is_ruled_out(condition, context, verbs, lacks) else None
        if not condition.needs_verb:
            holds = condition.holds(context)
            return None if hangs and holds is None else self._told(holds)
        if not verbs:
            return self.restricts
        op = context["op"]
        each: Iterable[bool | None] = (condition.holds({**context, "op": {**op, "verb": verb}}) for verb in verbs)
        if hangs:
            each = tuple(each)
            if None in each and self.restricts not in each:
                return None                 # no verb settles it: any that holds does, or all that must
        told = map(self._told, each)
        return any(told) if self.restricts else all(told)

    def _is_ruled_out(
        self, condition: Condition, context: Context, verbs: list[str], lacks: frozenset[str]
    ) -> bool:
        """Whether it does not match, whatever the facts in `lacks` turn out to be."""
        if not condition.needs_verb:
            return condition.fails_without(context, lacks)
        op = context["op"]
        fails = [condition.fails_without({**context, "op": {**op, "verb": verb}}, lacks) for verb in verbs]
        return bool(fails) and (all(fails) if self.restricts else any(fails))

    def untold(self, context: Context, verbs: list[str]) -> frozenset[str]:
        """Facts of the operation that could not be told, where it matches for that alone and not because its condition holds."""
        condition = self.condition
        if condition is None:
            return frozenset()
        if not condition.needs_verb:
            return condition.untold(context)
        each = [{**context, "op": {**context["op"], "verb": verb}} for verb in verbs]
        if any(condition.holds(one) for one in each):
            return frozenset()
        return frozenset[str]().union(*(condition.untold(one) for one in each))

    def matches_login(self, context: Context) -> bool:
        """Whether it speaks of opening a session: a condition on a request is not told yet, so it
        neither restricts nor stands in the way of an `allow`.
        """
        condition = self.condition
        if condition is None:
            return True
        if condition.reads("op") or condition.reads("session"):
            return not self.restricts
        return self._told(condition.holds(context))

    def may_match(self, context: Context) -> bool:
        """Whether it could match some request of the caller that `context` speaks of."""
        condition = self.condition
        if condition is None or any(map(condition.reads, ("op", "session", "time"))):
            return True
        return self._told(condition.holds(context))

    def _told(self, holds: bool | None) -> bool:
        return self.restricts if holds is None else holds


def parts(rule: Rule, condition: Condition | None) -> list[CompiledRule]:
    """The parts of a rule: what it allows, and what it restricts."""
    found = []
    if rule.allow:
        allowing = Rule(rule.name, rule.who, rule.connections, rule.when, allow=True, origin=rule.origin)
        found.append(CompiledRule(allowing, condition, restricts=False))
    if rule.restricts:
        found.append(CompiledRule(replace(rule, allow=False), condition, restricts=True))
    return found


def on_connection(rule: Rule, connection: str) -> Rule:
    """The rule as it is on one connection: globs of four parts name the connection first."""
    if not any(glob.count(".") == _WITH_CONNECTION for mask in rule.masks for glob in mask.columns):
        return rule
    masks = []
    for mask in rule.masks:
        globs = tuple(here for glob in mask.columns if (here := _glob_here(glob, connection)) is not None)
        if globs or mask.names or mask.types or mask.is_new:
            masks.append(replace(mask, columns=globs))
    return replace(rule, masks=tuple(masks))


def _glob_here(glob: str, connection: str) -> str | None:
    if glob.count(".") != _WITH_CONNECTION:
        return glob
    first, _, rest = glob.partition(".")
    return rest if fnmatchcase(connection, first) else None


def speaks_of(who: Who, identity: Identity) -> bool:
    """Whether `who` means this caller: every kind that is given must match."""
    return (
        (not who.groups or not who.groups.isdisjoint(identity.groups))
        and (not who.subjects or identity.subject in who.subjects)
        and (not who.clients or identity.client_id in who.clients)
        and (not who.agents or identity.agent in who.agents)
    )


# ---------------------------------------------------------------- facts


def operation_facts(operation: Operation, names: frozenset[str]) -> dict[str, object]:
    """`op`, without `verb`, which `CompiledRule.matches` adds. Of its protocol's facts those in `names` only:
    some are worked out when they are asked for."""
    facts = {name: plain(operation.facts[name]) for name in names if name in operation.facts}
    facts["verbs"] = sorted(operation.verbs)
    facts["kind"] = operation.kind
    facts["protocol"] = operation.protocol
    facts["text"] = operation.text
    facts["parameters"] = list(operation.parameters)
    return facts


def identity_facts(identity: Identity) -> dict[str, object]:
    """`identity`."""
    return {
        "issuer": identity.issuer, "subject": identity.subject, "provider": identity.provider,
        "groups": sorted(identity.groups), "client_id": identity.client_id, "agent": identity.agent,
        "model": identity.model,
    }


def time_facts(now: float, zone: tzinfo = UTC) -> dict[str, object]:
    """`time`, in UTC and by the clocks of `zone`."""
    moment = datetime.fromtimestamp(now, UTC)
    local = moment.astimezone(zone)
    return {"hour": moment.hour, "minute": moment.minute, "weekday": moment.isoweekday(),
            "iso": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "local_hour": local.hour, "local_minute": local.minute, "local_weekday": local.isoweekday(),
            "local_date": local.strftime("%Y-%m-%d")}


def plain(value: object) -> object:
    """A fact as CEL takes it: sets become sorted lists, tuples lists."""
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    return value
