"""Policies compose without order, and a rule other than `allow` can only restrict."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.policy import PolicySet
from lockgate.model import (
    AuditMode,
    ColumnMask,
    Decision,
    DetectMask,
    Effect,
    MaskMethod,
    Rate,
    RequestAction,
    RequestCheck,
    ReviewMode,
    ReviewTerms,
    RowLimits,
    Rule,
    Who,
)
from tests.unit.govern.fakes import identity, operation

VERBS = ("select", "insert", "delete", "drop")
STRENGTH = {Effect.ALLOW: 0, Effect.REVIEW: 1, Effect.DENY: 2}
CONDITIONS = st.sampled_from([
    None, 'op.verb == "delete"', 'op.verb in ["drop", "delete"]', 'op.verb != "select"', "op.rows > 3",
    '"a" in op.relations', "time.hour > 12", "session.statements > 1", 'identity.agent == "x"',
    'op.verbs.exists(v, v == "drop")', "op.missing == 1", "has(op.rows)",
])
METHODS = st.sampled_from(list(MaskMethod))
PARTS = st.fixed_dictionaries({
    "when": CONDITIONS,
    "who": st.sampled_from([Who(), Who(groups=frozenset({"agents"})), Who(groups=frozenset({"others"}))]),
    "connections": st.sampled_from([(), ("crm",), ("hr",)]),
})
RESTRICTIONS = st.one_of(
    st.fixed_dictionaries({"deny": st.just("no")}),
    st.fixed_dictionaries({"review": st.builds(
        ReviewTerms, st.sampled_from([frozenset({"dba"}), frozenset({"sec"})]), st.sampled_from([60.0, 90.0]),
        st.sampled_from(list(ReviewMode)))}),
    st.fixed_dictionaries({"masks": st.tuples(st.builds(
        ColumnMask, st.sampled_from([("*.ssn",), ("*.ssn", "a.email"), ("a.email",)]), METHODS))}),
    st.fixed_dictionaries({"detects": st.tuples(st.builds(
        DetectMask, st.sampled_from([("jwt",), ("jwt", "ssn")]), METHODS))}),
    st.fixed_dictionaries({"audit": st.sampled_from(list(AuditMode))}),
)
ALLOWS = st.just({"allow": True})


def named(drawn: list[tuple[dict[str, object], dict[str, object]]]) -> list[Rule]:
    return [Rule(name=f"r{index}", **parts, **effect) for index, (parts, effect) in enumerate(drawn)]  # type: ignore[arg-type]


RULES = st.lists(st.tuples(PARTS, st.one_of(ALLOWS, RESTRICTIONS)), max_size=6).map(named)
OPERATIONS = st.builds(
    lambda verbs, rows, relations: operation(*verbs, rows=rows, relations=relations, key=(tuple(verbs), rows)),
    st.lists(st.sampled_from(VERBS), max_size=3, unique=True), st.integers(0, 6),
    st.lists(st.sampled_from("ab"), max_size=2),
)


def decide(rules: list[Rule], op: object, audit: AuditMode = AuditMode.ASYNC) -> Decision:
    policy = PolicySet.compile(rules, "h")
    return policy.decide(identity(), "crm", op, {"statements": 1}, now=1_800_000_000.0, audit=audit)  # type: ignore[arg-type]


def strengths(decision: Decision) -> dict[str, MaskMethod]:
    columns: dict[str, MaskMethod] = {}
    for mask in decision.masks:             # of several for one column the strongest counts (`analysis.sql.covers`)
        for glob in mask.columns:
            columns[f"column {glob}"] = max(mask.method, columns.get(f"column {glob}", mask.method))
    return columns | {f"detector {name}": mask.method for mask in decision.detects for name in mask.detectors}


@given(RULES, OPERATIONS, st.randoms(use_true_random=False))
def test_order_does_not_matter(rules: list[Rule], op: object, random: object) -> None:
    """The same rules in any order give the same decision, to the last word."""
    shuffled = list(rules)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(shuffled, op) == decide(rules, op)


@given(RULES, st.tuples(PARTS, RESTRICTIONS), OPERATIONS, st.sampled_from(["first", "zlast"]))
def test_a_further_restriction_only_restricts(
    rules: list[Rule], more: tuple[dict[str, object], dict[str, object]], op: object, name: str
) -> None:
    """A rule other than `allow` never weakens the effect, a mask, the review's terms or the audit."""
    before = decide(rules, op)
    after = decide([*rules, Rule(name=name, **more[0], **more[1])], op)  # type: ignore[arg-type]
    assert STRENGTH[after.effect] >= STRENGTH[before.effect]
    weaker = [name for name, method in strengths(before).items() if strengths(after).get(name, 0) < method]
    assert weaker == []
    assert not (before.audit is AuditMode.FULL and after.audit is AuditMode.ASYNC)
    if before.review is not None and after.review is not None:
        assert {before.review.by, *before.review.also} <= {after.review.by, *after.review.also}
        assert after.review.expires <= before.review.expires


@given(st.lists(st.tuples(PARTS, RESTRICTIONS), max_size=5).map(named), OPERATIONS)
def test_nothing_is_allowed_without_an_allow(rules: list[Rule], op: object) -> None:
    """Deny by default: no `allow`, no way through."""
    assert decide(rules, op).effect is Effect.DENY


