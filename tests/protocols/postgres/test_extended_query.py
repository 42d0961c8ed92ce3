"""The extended protocol: statements and portals by name, one answer per message, Sync."""

from __future__ import annotations

from lockgate.model import (
    AuditMode,
    OutcomeStatus,
    Refusal,
    RefusalCode,
    RequestAction,
    RequestCheck,
    ReviewMode,
    ReviewTerms,
    Rule,
)
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.postgres import support as s
from tests.protocols.postgres.support import World
from tests.steps import lines

REVIEW = Rule(name="deletes", when='"delete" in op.verbs', review=ReviewTerms(frozenset({"dba"}), 900.0, ReviewMode.HOLD))
CALL = s.parse("select 1") + s.bind() + s.describe() + s.execute() + s.SYNC
ANSWER = s.PARSED + s.BOUND + s.columns("a") + s.row(b"1") + s.complete() + s.ready()


def test_a_burst_is_one_record_and_one_payload() -> None:
    """Parse and Execute of one statement in one burst are one record, and the bytes go on unchanged."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, CALL) << Bytes(SERVER, CALL) >> Bytes(SERVER, ANSWER) << Bytes(CLIENT, ANSWER)
    assert [intent.kind for intent in world.log.intents] == ["execute"]
    assert [(o.status, o.rows) for o in world.log.outcomes] == [(OutcomeStatus.OK, 1)]
    assert book.mediator.is_idle


def test_a_parse_alone_is_on_record() -> None:
    """asyncpg prepares first: the preparation is recorded, and each execution again."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, s.parse("select 1", "s1") + s.describe("S", "s1") + s.FLUSH)
    assert [intent.kind for intent in world.log.intents] == ["prepare"]
    book >> Bytes(SERVER, s.PARSED + b"t\0\0\0\6\0\0" + s.columns("a"))
    for _ in range(2):
        book >> Bytes(CLIENT, s.bind("s1", values=[b"5", None, b"\xff"], formats=[0, 0, 1]) + s.execute() + s.SYNC)
        book >> Bytes(SERVER, s.BOUND + s.row(b"1") + s.complete() + s.ready())
    assert [intent.kind for intent in world.log.intents] == ["prepare", "execute", "execute"]
    assert world.log.intents[1].parameters == ("5", None, "\\xff")
    assert len(world.log.outcomes) == 3


def test_a_refused_parse_behaves_like_a_failed_one() -> None:
    """One ErrorResponse, everything up to Sync discarded, then ReadyForQuery; nothing upstream."""
    book = World().session()
    book >> Bytes(CLIENT, s.parse("drop table t") + s.bind() + s.execute() + s.SYNC + CALL)
    assert s.kinds(book.sent(CLIENT)) == "EZ"
    assert book.sent(SERVER) == CALL


