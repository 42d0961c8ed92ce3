"""What a backend says over a WebSocket, behind its masks: no value of a label reaches the client in any shape or split."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lockgate.govern.masking.keys import MASTER_BYTES, MaskKeys
from lockgate.govern.pipeline import Governor
from lockgate.model import ColumnMask, DetectMask, KeyScope, MaskMethod, OutcomeStatus, Rule, Secret
from lockgate.protocols.http.websocket.due import NAMES, Due
from lockgate.protocols.http.websocket.frames import Frames, Message
from lockgate.wire.conformance import Case, require_fail_closed, require_settled
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Hangup, Playbook
from lockgate.wire.steps import Side
from tests.protocols.http import scene as s
from tests.protocols.http import sockets as w

SSN = "219-09-9999"
CARD = "4111111111111111"
HIDE = Rule(name="hide", masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),),
            detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))
FIND = Rule(name="find", detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))


def world(*rules: Rule, **options: object) -> s.World:
    return s.World(rules=(s.ALLOW, *(rules or (HIDE,))), connections=(s.connection(**options),))


def shown(message: bytes | str, *, opcode: int = w.TEXT, rules: tuple[Rule, ...] = (HIDE,), **options: object) -> list[bytes] | int:
    """What a client gets of a message; the close code where it gets none."""
    book = w.opened(world(*rules, **options)) >> Bytes(SERVER, w.told(opcode, message))
    return w.last(book).code if book.is_closed else w.said(w.to_client(book))


# ------------------------------------------------------------ what is hidden


@pytest.mark.parametrize("opcode", [w.TEXT, w.BINARY])
@pytest.mark.parametrize(("message", "expected"), [
    (f'{{"ssn":"{SSN}","a":1}}', '{"ssn":"xxxx","a":1}'), (f' [{{"SSN":["{SSN}",{{"x":"{SSN}"}}]}}]', ' [{"SSN":"xxxx"}]'),
    (f'{{"a":{{"b":[{{"ssn":"{SSN}"}}]}}}}\n{{"ssn":7}}\n', '{"a":{"b":[{"ssn":"xxxx"}]}}\n{"ssn":0}\n'),
    (json.dumps({"text": json.dumps({"ssn": SSN})}), '{"text": "{\\"ssn\\": \\"xxxx\\"}"}'),
    (f'42["seen",{{"ssn":"{SSN}"}}]', '42["seen",{"ssn":"xxxx"}]'),
    (f'MESSAGE\ndestination:/x\n\n{{"ssn":"{SSN}"}}\0\n', 'MESSAGE\ndestination:/x\n\n{"ssn":"xxxx"}\0\n'),
    (f'{CARD} ["a"]', 'xxxx ["a"]'), (f"card {CARD} ok", "card xxxx ok"), (f'"card {CARD} ok"', '"card xxxx ok"'), (f'["\\u0034{CARD[1:]}"]', '["xxxx"]'),
    ("plain words", "plain words"), ("", ""), ("42", "42"), ('{"a": 1.50}', '{"a": 1.50}')])
def test_messages_are_masked_by_names_and_by_what_they_look_like(message: str, expected: str, opcode: int) -> None:
    """JSON, JSON in strings, several documents, JSON behind words, text; in text frames and in binary ones. Everything else
    stays as it is."""
    assert shown(message, opcode=opcode) == [expected.encode()]


@pytest.mark.parametrize("message", [
    f'{{"ssn":"{SSN}"', f'{{"ssn":"{SSN}"}} and more', f"the {{ssn}} is {SSN}", f'{{"a":1}}\0{{"ssn":"{SSN}"}}', f"<x ssn='{SSN}'>[</x>",
    "[" * 2000 + "]" * 2000])
def test_what_looks_like_json_and_is_none_is_not_shown(message: str) -> None:
    """Where masks name members: the socket ends, and says why without the message."""
    book = w.opened(world()) >> Bytes(SERVER, w.told(w.TEXT, message))
    assert w.last(book).code == 1008
    assert w.last(book).reason.startswith("not_enforceable: a message of the backend cannot be shown")
    assert not w.said(w.to_client(book))
    assert SSN.encode() not in book.sent(CLIENT)


def test_without_named_members_it_is_text() -> None:
    """Searched by detectors; JSON's escapes in what is no JSON are not let through."""
    assert shown(f"{{card}} {CARD} [", rules=(FIND,)) == [b"{card} xxxx ["]
    assert shown(f"{{ \\u0034{CARD[1:]}", rules=(FIND,)) == 1008


