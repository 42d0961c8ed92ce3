"""COPY in both directions."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("message", [s.query("select 1"), s.parse("select 1"), s.close()])
def test_another_message_inside_copy_data_ends_the_session(message: bytes) -> None:
    """The copying backend takes such a message for an error: nothing may be owed for it (and answered as another)."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, s.query("copy t from stdin")) >> Bytes(SERVER, COPY_IN) >> Bytes(CLIENT, message)
    assert s.errors(book.sent(CLIENT))[0]["C"] == "08P01"
    assert book.is_closed
    assert s.kinds(book.sent(SERVER)) == "Q"


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


CARDS = (s.ALLOW, Rule(name="cards", detects=(DetectMask(("credit_card",), MaskMethod.REDACT),)))
CARD = b"4111111111111111"


def copied(world: World, text: str, *pieces: bytes) -> bytes:
    """What the client gets of a COPY's data."""
    book = world.session()
    book >> Bytes(CLIENT, s.query(text))
    book >> Bytes(SERVER, COPY_OUT + b"".join(data(piece) for piece in pieces) + DONE + s.complete("COPY 1") + s.ready())
    return b"".join(body for kind, body in s.messages(book.sent(CLIENT)) if kind == "d")


def test_copy_is_read_as_its_statement_says() -> None:
    """The format comes from the options, not from a word in the text: quotes are content in FORMAT text."""
    found = copied(World(rules=CARDS), "copy csv to stdout", b'"1\t' + CARD + b"\n")
    assert found.startswith(b'"1\t')
    assert CARD not in found


def test_quotes_and_nulls_of_the_statement_count() -> None:
    """Rows are put together by the quote, delimiter and null string that the statement gives."""
    found = copied(World(rules=CARDS), "copy t to stdout (format csv, quote '''', delimiter ';', null 'none')",
                   b"'it''s\n" + CARD[:8], CARD[8:] + b"';none;\"\n")
    assert CARD not in found
    assert found.endswith(b";none;\"\n")


def test_each_copy_of_a_string_is_read_by_its_own_options() -> None:
    """The second COPY of a string has other options than the first."""
    book = World(rules=CARDS).session()
    book >> Bytes(CLIENT, s.query("copy a to stdout csv; copy b to stdout"))
    book >> Bytes(SERVER, COPY_OUT + data(b'"x,y"\n') + DONE + s.complete("COPY 1"))
    book >> Bytes(SERVER, COPY_OUT + data(b'"1\t' + CARD + b"\n") + DONE + s.complete("COPY 1") + s.ready())
    rows = [body for kind, body in s.messages(book.sent(CLIENT)) if kind == "d"]
    assert rows[0] == b'"x,y"\n'
    assert CARD not in rows[1]
    assert not book.is_closed


def test_a_copy_that_cannot_be_looked_at_is_refused() -> None:
    """Where a detector is in force, options that hide where a value ends are refused; without one they pass."""
    text = "copy t to stdout (format csv, escape 'x')"
    book = World(rules=CARDS).session()
    book >> Bytes(CLIENT, s.query(text))
    assert book.sent(SERVER) == b""
    assert s.errors(book.sent(CLIENT))[0]["C"] == "42501"
    assert copied(World(), text, b"1\n") == b"1\n"


def test_a_copy_in_another_format_than_stated_ends_the_session() -> None:
    """A backend whose COPY is binary where the statement says text is not understood."""
    book = World(rules=CARDS).session()
    book >> Bytes(CLIENT, s.query("copy t to stdout")) >> Bytes(SERVER, b"H\0\0\0\x09\1\0\1\0\1" + data(CARD))
    assert CARD not in book.sent(CLIENT)
    assert book.is_closed
