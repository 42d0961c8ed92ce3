"""Requests and answers on a terminal: legible, bounded, and unable to drive it."""

from __future__ import annotations

import json

import pytest

from lockgate.audit.recording.shown import Shown
from lockgate.cli.exchanged import exchange_lines, indented, whole_text
from lockgate.cli.played import Moment, clock, lines_of

ANSWER = Shown(1.5, "response", {
    "of": 3, "status": 200, "reason": "OK", "fields": [["Content-Type", "application/json"], ["X-Trace", "7"]],
    "seconds": 0.25, "text": '{"name":"ann","tags":["a",{}],"none":[]}'})


def lines(kind: str, **fields: object) -> list[str]:
    return lines_of(Shown(1.5, kind, fields))


def test_a_request_and_its_answer() -> None:
    """The line, a few fields, JSON with a member a line, the time."""
    assert lines("request", number=3, method="POST", target="/a?b=1", fields=[["Host", "crm"], ["Accept", "*/*"]], text="q=1") == [
        "", "[0:01.500] request 3", "    POST /a?b=1", "      Host: crm", "    │ q=1"]
    assert lines_of(ANSWER) == [
        "[0:01.500] answer to 3: 200 OK, after 0.250 s", "      Content-Type: application/json", "    │ {",
        '    │   "name": "ann",', '    │   "tags": [', '    │     "a",', "    │     {}", "    │   ],", '    │   "none": []', "    │ }"]


def test_what_ends_says_what_there_was() -> None:
    """And what of it is recorded, why it was cut, or that it did not go on."""
    assert lines("end", of=3, **{"from": "response"}, seconds=2.0, size=9, kept=9) == [
        "[0:01.500] end of answer to 3, after 2.000 s: 9 bytes"]
    (said,) = lines("end", of=3, **{"from": "request"}, seconds=None, size=9, kept=2, left_out=7, sha256="ab", cut="it ended")
    assert said == "[0:01.500] end of request 3: 9 bytes, of which 2 are recorded; SHA-256 of all of it ab; it ended"
    assert lines("end", of=3, **{"from": "request"}, refused=True, left_out=5) == [
        "    did not go on; 5 bytes of content are not recorded"]


def test_messages_have_a_direction() -> None:
    """Of MCP and of a WebSocket; content that is shown as messages is not shown twice."""
    assert lines("message", of=3, **{"from": "request"}, what="tools/call x (id 1)", message="[]") == [
        "    → tools/call x (id 1)", "    │ []"]
    assert lines("socket", of=3, **{"from": "response"}, text="hi") == ["[0:01.500] ← in 3", "    │ hi"]
    assert lines("content", of=3, **{"from": "request"}, text="{}", messages=True) == []


def test_long_content_is_bounded_and_still_found() -> None:
    """By lines and by their length; a search looks at all of it."""
    shown = Shown(0.0, "content", {"of": 1, "from": "response", "text": json.dumps(["x" * 999, *range(500), "needle"])})
    found = exchange_lines(shown, clock)
    assert found is not None
    assert len(found) == 37
    assert max(map(len, found)) < 300
    assert "468 lines are not shown" in found[24]
    hidden = Shown(0.0, "content", {"of": 1, "from": "response", "text": "\n".join(["a"] * 50 + ["Needle"] + ["b"] * 50)})
    text = "\n".join(exchange_lines(hidden, clock) or [])
    assert "Needle" not in text
    assert "needle" in Moment(0.0, text, whole=whole_text(hidden)).sought


def test_control_characters_are_shown_and_not_sent() -> None:
    """In a target, a field, a reason and a content."""
    evil = "\x1b[2J\x07"
    for shown in (Shown(0.0, "request", {"number": 1, "method": evil, "target": evil, "fields": [["Host", evil]], "text": evil}),
                  Shown(0.0, "response", {"of": 1, "status": 200, "reason": evil, "fields": [], "text": f'{{"a":"{evil}"}}'}),
                  Shown(0.0, "message", {"of": 1, "from": "request", "what": evil, "message": evil}),
                  Shown(0.0, "end", {"of": 1, "from": "request", "sha256": evil, "fault": evil, "cut": evil})):
        assert not {"\x1b", "\x07"} & set("".join(lines_of(shown)))


@pytest.mark.parametrize("text", [
    '{"a":1,"a":2}', '[1.50e5,"\\u20ac \\" ,:{}[]"]', '{"a":{"b":[[],{}]}}', '{"a" : [1 , 2]}', '{"unclosed": "', "{]}", "[" * 90,
])
def test_indenting_changes_nothing_but_white_space(text: str) -> None:
    """What stands twice stays so, numbers are as they were written, and what is no JSON is not made to look like some."""
    def bare(value: str) -> str:
        return "".join(value.split())

    assert bare(indented(text)) == bare(text)


def test_binary_content_is_counted() -> None:
    """Nobody reads base64."""
    assert lines("content", of=1, **{"from": "response"}, base64="AAEC") == ["    │ 3 bytes that are no text"]
