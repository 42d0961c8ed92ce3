"""The server that MCP's conformance suite asks: the tools, resources and prompts that its scenarios name, and nothing else.

python -m testbed.conformance PORT

Names, texts and shapes are the suite's (`@modelcontextprotocol/conformance`: the description of each scenario).
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from mcp.server.fastmcp.prompts.base import Message, UserMessage
from mcp.server.fastmcp.tools import Tool
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import (
    LATEST_PROTOCOL_VERSION,
    AudioContent,
    Completion,
    EmbeddedResource,
    ImageContent,
    JSONRPCMessage,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import AnyUrl
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from testbed.gateway import spawn, wait_ready
from testbed.postgres import free_port

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
"""A PNG of one pixel."""
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
"""A WAV without a sample."""
VERSION = b"mcp-protocol-version"
PAUSE = 0.05
"""Seconds between two notifications, as the scenarios want it."""
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}
PERSON = {
    "type": "object",
    "properties": {"username": {"type": "string", "description": "User's response"},
                   "email": {"type": "string", "description": "User's email address"}},
    "required": ["username", "email"],
}
DEFAULTS = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
}
OPTIONS = ["option1", "option2", "option3"]
TITLED = [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]
ENUMS = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": OPTIONS},
        "titledSingle": {"type": "string", "oneOf": TITLED},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
        "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
    },
}


class Events(EventStore):
    """What was said on each stream, so that one that was cut can be read on (`Last-Event-ID`)."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        seen = int(last_event_id)
        stream = self._events[seen - 1][0]
        for at, (of, message) in enumerate(self._events[seen:], seen + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(at)))
        return stream


def _text(words: str) -> TextContent:
    return TextContent(type="text", text=words)


def _image() -> ImageContent:
    return ImageContent(type="image", data=PIXEL, mimeType="image/png")


def _resource(uri: str, words: str, kind: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=AnyUrl(uri), mimeType=kind, text=words))


def _contents(made: FastMCP) -> None:
    @made.tool(structured_output=False)
    def test_simple_text() -> str:
        """A text."""
        return "This is a simple text response for testing."

    @made.tool(structured_output=False)
    def test_image_content() -> ImageContent:
        """An image."""
        return _image()

    @made.tool(structured_output=False)
    def test_audio_content() -> AudioContent:
        """A sound."""
        return AudioContent(type="audio", data=SILENCE, mimeType="audio/wav")

    @made.tool(structured_output=False)
    def test_embedded_resource() -> EmbeddedResource:
        """A resource."""
        return _resource("test://embedded-resource", "This is an embedded resource content.")

    @made.tool(structured_output=False)
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """A text, an image and a resource."""
        return [_text("Multiple content types test:"), _image(),
                _resource("test://mixed-content-resource", json.dumps({"test": "data", "value": 123}), "application/json")]

    @made.tool()
    def test_error_handling() -> str:
        """An error."""
        raise ToolError("This tool intentionally returns an error for testing")


def _notifications(made: FastMCP) -> None:
    @made.tool()
    async def test_tool_with_logging(ctx: Context) -> str:  # type: ignore[type-arg]
        """Log thrice."""
        for at, words in enumerate(("Tool execution started", "Tool processing data", "Tool execution completed")):
            await anyio.sleep(PAUSE if at else 0)
            await ctx.info(words)
        return "logged"

    @made.tool()
    async def test_tool_with_progress(ctx: Context) -> str:  # type: ignore[type-arg]
        """Report progress thrice."""
        for done in (0, 50, 100):
            await anyio.sleep(PAUSE if done else 0)
            await ctx.report_progress(done, 100)
        return "done"

    @made.tool()
    async def test_reconnection(ctx: Context) -> str:  # type: ignore[type-arg]
        """End the stream before the result, which is for whoever reads on."""
        await ctx.close_sse_stream()
        return "Reconnection test completed"


