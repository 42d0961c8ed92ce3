"""Masks on the wire: rewritten statements, the second witness, rebuilt errors, detectors on rows."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from lockgate.analysis.sql import Catalogue, Masked
from lockgate.model import ColumnMask, DetectMask, MaskMethod, OutcomeStatus, Refusal, RefusalCode, Rule
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from tests.protocols.postgres import support as s
from tests.protocols.postgres.support import World
from tests.unit.analysis.database import Database

MASK = Rule(name="hide-ssn", masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),))
CARDS = Rule(name="cards", detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))
SSN = "107-11-1013"
CARD = b"4111111111111111"


def probed(version: int = 1, *known: str) -> Catalogue:
    """What a probe found: a version, and the names it knows."""
    database = Database()
    for name in known:
        database.relation(name, "a")
    return database.catalogue(version)


def masking(book: Playbook, mask: Callable[[str], Masked | Refusal] | None = None) -> Playbook:
    """Give the session an analysis whose mask plan the test decides."""

    def replaced(text: str) -> Masked | Refusal:
        hidden = text.replace("ssn", "'xxxx'::text AS ssn")
        return Masked(hidden, "ssn" in text or "customers" in text, "d1" if hidden != text else "", frozenset({(16400, 2)}))

    cache: dict[str, Any] = {}
    reader = s.state_of(book).reader
    reader.analyzer.mask = lambda statement, *rest: cache.setdefault(  # type: ignore[method-assign]
        statement.text, (mask or replaced)(statement.text))
    return book


def session(*rules: Rule) -> tuple[World, Playbook]:
    world = World(rules=(s.ALLOW, *rules), snapshot=lambda step: probed())
    return world, masking(world.session())


def test_the_rewritten_statement_is_forwarded_and_recorded() -> None:
    """What leaves is the masked text, and the record commits to it."""
    world, book = session(MASK)
    book >> Bytes(CLIENT, s.query("select ssn from customers"))
    assert book.sent(SERVER) == s.query("select 'xxxx'::text AS ssn from customers")
    [intent] = world.log.intents
    assert intent.forwarded == b"select 'xxxx'::text AS ssn from customers"
    assert intent.text == "select ssn from customers"
    assert intent.mask_plan == "d1"


def test_parse_forwards_the_rewritten_statement_with_its_types() -> None:
    """Name and parameter types stay as they came."""
    _, book = session(MASK)
    types = struct.pack("!HI", 1, 23)
    book >> Bytes(CLIENT, s.frame(ord("P"), b"s1\0select ssn from customers where id = $1\0" + types) + s.SYNC)
    [(_, body), _] = s.messages(book.sent(SERVER))
    assert body == b"s1\0select 'xxxx'::text AS ssn from customers where id = $1\0" + types


def test_without_a_catalogue_a_due_mask_refuses() -> None:
    """A mask that cannot be planned is a refusal, never a pass (I3)."""
    world = World(rules=(s.ALLOW, MASK))
    book = world.session()
    book >> Bytes(CLIENT, s.query("select ssn from customers"))
    assert book.sent(SERVER) == b""
    assert s.errors(book.sent(CLIENT))[0]["C"] == "42501"


def test_a_plan_that_raises_refuses() -> None:
    """Analysis that breaks is a refusal, and nothing is forwarded."""
    world = World(rules=(s.ALLOW, MASK), snapshot=lambda step: probed())

    def broken(text: str) -> Masked:
        raise RuntimeError("a bug")

    book = masking(world.session(), broken)
    book >> Bytes(CLIENT, s.query("select ssn from customers"))
    assert book.sent(SERVER) == b""
    assert s.errors(book.sent(CLIENT))[0]["C"] == "XX000"


@pytest.mark.parametrize("extended", [False, True])
def test_the_second_witness_ends_the_session(extended: bool) -> None:
    """A labelled column that shows up by itself in a RowDescription is a disagreement: nothing of it passes."""
    world, book = session(MASK)
    shown = s.columns("id", "ssn", table=16400)
    if extended:
        book >> Bytes(CLIENT, s.parse("select ssn from customers") + s.bind() + s.describe() + s.execute() + s.SYNC)
        book >> Bytes(SERVER, s.PARSED + s.BOUND + shown + s.row(b"1", SSN.encode()) + s.complete() + s.ready())
    else:
        book >> Bytes(CLIENT, s.query("select ssn from customers"))
        book >> Bytes(SERVER, shown + s.row(b"1", SSN.encode()) + s.complete() + s.ready())
    assert SSN.encode() not in book.sent(CLIENT)
    assert s.errors(book.sent(CLIENT))[-1]["S"] == "FATAL"
    assert book.is_closed
    assert all(o.status in (OutcomeStatus.REFUSED, OutcomeStatus.UNKNOWN) for o in world.log.outcomes)
    assert len(world.log.outcomes) == 1


SHOWN = s.columns("id", "ssn", table=16400)


def test_the_second_witness_sees_a_cursor_that_sql_declared() -> None:
    """Describe of a cursor names no statement: the labels in force are held against its columns."""
    _, book = session(MASK)
    book >> Bytes(CLIENT, s.query("begin; declare c cursor for select ssn from customers"))
    book >> Bytes(SERVER, s.complete("BEGIN") + s.complete("DECLARE CURSOR") + s.ready("T"))
    book >> Bytes(CLIENT, s.describe("P", "c") + s.SYNC) >> Bytes(SERVER, SHOWN + s.ready("T"))
    assert s.errors(book.sent(CLIENT))[-1]["S"] == "FATAL"
    assert book.is_closed


@pytest.mark.parametrize("text", ["fetch all from c", "execute p", "select id from customers"])
def test_rows_without_a_describe_have_a_witness_too(text: str) -> None:
    """A client that executes and never asks for columns: the gateway asks, and keeps the answer to itself."""
    _, book = session(MASK)
    book >> Bytes(CLIENT, s.parse(text) + s.bind() + s.execute() + s.SYNC)
    assert s.kinds(book.sent(SERVER)) == "PBDES"
    book >> Bytes(SERVER, s.PARSED + s.BOUND + SHOWN + s.row(b"1", SSN.encode()) + s.complete() + s.ready())
    assert SSN.encode() not in book.sent(CLIENT)
    assert "T" not in s.kinds(book.sent(CLIENT))
    assert book.is_closed


def test_nothing_is_asked_where_no_rows_can_come() -> None:
    """A statement without rows costs no question of the gateway's own."""
    _, book = session(MASK)
    book >> Bytes(CLIENT, s.parse("insert into customers values (1)") + s.bind() + s.execute() + s.SYNC)
    assert s.kinds(book.sent(SERVER)) == "PBES"


