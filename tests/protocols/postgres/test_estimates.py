"""The question before a statement: when it is asked, what it says, and what becomes of the answer."""

from __future__ import annotations

import pytest

from lockgate.kernel.frames import frame
from lockgate.model import ReviewTerms, Rule
from lockgate.wire.conformance import Case, require_fail_closed, require_settled, require_split_independence
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from tests.protocols.postgres import support as s
from tests.protocols.postgres.support import World

BIG = Rule(name="big", when="op.estimated_rows > 100", deny="ask for less")
NO_UPDATE = Rule(name="no-update", when='op.verb == "update"', deny="no updates")
TERMS = ReviewTerms(frozenset({"dba"}), 900.0)


def begun(*rules: Rule) -> tuple[World, Playbook]:
    made = World(rules=(s.ALLOW, *(rules or (BIG, NO_UPDATE))))
    return made, made.session()


def answer(rows: int) -> bytes:
    plan = b'[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": %d, "Total Cost": 2.5}}]' % rows
    return s.columns("p") + s.row(b"0", b"1") + s.complete() + s.columns("p") + s.row(plan) + s.complete("EXPLAIN") + (
        s.columns("p") + s.row(b"0") + s.complete())


def extended(rows: int) -> bytes:
    plan = b'[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": %d, "Total Cost": 2.5}}]' % rows
    once = s.CLOSED + s.PARSED + s.BOUND
    return b"".join(once + row + s.complete() + s.CLOSED * 2 for row in (s.row(b"0", b"1"), s.row(plan), s.row(b"0")))


def question(book: Playbook) -> str:
    kind, body = s.messages(book.sent(SERVER))[-1]
    assert kind == "Q"
    return body[:-1].decode()


def test_the_planner_is_asked_first_and_the_statement_sent_when_it_is_small() -> None:
    """The question is the gateway's own and its answer nobody else's; both are on record."""
    made, book = begun()
    book >> Bytes(CLIENT, s.query("select 1 from t"))
    assert "EXPLAIN (FORMAT JSON) select 1 from t;" in question(book)
    book >> Bytes(CLIENT, s.query("select 2 from t"))           # waits
    assert s.kinds(book.sent(SERVER)) == "Q"
    book >> Bytes(SERVER, answer(5) + s.ready())
    assert [body for _, body in s.messages(book.sent(SERVER))][1] == b"select 1 from t\0"
    assert "EXPLAIN (FORMAT JSON) select 2" in question(book)
    assert book.sent(CLIENT) == b""
    assert [event.fields for event in made.log.events if event.type == "estimate"] == [{"rows": 5, "cost": 2}]
    assert [(i.text, i.refusal) for i in made.log.intents] == [("select 1 from t", None)]
    book >> Bytes(SERVER, s.columns("a") + s.complete("SELECT 0") + s.ready() + answer(3) + s.ready())
    assert question(book) == "select 2 from t"
    assert book.governor.statements == 2


