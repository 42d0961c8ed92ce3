"""WebSockets at the bytes: the handshake, messages of a client, and every way in which a socket ends."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lockgate.model import (
    AuditMode,
    Effect,
    OutcomeStatus,
    Rate,
    Refusal,
    RefusalCode,
    RequestAction,
    RequestCheck,
    ReviewTerms,
    RowLimits,
    Rule,
)
from lockgate.protocols.http.enforcement import enforce
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Closed, Hangup
from lockgate.wire.steps import Alarm
from tests.protocols.http import scene as s
from tests.protocols.http import sockets as w

NO_ERASING = Rule(name="no-erasing", when='op.verb == "send" && op.message.contains("erase")', deny="nothing is erased here")
REVIEWED = Rule(name="ask", when='op.verb == "send" && op.json.pay > 100', review=ReviewTerms(frozenset({"dba"}), 900))


def world(*rules: Rule, **options: object) -> s.World:
    return s.World(rules=(s.ALLOW, *rules), connections=(s.connection(**options),))


# ------------------------------------------------------------ the handshake


def test_the_handshake_is_a_request_that_is_judged_and_recorded() -> None:
    """Its verb is `get`; the backend gets its credential, the client's key and origin, and no offer of compression."""
    here = world()
    book = w.opened(here, "/live?room=1", Origin="https://app.example", Sec_WebSocket_Extensions="permessage-deflate",
                    Sec_WebSocket_Protocol="chat, other")
    sent = book.sent(SERVER)
    assert sent.startswith(b"GET /live?room=1 HTTP/1.1\r\nHost: crm.internal:8080\r\n")
    for line in (b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b"Sec-WebSocket-Key: " + w.KEY.encode(),
                 b"Origin: https://app.example\r\n", b"Authorization: Bearer " + s.SECRET.encode()):
        assert sent.count(line) == 1
    assert b"xtensions" not in sent
    assert s.TOKEN not in sent
    assert book.sent(CLIENT).startswith(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + w.ACCEPT.encode())
    assert book.sent(CLIENT).count(b"Sec-WebSocket-Accept") == 1
    assert [intent.verbs for intent in here.log.intents] == [("get",)]
    assert b"Upgrade: websocket" in here.log.intents[0].forwarded


@pytest.mark.parametrize("when", [
    "op.websocket", 'op.websocket && op.headers["origin"].exists(o, o != "https://good.example")',
    'op.headers["sec-websocket-protocol"].exists(p, p.contains("admin"))'])
def test_rules_see_that_a_websocket_is_asked_for(when: str) -> None:
    """`op.websocket`; origin and subprotocols are among the headers. Other requests are none."""
    here = world(Rule(name="none", when=when, deny="no sockets"))
    book = here.book() >> Bytes(CLIENT, w.opening(Origin="https://evil.example", Sec_WebSocket_Protocol="admin"))
    assert s.status(book) == 403
    assert not book.sent(SERVER)
    book >> Bytes(CLIENT, s.request("GET", "/live", Origin="https://good.example", Sec_WebSocket_Protocol="x"))
    assert b"GET /live" in book.sent(SERVER)
    book >> Bytes(SERVER, s.answer()) >> Bytes(CLIENT, w.opening(Origin="https://evil.example", Sec_WebSocket_Protocol="admin"))
    assert s.status(book) == 403            # the same line, and not the same decision


@pytest.mark.parametrize(("fields", "status"), [
    ({"Sec_WebSocket_Version": "8"}, 426), ({"Sec_WebSocket_Key": "short"}, 400), ({"Sec_WebSocket_Key": "!" * 24}, 400),
    ({"Sec_WebSocket_Protocol": "a, a"}, 400), ({"Sec_WebSocket_Protocol": "a b"}, 400), ({"Sec_WebSocket_Protocol": ","}, 400)])
