"""Row limits without sockets: replies and effects are those of a server that has the limits itself."""

from __future__ import annotations

from random import Random  # noqa: TID251 - test data

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate.model import RowLimits, Rule
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
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
    return World(rules=(s.ALLOW, Rule("small", limits=limits, when=when)), snapshot=lambda _: CATALOGUE)


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


def plain(data: bytes) -> list[tuple[str, object]]:
    return [(kind, s.fields(body)["C"] if kind == "E" else body) for kind, body in s.messages(data)]


def through(script: list[bytes], dice: Random) -> tuple[list[tuple[str, object]], TransactionServer]:
    """The script through a mediator: pieces of any size, replies late and in pieces, cancels too late."""
    made = world()
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
    assert len({id(step.grant) for step in book.settled}) == len([i for i in made.log.intents if i.refusal is None])
    return plain(book.sent(CLIENT)), server


@settings(max_examples=400)
@example([s.parse("insert into t values (1)") + s.bind() + s.execute(), s.parse("select 5") + s.bind() + s.execute() + s.SYNC], 1)
@example([s.SYNC + s.query("begin"), s.parse("delete from t where id = 5") + s.bind() + s.execute() + s.SYNC, s.SYNC + s.query("commit")], 2)
@given(st.lists(st.one_of(MESSAGE, CALL, QUERY), min_size=1, max_size=12), st.integers(0, 1 << 32))
def test_replies_and_effects_are_those_of_a_server_with_limits(script: list[bytes], seed: int) -> None:
    """Rows, errors, their order, the block's status, discarding until Sync and what is committed: all the same."""
    script = [*script, s.SYNC, s.query("rollback")]
    oracle = TransactionServer(LIMITS)
    expected = plain(b"".join(oracle.feed(message) for message in script))
    found, server = through(script, Random(seed))
    assert found == expected
    assert server.committed == oracle.committed
