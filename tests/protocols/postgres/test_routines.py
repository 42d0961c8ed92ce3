"""Functions, procedures and DO blocks on the wire: judged by what they do, with the newest catalogue."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import Catalogue
from lockgate.model import ColumnMask, MaskMethod, Rule
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from lockgate.wire.steps import Snapshot
from tests.protocols.postgres import support as s
from tests.protocols.postgres.support import World
from tests.unit.analysis.database import Database, standard

NO_DELETE = Rule(name="no-delete", when='"delete" in op.verbs', deny="rows are not deleted")
NO_UNKNOWN_HELPER = Rule(name="known-only", when='op.is_opaque && "helper" in op.functions', deny="code must be known")
MASK = Rule(name="hide-ssn", masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),))


def database(body: str = "SELECT a + 1") -> Database:
    made = standard()
    made.routine("helper", "a int", body=body, least=1, most=1)
    made.routine("deletes", body="BEGIN DELETE FROM u; RETURN 1; END", language="plpgsql")
    made.routine("dynamic", body="BEGIN EXECUTE x; END", language="plpgsql")
    made.routine("work", returns="void", body="INSERT INTO u (note) VALUES ('x')", kind="p")
    made.routine("peek", body="SELECT ssn FROM t")
    return made


class Backend:
    """What probes find; another version when a newer one is asked for, or `change` was called."""

    def __init__(self) -> None:
        self.database = database()
        self.version = 1

    def change(self, body: str) -> None:
        self.database = database(body)
        self.version += 1

    def snapshot(self, step: Snapshot) -> Catalogue:
        if step.newer_than is not None:
            self.version = max(self.version, step.newer_than + 1)
        return self.database.catalogue(self.version)


def world(*rules: Rule, backend: Backend | None = None) -> World:
    return World(rules=(s.ALLOW, *rules), snapshot=(backend or Backend()).snapshot)


def passes(book: Playbook, text: str) -> bool:
    """Whether a statement goes on; the backend answers it if so."""
    before = len(book.sent(SERVER))
    book >> Bytes(CLIENT, s.query(text))
    if len(book.sent(SERVER)) == before:
        return False
    book >> Bytes(SERVER, s.complete("SELECT 1") + s.ready())
    return True


@pytest.mark.parametrize(("text", "expected"), [
    ("select helper(1)", True), ("select deletes()", False), ("select dynamic()", False), ("select nope()", False), ("call work()", True),
    ("do $$ begin perform helper(1); end $$", True), ("do $$ begin perform deletes(); end $$", False),
    ("do $$ begin execute 'delete ' || 'from u'; end $$", False), ("select lower('x')", True),
])
def test_a_rule_on_a_verb_sees_what_routines_do(text: str, *, expected: bool) -> None:
    """A helper that deletes nothing passes a rule on deletes; what deletes, or may, does not."""
    assert passes(world(NO_DELETE).session(), text) is expected


def test_the_record_says_what_is_touched() -> None:
    """Relations that a routine names are those of the statement."""
    one = world()
    passes(one.session(), "call work()")
    assert one.log.intents[-1].objects == ("u",)


@pytest.mark.parametrize(("text", "expected"), [
    ("select helper(1)", True), ("select peek()", False), ("do $$ begin perform peek(); end $$", False), ("select dynamic()", False)])
def test_masks_admit_what_shows_nothing(text: str, *, expected: bool) -> None:
    """Under masks a routine is refused only where it reads protected data or cannot be read itself."""
    book = world(MASK).session()
    assert passes(book, text) is expected
    if not expected:
        [found] = s.errors(book.sent(CLIENT))
        assert found["C"] == "42501"
        assert "ssn" not in found["M"]


def test_a_prepared_statement_is_judged_by_the_body_of_today() -> None:
    """Somebody replaces the function between Parse and Execute: what runs is what is judged."""
    backend = Backend()
    book = world(NO_DELETE, backend=backend).session()
    book >> Bytes(CLIENT, s.parse("select helper(1)", "s1") + s.SYNC) >> Bytes(SERVER, s.PARSED + s.ready())
    book >> Bytes(CLIENT, s.bind("s1") + s.execute() + s.SYNC) >> Bytes(SERVER, s.BOUND + s.complete("SELECT 1") + s.ready())
    assert s.errors(book.sent(CLIENT)) == []
    backend.change("DELETE FROM u RETURNING 1")
    book >> Bytes(CLIENT, s.bind("s1") + s.execute() + s.SYNC)
    book >> Bytes(SERVER, s.BOUND + s.error("34000") + s.ready())
    [refused] = s.errors(book.sent(CLIENT))
    assert (refused["C"], refused["D"]) == ("42501", "rule: no-delete")


def test_a_function_that_the_transaction_may_have_replaced_is_not_known() -> None:
    """No catalogue shows what is not committed: until then a call of it is every effect, and afterwards it is known."""
    book = world(NO_UNKNOWN_HELPER).session()
    assert passes(book, "select helper(1)")
    for text in ("begin", "create or replace function helper(a int) returns int language sql as 'delete from u returning 1'"):
        book >> Bytes(CLIENT, s.query(text)) >> Bytes(SERVER, s.complete() + s.ready("T"))
    book >> Bytes(CLIENT, s.query("select helper(1)"))
    book >> Bytes(SERVER, s.error("42601") + s.ready("E"))
    assert [found["D"] for found in s.errors(book.sent(CLIENT))] == ["rule: known-only"]
    book >> Bytes(CLIENT, s.query("rollback")) >> Bytes(SERVER, s.complete("ROLLBACK") + s.ready())
    assert passes(book, "select helper(1)")


def test_what_is_known_is_no_barrier() -> None:
    """Statements behind a helper in one packet need not wait for its reply; behind unknown code they do."""
    book = world().session()
    book >> Bytes(CLIENT, s.query("select helper(1)") + s.query("select 2"))
    assert s.kinds(book.sent(SERVER)) == "QQ"
    book = world().session()
    book >> Bytes(CLIENT, s.query("select dynamic()") + s.query("select 2"))
    assert s.kinds(book.sent(SERVER)) == "Q"
