"""Event streams: data is masked event by event, what stays is byte for byte, and a text in pieces is one text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.govern.masking.bodies import BodyTerms, body_mask
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.bodies.documents import CANARY, KEYS, cuts, every_split, mask, objects, run

EVENTS = b"text/event-stream"
DETECTS = (DetectMask(("email", "credit_card", "ssn", "password_assignment"), MaskMethod.PARTIAL),)
BOTH = BodyTerms((mask("ssn"),), DETECTS, ("llm", "v1"), keys=KEYS)


@given(events=st.lists(st.tuples(
    st.sampled_from(["", "event: a\n", ": ping\n", "id: 1\nretry: 5\n", "\n"]),
    objects(2, 1).map(lambda pair: tuple(one.replace("\r", " ").replace("\n", " ") for one in pair)), st.booleans()), max_size=4),
    end=st.sampled_from(["\n", "\r\n", "\r"]), bom=st.booleans(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_documents_in_events(
    events: list[tuple[str, tuple[str, str], bool]], end: str, bom: bool, data: st.DataObject,
) -> None:
    """With any ends of lines, comments, other fields, byte order mark and cut."""
    body = "\ufeff" if bom else ""
    left = body
    for before, (raw, shown), blank in events:
        mark = "data: " if blank else "data:"
        body += f"{before}{mark}{raw}\n\n".replace("\n", end)
        left += f"{before}{mark if raw == shown else 'data: '}{shown}\n\n".replace("\n", end)
    sent = body.encode()
    found = run(body_mask(BodyTerms((mask("ssn"),)), EVENTS), sent, data.draw(cuts(len(sent))))
    assert found == left.encode()
    assert CANARY.encode() not in found


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines(end: bytes) -> None:
    """Data over several lines is one document; other data is words; comments and ids are searched."""
    body = (b': mail jane.doe@example.org\n\nid: jane.doe@example.org\nevent: e\ndata: {"ssn":\ndata: 1, "b":\ndata:2}\nx: y\n\n'
            b'data: [DONE]\n\ndata: pay 4111 1111\ndata\n\ndata:mail jane.doe@example.org\n\n\n\ndata: "a 4111111111111111"\n\ndata: {"a":1}')
    left = (b': mail jxxxx@example.org\n\nid: jxxxx@example.org\nevent: e\ndata: {"ssn":\ndata: 0, "b":\ndata: 2}\nx: y\n\n'
            b'data: [DONE]\n\ndata: pay 4111 1111\ndata\n\ndata: mail jxxxx@example.org\n\n\n\ndata: "a xxxxxxxxxxxx1111"\n\ndata: {"a":1}')
    assert every_split(lambda: body_mask(BOTH, EVENTS), body.replace(b"\n", end)) == left.replace(b"\n", end)


def test_an_event_goes_on_when_it_is_whole() -> None:
    """Nothing waits for the next one."""
    body = body_mask(BOTH, EVENTS)
    assert body is not None
    assert body.feed(b'data: {"a":1}\n') == b""
    assert body.feed(b"\n") == b'data: {"a":1}\n\n'
    assert body.feed(b'data: {"a":2}\r\n\r') == b'data: {"a":2}\r\n\r'
    assert body.feed(b"\ndata: 3") == b"\n"


def test_what_cannot_be_looked_into_is_refused() -> None:
    """A document that is none, where its members could be masked; an event that is too long."""
    for data in (b'data: {"ssn": 1\n\n', b'data: {"a":{"ssn":}}\n\n', b"data: " + b"x" * 2_000_000):
        body = body_mask(BOTH, EVENTS)
        assert body is not None
        with pytest.raises(ValueError):
            body.feed(data)
    body = body_mask(BodyTerms(detects=DETECTS), EVENTS)
    assert body is not None
    assert body.feed(b"data: {mail jane.doe@example.org}\n\n") == b"data: {mail jxxxx@example.org}\n\n"


# ------------------------------------------------------------ language models


def chat(parts: list[str], *, tool: bool = False, done: bool = True) -> Iterator[Any]:
    """OpenAI, chat completions."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    first: dict[str, Any] = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]}
    yield head | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""} | (first if tool else {}), "finish_reason": None}]}
    for part in parts:
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": part}}]} if tool else {"content": part}
        yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    if done:
        yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def responses(parts: list[str]) -> Iterator[Any]:
    """OpenAI, responses."""
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    yield {"type": "response.created", "response": {"id": "r", "output": []}}
    for number, part in enumerate(parts):
        yield {"type": "response.output_text.delta", **where, "delta": part, "sequence_number": number}
    yield {"type": "response.output_text.done", **where, "text": "".join(parts)}
    yield {"type": "response.completed", "response": {"id": "r", "output": [{"content": [{"text": "".join(parts)}]}]}}


