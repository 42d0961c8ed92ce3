"""The simple protocol: one statement, one answer, one ReadyForQuery."""

from __future__ import annotations

import pytest

from lockgate.kernel.frames import frame
from lockgate.model import AuditMode, OutcomeStatus, Refusal, RefusalCode
from lockgate.wire.playbook import CLIENT, SERVER, Apart, Bytes, Closed, Hangup
from tests.protocols.postgres.support import (
    TERMINATE,
    World,
    columns,
    complete,
    error,
    errors,
    fields,
    kinds,
    messages,
    notice,
    parameter,
    query,
    ready,
    row,
    state_of,
)

RESULT = columns("a") + row(b"1") + row(b"2") + complete("SELECT 2") + ready()


def test_statement_is_recorded_forwarded_and_settled() -> None:
    """A statement's intent is on record before it leaves, and its outcome counts rows and bytes."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, query("select 1")) << Bytes(SERVER, query("select 1"))
    assert [intent.text for intent in world.log.intents] == ["select 1"]
    book >> Bytes(SERVER, RESULT) << Bytes(CLIENT, RESULT)
    [outcome] = world.log.outcomes
    assert (outcome.status, outcome.rows, outcome.sent) == (OutcomeStatus.OK, 2, 2 * len(row(b"1")))
    assert book.mediator.is_idle


def test_nothing_leaves_before_the_record_is_durable() -> None:
    """With audit: full the bytes wait for the record (I2)."""
    world = World(audit=AuditMode.FULL)
    world.log.hold = True
    book = world.session()
    book >> Bytes(CLIENT, query("select 1"))
    assert book.seen == []
    world.log.release()
    book.resume()
    book << Bytes(SERVER, query("select 1"))


def test_comments_are_not_forwarded() -> None:
    """Comments are claims: what is judged, recorded and forwarded has none."""
    book = World().session()
    book >> Bytes(CLIENT, query("select /* task=7 */ 1 -- x"))
    [(kind, body)] = messages(book.sent(SERVER))
    assert kind == "Q"
    assert b"task" not in body
    assert b"-- x" not in body


def test_refusal_outside_a_block_is_answered_here() -> None:
    """A refused statement gets one ErrorResponse and ReadyForQuery, and nothing goes upstream."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, query("drop table t"))
    assert book.sent(SERVER) == b""
    assert kinds(book.sent(CLIENT)) == "EZ"
    [found] = errors(book.sent(CLIENT))
    assert found["C"] == "42501"
    assert found["M"] == "drops are not allowed"
    assert "never-drop" in found["D"]
    assert found["H"]
    assert [(i.decision, i.forwarded) for i in world.log.intents] == [("deny", b"")]
    assert messages(book.sent(CLIENT))[-1] == ("Z", b"I")


def test_refusal_waits_for_the_head_of_the_queue() -> None:
    """A refusal never overtakes the replies of earlier statements."""
    book = World().session()
    book >> Bytes(CLIENT, query("select 1")) >> Bytes(CLIENT, query("drop table t"))
    assert book.sent(CLIENT) == b""
    book >> Bytes(SERVER, RESULT) >> Bytes(SERVER, error("42601", "syntax error") + ready())
    assert kinds(book.sent(CLIENT)) == "TDDCZEZ"
    assert errors(book.sent(CLIENT))[0]["M"] == "drops are not allowed"


def test_refusal_inside_a_block_fails_the_block_upstream() -> None:
    """Inside BEGIN the backend's block fails too: both ends agree on status E."""
    book = World().session()
    book >> Bytes(CLIENT, query("begin")) >> Bytes(SERVER, complete("BEGIN") + ready("T"))
    book >> Bytes(CLIENT, query("drop table t"))
    sent = messages(book.sent(SERVER))
    assert [kind for kind, _ in sent] == ["Q", "Q"]
    assert b"drop" not in sent[1][1]
    book >> Bytes(SERVER, error("42601", 'syntax error at or near "lockgate"') + ready("E"))
    assert messages(book.sent(CLIENT))[-1] == ("Z", b"E")
    [found] = errors(book.sent(CLIENT))
    assert (found["C"], found["M"]) == ("42501", "drops are not allowed")


