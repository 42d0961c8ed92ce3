"""Conversations of MCP over HTTP without sockets: HTTP's scene with this protocol's mediator."""

from __future__ import annotations

import json
from typing import Any

from lockgate.config.settings import Connection
from lockgate.model import ColumnMask, DetectMask, MaskMethod, ReviewTerms, Rule
from lockgate.protocols.http.codec import ResponseReader
from lockgate.protocols.http.messages import End, ResponseHead
from lockgate.protocols.mcp.mediator import McpMediator
from lockgate.protocols.mcp.settings import McpSettings
from lockgate.wire.playbook import CLIENT, Playbook
from tests.protocols.http import scene as http

ALLOW = http.ALLOW
CANARY = b"219-09-9999"
CARD = b"4111111111111111"
HIDE = Rule(name="hide", masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),),
            detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))
NO_DROP = Rule(name="no-drop", when='op.tool == "drop" || op.uri == "crm://secret" || op.prompt == "evil"', deny="not for agents")
ASK = Rule(name="ask", when='op.tool == "refund" && op.arguments.amount > 100', review=ReviewTerms(frozenset({"dba"}), 300.0))
TOOLS = [
    {"name": "customer", "description": "A record.", "inputSchema": {"type": "object", "properties": {"ssn": {"type": "string"}}}},
    {"name": "refund", "description": "Refund.", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}},
    {"name": "drop", "description": "Drop.", "inputSchema": {"type": "object"}},
]


def connection(**options: object) -> Connection:
    """A connection as configuration makes it."""
    return Connection.model_validate({
        "name": "tools", "protocol": "mcp", "address": "tools.internal:80", "server_names": ["crm.example"],
        "tls": {"mode": "disable"}, "options": McpSettings.model_validate(options),
    })


def world(*rules: Rule, **more: Any) -> http.World:
    """A gateway with these rules, which lets agents in. Pins are off unless `options` say otherwise."""
    options = more.pop("options", {"pins": "off"})
    return http.World(rules=(ALLOW, *rules), connections=(connection(**options),), make=McpMediator, **more)


def call(number: int | str, method: str, /, **params: object) -> dict[str, Any]:
    """A request."""
    made: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method}
    return {**made, "params": params} if params else made


def tool(number: int | str, name: str, /, **arguments: object) -> dict[str, Any]:
    """A call of a tool."""
    return call(number, "tools/call", name=name, arguments=arguments)


def post(*messages: object, accept: str = "application/json, text/event-stream", **fields: str) -> bytes:
    """A client's request; several messages are a batch."""
    content = messages[0] if len(messages) == 1 else list(messages)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return http.request("POST", "/mcp", data, Content_Type="application/json", Accept=accept, **fields)


def result(number: int | str, /, **value: object) -> dict[str, Any]:
    """A response."""
    return {"jsonrpc": "2.0", "id": number, "result": value}


def told(*messages: object, batch: bool = False) -> bytes:
    """A server's answer as a document."""
    return http.answer(json.dumps(list(messages) if batch else messages[0]).encode())


def stream(*events: bytes) -> bytes:
    """A server's answer as a stream that ends."""
    content = b"".join(events)
    return (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"%x\r\n%s\r\n" % (len(content), content) if content else b"") + b"0\r\n\r\n")


def event(message: object, number: str = "") -> bytes:
    """A message as an event."""
    return (f"id: {number}\n".encode() if number else b"") + b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n"


def answers(book: Playbook, method: bytes = b"POST") -> list[tuple[ResponseHead, bytes]]:
    """The heads and contents that the client got; the last one as far as it has come."""
    found: list[tuple[ResponseHead, bytes]] = []
    data = book.sent(CLIENT)
    while data:
        reader = ResponseReader()
        reader.expect(method)
        reader.feed(data)
        head = reader.event()
        assert isinstance(head, ResponseHead)
        content = b""
        while (piece := reader.event()) is not None and not isinstance(piece, End):
            assert isinstance(piece, bytes)
            content += piece
        if not head.is_interim:
            found.append((head, content))
        data = reader.rest() if isinstance(piece, End) else b""
    return found


def last(book: Playbook) -> Any:
    """The last document that the client got."""
    return json.loads(answers(book)[-1][1])


def events(book: Playbook) -> list[Any]:
    """The messages of the last stream that the client got."""
    content = answers(book)[-1][1]
    return [json.loads(line[6:]) for line in content.split(b"\n") if line.startswith(b"data: ")]


def refusal(message: dict[str, Any]) -> dict[str, Any]:
    """What a refused request's answer says in `_meta`."""
    holder = message["result"] if "result" in message else message["error"]["data"]
    found = holder["_meta"]["lockgate/refusal"]
    assert isinstance(found, dict)
    return found