def test_a_handshake_that_is_none_is_refused(fields: dict[str, str], status: int) -> None:
    """With the version that is spoken, and nothing is forwarded."""
    book = world().book() >> Bytes(CLIENT, w.opening(**fields))
    assert s.status(book) == status
    assert (b"Sec-WebSocket-Version: 13\r\n" in book.sent(CLIENT)) is (status == 426)
    assert not book.sent(SERVER)


def test_a_connection_may_let_no_websocket_through() -> None:
    """`websocket: deny` refuses, and puts it on record."""
    here = world(websocket="deny")
    book = here.book() >> Bytes(CLIENT, w.opening())
    assert (s.status(book), s.problem(book)["code"]) == (501, "unsupported")
    assert not book.sent(SERVER)
    assert here.log.intents[-1].refusal == "unsupported"


@pytest.mark.parametrize("sent", [
    s.request(Upgrade="h2c", Connection="Upgrade, HTTP2-Settings", HTTP2_Settings="AAMAAABkAAQCAAAAAAIAAAAA"),
    s.request(Upgrade="TLS/1.3", Connection="Upgrade"), s.request(Upgrade="websocket"),
    s.request(Upgrade="websocket, h2c", Connection="Upgrade"),
    s.request("POST", "/x", b"{}", Upgrade="websocket", Connection="Upgrade", Content_Type="application/json"),
    s.request("HEAD", Upgrade="websocket", Connection="Upgrade")])
def test_other_upgrades_are_ignored(sent: bytes) -> None:
    """RFC 9110 section 7.8: the request is answered as HTTP/1.1, and the backend hears nothing of the offer."""
    book = world().book() >> Bytes(CLIENT, sent) >> Bytes(SERVER, s.answer(b""))
    assert s.status(book) == 200
    assert b"pgrade" not in book.sent(SERVER)
    assert b"HTTP2-Settings" not in book.sent(SERVER)


@pytest.mark.parametrize("answer", [
    w.switching("x" * 28), w.switching(Sec_WebSocket_Extensions="permessage-deflate"),
    w.switching(Sec_WebSocket_Protocol="never"), w.switching().replace(b": websocket", b": h2c"),
    w.switching().replace(b"Sec-WebSocket-Accept", b"X-Accept"), b"HTTP/1.1 101 Fine\r\n\r\n"])
def test_a_backend_that_switches_wrongly_is_not_believed(answer: bytes) -> None:
    """A 502: who does not know the key may be no WebSocket server, and an extension would change what frames mean."""
    here = world()
    book = here.book() >> Bytes(CLIENT, w.opening(Sec_WebSocket_Protocol="chat")) >> Bytes(SERVER, answer + w.told(w.TEXT, "x"))
    assert s.status(book) == 502
    assert here.hang_ups == 1
    assert b"101" not in book.sent(CLIENT)


def test_a_backend_that_does_not_switch_answers() -> None:
    """Its answer is one like any other, and the connection goes on."""
    book = world().book() >> Bytes(CLIENT, w.opening()) >> Bytes(SERVER, s.answer(b'{"no":1}', 403))
    assert book.sent(CLIENT).startswith(b"HTTP/1.1 403 Fine\r\n")
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert s.status(book) == 200


def test_nobody_else_may_switch() -> None:
    """A 101 to a request that asked for nothing is a failure of the backend."""
    book = world().book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, w.switching())
    assert s.status(book) == 502


def test_frames_before_the_101_are_refused() -> None:
    """RFC 6455 section 4.1: the client waits. Nothing of them is forwarded."""
    book = world().book() >> Bytes(CLIENT, w.opening() + w.frame(w.TEXT, "early")) >> Bytes(SERVER, w.switching())
    assert s.status(book) == 400
    assert not w.to_server(book)
    assert isinstance(book.seen[-1], Closed)


# ------------------------------------------------------------ messages of a client


