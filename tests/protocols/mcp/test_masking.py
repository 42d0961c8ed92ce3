"""Masks on what servers say and looks at what clients send, message by message: what is hidden, in every split."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lockgate.govern.masking.keys import MASTER_BYTES, MaskKeys
from lockgate.model import (
    ColumnMask,
    DetectMask,
    KeyScope,
    MaskMethod,
    OutcomeStatus,
    RequestAction,
    RequestCheck,
    Rule,
    Secret,
)
from lockgate.wire.conformance import (
    Case,
    require_fail_closed,
    require_no_canary,
    require_settled,
    require_split_independence,
)
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from tests.protocols.http import scene as http
from tests.protocols.http.test_conformance import meaning
from tests.protocols.mcp import scene as s

SSN, CARD = s.CANARY.decode(), s.CARD.decode()
ROW = json.dumps({"ssn": SSN, "n": 1})
NOTE = f"paid with {CARD} today"


def make() -> Playbook:
    return s.world(s.HIDE).book()


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


CALL = s.post(s.tool(1, "customer"))
LOG = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": {"ssn": SSN, "at": NOTE}}}
SAMPLE = s.call("s1", "sampling/createMessage", messages=[{"role": "user", "content": text(f"{ROW} ")}, {"role": "user", "content": text(NOTE)}],
                systemPrompt=NOTE, maxTokens=9)
ELICIT = s.call("s2", "elicitation/create", message=NOTE, requestedSchema={"type": "object", "description": CARD})
SAID: dict[str, tuple[bytes, bytes]] = {
    "structured content": (CALL, s.told(s.result(1, content=[text(ROW)], structuredContent={"rows": [{"SSN": SSN}], "t": NOTE}))),
    "text": (CALL, s.told(s.result(1, content=[text(NOTE), text(f"[{ROW}]")], isError=True))),
    "embedded": (CALL, s.told(s.result(1, content=[{"type": "resource", "resource": {"uri": "crm://1", "text": ROW}},
                                                   {"type": "resource_link", "uri": f"crm://{CARD}", "name": NOTE}]))),
    "unnamed": (CALL, s.told(s.result(1, content=[], ssn=SSN, more={"ssn": SSN, "x": NOTE}, _meta={"ssn": SSN}))),
    "within words": (CALL, s.told(s.result(1, content=[{**text("a"), "annotations": {"ssn": SSN, "audience": ["user"]}}], values=[{"ssn": SSN}],
                                           metadata={"a": {"ssn": SSN}}, name={"ssn": SSN}))),
    "status of a task": (CALL, s.told(s.result(1, task={"taskId": "t", "status": "working", "statusMessage": ROW}))),
    "error": (CALL, s.told({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": NOTE, "data": {"ssn": SSN}}})),
    "resource": (s.post(s.call(1, "resources/read", uri="crm://1")), s.told(s.result(1, contents=[{"uri": "crm://1", "text": ROW}]))),
    "prompt": (s.post(s.call(1, "prompts/get", name="p")), s.told(s.result(
        1, description=NOTE, messages=[{"role": "user", "content": text(ROW)}]))),
    "completion": (s.post(s.call(1, "completion/complete", ref={"type": "ref/prompt", "name": "p"}, argument={"name": "a", "value": ""})),
                   s.told(s.result(1, completion={"values": [CARD, NOTE]}))),
    "stream": (CALL, s.stream(s.event(LOG, "1"), s.event(SAMPLE, "2"), s.event(ELICIT, "3"), b": " + NOTE.encode() + b"\n\n",
                              s.event(s.result(1, content=[text(ROW)]), "4"))),
    "batch": (s.post(s.tool(1, "customer"), s.call(2, "ping")), s.told(s.result(1, content=[text(ROW)]), s.result(2), batch=True)),
    "resumed": (http.request("GET", "/mcp", Accept="text/event-stream", Last_Event_ID="9"),
                s.stream(s.event(s.result(1, content=[text(ROW)], structuredContent={"ssn": SSN, "a": NOTE}), "10"), s.event(LOG))),
    "page": (CALL, http.answer(json.dumps({"detail": NOTE, "ssn": SSN}).encode(), 500)),
    "words": (CALL, http.answer(NOTE.encode(), 500, "text/html")),
}
CASES = {f"{name}-{kind}": Case(make, [Bytes(CLIENT, asked), Bytes(SERVER, said)], canary, meaning(asked.partition(b" ")[0]))
         for name, (asked, said) in SAID.items() for kind, canary in (("column", s.CANARY), ("detector", s.CARD)) if canary in said}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_canary_stays_here_in_every_split(case: Case) -> None:
    """No split of the server's bytes lets a protected value through, and none changes what is shown."""
    require_no_canary(case)
    require_fail_closed(case)
    require_settled(case)


