"""Real MCP clients that start `lockgate mcp run` in the place of a real server: the official SDK's, AutoGen's, and a bare pipe."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from autogen_ext.tools.mcp import McpWorkbench, StdioServerParams
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CreateMessageResult, ElicitResult, TextContent
from pydantic import AnyUrl

from lockgate.net.piping import connect, peer_of
from testbed.gateway import Gateway, Issuer, command, gateway, run
from testbed.mcpserver import CARD
from testbed.postgres import free_port
from tests.e2e.conftest import TRUST
from tests.e2e.test_custody import payloads, records, until
from tests.e2e.test_mcp import approve_next, text
from tests.e2e.test_recordings import IDENTITY

SECRET = "d7-piped-backend-canary"
ROOT = Path(__file__).parents[2]
SERVER = [sys.executable, "-m", "testbed.mcpserver", "0", "stdio"]
PROGRAM = f"""\
    protocol: mcp
    options:
      command: {json.dumps(SERVER)}
      directory: {ROOT}
      environment: {{{{CRM_TOKEN: {{{{env: MCP_TOKEN}}}}}}}}
"""
LIGHT = """\
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked and asked["method"] != "tools/list":
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": {"pid": os.getpid()}}), flush=True)
"""
"""A server that answers everything but `tools/list`: it is there at once."""
CONFIG = TRUST.replace("audit: {{", f"audit: {{{{recording: {{{{recipients: [{IDENTITY.to_public()}]}}}}, ") + f"""\
connections:
  - name: crm
{PROGRAM}  - name: turncoat
{PROGRAM}  - name: taped
    record: true
{PROGRAM}  - {{{{name: other, protocol: mcp}}}}
  - {{{{name: light, protocol: mcp, options: {{{{command: [{sys.executable}, light.py]}}}}}}}}
policies:
  - {{{{name: agents-connect, who: {{{{groups: [agents]}}}}, allow: connect}}}}
  - name: hide
    mask:
      - {{{{columns: ["*.ssn"], with: redact}}}}
      - {{{{detect: [credit_card], with: partial}}}}
  - name: nothing-is-dropped
    when: op.tool == "drop_everything" || op.uri == "crm://secret"
    deny: this is not for agents
  - name: nobody-is-asked
    connections: [turncoat]
    when: op.verb == "elicitation/create"
    deny: servers do not ask people
  - name: large-refunds-need-a-person
    when: op.tool == "refund" && op.arguments.amount > 100.0
    review: {{{{by: [dba], expires: 5m}}}}
"""


@pytest.fixture(scope="module")
def front(tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway without listeners: everybody who reaches it is a program on this machine."""
    folder = tmp_path_factory.mktemp("piped")
    (folder / "light.py").write_text(LIGHT)
    with gateway(folder, CONFIG, env={"MCP_TOKEN": SECRET}, issuer=tokens.url) as running:
        yield running


def words(front: Gateway, connection: str = "crm", *more: str) -> list[str]:
    """The command line that stands in a server's place."""
    return command("mcp", "run", "-c", str(front.folder / "lockgate.yaml"), "--connection", connection, *more)


@asynccontextmanager
async def session(line: list[str], token: str, **more: Any) -> AsyncIterator[ClientSession]:
    """An initialized session of the SDK's client."""
    server = StdioServerParameters(command=line[0], args=line[1:], env={"LOCKGATE_TOKEN": token, "AGENTS_OWN": "o-canary"})
    async with stdio_client(server) as (read, write), ClientSession(read, write, **more) as made:
        await made.initialize()
        yield made


@contextmanager
def pipe(line: list[str], token: str) -> Iterator[subprocess.Popen[bytes]]:
    """A client that is a pipe."""
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "LOCKGATE_TOKEN": token})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def say(process: subprocess.Popen[bytes], *messages: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"".join(json.dumps({"jsonrpc": "2.0", **one}).encode() + b"\n" for one in messages))
    process.stdin.flush()


