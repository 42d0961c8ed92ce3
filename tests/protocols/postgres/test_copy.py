"""COPY in both directions."""

from __future__ import annotations

from lockgate.kernel.frames import frame
from lockgate.model import DetectMask, MaskMethod, OutcomeStatus, Rule
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.postgres import support as s
from tests.protocols.postgres.support import World

COPY_IN = b"G\0\0\0\x09\0\0\1\0\0"
COPY_OUT = b"H\0\0\0\x09\0\0\1\0\0"
DONE = b"c\0\0\0\4"


def data(text: bytes) -> bytes:
    return frame(ord("d"), text)


def test_copy_in_goes_under_its_statements_record() -> None:
    """CopyData carries no request of its own: it goes under the COPY's record."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, s.query("copy t from stdin")) >> Bytes(SERVER, COPY_IN)
    book >> Bytes(CLIENT, data(b"1\n") + data(b"2\n") + DONE)
    assert s.kinds(book.sent(SERVER)) == "Qddc"
    book >> Bytes(SERVER, s.complete("COPY 2") + s.ready())
    assert [(o.status, o.rows) for o in world.log.outcomes] == [(OutcomeStatus.OK, 2)]
    assert len(world.log.intents) == 1
    assert book.mediator.is_idle


def test_a_client_that_sends_ahead_waits() -> None:
    """CopyData before CopyInResponse is kept until the backend asks for it."""
    book = World().session()
    book >> Bytes(CLIENT, s.query("copy t from stdin") + data(b"1\n") + DONE)
    assert s.kinds(book.sent(SERVER)) == "Q"
    book >> Bytes(SERVER, COPY_IN)
    assert s.kinds(book.sent(SERVER)) == "Qdc"


def test_a_sync_that_the_copying_backend_ignores_is_owed_nothing() -> None:
    """tokio-postgres sends Sync with Execute: during COPY IN the backend ignores it."""
    book = World().session()
    book >> Bytes(CLIENT, s.parse("copy t from stdin") + s.bind() + s.execute() + s.SYNC)
    book >> Bytes(SERVER, s.PARSED + s.BOUND + COPY_IN)
    book >> Bytes(CLIENT, data(b"1\n") + s.SYNC + DONE + s.SYNC)
    assert s.kinds(book.sent(SERVER)) == "PBESdcS"
    book >> Bytes(SERVER, s.complete("COPY 1") + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "12GCZ"
    assert book.mediator.is_idle


def test_copy_that_fails_drops_what_follows() -> None:
    """After an error the rest of the data is dropped, as the backend would."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, s.query("copy t from stdin")) >> Bytes(SERVER, COPY_IN)
    book >> Bytes(CLIENT, data(b"x\n")) >> Bytes(SERVER, s.error("22P02") + s.ready())
    book >> Bytes(CLIENT, data(b"y\n") + DONE + s.query("select 1"))
    assert s.kinds(book.sent(SERVER)) == "QdQ"
    assert [(o.status, o.code) for o in world.log.outcomes] == [(OutcomeStatus.ERROR, "22P02")]


def test_copy_fail_is_forwarded() -> None:
    """The client may give up."""
    book = World().session()
    book >> Bytes(CLIENT, s.query("copy t from stdin")) >> Bytes(SERVER, COPY_IN)
    book >> Bytes(CLIENT, frame(ord("f"), b"no\0"))
    assert s.kinds(book.sent(SERVER)) == "Qf"


def test_copy_out_passes_and_is_counted() -> None:
    """Rows of COPY OUT leave through the mask stage; without a mask unchanged."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, s.query("copy t to stdout"))
    reply = COPY_OUT + data(b"1\n") + data(b"2\n") + DONE + s.complete("COPY 2") + s.ready()
    book >> Bytes(SERVER, reply)
    assert book.sent(CLIENT) == reply
    assert world.log.outcomes[0].rows == 2


def test_copy_out_is_searched_across_messages() -> None:
    """A detector sees a value that two CopyData messages share."""
    world = World(rules=(s.ALLOW, Rule(name="cards", detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))))
    book = world.session()
    book >> Bytes(CLIENT, s.query("copy t to stdout"))
    book >> Bytes(SERVER, COPY_OUT + data(b"1\t41111111") + data(b"11111111\n") + DONE + s.complete("COPY 1") + s.ready())
    assert b"1111111" not in book.sent(CLIENT)
    assert s.kinds(book.sent(CLIENT)).startswith("H")
    assert s.kinds(book.sent(CLIENT)).endswith("cCZ")
    assert world.log.outcomes[0].masked == {"credit_card": 1}


def test_copy_both_ends_the_session() -> None:
    """CopyBothResponse belongs to replication, which is refused."""
    book = World().session()
    book >> Bytes(CLIENT, s.query("select 1")) >> Bytes(SERVER, b"W\0\0\0\7\0\0\0")
    assert book.is_closed


def test_copy_data_out_of_place_is_dropped() -> None:
    """Without a COPY the backend would ignore it; so does the gateway."""
    book = World().session()
    book >> Bytes(CLIENT, data(b"x") + DONE)
    assert book.seen == []