def test_messages_go_both_ways_whole() -> None:
    """Fragments arrive as one frame, with a mask towards the backend; each message is on record by itself."""
    here = world()
    book = w.opened(here)
    book >> Bytes(CLIENT, w.frame(w.TEXT, "he", fin=False) + w.frame(w.CONTINUATION, "llo") + w.frame(w.BINARY, b"\0\xff"))
    book >> Bytes(SERVER, w.told(w.TEXT, "wor", fin=False)) >> Bytes(SERVER, w.told(w.CONTINUATION, "ld"))
    assert [(one.opcode, one.payload, one.key is not None) for one in w.to_server(book)] == [
        (w.TEXT, b"hello", True), (w.BINARY, b"\0\xff", True)]
    assert w.to_client(book) == [w.Frame(w.TEXT, b"world")]
    assert [(intent.kind, intent.verbs, intent.forwarded) for intent in here.log.intents[1:]] == [
        ("message", ("send",), b"hello"), ("message", ("send",), b"\0\xff")]
    assert here.log.intents[1].text == "SEND /live\n\nhello"
    assert [outcome.status for outcome in here.log.outcomes] == [OutcomeStatus.OK] * 2


def test_nothing_leaves_before_its_record() -> None:
    """Under `audit: full` a message waits until its intent is durable."""
    here = world()
    here.audit = AuditMode.FULL
    book = w.opened(here)
    here.log.hold = True
    book >> Bytes(CLIENT, w.frame(w.TEXT, "hello"))
    assert not w.to_server(book)
    here.log.release()
    book.resume()
    assert w.said(w.to_server(book)) == [b"hello"]


def test_a_refused_message_ends_the_socket_and_is_explained() -> None:
    """Neither it nor what follows is forwarded. The client reads a problem, then a close frame that says the same in short;
    the backend gets a close frame."""
    here = world(NO_ERASING)
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, "first") + w.frame(w.TEXT, "erase it") + w.frame(w.TEXT, "then this"))
    found = w.problem(book)
    assert (found["code"], found["rule"], found["detail"]) == ("denied", "no-erasing", "nothing is erased here")
    assert (w.last(book).code, w.last(book).reason) == (1008, "denied by no-erasing: nothing is erased here")
    assert w.said(w.to_server(book)) == [b"first"]
    assert w.to_server(book)[-1].opcode == w.CLOSE
    assert isinstance(book.seen[-1], Closed)
    assert [(intent.decision, intent.refusal) for intent in here.log.intents[1:]] == [(Effect.ALLOW.value, None), (Effect.DENY.value, "denied")]
    assert here.log.outcomes[-1].status is OutcomeStatus.REFUSED
    book >> Bytes(CLIENT, w.frame(w.TEXT, "later"))
    assert w.said(w.to_server(book)) == [b"first"]


@pytest.mark.parametrize("protocol", [None, "graphql-transport-ws"])
def test_no_foreign_message_is_put_into_a_subprotocol(protocol: str | None) -> None:
    """In which it would be an error of its own; nor does a client of binary messages get text."""
    here = world(NO_ERASING)
    book = here.book() >> Bytes(CLIENT, w.opening(**({} if protocol is None else {"Sec_WebSocket_Protocol": protocol})))
    book >> Bytes(SERVER, w.switching(**({} if protocol is None else {"Sec_WebSocket_Protocol": protocol})))
    book >> Bytes(CLIENT, w.frame(w.BINARY if protocol is None else w.TEXT, "erase"))
    assert not w.said(w.to_client(book))
    assert w.last(book).code == 1008


def test_a_long_reason_is_cut_and_keeps_the_ticket() -> None:
    """123 bytes have room for what somebody has to know to act."""
    long = Rule(name="long", when='op.verb == "send"', deny="é" * 200)
    book = w.opened(world(long)) >> Bytes(CLIENT, w.frame(w.BINARY, "x"))
    assert len(w.last(book).payload) <= 125
    assert w.last(book).reason.startswith("denied by long: éé")
    assert w.last(book).reason.endswith("…")