LEAKS = [
    ("22P02", f'invalid input syntax for type integer: "{SSN}"', {}),
    ("23505", "duplicate key value violates unique constraint", {"D": f"Key (ssn)=({SSN}) already exists."}),
    ("23514", "new row violates check constraint", {"D": f"Failing row contains (1, {SSN})."}),
    ("P0001", f"value is {SSN}", {"W": "PL/pgSQL function f() line 3 at RAISE"}),
    ("42P01", f"relation {SSN}", {"W": "PL/pgSQL function f() line 3 at RAISE"}),
    ("12345", SSN, {}),
    ("42P01", f'relation "{SSN}" does not exist', {}),
    ("42704", f'unrecognized configuration parameter "a{SSN}"', {}),
    ("42601", f'syntax error in tsquery: "a {SSN}"', {}),
    ("42703", f'column "{SSN}" of relation "people" does not exist', {}),
    ("3F000", f'schema "{SSN}" does not exist', {}),
    ("34000", f'cursor "{SSN}" does not exist', {}),
    ("22012", "division by zero", {"W": f"SQL function {SSN}", "q": SSN, "H": SSN}),
]


@pytest.mark.parametrize(("code", "message", "more"), LEAKS)
def test_errors_of_statements_that_touch_labels_are_rebuilt(code: str, message: str, more: dict[str, str]) -> None:
    """No text that could hold a value reaches the client; SQLSTATE and severity do."""
    _, book = session(MASK)
    book >> Bytes(CLIENT, s.query("select id from customers"))
    book >> Bytes(SERVER, s.error(code, message, **more) + s.ready())
    assert SSN.encode() not in book.sent(CLIENT)
    [found] = s.errors(book.sent(CLIENT))
    assert found["C"] == (code if code != "12345" else "XX000")
    assert found["S"] == "ERROR"


