"""Conversations: what goes to the server, what comes back, what is refused and how."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lockgate.govern.masking.keys import MASTER_BYTES, MaskKeys
from lockgate.model import AuditMode, Effect, OutcomeStatus, RequestAction, RequestCheck, Rule, Secret
from lockgate.wire.playbook import CLIENT, SERVER, Apart, Bytes, Hangup
from tests.protocols.http import scene as http
from tests.protocols.mcp import scene as s


def test_a_message_goes_on_byte_for_byte_with_the_servers_credential() -> None:
    """What policy saw is what the server reads; fields that are no part of MCP stay here."""
    world = s.world()
    raw = b'{"jsonrpc":"2.0", "id": "a",\n "method":"tools/call","params":{"name":"customer","arguments":{"n":1.50}}}'
    book = world.book() >> Bytes(CLIENT, s.post(raw, X_Trace="7", MCP_Protocol_Version="2025-11-25"))
    sent = book.sent(SERVER)
    assert sent.endswith(b"\r\n\r\n" + raw)
    assert b"Authorization: Bearer " + http.SECRET.encode() in sent
    assert b"MCP-Protocol-Version: 2025-11-25" in sent
    assert b"X-Trace" not in sent
    book >> Bytes(SERVER, s.told(s.result("a", content=[])))
    assert s.last(book) == s.result("a", content=[])
    assert [(intent.verbs, intent.objects) for intent in world.log.intents] == [(("tools/call",), ("customer",))]
    assert world.log.intents[0].forwarded == raw
    assert [outcome.status for outcome in world.log.outcomes] == [OutcomeStatus.OK]


def test_a_refused_call_is_a_result_that_the_model_reads() -> None:
    """`isError` with the words, rule and code; nothing to the server, and on record."""
    world = s.world(s.NO_DROP)
    book = world.book() >> Bytes(CLIENT, s.post(s.tool(7, "drop")))
    found = s.last(book)
    assert (found["id"], found["result"]["isError"]) == (7, True)
    assert "not for agents (rule no-drop)" in found["result"]["content"][0]["text"]
    assert (s.refusal(found)["code"], s.refusal(found)["rule"]) == ("denied", "no-drop")
    assert not book.sent(SERVER)
    assert [intent.decision for intent in world.log.intents] == [Effect.DENY]


def test_another_refused_request_is_an_error() -> None:
    """With a code of its own, and everything that a model needs in its message."""
    book = s.world(s.NO_DROP).book() >> Bytes(CLIENT, s.post(s.call(1, "resources/read", uri="crm://secret")))
    error = s.last(book)["error"]
    assert error["code"] == -32001
    assert "not for agents (rule no-drop)" in error["message"]


@pytest.mark.parametrize("method", ["tools/execute", "Tools/Call", "sampling/createMessage", "rpc.discover", "tools/call "])
def test_a_method_that_is_not_known_is_refused(method: str) -> None:
    """-32601, on record, whatever policy says."""
    world = s.world()
    book = world.book() >> Bytes(CLIENT, s.post(s.call(1, method, name="x")))
    assert s.last(book)["error"]["code"] == -32601
    assert not book.sent(SERVER)
    assert world.log.intents[0].refusal == "unsupported"
    book >> Bytes(CLIENT, s.post({"jsonrpc": "2.0", "method": "notifications/other"}))
    assert http.status(book) == 501
    assert not book.sent(SERVER)


@pytest.mark.parametrize(("content", "code"), [
    (b"", -32700), (b"{", -32700), (b'"x"', -32600), (b"[]", -32600), (b"[1]", -32600), (b"\xff{}", -32700),
    (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}', -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"meth\\u006fd":"ping","method":"tools/call"}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}', -32600),
    (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600), (b'{"id":1,"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}', -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\\ud800"}}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":' + b"[" * 70 + b"]" * 70 + b"}}", -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}', -32700),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
])
def test_what_can_be_read_in_two_ways_is_refused(content: bytes, code: int) -> None:
    """Names that occur twice, in escapes, or in another case; ids that are none; what is no JSON-RPC."""
    world = s.world()
    book = world.book() >> Bytes(CLIENT, s.post(content))
    assert http.status(book) == 400
    assert not book.sent(SERVER)
    found = s.last(book)
    assert found["error"]["code"] == code
    assert found["id"] is None
    assert world.log.intents[0].refusal == "not_understood"


@pytest.mark.parametrize("params", [{}, {"name": 1}, {"name": ""}, {"name": "x", "arguments": [1]}, {"name": "x", "arguments": {"a": 1, "A": 2}}])
def test_a_call_without_what_policy_has_to_see_is_refused(params: dict[str, object]) -> None:
    """A tool without a name, arguments that are no object, or whose names differ in their case only."""
    book = s.world().book() >> Bytes(CLIENT, s.post({**s.call(1, "tools/call"), "params": params}))
    assert s.last(book)["error"]["code"] == -32600
    assert not book.sent(SERVER)


@pytest.mark.parametrize(("method", "fields", "status"), [
    ("POST", {"Content_Type": "text/plain"}, 415), ("POST", {"Content_Type": "application/json", "Content_Encoding": "gzip"}, 415),
    ("PUT", {"Content_Type": "application/json"}, 405), ("GET", {}, 400), ("DELETE", {}, 400),
])
def test_http_that_is_no_mcp_is_refused(method: str, fields: dict[str, str], status: int) -> None:
    """Other types, codings and methods, and content where none belongs."""
    book = s.world().book() >> Bytes(CLIENT, http.request(method, "/mcp", b"{}", **fields))
    assert http.status(book) == status
    assert not book.sent(SERVER)


def test_messages_of_a_batch_are_judged_one_by_one() -> None:
    """What is refused is answered here, the rest goes on together, each with its own record."""
    world = s.world(s.NO_DROP)
    book = world.book() >> Bytes(CLIENT, s.post(
        s.tool(1, "customer"), s.tool(2, "drop"), s.call(3, "nothing/known"), s.call(4, "ping")))
    assert [one["id"] for one in json.loads(book.sent(SERVER).partition(b"\r\n\r\n")[2])] == [1, 4]
    assert sorted(intent.decision for intent in world.log.intents) == ["allow", "allow", "deny", "deny"]
    book >> Bytes(SERVER, s.told(s.result(1, content=[]), s.result(4), batch=True))
    found = {one["id"]: one for one in s.last(book)}
    assert set(found) == {1, 2, 3, 4}
    assert s.refusal(found[2])["rule"] == "no-drop"
    assert found[3]["error"]["code"] == -32601
    assert [outcome.status for outcome in world.log.outcomes] == [OutcomeStatus.OK, OutcomeStatus.OK]


def test_refusals_of_a_batch_that_the_server_answers_with_nothing() -> None:
    """Only notifications went on: the client still reads why its request did not."""
    book = s.world(s.NO_DROP).book() >> Bytes(CLIENT, s.post(
        {"jsonrpc": "2.0", "method": "notifications/initialized"}, s.tool(2, "drop")))
    book >> Bytes(SERVER, b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    assert s.refusal(s.last(book)[0])["rule"] == "no-drop"


def test_a_refused_notification_is_an_http_error() -> None:
    """Nobody waits for an answer to it."""
    rule = Rule(name="quiet", when='op.verb == "notifications/cancelled"', deny="no")
    book = s.world(rule).book() >> Bytes(CLIENT, s.post({"jsonrpc": "2.0", "method": "notifications/cancelled"}))
    assert http.status(book) == 403


def test_who_waits_for_a_person_is_told_on_a_stream() -> None:
    """Progress where the client asked for it; the result comes on the same stream, though the server sends a document."""
    world = s.world(s.ASK)
    asked = s.tool(5, "refund", amount=700)
    asked["params"]["_meta"] = {"progressToken": "p"}
    book = world.book() >> Bytes(CLIENT, s.post(asked))
    assert world.desk.asked[0].text == 'tools/call refund\n{\n  "amount": 700\n}'
    step = book.judged[-1]
    assert step.patience == 25.0
    assert step.waiting is not None
    said = [step.waiting("T-1"), step.waiting("T-1")]
    assert said[0] is not None
    assert said[0].startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    assert b'"progressToken":"p","progress":1,"message":"waits for a person to approve it (ticket T-1)"' in said[0]
    assert b'"progress":2' in (said[1] or b"")
    assert not book.sent(SERVER)
    world.desk.answer()
    book.resume()
    book >> Bytes(SERVER, s.told(s.result(5, content=[{"type": "text", "text": "done"}])))
    out = book.sent(CLIENT)
    assert not out.startswith(b"HTTP/")         # the head has left while it waited
    assert b'data: {"jsonrpc": "2.0", "id": 5' in out
    assert out.endswith(b"0\r\n\r\n")
    assert not book.is_closed
    assert [outcome.status for outcome in world.log.outcomes] == [OutcomeStatus.OK]


@pytest.mark.parametrize("opened", [True, False])
def test_who_is_out_of_patience_gets_the_ticket(opened: bool) -> None:
    """On the stream where one is open, else as a document; the token of progress is no part of what was asked."""
    world = s.world(s.ASK)
    book = world.book() >> Bytes(CLIENT, s.post(s.tool(5, "refund", amount=700)))
    waiting = book.judged[-1].waiting
    assert waiting is not None
    if opened:
        assert b": waits for a person to approve it (ticket T-1)\n\n" in (waiting("T-1") or b"")
    world.desk.pending[0].postpone()
    book.resume()
    out = book.sent(CLIENT)
    assert b'"ticket":"T-1"' in out
    assert out.startswith(b"HTTP/1.1 200") != opened
    assert not book.sent(SERVER)


def test_a_server_that_fails_answers_on_the_open_stream() -> None:
    """Its status cannot be passed any more, so the request is answered with an error of the gateway."""
    world = s.world(s.ASK)
    book = world.book() >> Bytes(CLIENT, s.post(s.tool(5, "refund", amount=700)))
    assert book.judged[-1].waiting is not None
    book.judged[-1].waiting("T-1")
    world.desk.answer()
    book.resume()
    book >> Bytes(SERVER, http.answer(b"no such session", 404, "text/plain"))
    assert b"the server has answered with HTTP status 404" in book.sent(CLIENT)
    assert book.sent(CLIENT).endswith(b"0\r\n\r\n")


def test_a_server_that_is_down_is_an_answer() -> None:
    """A JSON-RPC answer with 200, because an HTTP error tells a model nothing."""
    book = s.world(unreachable=True).book() >> Bytes(CLIENT, s.post(s.call(1, "prompts/list")))
    assert s.last(book)["error"]["code"] == -32002
    assert http.status(book) == 200


def test_a_stream_that_is_listened_to_owes_nothing_and_may_be_silent() -> None:
    """It has no time-out once it is there, and ends with the session."""
    world = s.world()
    book = world.book() >> Bytes(CLIENT, http.request("GET", "/mcp", Accept="text/event-stream", Last_Event_ID="42"))
    assert b"Last-Event-ID: 42" in book.sent(SERVER)
    assert [intent.verbs for intent in world.log.intents] == [("listen",)]
    book >> Bytes(SERVER, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n")
    assert world.alarm is not None
    assert world.alarm.seconds is None
    assert book.mediator.is_idle
    book >> Hangup(CLIENT)
    assert [outcome.status for outcome in world.log.outcomes] == [OutcomeStatus.UNKNOWN]


def test_sessions_are_signed_for_their_caller() -> None:
    """The client gets the server's id with a signature, which another caller's request does not pass with."""
    world = s.world(keys=MaskKeys(Secret("ab" * MASTER_BYTES)))
    world.identities["eyJ.token.2"] = http.IDENTITY.__class__("https://issuer", "agent-2", None, frozenset({"agents"}), 4e9, "11" * 32)
    book = world.book() >> Bytes(CLIENT, s.post(s.call(1, "initialize", protocolVersion="2025-11-25")))
    book >> Bytes(SERVER, http.answer(json.dumps(s.result(1)).encode(), MCP_Session_Id="abc"))
    given = s.answers(book)[-1][0].get(b"mcp-session-id")
    assert given is not None
    assert given.startswith(b"abc.")
    book >> Bytes(CLIENT, s.post(s.call(2, "ping"), MCP_Session_Id=given.decode()))
    assert b"MCP-Session-Id: abc\r\n" in book.sent(SERVER)
    book >> Bytes(SERVER, s.told(s.result(2)))
    before = book.sent(SERVER)
    for fields in ({"MCP_Session_Id": "abc"}, {"MCP_Session_Id": "abcd." + given.decode().partition(".")[2]}):
        book >> Bytes(CLIENT, s.post(s.call(3, "ping"), **fields))
        assert http.status(book) == 404
    world.identities["eyJ.token.3"] = replace(http.IDENTITY, agent="another")       # of the same person
    for token in (b"eyJ.token.2", b"eyJ.token.3"):
        other = world.book() >> Bytes(CLIENT, s.post(s.call(3, "ping"), MCP_Session_Id=given.decode()).replace(http.TOKEN, token))
        assert http.status(other) == 404
        assert not other.sent(SERVER)
    assert book.sent(SERVER) == before


def test_nothing_goes_on_before_its_record_is_durable() -> None:
    """`audit: full`: every message of a batch waits for the intents of all (I2)."""
    world = s.world(audit=AuditMode.FULL)
    world.log.hold = True
    book = world.book() >> Bytes(CLIENT, s.post(s.call(1, "ping"), s.call(2, "ping")))
    assert len(world.log.intents) == 2
    assert not book.sent(SERVER)
    world.log.release()
    book.resume()
    assert book.sent(SERVER)


@pytest.mark.parametrize("reason", ["unknown method", "denied"])
def test_a_servers_request_that_the_client_does_not_get_is_answered(reason: str) -> None:
    """Over a connection of its own, in the session, with the server's credential and without a word of the client's."""
    world = s.world(Rule(name="no-sampling", when='op.verb == "sampling/createMessage"', deny="no"))
    method = "sampling/createMessage" if reason == "denied" else "tools/steal"
    book = world.book() >> Bytes(CLIENT, s.post(s.tool(1, "customer"), X_Trace="7"))
    before = book.sent(SERVER)
    book >> Bytes(SERVER, s.stream(s.event(s.call(5, method)), s.event(s.result(1, content=[]))))
    aside = [seen.data for seen in book.seen if isinstance(seen, Apart)]
    head, _, content = aside[0].partition(b"\r\n\r\n")
    assert len(aside) == 1
    assert head.startswith(b"POST /mcp HTTP/1.1\r\n")
    assert b"Authorization: Bearer " + http.SECRET.encode() in head
    assert b"Connection: close" in head
    assert (head.count(b"Accept: "), head.count(b"Content-Type: ")) == (1, 1)
    assert b"X-Trace" not in head
    assert json.loads(content)["id"] == 5
    assert "policy" in json.loads(content)["error"]["message"]
    assert book.sent(SERVER) == before
    assert method.encode() not in book.sent(CLIENT)
    assert b'data: {"jsonrpc": "2.0", "id": 1' in book.sent(CLIENT)


def test_answers_to_a_server_are_bounded() -> None:
    """Each costs a connection: a server that asks without end gets sixteen in one exchange."""
    book = s.world().book() >> Bytes(CLIENT, s.post(s.tool(1, "customer")))
    book >> Bytes(SERVER, s.stream(*(s.event(s.call(number, "tools/steal")) for number in range(40))))
    assert sum(isinstance(seen, Apart) for seen in book.seen) == 16


@pytest.mark.parametrize("uri", [
    "crm://open/../secret", "crm://secret/.", "crm://open/%2e%2E/secret", "crm://open%2f..%2fsecret", "crm://open/%252e%252e/secret",
    "CRM://secret", "crm://%73ecret", "crm://sec\tret", " crm://secret", "crm:\\\\secret", "https://CRM.example/secret",
])
@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe", "resources/unsubscribe"])
def test_a_uri_in_another_spelling_is_refused(method: str, uri: str) -> None:
    """A server would take it for the one that a rule is about, and the rule would not."""
    world = s.world(s.NO_DROP)
    book = world.book() >> Bytes(CLIENT, s.post(s.call(1, method, uri=uri)))
    assert not book.sent(SERVER)
    assert s.refusal(s.last(book))["code"] == "not_understood"
    assert [intent.verbs for intent in world.log.intents] == [("unknown",)]


@pytest.mark.parametrize("uri", [
    "crm://customers/42", "note:///my file.txt", "file:///C:/a.b/..c/d...", "web://https://Example.com/a?b=../c#.", "crm://Customer/%7Ea",
    "web://https%3A%2F%2Fexample.com%2F%3Fq%3Da%2520b", "urn:isbn:1", "readme",
])
def test_a_uri_that_stays_what_it_is_goes_on(uri: str) -> None:
    """Most are in no need of another spelling."""
    book = s.world(s.NO_DROP).book() >> Bytes(CLIENT, s.post(s.call(1, "resources/read", uri=uri)))
    assert json.loads(book.sent(SERVER).partition(b"\r\n\r\n")[2])["params"] == {"uri": uri}


@pytest.mark.parametrize("name", [
    "drop ", " drop", "drop\n", "drop\u200b", "dro\u00adp", "\uff44rop", "drop\u0000", "\u00a0drop", "e\u0301crase", "\ufb01nd", "drop\u202e",
])
def test_a_name_that_a_server_may_take_for_another_one_is_refused(name: str) -> None:
    """A rule compares text, so a tool, prompt or completion has one spelling; and none is shown that could not be called."""
    for message in (s.tool(1, name), s.call(1, "prompts/get", name=name),
                    s.call(1, "completion/complete", ref={"type": "ref/prompt", "name": name}, argument={})):
        world = s.world()
        book = world.book() >> Bytes(CLIENT, s.post(message))
        assert b"a name has spaces around it" in book.sent(CLIENT)
        assert world.dials == 0
    book = s.world().book() >> Bytes(CLIENT, s.post(s.call(1, "tools/list")))
    book >> Bytes(SERVER, s.told(s.result(1, tools=[{"name": name}, {"name": "list"}])))
    assert [tool["name"] for tool in s.last(book)["result"]["tools"]] == ["list"]


@pytest.mark.parametrize("name", ["drop", "Drop", "crm/list customers", "\u00e9craser", "\u691c\u7d22", "a.b-c_d"])
def test_a_name_of_one_spelling_goes_on(name: str) -> None:
    """Spaces inside, signs and other alphabets are names as good as any."""
    world = s.world()
    world.book() >> Bytes(CLIENT, s.post(s.tool(1, name)))
    assert world.dials == 1


def test_an_empty_answer_of_the_server_stays_empty() -> None:
    """202 to a notification has no content, and none is made up."""
    world = s.world()
    book = world.book() >> Bytes(CLIENT, s.post({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    book >> Bytes(SERVER, b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n")
    assert book.sent(CLIENT).startswith(b"HTTP/1.1 202 ")
    assert book.sent(CLIENT).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("empty", [b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
@pytest.mark.parametrize("status", [b"200 OK", b"202 Accepted", b"204 No Content", b"404 Not Found", b"405 Method Not Allowed"])
def test_what_a_server_says_to_the_end_of_a_session_stays_empty(status: bytes, empty: bytes) -> None:
    """In either framing, whatever its type says: an empty answer is no list of no messages."""
    book = s.world().book() >> Bytes(CLIENT, http.request("DELETE", "/mcp", Mcp_Session_Id="7"))
    assert b"DELETE /mcp" in book.sent(SERVER)
    if status.startswith(b"204"):
        empty = b"\r\n"
    book >> Bytes(SERVER, b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n" + empty)
    told = book.sent(CLIENT)
    assert told.startswith(b"HTTP/1.1 " + status[:3])
    assert b"[]" not in told


def test_detectors_search_the_fields_beside_a_message() -> None:
    """What of them goes on is no way around request checks."""
    rule = Rule(name="look", requests=(RequestCheck(("credit_card",), RequestAction.BLOCK),))
    book = s.world(rule).book() >> Bytes(CLIENT, s.post(s.tool(1, "customer"), User_Agent=s.CARD.decode()))
    assert not book.sent(SERVER)


@pytest.mark.parametrize("target", ["/mcp/{}", "/mcp;{}", "/mcp?note={}", "/mcp?{}"])
def test_detectors_search_the_target_that_messages_go_to(target: str) -> None:
    """An agent may write there what it may not write into arguments; the same for a stream that it asks for."""
    rule = Rule(name="look", requests=(RequestCheck(("credit_card",), RequestAction.BLOCK),))
    content = json.dumps(s.tool(1, "customer")).encode()
    for where, gets_on in ((target.format(s.CARD.decode()), False), (target.format("7"), True)):
        posted = http.request("POST", where, content, Content_Type="application/json", Accept="application/json")
        for data in (posted, http.request("GET", where, Accept="text/event-stream")):
            assert bool((s.world(rule).book() >> Bytes(CLIENT, data)).sent(SERVER)) is gets_on


def test_a_request_of_an_older_server_is_answered_where_its_stream_says() -> None:
    """HTTP with server-sent events: the first event names the address, and the server does not wait for ever."""
    book = s.world().book() >> Bytes(CLIENT, http.request("GET", "/sse", Accept="text/event-stream"))
    book >> Bytes(SERVER, s.stream(
        b"event: endpoint\ndata: /messages?session=7\n\n", s.event(s.call(5, "tools/steal"))))
    aside = [seen.data for seen in book.seen if isinstance(seen, Apart)]
    assert len(aside) == 1
    assert aside[0].startswith(b"POST /messages?session=7 HTTP/1.1\r\n")
    assert json.loads(aside[0].partition(b"\r\n\r\n")[2])["id"] == 5


@pytest.mark.parametrize("before", [(), (b"event: endpoint\ndata: //evil.example/x\n\n",), (b"event: endpoint\ndata: /a/../b\n\n",)])
def test_nobody_is_answered_where_no_stream_has_said_where(before: tuple[bytes, ...]) -> None:
    """Nor at an address that is no path of the server, or could be read as two."""
    book = s.world().book() >> Bytes(CLIENT, http.request("GET", "/sse", Accept="text/event-stream"))
    book >> Bytes(SERVER, s.stream(*before, s.event(s.call(5, "tools/steal"))))
    assert not [seen for seen in book.seen if isinstance(seen, Apart)]


def test_a_delete_ends_a_session_and_nothing_else() -> None:
    """It goes on for a session alone, to the path that gave it: elsewhere on the server's host it would delete something."""
    world = s.world(keys=MaskKeys(Secret("07" * 32)))
    book = world.book() >> Bytes(CLIENT, s.post(s.call(1, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={})))
    book >> Bytes(SERVER, http.answer(json.dumps(s.result(1)).encode(), Mcp_Session_Id="7"))
    session = s.answers(book)[-1][0].all(b"mcp-session-id")[0].decode()
    before = book.sent(SERVER)
    for path, fields, status in (("/mcp", {}, 400), ("/api/users/5", {}, 400), ("/api/users/5", {"Mcp_Session_Id": session}, 404)):
        book >> Bytes(CLIENT, http.request("DELETE", path, **fields))
        assert (http.status(book), book.sent(SERVER)) == (status, before)
    book >> Bytes(CLIENT, http.request("DELETE", "/mcp/", Mcp_Session_Id=session))
    assert book.sent(SERVER)[len(before):].startswith(b"DELETE /mcp/ HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_paths_say_where_a_server_speaks_mcp(method: str) -> None:
    """Others of its host are not reached with the gateway's credential, whatever message goes there."""
    content = json.dumps(s.tool(1, "customer")).encode() if method == "POST" else None
    for path, goes_on in (("/mcp", True), ("/mcp/", True), ("/messages/7", True), ("/api/users", False), ("/", False)):
        book = s.world(options={"pins": "off", "paths": ["/mcp", "/messages/{session}"]}).book()
        book >> Bytes(CLIENT, http.request(method, path, content, Content_Type="application/json", Accept="text/event-stream"))
        assert bool(book.sent(SERVER)) is goes_on
        assert goes_on or http.status(book) == 404
