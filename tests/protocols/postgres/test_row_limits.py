"""Row limits without sockets: replies and effects are those of a server that has the limits itself."""

from __future__ import annotations

from random import Random  # noqa: TID251 - test data

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate.model import UNLIMITED, OutcomeStatus, RowLimits, Rule
from lockgate.wire.conformance import Case, require_fail_closed, require_settled, require_split_independence
from lockgate.wire.playbook import CLIENT, SERVER, Apart, Bytes, Playbook
from tests.protocols.postgres import support as s
from tests.protocols.postgres.support import World
from tests.protocols.postgres.transactions import TransactionServer
from tests.unit.analysis.database import Database

LIMITS = RowLimits(rows=3, changed=3)


def database() -> Database:
    made = Database()
    made.relation("t", "id:int4")
    return made


CATALOGUE = database().catalogue()


def world(limits: RowLimits = LIMITS, when: str | None = None) -> World:
    rules = (s.ALLOW, Rule("small", limits=limits, when=when)) if limits else (s.ALLOW,)
    return World(rules=rules, snapshot=lambda _: CATALOGUE)


# ---------------------------------------------------------------- random scripts

NAMES = st.sampled_from(["", "s1"])
PORTALS = st.sampled_from(["", "p1"])
ONE = st.sampled_from(["select 0", "select 2", "select 3", "select 5", "select fail", "begin", "commit", "rollback",
                       "insert into t values (1)", "delete from t where id = 2", "delete from t where id = 5"])
STRINGS = st.sampled_from(["select 2; select 3", "insert into t values (1); select 5", "select 5; insert into t values (1)",
                           "delete from t where id = 2; delete from t where id = 5", "select 3; select fail",
                           "insert into t values (1); select 1"])
QUERY = st.builds(lambda text: s.SYNC + s.query(text), st.one_of(ONE, STRINGS))
MESSAGE = st.one_of(
    st.builds(s.parse, ONE, NAMES), st.builds(s.bind, NAMES, PORTALS), st.builds(s.describe, st.just("P"), PORTALS),
    st.builds(s.execute, PORTALS, st.sampled_from([0, 0, 2, 4])), st.just(s.SYNC), st.just(s.FLUSH),
    st.builds(s.close, st.just("P"), PORTALS),
)
CALL = st.builds(
    lambda name, text, portal, limit, more: s.parse(text, name) + s.bind(name, portal) + s.execute(portal, limit) + more,
    NAMES, ONE, PORTALS, st.sampled_from([0, 0, 2]), st.sampled_from([s.SYNC, b"", s.execute("p1", 2)]),
)
SCRIPT = st.lists(st.one_of(MESSAGE, CALL, QUERY), min_size=1, max_size=12)


def plain(data: bytes) -> list[tuple[str, object]]:
    return [(kind, s.fields(body)["C"] if kind == "E" else body) for kind, body in s.messages(data)]


def through(script: list[bytes], dice: Random, made: World) -> tuple[list[tuple[str, object]], TransactionServer]:
    """The script through a mediator: pieces of any size, replies late and in pieces, cancels too late."""
    book = made.session()
    server = TransactionServer()
    taken, reply = 0, b""

    def pump(everything: bool) -> None:
        nonlocal taken, reply
        while True:
            sent = book.sent(SERVER)
            reply += server.feed(sent[taken:])
            taken = len(sent)
            size = len(reply) if everything else dice.randrange(len(reply) + 1)
            piece, reply = reply[:size], reply[size:]
            if not piece:
                return
            book >> Bytes(SERVER, piece)
            assert not made.faults, made.faults

    for message in script:
        at = dice.randrange(len(message) + 1)
        for piece in (message[:at], message[at:]):
            if piece:
                book >> Bytes(CLIENT, piece)
        if dice.random() < 0.5:
            pump(everything=False)
    for _ in range(6):
        pump(everything=True)
    assert not book.is_closed, (book.seen[-2:], s.errors(book.sent(CLIENT)))
    assert book.mediator.is_idle
    return plain(book.sent(CLIENT)), server


@settings(max_examples=400)
@example([s.parse("insert into t values (1)") + s.bind() + s.execute(), s.parse("select 5") + s.bind() + s.execute() + s.SYNC], 1)
@example([s.SYNC + s.query("begin"), s.parse("delete from t where id = 5") + s.bind() + s.execute() + s.SYNC, s.SYNC + s.query("commit")], 2)
@given(SCRIPT, st.integers(0, 1 << 32))
def test_replies_and_effects_are_those_of_a_server_with_limits(script: list[bytes], seed: int) -> None:
    """Rows, errors, their order, the block's status, discarding until Sync and what is committed: all the same."""
    require_like(TransactionServer(LIMITS), script, seed, world())


