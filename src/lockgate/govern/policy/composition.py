"""From the rules that match to one decision, whatever their order.

- no `allow` → denied
- any `deny` wins over any `review`, which wins over `allow`
- masks add up; of two masks for the same column or detector the stronger wins (for columns that is
  found out where the catalogue is known, see `analysis.sql.labels`)
- limits: the smallest wins, rates hold each for itself; request checks add up, the stronger action wins
- `audit: full` wins over `async`
- several reviews: one person must satisfy all of them, in the shortest of their times

So adding a rule other than `allow` can only restrict. This file is a pure function of a *set* of
rules; rules are taken in the order of their names so that the words of the answer are stable too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from enum import IntEnum
from typing import TypeVar

from lockgate.model import (
    UNLIMITED,
    AuditMode,
    ColumnMask,
    CustomDetector,
    Decision,
    DetectMask,
    Effect,
    RequestCheck,
    ReviewMode,
    ReviewTerms,
    RowLimits,
    Rule,
)

Strength = TypeVar("Strength", bound=IntEnum)

NOT_ALLOWED = "no policy allows this"
_BOUNDS = tuple(field.name for field in fields(RowLimits) if field.name != "rates")


def compose(matching: Iterable[Rule], policy_hash: str, audit: AuditMode) -> Decision:
    """The decision for these rules; `audit` is the connection's default and can only be raised."""
    rules = sorted(matching, key=lambda rule: rule.name)
    denying = [rule for rule in rules if rule.deny is not None]
    reviewing = [rule for rule in rules if rule.review is not None]
    allowing = [rule for rule in rules if rule.allow]
    if any(rule.audit is AuditMode.FULL for rule in rules):
        audit = AuditMode.FULL
    if denying:
        effect, deciding, reason = Effect.DENY, denying, denying[0].deny or NOT_ALLOWED
    elif not allowing:
        effect, deciding, reason = Effect.DENY, [], NOT_ALLOWED
    elif reviewing:
        effect, deciding, reason = Effect.REVIEW, reviewing, "a person has to approve this"
    else:
        effect, deciding, reason = Effect.ALLOW, allowing, "allowed by policy"
    masking = [rule for rule in rules if rule.masks or rule.detects]
    return Decision(
        effect=effect, rules=tuple(rule.name for rule in deciding), reason=reason, policy_hash=policy_hash,
        masks=column_masks(masking), detects=detect_masks(masking),
        requests=request_checks(rules), limits=row_limits(rules), limit_rules=limit_rules(rules),
        notice=any(rule.notice for rule in rules),
        review=review_terms(reviewing) if effect is Effect.REVIEW else None, audit=audit,
    )


def column_masks(rules: Iterable[Rule]) -> tuple[ColumnMask, ...]:
    """Every mask once; equal for equal sets of rules."""
    return tuple(sorted({replace(mask, rule=rule.name) for rule in rules for mask in rule.masks}, key=repr))


def detect_masks(rules: Iterable[Rule]) -> tuple[DetectMask, ...]:
    """Every detector once, with its strongest method; equal for equal sets of rules."""
    masks = [mask for rule in rules for mask in rule.detects]
    named = ((name, mask.method) for mask in masks for name in mask.detectors)
    return tuple(DetectMask(names, method, _customs(masks, names)) for method, names in _strongest(named))


def request_checks(rules: Iterable[Rule]) -> tuple[RequestCheck, ...]:
    """Every detector once, with its strongest action; equal for equal sets of rules."""
    checks = [check for rule in rules for check in rule.requests]
    named = ((name, check.action) for check in checks for name in check.detectors)
    return tuple(RequestCheck(names, action, _customs(checks, names)) for action, names in _strongest(named))


def row_limits(rules: Iterable[Rule]) -> RowLimits:
    """The smallest of each bound, and all rates, each with its rule."""
    limiting = [rule for rule in rules if rule.limits]
    limits = [rule.limits for rule in limiting]
    return UNLIMITED if not limits else RowLimits(
        _least(limit.rows for limit in limits), _least(limit.task_rows for limit in limits),
        _least(limit.changed for limit in limits), _least(limit.bytes for limit in limits),
        tuple(sorted({replace(rate, rule=rule.name) for rule in limiting for rate in rule.limits.rates})),
    )


def limit_rules(rules: Iterable[Rule]) -> tuple[tuple[str, str], ...]:
    """The rule behind each bound: of those with the smallest one the first by name."""
    bounds: dict[str, tuple[int, str]] = {}
    for rule in rules:
        for name in _BOUNDS:
            bound = getattr(rule.limits, name)
            if bound is not None:
                bounds[name] = min(bounds.get(name, (bound, rule.name)), (bound, rule.name))
    return tuple((name, rule) for name, (_, rule) in bounds.items())


def review_terms(rules: Iterable[Rule]) -> ReviewTerms | None:
    """The terms that satisfy every rule; not waiting (`ticket`) wins over waiting."""
    terms = [rule.review for rule in rules if rule.review is not None]
    if not terms:
        return None
    groups = sorted({term.by for term in terms}, key=sorted)
    modes = {term.mode for term in terms}
    return ReviewTerms(
        by=groups[0], expires=min(term.expires for term in terms),
        mode=ReviewMode.TICKET if ReviewMode.TICKET in modes else ReviewMode.HOLD, also=tuple(groups[1:]),
    )


def _customs(named: Iterable[DetectMask | RequestCheck], names: tuple[str, ...]) -> tuple[CustomDetector, ...]:
    """The policy's own detectors among the names, in their order."""
    found = {custom.name: custom for one in named for custom in one.customs}
    return tuple(found[name] for name in names if name in found)


def _least(bounds: Iterable[int | None]) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _strongest(named: Iterable[tuple[str, Strength]]) -> list[tuple[Strength, tuple[str, ...]]]:
    """Each name under the strongest of its values, strongest first."""
    strongest: dict[str, Strength] = {}
    for name, value in named:
        strongest[name] = max(value, strongest.get(name, value))
    return [
        (value, tuple(sorted(name for name, found in strongest.items() if found is value)))
        for value in sorted(set(strongest.values()), reverse=True)
    ]