def test_constraint_and_relation_stay_in_a_rebuilt_error() -> None:
    """An agent can still see which constraint it ran into."""
    _, book = session(MASK)
    book >> Bytes(CLIENT, s.query("insert into customers values (1)"))
    book >> Bytes(SERVER, s.error("23505", "x", t="customers", n="customers_pkey", c="ssn") + s.ready())
    [found] = s.errors(book.sent(CLIENT))
    assert (found["t"], found["n"]) == ("customers", "customers_pkey")


def test_errors_that_hold_no_value_keep_their_words() -> None:
    """An unknown column or a missing right is said in the server's words, without a misleading position."""
    _, book = session(MASK)
    book >> Bytes(CLIENT, s.query("select ssn, nope from customers"))
    book >> Bytes(SERVER, s.error("42703", 'column "nope" does not exist', P="99") + s.ready())
    [found] = s.errors(book.sent(CLIENT))
    assert found["M"] == 'column "nope" does not exist'
    assert "P" not in found


def test_notices_of_such_statements_are_dropped() -> None:
    """A NOTICE is data."""
    _, book = session(MASK)
    book >> Bytes(CLIENT, s.query("select id from customers")) >> Bytes(SERVER, s.notice("00000", SSN))
    assert book.sent(CLIENT) == b""


def test_a_deferred_error_at_commit_is_rebuilt() -> None:
    """The statement that fails is COMMIT, the value is that of an earlier one."""
    _, book = session(MASK)
    book >> Bytes(CLIENT, s.query("begin")) >> Bytes(SERVER, s.complete("BEGIN") + s.ready("T"))
    book >> Bytes(CLIENT, s.query("update customers set id = 2")) >> Bytes(SERVER, s.complete("UPDATE 1") + s.ready("T"))
    book >> Bytes(CLIENT, s.query("commit")) >> Bytes(SERVER, s.error("23503", "x", D=f"Key (ssn)=({SSN})") + s.ready())
    assert SSN.encode() not in book.sent(CLIENT)


def test_notifications_lose_their_payload_where_masks_are_in_force() -> None:
    """A NOTIFY payload is data of another session."""
    _, book = session(MASK)
    book >> Bytes(CLIENT, s.query("listen c")) >> Bytes(SERVER, s.complete("LISTEN") + s.ready())
    before = len(book.sent(CLIENT))
    book >> Bytes(SERVER, s.frame(ord("A"), b"\0\0\0\1c\0" + SSN.encode() + b"\0"))
    assert s.messages(book.sent(CLIENT)[before:]) == [("A", b"\0\0\0\1c\0\0")]


def test_detectors_see_text_and_binary_rows() -> None:
    """The detector's plan has types and formats from RowDescription or Bind."""
    world, book = session(CARDS)
    book >> Bytes(CLIENT, s.query("select card from t"))
    book >> Bytes(SERVER, s.columns("card") + s.row(CARD) + s.complete() + s.ready())
    book >> Bytes(CLIENT, s.parse("select n from t") + s.bind(results=[1]) + s.describe() + s.execute() + s.SYNC)
    binary = struct.pack("!q", int(CARD))
    book >> Bytes(SERVER, s.PARSED + s.BOUND + s.columns("n", types=[20], formats=[1]) + s.row(binary) + s.complete() + s.ready())
    assert CARD not in book.sent(CLIENT)
    assert binary not in book.sent(CLIENT)
    assert [o.masked for o in world.log.outcomes] == [{"credit_card": 1}, {"credit_card": 1}]


def test_columns_are_asked_for_where_the_client_did_not() -> None:
    """An Execute without a Describe gets its types by a Describe of our own, whose answer stays here."""
    _, book = session(CARDS)
    book >> Bytes(CLIENT, s.parse("select n from t") + s.bind(results=[1]) + s.execute() + s.SYNC)
    assert s.kinds(book.sent(SERVER)) == "PBDES"
    binary = struct.pack("!q", int(CARD))
    book >> Bytes(SERVER, s.PARSED + s.BOUND + s.columns("n", types=[20], formats=[1]) + s.row(binary) + s.complete() + s.ready())
    assert s.kinds(book.sent(CLIENT)) == "12DCZ"
    assert binary not in book.sent(CLIENT)


