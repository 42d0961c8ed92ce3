"""Real MCP clients through the gateway to real MCP servers: the official SDK over both HTTP transports, and AutoGen."""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from autogen_ext.tools.mcp import McpWorkbench, StreamableHttpServerParams
from mcp import ClientSession, McpError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, CreateMessageResult, ElicitResult, TextContent
from pydantic import AnyUrl

from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.mcpserver import CARD, mcpserver
from tests.e2e.conftest import TRUST
from tests.e2e.test_custody import records, until

SECRET = "c3-mcp-backend-canary"
HEAD = TRUST + """\
listeners:
  - {{name: tools, protocol: mcp, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
connections:
  - name: crm
    protocol: mcp
    address: 127.0.0.1:{streamable}
    server_names: [crm.example]
    credential: {{password: {{env: MCP_TOKEN}}}}
    tls: {{mode: disable}}
  - name: silent
    protocol: mcp
    address: 127.0.0.1:{streamable}
    server_names: [silent.example]
    credential: {{password: {{env: MCP_TOKEN}}}}
    tls: {{mode: disable}}
  - name: documents
    protocol: mcp
    address: 127.0.0.1:{json}
    server_names: [documents.example]
    credential: {{password: {{env: MCP_TOKEN}}}}
    tls: {{mode: disable}}
  - name: older
    protocol: mcp
    address: 127.0.0.1:{sse}
    server_names: [older.example]
    credential: {{password: {{env: MCP_TOKEN}}}}
    tls: {{mode: disable}}
  - name: turncoat
    protocol: mcp
    address: 127.0.0.1:{turncoat}
    server_names: [turncoat.example]
    credential: {{password: {{env: MCP_TOKEN}}}}
    tls: {{mode: disable}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
  - name: hide
    mask:
      - {{columns: ["*.ssn"], with: redact}}
      - {{detect: [credit_card], with: partial}}
  - name: nothing-is-dropped
    when: op.tool == "drop_everything" || op.uri == "crm://secret"
    deny: this is not for agents
  - name: nobody-is-asked
    connections: [silent]
    when: op.verb == "elicitation/create"
    deny: servers do not ask people
  - name: large-refunds-need-a-person
    when: op.tool == "refund" && op.arguments.amount > 100.0
    review: {{by: [dba], expires: 5m}}
"""


@pytest.fixture(scope="module")
def front(tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in front of three servers, one of each way to answer."""
    folder = tmp_path_factory.mktemp("mcp")
    with mcpserver(folder) as one, mcpserver(folder, "json") as two, mcpserver(folder, "sse") as three, (
            mcpserver(tmp_path_factory.mktemp("turncoat"), "json")) as four, gateway(
        folder / "gateway", HEAD, env={"MCP_TOKEN": SECRET}, streamable=one.port, json=two.port, sse=three.port,
        turncoat=four.port,        issuer=tokens.url,
    ) as running:
        yield running


@asynccontextmanager
async def session(front: Gateway, agent: str, host: str = "crm.example", **more: Any) -> AsyncIterator[ClientSession]:
    """An initialized session of the SDK's client."""
    headers = {"authorization": f"Bearer {agent}", "host": host}
    if host == "older.example":
        async with sse_client(f"http://127.0.0.1:{front.port}/sse", headers=headers) as (read, write):
            async with ClientSession(read, write, **more) as made:
                await made.initialize()
                yield made
        return
    async with httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(30)) as client:
        async with streamable_http_client(f"http://127.0.0.1:{front.port}/mcp", http_client=client) as (read, write, _):
            async with ClientSession(read, write, **more) as made:
                await made.initialize()
                yield made


def text(result: CallToolResult) -> str:
    """The text of a result."""
    return "".join(part.text for part in result.content if isinstance(part, TextContent))


HOSTS = pytest.mark.parametrize("host", ["crm.example", "documents.example", "older.example"])