def _questions(made: FastMCP) -> None:
    async def asked(ctx: Context, message: str, schema: dict[str, Any]) -> str:  # type: ignore[type-arg]
        answer = await ctx.session.elicit(message, schema, ctx.request_id)
        return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}"

    @made.tool()
    async def test_sampling(prompt: str, ctx: Context) -> str:  # type: ignore[type-arg]
        """Ask the client's model."""
        found = await ctx.session.create_message(
            [SamplingMessage(role="user", content=_text(prompt))], max_tokens=100, related_request_id=ctx.request_id)
        assert isinstance(found.content, TextContent)
        return f"LLM response: {found.content.text}"

    @made.tool()
    async def test_elicitation(message: str, ctx: Context) -> str:  # type: ignore[type-arg]
        """Ask the client's user."""
        return await asked(ctx, message, PERSON)

    @made.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:  # type: ignore[type-arg]
        """Ask with a default for each type."""
        return await asked(ctx, "Please provide user information", DEFAULTS)

    @made.tool()
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:  # type: ignore[type-arg]
        """Ask with each way to write a choice."""
        return await asked(ctx, "Please select", ENUMS)


def _resources(made: FastMCP) -> None:
    @made.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @made.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image."""
        return b64decode(PIXEL)

    @made.resource("test://template/{number}/data", mime_type="application/json")
    def template(number: str) -> str:
        """What the address says."""
        return json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})

    @made.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """A resource to subscribe to."""
        return "Watched resource content"


def _prompts(made: FastMCP) -> None:
    @made.prompt()
    def test_simple_prompt() -> str:
        """A text."""
        return "This is a simple prompt for testing."

    @made.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A text with arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @made.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:  # noqa: N803  # the suite's word
        """A resource and a text."""
        return [UserMessage(content=_resource(resourceUri, "Embedded resource content for testing.")),
                UserMessage("Please process the embedded resource above.")]

    @made.prompt()
    def test_prompt_with_image() -> list[Message]:
        """An image and a text."""
        return [UserMessage(content=_image()), UserMessage("Please analyze the image above.")]


def _odds(made: FastMCP) -> None:
    """What FastMCP has no words for is told to the server below it."""
    untyped: Any = made
    below: Any = made._mcp_server

    @untyped.completion()  # type: ignore[untyped-decorator]
    async def complete(*_: object) -> Completion:
        return Completion(values=[], total=0, hasMore=False)

    @below.set_logging_level()  # type: ignore[untyped-decorator]
    async def set_level(_: str) -> None:
        return None

    @below.subscribe_resource()  # type: ignore[untyped-decorator]
    async def subscribe(_: AnyUrl) -> None:
        return None

    @below.unsubscribe_resource()  # type: ignore[untyped-decorator]
    async def unsubscribe(_: AnyUrl) -> None:
        return None


def server(port: int) -> FastMCP:
    def of_any_schema() -> str:
        return "ok"

    described = Tool.from_function(of_any_schema, "json_schema_2020_12_tool", description="Tool with JSON Schema 2020-12 features")
    made = FastMCP("conformance", host="127.0.0.1", port=port, event_store=Events(), retry_interval=100,
                   tools=[described.model_copy(update={"parameters": SCHEMA})])
    for part in (_contents, _notifications, _questions, _resources, _prompts, _odds):
        part(made)

    @made.custom_route("/ready", methods=["GET"])  # type: ignore[untyped-decorator]
    async def ready(_: Request) -> PlainTextResponse:
        return PlainTextResponse("ready")

    return made


def newest(app: ASGIApp) -> ASGIApp:
    """An application that takes every request for one of the newest version.

    The scenario of polling names 2025-03-26 in its requests, whatever was agreed on, and expects what came later:
    the SDK begins no stream with an empty event, and cuts none, for clients of that version.
    """
    async def said(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and any(name == VERSION for name, _ in scope["headers"]):
            fields = [(name, value) for name, value in scope["headers"] if name != VERSION]
            scope = {**scope, "headers": [*fields, (VERSION, LATEST_PROTOCOL_VERSION.encode())]}
        await app(scope, receive, send)

    return said


@contextmanager
def conformance_server(folder: Path) -> Iterator[int]:
    """The server's port, until the block ends."""
    port, log = free_port(), folder / "conformance-server.log"
    process = spawn([sys.executable, "-m", "testbed.conformance", str(port)], log, {})
    try:
        wait_ready(f"http://127.0.0.1:{port}/ready", process, log)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    port = int(sys.argv[1])
    uvicorn.run(newest(server(port).streamable_http_app()), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
