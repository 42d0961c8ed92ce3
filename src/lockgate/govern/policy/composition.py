"""From the rules that match to one decision, whatever their order.

- no `allow` → denied
- any `deny` wins over any `review`, which wins over `allow`
- masks add up; of two masks for the same columns or detector the stronger wins
- `audit: full` wins over `async`
- several reviews: one person must satisfy all of them, in the shortest of their times

So adding a rule other than `allow` can only restrict. This file is a pure function of a *set* of
rules; rules are taken in the order of their names so that the words of the answer are stable too.
"""

from __future__ import annotations

from collections.abc import Iterable

from lockgate.model import (
    AuditMode,
    ColumnMask,
    Decision,
    DetectMask,
    Effect,
    MaskMethod,
    ReviewMode,
    ReviewTerms,
    Rule,
)

NOT_ALLOWED = "no policy allows this"


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
        mask_rules=tuple(rule.name for rule in masking),
        review=review_terms(reviewing) if effect is Effect.REVIEW else None, audit=audit,
    )


def column_masks(rules: Iterable[Rule]) -> tuple[ColumnMask, ...]:
    """Every glob once, with its strongest method; equal for equal sets of rules."""
    strongest: dict[str, MaskMethod] = {}
    for rule in rules:
        for mask in rule.masks:
            for glob in mask.columns:
                strongest[glob] = max(mask.method, strongest.get(glob, mask.method))
    return tuple(ColumnMask(found, method) for method, found in _by_method(strongest))


def detect_masks(rules: Iterable[Rule]) -> tuple[DetectMask, ...]:
    """Every detector once, with its strongest method; equal for equal sets of rules."""
    strongest: dict[str, MaskMethod] = {}
    for rule in rules:
        for mask in rule.detects:
            for name in mask.detectors:
                strongest[name] = max(mask.method, strongest.get(name, mask.method))
    return tuple(DetectMask(found, method) for method, found in _by_method(strongest))


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


def _by_method(strongest: dict[str, MaskMethod]) -> list[tuple[MaskMethod, tuple[str, ...]]]:
    return [
        (method, tuple(sorted(name for name, found in strongest.items() if found is method)))
        for method in sorted(set(strongest.values()), reverse=True)
    ]
