"""What a recorded session of MCP shows: messages in both directions, by what they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lockgate.audit.recording.events import INPUT, OUTPUT, Event, Header
from lockgate.audit.recording.shown import Shown
from lockgate.protocols.http.archives import json_lines
from lockgate.protocols.mcp.recorded import McpDecoder
from lockgate.protocols.mcp.recording import LineTap
from lockgate.wire.steps import Side
from lockgate.wire.tap import Shares, Taken

CALL = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"refund","arguments":{"amount":1}}}'
RESULT = '{"jsonrpc":"2.0","id":7,"result":{"content":[]}}'


def asked(text: str, number: int = 1, part: str = "m") -> Event:
    head = b"POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"
    return Event(0.0, INPUT, head + text.encode(), {"x": number, "p": part})


def answered(text: str, number: int = 1, kind: str = "application/json", part: str = "m") -> Event:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()
    return Event(1.0, OUTPUT, head + text.encode(), {"x": number, "p": part})


def piece(text: str, part: str = "c", number: int = 1) -> Event:
    return Event(2.0, OUTPUT, text.encode(), {"x": number, "p": part})


def played(*events: Event) -> list[Shown]:
    decoder = McpDecoder()
    return [shown for event in events for shown in decoder.take(event)]


def words(shown: list[Shown]) -> list[str]:
    return [one.fields["what"] for one in shown if one.kind == "message"]


def test_a_call_and_its_result() -> None:
    """Named by the tool, the answer by what it answers; the document is there as it was written."""
    shown = played(asked(CALL), answered(RESULT))
    assert [one.kind for one in shown] == ["request", "message", "response", "message"]
    assert words(shown) == ["tools/call refund (id 7)", "result of tools/call refund (id 7)"]
    assert shown[1].fields["message"] == CALL
    assert shown[0].fields["messages"] is True
    assert shown[0].fields["text"] == CALL, "an export has the content too"


def test_a_batch_is_shown_message_by_message() -> None:
    """In its order."""
    note = '{"jsonrpc":"2.0","method":"notifications/initialized"}'
    assert words(played(asked(f"[{CALL},{note}]"))) == ["tools/call refund (id 7)", "notifications/initialized"]


def test_events_are_messages_as_they_come() -> None:
    """Cut anywhere, with the server's own requests and the client's answers to them; comments are none."""
    ask = '{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{"message":"sure?"}}'
    stream = f": still waiting\n\ndata: {ask}\n\nevent: message\ndata: {RESULT}\n\n"
    for size in (1, 10, 1_000):
        pieces = [piece(stream[start:start + size]) for start in range(0, len(stream), size)]
        shown = played(asked(CALL), answered("", kind="text/event-stream", part="h"), *pieces,
                       piece('{"size":1,"kept":1}', "e"), asked('{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}', 2))
        assert words(shown) == [
            "tools/call refund (id 7)", "elicitation/create (id 7)", "result of tools/call refund (id 7)",
            "result of elicitation/create (id 7)"]


def test_an_error_is_called_one() -> None:
    """With what it is the answer to."""
    error = '{"jsonrpc":"2.0","id":7,"error":{"code":-32001,"message":"no"}}'
    assert words(played(asked(CALL), answered(error)))[1] == "error of tools/call refund (id 7)"


def test_what_is_no_json_rpc_is_shown_as_content() -> None:
    """Nothing is lost because it cannot be read as a message."""
    shown = played(asked("[1, 2]"), answered('{"a":1,"a":2}'))
    assert words(shown) == []
    assert [one.fields.get("messages") for one in shown] == [None, None]
    assert [one.fields["text"] for one in shown] == ["[1, 2]", '{"a":1,"a":2}']


def test_a_message_in_pieces_is_read_when_it_is_whole() -> None:
    """A document of which the end is missing is none."""
    shown = played(asked(CALL), answered("", part="h"), piece(RESULT[:20]), piece(RESULT[20:]), piece('{"size":1,"kept":1}', "e"))
    assert words(shown)[1:] == ["result of tools/call refund (id 7)"]
    assert words(played(asked(CALL), answered("", part="h"), piece(RESULT[:20]), piece('{"size":9,"kept":1}', "e")))[1:] == []


def test_a_refused_message_is_named() -> None:
    """By method and name, without what it said."""
    refused = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "drop"}})
    said: dict[str, Any] = {"refused": True, "left_out": 90}
    shown = played(asked("", part="h"), Event(0.0, INPUT, refused.encode(), {"x": 1, "p": "c"}),
                   Event(0.0, INPUT, json.dumps(said).encode(), {"x": 1, "p": "e"}), answered(RESULT))
    assert words(shown) == ["tools/call drop (id 7)", "result of tools/call drop (id 7)"]


# ---------------------------------------------------------------- standard streams


def lines(side: Side, *texts: str, share: int = 1 << 20) -> tuple[list[Taken], list[Event]]:
    """What the tap of a pipe takes of lines, and the events that it becomes."""
    tap = LineTap(iter(range(1, 99)).__next__, Shares(share, share))
    data = "".join(f"{text}\n" for text in texts).encode()
    taken = tap.passed(side, data, "", 0) if side is Side.CLIENT else tap.told(data)
    kind = INPUT if side is Side.CLIENT else OUTPUT
    return taken, [Event(0.5, kind, one.data, {"x": one.exchange, "p": one.part}) for one in taken]


def test_lines_are_messages_and_an_answer_belongs_to_its_request() -> None:
    """Requests of both sides, in any order, batches too; each is there as it was written."""
    ask = '{"jsonrpc":"2.0","id":7,"method":"ping"}'
    other = CALL.replace("7", "8")
    _, sent = lines(Side.CLIENT, CALL, other)
    back = [Event(1.0, OUTPUT, f"{text}\n".encode(), {"x": 9, "p": "l"}) for text in (ask, RESULT.replace("7", "8"), RESULT)]
    shown = played(*sent, *back, Event(2.0, INPUT, b'{"jsonrpc":"2.0","id":7,"result":{}}\n', {"x": 12, "p": "l"}))
    assert [(one.fields["of"], one.fields["what"]) for one in shown] == [
        (1, "tools/call refund (id 7)"), (2, "tools/call refund (id 8)"), (9, "ping (id 7)"),
        (2, "result of tools/call refund (id 8)"), (1, "result of tools/call refund (id 7)"), (9, "result of ping (id 7)")]
    assert shown[0].fields["message"] == CALL
    assert "alone" not in "".join(json_lines(Header("exchanges", "mcp", "s", "client", 0), shown))


@pytest.mark.parametrize("cut", [1, 100, 10_000])
def test_a_long_line_is_one_message_in_however_many_events(cut: int) -> None:
    """An event has so many bytes at most; the line's end says that the message is whole."""
    text = CALL.replace("refund", "refund" * 4_000)
    (one,), _ = lines(Side.CLIENT, text)
    shown = played(*(Event(0.0, INPUT, one.data[at:at + cut], {"x": 1, "p": "l"}) for at in range(0, len(one.data), cut)))
    assert [one.fields["message"] for one in shown] == [text]


def test_of_a_line_that_is_too_long_a_share_is_recorded() -> None:
    """It is stated how much is left out, and what is there is shown though it is no message any more."""
    (one,), (event,) = lines(Side.SERVER, RESULT, share=20)
    assert (one.data, one.left_out) == (RESULT[:20].encode() + b"\n", len(RESULT) - 20)
    (shown,) = played(event)
    assert (shown.kind, shown.fields["text"]) == ("socket", RESULT[:20])
