"""Recorded exchanges for other programs: one JSON object for each, and HAR 1.2, which browsers and proxies read.

Source: "HTTP Archive (HAR) format", version 1.2 (w3c.github.io/web-performance/specs/HAR/Overview.html).
An exchange is written when its answer has ended, so one that lasts comes behind those that began later.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from lockgate.audit.recording.events import Header
from lockgate.audit.recording.shown import Shown
from lockgate.protocols.http.recorded import REQUEST, RESPONSE
from lockgate.protocols.http.statuses import SWITCHING

_LIMIT: Final = 10_000                  # exchanges that are open at the same time
_UNKNOWN: Final = -1
"""What HAR says of sizes and times that are not known."""
_OURS: Final = frozenset(("of", "from", "seconds", "number", "more", "messages"))


@dataclass(slots=True)
class _Message:
    """A request or an answer. `said` is what its head and its end say."""

    said: dict[str, Any] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def add(self, fields: Any) -> None:
        for name, value in fields.items():
            if name == "text":
                self.text.append(value)
            elif name == "base64":
                self.raw.append(base64.b64decode(value))
            elif name not in _OURS:
                self.said[name] = value

    @property
    def content(self) -> dict[str, str]:
        if self.raw:
            return {"base64": base64.b64encode(b"".join(self.raw)).decode()}
        return {"text": "".join(self.text)} if self.text else {}

    @property
    def size(self) -> int:
        """Bytes of what is here."""
        return sum(map(len, self.raw)) + sum(len(text.encode()) for text in self.text)

    @property
    def length(self) -> int:
        """Bytes of it on the wire."""
        told = next(iter(self.all("content-length")), "")
        return int(told) if told.isdecimal() and self.all("content-encoding") else self.size

    def all(self, name: str) -> list[str]:
        """The values of every field of this name."""
        return [value for one, value in self.said.get("fields", ()) if one.lower() == name]


@dataclass(slots=True)
class _Exchange:
    """`at` and `until` are seconds since the session began, `answered` when the head of the answer came."""

    number: int
    at: float
    until: float
    answered: float | None = None
    sides: dict[str, _Message] = field(default_factory=lambda: {REQUEST: _Message(), RESPONSE: _Message()})
    beside: list[dict[str, Any]] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        """Whether more follows the answer: another protocol, or a tunnel."""
        return self.sides[RESPONSE].said.get("status") == SWITCHING or self.sides[REQUEST].said.get("method") == "CONNECT"


def _exchanges(shown: Iterable[Shown]) -> Iterator[_Exchange]:
    """Each when its answer has ended; those that have none at the end."""
    found: dict[int, _Exchange] = {}
    over: _Exchange | None = None           # what an answer carried comes behind it
    for one in shown:
        number = one.fields.get("number", one.fields.get("of"))
        if over is not None and (one.kind != "message" or number != over.number):
            yield found.pop(over.number)
            over = None
        if type(number) is not int:
            continue
        if number not in found and len(found) >= _LIMIT:
            yield found.pop(next(iter(found)))
        exchange = found.setdefault(number, _Exchange(number, one.at, one.at))
        exchange.until = one.at
        side = one.kind if one.kind in (REQUEST, RESPONSE) else one.fields.get("from", RESPONSE)
        if one.kind in (REQUEST, RESPONSE, "content", "end"):
            exchange.sides[side].add(one.fields)
        else:
            exchange.beside.append({"t": round(one.at, 6), "kind": one.kind, **{
                name: _value(name, value) for name, value in one.fields.items() if name not in ("of", "alone")}})
        if one.kind == RESPONSE:
            exchange.answered = one.at
        is_whole = one.kind == RESPONSE and not one.fields.get("more")
        if side == RESPONSE and (one.kind == "end" or (is_whole and not exchange.goes_on)):
            over = exchange
    yield from found.values()


def _value(name: str, value: Any) -> Any:
    """A message's document as what it is."""
    return json.loads(value) if name == "message" else value