@pytest.mark.parametrize(("options", "expected"), [({}, 1008), ({"binary": "allow"}, [b"\x89PNG\xff"])])
def test_bytes_that_are_no_text_are_shown_as_the_connection_says(options: dict[str, object], expected: object) -> None:
    """Where a mask is due; elsewhere they pass."""
    assert shown(b"\x89PNG\xff", opcode=w.BINARY, **options) == expected
    assert shown(b"\x89PNG\xff", opcode=w.BINARY, rules=(s.NO_DELETE,)) == [b"\x89PNG\xff"]


def test_text_with_nul_bytes_is_not_shown() -> None:
    """It may be text in another encoding, in which detectors see nothing."""
    wide = CARD.encode("utf-16-le")
    assert shown(wide) == 1008
    assert shown(wide, opcode=w.BINARY) == 1008


def test_what_is_hidden_counts_for_the_request_that_opened_the_socket() -> None:
    """With all bytes that went to the client."""
    here = world()
    book = w.opened(here) >> Bytes(SERVER, w.told(w.TEXT, f'{{"ssn":"{SSN}"}}') * 3 + w.closing(1000, of_client=False))
    outcome = here.log.outcomes[-1]
    assert (outcome.status, outcome.masked, outcome.sent) == (OutcomeStatus.OK, {"*.ssn": 3}, 3 * len('{"ssn":"xxxx"}'))
    assert w.last(book).code == 1000


# ------------------------------------------------------------ what is due


def test_what_is_due_for_a_message_is_due_behind_it() -> None:
    """Nobody can tell which of a backend's messages answers it."""
    rule = Rule(name="asked", when='op.verb == "send" && op.json.ask == "people"', masks=HIDE.masks)
    told = Bytes(SERVER, w.told(w.TEXT, f'{{"ssn":"{SSN}"}}'))
    book = w.opened(world(rule)) >> told
    book >> Bytes(CLIENT, w.frame(w.TEXT, '{"ask":"weather"}')) >> told
    book >> Bytes(CLIENT, w.frame(w.TEXT, '{"ask":"people"}')) >> told
    book >> Bytes(CLIENT, w.frame(w.TEXT, '{"ask":"weather"}')) >> told
    plain, hidden = f'{{"ssn":"{SSN}"}}'.encode(), b'{"ssn":"xxxx"}'
    assert w.said(w.to_client(book)) == [plain, plain, hidden, hidden]


def test_terms_that_change_let_out_what_was_held_under_the_others() -> None:
    """A text in pieces that began before a message with more masks goes on; what it held is not lost."""
    rule = Rule(name="asked", when='op.verb == "send"', masks=HIDE.masks)
    book = w.opened(world(FIND, rule))
    for event in list(events("the end is 4111", 4))[:-1]:
        book >> Bytes(SERVER, w.told(w.TEXT, event))
    book >> Bytes(CLIENT, w.frame(w.TEXT, "more")) >> Bytes(SERVER, w.told(w.TEXT, f'{{"ssn":"{SSN}"}}'))
    *texts, final = w.said(w.to_client(book))
    assert "".join(json.loads(one)["delta"] for one in texts) == "the end is 4111"
    assert final == b'{"ssn":"xxxx"}'


def test_a_policy_that_masks_more_holds_for_the_next_message() -> None:
    """Of a socket that is open already."""
    book = w.opened(world(s.NO_DELETE)) >> Bytes(SERVER, w.told(w.TEXT, f'{{"ssn":"{SSN}"}}'))
    w.tighten(book, HIDE)
    book >> Bytes(SERVER, w.told(w.TEXT, f'{{"ssn":"{SSN}"}}'))
    assert w.said(w.to_client(book))[1] == b'{"ssn":"xxxx"}'