def test_unreadable_statement_is_refused_with_the_parsers_words() -> None:
    """A syntax error says what PostgreSQL would say, position included, and is on record as refused."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, query("selec 1"))
    [found] = errors(book.sent(CLIENT))
    assert (found["C"], found["P"]) == ("42601", "1")
    assert book.sent(SERVER) == b""
    assert [intent.decision for intent in world.log.intents] == ["deny"]


@pytest.mark.parametrize("raw", [b"select 'a\0b'\0", b"select '\xff'\0"])
def test_nul_and_invalid_utf8_are_refused(raw: bytes) -> None:
    """What the parser and the server could read differently is refused with 22021."""
    book = World().session()
    book >> Bytes(CLIENT, b"Q" + (len(raw) + 4).to_bytes(4, "big") + raw)
    assert errors(book.sent(CLIENT))[0]["C"] == "22021"
    assert book.sent(SERVER) == b""


def test_statement_above_the_limit_is_refused() -> None:
    """A statement above the limit is 54000, and the session lives on."""
    book = World().session()
    book >> Bytes(CLIENT, query("select '" + "x" * 1_100_000 + "'"))
    assert errors(book.sent(CLIENT))[0]["C"] == "54000"
    book >> Bytes(CLIENT, query("select 1"))
    assert kinds(book.sent(SERVER)) == "Q"


@pytest.mark.parametrize(("unreadable", "readable"), [
    (b"select '" + b"x" * 1_100_000 + b"'", b""), (b"select '\xff'", "select '\ufffd'".encode()),
])
def test_what_policy_says_of_an_unreadable_statement_is_said_of_no_other(unreadable: bytes, readable: bytes) -> None:
    """What is shown of a text that cannot be read can be another statement's text; its verdict is not that one's."""
    book = World().session()
    book >> Bytes(CLIENT, frame(ord("Q"), unreadable + b"\0"))
    assert kinds(book.sent(CLIENT)) == "EZ"
    book >> Bytes(CLIENT, frame(ord("Q"), readable + b"\0"))
    assert messages(book.sent(SERVER)) == [("Q", readable + b"\0")]


def test_function_call_is_refused() -> None:
    """FunctionCall is 0A000 with a ReadyForQuery; nothing goes upstream."""
    book = World().session()
    book >> Bytes(CLIENT, b"F\0\0\0\4")
    assert kinds(book.sent(CLIENT)) == "EZ"
    assert errors(book.sent(CLIENT))[0]["C"] == "0A000"
    assert book.sent(SERVER) == b""


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(b"QPBEDCSHXFdcf")))
def test_unknown_message_ends_the_session(kind: int) -> None:
    """A message type that has no place in a session is FATAL 08P01 and nothing is forwarded (I4)."""
    book = World().session()
    book >> Bytes(CLIENT, bytes((kind,)) + b"\0\0\0\4")
    assert book.sent(SERVER) == b""
    [found] = errors(book.sent(CLIENT))
    assert (found["S"], found["C"]) == ("FATAL", "08P01")
    assert book.is_closed


def test_terminate_closes_the_client_at_once() -> None:
    """asyncpg waits for the server to hang up: Terminate is forwarded and the session ends."""
    book = World().session()
    book >> Bytes(CLIENT, TERMINATE) << Bytes(SERVER, TERMINATE) << Closed("client terminated")


def test_client_gone_settles_what_runs() -> None:
    """A statement whose client left has an unknown outcome, and the backend gets a Terminate."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, query("select 1")) >> Hangup(CLIENT)
    assert [o.status for o in world.log.outcomes] == [OutcomeStatus.UNKNOWN]
    assert book.sent(SERVER).endswith(TERMINATE)


def test_backend_gone_settles_and_tells() -> None:
    """A backend that dies in a result leaves an unknown outcome and a FATAL for the client."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, query("select 1")) >> Bytes(SERVER, columns("a") + row(b"1")) >> Hangup(SERVER)
    assert [o.status for o in world.log.outcomes] == [OutcomeStatus.UNKNOWN]
    assert errors(book.sent(CLIENT))[-1]["C"] == "08006"
    assert book.is_closed


def test_interrupt_uses_the_backends_key_while_something_runs() -> None:
    """A cancel goes out with the backend's own key, and only while a statement runs."""
    book = World().session()
    book.run(book.mediator.interrupt())
    assert book.seen == []
    book >> Bytes(CLIENT, query("select 1"))
    book.run(book.mediator.interrupt())
    [apart] = [seen for seen in book.seen if isinstance(seen, Apart)]
    assert apart.data[8:] == state_of(book).backend_key