@pytest.mark.parametrize(("when", "message", "goes"), [
    ('op.verb == "send" && op.json.pay > 100', '{"pay": 1}', True), ('op.verb == "send" && op.json.pay > 100', '{"pay": 101}', False),
    ('op.verb == "send" && op.json.pay > 100', "no JSON", False),               # cannot be told: restricts
    ('op.verb == "send" && op.json.pay > 100', '{"pay": 1, "pay": 101}', False), ('op.verb == "send" && op.json.pay > 100', '{"pay": 1', False),
    ("op.size > 4", "12345", False), ('op.text.contains("erase")', "erase", False),
    ('op.websocket && op.verb == "send" && op.path == "/live" && "1" in op.query.room', "x", False),
    ('op.verb == "send" && op.content_type == "application/json"', " [1]", False), ('op.method == "SEND"', "x", False),
    ('op.verb == "send" && "https://a.example" in op.headers.origin', "x", False), ('op.verb == "post"', "x", True)])
@pytest.mark.parametrize("opcode", [w.TEXT, w.BINARY])
def test_rules_see_what_a_message_holds(when: str, message: str, goes: bool, opcode: int) -> None:
    """JSON, text, size, and where the socket leads; in text frames and in binary ones alike."""
    here = world(Rule(name="no", when=when, deny="no"))
    book = w.opened(here, "/live?room=1", Origin="https://a.example") >> Bytes(CLIENT, w.frame(opcode, message))
    assert (w.said(w.to_server(book)) == [message.encode()]) is goes
    assert goes or w.last(book).code == 1008


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be"])
def test_bytes_that_are_no_text_cannot_be_told(encoding: str) -> None:
    """A rule that reads the text of a message restricts what has none."""
    book = w.opened(world(NO_ERASING)) >> Bytes(CLIENT, w.frame(w.BINARY, "erase".encode(encoding)))
    assert w.last(book).code == 1008
    assert not w.said(w.to_server(book))


def test_json_of_two_readings_is_not_understood() -> None:
    """Where a rule reads it: the refusal says so, and is on record."""
    here = world(Rule(name="no", when='op.verb == "send" && op.json.pay > 100', deny="no"))
    for message in ('{"pay": 1, "pay": 101}', '{"pay": 1', "[" * 70 + "]" * 70):
        book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, message))
        assert w.problem(book)["code"] == "not_understood"
        assert ("Send one JSON document, with no name twice in an object." in w.problem(book)["hint"]) == (message[0] == "{")
        assert here.log.intents[-1].refusal == "not_understood"


def test_a_message_that_is_judged_twice_counts_once() -> None:
    """Its JSON is read where a rule wants it; each time somebody could be asked, for as long as the client waits."""
    here = world(REVIEWED, patience="7s")
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, '{"pay": 1}'))
    assert book.governor.statements == 2    # the handshake, and the message
    assert [(step.counts, step.patience) for step in book.judged[-2:]] == [(None, 7.0), (False, 7.0)]


def test_who_may_only_read_may_not_send() -> None:
    """A message is no `get`, whatever opened its socket."""
    here = s.World(rules=(Rule(name="read", when='op.verb == "get" && op.method == "GET"', allow=True),))
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, "x"))
    assert w.last(book).code == 1008
    assert not w.said(w.to_server(book))


def test_a_message_waits_for_a_person_and_goes_on() -> None:
    """As long as the connection's patience; what was sent behind it waits too."""
    here = world(REVIEWED)
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, '{"pay": 500}'))
    assert (w.said(w.to_server(book)), len(here.desk.pending)) == ([], 1)
    assert here.desk.asked[0].text == 'SEND /live\n\n{"pay": 500}'
    here.desk.answer()
    book.resume()
    assert w.said(w.to_server(book)) == [b'{"pay": 500}']
    assert here.log.intents[-1].ticket == "T-1"