def test_a_token_comes_back_as_its_value_and_a_mask_is_not_stored() -> None:
    """In a message as in a body."""
    token = ColumnMask(("*.ssn",), MaskMethod.TOKEN, label="ssn", scope=KeyScope.CONNECTION, returns=True)
    here = world(Rule(name="tokens", masks=(token,)))
    here.keys = MaskKeys(Secret("5a" * MASTER_BYTES))
    book = w.opened(here) >> Bytes(SERVER, w.told(w.TEXT, f'{{"ssn":"{SSN}"}}'))
    given = json.loads(w.said(w.to_client(book))[0])["ssn"]
    assert given.startswith("tok_")
    book >> Bytes(CLIENT, w.frame(w.TEXT, json.dumps({"ssn": given})))
    assert json.loads(w.said(w.to_server(book))[0]) == {"ssn": SSN}
    book = w.opened(world()) >> Bytes(CLIENT, w.frame(w.TEXT, '{"ssn":"xxxx"}'))
    assert w.problem(book)["code"] == "not_enforceable"


# ------------------------------------------------------------ names that a message gives


def subscribing(document: str, **payload: str) -> bytes:
    """A message of graphql-transport-ws."""
    return w.frame(w.TEXT, json.dumps({"type": "subscribe", "id": "1", "payload": {"query": document, **payload}}))


ALIASED = f'{{"type":"next","id":"1","payload":{{"data":{{"me":{{"x":"{SSN}"}}}}}}}}'


@pytest.mark.parametrize("document", [
    "subscription { me { x: ssn } }", "query a { me { name } } subscription b { me { ...f } } fragment f on P { x: ssn }",
    "{ me { ... on P { X: SSN } } }"])
def test_aliases_of_graphql_are_no_way_around_masks(document: str) -> None:
    """An answer bears the names that a message chose, whichever message of the socket it was."""
    book = w.opened(world(graphql=["/graphql"]), "/graphql") >> Bytes(CLIENT, w.frame(w.TEXT, '{"type":"connection_init"}'))
    book >> Bytes(CLIENT, subscribing(document)) >> Bytes(CLIENT, subscribing("{ me { name } }")) >> Bytes(SERVER, w.told(w.TEXT, ALIASED))
    assert len(w.said(w.to_server(book))) == 3
    assert w.said(w.to_client(book)) == [ALIASED.replace(SSN, "xxxx").encode()]


@pytest.mark.parametrize("message", [
    '{"query":"{ me { x: ssn } }"}', '42["ask",{"Query":"{ me { x: ssn } }"}]', '[[{"a":{"query":"{ me { x: ssn } }"}}]]'])
def test_aliases_count_where_nobody_has_said_that_graphql_is_spoken(message: str) -> None:
    """In whatever can be read as such."""
    book = w.opened(world()) >> Bytes(CLIENT, w.frame(w.BINARY, message)) >> Bytes(SERVER, w.told(w.TEXT, ALIASED))
    assert w.said(w.to_client(book)) == [ALIASED.replace(SSN, "xxxx").encode()]


@pytest.mark.parametrize("sent", [
    subscribing("{ me { x: ssn "), subscribing("{ me { ... @defer { ssn } } }"), w.frame(w.TEXT, '{"type":"other"}'), w.frame(w.BINARY, b"\xff"),
    w.frame(w.TEXT, '{"type":"start","payload":{"extensions":{}}}'), w.frame(w.TEXT, "{ me { x: ssn } }")])
def test_names_that_nobody_can_read_are_refused_under_masks(sent: bytes) -> None:
    """On a path of GraphQL. Without masks they go on; masks that come later cannot be held any more, and end the socket."""
    book = w.opened(world(graphql=["/graphql"]), "/graphql") >> Bytes(CLIENT, sent)
    assert w.last(book).code == 1008
    assert not w.said(w.to_server(book))
    book = w.opened(world(s.NO_DELETE, graphql=["/graphql"]), "/graphql") >> Bytes(CLIENT, sent)
    assert len(w.said(w.to_server(book))) == 1
    w.tighten(book, HIDE)
    book >> Bytes(SERVER, w.told(w.TEXT, ALIASED))
    assert w.last(book).reason.startswith("not_enforceable: what comes back")
    assert not leaks(book)


