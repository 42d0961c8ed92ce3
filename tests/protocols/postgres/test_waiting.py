"""What waits for what: own code before the next statement, a person's answer, replies that nobody reads."""

from __future__ import annotations

import pgparse
import pytest

from lockgate.config.settings import Limits
from lockgate.model import ReviewMode, ReviewTerms, Rule
from lockgate.protocols.postgres.operations import StatementReader
from lockgate.protocols.postgres.surroundings import Surroundings
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from tests.protocols.postgres import support as s
from tests.steps import calls, lines

REVIEW = Rule(name="deletes", when='"delete" in op.verbs && !op.is_opaque',
              review=ReviewTerms(frozenset({"dba"}), 900.0, ReviewMode.HOLD))
CODE = "DO $$ BEGIN PERFORM 1; END $$"
CALL = s.parse(CODE) + s.bind() + s.execute()
CALLED = s.PARSED + s.BOUND + s.complete("DO")


def sent(book: Playbook) -> str:
    return s.kinds(book.sent(SERVER))


# ---------------------------------------------------------------- behind own code


@pytest.mark.parametrize("first", [CODE, "SELECT my_function()", "SET search_path = evil",
                                   "SELECT set_config('search_path', 'evil', false)", "DISCARD ALL"])
def test_nothing_is_judged_before_own_code_is_answered(first: str) -> None:
    """A statement behind code of unknown effect, or a SET that matters, waits for its ReadyForQuery."""
    book = s.World(rules=(s.ALLOW,)).session()
    book >> Bytes(CLIENT, s.query(first) + s.query("SELECT 2"))
    assert sent(book) == "Q"
    book >> Bytes(SERVER, s.complete("DO"))
    assert sent(book) == "Q"
    book >> Bytes(SERVER, s.ready())
    assert sent(book) == "QQ"


def test_a_setting_that_own_code_changed_is_seen_before_the_next_statement() -> None:
    """The report of a changed `standard_conforming_strings` ends the session before what came behind it."""
    book = s.World(rules=(s.ALLOW,)).session()
    book >> Bytes(CLIENT, s.query(CODE) + s.query("SELECT 'secret'"))
    book >> Bytes(SERVER, s.complete("DO") + s.parameter("standard_conforming_strings", "off") + s.ready())
    assert book.is_closed
    assert b"secret" not in book.sent(SERVER)


