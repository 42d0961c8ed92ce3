"""Reviews of requests: what of the header fields a ticket is bound to, and what a reviewer reads of them."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.review import binding
from lockgate.model import DetectMask, MaskMethod, ReviewTerms, Rule, Secret
from lockgate.protocols.http.beside import UNBOUND
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.http import scene as s
from tests.protocols.http import sockets as w

REVIEW = Rule(name="ask", when='op.verb == "delete"', review=ReviewTerms(frozenset({"dba"}), 300.0))
KEYS = MaskKeys(Secret("07" * 32))


def asked(*rules: Rule, keys: MaskKeys | None = KEYS, options: dict[str, object] | None = None, **fields: str) -> Any:
    """What a person is asked about a DELETE with these fields."""
    world = s.World(rules=(s.ALLOW, REVIEW, *rules), keys=keys, connections=[s.connection(**(options or {}))])
    world.book() >> Bytes(CLIENT, s.request("DELETE", **fields))
    (found,) = world.desk.asked
    return found


@pytest.mark.parametrize(("name", "one", "other"), [
    ("X_Tenant", "acme", "globex"), ("Cookie", "session=1", "session=2"), ("If_Match", '"a"', '"b"'), ("Accept", "a/b", "c/d"),
    ("Range", "bytes=0-1", "bytes=0-2"), ("X_Api_Key", "k1", "k2"), ("Prefer", "a", "b"),
])
def test_a_ticket_is_good_for_the_same_fields_only(name: str, one: str, other: str) -> None:
    """A request that was approved with one tenant, cookie or precondition is another request with another one, or without."""
    first = binding(asked(**{name: one}))
    assert first == binding(asked(**{name: one}))
    assert first != binding(asked(**{name: other}))
    assert first != binding(asked())


def test_the_order_of_a_name_s_values_is_bound_and_that_of_names_is_not() -> None:
    """Fields of different names say the same in any order (RFC 9110 section 5.3); those of one name do not."""
    world = s.World(rules=(s.ALLOW, REVIEW))
    for lines in (b"A: 1\r\nB: 2\r\nA: 3\r\n", b"B: 2\r\nA: 1\r\nA: 3\r\n", b"A: 3\r\nB: 2\r\nA: 1\r\n"):
        data = s.request("DELETE")
        world.book() >> Bytes(CLIENT, data[:-2] + lines + b"\r\n")
    one, same, other = map(binding, world.desk.asked)
    assert one == same != other


@pytest.mark.parametrize("name", sorted(UNBOUND - {b"host", b"content-length", b"transfer-encoding", b"expect"}))
def test_what_each_try_has_of_its_own_is_not_bound(name: bytes) -> None:
    """Ids of tries, traces, the date and the client's program may be others when the request comes again."""
    assert binding(asked(**{name.decode(): "1"})) == binding(asked(**{name.decode(): "2"}))


def test_what_stays_here_is_not_bound() -> None:
    """The agent's token, the header that carries it, and what the gateway puts its credential into do not go on."""
    options: dict[str, object] = {"token_header": "x-token", "inject": "header", "name": "x-key"}
    assert binding(asked(options=options, X_Token="1", X_Key="2", X_Forwarded_For="3")) == binding(asked(options=options))


def test_a_reviewer_reads_the_fields_that_matter() -> None:
    """Fields are shown by name and value; those of the protocol are bound without being shown."""
    assert asked(X_Tenant="acme", Accept="*/*", If_Match='"7"').context == ('header if-match: "7"', "header x-tenant: acme")


def test_a_reviewer_reads_no_secrets_and_nothing_that_is_hidden_from_the_caller() -> None:
    """Values of fields that speak of secrets are never shown, whatever stands in the others passes masks and detectors."""
    hides = Rule(name="cards", detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))
    found = asked(hides, Cookie="sid=abc", X_Api_Key="k-1", X_Note="pay 4111111111111111", X_Own="AKIAIOSFODNN7EXAMPLF")
    assert found.context == (
        "header cookie: [7 bytes, not shown]", "header x-api-key: [3 bytes, not shown]", "header x-note: pay xxxx",
        "header x-own: xxxx")
    assert "abc" not in found.reading


def test_what_a_reviewer_reads_is_bounded() -> None:
    """Of a long value the beginning is shown, of many fields the first ones, with how much there is."""
    found = asked(**{f"X_{at:02}": "v" * 300 for at in range(40)}).context
    assert len(found) == 33
    assert found[0] == f"header x-00: {'v' * 256}… [300 bytes]"
    assert found[-1] == "and 8 more header fields"


def test_a_field_is_bound_by_a_key_of_the_gateway() -> None:
    """No record helps to guess a cookie: its hash needs a key, and is the same after a restart."""
    one = asked(Cookie="pin=1234")
    assert one.reading == asked(Cookie="pin=1234").reading
    assert one.reading != asked(keys=MaskKeys(Secret("08" * 32)), Cookie="pin=1234").reading


def test_no_work_is_done_where_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is let through is not bound to anything."""
    monkeypatch.setattr("lockgate.protocols.http.beside.request_fields", lambda *_, **__: pytest.fail("made for nothing"))
    world = s.World(rules=(s.ALLOW, REVIEW))
    book = world.book() >> Bytes(CLIENT, s.request("GET", X_Tenant="acme"))
    assert not world.faults
    assert b"X-Tenant: acme" in book.sent(SERVER)


def test_what_goes_on_says_on_record_what_it_was_approved_for() -> None:
    """The hash in the intent is computed from what is forwarded, its fields among it, and is the ticket's."""
    world = s.World(rules=(s.ALLOW, REVIEW), keys=KEYS)
    book = world.book() >> Bytes(CLIENT, s.request("DELETE", X_Tenant="acme"))
    world.desk.answer()
    book.resume()
    assert b"X-Tenant: acme" in book.sent(SERVER)
    assert world.log.intents[-1].binding == binding(world.desk.asked[0])


def test_a_message_over_a_websocket_is_bound_to_the_fields_of_its_handshake() -> None:
    """A message that was approved over one tenant's socket is not approved over another one's."""
    rule = Rule(name="ask", when='op.verb == "send"', review=ReviewTerms(frozenset({"dba"}), 300.0))
    world = s.World(rules=(s.ALLOW, rule), keys=KEYS)
    for tenant in ("acme", "globex", "acme"):
        w.opened(world, X_Tenant=tenant) >> Bytes(CLIENT, w.frame(w.TEXT, "pay"))
    one, other, same = map(binding, world.desk.asked)
    assert one == same != other
    assert "header x-tenant: acme" in world.desk.asked[0].context


def test_of_baggage_only_what_traces_put_there_is_not_bound() -> None:
    """Its members are the application's (W3C Baggage): a tenant, a user, a place that requests are led to."""
    one = "sentry-trace_id=1, tenant=acme"
    assert binding(asked(Baggage=one)) == binding(asked(Baggage="sentry-trace_id=2,sentry-release=3, tenant=acme"))
    assert binding(asked(Baggage=one)) != binding(asked(Baggage="sentry-trace_id=1, tenant=globex"))
    assert binding(asked(Baggage="sentry-trace_id=1")) == binding(asked(Baggage="sentry-trace_id=2"))
    assert asked(Baggage=one).context == ("header baggage: tenant=acme",)
    assert asked(Baggage="sentry-trace_id=1").context == ()