def test_a_message_that_nobody_approves_in_time_leaves_its_ticket() -> None:
    """In the problem and in the reason; the backend gets nothing."""
    here = world(REVIEWED)
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, '{"pay": 500}'))
    here.desk.pending.pop(0).postpone()
    book.resume()
    assert w.problem(book)["ticket"] == "T-1"
    assert w.last(book).reason.startswith("review_pending, ticket T-1: ")
    assert not w.said(w.to_server(book))


def test_rates_count_messages() -> None:
    """Each is a request; above the rate the socket ends with the reason."""
    rates = Rule(name="seldom", when='op.verb == "send"', limits=RowLimits(rates=(Rate(2, 3600),)))
    book = w.opened(world(rates)) >> Bytes(CLIENT, w.frame(w.TEXT, "x") * 3)
    assert len(w.said(w.to_server(book))) == 2
    assert (w.last(book).code, w.problem(book)["code"]) == (1008, "limited")


@pytest.mark.parametrize("when", [None, "op.websocket", 'op.verb == "send"'])
def test_bytes_of_all_messages_count_for_the_task(when: str | None) -> None:
    """Those that the backend sends unasked too: a socket ends when they are spent."""
    bound = Rule(name="bytes", when=when, limits=RowLimits(bytes=10))
    here = world(bound)
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, "x"))
    book >> Bytes(SERVER, w.told(w.TEXT, "12345678")) >> Bytes(SERVER, w.told(w.TEXT, "12345678"))
    assert len(w.said(w.to_client(book))) == 2
    book >> Bytes(SERVER, w.told(w.TEXT, "one too many"))
    assert w.last(book).reason.startswith("limited by bytes: ")
    assert here.log.outcomes[-1].sent == 16


@pytest.mark.parametrize(("action", "goes"), [
    (RequestAction.RECORD, b'{"card":"4111111111111111"}'), (RequestAction.MASK, b'{"card":"xxxx"}'), (RequestAction.BLOCK, None)])
def test_what_detectors_find_in_a_message_is_looked_after(action: RequestAction, goes: bytes | None) -> None:
    """On record, replaced, or refused; over the borders of fragments."""
    here = world(Rule(name="look", requests=(RequestCheck(("credit_card",), action),)))
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, '{"card":"41111111', fin=False) + w.frame(w.CONTINUATION, '11111111"}'))
    assert w.said(w.to_server(book)) == ([] if goes is None else [goes])
    if goes is None:
        assert w.last(book).code == 1008
    else:
        assert here.log.outcomes[-1].masked == {"sent: credit_card": 1}


@pytest.mark.parametrize("message", ["4111111111111111", 'x{"a":"\\u0034111111111111111"}', '42["m","4111-1111-1111-1111"]', '["4111 1111 1111 1111"]',
                                     '{"a":"{\\"b\\":\\"4111111111111111\\"}"}', "4111111111111111\0", '{"a":"\\u0034111111111111111"'])
@pytest.mark.parametrize("opcode", [w.TEXT, w.BINARY])
def test_no_shape_of_a_message_hides_a_find(message: str, opcode: int) -> None:
    """Text, JSON with escapes or in strings, JSON behind words, JSON that is cut."""
    here = world(Rule(name="look", requests=(RequestCheck(("credit_card",), RequestAction.BLOCK),)))
    book = w.opened(here) >> Bytes(CLIENT, w.frame(opcode, message))
    assert not w.said(w.to_server(book))
    assert w.last(book).code == 1008


@pytest.mark.parametrize(("binary", "goes"), [("deny", False), ("allow", True)])
def test_bytes_that_cannot_be_looked_into_go_as_the_connection_says(binary: str, goes: bool) -> None:
    """Where a detector would have to."""
    here = world(Rule(name="look", requests=(RequestCheck(("credit_card",), RequestAction.RECORD),)), binary=binary)
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.BINARY, b"\x89PNG\0\xff"))
    assert bool(w.said(w.to_server(book))) is goes


