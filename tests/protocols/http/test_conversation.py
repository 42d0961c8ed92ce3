"""Conversations: what goes to the backend, what comes back, and how each of them can end."""

from __future__ import annotations

import re

import pytest

from lockgate.govern.review import bound_hash
from lockgate.model import AuditMode, Effect, OutcomeStatus, Refusal, RefusalCode, ReviewTerms, Rule
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Closed, Hangup
from tests.protocols.http import scene as s
from tests.protocols.world import IDENTITY


def test_the_backend_gets_its_credential_and_never_the_callers_token() -> None:
    """What travels on is the connection's credential; the token stays here, and so does the credential on its way back."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request(
        X_Trace="7", X_Forwarded_For="1.2.3.4", Proxy_Authorization=f"Bearer {s.TOKEN.decode()}", token=b"other"))
    sent = book.sent(SERVER)
    assert s.TOKEN not in sent
    assert b"other" not in sent
    assert b"X-Forwarded-For" not in sent
    assert b"Authorization: Bearer " + s.SECRET.encode() in sent
    assert b"X-Trace: 7\r\n" in sent
    assert sent.startswith(b"GET /customers/1 HTTP/1.1\r\nHost: crm.internal:8080\r\n")
    assert s.SECRET.encode() not in b"".join(intent.forwarded for intent in world.log.intents)
    book >> Bytes(SERVER, s.answer())
    assert book.sent(CLIENT).startswith(b"HTTP/1.1 200 Fine\r\n")
    assert book.sent(CLIENT).endswith(b'\r\n\r\n{"ok":true}')


@pytest.mark.parametrize(("options", "user", "expected"), [
    ({"inject": "basic"}, "app", b"Authorization: Basic YXBwOmJhY2tlbmQtc2VjcmV0LTc=\r\n"),
    ({"inject": "header", "name": "X-Api-Key"}, "", b"X-Api-Key: backend-secret-7\r\n"),
    ({"inject": "query", "name": "key"}, "", b"GET /customers/1?key=backend-secret-7 HTTP/1.1\r\n"),
    ({"inject": "none"}, "", b"GET /customers/1 HTTP/1.1\r\n"),
], ids=["basic", "header", "query", "none"])
def test_a_credential_is_injected_as_the_connection_says(options: dict[str, str], user: str, expected: bytes) -> None:
    """Bearer, Basic, a header, a query parameter, or nothing; what a client writes in its place does not go on."""
    made = s.connection(**options)
    made = made.model_copy(update={"credential": made.credential.model_copy(update={"user": user})})
    world = s.World(connections=(made,))
    book = world.book() >> Bytes(CLIENT, s.request(X_Api_Key="forged" if options.get("name") == "X-Api-Key" else "mine"))
    assert expected in book.sent(SERVER)
    assert b"forged" not in book.sent(SERVER)


def test_a_request_without_a_token_goes_nowhere() -> None:
    """401 with a challenge, no session, nothing on record, and the connection can be used on."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request(token=None))
    assert s.status(book) == 401
    assert b'WWW-Authenticate: Bearer realm="lockgate"' in book.sent(CLIENT)
    assert s.problem(book)["code"] == "unauthenticated"
    assert not world.admitted
    assert not book.sent(SERVER)
    book >> Bytes(CLIENT, s.request())
    assert world.admitted == ["crm"]


def test_another_token_is_another_session() -> None:
    """A request with another caller's token ends the session of the one before; the same token does not."""
    world = s.World()
    world.identities["eyJ.token.2"] = s.IDENTITY
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert (world.tokens, world.ended) == ([s.TOKEN.decode()], [])
    book >> Bytes(CLIENT, s.request(token=b"eyJ.token.2"))
    assert world.tokens == [s.TOKEN.decode(), "eyJ.token.2"]
    assert len(world.ended) == 1
    assert world.dials == 2


