"""Recorded bytes of both directions → what was asked and what came back."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from lockgate.audit.recording.events import Event
from lockgate.kernel.frames import frame
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.recorded import SqlDecoder

FLUSHED = m.FLUSH_FRAME
SYNCED = m.SYNC_FRAME
INT4, TEXT = 23, 25


def columns(*names: str, oid: int = TEXT, form: int = 0) -> bytes:
    made = b"".join(name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, oid, -1, -1, form) for name in names)
    return frame(m.ROW_DESCRIPTION, struct.pack("!H", len(names)) + made)


def row(*cells: bytes | None) -> bytes:
    made = b"".join(b"\xff\xff\xff\xff" if cell is None else struct.pack("!i", len(cell)) + cell for cell in cells)
    return frame(m.DATA_ROW, struct.pack("!H", len(cells)) + made)


def done(tag: str) -> bytes:
    return frame(m.COMMAND_COMPLETE, tag.encode() + b"\0")


def problem(code: str) -> bytes:
    return codec.fields(m.ERROR_RESPONSE, [("S", "ERROR"), ("V", "ERROR"), ("C", code), ("M", "no")])


def bind(values: Sequence[bytes | None] = (), results: tuple[int, ...] = (), *, portal: bytes = b"", statement: bytes = b"",
         formats: tuple[int, ...] = ()) -> bytes:
    return codec.bind(codec.Bind(portal, statement, formats, tuple(values), results))


PARSED, BOUND, CLOSED = frame(m.PARSE_COMPLETE, b""), frame(m.BIND_COMPLETE, b""), frame(m.CLOSE_COMPLETE, b"")
NOTHING = frame(m.NO_DATA, b"")


def shown(*pieces: tuple[str, bytes]) -> list[tuple[str, object]]:
    """What pieces of both directions show, without the settings: kind and the field that says it."""
    decoder, found = SqlDecoder(), []
    key = {"statement": "text", "row": "values", "columns": "names", "done": "tag", "error": "code", "prepare": "name",
           "copy_in": "text", "copy_out": "text", "notice": "message", "notification": "channel", "unreadable": "text",
           "setting": "name"}
    for kind, data in pieces:
        for one in decoder.take(Event(1.0, kind, data)):
            found.append((one.kind, one.fields.get(key[one.kind])))
    return found


SESSION = [
    ("i", codec.query("SELECT 1; SELECT 2")),
    ("o", columns("one") + row(b"1") + done("SELECT 1") + columns("two") + row(None) + done("SELECT 1") + codec.ready(m.IDLE)),
    ("i", codec.parse(b"s", "SELECT $1::int", struct.pack("!HI", 1, INT4)) + codec.target(m.DESCRIBE, b"S", b"s") + SYNCED),
    ("o", PARSED + frame(m.PARAMETER_DESCRIPTION, struct.pack("!HI", 1, INT4)) + columns("n", oid=INT4) + codec.ready(m.IDLE)),
    ("i", bind([b"\0\0\0\7"], (1,), statement=b"s", formats=(1,)) + codec.execute(b"") + SYNCED),
    ("o", BOUND + row(b"\0\0\0\7") + done("SELECT 1") + codec.ready(m.IDLE)),
]
SHOWN = [
    ("statement", "SELECT 1; SELECT 2"), ("columns", ["one"]), ("row", ["1"]), ("done", "SELECT 1"), ("columns", ["two"]),
    ("row", [None]), ("done", "SELECT 1"), ("prepare", "s"), ("statement", "SELECT $1::int"), ("columns", ["n"]),
    ("row", ["7"]), ("done", "SELECT 1"),
]


def test_a_statement_that_is_executed_again_knows_its_columns() -> None:
    """Binary rows without a RowDescription of their own, as drivers read them."""
    assert shown(*SESSION) == SHOWN


@given(st.lists(st.integers(1, 40), max_size=12))
def test_any_split_shows_the_same(sizes: list[int]) -> None:
    """Recorded pieces end where reads ended."""
    pieces = []
    for kind, data in SESSION:
        at = 0
        for size in sizes:
            pieces.append((kind, data[at:at + size]))
            at += size
        pieces.append((kind, data[at:]))
    assert shown(*pieces) == SHOWN


def test_an_error_discards_what_was_sent_up_to_the_sync() -> None:
    """The rows behind it are those of the next statement, whether the Sync was sent before or after it."""
    first = codec.parse(b"", "SELECT oops") + bind() + codec.execute(b"")
    then = codec.parse(b"", "SELECT 2") + bind() + codec.target(m.DESCRIBE, b"P", b"") + codec.execute(b"") + SYNCED
    answer = PARSED + BOUND + columns("two") + row(b"2") + done("SELECT 1") + codec.ready(m.IDLE)
    wanted = [("statement", "SELECT oops"), ("statement", "SELECT oops"), ("error", "42703"), ("statement", "SELECT 2"),
              ("columns", ["two"]), ("row", ["2"]), ("done", "SELECT 1")]
    failed = problem("42703")
    assert shown(("i", first + SYNCED), ("o", failed + codec.ready(m.IDLE)), ("i", then), ("o", answer)) == wanted
    assert shown(("i", first), ("o", failed), ("i", SYNCED), ("o", codec.ready(m.IDLE)), ("i", then), ("o", answer)) == wanted


def test_a_portal_that_is_fetched_in_parts() -> None:
    """Each Execute has its own end."""
    asked = codec.parse(b"", "SELECT n") + bind(portal=b"p") + codec.target(m.DESCRIBE, b"P", b"p") + codec.execute(b"p", 1)
    assert shown(
        ("i", asked + FLUSHED), ("o", PARSED + BOUND + columns("n") + row(b"1") + frame(m.PORTAL_SUSPENDED, b"")),
        ("i", codec.execute(b"p", 1) + codec.target(m.CLOSE, b"P", b"p") + SYNCED),
        ("o", row(b"2") + done("SELECT 1") + CLOSED + codec.ready(m.IDLE)),
    ) == [("statement", "SELECT n"), ("columns", ["n"]), ("row", ["1"]), ("done", "(more rows wait)"),
          ("statement", "SELECT n"), ("columns", ["n"]), ("row", ["2"]), ("done", "SELECT 1")]


def test_copies_in_both_directions() -> None:
    """Data as text, or in hex where it is none; Syncs that a copying backend ignores are not waited for."""
    begin_in = frame(m.COPY_IN_RESPONSE, b"\0\0\0")
    begin_out = frame(m.COPY_OUT_RESPONSE, b"\0\0\0")
    asked = codec.parse(b"", "COPY t FROM STDIN") + bind() + codec.execute(b"") + SYNCED
    assert shown(
        ("i", asked), ("o", PARSED + BOUND + begin_in), ("i", frame(m.COPY_DATA, b"1\n") + frame(m.COPY_DONE, b"") + SYNCED),
        ("o", done("COPY 1") + codec.ready(m.IDLE)),
        ("i", codec.query("COPY t TO STDOUT")),
        ("o", begin_out + frame(m.COPY_DATA, b"\xff") + frame(m.COPY_DONE, b"") + done("COPY 1") + codec.ready(m.IDLE)),
        ("i", codec.query("COPY t FROM STDIN")), ("o", begin_in), ("i", frame(m.COPY_FAIL, b"never mind\0")),
        ("o", problem("57014") + codec.ready(m.IDLE)),
    ) == [("statement", "COPY t FROM STDIN"), ("copy_in", "1\n"), ("done", "COPY 1"), ("statement", "COPY t TO STDOUT"),
          ("copy_out", "\\xff"), ("done", "COPY 1"), ("statement", "COPY t FROM STDIN"), ("copy_in", None), ("error", "57014")]


def test_what_comes_at_any_time() -> None:
    """Notices, notifications and settings belong to no statement; an empty query has an end."""
    assert shown(
        ("o", codec.fields(m.NOTICE_RESPONSE, [("S", "NOTICE"), ("M", "by the way")]) + codec.parameter_status("TimeZone", "UTC")
         + frame(m.NOTIFICATION, struct.pack("!I", 1) + b"news\0it rains\0")),
        ("i", codec.query("")), ("o", frame(m.EMPTY_QUERY, b"") + codec.ready(m.IDLE)),
    ) == [("notice", "by the way"), ("setting", "TimeZone"), ("notification", "news"), ("statement", ""), ("done", "(empty)")]


@given(st.lists(st.tuples(st.sampled_from("io"), st.binary(max_size=60)), max_size=20))
def test_bytes_that_do_not_add_up_are_shown_and_end_their_direction(pieces: list[tuple[str, bytes]]) -> None:
    """Nothing is raised, whatever was recorded: the other direction goes on."""
    decoder = SqlDecoder()
    for kind, data in pieces:
        decoder.take(Event(0.0, kind, data))
    broken = SqlDecoder()
    assert [one.kind for one in broken.take(Event(0.0, "i", b"Q\0\0\0\1junk"))] == ["unreadable"]
    assert broken.take(Event(0.0, "i", codec.query("SELECT 1"))) == []
    assert [one.kind for one in broken.take(Event(0.0, "o", row(b"1")))] == ["row"]