@given(RULES, st.lists(st.sampled_from(VERBS), min_size=1, max_size=4, unique=True))
def test_an_unknown_effect_counts_as_every_effect(rules: list[Rule], verbs: list[str]) -> None:
    """A request without verbs is never judged milder than one with any verbs."""
    facts = {"rows": 1, "relations": ["a"]}
    unknown = decide(rules, operation(key="none", **facts))
    known = decide(rules, operation(*verbs, key="some", **facts))
    if not any(rule.when and ("op.verbs" in rule.when or "!=" in rule.when) for rule in rules if not rule.allow):
        assert STRENGTH[unknown.effect] >= STRENGTH[known.effect]
    for name, method in strengths(known).items():
        assert strengths(unknown).get(name, 0) >= method


def test_deny_wins_over_review_wins_over_allow() -> None:
    """The three effects have one order of strength."""
    terms = ReviewTerms(frozenset({"dba"}), 60.0)
    allow, review, deny = Rule("a", allow=True), Rule("b", review=terms), Rule("c", deny="no")
    assert decide([allow], operation("select")).effect is Effect.ALLOW
    assert decide([allow, review], operation("select")).effect is Effect.REVIEW
    assert decide([allow, review, deny], operation("select")).effect is Effect.DENY
    assert decide([deny, allow], operation("select")).reason == "no"


def test_masks_add_up_whatever_the_order() -> None:
    """Every mask of every matching rule is there once, with its rule's name; which wins is found per column."""
    one = ColumnMask(("*.ssn", "*.email"), MaskMethod.PARTIAL)
    other = ColumnMask(("*.ssn",), MaskMethod.NULL)
    rules = [Rule("a", allow=True, masks=(one,)), Rule("b", masks=(other, other))]
    found = decide(rules, operation("select")).masks
    assert sorted(found, key=repr) == sorted((replace(one, rule="a"), replace(other, rule="b")), key=repr)
    assert decide(rules[::-1], operation("select")).masks == found


def test_row_limits_and_request_checks_compose() -> None:
    """The smallest bound and the strongest action count."""
    rules = [Rule("a", allow=True, limits=RowLimits(rows=10), requests=(RequestCheck(("jwt",), RequestAction.RECORD),)),
             Rule("b", limits=RowLimits(rows=5, changed=1), requests=(RequestCheck(("jwt",), RequestAction.BLOCK),))]
    decision = decide(rules, operation("select"))
    assert decision.limits == RowLimits(rows=5, changed=1)
    assert dict(decision.limit_rules) == {"rows": "b", "changed": "b"}
    assert decision.requests == (RequestCheck(("jwt",), RequestAction.BLOCK),)


def test_rates_hold_each_for_itself_and_bytes_by_the_smallest() -> None:
    """A rate goes with its rule's name: each rule counts what it matches."""
    rules = [Rule("a", allow=True, limits=RowLimits(bytes=9, rates=(Rate(5, 60),))),
             Rule("b", limits=RowLimits(bytes=7, rates=(Rate(1, 1),)))]
    decision = decide(rules, operation("select"))
    assert decision.limits == RowLimits(bytes=7, rates=(Rate(1, 1, "b"), Rate(5, 60, "a")))
    assert dict(decision.limit_rules) == {"bytes": "b"}


def test_the_strongest_mask_wins_per_detector() -> None:
    """Wherever the stronger rule stands."""
    weak, strong = DetectMask(("jwt", "ssn"), MaskMethod.PARTIAL), DetectMask(("jwt",), MaskMethod.REDACT)
    for one, other in ((weak, strong), (strong, weak)):
        rules = [Rule("a", allow=True, detects=(one,)), Rule("b", detects=(other,))]
        assert decide(rules, operation("select")).detects == (
            DetectMask(("jwt",), MaskMethod.REDACT), DetectMask(("ssn",), MaskMethod.PARTIAL))


def test_several_reviews_ask_for_one_person_who_satisfies_all() -> None:
    """Terms of two review rules add up: both groups, the shorter life, not waiting over waiting."""
    rules = [Rule("a", allow=True), Rule("b", review=ReviewTerms(frozenset({"dba"}), 90.0)),
             Rule("c", review=ReviewTerms(frozenset({"sec"}), 60.0, ReviewMode.TICKET))]
    assert decide(rules, operation("delete")).review == ReviewTerms(
        frozenset({"dba"}), 60.0, ReviewMode.TICKET, (frozenset({"sec"}),))


def test_audit_full_wins_and_the_default_cannot_be_lowered() -> None:
    """`full` of the connection or of any rule stays; `async` lowers neither."""
    asynchronous, full = Rule("a", allow=True, audit=AuditMode.ASYNC), Rule("b", audit=AuditMode.FULL)
    assert decide([asynchronous], operation("select"), AuditMode.FULL).audit is AuditMode.FULL
    assert decide([asynchronous], operation("select"), AuditMode.ASYNC).audit is AuditMode.ASYNC
    assert decide([asynchronous, full], operation("select"), AuditMode.ASYNC).audit is AuditMode.FULL