def test_a_client_that_leaves_has_its_statement_cancelled() -> None:
    """What runs for nobody is cancelled with the backend's own key, on record, before the goodbye."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, query("select pg_sleep(600)")) >> Hangup(CLIENT)
    [apart] = [seen for seen in book.seen if isinstance(seen, Apart)]
    assert apart.data[8:] == state_of(book).backend_key
    assert [(e.type, e.fields) for e in world.log.events] == [("cancel", {"reason": "client left"})]
    assert [o.status for o in world.log.outcomes] == [OutcomeStatus.UNKNOWN]
    assert book.is_closed


def test_a_client_that_leaves_idle_cancels_nothing() -> None:
    """Between statements there is nothing to cancel."""
    world = World()
    book = world.session()
    book >> Bytes(CLIENT, query("select 1")) >> Bytes(SERVER, complete() + ready()) >> Hangup(CLIENT)
    assert not [seen for seen in book.seen if isinstance(seen, Apart)]
    assert world.log.events == []


def test_pinned_parameter_that_changes_ends_the_session() -> None:
    """The analysis depends on client_encoding and standard_conforming_strings: a change is FATAL."""
    book = World().session()
    book >> Bytes(SERVER, parameter("client_encoding", "UTF8") + parameter("TimeZone", "UTC"))
    assert kinds(book.sent(CLIENT)) == "SS"
    book >> Bytes(SERVER, parameter("standard_conforming_strings", "off"))
    assert errors(book.sent(CLIENT))[0]["S"] == "FATAL"
    assert book.is_closed


def test_parameters_off_the_list_stay_here() -> None:
    """ParameterStatus passes by an allow list only; our application_name is not the client's business."""
    book = World().session()
    book >> Bytes(SERVER, parameter("application_name", "lockgate:1") + parameter("my.value", "107-11-1013"))
    assert book.sent(CLIENT) == b""


def test_asynchronous_messages_pass_at_any_time() -> None:
    """Notices and notifications come in any state, idle included."""
    book = World().session()
    notification = b"A" + (4 + 4 + 5 + 5).to_bytes(4, "big") + b"\0\0\0\1chan\0data\0"
    book >> Bytes(SERVER, notice() + notification)
    assert book.sent(CLIENT) == notice() + notification


@pytest.mark.parametrize("reply", [row(b"1"), complete(), columns("a"), b"1\0\0\0\4", b"2\0\0\0\4", ready(), b"n\0\0\0\4",
                                   b"K\0\0\0\x0c\0\0\0\1\0\0\0\2", b"R\0\0\0\x08\0\0\0\0", b"W\0\0\0\7\0\0\0", b"?\0\0\0\4"])
def test_reply_that_nothing_asked_for_ends_the_session(reply: bytes) -> None:
    """A reply without a question is never passed on (I4)."""
    book = World().session()
    book >> Bytes(SERVER, reply)
    assert kinds(book.sent(CLIENT)) == "E"
    assert errors(book.sent(CLIENT))[0]["C"] == "08P01"
    assert book.is_closed


def test_giant_row_passes_in_pieces_where_nothing_is_due() -> None:
    """A row of any size is streamed, never held, while nothing is looked for in it."""
    book = World().session()
    book >> Bytes(CLIENT, query("select 1"))
    giant = row(b"x" * 3_000_000)
    data = columns("a") + giant + complete() + ready()
    for at in range(0, len(data), 65_000):
        before = len(book.sent(CLIENT))
        book >> Bytes(SERVER, data[at:at + 65_000])
        assert len(book.sent(CLIENT)) >= before
    assert book.sent(CLIENT) == data
    assert book.mediator.is_idle


def test_end_is_fatal_with_its_own_code() -> None:
    """An expired identity ends the session between statements with FATAL 57P05."""
    book = World().session()
    book >> Refusal(RefusalCode.EXPIRED, "the token has expired")
    [(_, body), *_] = messages(book.sent(CLIENT))
    assert (fields(body)["S"], fields(body)["C"]) == ("FATAL", "57P05")
    assert book.is_closed


def test_a_refusal_does_not_end_the_session() -> None:
    """Each refused statement gets its own answer; the session lives on."""
    book = World().session()
    for _ in range(3):
        book >> Bytes(CLIENT, query("drop table t"))
    assert kinds(book.sent(CLIENT)) == "EZ" * 3