# ------------------------------------------------------------ GraphQL


GRAPHQL = Rule(name="reads", when='op.graphql.exists(o, o.type == "mutation")', deny="only queries")


@pytest.mark.parametrize(("message", "goes"), [
    ('{"type":"connection_init","payload":{}}', True), ('{"type":"subscribe","id":"1","payload":{"query":"subscription { x }"}}', True),
    ('{"type":"start","id":"1","payload":{"query":"{ x }"}}', True), ('{"type":"complete","id":"1"}', True),
    ('{"type":"subscribe","id":"1","payload":{"query":"mutation { pay }"}}', False),
    ('{"type":"start","payload":{"query":"query a { x } mutation b { pay }","operationName":"a"}}', False),
    ('{"type":"subscribe","payload":{"extensions":{"persistedQuery":{}}}}', False), ('{"type":"other"}', False), ('{"type":["start"]}', False),
    ('{"type":"start","payload":"mutation { pay }"}', False), ("mutation { pay }", False), ('[{"type":"ping"}]', False)])
def test_graphql_in_messages_is_read(message: str, goes: bool) -> None:
    """graphql-transport-ws and graphql-ws; what cannot be told is refused where a rule depends on it."""
    here = world(GRAPHQL, graphql=["/graphql"])
    book = w.opened(here, "/graphql") >> Bytes(CLIENT, w.frame(w.TEXT, message))
    assert (w.said(w.to_server(book)) == [message.encode()]) is goes
    assert goes or w.last(book).code == 1008


# ------------------------------------------------------------ control frames and ends


def test_pings_are_answered_here_and_not_passed() -> None:
    """No payload of a ping reaches the other side."""
    book = w.opened(world()) >> Bytes(CLIENT, w.frame(w.PING, "mine")) >> Bytes(SERVER, w.told(w.PING, "theirs"))
    book >> Bytes(CLIENT, w.frame(w.PONG, "unasked")) >> Bytes(SERVER, w.told(w.PONG, "unasked"))
    assert w.to_client(book) == [w.Frame(w.PONG, b"mine")]
    assert [(one.opcode, one.payload) for one in w.to_server(book)] == [(w.PONG, b"theirs")]


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999, None])
def test_a_clients_close_is_passed_and_answered(code: int | None) -> None:
    """Its code goes on, its reason does not; the backend may say more until it answers, and its answer goes back."""
    here = world()
    book = w.opened(here) >> Bytes(CLIENT, w.closing(code, "secret words"[:0 if code is None else 20]))
    (found,) = w.to_server(book)
    assert found.payload == (b"" if code is None else code.to_bytes(2, "big"))
    book >> Bytes(SERVER, w.told(w.TEXT, "last words") + w.closing(code, "fine" if code else "", of_client=False))
    assert w.said(w.to_client(book)) == [b"last words"]
    assert w.last(book).payload == (b"" if code is None else code.to_bytes(2, "big") + b"fine")
    assert here.log.outcomes[-1].status is OutcomeStatus.OK
    assert here.log.outcomes[-1].code == ("none" if code is None else str(code))
    assert isinstance(book.seen[-1], Closed)


def test_a_backends_close_is_passed_and_answered() -> None:
    """Code and reason; the backend gets its own close frame back."""
    book = w.opened(world()) >> Bytes(SERVER, w.closing(4001, "no more", of_client=False))
    assert (w.last(book).code, w.last(book).reason) == (4001, "no more")
    assert [(one.opcode, one.code) for one in w.to_server(book)] == [(w.CLOSE, 4001)]


def test_a_backend_that_does_not_answer_a_close_is_not_waited_for() -> None:
    """Whether it hangs up or stays silent, the client gets its close frame back."""
    for end in ("left", "silent"):
        here = world()
        book = w.opened(here) >> Bytes(CLIENT, w.closing(1000))
        if end == "left":
            book >> Hangup(SERVER)
        else:
            here.ring(book)
        assert w.last(book).code == 1000
        assert isinstance(book.seen[-1], Closed)