def test_errors_with_detected_content_are_rebuilt() -> None:
    """A detector in force looks at error texts too."""
    _, book = session(CARDS)
    book >> Bytes(CLIENT, s.query("insert into t values (1)"))
    book >> Bytes(SERVER, s.error("23505", "duplicate", D=f"Key (card)=({CARD.decode()}) exists") + s.ready())
    assert CARD not in book.sent(CLIENT)
    assert s.errors(book.sent(CLIENT))[0]["C"] == "23505"


@pytest.mark.parametrize("more", [{}, {"P": "8"}])
def test_what_a_detector_finds_in_a_plain_text_is_withheld(more: dict[str, str]) -> None:
    """Functions that look something up by name say what they were given."""
    _, book = session(CARDS)
    book >> Bytes(CLIENT, s.query("select body::regclass from t"))
    book >> Bytes(SERVER, s.error("42P01", f'relation "{CARD.decode()}" does not exist', **more) + s.ready())
    assert CARD not in book.sent(CLIENT)
    assert s.errors(book.sent(CLIENT))[0]["C"] == "42P01"


def test_a_row_that_does_not_add_up_ends_the_session_unseen() -> None:
    """A mask stage that raises lets nothing of the chunk through (I3)."""
    world, book = session(CARDS)
    book >> Bytes(CLIENT, s.query("select card from t"))
    broken = s.frame(ord("D"), b"\0\1\0\0\0\xff" + CARD)
    book >> Bytes(SERVER, s.columns("card") + broken + s.complete() + s.ready())
    assert CARD not in book.sent(CLIENT)
    assert book.is_closed
    assert [o.status for o in world.log.outcomes] == [OutcomeStatus.REFUSED]


def test_a_row_above_the_limit_of_inspection_is_refused() -> None:
    """What is too large to be looked at is denied, not passed."""
    world, book = session(CARDS)
    book >> Bytes(CLIENT, s.query("select card from t"))
    book >> Bytes(SERVER, s.columns("card") + b"D" + (17 << 20).to_bytes(4, "big") + b"\0\1" + CARD)
    assert CARD not in book.sent(CLIENT)
    assert s.errors(book.sent(CLIENT))[-1]["C"] == "54000"
    assert [o.status for o in world.log.outcomes] == [OutcomeStatus.REFUSED]


def test_a_plan_that_changed_since_parse_is_refused() -> None:
    """The statement that the backend holds is not the one that the new masks ask for: prepare again."""
    world = World(rules=(s.ALLOW, MASK), snapshot=lambda step: probed())
    plans = iter(["select 1", "select 2"])
    book = world.session()
    s.state_of(book).reader.analyzer.mask = lambda *a: Masked(next(plans), True, "d", frozenset())  # type: ignore[method-assign]
    book >> Bytes(CLIENT, s.parse("select id from customers", "s1") + s.SYNC) >> Bytes(SERVER, s.PARSED + s.ready())
    book >> Bytes(CLIENT, s.bind("s1") + s.execute() + s.SYNC)
    book >> Bytes(SERVER, s.BOUND + s.error("34000") + s.ready())
    [found] = s.errors(book.sent(CLIENT))
    assert (found["C"], found["M"], found["R"]) == ("0A000", "cached plan must not change result type", "RevalidateCachedQuery")


def test_own_ddl_asks_for_a_new_catalogue() -> None:
    """After the session's own committed DDL the next statement is judged by a newer catalogue."""
    asked: list[int | None] = []

    def snapshot(step: Any) -> Catalogue:
        asked.append(step.newer_than)
        return probed()

    world = World(rules=(s.ALLOW, MASK), snapshot=snapshot)
    book = masking(world.session())
    book >> Bytes(CLIENT, s.query("create table a (b int)") + s.query("select 1"))
    assert s.kinds(book.sent(SERVER)) == "Q"
    book >> Bytes(SERVER, s.complete("CREATE TABLE") + s.ready())
    assert s.kinds(book.sent(SERVER)) == "QQ"
    assert asked == [None, 1]


