"""What a condition may say, and that a mistake in it is found before the rule is in force."""

from __future__ import annotations

import pytest

from lockgate.errors import ConfigError
from lockgate.govern.policy import Vocabulary, compile_condition, problem

WORDS = Vocabulary({"relations", "has_where", "rows", "tables", "columns"}, {"select", "delete", "drop", "truncate"},
                   {"tables": "public.customers", "columns": "public.customers.email"})


@pytest.mark.parametrize("source", [
    'op.verb == "delete"',
    'op.verb in ["drop", "truncate"] && !op.has_where',
    '"drop" in op.verbs',
    'op["verb"] == "drop"',
    "op.relations.exists(r, r == 'crm.customers')",
    'op.relations.all(x, x.startsWith("crm."))',
    'has(op.rows) && op.rows > 100',
    'op.text.matches("(?i)into\\\\s+outfile")   // a comment with op.nonsense',
    '"op.nonsense" in op.relations',
    'identity.agent != null && identity.agent.startsWith("night")',
    'time.hour >= 18 || time.weekday > 5',
    "size(op.relations) > 3 ? session.rows > 10 : false",
    'connection.name == "crm"',
    '"public.customers" in op.tables', 'op.tables.exists(t, t == "public.customers" || t in ["a.b", "c.d"])',
    '["a.b", "a.c"].all(t, !(t in op.tables))', 'op.tables.exists(t, t.startsWith("archive."))', 'op.tables == []',
    '"customers" in op.relations', 'op.relations.exists(t, t == "customers")', '"hr.people.salary" in op["columns"]',
    'identity.groups.exists(t, t == "customers") || op.tables.exists(r, r == "a.b")',
])
def test_sound_conditions_are_accepted(source: str) -> None:
    """Everything that the names page lists can be said."""
    assert problem(source, WORDS) is None


@pytest.mark.parametrize(("source", "says"), [
    ('op.verbb == "delete"', "unknown name `op.verbb`; write `op.verb`"),
    ("has(op.relation)", "unknown name `op.relation`; write `op.relations`"),
    ('op["verbb"] == "x"', "unknown name `op.verbb`"),
    ('opp.verb == "x"', "unknown name `opp`; write `op`"),
    ('op.verb == "delte"', 'unknown verb "delte"; write `delete`'),
    ('op.verb in ["drop", "trunacte"]', 'unknown verb "trunacte"; write `truncate`'),
    ('"dropp" in op.verbs', 'unknown verb "dropp"; write `drop`'),
    ('"dropp" == op.verb', 'unknown verb "dropp"'),
    ("op.verbs == 'delete'", '`op.verbs` is a list; write `op.verb == "delete"` or `"delete" in op.verbs`'),
    ("'delete' != op['verbs']", '`op.verbs` is a list; write `op.verb == "delete"`'),
    ('op.tables == "customers"', '`op.tables` is a list; write `"public.customers" in op.tables`'),
    ('"customers" in op.tables', '"customers" is never one; write `public.customers`'),
    ('"email" in op["columns"]', '"email" is never one; write `public.customers.email`'),
    ('"customers.email" in op.columns', "write `public.customers.email`"),
    ('op.tables.exists(t, t == "orders")', '"orders" is never one; write `public.orders`'),
    ('op.tables.exists(t, t in ["a.b", "orders"])', '"orders" is never one'),
    ('["orders"].exists(t, t in op.tables)', '"orders" is never one'),
    ('op.verb = "delete"', "write `==` instead of `=`"),
    ('op.verb == "delete" and op.rows > 1', "write `&&` instead of `and`"),
    ('not op.has_where', "write `!` instead of `not`"),
    ("time.hours > 3", "unknown name `time.hours`; write `time.hour`"),
    ("op.verb.beginsWith('x')", "unknown function `beginsWith`"),
    ('connection == "crm"', "write connection.name"),
    ("op == op", "write op.<name>"),
    ("op.relations.exists(op, true)", "is a name of the gateway's"),
    ("op.verb", "it must be true or false"),
    ("1 + 1", "it must be true or false"),
    ('op.text.matches("(")', "the pattern of matches() is not valid"),
    ('op.text.matches("(?=a)")', "the pattern of matches() is not valid"),
    ("op.text.matches(op.kind)", "one pattern in quotes"),
    ('op.verb + 1 == "x"', "cannot be evaluated"),
    ("op.verb ==", "not valid CEL"),
    ("", "not valid CEL"),
    ("true" + " || true" * 1000, "longer than 4096"),
])
def test_a_mistake_is_named_with_what_to_write_instead(source: str, says: str) -> None:
    """A misspelt name would open a gate; it is a configuration error."""
    with pytest.raises(ConfigError) as failed:
        compile_condition(source, WORDS)
    assert says in str(failed.value)


def test_names_of_facts_are_not_checked_where_nobody_knows_them() -> None:
    """Without a vocabulary, only the gateway's own names are."""
    assert problem("op.anything == 1") is None
    assert problem("identity.anything == 1") is not None


def test_a_pattern_cannot_be_made_to_hang() -> None:
    """`matches` is linear: the classic catastrophic pattern on 100 kB answers at once."""
    condition = compile_condition('op.text.matches("^(a+)+$")')
    assert condition.holds({"op": {"text": "a" * 100_000 + "b"}}) is False


def test_only_stable_names_may_be_cached() -> None:
    """Time, session, text and parameters are outside the operation's key."""
    assert compile_condition('op.verb == "x"').is_cacheable
    for source in ("time.hour > 1", "session.rows > 1", 'op.text == "x"', 'op.parameters == ["x"]'):
        assert not compile_condition(source).is_cacheable