def test_abrupt_ends_are_told_to_the_other_side() -> None:
    """1011 to a client whose backend has gone, 1001 to a backend whose client has; what was open is unknown."""
    here = world()
    book = w.opened(here) >> Hangup(SERVER)
    assert (w.last(book).code, w.last(book).reason) == (1011, "the backend has left")
    other = w.opened(here) >> Hangup(CLIENT)
    assert [(one.opcode, one.code) for one in w.to_server(other)] == [(w.CLOSE, 1001)]
    assert [outcome.status for outcome in here.log.outcomes] == [OutcomeStatus.UNKNOWN] * 2


@pytest.mark.parametrize(("refusal", "code"), [
    (Refusal(RefusalCode.SHUTTING_DOWN, "the gateway is shutting down"), 1001),
    (Refusal(RefusalCode.EXPIRED, "the token has expired"), 1008), (Refusal(RefusalCode.AUDIT_UNAVAILABLE, "no record"), 1011)])
def test_drain_and_expiry_end_a_socket_clearly(refusal: Refusal, code: int) -> None:
    """It owes nothing between messages, so it ends at once: 1001 or 1008 with the reason, and the backend hears 1001."""
    book = w.opened(world())
    assert book.mediator.is_idle
    assert not book.mediator.is_stalled
    book >> refusal
    assert (w.last(book).code, w.last(book).reason) == (code, f"{refusal.code.value}: {refusal.reason}")
    assert w.to_server(book)[-1].code == 1001
    assert isinstance(book.seen[-1], Closed)


def test_a_broken_protocol_ends_both_sides() -> None:
    """The one who broke it gets the code for that; a client whose backend did gets 1011."""
    here = world()
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, b"\xff"))
    assert (w.last(book).code, w.to_server(book)[-1].code) == (1007, 1001)
    book = w.opened(here) >> Bytes(SERVER, w.frame(w.TEXT, "masked"))
    assert (w.last(book).code, w.to_server(book)[-1].code) == (1011, 1002)
    assert not w.said(w.to_client(book))


def test_a_message_has_a_bound_in_both_directions() -> None:
    """`limits.inspect`."""
    here = world()
    here.limits = here.limits.model_copy(update={"inspect": 65_536})
    for side, data in ((CLIENT, w.frame(w.TEXT, b"x" * 65_537)), (SERVER, w.told(w.TEXT, b"x" * 65_537))):
        book = w.opened(here) >> Bytes(side, data)
        assert w.last(book).code == (1009 if side is CLIENT else 1011)
        assert not w.said(w.to_client(book))
        assert not w.said(w.to_server(book))


def test_who_is_silent_is_pinged_and_then_gone() -> None:
    """After as much silence again; whoever answers stays."""
    here = world()
    book = w.opened(here)
    here.ring(book)                         # both were heard at the handshake
    assert not w.to_client(book)
    here.ring(book)
    assert (w.to_client(book)[-1].opcode, w.to_server(book)[-1].opcode) == (w.PING, w.PING)
    book >> Bytes(CLIENT, w.frame(w.PONG)) >> Bytes(SERVER, w.told(w.PONG))
    here.ring(book)
    here.ring(book)
    assert len(w.to_client(book)) == 2
    book >> Bytes(CLIENT, w.frame(w.PONG))
    here.ring(book)
    assert (w.last(book).code, w.last(book).reason) == (1011, "the backend was silent for too long")


def test_a_client_that_is_held_for_a_person_is_not_taken_for_gone() -> None:
    """Nothing is read of it meanwhile."""
    here = world(REVIEWED)
    book = w.opened(here) >> Bytes(CLIENT, w.frame(w.TEXT, '{"pay": 500}'))
    for _ in range(4):
        here.ring(book)
        book >> Bytes(SERVER, w.told(w.PONG))
    assert not book.is_closed