def test_a_refusal_behind_work_of_its_segment_rolls_it_back() -> None:
    """What ran before in the same implicit transaction must fail with it: the backend is made to fail."""
    book = World().session()
    good = s.parse("insert into t values (1)") + s.bind() + s.execute()
    book >> Bytes(CLIENT, good + s.parse("drop table t") + s.bind() + s.execute() + s.SYNC)
    sent = book.sent(SERVER)
    assert sent.startswith(good)
    assert s.kinds(sent) == "PBEPS"
    assert b"drop" not in sent
    book >> Bytes(SERVER, s.PARSED + s.BOUND + s.complete("INSERT 0 1") + s.error("34000", "portal does not exist") + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "12CEZ"
    assert s.errors(book.sent(CLIENT))[0]["M"] == "drops are not allowed"


def test_review_is_asked_at_execute_with_the_parameters() -> None:
    """Parse needs no approval; Execute is held, and the reviewer sees the values."""
    world = World(rules=(s.ALLOW, REVIEW))
    book = world.session()
    book >> Bytes(CLIENT, s.parse("delete from t where id = $1", "d") + s.SYNC)
    assert s.kinds(book.sent(SERVER)) == "PS"
    assert world.desk.asked == []
    book >> Bytes(SERVER, s.PARSED + s.ready())
    book >> Bytes(CLIENT, s.bind("d", values=[b"7"]) + s.execute() + s.SYNC)
    assert s.kinds(book.sent(SERVER)) == "PS"
    assert world.desk.asked[0].parameters == ("7",)
    notice = book.judged[-1].waiting("T-1")  # type: ignore[misc]
    assert notice is not None
    assert "T-1" in s.fields(s.messages(notice)[0][1])["M"]
    world.desk.answer()
    book.resume()
    assert s.kinds(book.sent(SERVER)) == "PSBES"
    assert [(i.kind, i.ticket) for i in world.log.intents] == [("prepare", None), ("execute", "T-1")]


def test_a_denied_review_is_an_error_and_the_session_lives() -> None:
    """The refusal of a person is 42501 with the ticket's fate; the next statement passes."""
    world = World(rules=(s.ALLOW, REVIEW))
    book = world.session()
    book >> Bytes(CLIENT, s.query("delete from t where id = 1"))
    assert book.sent(SERVER) == b""
    world.desk.answer(Refusal(RefusalCode.REVIEW_DENIED, "a reviewer said no", ticket="T-1"))
    book.resume()
    assert s.kinds(book.sent(CLIENT)) == "EZ"
    assert s.errors(book.sent(CLIENT))[0]["C"] == "42501"
    book >> Bytes(CLIENT, s.query("select 1"))
    assert s.kinds(book.sent(SERVER)) == "Q"


def test_replies_flow_while_a_statement_is_held() -> None:
    """A held statement does not stop the replies of the one before it."""
    world = World(rules=(s.ALLOW, REVIEW))
    book = world.session()
    book >> Bytes(CLIENT, s.query("select 1")) >> Bytes(CLIENT, s.query("delete from t where id = 1"))
    reply = s.columns("a") + s.row(b"1") + s.complete() + s.ready()
    book >> Bytes(SERVER, reply)
    assert book.sent(CLIENT) == reply
    world.desk.answer()
    book.resume()
    assert s.kinds(book.sent(SERVER)) == "QQ"


def test_partial_fetch_is_one_request() -> None:
    """PortalSuspended keeps the request open; its rows are counted over all Executes, once."""
    world = World()
    book = world.session()
    book >> Bytes(SERVER, b"") >> Bytes(CLIENT, s.query("begin")) >> Bytes(SERVER, s.complete("BEGIN") + s.ready("T"))
    book >> Bytes(CLIENT, s.parse("select 5") + s.bind(portal="p") + s.execute("p", 2) + s.SYNC)
    book >> Bytes(SERVER, s.PARSED + s.BOUND + s.row(b"1") * 2 + s.SUSPENDED + s.ready("T"))
    book >> Bytes(CLIENT, s.execute("p", 2) + s.SYNC) >> Bytes(SERVER, s.row(b"1") * 2 + s.SUSPENDED + s.ready("T"))
    book >> Bytes(CLIENT, s.execute("p", 2) + s.SYNC) >> Bytes(SERVER, s.row(b"1") + s.complete("SELECT 1") + s.ready("T"))
    assert [intent.text for intent in world.log.intents] == ["begin", "select 5"]
    assert [outcome.rows for outcome in world.log.outcomes] == [0, 5]


def test_an_abandoned_portal_is_settled_with_its_transaction() -> None:
    """A portal that nobody fetches to its end is over when the transaction is."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, s.query("begin")) >> Bytes(SERVER, s.complete("BEGIN") + s.ready("T"))
    book >> Bytes(CLIENT, s.parse("select 5") + s.bind(portal="p") + s.execute("p", 2) + s.SYNC)
    book >> Bytes(SERVER, s.PARSED + s.BOUND + s.row(b"1") * 2 + s.SUSPENDED + s.ready("T"))
    book >> Bytes(CLIENT, s.query("commit")) >> Bytes(SERVER, s.complete("COMMIT") + s.ready())
    assert sorted(outcome.rows for outcome in world.log.outcomes) == [0, 0, 2]


def test_unknown_names_are_refused() -> None:
    """A statement or portal that this session did not make is 26000 or 34000, and not forwarded."""
    for message, code in ((s.bind("nosuch"), "26000"), (s.execute("nosuch"), "34000"), (s.describe("S", "x"), "26000"),
                          (s.describe("P", "x"), "34000")):
        book = World().session()
        book >> Bytes(CLIENT, message + s.SYNC)
        assert s.kinds(book.sent(CLIENT)) == "EZ"
        assert s.errors(book.sent(CLIENT))[0]["C"] == code
        assert book.sent(SERVER) == b""


def test_a_name_changed_in_an_open_segment_is_waited_for() -> None:
    """A Bind behind a Sync that is not answered yet waits: it must run what was judged, not what failed."""
    book = World().session()
    book >> Bytes(CLIENT, s.parse("select 1", "s1") + s.SYNC) >> Bytes(CLIENT, s.bind("s1") + s.execute() + s.SYNC)
    assert s.kinds(book.sent(SERVER)) == "PS"
    assert book.mediator.is_stalled
    book >> Bytes(SERVER, s.PARSED + s.ready())
    assert s.kinds(book.sent(SERVER)) == "PSBES"
    assert not book.mediator.is_stalled


def test_a_failed_parse_leaves_the_statement_before_it() -> None:
    """The name still stands for what the backend has: the change of the failed message is taken back."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, s.parse("select 1", "s1") + s.SYNC) >> Bytes(SERVER, s.PARSED + s.ready())
    book >> Bytes(CLIENT, s.parse("select 2", "s1") + s.SYNC) >> Bytes(SERVER, s.error("42P05") + s.ready())
    book >> Bytes(CLIENT, s.bind("s1") + s.execute() + s.SYNC)
    assert world.log.intents[-1].text == "select 1"
    assert [o.code for o in world.log.outcomes] == ["", "42P05"]


def test_a_name_that_sql_dropped_is_unknown() -> None:
    """DEALLOCATE and PREPARE by SQL change the same names: what messages knew of them is forgotten."""
    for statement in ("deallocate s1", "deallocate all", "discard all", "prepare s1 as select 2"):
        book = World().session()
        book >> Bytes(CLIENT, s.parse("select 1", "s1") + s.SYNC) >> Bytes(SERVER, s.PARSED + s.ready())
        book >> Bytes(CLIENT, s.query(statement)) >> Bytes(SERVER, s.complete("DEALLOCATE") + s.ready())
        book >> Bytes(CLIENT, s.bind("s1") + s.SYNC)
        assert s.errors(book.sent(CLIENT))[-1]["C"] == "26000", statement


def test_flush_is_forwarded_at_once() -> None:
    """A client that flushes waits for answers without a Sync."""
    book = World().session()
    book >> Bytes(CLIENT, s.parse("select 1") + s.FLUSH)
    assert s.kinds(book.sent(SERVER)) == "PH"
    book >> Bytes(SERVER, s.PARSED)
    assert book.sent(CLIENT) == s.PARSED


def test_the_number_of_names_is_bounded() -> None:
    """A client that prepares without end is refused, not obeyed until memory is gone."""
    book = World().session()
    for start in range(0, 10_001, 500):
        book >> Bytes(CLIENT, b"".join(s.parse("select 1", f"s{n}") for n in range(start, start + 500)) + s.SYNC)
        if b"53400" in book.sent(CLIENT):
            break
        book >> Bytes(SERVER, s.PARSED * 500 + s.ready())
    assert s.kinds(book.sent(SERVER)).count("P") == 10_000


def test_what_waits_for_its_record_while_its_segment_fails_is_taken_back() -> None:
    """Bytes that leave after the backend failed are discarded there: their names and grants are undone here."""
    world = World(audit=AuditMode.FULL)
    book = world.session()
    book >> Bytes(CLIENT, s.parse("select 1", "a") + s.FLUSH)
    world.log.hold = True
    book >> Bytes(CLIENT, s.parse("select 2", "b") + s.FLUSH)
    book >> Bytes(SERVER, s.error("42P05"))
    world.log.release()
    book.resume()
    world.log.hold = False
    book >> Bytes(CLIENT, s.SYNC) >> Bytes(SERVER, s.ready())
    assert s.kinds(book.sent(CLIENT)) == "EZ"
    assert [(o.status, o.code) for o in world.log.outcomes] == [
        (OutcomeStatus.ERROR, "42P05"), (OutcomeStatus.ERROR, "25P02")]
    book >> Bytes(CLIENT, s.bind("b") + s.SYNC)
    assert s.errors(book.sent(CLIENT))[-1]["C"] == "26000"


def test_a_portal_whose_bind_is_not_answered_yet_is_not_executed() -> None:
    """A Bind that fails leaves the portal before it: what is judged must be what the backend will run."""
    world = World(rules=(s.ALLOW, REVIEW))
    book = world.session()
    book >> Bytes(CLIENT, s.query("begin")) >> Bytes(SERVER, s.complete("BEGIN") + s.ready("T"))
    book >> Bytes(CLIENT, s.parse("delete from t", "s1") + s.parse("select 1", "s2") + s.bind("s1", "p1") + s.SYNC)
    book >> Bytes(SERVER, s.PARSED + s.PARSED + s.BOUND + s.ready("T"))
    before = len(book.sent(SERVER))
    book >> Bytes(CLIENT, s.bind("s2", "p1") + s.SYNC + s.execute("p1") + s.SYNC)
    assert s.kinds(book.sent(SERVER)[before:]) == "BS"
    book >> Bytes(SERVER, s.error("42P03", "cursor exists") + s.ready("E"))
    assert [ask.text for ask in world.desk.asked] == ["delete from t"]
    assert s.kinds(book.sent(SERVER)[before:]) == "BS"


def test_a_prepared_text_is_looked_at_once() -> None:
    """A long statement with many literals costs its look when it is prepared, and not at each execution."""
    world = World()
    world.rules = (*world.rules, Rule(name="cards", requests=(RequestCheck(("credit_card",), RequestAction.BLOCK),)))
    book = world.session()
    text = "select id from t where name in (" + ", ".join(f"'n{number}'" for number in range(15_000)) + ") and id = $1"
    with lines() as once:
        book >> Bytes(CLIENT, s.parse(text, "long") + s.FLUSH)
        book >> Bytes(SERVER, s.PARSED)
    run = s.bind("long", values=[b"5"]) + s.execute() + s.SYNC
    answer = s.BOUND + s.complete("SELECT 0") + s.ready()
    book >> Bytes(CLIENT, run)
    book >> Bytes(SERVER, answer)
    with lines() as often:
        for _ in range(40):
            book >> Bytes(CLIENT, run)
            book >> Bytes(SERVER, answer)
    assert often.count < 2 * once.count
    assert len(world.log.outcomes) == 42