@HOSTS
async def test_a_client_sees_masks_and_only_what_it_may_call(front: Gateway, agent: str, host: str) -> None:
    """Over streams, documents and the older transport: lists are filtered, results, errors, resources and prompts masked."""
    async with session(front, agent, host) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"customer", "refund"} <= names
        assert "drop_everything" not in names
        found = await client.call_tool("customer", {"number": 1})
        assert found.structuredContent == {"id": 1, "name": "ann", "ssn": "xxxx"}
        assert json.loads(text(found))["ssn"] == "xxxx"
        assert (found.meta or {})["lockgate/masked"]["*.ssn"] == 2
        assert CARD not in text(await client.call_tool("note", {"number": 1}))
        failed = await client.call_tool("fails", {})
        assert failed.isError
        assert CARD not in text(failed)
        assert [str(one.uri) for one in (await client.list_resources()).resources] == ["crm://customers/1"]
        resource = await client.read_resource(AnyUrl("crm://customers/1"))
        assert json.loads(resource.contents[0].text) == {"id": 1, "ssn": "xxxx"}  # type: ignore[union-attr]
        prompt = await client.get_prompt("summary", {"name": "ann"})
        assert CARD not in prompt.model_dump_json()
        assert "ann" in prompt.model_dump_json()


@pytest.mark.parametrize("host", ["crm.example", "documents.example"])
async def test_a_refusal_can_be_acted_on(front: Gateway, agent: str, host: str) -> None:
    """A refused call is a result that says so, anything else an error; both name the rule, and both are on record."""
    async with session(front, agent, host) as client:
        await client.list_tools()
        refused = await client.call_tool("drop_everything", {})
        assert refused.isError
        assert "this is not for agents (rule nothing-is-dropped)" in text(refused)
        assert (refused.meta or {})["lockgate/refusal"]["rule"] == "nothing-is-dropped"
        with pytest.raises(McpError, match="rule nothing-is-dropped"):
            await client.read_resource(AnyUrl("crm://secret"))
    until(lambda: any(record.get("refusal") == "denied" and record["verbs"] == ["tools/call"]
                      for record in records(front, "intent")))


async def test_what_a_server_asks_and_tells_is_masked(front: Gateway, agent: str) -> None:
    """Sampling, elicitation, logs and progress, on the stream of the call that they belong to."""
    seen: list[str] = []

    async def sample(_: Any, params: Any) -> CreateMessageResult:
        seen.append(params.model_dump_json())
        return CreateMessageResult(role="assistant", model="m", content=TextContent(type="text", text="a good one"))

    async def elicit(_: Any, params: Any) -> ElicitResult:
        seen.append(params.model_dump_json())
        return ElicitResult(action="decline")

    async def logged(params: Any) -> None:
        seen.append(params.model_dump_json())

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        seen.append(str(message))

    async with session(front, agent, sampling_callback=sample, elicitation_callback=elicit, logging_callback=logged) as client:
        await client.list_tools()
        assert text(await client.call_tool("asks_model", {})) == "the model said a good one"
        assert text(await client.call_tool("asks_person", {})) == "the person said decline"
        chatty = await client.call_tool("chatty", {}, progress_callback=progressed)
        assert json.loads(text(chatty)) == {"ssn": "xxxx", "ok": True}
    assert len(seen) == 4
    assert not any(CARD in one for one in seen)
    assert all("1111" in one for one in seen)


async def test_a_server_that_may_not_ask_is_told(front: Gateway, agent: str) -> None:
    """It gets an error in place of the client's answer, and does not wait for it; the call that it belongs to goes on."""
    async def elicit(_: Any, params: Any) -> ElicitResult:
        raise AssertionError("the client was asked")

    async with session(front, agent, "silent.example", elicitation_callback=elicit) as client:
        await client.list_tools()
        with anyio.fail_after(20):
            failed = await client.call_tool("asks_person", {})
    assert failed.isError
    assert "policy does not let this reach the client" in text(failed)


async def test_a_call_waits_for_a_person_and_the_client_is_told(front: Gateway, agent: str, dba: str) -> None:
    """Progress while it is held; after the approval the result comes on the same stream."""
    told: list[str] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        told.append(str(message))
        ticket = str(message).rpartition("ticket ")[2].rstrip(")")
        if len(told) == 1:
            async with httpx.AsyncClient(base_url=front.control_url, headers={"authorization": f"Bearer {dba}"}) as api:
                shown = (await api.get(f"/v1/reviews/{ticket}")).json()
                told.append(shown["statement"])
                assert (await api.post(f"/v1/reviews/{ticket}/approve", json={})).status_code == 200

    async with session(front, agent) as client:
        await client.list_tools()
        assert text(await client.call_tool("refund", {"number": 1, "amount": 7})) == "refunded 7.0 to 1"
        done = await client.call_tool("refund", {"number": 1, "amount": 700}, progress_callback=progressed)
        assert text(done) == "refunded 700.0 to 1"
    assert "waits for a person" in told[0]
    assert told[1] == 'tools/call refund\n{\n  "amount": 700,\n  "number": 1\n}'