@pytest.mark.parametrize("name", ["structured content", "events", "batch"])
def test_any_split_gives_the_same_output(name: str) -> None:
    """How TCP cut the bytes up is nobody's business."""
    asked, said = SAID[name] if name in SAID else (CALL, s.stream(s.event(LOG, "1"), s.event(s.result(1, content=[text(ROW)]), "2")))
    require_split_independence(Case(make, [Bytes(CLIENT, asked), Bytes(SERVER, said)], s.CANARY, meaning(b"POST")))


def test_what_mcp_reads_itself_is_no_data() -> None:
    """A mask on `name`, `text` or `type` hides members of data, and leaves the message one that can be read."""
    rule = Rule(name="hide", masks=(ColumnMask(("*.name", "*.type", "*.text", "*.id", "*.uri"), MaskMethod.REDACT),))
    book = s.world(rule).book() >> Bytes(CLIENT, CALL)
    book >> Bytes(SERVER, s.told(s.result(
        1, content=[text(json.dumps({"name": "ann"})), {"type": "resource_link", "uri": "u", "name": "n"}], structuredContent={"name": "ann"})))
    found = s.last(book)
    assert found["id"] == 1
    assert found["result"]["structuredContent"] == {"name": "xxxx"}
    assert json.loads(found["result"]["content"][0]["text"]) == {"name": "xxxx"}
    assert found["result"]["content"][1] == {"type": "resource_link", "uri": "u", "name": "n"}


def test_a_result_says_what_is_masked_in_it() -> None:
    """In `_meta`, beside what the server says there; its own word for it is not believed."""
    world = s.world(s.HIDE)
    book = world.book() >> Bytes(CLIENT, CALL)
    book >> Bytes(SERVER, s.told(s.result(1, content=[text(ROW)], _meta={"a": 1, "lockgate/masked": {"none": 0}})))
    assert s.last(book)["result"]["_meta"] == {"lockgate/masked": {"*.ssn": 1}, "a": 1}
    assert world.log.outcomes[0].masked == {"*.ssn": 1}
    book >> Bytes(CLIENT, CALL) >> Bytes(SERVER, s.told(s.result(1, content=[])))
    assert s.last(book)["result"] == {"content": []}


def test_what_is_not_hidden_stays_byte_for_byte() -> None:
    """Numbers of any precision, escapes and space."""
    book = make() >> Bytes(CLIENT, CALL)
    said = b'{"jsonrpc" : "2.0","id":1, "result":{ "content":[ ],"structuredContent":{"a":1.50e2,"b":"\\u00e9 \\/"} }}'
    book >> Bytes(SERVER, http.answer(said))
    assert s.answers(book)[-1][1] == said


def test_masks_of_a_tool_are_put_on_its_results_only() -> None:
    """The name of the tool is a part of the place that a glob may mean."""
    rule = Rule(name="hide", masks=(ColumnMask(("salaries.amount",), MaskMethod.REDACT),))
    book = s.world(rule).book()
    for name, expected in (("salaries", 0), ("weather", 7)):
        book >> Bytes(CLIENT, s.post(s.tool(1, name)))
        book >> Bytes(SERVER, s.told(s.result(1, content=[], structuredContent={"amount": 7})))
        assert s.last(book)["result"]["structuredContent"] == {"amount": expected}
    book >> Bytes(CLIENT, http.request("GET", "/mcp", Last_Event_ID="1"))
    book >> Bytes(SERVER, s.stream(s.event(s.result(1, content=[], structuredContent={"amount": 7}))))
    # Of a stream that is resumed nobody knows what it answers.
    assert s.events(book)[-1]["result"]["structuredContent"] == {"amount": 0}