def test_who_does_not_take_its_close_frame_is_not_waited_for() -> None:
    """A client that reads nothing cannot keep a socket that is over."""
    here = world()
    book = w.opened(here)
    book.resume()
    steps = book.mediator.end(Refusal(RefusalCode.SHUTTING_DOWN, "the gateway is shutting down"))
    while not isinstance(next(steps), Alarm):
        pass
    here.alarm = None
    book.run(book.mediator.end(Refusal(RefusalCode.EXPIRED, "the token has expired")))
    assert isinstance(book.seen[-1], Closed)


def test_a_policy_that_changes_holds_for_open_sockets() -> None:
    """What would not be opened any more ends, before anything else passes in either direction."""
    for side in (CLIENT, SERVER):
        here = world()
        book = w.opened(here)
        w.tighten(book, Rule(name="closed", when='op.verb == "get" && op.websocket', deny="no more sockets"))
        book >> Bytes(side, w.frame(w.TEXT, "x") if side is CLIENT else w.told(w.TEXT, "x"))
        assert w.last(book).reason == "denied by closed: no more sockets"
        assert not w.said(w.to_server(book))
        assert [json.loads(one)["rule"] for one in w.said(w.to_client(book))] == (["closed"] if side is CLIENT else [])


# ------------------------------------------------------------ the forward proxy


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_a_proxys_client_opens_a_socket_by_absolute_form(scheme: str) -> None:
    """Some write ws:// there, some http://."""
    here = world()
    here.route = replace(s.ROUTE, is_proxy=True)
    book = here.book() >> Bytes(CLIENT, w.opening(f"{scheme}://crm.example/live")) >> Bytes(SERVER, w.switching())
    assert book.sent(SERVER).startswith(b"GET /live HTTP/1.1\r\nHost: crm.internal:8080\r\n")
    book >> Bytes(CLIENT, w.frame(w.TEXT, "x"))
    assert w.said(w.to_server(book)) == [b"x"]


@pytest.mark.parametrize("sent", [
    s.request("GET", "ws://crm.example/live"), s.request("GET", "wss://crm.example/live"), w.opening("wss://crm.example/live"),
    w.opening("https://crm.example/live")])
def test_other_schemes_are_no_requests_of_a_proxy(sent: bytes) -> None:
    """ws:// without an upgrade is none, and what needs TLS is asked for by CONNECT."""
    here = world()
    here.route = replace(s.ROUTE, is_proxy=True)
    book = here.book() >> Bytes(CLIENT, sent)
    assert s.status(book) == 400
    assert not book.sent(SERVER)


def test_check_says_what_becomes_of_websockets() -> None:
    """Once for each connection; a blind tunnel has none."""
    assert [row.how for row in enforce("crm", None, [], None)] == [
        "each message of a client is judged (verb send), each of the backend is behind its masks; none is compressed"]
    assert [row.how for row in enforce("crm", {"websocket": "deny"}, [], None)] == ["refused (websocket: deny)"]
    assert not enforce("crm", {"tunnel": True, "inject": "none"}, [], None)


def test_a_proxys_client_opens_a_socket_through_a_tunnel() -> None:
    """The caller is the one of the CONNECT, and each message is judged."""
    here = world(NO_ERASING)
    here.route = replace(s.ROUTE, is_proxy=True)
    login = {"Proxy_Authorization": f"Bearer {s.TOKEN.decode()}"}
    book = here.book() >> Bytes(CLIENT, s.request("CONNECT", "crm.example:443", token=None, host=b"crm.example:443", **login))
    book.receive(CLIENT, w.opening().replace(b"Authorization: Bearer " + s.TOKEN + b"\r\n", b""))
    book >> Bytes(SERVER, w.switching()) >> Bytes(CLIENT, w.frame(w.TEXT, "erase"))
    assert b"no-erasing" in book.sent(CLIENT)
    assert not w.said(w.to_server(book))
