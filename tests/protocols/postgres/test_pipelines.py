"""Random pipelines against a model server: the mediator changes nothing but what policy refuses."""

from __future__ import annotations

from random import Random  # noqa: TID251 - test data

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.postgres import support as s
from tests.protocols.postgres.model_server import ModelServer

NAMES = st.sampled_from(["", "s1", "s2"])
PORTALS = st.sampled_from(["", "p1"])
TEXTS = st.sampled_from(["select 0", "select 1", "select 5", "select fail", "begin", "commit", "rollback",
                         "drop table t", "select 3 /* note */", "copy t from stdin"])
MESSAGE = st.one_of(
    st.builds(s.query, TEXTS),
    st.builds(s.parse, TEXTS, NAMES),
    st.builds(s.bind, NAMES, PORTALS),
    st.builds(s.describe, st.just("S"), NAMES),
    st.builds(s.describe, st.just("P"), PORTALS),
    st.builds(s.execute, PORTALS, st.sampled_from([0, 0, 1, 2])),
    st.builds(s.close, st.just("S"), NAMES),
    st.builds(s.close, st.just("P"), PORTALS),
    st.just(s.SYNC), st.just(s.SYNC), st.just(s.FLUSH),
)
CALLS = st.builds(
    lambda name, text, portal, limit, sync: s.parse(text, name) + s.bind(name, portal) + s.describe("P", portal)
    + s.execute(portal, limit) + sync,
    NAMES, TEXTS, PORTALS, st.sampled_from([0, 2]), st.sampled_from([s.SYNC, b""]),
)
COPY_END = b"d\0\0\0\x06x\n" + b"c\0\0\0\4"


def plain(data: bytes) -> list[tuple[str, object]]:
    """Messages to compare: of errors the SQLSTATE only."""
    return [(kind, s.fields(body)["C"] if kind == "E" else body) for kind, body in s.messages(data)]


def direct(script: list[bytes]) -> tuple[list[tuple[str, object]], ModelServer]:
    server = ModelServer()
    out = b""
    for message in script:
        out += server.feed(message)
        while server.copying is not None:       # a client answers CopyInResponse at once
            out += server.feed(COPY_END)
    return plain(out), server


def through(script: list[bytes], dice: Random) -> tuple[list[tuple[str, object]], ModelServer]:
    """The same through a mediator: client bytes in random pieces, replies delivered late and in pieces."""
    world = s.World()
    book = world.session()
    server = ModelServer()
    state = {"taken": 0, "reply": b""}

    def pump(everything: bool) -> None:
        while True:
            sent = book.sent(SERVER)
            state["reply"] += server.feed(sent[state["taken"]:])  # type: ignore[operator]
            state["taken"] = len(sent)
            reply = state["reply"]
            if not reply:
                return
            size = len(reply) if everything else dice.randrange(len(reply) + 1)  # type: ignore[arg-type]
            piece, state["reply"] = reply[:size], reply[size:]  # type: ignore[index]
            if not piece:
                return
            book >> Bytes(SERVER, piece)
            assert not world.faults, world.faults

    for message in script:
        at = dice.randrange(len(message) + 1)
        for piece in (message[:at], message[at:]):
            if piece:
                book >> Bytes(CLIENT, piece)
        if dice.random() < 0.5:
            pump(everything=False)
        if b"copy" in message or "copy" in str((server.statements, server.portals)):
            pump(everything=True)
            while server.copying is not None:
                book >> Bytes(CLIENT, COPY_END)
                pump(everything=True)
    for _ in range(5):
        pump(everything=True)
        while server.copying is not None:
            book >> Bytes(CLIENT, COPY_END)
            pump(everything=True)
    assert not book.is_closed, (book.seen[-2:], s.errors(book.sent(CLIENT)))
    assert not world.faults
    return plain(book.sent(CLIENT)), server


@settings(max_examples=300)
@example([s.parse("copy t from stdin") + s.bind() + s.execute(), s.SYNC, s.close("S"), s.execute()], 0)
@example([s.parse("copy t from stdin"), s.bind(), s.execute(), s.SYNC, s.close("S"), s.execute()], 1)
@given(st.lists(st.one_of(MESSAGE, CALLS), min_size=1, max_size=14), st.integers(0, 1 << 32))
def test_replies_are_those_of_a_direct_connection(script: list[bytes], seed: int) -> None:
    """Replies, their order, discarding until Sync and the transaction status equal a direct server's."""
    script = [*script, s.SYNC]
    expected, _ = direct(script)
    found, server = through(script, Random(seed))
    assert found == expected
    assert not any(text.startswith("drop") for text in server.executed)
