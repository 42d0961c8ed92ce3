"""How each rule is held on a connection: the protocol's rows of the enforcement table (I5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from lockgate.analysis.sql import enforce_masks
from lockgate.govern.masking.detectors import DETECTORS
from lockgate.model import ReviewMode, RowLimits, Rule
from lockgate.protocols.postgres.estimate import TIMEOUT
from lockgate.protocols.postgres.quota import OVER_LIMIT
from lockgate.wire.spec import Enforcement

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

    def add(control: str, how: str, problem: str | None = None) -> None:
        rows.append(Enforcement(connection, rule.name, control, how, problem))

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
    _add_limits(add, rule.limits, when)
    if rule.masks:
        _add_masks(add, rule, catalogue)
    for detect in rule.detects:
        for name in detect.detectors:
            known = name in DETECTORS or any(custom.name == name for custom in detect.customs)
            add(f"detect {name}", "detector on rows and COPY data, in text and binary; error texts withheld on a find"
                if known else "", None if known else f"there is no detector {name}")
    return rows


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


def _add_masks(add: Any, rule: Rule, catalogue: Any) -> None:
    if catalogue is None:
        add("mask", "", "the database's catalogue could not be read, so columns cannot be found")
        return
    for glob, columns, problem in enforce_masks(rule.masks, catalogue):
        shown = ", ".join(columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
        add(f"mask {glob}", f"spliced at the source into every read of {shown}" if columns else "", problem)