def test_aliases_from_before_masks_are_remembered() -> None:
    """A policy that masks more finds the names that are in use."""
    book = w.opened(world(s.NO_DELETE, graphql=["/graphql"]), "/graphql") >> Bytes(CLIENT, subscribing("{ me { x: ssn } }"))
    w.tighten(book, HIDE)
    book >> Bytes(SERVER, w.told(w.TEXT, ALIASED))
    assert w.said(w.to_client(book)) == [ALIASED.replace(SSN, "xxxx").encode()]


def test_a_socket_takes_so_many_names() -> None:
    """And is closed with the reason above them."""
    book = w.opened(world(graphql=["/graphql"]), "/graphql")
    for number in range(0, NAMES + 600, 600):
        book >> Bytes(CLIENT, subscribing("{ " + " ".join(f"a{at}:b" for at in range(number, number + 600)) + " }"))
    assert w.last(book).code == 1009
    assert len(w.said(w.to_server(book))) == NAMES // 600


# ------------------------------------------------------------ language models


def events(text: str, size: int, kind: str = "response.output_text") -> Iterator[str]:
    """A text as OpenAI's Realtime API sends it, in pieces."""
    place = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    for at in range(0, len(text), size):
        yield json.dumps({"type": f"{kind}.delta", "event_id": f"e{at}", **place, "delta": text[at:at + size]})
    yield json.dumps({"type": f"{kind}.done", "event_id": "end", **place})


@pytest.mark.parametrize("size", range(1, 20))
@pytest.mark.parametrize("kind", ["response.output_text", "response.output_audio_transcript", "response.function_call_arguments"])
def test_pieces_of_a_models_text_are_joined(size: int, kind: str) -> None:
    """Over messages: a number in pieces is found, and all of the rest arrives."""
    book = w.opened(world())
    for event in events(f"pay with {CARD} now, thanks", size, kind):
        book >> Bytes(SERVER, w.told(w.TEXT, event))
    found = [json.loads(one) for one in w.said(w.to_client(book))]
    assert "".join(one.get("delta", "") for one in found) == "pay with xxxx now, thanks"
    assert found[-1]["type"].endswith(".done")


def test_what_is_held_of_a_models_text_comes_before_the_close() -> None:
    """A backend that closes in the middle of a text."""
    book = w.opened(world())
    for event in list(events("the end is 4111", 4))[:-1]:
        book >> Bytes(SERVER, w.told(w.TEXT, event))
    book >> Bytes(SERVER, w.closing(1000, of_client=False))
    assert "".join(json.loads(one)["delta"] for one in w.said(w.to_client(book))) == "the end is 4111"


# ------------------------------------------------------------ canaries


def nested(value: str) -> Iterator[str]:
    """A member of a label and a text, in every shape that a message may have."""
    plain: Any = {"id": 1, "ssn": value, "note": f"card {CARD}."}
    for inner in (plain, [plain], {"a": {"b": [[plain]]}}, {"SSN": [plain]}, {"ssn": {"deep": plain}}):
        text = json.dumps(inner)
        yield text
        yield json.dumps({"text": text, "again": json.dumps({"text": text})})
        yield f"{text}\n{text}"
        yield f'42["event",{text}]'
    yield json.dumps(plain).replace(value, "".join(f"\\u{ord(one):04x}" for one in value)).replace(
        CARD, "".join(f"\\u{ord(one):04x}" for one in CARD))
    yield json.dumps(plain, indent=2)