def test_names_of_own_ddl_are_forgotten_once_the_catalogue_knows_them() -> None:
    """A relation that the session made and committed is like any other's; temporary ones stay its own."""
    known = iter([probed(1), probed(2), probed(3, "v", "w")])
    world = World(rules=(s.ALLOW, MASK), snapshot=lambda step: next(known))
    book = masking(world.session())
    names = s.state_of(book).names
    book >> Bytes(CLIENT, s.query("create view v as select 1")) >> Bytes(SERVER, s.complete() + s.ready())
    book >> Bytes(CLIENT, s.query("create temp table w (a int)"))
    assert names.has_relation(None, "v")
    book >> Bytes(SERVER, s.complete() + s.ready())
    book >> Bytes(CLIENT, s.query("select 1"))
    assert not names.has_relation(None, "v")
    assert names.has_relation(None, "w")
    assert not names.has_relation("p", "w")


def test_names_stay_until_the_transaction_is_over() -> None:
    """Inside an open block no catalogue can know what it made."""
    asked: list[int | None] = []

    def snapshot(step: Any) -> Catalogue:
        asked.append(step.newer_than)
        return probed(len(asked), "v")

    book = masking(World(rules=(s.ALLOW, MASK), snapshot=snapshot).session())
    names = s.state_of(book).names
    for text, status in (("begin", "T"), ("create table v ()", "T"), ("select 1", "T")):
        book >> Bytes(CLIENT, s.query(text)) >> Bytes(SERVER, s.complete() + s.ready(status))
        assert names.has_relation(None, "v") == (text != "begin")
    book >> Bytes(CLIENT, s.query("commit")) >> Bytes(SERVER, s.complete() + s.ready())
    book >> Bytes(CLIENT, s.query("select 1"))
    assert not names.has_relation(None, "v")
    assert asked == [None, None, None, None, 4]


def test_a_catalogue_that_cannot_be_read_after_own_ddl_is_asked_for_again() -> None:
    """A probe that failed leaves the catalogue as old as it was."""
    asked: list[int | None] = []
    answers = [probed(7), Refusal(RefusalCode.BACKEND_UNAVAILABLE, "gone"), probed(8)]

    def snapshot(step: Any) -> Any:
        asked.append(step.newer_than)
        return answers[len(asked) - 1]

    book = masking(World(rules=(s.ALLOW, MASK), snapshot=snapshot).session())
    book >> Bytes(CLIENT, s.query("create table a (b int)")) >> Bytes(SERVER, s.complete() + s.ready())
    book >> Bytes(CLIENT, s.query("select 1"))
    book >> Bytes(CLIENT, s.query("select 1"))
    assert asked == [None, 7, 7]


def test_a_refusal_of_the_mask_plan_names_what_to_do() -> None:
    """A mask that this statement's shape cannot carry is 42501 with a hint."""
    world = World(rules=(s.ALLOW, MASK), snapshot=lambda step: probed())
    book = masking(world.session(), lambda text: Refusal(RefusalCode.NOT_ENFORCEABLE, "cannot mask this", hint="write it so"))
    book >> Bytes(CLIENT, s.query("select id from customers"))
    [found] = s.errors(book.sent(CLIENT))
    assert (found["C"], found["H"]) == ("42501", "write it so")


def test_names_are_confirmed_between_transactions_only() -> None:
    """While a block is open or something is on its way, a catalogue may know another relation of that name."""
    book = masking(World(rules=(s.ALLOW, MASK), snapshot=lambda step: probed(2, "v")).session())
    state = s.state_of(book)
    book >> Bytes(CLIENT, s.query("begin")) >> Bytes(SERVER, s.complete("BEGIN") + s.ready("T"))
    state.is_unconfirmed = True
    state.names.create("v")
    book >> Bytes(CLIENT, s.query("select 1")) >> Bytes(SERVER, s.complete() + s.ready("T"))
    assert state.names.has_relation(None, "v")
    book >> Bytes(CLIENT, s.query("commit")) >> Bytes(SERVER, s.complete("COMMIT") + s.ready())
    book >> Bytes(CLIENT, s.query("select 1"))
    assert not state.names.has_relation(None, "v")
