"""Connections to the backend: which a request gets, and what one is good for when its client leaves it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from lockgate.config.settings import BackendCredential
from lockgate.config.strict import SecretReference
from lockgate.protocols.http.checks import mismatches
from lockgate.protocols.http.mediator import HttpMediator
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Hangup, Playbook
from lockgate.wire.spec import Spare
from lockgate.wire.steps import TlsInfo
from tests.protocols.http import scene as s
from tests.protocols.http.sockets import KEY


def spare(book: Playbook) -> Spare | None:
    mediator = book.mediator
    assert isinstance(mediator, HttpMediator)
    return mediator.spare


def test_a_connection_at_rest_is_anybodys() -> None:
    """Nothing is under way on it, and nothing of a request's content has been."""
    book = s.World().book()
    assert spare(book) is None
    book >> Bytes(CLIENT, s.request())
    assert spare(book) is None
    book >> Bytes(SERVER, s.answer())
    assert spare(book) == Spare(inf, is_bound=False)


def test_a_connection_that_has_carried_content_is_its_callers() -> None:
    """A backend that does not read it takes it for a request, whose answer comes later (CL.0)."""
    book = s.World().book() >> Bytes(CLIENT, s.request("POST", "/x", b"{}")) >> Bytes(SERVER, s.answer())
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert spare(book) == Spare(inf, is_bound=True)


def half(book: Playbook) -> None:
    book >> Bytes(SERVER, s.answer()[:-1])


def until_close(book: Playbook) -> None:
    book >> Bytes(SERVER, b"HTTP/1.1 200 OK\r\n\r\nabc") >> Hangup(SERVER)


def closing(book: Playbook) -> None:
    book >> Bytes(SERVER, s.answer(Connection="close"))


def old(book: Playbook) -> None:
    book >> Bytes(SERVER, s.answer().replace(b"1.1", b"1.0", 1))


def with_rest(book: Playbook) -> None:
    book >> Bytes(SERVER, s.answer() + b"HTTP/1.1 200 OK\r\n")


def unasked(book: Playbook) -> None:
    book >> Bytes(SERVER, s.answer()) >> Bytes(SERVER, s.answer(b"poison"))


def closed(book: Playbook) -> None:
    book >> Bytes(SERVER, s.answer()) >> Hangup(SERVER)


def broken(book: Playbook) -> None:
    book >> Bytes(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")


def asked_who(scheme: str) -> Callable[[Playbook], None]:
    def answered(book: Playbook) -> None:
        book >> Bytes(SERVER, s.answer(status=401, WWW_Authenticate=scheme))
        book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    return answered


def hint(value: str) -> Callable[[Playbook], None]:
    def answered(book: Playbook) -> None:
        book >> Bytes(SERVER, s.answer(Keep_Alive=value))
    return answered


@pytest.mark.parametrize("happens", [
    half, until_close, closing, old, with_rest, unasked, closed, broken, asked_who("Negotiate"), asked_who("NTLM"),
    asked_who('Basic realm="a, b", nTlM TlRMTVNTUAAC'), asked_who("Kerberos x"), hint("timeout=1"), hint("timeout=0, max=7"),
], ids=["half", "until close", "close", "1.0", "rest", "unasked", "closed", "broken", "negotiate", "ntlm", "second challenge",
        "kerberos", "one second", "no second"])
def test_what_is_not_as_good_as_new_is_nobodys(happens: Callable[[Playbook], None]) -> None:
    """It ended abnormally, has something unread, is about to close, or belongs to somebody whom the backend knows by it."""
    book = s.World().book() >> Bytes(CLIENT, s.request())
    happens(book)
    assert spare(book) is None


@pytest.mark.parametrize(("value", "seconds"), [
    ("timeout=5, max=100", 4.0), ("max=100,timeout=15", 14.0), ("Timeout=5", 4.0), ("xtimeout=5", inf), ("timeout=x", inf),
    ("timeout=1234567", inf)])
def test_a_backend_may_say_how_long_it_waits(value: str, seconds: float) -> None:
    """A request that is sent when it hangs up would be lost."""
    book = s.World().book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(Keep_Alive=value))
    found = spare(book)
    assert found is not None
    assert found.seconds == seconds


def test_other_challenges_bind_nothing() -> None:
    """With Bearer and Basic each request says who it is from."""
    book = s.World().book() >> Bytes(CLIENT, s.request())
    book >> Bytes(SERVER, s.answer(status=401, WWW_Authenticate='Bearer realm="negotiate", Basic realm=ntlm'))
    assert spare(book) is not None


def test_sharing_can_be_switched_off() -> None:
    """`reuse: false`: each client's connection has its own, made for it."""
    world = s.World(connections=(s.connection(reuse=False),))
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert spare(book) is None
    assert [step.idle for step in world.reached] == [0.0]


@pytest.mark.parametrize(("method", "content", "idle"), [
    ("GET", None, inf), ("HEAD", None, inf), ("DELETE", None, None), ("POST", b"{}", 1.0), ("POST", None, 1.0), ("PUT", b"{}", 1.0),
    ("PATCH", b"{}", 1.0)])
def test_what_cannot_be_repeated_gets_a_connection_that_was_used_just_now(
    method: str, content: bytes | None, idle: float | None
) -> None:
    """A backend that hangs up meanwhile would leave open whether it was carried out."""
    world = s.World(rules=(s.ALLOW,))
    world.book() >> Bytes(CLIENT, s.request(method, "/x", content))
    assert [step.idle for step in world.reached] == [inf if idle is None else idle]


