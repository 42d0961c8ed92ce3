"""Exports of recorded exchanges: one object for each, and HAR as its specification has it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from lockgate.audit.recording.events import Header
from lockgate.audit.recording.shown import Shown
from lockgate.protocols.http.archives import har, json_lines

HEADER = Header("exchanges", "http", "5e55", "client", 1_800_000_000_000)
FIELDS = [["Host", "crm.internal"], ["Cookie", "a=1; b=x=2"], ["Content-Type", "application/json"]]


def _of(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **optional, "comment": {"type": "string"}},
            "additionalProperties": False, "patternProperties": {"^_": {}}}


STRING, NUMBER, SIZE = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": -1}
PAIRS = {"type": "array", "items": _of({"name": STRING, "value": STRING})}
MESSAGE = {"httpVersion": STRING, "cookies": PAIRS, "headers": PAIRS, "headersSize": SIZE, "bodySize": SIZE}
ENTRY = _of({
    "startedDateTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
    "time": {"type": "number", "minimum": 0},
    "request": _of({"method": STRING, "url": {"type": "string", "pattern": "^https?://[^/]+/"}, "queryString": PAIRS, **MESSAGE},
                   postData=_of({"mimeType": STRING, "text": STRING}, params={"type": "array"})),
    "response": _of({"status": {"type": "integer"}, "statusText": STRING, "redirectURL": STRING, **MESSAGE,
                     "content": _of({"size": {"type": "integer", "minimum": 0}, "mimeType": STRING}, text=STRING, encoding=STRING)}),
    "cache": {"type": "object"}, "timings": _of({"send": NUMBER, "wait": NUMBER, "receive": NUMBER}),
})
SCHEMA = _of({"log": _of({
    "version": {"const": "1.2"}, "creator": _of({"name": STRING, "version": STRING}),
    "entries": {"type": "array", "items": ENTRY}})})
"""HAR 1.2, sections "log" to "timings"; names with an underscore are for what programs add."""


def asked(number: int, at: float, **more: Any) -> Shown:
    return Shown(at, "request", {"number": number, "method": "POST", "target": "/a?x=1&y=", "fields": FIELDS, **more})


def answered(number: int, at: float, **more: Any) -> Shown:
    return Shown(at, "response", {"of": number, "status": 201, "reason": "Created", "fields": [
        ["content-type", "application/json"], ["Set-Cookie", "sid=7; HttpOnly"], ["Location", "/a/1"]], "seconds": 0.5, **more})


SHOWN = [
    asked(1, 1.0, text='{"q":1}'), asked(2, 1.25, more=True), answered(1, 1.5, text="{}"),
    Shown(1.75, "content", {"of": 2, "from": "request", "text": "ab"}),
    Shown(1.75, "end", {"of": 2, "from": "request", "seconds": 0.5, "size": 9, "kept": 2, "left_out": 7, "sha256": "00ff"}),
    answered(2, 2.0, more=True), Shown(2.25, "content", {"of": 2, "from": "response", "base64": "AAE="}),
    Shown(2.25, "content", {"of": 2, "from": "response", "base64": "Ag=="}),
    Shown(3.0, "end", {"of": 2, "from": "response", "seconds": 1.75, "size": 3, "kept": 3}),
    Shown(3.0, "message", {"of": 2, "from": "response", "what": "result", "message": '{"id":7}'}),
    asked(3, 4.0, more=True), Shown(4.0, "end", {"of": 3, "from": "request", "seconds": 0.0, "refused": True, "left_out": 5}),
    Shown(4.1, "response", {"of": 4, "status": 400, "reason": "Bad Request", "fields": [], "seconds": None}),
    Shown(5.0, "cut", {"reason": "x"}),
]


def archive(shown: list[Shown]) -> dict[str, Any]:
    found = json.loads("\n".join(har(HEADER, shown)))
    jsonschema.validate(found, SCHEMA)
    log = found["log"]
    assert isinstance(log, dict)
    return log


def test_har_is_what_its_specification_says() -> None:
    """Valid, with times, cookies, queries, contents and what is not there of them."""
    first, second, third = archive(SHOWN)["entries"]
    assert (first["startedDateTime"], first["time"]) == ("2027-01-15T08:00:01.000Z", 500.0)
    assert first["request"]["url"] == "https://crm.internal/a?x=1&y="
    assert first["request"]["cookies"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "x=2"}]
    assert first["request"]["queryString"] == [{"name": "x", "value": "1"}, {"name": "y", "value": ""}]
    assert first["request"]["postData"] == {"mimeType": "application/json", "text": '{"q":1}'}
    assert first["response"]["content"] == {"size": 2, "mimeType": "application/json", "text": "{}"}
    assert (first["response"]["redirectURL"], first["response"]["cookies"]) == ("/a/1", [{"name": "sid", "value": "7"}])
    assert (second["request"]["bodySize"], second["request"]["postData"]["text"]) == (9, "ab")
    assert "2 bytes are recorded of 9" in second["request"]["comment"]
    assert second["response"]["content"]["text"] == "AAEC"
    assert second["response"]["content"]["encoding"] == "base64"
    assert second["timings"] == {"send": 0, "wait": 750.0, "receive": 1_000.0}
    assert (third["response"]["status"], "refused" in third["request"]["comment"]) == (0, True)


def test_an_empty_recording_is_a_har_too() -> None:
    """Without entries."""
    assert archive([])["entries"] == []


@pytest.mark.parametrize("broken", ["method", "url", "queryString"])
def test_the_schema_finds_what_is_missing(broken: str) -> None:
    """A check that takes anything checks nothing."""
    found = json.loads("\n".join(har(HEADER, SHOWN)))
    del found["log"]["entries"][0]["request"][broken]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, SCHEMA)


def test_json_lines_are_one_object_for_each_exchange() -> None:
    """In the order of their ends, with what they carried beside."""
    header, *lines = [json.loads(line) for line in json_lines(HEADER, SHOWN)]
    assert (header["kind"], header["session"], header["begun"]) == ("exchanges", "5e55", 1_800_000_000_000)
    assert [line["exchange"] for line in lines] == [1, 2, 4, 3]
    first, second, orphan, refused = lines
    assert (first["t"], first["seconds"], first["request"]["text"], first["response"]["status"]) == (1.0, 0.5, '{"q":1}', 201)
    assert second["response"]["base64"] == "AAEC"
    assert second["request"]["sha256"] == "00ff"
    assert second["beside"] == [{"t": 3.0, "kind": "message", "from": "response", "what": "result", "message": {"id": 7}}]
    assert orphan["request"] is None
    assert (refused["request"]["refused"], refused["response"]) == (True, None)
