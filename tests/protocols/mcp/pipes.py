"""Conversations of MCP over standard streams without a process: a client's pipe, a server's, and what is told beside them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from typing import Any

from lockgate.config.settings import Connection
from lockgate.model import Effect, Refusal, Secret
from lockgate.protocols.mcp.piped_login import login
from lockgate.protocols.mcp.settings import McpSettings
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook, Told
from lockgate.wire.spec import LoginContext, Piped
from lockgate.wire.steps import Dial, Program
from tests.protocols.http import scene as http
from tests.protocols.mcp import scene as s

COMMAND = ("crm-server", "--stdio")


def connection(**options: object) -> Connection:
    """A server that is started."""
    return Connection.model_validate({
        "name": "tools", "protocol": "mcp", "options": McpSettings.model_validate({"command": COMMAND, **options})})


@dataclass
class World(http.World):
    """A gateway whose client came over a pipe."""

    offered: Program | None = None
    token: str = http.TOKEN.decode()
    programs: list[Program | None] = field(default_factory=list)

    def context(self) -> LoginContext:
        return replace(super().context(), piped=Piped(Secret(self.token), self.offered, {"task": "t-1"}))

    def book(self) -> Playbook:
        book = super().book()

        def dial(step: Dial) -> Refusal | None:
            self.programs.append(step.program)
            return dialled(step)

        dialled = book._answers[Dial]
        book._answers[Dial] = dial
        book.run(login(self.context()))
        if book.results:
            book.mediator = book.results[-1]
        return book


def world(*rules: Any, **more: Any) -> World:
    """A gateway with these rules, which lets agents in. Pins are off unless `options` say otherwise."""
    options = more.pop("options", {"pins": "off"})
    return World(rules=(s.ALLOW, *rules), connections=(connection(**options),), make=lambda *_: None,  # type: ignore[arg-type, return-value]
                 route=replace(http.ROUTE, connection="tools"), **more)


def line(*messages: object) -> bytes:
    """Messages, one a line."""
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in messages)


def got(book: Playbook) -> list[Any]:
    """The messages that the client got."""
    return [json.loads(one) for one in book.sent(CLIENT).splitlines()]


def server_got(book: Playbook) -> list[Any]:
    """The messages that the server got."""
    return [json.loads(one) for one in book.sent(SERVER).splitlines()]


def told(book: Playbook) -> bytes:
    """What people read beside the stream."""
    return b"".join(seen.data for seen in book.seen if isinstance(seen, Told))


def verify_lines(data: bytes) -> None:
    """Any bytes of a client on a pipe: each split gives the same, and a reader with universal newlines, as most servers have,
    reads exactly the messages that were judged and let through."""
    whole = world(s.NO_DROP)
    sent = (whole.book() >> Bytes(CLIENT, data)).sent(SERVER)
    lines = io.TextIOWrapper(io.BytesIO(sent), encoding="utf-8").readlines()
    let = [intent for intent in whole.log.intents if intent.decision == Effect.ALLOW]
    assert len(lines) == len(let), (lines, let)
    for text, intent in zip(lines, let, strict=True):
        message = json.loads(text)
        assert intent.forwarded == text.encode().removesuffix(b"\n")
        assert (message.get("method") or "answer",) == tuple(intent.verbs), text
        assert message.get("params", {}).get("name") != "drop" or message["method"] != "tools/call", text
    for size in (1, 3, 64):
        book = world(s.NO_DROP).book()
        for at in range(0, len(data), size):
            book >> Bytes(CLIENT, data[at:at + size])
        assert book.sent(SERVER) == sent