def test_masks_hang_on_arguments() -> None:
    """A rule that reads the arguments of a call masks its result."""
    rule = Rule(name="hide", when='op.arguments.region == "eu"', masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),))
    book = s.world(rule).book()
    for region, expected in (("eu", "xxxx"), ("us", SSN)):
        book >> Bytes(CLIENT, s.post(s.tool(1, "customer", region=region)))
        book >> Bytes(SERVER, s.told(s.result(1, content=[], structuredContent={"ssn": SSN})))
        assert s.last(book)["result"]["structuredContent"] == {"ssn": expected}


def test_images_are_withheld_where_masks_are_due() -> None:
    """Nobody can look into them; the rest of the result goes on."""
    image = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    book = make() >> Bytes(CLIENT, CALL) >> Bytes(SERVER, s.told(s.result(1, content=[image, text("ok")])))
    content = s.last(book)["result"]["content"]
    assert content[0]["type"] == "text"
    assert "withheld" in content[0]["text"]
    assert content[1] == text("ok")
    plain = s.world().book() >> Bytes(CLIENT, CALL) >> Bytes(SERVER, s.told(s.result(1, content=[image])))
    assert s.last(plain)["result"]["content"] == [image]


@pytest.mark.parametrize("said", [
    b"no json", b'{"jsonrpc":"2.0","id":1,"result":{},"result":{"ssn":1}}', b'{"id":1,"result":{}}', b"[]", b'"219-09-9999"',
    b'{"jsonrpc":"2.0","id":1,"result":{},"ssn":"219-09-9999"}',
])
def test_an_answer_that_is_no_message_does_not_pass(said: bytes) -> None:
    """The client reads that it cannot be shown, and nothing of it."""
    world = s.world(s.HIDE)
    book = world.book() >> Bytes(CLIENT, CALL) >> Bytes(SERVER, http.answer(said))
    found = s.last(book)
    assert "cannot be shown" in json.dumps(found)
    assert s.CANARY not in book.sent(CLIENT)
    assert [outcome.status for outcome in world.log.outcomes] == [OutcomeStatus.REFUSED]


def test_what_a_server_may_not_ask_does_not_reach_the_client() -> None:
    """Methods that are not known, and those that policy denies; on record, and the stream goes on with its ids."""
    rule = Rule(name="no-sampling", when='op.verb == "sampling/createMessage"', deny="no")
    world = s.world(rule)
    other = {"jsonrpc": "2.0", "id": 8, "method": "shell/run", "params": {}}
    book = world.book() >> Bytes(CLIENT, CALL) >> Bytes(SERVER, s.stream(
        s.event(SAMPLE, "5"), s.event(other, "6"), s.event(ELICIT, "7"), s.event(s.result(1, content=[]))))
    content = s.answers(book)[-1][1]
    assert [json.loads(line[6:]).get("method") for line in content.split(b"\n") if line.startswith(b"data: {")] == [
        "elicitation/create", None]
    assert b"id: 5\n" in content
    assert [(one.type, one.fields["method"]) for one in world.log.events] == [
        ("server_refused", "sampling/createMessage"), ("server_refused", "shell/run")]


def test_lists_show_what_may_be_used() -> None:
    """Tools, prompts and resources that policy denies are not there, also not on a stream that is resumed; a tool that
    only some arguments are denied for is. Output schemas are not shown where a mask may break them."""
    some = Rule(name="some", when='op.tool == "refund" && op.arguments.amount > 5', deny="too much")
    world = s.world(s.NO_DROP, s.HIDE, some)
    book = world.book() >> Bytes(CLIENT, s.post(s.call(1, "tools/list"))) >> Bytes(SERVER, s.told(s.result(1, tools=s.TOOLS, nextCursor="n")))
    found = s.last(book)["result"]
    assert [one["name"] for one in found["tools"]] == ["customer", "refund"]
    assert found["nextCursor"] == "n"
    assert found["tools"][0] == s.TOOLS[0]
    assert "outputSchema" not in found["tools"][1]
    lists: tuple[tuple[str, str, list[dict[str, Any]]], ...] = (
        ("resources/list", "resources", [{"uri": "crm://1", "name": "a"}, {"uri": "crm://secret", "name": "b"}]),
        ("prompts/list", "prompts", [{"name": "good"}, {"name": "evil"}]))
    for method, name, entries in lists:
        book >> Bytes(CLIENT, s.post(s.call(2, method))) >> Bytes(SERVER, s.told(s.result(2, **{name: entries})))
        assert s.last(book)["result"] == {name: entries[:1]}
    book >> Bytes(CLIENT, http.request("GET", "/mcp", Last_Event_ID="1")) >> Bytes(SERVER, s.stream(s.event(s.result(1, tools=s.TOOLS))))
    assert [one["name"] for one in s.events(book)[-1]["result"]["tools"]] == ["customer", "refund"]
    assert len(world.log.intents) == 4          # what is not shown is no request


