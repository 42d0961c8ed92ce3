"""What a session of HTTP leaves in its recording: the mediator, the tap and the decoder together, without sockets."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any

import orjson
import pytest

from lockgate.audit.recording.events import INPUT, OUTPUT, Event, Header
from lockgate.audit.recording.shown import Shown
from lockgate.model import ColumnMask, DetectMask, MaskMethod, RequestAction, RequestCheck, Rule
from lockgate.protocols.http.archives import json_lines
from lockgate.protocols.http.recorded import HttpDecoder
from lockgate.protocols.http.recording import HttpTap, socket_message
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from lockgate.wire.steps import Passed, Side
from lockgate.wire.tap import Shares, Taken
from tests.protocols.http import sockets as w
from tests.protocols.http.scene import ALLOW, SECRET, TOKEN, World, answer, connection, request

HIDE = Rule("hide", masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),))


class Wire:
    """A recording in memory, and what its pieces are shown as."""

    def __init__(self, text: int = 1_000, binary: int = 10) -> None:
        self.pieces: list[Taken] = []
        self.numbers = 0
        self.tap = HttpTap(self.number, Shares(text, binary))

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def told(self, data: bytes) -> bool:
        self.pieces += self.tap.told(data)
        return True

    def passed(self, step: Passed) -> bool:
        self.pieces += self.tap.passed(step.source, step.data, step.part, step.left_out)
        return True

    @property
    def raw(self) -> bytes:
        return b"\n".join(piece.data for piece in self.pieces)

    @property
    def shown(self) -> list[Shown]:
        decoder = HttpDecoder()
        return [one for number, piece in enumerate(self.pieces) for one in decoder.take(Event(
            float(number), INPUT if piece.source is Side.CLIENT else OUTPUT, piece.data,
            {"x": piece.exchange, "p": piece.part}))]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [dict(one.fields) for one in self.shown if one.kind == kind]


def test_a_request_as_it_went_on_and_an_answer_as_the_client_got_it() -> None:
    """Masked, with the head and the content, without the token and without the backend's credential; two pieces in all."""
    wire = Wire()
    book = World(rules=(ALLOW, HIDE), wire=wire).book()
    book >> Bytes(CLIENT, request("POST", "/customers?a=1", b'{"name":"ann"}', Content_Type="application/json"))
    book >> Bytes(SERVER, answer(b'{"ssn":"219-09-9999"}'))
    assert [(piece.source, piece.exchange, piece.part, piece.more) for piece in wire.pieces] == [
        (CLIENT, 1, "m", False), (SERVER, 1, "m", False)]
    (asked,), (answered,) = wire.of("request"), wire.of("response")
    assert (asked["method"], asked["target"], asked["text"]) == ("POST", "/customers?a=1", '{"name":"ann"}')
    assert ["Host", "crm.internal:8080"] in asked["fields"]
    assert (answered["of"], answered["status"], answered["text"], answered["seconds"]) == (1, 200, '{"ssn":"xxxx"}', 1.0)
    assert SECRET.encode() in book.sent(SERVER)
    for hidden in (SECRET.encode(), TOKEN, b"219-09"):
        assert hidden not in wire.raw


def test_nothing_is_said_of_a_session_that_is_not_recorded() -> None:
    """Not a step more than without the feature."""
    seen: list[str] = []

    for wire in (None, Wire()):
        book = World(wire=wire).book()
        carry = book._carry_out
        steps: list[str] = []
        book._carry_out = lambda step, steps=steps, carry=carry: (steps.append(type(step).__name__), carry(step))[1]  # type: ignore[method-assign]
        book >> Bytes(CLIENT, request()) >> Bytes(SERVER, answer())
        seen.append(" ".join(steps))
    assert "Passed" not in seen[0]
    assert seen[1].replace("Passed ", "") == seen[0]


def test_a_replaced_value_is_recorded_as_replaced() -> None:
    """What request inspection takes out of a request is not in its recording."""
    wire = Wire()
    check = Rule("look", requests=(RequestCheck(("credit_card",), RequestAction.MASK),))
    book = World(rules=(ALLOW, check), wire=wire).book()
    book >> Bytes(CLIENT, request("POST", "/x", b'{"note":"4111 1111 1111 1111"}', Content_Type="application/json"))
    assert b"4111 1111 1111 1111" not in wire.raw
    assert wire.of("request")[0]["text"].encode() in book.sent(SERVER)