def messages(parts: list[str], *, tool: bool = False) -> Iterator[Any]:
    """Anthropic, messages."""
    yield {"type": "message_start", "message": {"id": "m", "content": []}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for part in parts:
        yield {"type": "content_block_delta", "index": 0, "delta": (
            {"type": "input_json_delta", "partial_json": part} if tool else {"type": "text_delta", "text": part})}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    yield {"type": "message_stop"}


def stream(events: Iterator[Any], *, named: bool) -> bytes:
    return b"".join((f"event: {one['type']}\n".encode() if named else b"") + b"data: " + json.dumps(one).encode() + b"\n\n"
                    for one in events)


def documents_of(body: bytes) -> list[Any]:
    found = []
    for event in body.decode().split("\n\n"):
        data = [line.removeprefix("data: ") for line in event.split("\n") if line.startswith("data: ")]
        if data and data != ["[DONE]"]:
            found.append(json.loads("\n".join(data)))
            names = [line.removeprefix("event: ") for line in event.split("\n") if line.startswith("event: ")]
            assert names in ([], [found[-1].get("type")])
    return found


def text_of(documents: list[Any]) -> str:
    """What a client puts together; nothing may come behind the end of a text."""
    out, is_over = "", False
    for one in documents:
        found = ""
        for choice in one.get("choices", ()):
            delta = choice["delta"]
            found += delta.get("content") or "".join(call["function"]["arguments"] for call in delta.get("tool_calls", ()))
        delta = one.get("delta")
        if isinstance(delta, str):
            found += delta
        elif isinstance(delta, dict):
            found += delta.get("text", "") + delta.get("partial_json", "")
        assert not (is_over and found)
        is_over = is_over or one.get("type", "").endswith((".done", "_stop")) or any(
            choice["finish_reason"] for choice in one.get("choices", ()))
        out += found
    return out


SAID = ('I paid with 4111 1111 1111 1111 and wrote to jane.doe@example.org, password: hunter22 — "naïve" 219-09-9999 is the end 41 '
        "jane.doe@example.org")
SHOWN = ('I paid with xxxx xxxx xxxx 1111 and wrote to jxxxx@example.org, password: xxxx — "naïve" xxx-xx-9999 is the end 41 '
         "jxxxx@example.org")


@st.composite
def in_pieces(draw: st.DrawFn) -> list[str]:
    places = sorted(draw(st.sets(st.integers(1, len(SAID) - 1), max_size=60)))
    return [SAID[start:end] for start, end in zip([0, *places], [*places, len(SAID)], strict=True)]


@given(parts=in_pieces(), shape=st.sampled_from(["chat", "tool", "responses", "messages", "input"]), data=st.data())
@settings(deadline=None)
def test_texts_in_pieces_are_one_text(parts: list[str], shape: str, data: st.DataObject) -> None:
    """Whatever way a model cuts it, and the stream is cut besides."""
    made = {"chat": chat(parts), "tool": chat(parts, tool=True), "responses": responses(parts), "messages": messages(parts),
            "input": messages(parts, tool=True)}[shape]
    body = stream(made, named=shape not in ("chat", "tool")) + (b"data: [DONE]\n\n" if shape in ("chat", "tool") else b"")
    found = run(body_mask(BOTH, EVENTS), body, data.draw(cuts(len(body))))
    documents = documents_of(found)
    assert text_of(documents) == SHOWN
    for secret in (b"jane.doe", b"1111 1111", b"hunter22", b"219-09"):
        assert secret not in found
    if shape == "tool":
        assert found.count(b"call_1") == 1


def test_pieces_letter_by_letter() -> None:
    """The finest cut there is, of every shape; a stream that breaks off gives what it had."""
    for made, named in ((chat(list(SAID)), False), (responses(list(SAID)), True), (messages(list(SAID)), True),
                        (chat(list(SAID), done=False), False)):
        assert text_of(documents_of(run(body_mask(BOTH, EVENTS), stream(made, named=named)))) == SHOWN


def test_texts_beside_each_other_are_kept_apart() -> None:
    """Two choices in turn; each ends on its own."""
    events: list[Any] = []
    for one, other in zip(SAID, SAID[::-1], strict=True):
        events.append({"choices": [{"index": 0, "delta": {"content": one}, "finish_reason": None},
                                   {"index": 1, "delta": {"content": other}, "finish_reason": None}]})
    found = documents_of(run(body_mask(BOTH, EVENTS), stream(iter(events), named=False)))
    texts = ["", ""]
    for event in found:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["delta"]["content"]
    assert texts[0] == SHOWN
    assert texts[1] == run(body_mask(BOTH, b"text/plain"), SAID[::-1].encode()).decode()


def test_plain_words_come_at_once() -> None:
    """A piece goes on with the next one at the latest, in its own event, which is otherwise as it was."""
    body = body_mask(BOTH, EVENTS)
    assert body is not None
    event = 'data: {"choices": [{"index":0, "delta":{"content":"%s"},"x":1.50}]}\n\n'
    assert body.feed((event % "Hello ").encode()) == (event % "Hello ").encode()
    assert body.feed((event % "wor").encode()) == (event % "").encode()
    assert body.feed((event % "ld ").encode()) == (event % "world ").encode()


def test_masks_go_before_texts() -> None:
    """Where a mask names a piece, or something beside one."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a 4111 1111 1111 1111 b ","ssn":1}}],"ssn":[2]}\n\n'
    assert run(body_mask(BOTH, EVENTS), event) == (
        b'data: {"choices":[{"index":0,"delta":{"content":"a xxxx xxxx xxxx 1111 b ","ssn":0}}],"ssn":"xxxx"}\n\n')
    terms = BodyTerms((mask("delta.content"),), DETECTS)
    assert b"4111" not in run(body_mask(terms, EVENTS), event)


def test_a_document_that_says_two_things_hides_both() -> None:
    """Members of one name: what a reader takes of them is not known."""
    event = b'data: {"choices":[{"delta":{"content":"4111 1111 1111 1111","content":"mail jane.doe@example.org "}}]}\n\n'
    found = run(body_mask(BOTH, EVENTS), event)
    assert b"4111 1111 1111" not in found
    assert b"jane.doe" not in found
