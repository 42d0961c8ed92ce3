"""How rules match: verbs, callers, connections, conditions that fail; and what may be cached."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.govern.policy import PolicySet, Vocabulary
from lockgate.govern.policy.condition import compile_condition
from lockgate.model import (
    AuditMode,
    ColumnMask,
    DetectMask,
    Effect,
    Identity,
    MaskMethod,
    Operation,
    ReviewTerms,
    Rule,
    Who,
)
from tests.unit.govern.fakes import identity, operation

ALLOW = Rule("everyone", allow=True)
TERMS = ReviewTerms(frozenset({"dba"}), 60.0)


def effect(rules: list[Rule], op: Operation, who: Identity | None = None, now: float = 0.0,
           **session: object) -> Effect:
    return PolicySet.compile(rules, "h").decide(who or identity(), "crm", op, session, now=now).effect


def test_a_restriction_matches_if_any_verb_does() -> None:
    """`SELECT 1; DROP TABLE t` is stopped by a rule about drop."""
    rules = [ALLOW, Rule("no-drop", when='op.verb == "drop"', deny="no")]
    assert effect(rules, operation("select", "drop")) is Effect.DENY
    assert effect(rules, operation("select", "insert")) is Effect.ALLOW


def test_an_allow_matches_only_if_every_verb_does() -> None:
    """A rule that allows select does not let `SELECT …; DELETE …` through."""
    rules = [Rule("readers", when='op.verb == "select"', allow=True)]
    assert effect(rules, operation("select")) is Effect.ALLOW
    assert effect(rules, operation("select", "delete")) is Effect.DENY


def test_a_request_without_verbs_is_restricted_and_not_allowed() -> None:
    """An unknown effect counts as every effect."""
    assert effect([ALLOW, Rule("r", when='op.verb == "drop"', review=TERMS)], operation()) is Effect.REVIEW
    assert effect([Rule("a", when='op.verb == "select"', allow=True)], operation()) is Effect.DENY


@pytest.mark.parametrize("when", ["op.absent == 1", "op.rows", "op.rows / 0 == 1", 'op.rows.startsWith("x")'])
def test_a_condition_that_cannot_be_told_fails_closed(when: str) -> None:
    """It raises or gives no boolean: a deny applies, an allow does not."""
    op = operation("select", rows=1)
    assert effect([ALLOW, Rule("d", when=when, deny="no")], op) is Effect.DENY
    assert effect([Rule("a", when=when, allow=True)], op) is Effect.DENY


def test_a_rule_that_allows_and_restricts_fails_closed_in_both_directions() -> None:
    """For a mixed statement the audit of the rule applies and its allow does not."""
    rule = Rule("a", when='op.verb == "select"', allow=True, audit=AuditMode.FULL)
    decision = PolicySet.compile([rule], "h").decide(
        identity(), "crm", operation("select", "drop"), {}, audit=AuditMode.ASYNC)
    assert (decision.effect, decision.audit) == (Effect.DENY, AuditMode.FULL)


@pytest.mark.parametrize(("who", "caller", "speaks"), [
    (Who(), identity(), True),
    (Who(groups=frozenset({"a", "b"})), identity("s", "b"), True),
    (Who(groups=frozenset({"a"})), identity("s", "b"), False),
    (Who(subjects=frozenset({"s"})), identity("s"), True),
    (Who(clients=frozenset({"c"})), identity("s"), False),
    (Who(agents=frozenset({"x"})), identity("s", agent="x"), True),
    (Who(groups=frozenset({"a"}), agents=frozenset({"x"})), identity("s", "b", agent="x"), False),
])
def test_who_matches_only_if_every_given_kind_does(who: Who, caller: Identity, speaks: bool) -> None:
    """Groups, subjects, clients and agents narrow each other."""
    assert (effect([Rule("a", who=who, allow=True)], operation("select"), caller) is Effect.ALLOW) is speaks


def test_rules_of_other_connections_do_not_count() -> None:
    """A rule with connections speaks of those alone."""
    policy = PolicySet.compile([Rule("a", connections=("hr",), allow=True)], "h")
    assert policy.decide(identity(), "crm", operation("select"), {}).effect is Effect.DENY
    assert policy.decide(identity(), "hr", operation("select"), {}).effect is Effect.ALLOW
    assert policy.rules_for("crm") == ()


def test_conditions_see_time_identity_connection_and_session() -> None:
    """Each root carries what its documentation says."""
    monday = 1_800_000_000.0 - 1_800_000_000 % 86_400 + 9 * 3600      # some day, 9:00 UTC
    for when in ("time.hour == 9", "time.minute == 0", "time.weekday >= 1 && time.weekday <= 7",
                 'timestamp(time.iso) > timestamp("2020-01-01T00:00:00Z")', '"agents" in identity.groups',
                 'identity.subject == "agent"', "identity.agent == null", 'connection.name == "crm"',
                 "session.statements == 3", 'op.kind == "query"', 'op.text.matches("(?i)^select")',
                 'op.parameters == ["1", null]', 'op.verbs == ["insert", "select"]'):
        op = operation("select", "insert", parameters=("1", None))
        assert effect([Rule("a", when=when, allow=True)], op, now=monday, statements=3) is Effect.ALLOW, when


def test_what_time_or_session_decide_is_not_cached() -> None:
    """The same operation is judged anew when the clock or the session has moved."""
    policy = PolicySet.compile([ALLOW, Rule("late", when="time.hour >= 18", deny="closed"),
                                Rule("many", when="session.statements > 5", deny="enough")], "h")
    op = operation("select")
    assert policy.decide(identity(), "crm", op, {"statements": 1}, now=9 * 3600.0).effect is Effect.ALLOW
    assert policy.decide(identity(), "crm", op, {"statements": 1}, now=19 * 3600.0).effect is Effect.DENY
    assert policy.decide(identity(), "crm", op, {"statements": 9}, now=9 * 3600.0).effect is Effect.DENY


def test_local_time_follows_the_clocks_of_its_zone() -> None:
    """07:30 in Berlin is 06:30 UTC in winter and 05:30 in summer, and the day may be another one."""
    early = Rule("early", when="time.local_hour < 8 && time.local_minute == 30", deny="not yet")
    policy = PolicySet.compile([ALLOW, early], "h", zone=ZoneInfo("Europe/Berlin"))
    for text, wanted in (("2026-01-15T06:30", Effect.DENY), ("2026-07-15T06:30", Effect.ALLOW), ("2026-07-15T05:30", Effect.DENY)):
        now = datetime.fromisoformat(f"{text}+00:00").timestamp()
        assert policy.decide(identity(), "crm", operation("select"), {}, now=now).effect is wanted, text
    friday = Rule("f", when='time.local_weekday == 6 && time.local_date == "2026-01-17"', deny="no")
    policy = PolicySet.compile([ALLOW, friday], "h", zone=ZoneInfo("Asia/Tokyo"))
    now = datetime.fromisoformat("2026-01-16T20:00:00+00:00").timestamp()
    assert policy.decide(identity(), "crm", operation("select"), {}, now=now).effect is Effect.DENY


LACKING = frozenset({"size"})


def lacking(*verbs: str) -> Operation:
    return replace(operation(*verbs, key=("lacking", verbs)), lacks=LACKING)


def test_a_fact_that_can_be_found_out_is_wanted_and_not_taken_as_missing() -> None:
    """The decision is the most lenient that can come of it, and says what it hangs on; then it is told."""
    big = Rule("big", when="op.size > 100", deny="too big")
    policy = PolicySet.compile([ALLOW, big], "h")
    first = policy.decide(identity(), "crm", lacking("select"), {})
    assert (first.effect, first.wants) == (Effect.ALLOW, LACKING)
    for size, wanted in ((1, Effect.ALLOW), (101, Effect.DENY), (None, Effect.DENY)):
        facts = {} if size is None else {"size": size}
        told = policy.decide(identity(), "crm", operation("select", key=("told", size), **facts), {})
        assert (told.effect, told.wants) == (wanted, frozenset())
    allows = PolicySet.compile([Rule("a", when="op.size < 100", allow=True)], "h")
    assert allows.decide(identity(), "crm", lacking("select"), {}).effect is Effect.ALLOW


@pytest.mark.parametrize("when", ['op.verb == "delete" && op.size > 1', 'op.size > 1 && op.verb == "delete"',
                                  'op.kind == "x" && op.size > 1'])
def test_what_does_not_hang_on_it_is_not_asked(when: str) -> None:
    """A condition that is settled without the fact wants none."""
    decision = PolicySet.compile([ALLOW, Rule("d", when=when, deny="no")], "h").decide(
        identity(), "crm", lacking("select"), {})
    assert (decision.effect, decision.wants) == (Effect.ALLOW, frozenset())


def test_any_verb_that_settles_a_restriction_settles_it() -> None:
    """A deny by one verb is final; one that is settled for no verb waits for the fact; so does `has`."""
    rules = [ALLOW, Rule("d", when='op.verb == "drop" || (op.verb == "delete" && op.size > 1)', deny="no")]
    policy = PolicySet.compile(rules, "h")
    assert policy.decide(identity(), "crm", lacking("delete", "drop"), {}).effect is Effect.DENY
    assert policy.decide(identity(), "crm", lacking("delete", "select"), {}).wants == LACKING
    absent = PolicySet.compile([ALLOW, Rule("d", when="!has(op.size) || op.size > 1", deny="no")], "h")
    assert absent.decide(identity(), "crm", lacking("select"), {}).wants == LACKING
    timed = PolicySet.compile([*rules, Rule("t", when="time.hour > 30", deny="no")], "h")
    for _ in range(2):                              # the second time from the cache
        assert timed.decide(identity(), "crm", lacking("delete"), {}).wants == LACKING


@pytest.mark.parametrize(("when", "hangs"), [
    ('op.kind == "x" && has(op.size)', False), ('has(op.size) && op.size > 1 && op.kind == "x"', False),
    ('op.verb == "drop" && has(op.size)', False), ('(op.kind == "x") && (has(op.size) || op.size > 1)', False),
    ('op.kind == "query" && has(op.size)', True), ('op.verb == "select" && has(op.size)', True),
    ('op.kind == "x" || has(op.size)', True), ('op.kind == "x" && true || has(op.size)', True),
    ('op.kind == "x" ? has(op.size) : op.size > 1', True), ('(op.kind == "x" && has(op.size)) || op.size > 9', True),
    ('!(op.kind == "x" && has(op.size))', True), ('has(op.size) && op.missing == "x"', True),
    ('op.text != "a && b" && has(op.size)', True), ('op.kind == "x" // && true\n && has(op.size)', False),
    ('["x"].exists(k, k == op.kind && true) && has(op.size)', False),
])
def test_presence_is_not_asked_for_where_another_part_rules_the_rule_out(when: str, hangs: bool) -> None:
    """`path && has(json)`: the content of requests elsewhere is not held back and read for nothing."""
    for rule in (Rule("d", when=when, deny="no"), Rule("a2", when=when, allow=True)):
        decision = PolicySet.compile([ALLOW, rule], "h").decide(identity(), "crm", lacking("select"), {})
        assert (decision.effect, bool(decision.wants)) == (Effect.ALLOW, hangs)


def test_a_rule_is_ruled_out_for_all_verbs_or_for_none() -> None:
    """A restriction counts for any verb; what allows needs every one; without verbs nothing is known."""
    when = 'op.verb == "drop" && has(op.size)'
    policy = PolicySet.compile([ALLOW, Rule("d", when=when, deny="no")], "h")
    assert policy.decide(identity(), "crm", lacking("drop", "select"), {}).wants == LACKING
    assert policy.decide(identity(), "crm", lacking(), {}).wants == LACKING
    allows = PolicySet.compile([Rule("a", when=when, allow=True)], "h")
    decision = allows.decide(identity(), "crm", lacking("drop", "select"), {})
    assert (decision.effect, decision.wants) == (Effect.DENY, frozenset())


@given(st.sampled_from(["x", "query"]), st.sampled_from([None, 0, 5]), st.lists(st.sampled_from([
    'op.kind == "x"', "has(op.size)", "!has(op.size)", "op.size > 1", "op.gone == 1", 'op.verb == "select"', "true"]),
    min_size=1, max_size=5), st.lists(st.sampled_from([" && ", " || "]), min_size=4, max_size=4))
def test_what_is_ruled_out_never_matches(kind: str, size: int | None, pieces: list[str], joins: list[str]) -> None:
    """Against the oracle: with the fact told, a condition that was ruled out without it is false."""
    when = "".join(piece + join for piece, join in zip(pieces, joins, strict=False))[:-4]
    condition = compile_condition(when)
    facts = {"kind": kind, "verb": "select", **({} if size is None else {"size": size})}
    context = {"op": facts, "identity": {}, "connection": {}, "session": {}, "time": {}}
    if condition.fails_without({**context, "op": {"kind": kind, "verb": "select"}}, LACKING):
        assert condition.holds(context) is False


def test_what_the_key_does_not_cover_is_not_cached() -> None:
    """Two executions with equal keys and other parameters are judged each for itself."""
    policy = PolicySet.compile([ALLOW, Rule("d", when='"42" in op.parameters', deny="no")], "h")
    assert policy.decide(identity(), "crm", operation(key="k", parameters=("1",)), {}).effect is Effect.ALLOW
    assert policy.decide(identity(), "crm", operation(key="k", parameters=("42",)), {}).effect is Effect.DENY


def test_a_decision_is_cached_per_caller_and_connection() -> None:
    """One caller's decision is never another's."""
    policy = PolicySet.compile([Rule("a", who=Who(groups=frozenset({"a"})), allow=True)], "h")
    op = operation("select")
    first = policy.decide(identity("s", "a"), "crm", op, {})
    assert first.effect is Effect.ALLOW
    assert policy.decide(identity("s", "a"), "crm", op, {}) is first
    assert policy.decide(identity("s", "b"), "crm", op, {}).effect is Effect.DENY


def test_the_caches_are_bounded() -> None:
    """Neither many statements nor many callers grow them without end, nor does one long statement."""
    policy = PolicySet.compile([ALLOW], "h")
    for number in range(9_000):
        policy.decide(identity(str(number % 5_000)), "crm", operation("select", key=number), {})
    policy.decide(identity(), "crm", operation("select", text="x" * 10_000, key="long"), {})
    assert len(policy._decisions) <= 8192
    assert len(policy._views) <= 4096
    assert not any(key[2] == "long" for key in policy._decisions)  # type: ignore[index]


def test_a_login_needs_an_allow_and_no_deny_that_is_certain() -> None:
    """Conditions on the request are left to each request; a deny of the caller stops the login."""
    on_request = Rule("a", when='op.verb == "select"', allow=True)
    assert PolicySet.compile([on_request], "h").may_connect(identity(), "crm").effect is Effect.ALLOW
    assert PolicySet.compile([], "h").may_connect(identity(), "crm").effect is Effect.DENY
    for when, wanted in ((None, Effect.DENY), ('identity.subject == "agent"', Effect.DENY),
                         ("time.hour < 1", Effect.DENY), ('op.verb == "drop"', Effect.ALLOW)):
        rules = [ALLOW, Rule("d", when=when, deny="no")]
        assert PolicySet.compile(rules, "h").may_connect(identity(), "crm").effect is wanted, when


def test_a_review_never_stands_before_a_login() -> None:
    """A person is asked about requests; the session opens."""
    rules = [ALLOW, Rule("r", review=TERMS)]
    assert PolicySet.compile(rules, "h").may_connect(identity(), "crm").effect is Effect.ALLOW


def test_what_may_be_hidden_from_a_caller() -> None:
    """Conditions on requests are taken as true; one that the caller can never meet is not."""
    mask = DetectMask(("email",), MaskMethod.REDACT)
    for when, is_due in (('"public.t" in op.tables', True), ("time.hour < 8", True), ("session.rows > 1", True),
                         ('!("dba" in identity.groups)', True), ('"dba" in identity.groups', False),
                         ('"dba" in identity.groups && op.verb == "select"', True), ('connection.name == "other"', False)):
        found = PolicySet.compile([Rule("r", when=when, detects=(mask,))], "h").view(identity(), "crm").may_hide
        assert found == ((), (mask,) if is_due else ())


def test_masks_for_takes_conditions_as_true() -> None:
    """What may be due counts, for planning ahead."""
    rules = [ALLOW, Rule("m", when='op.verb == "select"', masks=(ColumnMask(("*.ssn",), MaskMethod.NULL),),
                         detects=(DetectMask(("jwt",), MaskMethod.PARTIAL),))]
    assert PolicySet.compile(rules, "h").masks_for(identity(), "crm") == (
        (ColumnMask(("*.ssn",), MaskMethod.NULL, rule="m"),), (DetectMask(("jwt",), MaskMethod.PARTIAL),))


@pytest.mark.parametrize(("rules", "says"), [
    ([Rule("a", allow=True, origin="f.yaml:3"), Rule("a", deny="x", origin="f.yaml:9")], "f.yaml:9: rule 'a': another"),
    ([Rule("a", origin="f.yaml:3")], "f.yaml:3: rule 'a' does nothing"),
    ([Rule("a", allow=True, when="op.verb ==", origin="f.yaml:3")], "f.yaml:3: rule 'a': the condition is not valid"),
])
def test_a_rule_that_makes_no_sense_is_named_with_its_line(rules: list[Rule], says: str) -> None:
    """Compilation says file, line, rule and reason."""
    with pytest.raises(ConfigError) as failed:
        PolicySet.compile(rules, "h", Vocabulary({"rows"}, {"select"}))
    assert str(failed.value).startswith(says)
