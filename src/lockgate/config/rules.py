"""From one entry of `policies` to the rule that it states: labels are looked up, durations become seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Final

from lockgate.config.duration import seconds
from lockgate.config.policies import DetectorSettings, LabelSettings, MaskSettings, PolicySettings
from lockgate.model import (
    UNLIMITED,
    AuditMode,
    ColumnMask,
    CustomDetector,
    DetectMask,
    KeyScope,
    MaskMethod,
    Predicates,
    Rate,
    RequestAction,
    RequestCheck,
    ReviewMode,
    ReviewTerms,
    RowLimits,
    Rule,
    Who,
)

Labels = Mapping[str, LabelSettings]
Customs = Mapping[str, CustomDetector]
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


def custom_of(detector: DetectorSettings) -> CustomDetector:
    """The detector that one entry of `detectors` describes."""
    return CustomDetector(
        detector.name, detector.pattern, detector.validator, detector.columns, detector.types, detector.min_length,
        detector.max_length, detector.keep,
    )


def rule_of(policy: PolicySettings, labels: Labels, customs: Customs, origin: str) -> Rule:
    """The rule. Names and globs were checked before (`checks`)."""
    review, limit = policy.review, policy.limit
    return Rule(
        name=policy.name,
        who=Who(frozenset(policy.who.groups), frozenset(policy.who.subjects), frozenset(policy.who.clients),
                frozenset(policy.who.agents)),
        connections=policy.connections,
        when=policy.when,
        allow=policy.allow is not None,
        deny=policy.deny,
        review=None if review is None else ReviewTerms(
            frozenset(review.by), seconds(review.expires), ReviewMode(review.mode)),
        masks=tuple(_masks(policy, labels)),
        detects=tuple(_detects(policy, labels, customs)),
        requests=tuple(
            RequestCheck(check.detect, RequestAction[check.action.upper()], _named(check.detect, customs))
            for check in policy.requests),
        limits=UNLIMITED if limit is None else RowLimits(
            limit.rows, limit.task_rows, limit.changed, limit.bytes, _rates(limit.requests)),
        notice=policy.notice,
        audit=None if policy.audit is None else AuditMode(policy.audit),
        record=policy.record or policy.record_raw,
        record_raw=policy.record_raw,
        origin=origin,
    )


def _rates(written: str | None) -> tuple[Rate, ...]:
    if written is None:
        return ()
    count, _, unit = written.partition("/")
    return (Rate(int(count), _UNITS[unit]),)


def labels_named(globs: tuple[str, ...], labels: Labels) -> list[str]:
    """The labels that names or globs mean, in the order of the file."""
    return [name for name in labels if any(fnmatchcase(name, glob) for glob in globs)]


def _masks(policy: PolicySettings, labels: Labels) -> Iterator[ColumnMask]:
    for mask in policy.mask:
        if mask.columns:
            yield _mask(mask, mask.columns)
        for name in labels_named(mask.labels, labels):
            label = labels[name]
            if label.columns or label.names or label.types:
                yield _mask(mask, label.columns, name, label)
    if policy.new_columns == "mask":
        yield ColumnMask((), MaskMethod.REDACT, label="new column", is_new=True)


def _mask(mask: MaskSettings, columns: tuple[str, ...], name: str = "", label: LabelSettings | None = None) -> ColumnMask:
    predicates = Predicates[mask.predicates.upper()]
    return ColumnMask(
        columns, MaskMethod[mask.method.upper()], predicates, name,
        () if label is None else label.names, () if label is None else label.types, mask.paths,
        KeyScope[mask.key.upper()],
        lookups=int(mask.lookups.partition("/")[0]) if predicates is Predicates.EQUALITY else 0, returns=mask.returns,
    )


def _detects(policy: PolicySettings, labels: Labels, customs: Customs) -> Iterator[DetectMask]:
    for mask in policy.mask:
        names = dict.fromkeys(mask.detect)
        for name in labels_named(mask.labels, labels):
            names.update(dict.fromkeys(labels[name].detect))
        if names:
            yield DetectMask(tuple(names), MaskMethod[mask.method.upper()], _named(names, customs))


def _named(names: Iterable[str], customs: Customs) -> tuple[CustomDetector, ...]:
    return tuple(customs[name] for name in names if name in customs)