def test_what_is_expected_to_be_too_much_never_goes_on() -> None:
    """A refusal in the statement's place, on record, and the session lives."""
    made, book = begun()
    book >> Bytes(CLIENT, s.query("select 1 from t")) >> Bytes(SERVER, answer(101) + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "EZ"
    assert s.errors(book.sent(CLIENT))[0]["M"] == "ask for less"
    assert [(i.text, i.refusal) for i in made.log.intents] == [("select 1 from t", "denied")]
    assert s.kinds(book.sent(SERVER)) == "Q"


@pytest.mark.parametrize("text", ["update t set a = 1", "begin", "show a", "truncate t", "select unknown_function()"])
def test_nothing_is_asked_where_the_answer_changes_nothing(text: str) -> None:
    """Denied anyway, of no rows, or not to be asked about."""
    _, book = begun()
    book >> Bytes(CLIENT, s.query(text))
    assert b"EXPLAIN" not in book.sent(SERVER)


def test_without_such_a_rule_nobody_is_asked() -> None:
    """The statement goes on as it came."""
    _, book = begun(NO_UPDATE)
    book >> Bytes(CLIENT, s.query("select 1 from t")) << Bytes(SERVER, s.query("select 1 from t"))


@pytest.mark.parametrize("reply", [
    s.columns("p") + s.row(b"0") + s.complete() + s.columns("p") + s.row(b"no plan") + s.complete("EXPLAIN") + s.complete(),
    answer(5).replace(b"Plan Rows", b"Plan Wors"), s.complete() * 3,
    s.complete() + s.row(b"x" * 5_000_000) + s.complete() * 2,
], ids=["words", "other", "nothing", "giant"])
def test_an_answer_that_cannot_be_read_counts_as_too_much(reply: bytes) -> None:
    """The fact stays missing, and the rule applies."""
    _, book = begun()
    book >> Bytes(CLIENT, s.query("select 1 from t"))
    for at in range(0, len(reply), 1_000_000):
        book >> Bytes(SERVER, reply[at:at + 1_000_000])
    book >> Bytes(SERVER, s.ready())
    assert s.errors(book.sent(CLIENT))[0]["M"] == "ask for less"
    assert not book.is_closed


def test_an_error_of_the_planner_is_passed_on_once() -> None:
    """At the position in the client's own text, with the block's status, and on record as refused."""
    made, book = begun()
    book >> Bytes(CLIENT, s.query("begin")) >> Bytes(SERVER, s.complete("BEGIN") + s.ready("T"))
    book >> Bytes(CLIENT, s.query("select x from t"))
    place = question(book).index("select x") + 1 + 7
    book >> Bytes(SERVER, s.columns("p") + s.row(b"0") + s.complete() + s.error("42703", "no column x", P=str(place)) + s.ready("E"))
    assert s.kinds(book.sent(CLIENT)) == "CZEZ"
    assert s.errors(book.sent(CLIENT))[0]["P"] == "8"
    assert book.sent(CLIENT).endswith(s.ready("E"))
    assert [i.refusal for i in made.log.intents] == [None, "not_understood"]


def test_an_execute_is_asked_about_with_its_parameters_in_its_segment() -> None:
    """Named messages, so that the client's unnamed ones stay; its Sync waits for the answer."""
    made, book = begun()
    call = s.parse("select 1 from t where a = $1") + s.bind(values=[b"\0\0\0\7", None], formats=[1, 0])
    book >> Bytes(CLIENT, call + s.execute() + s.SYNC)
    assert s.kinds(book.sent(SERVER)) == "PB" + "CPBECC" * 3 + "H"
    binds = [body for kind, body in s.messages(book.sent(SERVER)) if kind == "B"]
    assert binds[2].endswith(b"\0\2\0\1\0\0\0\2\0\0\0\4\0\0\0\7\xff\xff\xff\xff\0\0")
    book >> Bytes(SERVER, s.PARSED + s.BOUND + extended(5))
    assert book.sent(CLIENT) == s.PARSED + s.BOUND
    assert s.kinds(book.sent(SERVER)).endswith("HES")
    book >> Bytes(SERVER, s.row(b"1") + s.complete() + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "12DCZ"
    assert [i.kind for i in made.log.intents] == ["prepare", "execute"]


def test_an_execute_that_is_too_much_fails_its_segment() -> None:
    """What was in the segment before it is rolled back with it."""
    _, book = begun()
    insert = s.parse("insert into t values (1)") + s.bind() + s.execute()
    book >> Bytes(CLIENT, insert + s.SYNC) >> Bytes(SERVER, s.PARSED + s.BOUND + extended(1))
    assert s.kinds(book.sent(SERVER)).endswith("HES")
    book >> Bytes(SERVER, s.complete("INSERT 0 1") + s.ready())
    call = s.parse("select 1 from t") + s.bind() + s.execute()
    book >> Bytes(CLIENT, call + s.SYNC) >> Bytes(SERVER, s.PARSED + s.BOUND + extended(500))
    assert s.kinds(book.sent(SERVER)).endswith("HPS")
    book >> Bytes(SERVER, s.error("42601") + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "12CZ12EZ"
    assert s.errors(book.sent(CLIENT))[0]["M"] == "ask for less"


def test_an_error_of_the_planner_stands_in_an_executes_place() -> None:
    """The backend discards up to the Sync by itself, and the client's Execute with it."""
    made, book = begun()
    call = s.parse("select x from t") + s.bind() + s.execute()
    book >> Bytes(CLIENT, call + s.SYNC) >> Bytes(SERVER, s.PARSED + s.BOUND + s.error("42703", "no column x"))
    assert s.kinds(book.sent(SERVER)).endswith("HS")
    book >> Bytes(SERVER, s.ready())
    assert s.kinds(book.sent(CLIENT)) == "12EZ"
    assert [i.refusal for i in made.log.intents] == [None, "not_understood"]
    book >> Bytes(CLIENT, call + s.SYNC)
    assert s.kinds(book.sent(SERVER)).endswith("SPBCPBECCCPBECCCPBECCH")


def test_a_question_that_an_earlier_error_takes_away_is_over() -> None:
    """Nothing waits for an answer that will not come."""
    _, book = begun()
    book >> Bytes(CLIENT, s.parse("select 1") + s.bind() + s.parse("select 1 from t", "q") + s.bind("q") + s.execute() + s.SYNC)
    book >> Bytes(SERVER, s.PARSED + s.error("34000"))
    assert s.kinds(book.sent(SERVER)).endswith("HS")
    book >> Bytes(SERVER, s.ready())
    assert book.mediator.is_idle
    book >> Bytes(CLIENT, s.query("begin"))
    assert s.kinds(book.sent(SERVER)).endswith("SQ")


def test_a_person_is_asked_after_the_planner() -> None:
    """A review that hangs on the estimate is put to nobody before it is there."""
    made, book = begun(Rule(name="ask", when="op.estimated_rows > 100", review=TERMS))
    book >> Bytes(CLIENT, s.query("delete from t where a = 1"))
    assert made.desk.asked == []
    book >> Bytes(SERVER, answer(500) + s.ready())
    assert len(made.desk.asked) == 1
    assert s.kinds(book.sent(SERVER)) == "Q"
    made.desk.answer()
    book.resume()
    assert question(book) == "delete from t where a = 1"


def test_a_query_behind_messages_without_a_sync_is_not_asked_about() -> None:
    """A question by Query would make final what was sent before it."""
    _, book = begun()
    book >> Bytes(CLIENT, s.parse("select 1") + s.FLUSH + s.query("select 1 from t"))
    assert b"EXPLAIN" not in book.sent(SERVER)
    book >> Bytes(SERVER, s.PARSED + s.error() + s.ready())
    assert s.errors(book.sent(CLIENT))[0]["C"] == "0A000"


def test_a_broken_answer_ends_the_session() -> None:
    """A message that has no place in it is a broken peer."""
    _, book = begun()
    book >> Bytes(CLIENT, s.query("select 1 from t")) >> Bytes(SERVER, frame(ord("G"), b"\0\0\0"))
    assert book.is_closed


def test_any_split_gives_the_same_output() -> None:
    """Also with a question in between."""
    case = Case(lambda: begun()[1], [
        Bytes(CLIENT, s.query("select 1 from t")), Bytes(SERVER, answer(5) + s.ready()),
        Bytes(SERVER, s.columns("a") + s.row(b"1") + s.complete() + s.ready()),
        Bytes(CLIENT, s.parse("select 1 from t") + s.bind() + s.execute() + s.SYNC),
        Bytes(SERVER, s.PARSED + s.BOUND + extended(5)), Bytes(SERVER, s.row(b"1") + s.complete() + s.ready()),
    ])
    require_split_independence(case)
    require_settled(case)
    refused = Case(lambda: begun()[1], [Bytes(CLIENT, s.query("update t set a = 1"))])
    require_fail_closed(refused)