def test_a_request_that_is_refused_is_there_with_its_refusal() -> None:
    """Its line and harmless fields, and that it did not go on; not its content, and no token."""
    wire = Wire()
    book = World(wire=wire).book()
    book >> Bytes(CLIENT, request("DELETE", "/customers/1", b"why: 219-09-9999", X_Note="private"))
    (asked,), (end,), (answered,) = wire.of("request"), wire.of("end"), wire.of("response")
    assert (asked["method"], asked["target"]) == ("DELETE", "/customers/1")
    assert {name.lower() for name, _ in asked["fields"]} == {"host", "content-length"}
    assert (end["from"], end["refused"], end["left_out"]) == ("request", True, 16)
    assert (answered["of"], answered["status"]) == (1, 403)
    assert all(piece.left_out == 0 for piece in wire.pieces), "nothing is missing of what passed"
    assert TOKEN not in wire.raw
    assert b"219-09" not in wire.raw


def test_what_cannot_be_read_as_a_request_has_an_answer_all_the_same() -> None:
    """An answer without a request is an exchange of its own; the one before is not touched."""
    wire = Wire()
    book = World(wire=wire).book()
    book >> Bytes(CLIENT, request()) >> Bytes(SERVER, answer()) >> Bytes(CLIENT, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert [(one["of"], one["status"]) for one in wire.of("response")] == [(1, 200), (2, 400)]
    assert [one["number"] for one in wire.of("request")] == [1]


def test_a_refusal_of_head_has_no_content() -> None:
    """The length that it names is not waited for: the next answer is the next exchange's."""
    wire = Wire()
    book = World(rules=(ALLOW, Rule("no", when='op.path == "/no"', deny="no")), wire=wire).book()
    book >> Bytes(CLIENT, request("HEAD", "/no")) >> Bytes(CLIENT, request()) >> Bytes(SERVER, answer())
    assert [(one["of"], one["status"], one.get("text")) for one in wire.of("response")] == [(1, 403, None), (2, 200, '{"ok":true}')]


def test_compressed_content_is_recorded_in_plain() -> None:
    """As a search and the net for credentials need it; the head still says what was on the wire."""
    wire = Wire()
    book = World(wire=wire).book()
    book >> Bytes(CLIENT, request("POST", "/x", gzip.compress(b'{"q":"plain"}'), Content_Type="application/json",
                                  Content_Encoding="gzip"))
    book >> Bytes(SERVER, answer(gzip.compress(b'{"a":"plain too"}'), Content_Encoding="gzip"))
    assert wire.of("request")[0]["text"] == '{"q":"plain"}'
    assert wire.of("response")[0]["text"] == '{"a":"plain too"}'


def test_content_that_is_not_of_its_coding_is_left_out_and_said_so() -> None:
    """Nothing is guessed, and the answer passes as it is."""
    wire = Wire()
    book = World(wire=wire).book()
    book >> Bytes(CLIENT, request()) >> Bytes(SERVER, answer(b"no gzip at all", Content_Encoding="gzip"))
    (end,) = wire.of("end")
    assert (end["size"], end["kept"], end["left_out"]) == (14, 0, 14)
    assert "coding" in end["fault"]
    assert sum(piece.left_out for piece in wire.pieces) == 14


@pytest.mark.parametrize(("media_type", "kept"), [("text/plain", 1_000), ("image/png", 10)])
def test_large_content_is_recorded_up_to_its_share(media_type: str, kept: int) -> None:
    """And the end says how much there was, how much is here, and the digest of all of it."""
    wire, content = Wire(), bytes(range(256)) * 20
    book = World(wire=wire).book()
    book >> Bytes(CLIENT, request())
    data = answer(content, media_type=media_type)
    for start in range(0, len(data), 700):
        book >> Bytes(SERVER, data[start:start + 700])
    (end,) = wire.of("end")
    assert (end["size"], end["kept"], end["left_out"]) == (5_120, kept, 5_120 - kept)
    assert end["sha256"] == hashlib.sha256(content).hexdigest()
    assert b"".join(piece.data for piece in wire.pieces if piece.part == "c") == content[:kept]
    assert sum(piece.left_out for piece in wire.pieces) == 5_120 - kept


def test_what_comes_behind_the_share_is_counted() -> None:
    """Of content that goes on as it comes: nothing more is kept, and the size and the digest are of all of it."""
    wire = Wire()
    wire.pieces += wire.tap.passed(CLIENT, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "m", 0)
    wire.told(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(10):
        wire.told(b"190\r\n" + b"%d" % number * 400 + b"\r\n")
    wire.told(b"0\r\n\r\n")
    (end,) = wire.of("end")
    assert (end["size"], end["kept"], end["left_out"]) == (4_000, 1_000, 3_000)
    assert end["sha256"] == hashlib.sha256(b"".join(b"%d" % number * 400 for number in range(10))).hexdigest()
    assert sum(piece.left_out for piece in wire.pieces) == 3_000


def test_a_compressed_bomb_is_recorded_up_to_its_share() -> None:
    """What it comes to is not kept beyond it."""
    wire = Wire()
    book = World(wire=wire).book()
    bomb = gzip.compress(b"x" * 3_000_000)
    book >> Bytes(CLIENT, request()) >> Bytes(SERVER, answer(bomb, media_type="text/plain", Content_Encoding="gzip"))
    (end,) = wire.of("end")
    assert (end["size"], end["kept"]) == (len(bomb), 1_000)
    assert end["left_out"] > 0


def test_a_stream_of_events_is_recorded_to_its_end() -> None:
    """Piece by piece, each when it came, and beyond the share of a content."""
    wire = Wire(text=10)
    book = World(wire=wire).book()
    book >> Bytes(CLIENT, request())
    book >> Bytes(SERVER, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(5):
        book >> Bytes(SERVER, b"10\r\ndata: event %02d\n\n\r\n" % number)
    book >> Bytes(SERVER, b"0\r\n\r\n")
    assert [one["text"] for one in wire.of("content") if "text" in one] == [f"data: event {n:02d}\n\n" for n in range(5)]
    assert (wire.of("end")[0]["size"], "sha256" in wire.of("end")[0]) == (80, False)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_pieces_of_any_size_come_to_the_same(size: int) -> None:
    """An answer is what it is, however it arrives."""
    wire = Wire()
    book = World(rules=(ALLOW, HIDE), wire=wire).book()
    book >> Bytes(CLIENT, request())
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + answer('{"ssn":"1","n":"\u20ac"}'.encode())
    for start in range(0, len(data), size):
        book >> Bytes(SERVER, data[start:start + size])
    assert wire.of("response")[0]["text"] == '{"ssn":"xxxx","n":"\u20ac"}'


def test_content_that_goes_on_as_it_comes() -> None:
    """A large upload is recorded while it passes; an answer that comes before its end belongs to it."""
    wire = Wire(text=200_000)
    book = World(wire=wire).book()
    book >> Bytes(CLIENT, b"POST /up HTTP/1.1\r\nHost: crm.example\r\nAuthorization: Bearer %b\r\n"
                  b"Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" % TOKEN)
    for _ in range(3):
        book >> Bytes(CLIENT, b"9c40\r\n" + b"y" * 40_000 + b"\r\n")
    assert wire.of("request")[0]["more"]
    book >> Bytes(CLIENT, b"0\r\nX-Sum: 1\r\n\r\n") >> Bytes(SERVER, answer())
    (end,) = wire.of("end")
    assert (end["size"], end["kept"], end["trailers"]) == (120_000, 120_000, [["X-Sum", "1"]])
    assert "".join(one["text"] for one in wire.of("content") if "text" in one) == "y" * 120_000
    assert wire.of("response")[0]["of"] == 1


def test_what_is_open_when_the_session_ends_says_so() -> None:
    """An answer that was cut is not taken for whole."""
    wire = Wire()
    book = World(wire=wire).book()
    book >> Bytes(CLIENT, request()) >> Bytes(
        SERVER, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    wire.pieces += wire.tap.closed()
    assert wire.of("end") == [{"of": 1, "from": "response", "seconds": 4.0, "size": 3, "kept": 3, "cut": "the session ended"}]


def test_an_answer_that_ends_with_the_connection_is_whole() -> None:
    """To an HTTP/1.0 client (RFC 9112 section 6.3)."""
    wire = Wire()
    wire.pieces += wire.tap.passed(CLIENT, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", 0)
    wire.told(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it")
    wire.pieces += wire.tap.closed()
    assert "cut" not in wire.of("end")[0]


def test_an_answer_that_begins_before_its_request_is_let_on() -> None:
    """A stream that is opened while a person is asked belongs to the request that comes then."""
    wire = Wire()
    wire.told(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n: wait\r\n")
    wire.pieces += wire.tap.passed(CLIENT, b"GET /mine HTTP/1.1\r\nHost: a\r\n\r\n", "", 0)
    wire.told(b"7\r\ndata: 1\r\n0\r\n\r\n")
    assert {piece.exchange for piece in wire.pieces} == {1}
    assert wire.of("request")[0]["target"] == "/mine"


def test_behind_a_switch_of_protocols_messages_are_recorded_as_they_are_said() -> None:
    """The wire's own bytes are not looked at; an export has the messages with the exchange that switched."""
    wire = Wire()
    wire.pieces += wire.tap.passed(
        CLIENT, b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "", 0)
    wire.told(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    wire.told(b"\x81\x02hi")
    for source, text in ((CLIENT, b"hello"), (SERVER, b"hi")):
        wire.passed(socket_message(source, text))
    wire.told(b"\x81\x02ho")
    wire.pieces += wire.tap.closed()
    assert [(one["of"], one["from"], one["text"]) for one in wire.of("socket")] == [(1, "request", "hello"), (1, "response", "hi")]
    assert sum(piece.left_out for piece in wire.pieces) == 0
    (_, line) = json_lines(Header("exchanges", "http", "5e55", "client", 0), wire.shown)
    assert [one["text"] for one in orjson.loads(line)["beside"]] == ["hello", "hi"]


def test_of_a_blind_tunnel_the_size_is_recorded() -> None:
    """Nobody can read what passes."""
    wire = Wire()
    wire.pieces += wire.tap.passed(CLIENT, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "", 0)
    wire.told(b"HTTP/1.1 200 Connection Established\r\n\r\n")
    wire.told(b"\x16\x03\x01" * 100)
    wire.pieces += wire.tap.closed()
    assert wire.of("end")[-1]["left_out"] == 300
    (_, line) = json_lines(Header("exchanges", "http", "5e55", "client", 0), wire.shown)
    assert orjson.loads(line)["response"]["left_out"] == 300
    assert sum(piece.left_out for piece in wire.pieces) == 300


def test_bytes_that_are_no_message_are_kept_as_they_are() -> None:
    """A tap never raises, and loses nothing."""
    wire = Wire()
    wire.told(b"HTTP/9 what\r\n\r\n")
    wire.pieces += wire.tap.passed(CLIENT, b"\x00\x01", "", 0)
    assert [one["text"] for one in wire.of("unreadable")] == [b"HTTP/9 what\r\n\r\n".hex(), "0001"]


@pytest.mark.parametrize("event", [
    Event(0.0, "i", b"x"), Event(0.0, "i", b"x", {"x": 1, "p": "m"}), Event(0.0, "o", b"HTTP/1.1 abc\r\n\r\n", {"x": 1, "p": "m"}),
    Event(0.0, "o", b"[]", {"x": 1, "p": "e"}), Event(0.0, "o", b"{", {"x": 1, "p": "e"}), Event(0.0, "i", b"x", {"x": "1", "p": 3}),
])
def test_a_decoder_shows_what_does_not_add_up(event: Event) -> None:
    """And goes on: who sends a recording may have made it."""
    (shown,) = HttpDecoder().take(event)
    assert shown.kind == "unreadable"


def test_content_in_another_character_set() -> None:
    """As its type says; one that nobody knows is read as UTF-8."""
    for charset, raw, text in (("latin-1", b"\xe9t\xe9", "\u00e9t\u00e9"), ("no-such", "\u00e9".encode(), "\u00e9")):
        wire = Wire()
        book = World(wire=wire).book()
        book >> Bytes(CLIENT, request()) >> Bytes(SERVER, answer(raw, media_type=f"text/plain; charset={charset}"))
        assert wire.of("response")[0]["text"] == text


def test_every_exchange_has_a_number_of_its_own() -> None:
    """Two streams of one connection take theirs from one count."""
    wire = Wire()
    other = HttpTap(wire.number, Shares(100, 100))
    wire.pieces += wire.tap.passed(CLIENT, b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "", 0)
    wire.pieces += other.passed(CLIENT, b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n", "", 0)
    wire.pieces += other.told(answer(b"{}"))
    wire.told(answer(b"[]"))
    assert [(one["number"], one["target"]) for one in wire.of("request")] == [(1, "/a"), (2, "/b")]
    assert [(one["of"], one["text"]) for one in wire.of("response")] == [(2, "{}"), (1, "[]")]


def test_two_detectors_and_a_mask_hide_the_same_in_the_recording_as_from_the_client() -> None:
    """The very bytes that the client got are what is recorded."""
    wire = Wire()
    rules = (ALLOW, HIDE, Rule("find", detects=(DetectMask(("credit_card",), MaskMethod.REDACT),)))
    book = World(rules=rules, connections=(connection(),), wire=wire).book()
    book >> Bytes(CLIENT, request()) >> Bytes(SERVER, answer(
        orjson.dumps({"ssn": "219-09-9999", "note": "4111 1111 1111 1111"}), X_Card="4111 1111 1111 1111"))
    assert b"4111" not in wire.raw
    head, _, body = book.sent(CLIENT).partition(b"\r\n\r\n")
    assert wire.of("response")[0]["text"].encode() == body
    assert all(f"{name}: {value}".encode() in head for name, value in wire.of("response")[0]["fields"])


MESSAGES = {
    "a document": (b"GET", answer(b'{"a":1}')),
    "no content": (b"GET", answer(b"")),
    "not found": (b"GET", answer(b"none", 404, "text/plain")),
    "to HEAD": (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n"),
    "204": (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304": (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
    "a picture": (b"GET", answer(b"\x89PNG\r\n", media_type="image/png")),
    "a larger picture": (b"GET", answer(b"\0" * 11, media_type="image/png")),
    "text beyond its share": (b"GET", answer(b"x" * 1_001, media_type="text/plain")),
    "text within its share": (b"GET", answer(b"x" * 1_000, media_type="Text/Plain; charset=utf-8")),
    "without a type": (b"GET", b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n" + b"y" * 20),
    "compressed": (b"GET", answer(gzip.compress(b"{}"), Content_Encoding="gzip")),
    "in chunks": (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "a length in the content": (b"GET", answer(b"\r\nContent-Length: 3\r\n\r\n", media_type="text/plain")),
    "refused tunnel": (b"CONNECT", answer(b"no", 403)),
    "behind an interim answer": (b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"{}")),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_that_comes_at_once_is_read_as_one_that_comes_in_pieces(name: str) -> None:
    """What is seen to be whole without being taken apart is what the reader finds; in both directions."""
    method, data = MESSAGES[name]
    asked = b"%b %b HTTP/1.1\r\nHost: a:1\r\n\r\n" % (method, b"a:1" if method == b"CONNECT" else b"/")
    head, _, content = data.partition(b"\r\n\r\n")
    sent = b"POST / HTTP/1.1\r\nHost: a:1\r\n" + head.partition(b"\r\n")[2] + b"\r\n\r\n" + content
    if name in ("to HEAD", "304", "behind an interim answer", "204", "without a type"):
        sent = asked
    found = []
    for size in (len(data), 5):
        wire = Wire()
        wire.pieces += wire.tap.passed(CLIENT, asked, "m" if size > 5 else "", 0)
        for start in range(0, len(data), size):
            wire.told(data[start:start + size])
        if size > 5:
            wire.pieces += wire.tap.passed(CLIENT, sent, "m", 0)
        else:
            for start in range(0, len(sent), size):
                wire.pieces += wire.tap.passed(CLIENT, sent[start:start + size], "", 0)
        whole: dict[tuple[object, str], dict[str, Any]] = {}
        for shown in wire.shown:
            side = shown.fields.get("from", shown.kind)
            message = whole.setdefault((shown.fields.get("of", shown.fields.get("number")), side), {})
            for field, value in shown.fields.items():
                if field in ("text", "base64"):
                    message[field] = message.get(field, "") + value
                elif field in ("method", "target", "status", "fields", "sha256", "left_out"):
                    message[field] = value
        found.append((whole, sum(piece.left_out for piece in wire.pieces)))
    for part in found[0][0].values():
        part.pop("base64", None)
    for part in found[1][0].values():
        part.pop("base64", None)            # pieces have paddings of their own
    assert found[0] == found[1]


def test_messages_of_a_websocket_are_recorded_behind_their_masks() -> None:
    """Those of the client as they went on, those of the backend as the client got them, and the gateway's own last one."""
    wire = Wire()
    rules = (ALLOW, HIDE, Rule("no-erasing", when='op.verb == "send" && op.message == "erase"', deny="no"),
             Rule("look", requests=(RequestCheck(("credit_card",), RequestAction.MASK),)))
    book = w.opened(World(rules=rules, wire=wire))
    book >> Bytes(CLIENT, w.frame(w.TEXT, "4111111111111111")) >> Bytes(SERVER, w.told(w.TEXT, '{"ssn":"219-09-9999"}'))
    book >> Bytes(CLIENT, w.frame(w.TEXT, "erase"))
    said = [(piece.source, piece.exchange, piece.data) for piece in wire.pieces if piece.part == "s"]
    assert said[:2] == [(CLIENT, 1, b"xxxx"), (SERVER, 1, b'{"ssn":"xxxx"}')]
    assert orjson.loads(said[2][2])["rule"] == "no-erasing"
    assert len(said) == 3
    for hidden in (SECRET.encode(), TOKEN, b"219-09", b"4111"):
        assert hidden not in wire.raw