def test_finds_in_arguments_are_recorded_replaced_or_refused() -> None:
    """As policy's `requests` say; a name that a find stands in cannot be replaced."""
    for action in RequestAction:
        rule = Rule(name="look", requests=(RequestCheck(("credit_card",), action),))
        world = s.world(rule)
        book = world.book() >> Bytes(CLIENT, s.post(s.tool(1, "note", words=f"card {CARD}")))
        assert (s.CARD in book.sent(SERVER)) == (action is RequestAction.RECORD)
        assert (not book.sent(SERVER)) == (action is RequestAction.BLOCK)
        if action is RequestAction.MASK:
            book >> Bytes(SERVER, s.told(s.result(1))) >> Bytes(CLIENT, s.post(s.tool(2, CARD)))
            assert s.refusal(s.last(book))["code"] == "not_enforceable"


def test_answers_to_the_server_are_looked_at() -> None:
    """What a model or a person answers goes the same way as arguments."""
    rule = Rule(name="look", requests=(RequestCheck(("credit_card",), RequestAction.MASK),))
    world = s.world(rule)
    book = world.book() >> Bytes(CLIENT, s.post(s.result("s1", role="assistant", model="m", content=text(NOTE))))
    assert s.CARD not in book.sent(SERVER)
    assert b'"id": "s1"' in book.sent(SERVER)
    assert world.log.intents[0].verbs == ("answer",)


def test_a_mask_does_not_come_back_as_data_and_a_token_comes_back_as_its_value() -> None:
    """The guard on written masks, and tokens that their mask lets return."""
    keys = MaskKeys(Secret("ab" * MASTER_BYTES))
    rule = Rule(name="hide", masks=(ColumnMask(("*.ssn",), MaskMethod.TOKEN, scope=KeyScope.CONNECTION, returns=True),),
                detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))
    book = s.world(rule, keys=keys).book() >> Bytes(CLIENT, CALL) >> Bytes(SERVER, s.told(s.result(1, content=[], structuredContent={"ssn": SSN})))
    token = s.last(book)["result"]["structuredContent"]["ssn"]
    assert token.startswith("tok_")
    book >> Bytes(CLIENT, s.post(s.tool(2, "find", ssn=token)))
    assert book.sent(SERVER).endswith(json.dumps({"name": "find", "arguments": {"ssn": SSN}}).encode() + b"}")
    book >> Bytes(SERVER, s.told(s.result(2))) >> Bytes(CLIENT, s.post(s.tool(3, "store", note="xxxx")))
    assert s.refusal(s.last(book))["code"] == "not_enforceable"


@pytest.mark.parametrize("rule", [
    Rule(name="hide", when='op.tool == "customer"', masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),)),
    Rule(name="hide", masks=(ColumnMask(("customer.ssn",), MaskMethod.REDACT),)),
], ids=["by condition", "by place"])
def test_the_result_of_a_task_is_behind_the_masks_of_every_tool(rule: Rule) -> None:
    """It comes for another request, which names the task only: a tool that is called as a task shows no more than another."""
    world = s.world(rule)
    book = world.book() >> Bytes(CLIENT, s.post(s.call(1, "tools/call", name="customer", arguments={}, task={"ttl": 9})))
    book >> Bytes(SERVER, s.told(s.result(1, task={"taskId": "t", "status": "working"})))
    book >> Bytes(CLIENT, s.post(s.call(2, "tasks/result", taskId="t")))
    book >> Bytes(SERVER, s.told(s.result(2, content=[text(ROW)], structuredContent={"ssn": SSN})))
    assert s.last(book)["id"] == 2
    assert s.CANARY not in book.sent(CLIENT)
    assert all(intent.mask_plan for intent in world.log.intents[1:])


def test_text_cannot_be_denied_where_everything_is_text() -> None:
    """Results of tools are texts, so the option of HTTP would leave nothing, or promise what is not held."""
    with pytest.raises(ValueError, match="take `text` away"):
        s.connection(text="deny")