def test_an_open_segment_is_flushed_once_and_waits() -> None:
    """Behind own code and before a Sync, the gateway asks for the replies itself; the Sync behind follows."""
    book = s.World(rules=(s.ALLOW,)).session()
    book >> Bytes(CLIENT, CALL + s.parse("SELECT 2", "two") + s.bind("two") + s.execute() + s.SYNC)
    assert sent(book) == "PBEH"
    book >> Bytes(CLIENT, s.FLUSH)
    assert sent(book) == "PBEH"
    book >> Bytes(SERVER, s.PARSED + s.BOUND)
    assert sent(book) == "PBEH"
    book >> Bytes(SERVER, s.complete("DO"))
    assert sent(book) == "PBEHPBESH"
    book >> Bytes(SERVER, s.PARSED + s.BOUND + s.complete() + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "12C12CZ"


def test_the_wait_ends_with_an_error() -> None:
    """Own code that fails discards what waited behind it, up to the Sync; the next statement runs."""
    book = s.World(rules=(s.ALLOW,)).session()
    book >> Bytes(CLIENT, CALL + s.parse("SELECT 2") + s.SYNC + s.query("SELECT 3"))
    book >> Bytes(SERVER, s.PARSED + s.BOUND + s.error("22012"))
    assert sent(book) == "PBEHS"
    book >> Bytes(SERVER, s.ready())
    assert sent(book) == "PBEHSQ"


def test_two_calls_in_one_segment_are_each_waited_for() -> None:
    """The second one's replies are asked for as well."""
    book = s.World(rules=(s.ALLOW,)).session()
    book >> Bytes(CLIENT, CALL + CALL + s.parse("SELECT 2") + s.SYNC)
    book >> Bytes(SERVER, CALLED)
    assert sent(book) == "PBEHPBEH"
    book >> Bytes(SERVER, CALLED)
    assert sent(book) == "PBEHPBEHPS"


@pytest.mark.parametrize("text", [r"SELECT '\', ' , secret FROM t --'", "SELECT 'ä'"])
@pytest.mark.parametrize("is_query", [False, True])
def test_a_text_that_could_be_misread_needs_a_sync_first(text: str, is_query: bool) -> None:
    """In the segment of own code no ParameterStatus comes: what another setting would read otherwise is refused."""
    book = s.World(rules=(s.ALLOW,)).session()
    book >> Bytes(CLIENT, CALL + (s.query(text) if is_query else s.parse(text)) + s.SYNC)
    book >> Bytes(SERVER, CALLED)
    assert text.encode() not in book.sent(SERVER)
    book = s.World(rules=(s.ALLOW,)).session()
    book >> Bytes(CLIENT, CALL + s.SYNC + s.query(text))
    book >> Bytes(SERVER, CALLED + s.ready())
    assert sent(book) == "PBESQ"


# ---------------------------------------------------------------- behind a person


@pytest.mark.parametrize("is_query", [True, False])
def test_nothing_that_was_judged_waits_for_a_person(is_query: bool) -> None:
    """Statements in front of one that is put to a person leave before the question, not after its answer."""
    world = s.World(rules=(s.ALLOW, REVIEW))
    book = world.session()
    first = s.query("SELECT 1") if is_query else s.parse("SELECT 1") + s.bind() + s.execute() + s.SYNC
    book >> Bytes(CLIENT, first + s.query("DELETE FROM t") + s.query("SELECT 3"))
    assert len(world.desk.asked) == 1
    assert b"SELECT 1" in book.sent(SERVER)
    assert b"DELETE" not in book.sent(SERVER)
    answer = s.complete() + s.ready()
    book >> Bytes(SERVER, answer if is_query else s.PARSED + s.BOUND + answer)
    assert s.kinds(book.sent(CLIENT)).endswith("CZ")
    world.desk.answer()
    book.resume()
    assert sent(book).endswith("QQ")
    assert [intent.text for intent in world.log.intents] == ["SELECT 1", "DELETE FROM t", "SELECT 3"]
    assert book.governor.statements == 3


def test_what_is_reviewed_is_asked_once() -> None:
    """Looking first and asking then puts one question."""
    world = s.World(rules=(s.ALLOW, REVIEW))
    book = world.session()
    book >> Bytes(CLIENT, s.query("SELECT 1") + s.query("DELETE FROM t") + s.query("DELETE FROM u"))
    assert [ask.text for ask in world.desk.asked] == ["DELETE FROM t"]
    world.desk.answer()
    book.resume()
    assert [ask.text for ask in world.desk.asked] == ["DELETE FROM t", "DELETE FROM u"]


# ---------------------------------------------------------------- replies that are owed


@pytest.mark.parametrize("ending", [b"", s.SYNC])
def test_replies_that_are_owed_are_bounded(ending: bytes) -> None:
    """A client that sends and does not read is not read either; it goes on when half is answered."""
    book = s.World(rules=(s.ALLOW,)).session()
    count = 20_000
    book >> Bytes(CLIENT, s.close("S", "x") * count + ending)
    state = s.state_of(book)
    served = 0
    for _ in range(100):
        assert len(state.queue) <= 4_097
        owed = sent(book).count("C") - served
        if not owed:
            break
        book >> Bytes(SERVER, s.CLOSED * owed)
        served += owed
    assert served == count
    assert "H" in sent(book)            # without a Sync the backend would keep its replies
    if ending:
        book >> Bytes(SERVER, s.ready())
    assert not book.is_closed
    assert s.kinds(book.sent(CLIENT)) == "3" * count + ("Z" if ending else "")


def test_statements_in_one_buffer_are_bounded_too() -> None:
    """Simple queries count as well, and none is lost."""
    book = s.World(rules=(s.ALLOW,)).session()
    book >> Bytes(CLIENT, s.query("SELECT 1") * 10_000)
    served = 0
    while owed := sent(book).count("Q") - served:
        assert owed <= 4_097
        book >> Bytes(SERVER, (s.complete() + s.ready()) * owed)
        served += owed
    assert served == 10_000


# ---------------------------------------------------------------- what an approval is bound to


def context_of(*texts: str, ask: str = "DELETE FROM notes", start_up: dict[str, str] | None = None) -> tuple[str, ...]:
    reader, around = StatementReader(262_144), Surroundings(start_up or {})
    names = s.state_of(s.World().session()).names
    for text in texts:
        statement = reader.read(text.encode()).statement
        assert statement is not None
        for name, inner in statement.prepares:
            names.prepare(name, inner)
        around.note(statement, names)
    return around.of(reader.read(ask.encode()).statement)


def test_a_session_that_changed_nothing_has_no_context() -> None:
    """Retries in another session find their approval."""
    assert context_of("SELECT 1", "BEGIN", "CREATE TABLE notes (id int)", "SET statement_timeout = 5", "COMMIT") == ()
    assert context_of(start_up={"search_path": "", "TimeZone": "UTC"}) != ()
    assert context_of(start_up={"TimeZone": "UTC"}) == ()


@pytest.mark.parametrize("before", [
    ["SET search_path = evil"], ["SELECT set_config('search_path', 'evil', false)"], ["RESET ALL"], [CODE],
    ["SELECT my_function()"], ["CREATE TEMP TABLE notes (id int)"], ["CREATE TABLE pg_temp.notes (id int)"],
    ["CREATE TEMP VIEW notes AS SELECT * FROM payroll"], ["SELECT 1 INTO TEMP notes"],
    ["CREATE TEMP TABLE x (id int)", "ALTER TABLE x RENAME TO notes"],
    ["PREPARE p AS SELECT set_config('search_path', 'evil', false)", "EXECUTE p"],
    ["BEGIN", "SET search_path = evil", "ROLLBACK"],
])
def test_what_changes_names_is_part_of_what_is_approved(before: list[str]) -> None:
    """A session that may mean something else by the same text asks again, with words that say why."""
    found = context_of(*before)
    assert found
    assert found == context_of(*before)
    assert found != context_of("SET search_path = other")


def test_temporary_relations_count_for_those_that_name_them() -> None:
    """An unrelated temporary table leaves an approval as it is; a name with a dot is found."""
    assert context_of("CREATE TEMP TABLE other (id int)") == ()
    assert context_of('CREATE TEMP TABLE "a.notes" (id int)', ask='DELETE FROM "a.notes"') != ()
    assert context_of("CREATE TEMP TABLE notes (a int)") != context_of("CREATE TEMP VIEW notes AS SELECT 1")


def test_order_and_rollback_of_settings_count() -> None:
    """The last setting in force decides: another order, or one that may have been taken back, is another context."""
    one, two = "SET search_path = a", "SET search_path = b"
    assert context_of(one, two) != context_of(two, one)
    assert context_of("BEGIN", one, "COMMIT") != context_of("BEGIN", one, "ROLLBACK")


def test_contexts_are_bounded_and_still_differ() -> None:
    """Beyond a number of lines a digest of all of them stands for the rest."""
    many = [f"SET search_path = s{number}" for number in range(500)]
    found = context_of(*many)
    assert len(found) < 30
    assert found != context_of(*many, "SET search_path = evil")
    assert all(len(line) < 400 for line in context_of("SET search_path = " + "a" * 5000))


def test_the_context_reaches_the_reviewer() -> None:
    """The question says what the session did before, for simple and extended queries."""
    world = s.World(rules=(s.ALLOW, REVIEW))
    book = world.session()
    book >> Bytes(CLIENT, s.query("SET search_path = evil"))
    book >> Bytes(SERVER, s.complete("SET") + s.ready())
    book >> Bytes(CLIENT, s.query("DELETE FROM t"))
    assert world.desk.asked[0].context == ("set: SET search_path = evil",)
    world.desk.answer()
    book.resume()
    book >> Bytes(SERVER, s.complete("DELETE 1") + s.ready())
    book >> Bytes(CLIENT, s.parse("DELETE FROM t") + s.bind() + s.execute() + s.SYNC)
    assert world.desk.asked[1].context == ("set: SET search_path = evil",)


# ---------------------------------------------------------------- length


class Sealed(bytes):
    """Bytes that have a length and are not to be looked at."""

    def _read(self, *_: object) -> None:
        raise AssertionError("it was read")

    __hash__ = __eq__ = __contains__ = __iter__ = decode = find = count = startswith = _read  # type: ignore[assignment]


def test_a_statement_above_the_limit_is_refused_unread() -> None:
    """Length is looked at before anything that takes time."""
    reader = StatementReader(Limits().statement)
    with lines(most=100):
        problem = reader.read(Sealed(b"SELECT " + b"1," * 8_000_000)).problem
    assert problem is not None
    assert problem.sqlstate == "54000"


@pytest.mark.parametrize("part", [",a", ",*", ";"])
def test_a_list_of_a_hundred_thousand_parts_is_refused_unread(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Each part costs much more than its bytes say, so nothing is done once for each, and nothing is parsed."""
    reader = StatementReader(Limits().statement)
    with calls(monkeypatch, pgparse, "parse") as parsed, lines(most=1_000):
        assert reader.read(b"SELECT a" + part.encode() * 100_000).problem is not None
    assert not parsed