def json_lines(header: Header, shown: Iterable[Shown]) -> Iterator[str]:
    """The header, then one object for each exchange: when it began, its request, its answer, how many seconds it took, and
    beside them what has passed in it that is neither (messages of MCP, of a WebSocket)."""
    yield json.dumps({"v": 1, "kind": header.kind, "protocol": header.protocol, "session": header.sid,
                      "stream": header.stream, "begun": header.begun})
    for exchange in _exchanges(shown):
        line: dict[str, Any] = {"exchange": exchange.number, "t": round(exchange.at, 6)}
        for side, message in exchange.sides.items():
            line[side] = {**message.said, **message.content} if message.said else None
        line["seconds"] = round(exchange.until - exchange.at, 6)
        if exchange.beside:
            line["beside"] = exchange.beside
        yield json.dumps(line)


def har(header: Header, shown: Iterable[Shown]) -> Iterator[str]:
    """A HAR file. The scheme of URLs is not recorded, and stands as https; HTTP/2 is not told from HTTP/1.1."""
    yield '{"log":{"version":"1.2","creator":{"name":"Lockgate","version":"1"},"entries":['
    comma = ""
    for exchange in _exchanges(shown):
        if exchange.sides[REQUEST].said:
            yield comma + json.dumps(_entry(header, exchange))
            comma = ","
    yield '],"comment":' + json.dumps(f"{header.protocol} session {header.sid}, as Lockgate let it through") + "}}"


def _entry(header: Header, exchange: _Exchange) -> dict[str, Any]:
    request, response = exchange.sides[REQUEST], exchange.sides[RESPONSE]
    begun = datetime.fromtimestamp(header.begun / 1000 + exchange.at, UTC)
    took = (exchange.until - exchange.at) * 1000
    answered = exchange.until if exchange.answered is None else exchange.answered
    wait = (answered - exchange.at) * 1000
    entry: dict[str, Any] = {
        "startedDateTime": begun.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "time": round(took, 3),
        "request": _request(request), "response": _response(response), "cache": {},
        "timings": {"send": 0, "wait": round(wait, 3), "receive": round(took - wait, 3)},
        "_exchange": exchange.number,
    }
    if exchange.beside:
        entry["_beside"] = exchange.beside
    return entry


def _request(message: _Message) -> dict[str, Any]:
    said = message.said
    target = said["target"]
    host = next(iter(message.all("host")), "unknown")
    found: dict[str, Any] = {
        "method": said["method"], "url": f"https://{host}{target if target.startswith('/') else '/' + target}",
        "httpVersion": "HTTP/1.1", "cookies": _cookies(pair for value in message.all("cookie") for pair in value.split(";")), "headers": _named(said["fields"]),
        "queryString": _named(parse_qsl(target.partition("?")[2], keep_blank_values=True)), "headersSize": _UNKNOWN,
        "bodySize": said.get("size", message.size),
    }
    content = message.content
    if content:
        found["postData"] = {"mimeType": next(iter(message.all("content-type")), ""),
                             "text": content.get("text", content.get("base64", "")), **_comment(message)}
        if "base64" in content:
            found["postData"]["_encoding"] = "base64"
    return {**found, **_comment(message)}


def _response(message: _Message) -> dict[str, Any]:
    said, content = message.said, message.content
    shown: dict[str, Any] = {"size": message.size, "mimeType": next(iter(message.all("content-type")), ""), **_comment(message)}
    if "text" in content:
        shown["text"] = content["text"]
    elif content:
        shown |= {"text": content["base64"], "encoding": "base64"}
    return {
        "status": said.get("status", 0), "statusText": said.get("reason", ""), "httpVersion": "HTTP/1.1",
        "cookies": _cookies(value.partition(";")[0] for value in message.all("set-cookie")), "headers": _named(said.get("fields", ())), "content": shown,
        "redirectURL": next(iter(message.all("location")), ""), "headersSize": _UNKNOWN,
        "bodySize": said.get("size", message.length),
    }


def _comment(message: _Message) -> dict[str, str]:
    """What is not there of it."""
    said = message.said
    if said.get("refused"):
        return {"comment": "refused by the gateway; its content is not recorded"}
    if "sha256" in said:
        return {"comment": f"{said['kept']} bytes are recorded of {said['size']}, SHA-256 {said['sha256']}"}
    return {}


def _named(pairs: Iterable[Any]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _cookies(values: Iterable[str]) -> list[dict[str, str]]:
    """Name and value of each: what a request sends, or without its attributes what an answer sets."""
    return [{"name": name, "value": value} for text in values for name, _, value in [text.strip().partition("=")]]
