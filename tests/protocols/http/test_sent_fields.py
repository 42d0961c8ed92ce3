"""Header fields of requests under detectors: none is a way around them."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.govern.masking.requests import ContentCheck
from lockgate.model import RequestAction, RequestCheck, Rule
from lockgate.protocols.http.requests import HELD
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.http import scene as s

CARD = "4111111111111111"
BLOCK = Rule(name="look", requests=(RequestCheck(("credit_card",), RequestAction.BLOCK),))
MASK = Rule(name="look", requests=(RequestCheck(("credit_card",), RequestAction.MASK),))


@pytest.mark.parametrize("name", [
    "User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Cache-Control", "Content-Language", "Date", "If-Modified-Since",
    "If-Unmodified-Since", "TE", "X-Note", "Traceparent", "Referer"])
def test_detectors_search_every_field_that_goes_on(name: str) -> None:
    """An agent may write what it likes into any of them."""
    book = s.World(rules=(s.ALLOW, BLOCK)).book() >> Bytes(CLIENT, s.request(**{name: f"a {CARD}"}))
    assert CARD.encode() not in book.sent(SERVER)
    if name != "TE":                        # which does not go on
        assert s.status(book) == 403


def test_a_find_in_a_field_is_replaced_where_policy_says_so() -> None:
    """But not where the field says how the content was judged."""
    book = s.World(rules=(s.ALLOW, MASK)).book() >> Bytes(CLIENT, s.request(User_Agent=f"a {CARD}"))
    assert b"User-Agent: a xxxx" in book.sent(SERVER)
    book = s.World(rules=(s.ALLOW, MASK)).book() >> Bytes(
        CLIENT, s.request("POST", "/a", b"{}", Content_Type=f"application/json; a={CARD}"))
    assert (s.status(book), book.sent(SERVER)) == (403, b"")


def test_fields_that_come_again_are_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client sends the same ones with each request; others, and those with a find, are."""
    searched: list[bytes] = []
    value = ContentCheck.member

    def member(self: ContentCheck, name: bytes, text: bytes) -> Any:
        searched.append(text)
        return value(self, name, text)

    monkeypatch.setattr(ContentCheck, "member", member)
    book = s.World(rules=(s.ALLOW, BLOCK)).book()
    counts = []
    for note in ("a", "a", "b", CARD, CARD):
        book >> Bytes(CLIENT, s.request(X_Note=note))
        counts.append(len(searched))
        if note != CARD:
            book >> Bytes(SERVER, s.answer())
    assert counts == [1, 1, 2, 3, 4]


@pytest.mark.parametrize("target", [
    f"/a;note={CARD}", f"/a;b;{CARD}/c", f"/a;%3{CARD[0]}{CARD[1:]}", f"/a?{CARD}", f"/a?{CARD}=1", f"/a?x[{CARD}]=1"])
@pytest.mark.parametrize("rule", [BLOCK, MASK])
def test_detectors_search_all_of_the_target_that_goes_on(target: str, rule: Rule) -> None:
    """Parameters of a path, and names of parameters, go on as well; nothing of them can be replaced."""
    book = s.World(rules=(s.ALLOW, rule)).book() >> Bytes(CLIENT, s.request("GET", target))
    assert (s.status(book), book.sent(SERVER)) == (403, b"")


def test_detectors_search_the_names_of_fields() -> None:
    """An agent chooses them as it chooses values, in capitals too."""
    for rule in (BLOCK, MASK):
        book = s.World(rules=(s.ALLOW, rule)).book() >> Bytes(CLIENT, s.request(**{"4111-1111-1111-1111": "1"}))
        assert (s.status(book), book.sent(SERVER)) == (403, b"")
    keys = Rule(name="look", requests=(RequestCheck(("aws_key",), RequestAction.BLOCK),))
    book = s.World(rules=(s.ALLOW, keys)).book() >> Bytes(CLIENT, s.request(X_AKIAIOSFODNN7EXAMPLF="1"))
    assert (s.status(book), book.sent(SERVER)) == (403, b"")


@pytest.mark.parametrize("value", [
    "a=%34111111111111111", "4111+1111+1111+1111", "x; filename*=UTF-8''4111%201111%201111%201111",
    "%7B%22a%22%3A%22%5Cu0034111111111111111%22%7D"])
def test_detectors_search_fields_with_their_escapes_undone(value: str) -> None:
    """Servers undo them in cookies and in parameters; what is found is replaced with what was around it."""
    book = s.World(rules=(s.ALLOW, BLOCK)).book() >> Bytes(CLIENT, s.request(Cookie=value))
    assert (s.status(book), book.sent(SERVER)) == (403, b"")
    book = s.World(rules=(s.ALLOW, MASK)).book() >> Bytes(CLIENT, s.request(Cookie=value))
    assert b"xxxx" in book.sent(SERVER)
    assert b"1111" not in book.sent(SERVER)


def test_what_is_found_twice_in_a_field_is_counted_once() -> None:
    """As it is written, and with its escapes undone; what is found in one way alone counts as well."""
    checks = Rule(name="look", requests=(RequestCheck(("credit_card", "email"), RequestAction.RECORD),))
    world = s.World(rules=(s.ALLOW, checks))
    world.book() >> Bytes(CLIENT, s.request(X_A=f"{CARD} a%40b.example c%20")) >> Bytes(SERVER, s.answer())
    assert world.log.outcomes[-1].masked == {"sent: credit_card": 1, "sent: email": 1}


def test_a_field_that_is_only_escaped_goes_on_as_it_is() -> None:
    """Nothing is rewritten in which nothing was found."""
    book = s.World(rules=(s.ALLOW, MASK)).book() >> Bytes(CLIENT, s.request(X_A="a%20b+c%ff%"))
    assert b"X-A: a%20b+c%ff%\r\n" in book.sent(SERVER)


@pytest.mark.parametrize("name", ["X-Client-Cert", "X_Client_Cert", "True-Client-IP", "X-Token", "X-Key"])
def test_fields_that_stay_here_do_so_behind_the_content_too(name: str) -> None:
    """Some servers make trailers fields of the head; other trailers go on."""
    connection = s.connection(token_header="x-token", inject="header", name="x-key")
    head = b"POST /a HTTP/1.1\r\nHost: crm.example\r\nX-Token: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % s.TOKEN
    content = b"%x\r\n%b\r\n0\r\n" % (HELD + 1, b"a" * (HELD + 1))
    book = s.World(rules=(s.ALLOW,), connections=(connection,)).book() >> Bytes(
        CLIENT, head + content + f"{name}: mine\r\nX-Sum: 7\r\n\r\n".encode())
    assert book.sent(SERVER).endswith(b"0\r\nX-Sum: 7\r\n\r\n")