def test_a_denied_request_is_refused_and_on_record() -> None:
    """problem+json with the rule, nothing to the backend, and the connection goes on."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request("DELETE"))
    assert s.status(book) == 403
    found = s.problem(book)
    assert (found["code"], found["rule"], found["detail"]) == ("denied", "never-delete", "deletes are not allowed")
    assert not book.sent(SERVER)
    assert [intent.decision for intent in world.log.intents] == [Effect.DENY]
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert s.status(book) == 200


REVIEW = Rule(name="ask", when='op.verb == "post"', review=ReviewTerms(frozenset({"dba"}), 300.0))


def test_a_held_request_is_shown_with_its_content_and_goes_on_when_approved() -> None:
    """A reviewer reads method, target and content; nothing goes on before the answer."""
    world = s.World(rules=(s.ALLOW, REVIEW))
    book = world.book() >> Bytes(CLIENT, s.request("POST", "/pay", b'{"sum":7}', Content_Type="application/json"))
    assert not book.sent(SERVER)
    assert world.desk.asked[0].text == 'POST /pay\n\n{"sum":7}'
    world.desk.answer()
    book.resume()
    assert book.sent(SERVER).endswith(b'\r\n\r\n{"sum":7}')


def test_who_is_out_of_patience_gets_the_ticket() -> None:
    """A held request ends in a refusal that names the ticket, and the connection goes on."""
    world = s.World(rules=(s.ALLOW, REVIEW))
    book = world.book() >> Bytes(CLIENT, s.request("POST", "/pay", b"{}"))
    world.desk.pending[0].postpone()
    book.resume()
    assert s.status(book) == 403
    assert (s.problem(book)["code"], s.problem(book)["ticket"]) == ("review_pending", "T-1")
    assert not book.sent(SERVER)


def test_content_is_read_where_a_rule_depends_on_it() -> None:
    """A condition on the JSON is judged with it; what is no JSON of one reading is refused."""
    rule = Rule(name="sum", when='op.verb == "post" && op.json.sum > 100', deny="too much")
    world = s.World(rules=(s.ALLOW, rule))
    book = world.book()
    for content, expected in ((b'{"sum":101}', 403), (b'{"sum":1,"sum":101}', 400), (b'{"sum":', 400)):
        book >> Bytes(CLIENT, s.request("POST", "/pay", content, Content_Type="application/json"))
        assert s.status(book) == expected
    assert not book.sent(SERVER)
    book >> Bytes(CLIENT, s.request("POST", "/pay", b'{"sum":100}', Content_Type="application/json"))
    assert book.sent(SERVER).endswith(b'{"sum":100}')


def test_headers_are_read_where_a_rule_depends_on_them() -> None:
    """Two requests that differ in a header only are judged apart, and credentials are no facts."""
    rule = Rule(name="plan", when='"gold" in op.headers["x-plan"]', deny="not for gold")
    world = s.World(rules=(s.ALLOW, rule))
    book = world.book() >> Bytes(CLIENT, s.request(X_Plan="silver")) >> Bytes(SERVER, s.answer())
    assert s.status(book) == 200
    book >> Bytes(CLIENT, s.request(X_Plan="gold"))
    assert s.status(book) == 403
    hidden = s.World(rules=(s.ALLOW, Rule(name="peek", when='"authorization" in op.headers', deny="seen")))
    book = hidden.book() >> Bytes(CLIENT, s.request())
    assert book.sent(SERVER)


def test_large_content_goes_on_as_it_comes() -> None:
    """Nobody asks to see it, so it is not held: the intent comes first, and every piece goes under its record."""
    world = s.World()
    piece = b"x" * 50_000
    book = world.book() >> Bytes(CLIENT, s.request("PUT", "/large", Content_Length="150000") + piece)
    assert not book.sent(SERVER)
    book >> Bytes(CLIENT, piece)
    assert len(world.log.intents) == 1
    assert len(book.sent(SERVER)) > 100_000
    book >> Bytes(CLIENT, piece) >> Bytes(SERVER, s.answer())
    assert book.sent(SERVER).endswith(piece * 3)
    assert s.status(book) == 200
    assert [outcome.status for outcome in world.log.outcomes] == [OutcomeStatus.OK]


@pytest.mark.parametrize(("when", "is_held"), [
    ('op.path == "/pay" && has(op.json.sum) && op.json.sum > 100', False), ('has(op.json.sum) && op.verb == "put"', False),
    ('op.path.startsWith("/lar") && has(op.json.sum) && op.json.sum > 100', True), ("has(op.json.sum)", True),
])
def test_content_is_not_held_for_a_rule_about_other_requests(when: str, is_held: bool) -> None:
    """What path, method or host rule out needs no content, `has` or not."""
    world = s.World(rules=(s.ALLOW, Rule(name="sum", when=when, deny="too much")))
    book = world.book() >> Bytes(CLIENT, s.request("POST", "/large", Content_Length="150000") + b" " * 100_000)
    assert bool(book.sent(SERVER)) is not is_held


def test_content_that_must_be_seen_is_bounded() -> None:
    """Above `limits.inspect` what a rule depends on is refused and the connection closed; nothing went on."""
    rule = Rule(name="sum", when="op.json.sum > 100", deny="too much")
    world = s.World(rules=(s.ALLOW, rule), limits=s.Limits(inspect=70_000))
    book = world.book() >> Bytes(CLIENT, s.request("POST", "/x", Content_Length="100000") + b" " * 80_000)
    assert s.status(book) == 413
    assert book.is_closed
    assert not book.sent(SERVER)


def test_a_client_that_waits_for_continue_is_told_before_it_sends() -> None:
    """What policy refuses by its head is refused without the content; else 100 comes first, and `Expect` stays here."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request("POST", "/x", Content_Length="3", Expect="100-continue"))
    book << Bytes(CLIENT, b"HTTP/1.1 100 Continue\r\n\r\n")
    book >> Bytes(CLIENT, b"abc")
    assert b"Expect" not in book.sent(SERVER)
    refused = s.World().book() >> Bytes(CLIENT, s.request("DELETE", Content_Length="3", Expect="100-continue"))
    assert s.status(refused) == 403
    assert refused.is_closed