def hear(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


HELLO = {"id": 0, "method": "initialize", "params": {
    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}


def programs(front: Gateway) -> list[int]:
    """The servers that the gateway has started, in order."""
    lines = [json.loads(line) for line in front.log.read_text().splitlines() if "program started" in line]
    return [line["pid"] for line in lines]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def is_served(state: Path) -> bool:
    reached = connect(state)
    if reached is not None:
        reached.close()
    return reached is not None


# ---------------------------------------------------------------- the SDK


async def test_a_client_sees_masks_and_only_what_it_may_call(front: Gateway, agent: str) -> None:
    """Lists are filtered; results, errors, resources and prompts masked; refusals are words for the model, and on record."""
    async with session(words(front), agent) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"customer", "refund"} <= names
        assert "drop_everything" not in names
        found = await client.call_tool("customer", {"number": 1})
        assert found.structuredContent == {"id": 1, "name": "ann", "ssn": "xxxx"}
        assert (found.meta or {})["lockgate/masked"]["*.ssn"] == 2
        failed = await client.call_tool("fails", {})
        assert (failed.isError, CARD in text(failed)) == (True, False)
        resource = await client.read_resource(AnyUrl("crm://customers/1"))
        assert json.loads(resource.contents[0].text) == {"id": 1, "ssn": "xxxx"}  # type: ignore[union-attr]
        assert CARD not in (await client.get_prompt("summary", {"name": "ann"})).model_dump_json()
        refused = await client.call_tool("drop_everything", {})
        assert refused.isError
        assert "this is not for agents (rule nothing-is-dropped)" in text(refused)
        with pytest.raises(McpError, match="rule nothing-is-dropped"):
            await client.read_resource(AnyUrl("crm://secret"))
    until(lambda: any(record.get("refusal") == "denied" and record["verbs"] == ["tools/call"]
                      for record in records(front, "intent")))


async def test_a_session_with_a_program_is_recorded_and_played(front: Gateway, agent: str, tmp_path: Path) -> None:
    """Messages as they went on, answers as they were masked, of refused ones the name; no secret, no token, and it verifies."""
    async with session(words(front, "taped"), agent) as client:
        await client.list_tools()
        await client.call_tool("customer", {"number": 1})
        assert (await client.call_tool("drop_everything", {})).isError
    (sid,) = [begun["sid"] for begun in records(front, "session_begin") if begun["connection"] == "taped"]
    (end,) = until(lambda: [end for end in records(front, "session_end") if end["sid"] == sid])
    assert end["coverage"]["state"] == "whole"
    auditor = tmp_path / "identity"
    auditor.write_text(f"{IDENTITY}\n")
    where = (sid, "--state", str(front.state), "--identity", str(auditor))
    printed = run("session", "replay", *where)
    assert re.search(r"\[0:\d\d\.\d{3}\] → tools/call customer \(id (\d+)\)", printed)
    assert re.search(r"\[0:\d\d\.\d{3}\] ← result of tools/call customer", printed)
    assert "→ tools/call drop_everything" in printed
    for canary in ("219-09-9999", SECRET, agent, CARD):
        assert canary not in printed
    exported = [json.loads(line) for line in run("session", "export", *where, "--out", "-").splitlines()]
    (asked,) = [one for one in exported[1:] if one["beside"][0]["what"].startswith("tools/call customer")]
    assert [beside["what"].partition(" (id")[0] for beside in asked["beside"]] == [
        "tools/call customer", "result of tools/call customer"]
    assert asked["beside"][0]["message"]["params"]["arguments"] == {"number": 1}
    assert asked["beside"][1]["message"]["result"]["structuredContent"]["ssn"] == "xxxx"
    assert "VERIFIED" in run("audit", "verify", "--state", str(front.state))


async def test_what_a_server_asks_and_tells_is_masked(front: Gateway, agent: str) -> None:
    """Sampling, elicitation, logs and progress, in the midst of a call."""
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

    more: Any = {"sampling_callback": sample, "elicitation_callback": elicit, "logging_callback": logged}
    async with session(words(front), agent, **more) as client:
        await client.list_tools()
        assert text(await client.call_tool("asks_model", {})) == "the model said a good one"
        assert text(await client.call_tool("asks_person", {})) == "the person said decline"
        chatty = await client.call_tool("chatty", {}, progress_callback=progressed)
        assert json.loads(text(chatty)) == {"ssn": "xxxx", "ok": True}
    assert len(seen) == 4
    assert not any(CARD in one for one in seen)


async def test_a_call_waits_for_a_person_while_others_go_on(front: Gateway, agent: str, dba: str) -> None:
    """The client is told by progress, a ping and another call pass the one that is held, and its result comes in the end."""
    told: list[str] = []
    passed: list[str] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        told.append(str(message))

    async with session(words(front), agent) as client:
        await client.list_tools()

        async def meanwhile() -> None:
            with anyio.fail_after(20):
                while not told:
                    await client.send_ping()
            passed.append(text(await client.call_tool("refund", {"number": 3, "amount": 1})))
            await approve_next(front, dba, "701")

        async with anyio.create_task_group() as group:
            group.start_soon(meanwhile)
            done = await client.call_tool("refund", {"number": 1, "amount": 701}, progress_callback=progressed)
    assert text(done) == "refunded 701.0 to 1"
    assert passed == ["refunded 1.0 to 3"]
    assert "waits for a person to approve it (ticket LG-" in told[0]


async def test_a_server_that_may_not_ask_is_told(front: Gateway, agent: str) -> None:
    """It gets an error in place of the client's answer, and does not wait for it."""
    async def elicit(_: Any, params: Any) -> ElicitResult:
        raise AssertionError("the client was asked")

    async with session(words(front, "turncoat"), agent, elicitation_callback=elicit) as client:
        await client.list_tools()
        with anyio.fail_after(20):
            failed = await client.call_tool("asks_person", {})
    assert failed.isError
    assert "policy does not let this reach the client" in text(failed)


async def test_a_changed_definition_waits_for_a_person(front: Gateway, agent: str, dba: str) -> None:
    """A rug pull is hidden and refused, in every session; a person accepts it, and it is listed again."""
    environment = {"LOCKGATE_TOKEN": dba, "LOCKGATE_URL": front.control_url}
    async with session(words(front, "turncoat"), agent) as client:
        assert "refund" in {tool.name for tool in (await client.list_tools()).tools}
        await client.call_tool("turns_coat", {})
        listed = await client.list_tools()
        assert "refund" not in {tool.name for tool in listed.tools}
        assert "evil.example" not in listed.model_dump_json()
        refused = await client.call_tool("refund", {"number": 1, "amount": 1})
        assert "lockgate tools accept" in text(refused)
        seen = await anyio.to_thread.run_sync(lambda: run("tools", "list", "turncoat", env=environment))
        assert [line.split()[0] for line in seen.splitlines() if line.split()[1] == "changed"] == ["refund"]
        await anyio.to_thread.run_sync(lambda: run("tools", "accept", "turncoat", "refund", "--yes", env=environment))
        assert "refund" in {tool.name for tool in (await client.list_tools()).tools}


# ---------------------------------------------------------------- AutoGen


async def test_an_agents_workbench_only_changes_its_command(front: Gateway, agent: str, dba: str) -> None:
    """AutoGen's McpWorkbench with StdioServerParams: masks, a refusal, and a review that is approved."""
    line = words(front)
    params = StdioServerParams(command=line[0], args=line[1:], env={"LOCKGATE_TOKEN": agent}, read_timeout_seconds=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        async with McpWorkbench(params) as bench:
            assert "drop_everything" not in {tool["name"] for tool in await bench.list_tools()}
            found = await bench.call_tool("customer", {"number": 1})
            assert (found.is_error, json.loads(found.to_text())["ssn"]) == (False, "xxxx")
            refused = await bench.call_tool("drop_everything", {})
            assert (refused.is_error, "this is not for agents" in refused.to_text()) == (True, True)
            async with anyio.create_task_group() as group:
                group.start_soon(approve_next, front, dba, "901")
                held = await bench.call_tool("refund", {"number": 2, "amount": 901})
            assert (held.is_error, held.to_text()) == (False, "refunded 901.0 to 2")


# ---------------------------------------------------------------- secrets


async def test_the_server_gets_its_credential_and_nothing_else(front: Gateway, agent: str) -> None:
    """Neither the client's token nor its environment nor the gateway's; and nobody but the server has the credential."""
    async with session(words(front), agent) as client:
        await client.send_ping()
        pid = programs(front)[-1]
        given = dict(one.split("=", 1) for one in Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0") if one)
        assert given.pop("CRM_TOKEN") == SECRET
        assert not {name for name in given if name.startswith("LOCKGATE")}
        assert set(given) <= {"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"} | {
            name for name in given if name.startswith(("LC_", "XDG_"))}
        assert os.getpgid(pid) == pid
    assert agent not in front.log.read_text()
    kept = [path.read_bytes() for path in front.state.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in data or agent.encode() in data for data in kept)
    assert SECRET not in front.log.read_text()


def test_a_program_of_the_command_line_gets_what_it_is_given_by_name(front: Gateway, agent: str, tmp_path: Path) -> None:
    """Of the client's environment a minimum, and what `--env` names; it starts where the client is. What was started is on
    record without its arguments."""
    shows = "import json, os; open('seen.json', 'w').write(json.dumps([dict(os.environ), os.getcwd()]))"
    line = words(front, "other", "--env", "MY_KEY", "--", sys.executable, "-c", shows)
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, timeout=30, input=b"",
                          env={**os.environ, "LOCKGATE_TOKEN": agent, "MY_KEY": "k-1", "OTHER_KEY": "k-2"})
    assert done.stdout == b""
    until(lambda: (tmp_path / "seen.json").exists() and (tmp_path / "seen.json").read_text())
    environment, folder = json.loads((tmp_path / "seen.json").read_text())
    assert (environment["MY_KEY"], folder) == ("k-1", str(tmp_path))
    assert not {"OTHER_KEY", "LOCKGATE_TOKEN", "MCP_TOKEN"} & set(environment)
    assert payloads(front, b"2 arguments, SHA-256")
    assert not payloads(front, b"seen.json")


@pytest.mark.parametrize(("more", "reason"), [
    (("crm", "--", "sh", "-c", "env"), "the configuration says which program"), (("other",), "nothing says which program"),
    (("none",), "no such connection is a program; those are: crm, turncoat, taped, other, light"),
    (("other", "--", "no-such-program"), "there is no such program"),
])
def test_what_cannot_be_started_is_said_in_words(front: Gateway, agent: str, more: tuple[str, ...], reason: str) -> None:
    """On standard error and with a status; standard output carries MCP only."""
    done = subprocess.run(words(front, *more), capture_output=True, timeout=30, input=b"",
                          env={**os.environ, "LOCKGATE_TOKEN": agent})
    assert (done.returncode, done.stdout) == (1, b"")
    assert reason in done.stderr.decode()


# ---------------------------------------------------------------- ends


async def test_a_bad_token_is_what_the_client_reads(front: Gateway) -> None:
    """As the answer to its first request, which is what frameworks show."""
    line = words(front)
    server = StdioServerParameters(command=line[0], args=line[1:], env={"LOCKGATE_TOKEN": "not.a.token"})
    async with stdio_client(server) as (read, write), ClientSession(read, write) as client:
        with pytest.raises(McpError, match=r"refused by the gateway: .*LOCKGATE_TOKEN"):
            await client.initialize()


def test_standard_error_of_the_server_is_masked(front: Gateway, agent: str) -> None:
    """People see what it says, without what a detector finds; the stream of messages stays clean."""
    with pipe(words(front), agent) as process:
        say(process, HELLO)
        assert hear(process)["id"] == 0
        assert process.stderr is not None
        assert process.stderr.readline() == b"started with card xxxx xxxx xxxx 1111\n"


def test_a_server_that_is_killed_is_an_error_for_who_waits(front: Gateway, agent: str) -> None:
    """Its client reads why, and gets the status as a shell would tell it."""
    with pipe(words(front, "light"), agent) as process:
        say(process, HELLO, {"id": 1, "method": "tools/list"}, {"id": 2, "method": "ping"})
        pid = hear(process)["result"]["pid"]
        assert hear(process)["id"] == 2
        os.kill(pid, signal.SIGKILL)
        told = hear(process)
        assert (told["id"], told["error"]["code"]) == (1, -32002)
        assert "the server has ended" in told["error"]["message"]
        assert process.wait(20) == 128 + signal.SIGKILL
        assert process.stderr is not None
        assert b"lockgate: the server has ended with status 137" in process.stderr.read()


def test_a_client_that_leaves_ends_its_server_and_its_session(front: Gateway, agent: str) -> None:
    """However it leaves: the server is gone, and the log says that the session ended."""
    with ExitStack() as stack:
        before = len(records(front, "session_begin"))
        clients = [stack.enter_context(pipe(words(front, "light"), agent)) for _ in range(4)]
        for one in clients:
            say(one, HELLO)
        pids = [hear(one)["result"]["pid"] for one in clients]
        begun = {record["sid"] for record in records(front, "session_begin")[before:]}
        eof, term, interrupt, kill = clients
        assert eof.stdin is not None
        eof.stdin.close()
        eof.stdin = None
        term.send_signal(signal.SIGTERM)
        interrupt.send_signal(signal.SIGINT)
        kill.kill()
        assert [one.wait(20) for one in clients] == [0, 143, 130, -9]
        until(lambda: not any(is_alive(pid) for pid in pids))
        until(lambda: begun <= {record["sid"] for record in records(front, "session_end") if record["cause"] == "client left"})
        assert len(begun) == 4


def test_a_server_that_does_not_want_to_end_is_ended(front: Gateway, agent: str) -> None:
    """Standard input closed, then SIGTERM, then SIGKILL; what it started in its group too."""
    stubborn = ("import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); child = os.fork(); "
                "print(os.getpid(), child, file=sys.stderr, flush=True) if child else None; time.sleep(600)")
    with pipe(words(front, "other", "--", sys.executable, "-c", stubborn), agent) as process:
        assert process.stderr is not None
        pids = [int(word) for word in process.stderr.readline().split()]
        assert len(pids) == 2
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        assert process.wait(20) == 0
        until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_token_that_expires_ends_the_session_in_words(front: Gateway, tokens: Issuer) -> None:
    """The client's log and its standard error say so."""
    with pipe(words(front, "light"), tokens.token("agent-1", "agents", agent="analyst", lifetime="8")) as process:
        say(process, HELLO)
        assert hear(process)["id"] == 0
        told = hear(process)
        assert told["method"] == "notifications/message"
        assert "has expired" in told["params"]["data"]
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert b"has expired" in process.stderr.read()


# ---------------------------------------------------------------- without a gateway


@pytest.fixture
def alone(tokens: Issuer, tmp_path: Path) -> Iterator[Path]:
    """A configuration for which no gateway runs. One that is started ends with the test."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(CONFIG.format(folder=tmp_path, control=free_port(), issuer=tokens.url))
    yield path
    state = tmp_path / "state"
    reached = connect(state) if state.is_dir() else None
    if reached is not None:
        with reached:
            os.kill(peer_of(reached)[0], signal.SIGTERM)
        until(lambda: not is_served(state))


async def test_clients_without_a_gateway_start_one_and_share_it(alone: Path, agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once: one gateway, one log, in which both sessions are; it verifies."""
    monkeypatch.setenv("MCP_TOKEN", SECRET)
    line = command("mcp", "run", "-c", str(alone), "--connection", "crm")
    found: list[str] = []

    async def one() -> None:
        server = StdioServerParameters(command=line[0], args=line[1:], env={"LOCKGATE_TOKEN": agent, "MCP_TOKEN": SECRET})
        async with stdio_client(server) as (read, write), ClientSession(read, write) as client:
            await client.initialize()
            await client.list_tools()
            found.append(text(await client.call_tool("customer", {"number": 1})))

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
    assert [json.loads(one)["ssn"] for one in found] == ["xxxx", "xxxx"]
    state = alone.parent / "state"
    assert (state / "serve.log").read_text().count("session open") == 2
    assert (state / "serve.log").stat().st_mode & 0o777 == 0o600
    assert agent not in (state / "serve.log").read_text()
    said = await anyio.to_thread.run_sync(lambda: run("audit", "verify", "--state", str(state)))
    assert "VERIFIED" in said


def test_a_gateway_that_cannot_start_is_said_in_words(alone: Path, agent: str) -> None:
    """With file and line, to people and to the client."""
    alone.write_text(alone.read_text().replace("deny: this is not for agents", "dney: this is not for agents"))
    done = subprocess.run(
        command("mcp", "run", "-c", str(alone)), capture_output=True, timeout=60, env={**os.environ, "LOCKGATE_TOKEN": agent},
        input=json.dumps({"jsonrpc": "2.0", **HELLO}).encode() + b"\n")
    assert done.returncode == 1
    assert "lockgate.yaml:" in done.stderr.decode()
    assert "dney" in done.stderr.decode()
    assert "dney" in json.loads(done.stdout)["error"]["message"]


def test_a_gateway_serves_while_it_is_used(alone: Path) -> None:
    """And ends by itself; its log is whole."""
    done = subprocess.run(command("serve", "--while-used", "1s", "-c", str(alone)), capture_output=True, timeout=60)
    assert done.returncode == 0
    assert "VERIFIED" in run("audit", "verify", "--state", str(alone.parent / "state"))
