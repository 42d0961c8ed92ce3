"""How each rule is held on a connection: the protocol's rows of the enforcement table (I5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from lockgate.analysis.sql import QUALIFIED, enforce_masks, redacted, unknown_name
from lockgate.analysis.sql.builtin_types import BY_NAME
from lockgate.analysis.sql.catalogue import Column
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.detectors import DETECTORS
from lockgate.govern.masking.value_masks import fits
from lockgate.govern.policy import comparisons, tokens_of
from lockgate.model import ColumnMask, MaskMethod, Predicates, RequestAction, ReviewMode, RowLimits, Rule
from lockgate.protocols.postgres.estimate import TIMEOUT
from lockgate.protocols.postgres.quota import OVER_LIMIT
from lockgate.wire.spec import Enforcement

_KEYLESS: Final = frozenset((MaskMethod.PARTIAL, MaskMethod.REDACT, MaskMethod.NULL))
_MOST_SHOWN: Final = 5
_CONDITIONS: Final = {
    Predicates.REFUSE: "refused", Predicates.MASKED: "on the masks",
    Predicates.EQUALITY: "equality with constants on the real value", Predicates.ALLOW: "on the real value",
}
_REQUESTS: Final = {
    RequestAction.RECORD: "a find goes on record", RequestAction.MASK: "a find is replaced before it goes on",
    RequestAction.BLOCK: "a find is refused with 42501",
}
_ESTIMATED: Final = re.compile(r"\bop(\.|\[.)estimated_")


def enforce(
    connection: str, settings: Any, rules: Sequence[Rule], catalogue: Any  # noqa: ARG001 - the contract
) -> list[Enforcement]:
    """Rows for `lockgate check`; a row with a problem stops the connection."""
    rows: list[Enforcement] = []
    for rule in rules:
        rows += _of_rule(connection, rule, catalogue)
    return rows


def _of_rule(connection: str, rule: Rule, catalogue: Any) -> list[Enforcement]:
    rows: list[Enforcement] = []

    def add(control: str, how: str, problem: str | None = None, *, doubt: str | None = None, subject: str = "") -> None:
        rows.append(Enforcement(connection, rule.name, control, how, problem, doubt, subject))

    when = f" where {rule.when}" if rule.when else ""
    if rule.allow:
        add("allow", f"admitted at log-in; each statement is judged{when}")
    if rule.deny is not None:
        add("deny", f"refused with 42501 at Query, Parse and Execute{when}")
    if rule.review is not None:
        how = "held before Query and Execute" if rule.review.mode is ReviewMode.HOLD else "refused with a ticket"
        add("review", f"{how}, at most {rule.review.expires:g} s, decided by {', '.join(sorted(rule.review.by))}{when}")
    if rule.audit is not None:
        add("audit", "intent durable before the bytes leave" if rule.audit.value == "full"
            else "intent queued before the bytes leave")
    if rule.when is not None and _ESTIMATED.search(rule.when):
        add("estimate", f"the planner is asked before the statement goes on, {TIMEOUT / 1000:g} s at most; no answer "
                        "counts against the statement")
    _add_names(add, rule, catalogue)
    _add_limits(add, rule.limits, when)
    if rule.masks:
        _add_masks(add, rule, catalogue)
    for detect in rule.detects:
        for name in detect.detectors:
            known = name in DETECTORS or any(custom.name == name for custom in detect.customs)
            add(f"detect {name}", "detector on rows and COPY data, in text and binary; error texts withheld on a find"
                if known else "", None if known else f"there is no detector {name}")
    for check in rule.requests:
        for name in check.detectors:
            add(f"requests {name}", "detector on literals, parameters and COPY data, in text and binary; "
                                    f"{_REQUESTS[check.action]}{when}")
    return rows


def _add_names(add: Any, rule: Rule, catalogue: Any) -> None:
    """Names in the condition that the database does not have: no statement will ever touch them."""
    if rule.when is None or catalogue is None:
        return
    for fact, name in dict.fromkeys((found.fact, found.literal) for found in comparisons(tokens_of(rule.when))):
        doubt = unknown_name(fact, name, catalogue) if fact in QUALIFIED else None
        if doubt is not None:
            add(f"when op.{fact}", f"compared with {name}", doubt=doubt)


def _add_limits(add: Any, limits: RowLimits, when: str) -> None:
    if limits.rows is not None:
        add(f"limit rows {limits.rows}", "counted per statement, portal and cursor, COPY included; one more is an error "
                                         f"({OVER_LIMIT}), and what the statement did is taken back{when}")
    if limits.task_rows is not None:
        add(f"limit task_rows {limits.task_rows}", "counted over all sessions of an identity's agent; spent, what returns "
                                                   f"rows is refused with 42501{when}")
    if limits.changed is not None:
        add(f"limit changed {limits.changed}", f"counted by command tags; more is an error ({OVER_LIMIT}) and taken back, "
                                               f"what cannot be counted is refused with 42501{when}")
    for bound, is_set in (("requests", limits.rates), ("bytes", limits.bytes is not None)):
        if is_set:
            add(f"limit {bound}", "", f"`limit: {{{bound}: …}}` counts requests and their content, which this connection does "
                "not have; name the connections that the rule is for, or bound rows")


def _add_masks(add: Any, rule: Rule, catalogue: Any) -> None:
    if catalogue is None:
        add("mask", "", "the database's catalogue could not be read, so columns cannot be found")
        return
    for row in enforce_masks(rule.masks, catalogue):
        noted = [(name, _note(row.mask, column)) for name, column in row.columns]
        noted.sort(key=lambda one: not one[1])          # what is not as asked for is among those that are shown
        shown = ", ".join(name + note for name, note in noted[:_MOST_SHOWN]) or "none now"
        more = f" and {len(row.columns) - _MOST_SHOWN} more" if len(row.columns) > _MOST_SHOWN else ""
        add(f"mask {row.what}", "" if row.problem else f"{_held(row.mask)}: {shown}{more}", row.problem, subject=row.what)


def _held(mask: ColumnMask) -> str:
    """What a column shows, by which mechanism, and what conditions may do with it."""
    method = mask.method.name.lower()
    if mask.paths:
        method += f" of {', '.join(mask.paths)}"
    if mask.method in _KEYLESS and not mask.paths:
        how = f"{method}, spliced at the source into every read"
    else:
        key = "" if mask.method in _KEYLESS else f", one key for each {mask.scope.name.lower()}"
        otherwise = "hidden" if mask.paths else "redacted"
        how = f"{method}{key}, put on the result where the column is only shown, else {otherwise} at the source"
    conditions = _CONDITIONS[mask.predicates]
    if mask.predicates is Predicates.EQUALITY:
        conditions += f", {mask.lookups} an hour"
    if mask.predicates in (Predicates.EQUALITY, Predicates.ALLOW):
        conditions += ", and then the result is masked"
    return f"{how}; conditions: {conditions}"


def _note(mask: ColumnMask, column: Column) -> str:
    """What is shown instead of what was asked for, where the column's type has no such mask."""
    instead = "NULL" if redacted(column) is None else "redacted"
    if mask.method is MaskMethod.REDACT and not mask.paths:
        return "" if instead == "redacted" else f" (no constant fits {column.type}: NULL)"
    if column.kind == "d" or fits(mask.method, frozenset(mask.paths), _type_of(column)):
        return ""                           # a domain is masked as its base type, of which the catalogue says no more
    if mask.paths:
        return f" (paths do not fit {column.type}: hidden as a whole)"
    return f" ({mask.method.name.lower()} does not fit {column.type}: {instead})"


def _type_of(column: Column) -> ColumnType:
    """The column's type as results name it, 0 where it is not built in."""
    base = column.base or ""
    builtin = BY_NAME.get(base.removeprefix("_"))
    if builtin is None or column.kind not in ("b", "r", "m"):
        return ColumnType(0)
    return ColumnType(builtin.array if base.startswith("_") else builtin.oid)