def fragments(data: bytes, opcode: int) -> Iterator[bytes]:
    """A message in one frame, in two at every place, and byte by byte with control frames in between."""
    yield w.told(opcode, data)
    for at in range(len(data)):
        yield w.told(opcode, data[:at], fin=False) + w.told(w.CONTINUATION, data[at:])
    pieces = [w.told(w.CONTINUATION if at else opcode, data[at:at + 1], fin=at == len(data) - 1) for at in range(len(data))]
    yield w.told(w.PING, SSN).join(pieces)


def leaks(book: Playbook) -> bool:
    """Whether a canary stands in anything that the client got, with the escapes of JSON undone too."""
    got = w.to_client(book)
    for one in (book.sent(CLIENT), *(frame.payload for frame in got)):
        for text in (one, one.decode("utf-8", "replace").encode("utf-8").decode("unicode_escape", "ignore").encode("utf-8", "replace")):
            if SSN.encode() in text or CARD.encode() in text or CARD[4:].encode() in text:
                return True
    return False


@pytest.mark.parametrize("opcode", [w.TEXT, w.BINARY])
def test_no_canary_leaks_in_any_nesting_over_any_border(opcode: int) -> None:
    """Fragments at every place of the shortest shape, and each shape byte by byte, with pings that hold the canary."""
    shapes = list(nested(SSN))
    tried = 0
    for number, shape in enumerate(shapes):
        data = shape.encode()
        book = w.opened(world())
        for one in fragments(data, opcode) if number == 0 else (w.told(opcode, data), list(fragments(data, opcode))[-1]):
            book >> Bytes(SERVER, one)
            tried += 1
        assert not book.is_closed
        assert not leaks(book)
    assert tried > 100


def test_no_canary_leaks_by_what_is_no_message() -> None:
    """Close reasons, pings and pongs, fields of the 101, frames behind a close frame, and compressed ones."""
    packed = w.frame(w.TEXT, f'{{"ssn":"{SSN}"}}', key=None, rsv=4)
    endings = [
        w.closing(1000, CARD, of_client=False), w.closing(4000, f'{{"ssn":"{SSN}"}}', of_client=False),
        w.closing(4000, f"{{ssn: {SSN}", of_client=False), w.closing(4000, f'["\\u0034{CARD[1:]}"]', of_client=False),
        w.told(w.PING, CARD), w.told(w.PONG, SSN), packed, w.closing(1000, of_client=False) + w.told(w.TEXT, f'{{"ssn":"{SSN}"}}'),
        w.told(w.TEXT, f'{{"ssn":"{SSN}', fin=False) + w.closing(1000, of_client=False), w.told(w.TEXT, CARD) * 2 + packed,
    ]
    for one in endings:
        book = w.opened(world()) >> Bytes(SERVER, one) >> Hangup(SERVER)
        assert not leaks(book), one
    book = world().book() >> Bytes(CLIENT, w.opening()) >> Bytes(SERVER, w.switching(X_Card=CARD).replace(b"Fine", CARD.encode()))
    assert b"101 Switching Protocols" in book.sent(CLIENT)
    assert CARD.encode() not in book.sent(CLIENT)


def test_a_reason_is_shown_behind_its_masks() -> None:
    """And dropped where it cannot be, or has no room for them; the code passes."""
    for reason, expected in (("fine", "fine"), (f"card {CARD}", "card xxxx"), (f'{{"ssn":"{SSN}"}}', '{"ssn":"xxxx"}'), ("{no json", "")):
        book = w.opened(world()) >> Bytes(SERVER, w.closing(4000, reason, of_client=False))
        assert (w.last(book).code, w.last(book).reason) == (4000, expected)


# ------------------------------------------------------------ the rules of `wire.conformance`


def messages(side: Side, data: bytes) -> object:
    """Frames without their keys, which are random."""
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, [(one.opcode, one.payload) for one in w.frames_in(rest)] if side is CLIENT or b"pgrade" in head else rest


SCRIPT = [
    Bytes(CLIENT, w.opening()), Bytes(SERVER, w.switching()),
    Bytes(CLIENT, w.frame(w.TEXT, "who", fin=False) + w.frame(w.CONTINUATION, "?")), Bytes(SERVER, w.told(w.TEXT, f'{{"ssn":"{SSN}"}}')),
    Bytes(CLIENT, w.closing(1000)), Bytes(SERVER, w.closing(1000, of_client=False)), Hangup(SERVER), Hangup(CLIENT)]