@settings(max_examples=200)
@example([s.parse("select 0") + s.bind("", "p1") + s.execute("p1"),
          s.parse("commit") + s.bind() + s.execute() + s.execute("p1", 2)], 0, False)
@given(SCRIPT, st.integers(0, 1 << 32), st.booleans())
def test_questions_in_between_change_nothing(script: list[bytes], seed: int, has_limits: bool) -> None:
    """A rule on estimates that never matches: the same as without it, in every order of messages, with limits too."""
    made = world(LIMITS if has_limits else UNLIMITED)
    made.rules = (*made.rules, Rule("big", when="op.statements == 1 && op.estimated_rows > 100", deny="no"))
    require_like(TransactionServer(LIMITS if has_limits else UNLIMITED), script, seed, made)


def require_like(oracle: TransactionServer, script: list[bytes], seed: int, made: World) -> None:
    script = [*script, s.SYNC, s.query("rollback")]
    expected = plain(b"".join(oracle.feed(message) for message in script))
    found, server = through(script, Random(seed), made)
    assert found == expected
    assert server.committed == oracle.committed


# ---------------------------------------------------------------- one by one


def begun(limits: RowLimits = LIMITS) -> tuple[World, Playbook]:
    made = world(limits)
    return made, made.session()


def test_the_cut_is_an_error_a_cancel_and_silence() -> None:
    """Rows up to the limit, one error, a cancel by the backend's own key; nothing more of that statement."""
    made, book = begun()
    book >> Bytes(CLIENT, s.query("select 1 from t")) << Bytes(SERVER, s.query("select 1 from t"))
    book >> Bytes(SERVER, s.columns("a") + s.row(b"x") * 5)
    assert s.kinds(book.sent(CLIENT)) == "TDDDE"
    assert s.errors(book.sent(CLIENT))[0] == {
        "S": "ERROR", "V": "ERROR", "C": "54000", "D": "rule: small", "M": s.errors(book.sent(CLIENT))[0]["M"],
        "H": s.errors(book.sent(CLIENT))[0]["H"]}
    assert isinstance(book.seen[-1], Apart)
    assert book.seen[-1].data.endswith(b"\0\0\0\1secretkey")
    book >> Bytes(SERVER, s.row(b"x") * 5 + s.notice() + s.error("57014", "canceling") + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "TDDDEZ"
    assert [(o.status, o.rows, o.code) for o in made.log.outcomes] == [(OutcomeStatus.REFUSED, 3, "54000")]


def test_what_is_over_in_one_buffer_is_not_cancelled() -> None:
    """The backend is done already; a cancel could only hit what comes next."""
    _, book = begun()
    book >> Bytes(CLIENT, s.query("select 1 from t"))
    book >> Bytes(SERVER, s.columns("a") + s.row(b"x") * 5 + s.complete("SELECT 5") + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "TDDDEZ"
    assert not any(isinstance(seen, Apart) for seen in book.seen)


def test_what_has_an_effect_runs_in_a_transaction_of_the_gateways_own() -> None:
    """BEGIN in front, the tag held back until COMMIT is through, one ReadyForQuery."""
    made, book = begun()
    book >> Bytes(CLIENT, s.query("delete from t where id = 1")) << Bytes(SERVER, s.query("BEGIN;delete from t where id = 1"))
    book >> Bytes(SERVER, s.complete("BEGIN") + s.complete("DELETE 2") + s.ready("T"))
    assert book.sent(CLIENT) == b""
    book >> Bytes(CLIENT, s.query("select 1"))              # waits
    assert book.sent(SERVER).endswith(s.query("COMMIT"))
    book >> Bytes(SERVER, s.complete("COMMIT") + s.ready("I"))
    assert book.sent(CLIENT) == s.complete("DELETE 2") + s.ready("I")
    assert book.sent(SERVER).endswith(s.query("select 1"))
    assert [(o.status, o.rows) for o in made.log.outcomes] == [(OutcomeStatus.OK, 2)]


def test_an_error_at_commit_is_the_statements_error() -> None:
    """A deferred constraint, say: no tag, one error."""
    made, book = begun()
    book >> Bytes(CLIENT, s.query("delete from t where id = 1"))
    book >> Bytes(SERVER, s.complete("BEGIN") + s.complete("DELETE 1") + s.ready("T"))
    book >> Bytes(SERVER, s.error("23503", "still referenced") + s.ready("I"))
    assert s.kinds(book.sent(CLIENT)) == "EZ"
    assert [(o.status, o.code) for o in made.log.outcomes] == [(OutcomeStatus.ERROR, "23503")]


def test_positions_do_not_count_what_the_gateway_put_in_front() -> None:
    """A client points at its own text."""
    _, book = begun()
    book >> Bytes(CLIENT, s.query("delete from t where ix = 1"))
    book >> Bytes(SERVER, s.complete("BEGIN") + s.error("42703", "no column", P="26") + s.ready("E"))
    assert book.sent(SERVER).endswith(s.query("ROLLBACK"))
    book >> Bytes(SERVER, s.complete("ROLLBACK") + s.ready("I"))
    assert s.errors(book.sent(CLIENT))[0]["P"] == "20"


@given(st.sampled_from([
    [s.complete("DELETE 1") + s.ready("I")],                                    # it did not begin
    [s.complete("BEGIN") + s.complete("DELETE 9") + s.ready("T"), s.error("57014") + s.ready("T")],
    [s.complete("BEGIN") + s.complete("DELETE 9") + s.ready("T"), s.complete("ROLLBACK") + s.ready("T")],
    [s.complete("BEGIN") + s.complete("DELETE 1") + s.ready("T"), s.complete("ROLLBACK") + s.ready("I")],
    [s.complete("BEGIN") + s.complete("DELETE 1") + s.ready("I")],              # it ended by itself
]))
def test_a_backend_that_does_not_follow_ends_the_session(replies: list[bytes]) -> None:
    """Where it is not sure that a change was taken back, nobody is told that it was."""
    _, book = begun()
    book >> Bytes(CLIENT, s.query("delete from t where id = 1"))
    for reply in replies:
        book >> Bytes(SERVER, reply)
    assert book.is_closed
    assert s.errors(book.sent(CLIENT))[-1]["S"] == "FATAL"


def test_a_block_that_will_not_fail_ends_the_session() -> None:
    """The client may not go on in a block that it takes for failed."""
    _, book = begun()
    book >> Bytes(CLIENT, s.query("begin")) >> Bytes(SERVER, s.complete("BEGIN") + s.ready("T"))
    book >> Bytes(CLIENT, s.query("delete from t where id = 1")) >> Bytes(SERVER, s.complete("DELETE 9") + s.ready("T"))
    assert s.kinds(book.sent(SERVER)) == "QQPS"
    book >> Bytes(SERVER, s.PARSED + s.ready("T"))
    assert book.is_closed


def test_a_sync_goes_ahead_where_nothing_becomes_final_by_it() -> None:
    """Reads outside of a block cost no round trip; a write's Sync waits and a Flush asks for its replies."""
    call = s.parse("select 1 from t") + s.bind() + s.execute()
    _, book = begun()
    book >> Bytes(CLIENT, call + s.SYNC + call + s.SYNC)
    assert book.sent(SERVER) == call + s.SYNC
    book >> Bytes(SERVER, s.PARSED + s.BOUND + s.row(b"x") + s.complete("SELECT 1") + s.ready())
    assert book.sent(SERVER) == (call + s.SYNC) * 2
    write = s.parse("delete from t where id = 1") + s.bind() + s.execute()
    _, book = begun()
    book >> Bytes(CLIENT, write + s.SYNC)
    assert book.sent(SERVER) == write + s.FLUSH
    book >> Bytes(SERVER, s.PARSED + s.BOUND + s.complete("DELETE 3"))
    assert book.sent(SERVER) == write + s.FLUSH + s.SYNC


def test_only_what_the_limit_is_about_waits() -> None:
    """Rows bound nothing of a statement that returns none, changes nothing of one that changes none."""
    insert = s.parse("insert into t values (1)") + s.bind() + s.execute() + s.SYNC
    _, book = begun(RowLimits(rows=3))
    book >> Bytes(CLIENT, insert * 3)
    assert book.sent(SERVER) == insert * 3
    select = s.parse("select 1 from t") + s.bind() + s.execute() + s.SYNC
    _, book = begun(RowLimits(changed=3))
    book >> Bytes(CLIENT, select * 3)
    assert book.sent(SERVER) == select * 3


def test_copy_after_the_cut_is_made_to_fail() -> None:
    """A string goes on at the backend: a COPY FROM STDIN behind the cut would wait for the client for ever."""
    _, book = begun(RowLimits(rows=1))
    book >> Bytes(CLIENT, s.query("select 1 from t; copy t from stdin"))
    book >> Bytes(SERVER, s.complete("BEGIN") + s.columns("a") + s.row(b"x") * 2 + s.complete("SELECT 2") + b"G\0\0\0\7\0\0\0")
    assert s.kinds(book.sent(SERVER)) == "Qf"
    book >> Bytes(SERVER, s.error("57014", "COPY from stdin failed") + s.ready("E"))
    book >> Bytes(SERVER, s.complete("ROLLBACK") + s.ready("I"))
    assert s.kinds(book.sent(CLIENT)) == "TDEZ"


def test_rows_of_copy_are_counted_across_messages() -> None:
    """Several rows in a message, and a row in several, never get more through than the limit."""
    def data(*pieces: bytes) -> bytes:
        return b"".join(s.frame(ord("d"), piece) for piece in pieces)

    for text, pieces, passed in (
        ("copy t to stdout", [b"1\n2\n", b"3\n", b"4\n"], 2), ("copy t to stdout", [b"1\n", b"2\n3\n4\n"], 1),
        ("copy t to stdout", [b"1", b"\n2", b"", b"2\n", b"3\n", b"4\n"], 5), ("copy t to stdout", [b"1\n2\n3\n", b"4"], 1),
        ("copy t to stdout (format csv)", [b'"a\nb\nc\nd"\n', b'"\n', b'"\n', b"x\n", b"y\n"], 4),
        ("copy t to stdout (format csv, header)", [b"a\n", b"1\n", b"2\n", b"3\n", b"4\n"], 4),
    ):
        _, book = begun()
        book >> Bytes(CLIENT, s.query(text))
        book >> Bytes(SERVER, b"H\0\0\0\x09\0\0\1\0\0" + data(*pieces) + b"c\0\0\0\4" + s.complete("COPY 9") + s.ready())
        assert s.kinds(book.sent(CLIENT)) == "H" + "d" * passed + "EZ", (text, pieces)


def test_a_giant_row_too_many_is_neither_kept_nor_sent() -> None:
    """Its bytes go nowhere as they come."""
    _, book = begun(RowLimits(rows=1))
    giant = s.row(b"x" * 300_000)
    book >> Bytes(CLIENT, s.query("select 1 from t"))
    book >> Bytes(SERVER, s.columns("a") + giant[:1000]) >> Bytes(SERVER, giant[1000:])
    assert book.sent(CLIENT) == s.columns("a") + giant
    book >> Bytes(SERVER, giant[:1000]) >> Bytes(SERVER, giant[1000:200_000])
    assert s.kinds(book.sent(CLIENT)) == "TDE"
    book >> Bytes(SERVER, giant[200_000:] + s.complete("SELECT 2") + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "TDEZ"


def test_without_a_catalogue_nothing_is_changed_under_a_limit() -> None:
    """A rewrite rule could be in the way: what cannot be told is refused."""
    made = World(rules=(s.ALLOW, Rule("small", limits=LIMITS)))
    book = made.session()
    book >> Bytes(CLIENT, s.query("delete from t where id = 1"))
    assert s.errors(book.sent(CLIENT))[0]["C"] == "42501"
    assert book.sent(SERVER) == b""
    assert made.log.intents[0].refusal == "denied"


def scripts() -> list[Case]:
    def make() -> Playbook:
        return begun(RowLimits(rows=1, changed=1))[1]

    cut = [Bytes(CLIENT, s.query("select 1 from t")), Bytes(SERVER, s.columns("a") + s.row(b"x") * 3 + s.error("57014") + s.ready())]
    wrapped = [
        Bytes(CLIENT, s.query("delete from t where id = 1")),
        Bytes(SERVER, s.complete("BEGIN") + s.complete("DELETE 2") + s.ready("T")),
        Bytes(SERVER, s.complete("ROLLBACK") + s.ready("I")),
    ]
    segment = [
        Bytes(CLIENT, s.parse("delete from t where id = 1") + s.bind() + s.execute() + s.parse("select 1") + s.SYNC),
        Bytes(SERVER, s.PARSED + s.BOUND + s.complete("DELETE 2")), Bytes(SERVER, s.error("42601")), Bytes(SERVER, s.ready()),
    ]
    return [Case(make, script) for script in (cut, wrapped, segment)]


def test_any_split_gives_the_same_output() -> None:
    """Also around a cut."""
    for case in scripts():
        require_split_independence(case)
        require_fail_closed(case)
        require_settled(case)