def test_pipelined_requests_are_answered_in_order() -> None:
    """The second one waits until the first has its answer."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request("GET", "/a") + s.request("DELETE", "/b") + s.request("GET", "/c"))
    assert book.sent(SERVER).count(b"HTTP/1.1\r\n") == 1
    book >> Bytes(SERVER, s.answer(b"1"))
    assert book.sent(CLIENT).count(b"HTTP/1.1 ") == 2
    assert book.sent(SERVER).count(b"HTTP/1.1\r\n") == 2
    book >> Bytes(SERVER, s.answer(b"3"))
    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", book.sent(CLIENT)) == [b"200", b"403", b"200"]
    assert world.dials == 1


@pytest.mark.parametrize("sent", [
    b"garbage\r\n\r\n", s.answer() + s.answer(b"smuggled"), b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
], ids=["no answer", "two answers", "two lengths"])
def test_a_backend_that_cannot_be_understood_is_left(sent: bytes) -> None:
    """Its connection is closed, so that nothing of it answers the next request, and the client learns why."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, sent)
    assert world.hang_ups == 1
    assert b"smuggled" not in book.sent(CLIENT)
    assert s.status(book) in (200, 502)
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert world.dials == 2
    assert s.status(book) == 200


def test_what_a_backend_says_unasked_ends_its_connection() -> None:
    """Bytes between exchanges would answer somebody's next request."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    book >> Bytes(SERVER, s.answer(b"poison"))
    assert world.hang_ups == 1
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert b"poison" not in book.sent(CLIENT)


def test_an_answer_that_was_cut_is_not_taken_for_whole() -> None:
    """Half an answer ends the client's connection without an end of the message."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request())
    book >> Bytes(SERVER, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n") >> Hangup(SERVER)
    assert book.is_closed
    assert not book.sent(CLIENT).endswith(b"0\r\n\r\n")
    assert [outcome.status for outcome in world.log.outcomes] == [OutcomeStatus.UNKNOWN]


def test_a_used_connection_that_was_closed_is_replaced_where_that_does_no_harm() -> None:
    """GET is asked again over a new connection; POST is not, because nobody knows whether it was carried out."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    book >> Bytes(CLIENT, s.request("GET", "/again")) >> Hangup(SERVER)
    assert world.dials == 2
    assert book.sent(SERVER).count(b"GET /again") == 2
    book >> Bytes(SERVER, s.answer())
    assert s.status(book) == 200
    book >> Bytes(CLIENT, s.request("POST", "/once", b"x")) >> Hangup(SERVER)
    assert s.status(book) == 502
    assert book.sent(SERVER).count(b"POST /once") == 1


def test_a_backend_that_is_down_is_a_502() -> None:
    """Nothing was sent, the client can go on, and the intent is settled where one was recorded."""
    world = s.World(unreachable=True)
    book = world.book() >> Bytes(CLIENT, s.request())
    assert s.status(book) == 502
    assert not book.sent(SERVER)
    assert not book.is_closed


def test_nothing_goes_on_before_its_record_is_durable() -> None:
    """`audit: full`: the request waits for its intent (I2)."""
    world = s.World(audit=AuditMode.FULL)
    world.log.hold = True
    book = world.book() >> Bytes(CLIENT, s.request())
    assert not book.sent(SERVER)
    world.log.release()
    book.resume()
    assert book.sent(SERVER)


def test_a_backend_that_is_silent_is_a_504() -> None:
    """After `timeout`; and an alarm that comes late is nobody's."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request())
    assert world.alarm is not None
    assert world.alarm.seconds == 60.0
    late = world.alarm
    world.ring(book)
    assert s.status(book) == 504
    assert world.hang_ups == 1
    assert late.call is not None
    book.run(late.call())
    assert not book.is_closed


def test_a_head_that_trickles_in_is_given_up() -> None:
    """The time of a head is not prolonged by its bytes (slowloris)."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, b"GET / HT")
    first = world.alarm
    book >> Bytes(CLIENT, b"TP/1.1\r\nX: ")
    assert world.alarm is first
    world.ring(book)
    assert s.status(book) == 408
    assert book.is_closed


def test_the_head_behind_a_refused_request_has_a_time_of_its_own() -> None:
    """What the first head was given does not count for the next one that trickles in."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, b"DELETE / HT")
    first = world.alarm
    book >> Bytes(CLIENT, s.request("DELETE", "/")[len(b"DELETE / HT"):] + b"GET / HT")
    assert s.status(book) == 403
    assert world.alarm is not first
    world.ring(book)
    assert s.status(book) == 408
    assert book.is_closed


def test_an_idle_connection_is_closed_without_a_word() -> None:
    """RFC 9112 section 9.5."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    said = book.sent(CLIENT)
    world.ring(book)
    assert book.sent(CLIENT) == said
    assert book.is_closed


def test_the_host_selects_the_connection() -> None:
    """By name, by the beginning of the path, or by the port; a host that leads nowhere is 404."""
    world = s.World(connections=(s.connection(), s.connection("files", prefix="/files", base_path="/v2")))
    book = world.book() >> Bytes(CLIENT, s.request("GET", "/files/a?b=1", host=b"10.0.0.1"))
    assert world.admitted == ["files"]
    assert book.sent(SERVER).startswith(b"GET /v2/a?b=1 HTTP/1.1\r\n")
    book >> Bytes(SERVER, s.answer()) >> Bytes(CLIENT, s.request(host=b"elsewhere.example"))
    assert s.status(book) == 404


@pytest.mark.parametrize("path", ["/%66iles/a", "/file%73", "/files;x/a", "/files;/a"])
def test_a_prefix_in_another_spelling_is_refused(path: str) -> None:
    """It selects the connection, and what is behind it goes on: where that begins is not guessed."""
    world = s.World(connections=(s.connection("files", prefix="/files"),))
    book = world.book() >> Bytes(CLIENT, s.request(target=path, host=b"elsewhere.example"))
    assert book.sent(CLIENT).startswith(b"HTTP/1.1 400 ")
    assert not book.sent(SERVER)


UTF_7 = b'{"note":"+ACI-,+ACI-sum+ACI-:500,+ACI-x+ACI-:+ACI-"}'


@pytest.mark.parametrize(("kind", "coding", "content", "fact"), [
    ("application/json; charset=utf-7", "identity", UTF_7, "json"), ("application/json; charset=x; charset=y", "identity", b"{}", "json"),
    ("application/json", "br", b"{}", "json"), ("application/x-www-form-urlencoded; charset=utf-7", "identity", b"a=+AGI-", "form"),
])
def test_content_that_is_read_in_other_characters_is_no_fact(kind: str, coding: str, content: bytes, fact: str) -> None:
    """A backend that heeds the charset reads members in it that nobody has seen here. What is plain is judged as before."""
    world = s.World(rules=(s.ALLOW, Rule(name="sum", when=f'op.verb == "post" && "sum" in op.{fact}', deny="too much")))
    book = world.book() >> Bytes(CLIENT, s.request("POST", content=content, Content_Type=kind, Content_Encoding=coding))
    assert not book.sent(SERVER)
    assert s.problem(book)["code"] == "not_understood"
    for end in ("", '; charset="UTF-8"'):
        book = world.book() >> Bytes(CLIENT, s.request("POST", content=content, Content_Type=kind.partition(";")[0] + end))
        assert book.sent(SERVER)


def test_a_ticket_is_bound_to_how_content_is_read() -> None:
    """What was approved as JSON is not a form with the same bytes, nor content in a coding."""
    asks = []
    json_type, form = "application/json", "application/x-www-form-urlencoded"
    for kind, coding in ((json_type, "identity"), (json_type, "identity"), (form, "identity"), (json_type, "x-own")):
        world = s.World(rules=(s.ALLOW, Rule(name="ask", when='op.verb == "post"', review=ReviewTerms(frozenset({"dba"}), 60.0))))
        world.book() >> Bytes(CLIENT, s.request("POST", content=b'{"a":"&sum=500&"}', Content_Type=kind, Content_Encoding=coding))
        asks += world.desk.asked
    assert len(asks) == 4
    bound = [bound_hash(IDENTITY, "crm", ask.policy_hash, ask) for ask in asks]
    assert bound[0] == bound[1]
    assert len(set(bound)) == 3


def test_a_reviewer_reads_no_text_that_a_backend_reads_otherwise() -> None:
    """Of content in another charset a person sees what it is; and another charset is another request."""
    seen = []
    for kind in ("application/json", "application/json; charset=utf-7", "text/plain;charset=utf-16"):
        world = s.World()
        world.book() >> Bytes(CLIENT, s.request("POST", content=UTF_7, Content_Type=kind))
        seen.append(world.log.intents[0].text)
    assert UTF_7.decode() in seen[0]
    assert all(UTF_7.decode() not in text for text in seen[1:])


@pytest.mark.parametrize("target", [
    "/a/../b", "/a/./b", "/a/%2e%2e/b", "/a//b", "/a%2fb", "/a%3bb", "/a%3B", "/a%5cb", "/a\\b", "/%252e%252e/", "/a%00", "/%ff", "/a%zz",
    "/a;x/..;/b", "/.;/a", "/a%0d%0aX:1", "/?a=%zz",
])
def test_a_path_that_could_be_read_in_two_ways_is_refused(target: str) -> None:
    """Refused, never repaired: what policy reads is what the backend reads."""
    book = s.World().book() >> Bytes(CLIENT, s.request("GET", target))
    assert s.status(book) == 400
    assert not book.sent(SERVER)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "FOO", "TRACK", "DEBUG"])
def test_unknown_methods_are_refused(method: str) -> None:
    """Nobody knows what they do; TRACE would show the credential."""
    target = "crm.example:443" if method == "CONNECT" else "/x"
    book = s.World().book() >> Bytes(CLIENT, s.request(method, target, host=target.encode() if method == "CONNECT" else b"crm.example"))
    assert s.status(book) == 501
    assert not book.sent(SERVER)


def test_a_field_cannot_change_the_method() -> None:
    """X-HTTP-Method-Override and its like would make the backend do another thing than policy saw."""
    book = s.World().book() >> Bytes(CLIENT, s.request("POST", "/x", b"", X_HTTP_Method_Override="DELETE"))
    assert s.status(book) == 400
    assert not book.sent(SERVER)


def test_the_end_between_requests_is_silent() -> None:
    """Drain and expiry close an idle connection."""
    book = s.World().book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    said = book.sent(CLIENT)
    book >> Refusal(RefusalCode.EXPIRED, "the token has expired")
    assert book.sent(CLIENT) == said
    assert isinstance(book.seen[-1], Closed)


def test_a_task_s_name_is_not_cut() -> None:
    """Two that differ behind the longest would be one task, with one session and one key of masks."""
    world = s.World()
    assert s.status(world.book() >> Bytes(CLIENT, s.request(Lockgate_Task="t" * 257))) == 400
    assert (world.book() >> Bytes(CLIENT, s.request(Lockgate_Task="t" * 256))).sent(SERVER)