CASE = Case(lambda: world().book(), SCRIPT, SSN.encode(), messages)


def test_a_broken_stage_lets_nothing_through() -> None:
    """Neither to the backend nor to the client."""
    require_fail_closed(CASE)


def test_every_message_is_settled_once() -> None:
    """And so is the request that opened the socket."""
    require_settled(CASE)


def test_any_split_of_the_bytes_gives_the_same_messages() -> None:
    """Byte by byte, and cut once at every place."""
    whole = _played(lambda data: [data])
    longest = max(len(event.data) for event in SCRIPT if isinstance(event, Bytes))
    for at in range(1, longest):
        assert _played(lambda data, at=at: [piece for piece in (data[:at], data[at:]) if piece]) == whole  # type: ignore[misc]
    assert _played(lambda data: [bytes([one]) for one in data]) == whole


def _played(split: Any) -> object:
    book = world().book()
    for event in SCRIPT:
        for one in [Bytes(event.side, piece) for piece in split(event.data)] if isinstance(event, Bytes) else [event]:
            book >> one
    return messages(CLIENT, book.sent(CLIENT)), messages(SERVER, book.sent(SERVER))


# ------------------------------------------------------------ seeded faults


def seeded(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake that somebody could make."""
    clear, before = Governor.clear, Due.terms
    match fault:
        case "a plan that passes messages":
            monkeypatch.setattr(Governor, "clear", lambda self, plan, chunk, grant=None: clear(
                self, plan, chunk, grant) if not chunk else self.compose(w.told(w.TEXT, chunk)))
        case "terms that forget the masks":
            monkeypatch.setattr(Due, "terms", lambda self, standing, *more: before(self, replace(standing, masks=()), *more))
        case "a message whose masks are forgotten":
            monkeypatch.setattr(Due, "widen", lambda self, message, names: None)
        case "fragments that are shown one by one":
            monkeypatch.setattr(Frames, "_joined", lambda self, data, frame: Message(data, True))


@pytest.mark.parametrize("fault", [
    "", "a plan that passes messages", "terms that forget the masks", "a message whose masks are forgotten",
    "fragments that are shown one by one"])
def test_seeded_mistakes_are_noticed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary is looked for where each of them would let it out, and is not there without one."""
    seeded(fault, monkeypatch)
    always = w.opened(world()) >> Bytes(SERVER, w.told(w.TEXT, f'{{"ssn":"{SSN}"}}'))
    torn = w.opened(world(FIND)) >> Bytes(SERVER, w.told(w.TEXT, CARD[:8], fin=False) + w.told(w.CONTINUATION, CARD[8:]))
    rule = Rule(name="asked", when='op.verb == "send"', masks=HIDE.masks)
    asked = w.opened(world(rule)) >> Bytes(CLIENT, w.frame(w.TEXT, "x")) >> Bytes(SERVER, w.told(w.TEXT, f'{{"ssn":"{SSN}"}}'))
    together = b"".join(w.said(w.to_client(torn)))
    assert (leaks(always) or leaks(asked) or CARD.encode() in together) is bool(fault)


@pytest.mark.parametrize(("message", "is_shown"), [
    ("ssn 219-09-9999", False), ("42", False), (f'42["seen",{{"ssn":"{SSN}"}}]', True), ("", True), ('{"a":1}', True),
])
def test_a_message_without_names_ends_the_socket_where_text_is_denied(message: str, is_shown: bool) -> None:
    """As an answer of running text is refused; words in front of a document are the protocol's."""
    book = w.opened(world(text="deny")) >> Bytes(SERVER, w.told(w.TEXT, message))
    assert book.is_closed is not is_shown
    if not is_shown:
        assert (w.last(book).code, "names of members" in w.last(book).reason) == (1008, True)
    assert shown(message, rules=(FIND,), text="deny") == [message.encode()]