def test_a_kept_connection_that_was_closed_is_replaced_by_a_new_one() -> None:
    """A GET over an end of somebody before goes out again, over one that nobody has used (RFC 9112 section 9.3.1)."""
    world = s.World(used=True)
    book = world.book() >> Bytes(CLIENT, s.request()) >> Hangup(SERVER)
    assert [step.idle for step in world.reached] == [inf, 0.0]
    book >> Hangup(SERVER)
    assert s.status(book) == 502


def test_a_new_connection_that_was_closed_is_not() -> None:
    """Its backend has seen the request, as far as anybody knows."""
    world = s.World()
    book = world.book() >> Bytes(CLIENT, s.request()) >> Hangup(SERVER)
    assert s.status(book) == 502
    assert world.dials == 1


def test_what_was_sent_with_content_is_not_repeated() -> None:
    """Over whichever connection."""
    world = s.World(used=True)
    book = world.book() >> Bytes(CLIENT, s.request("POST", "/pay", b"{}")) >> Hangup(SERVER)
    assert s.status(book) == 502
    assert book.sent(SERVER).count(b"POST /pay") == 1


# ---------------------------------------------------------------- HTTP/2


def world_of(mode: str = "require", alpn: str = "h2", **options: object) -> s.World:
    made = s.connection(**options)
    return s.World(connections=(made.model_copy(update={"tls": made.tls.model_copy(update={"mode": mode})}),),
                   tls=TlsInfo(None, alpn, None))


@pytest.mark.parametrize(("mode", "options", "fields", "offered"), [
    ("require", {}, {}, ("h2", "http/1.1")),
    ("disable", {}, {}, ("http/1.1",)),
    ("require", {"versions": "http/1.1"}, {}, ("http/1.1",)),
    ("require", {"versions": "h2"}, {}, ("h2",)),
    ("disable", {"versions": "h2"}, {}, ("h2",)),
    ("require", {"reuse": False}, {}, ("http/1.1",)),
    ("require", {}, {"Connection": "upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
                     "Sec_WebSocket_Key": KEY}, ("http/1.1",)),
    ("require", {"alpn": "http/1.1"}, {}, ("http/1.1",)),
    ("require", {"alpn": "http/1.1", "versions": "h2"}, {}, ("h2",)),
])
def test_the_version_is_agreed_on_as_the_connection_says(
    mode: str, options: dict[str, Any], fields: dict[str, str], offered: tuple[str, ...]
) -> None:
    """What the client speaks, by ALPN over TLS; without it only where the settings say so; and never for what HTTP/2 has not."""
    world = world_of(mode, **options)
    world.book() >> Bytes(CLIENT, s.request("GET", "/x", None, **fields))
    assert [step.protocols for step in world.reached] == [offered]


def test_a_stream_carries_one_exchange() -> None:
    """The next request has another one, and nobody else gets it."""
    world = world_of()
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert spare(book) is None
    assert world.hang_ups == 1
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert world.dials == 2
    assert s.status(book) == 200


def test_what_was_not_looked_at_goes_out_again() -> None:
    """RFC 9113 section 8.7: a POST with its content too, under the record that there is, twice at most and then over HTTP/1.1."""
    world = world_of()
    book = world.book() >> Bytes(CLIENT, s.request("POST", "/pay", b'{"sum":7}'))
    for _ in range(3):
        world.given[-1].is_untouched = True
        book >> Hangup(SERVER)
    assert [step.protocols for step in world.reached] == [("h2", "http/1.1"), ("h2", "http/1.1"), ("http/1.1",)]
    assert book.sent(SERVER).count(b'{"sum":7}') == 3
    assert len(world.log.intents) == 1
    assert s.status(book) == 502


def test_content_that_went_on_as_it_came_cannot_go_out_again() -> None:
    """It is not here any more."""
    world = world_of()
    book = world.book() >> Bytes(CLIENT, s.request("PUT", "/large", Content_Length="150000") + b"x" * 70_000)
    world.given[-1].is_untouched = True
    book >> Hangup(SERVER)
    assert world.dials == 1
    assert s.status(book) == 502


def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    """Whatever the backend says of the request then."""
    world = world_of()
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(b"x" * 300_000)[:-1])
    world.given[-1].is_untouched = True
    book >> Hangup(SERVER)
    assert world.dials == 1
    assert book.is_closed


def test_a_single_version_and_no_sharing_do_not_go_together() -> None:
    """HTTP/2 is many requests on one connection."""
    assert [keys for keys, _ in mismatches(s.connection(versions="h2", reuse=False))] == [("options", "reuse")]
    assert not list(mismatches(s.connection(versions="h2")))


@pytest.mark.parametrize(("options", "found"), [
    ({"inject": "bearer"}, [("options", "inject")]), ({"inject": "basic"}, [("options", "inject")]),
    ({"inject": "header", "name": "x-key"}, [("options", "inject")]), ({}, []), ({"inject": "none"}, []),
])
def test_a_credential_that_shall_be_injected_is_there(options: dict[str, str], found: list[tuple[str, str]]) -> None:
    """Who writes how it is injected has forgotten the credential; who writes nothing may have a backend that wants none."""
    assert [keys for keys, _ in mismatches(s.connection(**options))] == found
    given = s.connection(**options).model_copy(update={"credential": BackendCredential(password=SecretReference(env="KEY"))})
    assert list(mismatches(given)) == []