async def test_a_changed_definition_is_hidden_and_refused(front: Gateway, agent: str) -> None:
    """A server that changes what it says of a tool (a rug pull) does not reach the model with it."""
    async with session(front, agent, "turncoat.example") as client:
        assert "refund" in {tool.name for tool in (await client.list_tools()).tools}
        await client.call_tool("turns_coat", {})
        listed = await client.list_tools()
        assert "refund" not in {tool.name for tool in listed.tools}
        assert "evil.example" not in listed.model_dump_json()
        refused = await client.call_tool("refund", {"number": 1, "amount": 1})
        assert refused.isError
        assert "lockgate tools accept" in text(refused)


async def test_a_session_belongs_to_who_began_it(front: Gateway, agent: str, dba: str) -> None:
    """Another caller's session id is none: the server could not tell the two apart."""
    url, body = f"http://127.0.0.1:{front.port}/mcp", {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}
    headers = {"authorization": f"Bearer {agent}", "host": "documents.example", "accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient() as client:
        begun = await client.post(url, json=body, headers=headers)
        headers["mcp-session-id"] = begun.headers["mcp-session-id"]
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert (await client.post(url, json=ping, headers=headers)).json()["result"] == {}
        forged = {**headers, "mcp-session-id": headers["mcp-session-id"][:-1] + "~"}
        assert (await client.post(url, json=ping, headers=forged)).status_code == 404


async def test_an_agents_workbench_acts_on_what_it_reads(front: Gateway, agent: str, dba: str) -> None:
    """AutoGen's McpWorkbench, unchanged: it lists what may be used, and a refusal or a ticket is text for its model."""
    params = StreamableHttpServerParams(
        url=f"http://127.0.0.1:{front.port}/mcp", headers={"authorization": f"Bearer {agent}", "host": "crm.example"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)     # of the SDK's, for the name of a function that AutoGen calls
        async with McpWorkbench(params) as bench:
            names = {tool["name"] for tool in await bench.list_tools()}
            assert "customer" in names
            assert "drop_everything" not in names
            found = await bench.call_tool("customer", {"number": 1})
            assert (found.is_error, json.loads(found.to_text())["ssn"]) == (False, "xxxx")
            refused = await bench.call_tool("drop_everything", {})
            assert refused.is_error
            assert "refused by the gateway: this is not for agents (rule nothing-is-dropped)" in refused.to_text()
            async with anyio.create_task_group() as group:
                group.start_soon(approve_next, front, dba, "refund")
                held = await bench.call_tool("refund", {"number": 2, "amount": 900})
            assert (held.is_error, held.to_text()) == (False, "refunded 900.0 to 2")


async def approve_next(front: Gateway, dba: str, word: str) -> None:
    """Approve the first request that waits and holds this word."""
    async with httpx.AsyncClient(base_url=front.control_url, headers={"authorization": f"Bearer {dba}"}) as api:
        with anyio.fail_after(20):
            while True:
                for one in (await api.get("/v1/reviews")).json():
                    if word in one["statement"]:
                        assert (await api.post(f"/v1/reviews/{one['ticket']}/approve", json={})).status_code == 200
                        return


async def test_a_person_accepts_a_definition(front: Gateway, agent: str, dba: str) -> None:
    """What changed is shown, accepted by its digest, on record, and listed again."""
    environment = {"LOCKGATE_TOKEN": dba, "LOCKGATE_URL": front.control_url}
    async with session(front, agent, "older.example") as client:
        await client.list_tools()
        await client.call_tool("turns_coat", {})
        assert "refund" not in {tool.name for tool in (await client.list_tools()).tools}
        listed = await anyio.to_thread.run_sync(lambda: run("tools", "list", "older", env=environment))
        assert [line.split()[0] for line in listed.splitlines() if line.split()[1] == "changed"] == ["refund"]
        said = await anyio.to_thread.run_sync(lambda: run("tools", "accept", "older", "refund", "--yes", env=environment))
        assert '-  "description": "Refund an amount to a customer."' in said
        assert "evil.example" in said
        assert "refund" in {tool.name for tool in (await client.list_tools()).tools}
    accepted = records(front, "tool_accepted")
    assert [record["data"]["tool"] for record in accepted] == ["refund"]  # type: ignore[index]
