"""Recordings of real HTTP and MCP clients' sessions: what they hold, what they must not, and how they are played."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.recording.playback import Playback, streams_of
from lockgate.audit.recording.sealing import Opener
from lockgate.audit.recording.shown import Shown
from lockgate.audit.verify import verify_log
from lockgate.protocols import discover
from testbed.certificates import Certificate, make_certificate
from testbed.gateway import Gateway, Issuer, gateway
from testbed.mcpserver import CARD, mcpserver
from testbed.webapp import CLIENT_ID, CLIENT_SECRET, WebApp
from tests.e2e import test_mcp as mcp
from tests.e2e.test_http import HEAD, SECRET
from tests.e2e.test_http2 import client_of
from tests.e2e.test_recordings import IDENTITY, RECORDING, Screen, end_of, run, wait_for, words

RULES = "  - {{name: recorded, connections: [%s], record: true}}\n"
SECOND = """\
  - {{name: secure, protocol: http, address: "127.0.0.1:{secure}", tls: {{certificate: {certificate}, key: {key}}}}}
connections:"""
SPELLED = {
    "basic": "inject: basic", "query": "inject: query, name: key", "header": "inject: header, name: x-key",
    "oauth": 'inject: oauth2, token_url: "http://127.0.0.1:{backend}/oauth/token", unsafe_http: true, scope: all',
    "signed": "inject: aws, region: eu-central-1, service: x, session_token: {{env: SESSION_TOKEN}}",
}
MORE = "".join(f"""\
  - name: {name}
    protocol: http
    address: 127.0.0.1:{{backend}}
    server_names: [{name}.example]
    credential: {{{{user: "{'AKIDEXAMPLE' if name == 'signed' else CLIENT_ID}", password: {{{{env: CLIENT_SECRET}}}}}}}}
    tls: {{{{mode: disable}}}}
    options: {{{{{options}}}}}
""" for name, options in SPELLED.items()) + "policies:"
"""Connections whose credential is not on the wire as it is written."""
SESSION_TOKEN = "temporary+key/of-the-session"
CANARIES = ("219-09-9999", "219-09-9998", "4111 1111 1111 1111", SECRET)


def recorded(head: str, *connections: str) -> str:
    """A configuration that records these connections, in sessions that end with their clients."""
    bounded = RECORDING.replace("]}}", "], max_bytes: 4000000}}")
    head = head.replace("identity:", "limits: {{session_idle: 0s}}\nidentity:", 1)
    return head.replace("/log}}", "/log" + bounded + "}}") + RULES % ", ".join(connections)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "crm.example", "plain.example", "127.0.0.1")


@pytest.fixture(scope="module")
def api(
    web: WebApp, certificate: Certificate, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway with a listener for HTTP/1.1 and proxies, and one with TLS for HTTP/2."""
    config = recorded(HEAD, "crm", "plain", "blind", *SPELLED).replace("connections:", SECOND, 1).replace("policies:", MORE, 1)
    with gateway(tmp_path_factory.mktemp("api"), config,
                 env={"API_TOKEN": SECRET, "CLIENT_SECRET": CLIENT_SECRET, "SESSION_TOKEN": SESSION_TOKEN},
                 backend=web.port, issuer=tokens.url, certificate=certificate.certificate, key=certificate.key,
                 more_ports=("secure",)) as running:
        yield running


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The auditor's key file."""
    path = tmp_path_factory.mktemp("auditor") / "identity.txt"
    path.write_text(f"{IDENTITY}\n")
    return path


class Seen:
    """A session as its recording tells it."""

    def __init__(self, front: Gateway, sid: str) -> None:
        self.sid = sid
        self.raw = b""
        self.all: list[Shown] = []
        playback = Playback(streams_of(front.state / "audit", sid)["client"], Opener([IDENTITY]))
        spec = discover()[playback.header.protocol].recording
        assert spec is not None
        assert spec.decoder is not None
        decoder = spec.decoder()
        for event in playback.events():
            self.raw += event.data
            self.all += decoder.take(event)

    def of(self, kind: str, name: str) -> list[Any]:
        return [shown.fields.get(name) for shown in self.all if shown.kind == kind]


def sessions_of(front: Gateway, act: Callable[[], object]) -> list[tuple[Seen, dict[str, Any]]]:
    """What is recorded of the sessions in which `act` runs, once they are over, and how the log says that each ended."""
    folder = front.state / "audit" / "recordings"
    before = {path.name for path in folder.glob("*")}
    act()
    found = wait_for(lambda: {path.name for path in folder.glob("*")} - before)
    ends = {sid: wait_for(lambda sid=sid: end_of(front, sid)) for sid in found}
    return [(Seen(front, sid), end) for sid, end in sorted(ends.items(), key=lambda one: one[1]["index"])]


def require_none(seen: Seen, *more: str) -> None:
    """No canary is in a recording that the auditor has opened, nor what was masked of them."""
    for canary in (*CANARIES, *more):
        assert canary.encode() not in seen.raw
    assert b"Bearer ey" not in seen.raw
    assert not [one for one in seen.all if one.kind == "unreadable"]


def client_at(api: Gateway, agent: str, host: str = "crm.example") -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{api.port}", headers={"authorization": f"Bearer {agent}", "host": host})


@pytest.fixture(scope="module")
def some(api: Gateway, agent: str) -> Seen:
    """A session of requests of many kinds, as httpx makes them."""
    got: dict[int, httpx.Response] = {}

    def act() -> None:
        with client_at(api, agent) as client:
            for number, (method, path, more) in enumerate((
                ("GET", "/customers/1", {}), ("POST", "/echo/a?b=1", {"json": {"name": "ann", "tags": ["x"]}}),
                ("GET", "/echo/forbidden", {}), ("GET", "/zipped", {}), ("GET", "/events", {}), ("GET", "/note", {}),
                ("GET", "/picture", {}), ("HEAD", "/customers/1", {}), ("DELETE", "/customers/1", {}), ("GET", "/lies", {}),
                ("POST", "/sink", {"content": (b"z" * 40_000 for _ in range(4))}),
            ), 1):
                got[number] = client.request(method, path, **more)

    ((seen, end),) = sessions_of(api, act)
    assert end["coverage"]["state"] == "whole", end
    texts: dict[int, str] = {}
    for shown in seen.all:
        if shown.fields.get("from", shown.kind) == "response":
            texts[shown.fields["of"]] = texts.get(shown.fields["of"], "") + shown.fields.get("text", "")
    assert {number: answer.status_code for number, answer in got.items()} == dict(
        zip(seen.of("response", "of"), seen.of("response", "status"), strict=True))
    assert {number: answer.text.replace(SECRET, "*" * len(SECRET)) for number, answer in got.items()} == texts
    return seen


def test_a_session_as_the_client_saw_it(some: Seen, agent: str) -> None:
    """Requests as they went on, refused ones marked, answers behind their masks (the fixture compares them one by one)."""
    assert some.of("request", "number") == list(range(1, 12))
    assert some.of("request", "text")[1] == '{"name":"ann","tags":["x"]}'
    assert [one.fields["of"] for one in some.all if one.fields.get("refused")] == [3, 9]
    require_none(some, agent)


def test_the_backend_s_credential_is_taken_out_where_the_backend_tells_it(some: Seen) -> None:
    """It is nowhere in what went on, and an echo of it is asterisks."""
    fields = {name.lower() for one in some.of("request", "fields") for name, _ in one}
    assert "authorization" not in fields
    (echo,) = [text for text in some.of("response", "text") if text and '"tags' in text]
    assert f'["authorization", "Bearer {"*" * len(SECRET)}"]' in echo


@pytest.mark.parametrize("name", SPELLED)
def test_no_spelling_of_a_credential_is_recorded(api: Gateway, agent: str, name: str) -> None:
    """A backend that tells all that it got: in Basic, in the query, in a header, as an access token, with a session token."""
    told: list[str] = []

    def act() -> None:
        with client_at(api, agent, f"{name}.example") as client:
            told.append(client.get("/echo/all?a=1").text)

    ((seen, _),) = sessions_of(api, act)
    basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    secrets = [CLIENT_SECRET, basic, quote(CLIENT_SECRET, safe=""), SESSION_TOKEN, "granted-"]
    assert any(secret in told[0] for secret in secrets), "the backend has got it, and told the client"
    require_none(seen, agent, *secrets)
    assert "***" in seen.of("response", "text")[0]


def test_replay_is_legible_and_can_be_searched(api: Gateway, auditor: Path, some: Seen) -> None:
    """The request's line, JSON a member a line, the status and the time; and only what holds the text."""
    printed = run("session", "replay", some.sid, *words(api, auditor))
    assert "request 2\n    POST /echo/a?b=1\n" in printed
    assert '    │ {\n    │   "name": "ann",\n    │   "tags": [\n    │     "x"\n    │   ]\n    │ }\n' in printed
    assert "answer to 3: 403 Forbidden, after 0." in printed
    assert '    │   "ssn": "xxxx",\n' in printed
    assert "\x1b" not in printed
    found = run("session", "replay", some.sid, *words(api, auditor, "--search", "NOT FOR AGENTS"))
    assert found.count("answer to") == 1
    assert run("session", "replay", some.sid, *words(api, auditor, "--at", "1h")) == ""


def test_the_player_jumps_from_request_to_request(api: Gateway, auditor: Path, some: Seen) -> None:
    """Keys on a terminal: pause, on and back by request, search, the end."""
    screen = Screen(some.sid, *words(api, auditor, "--speed", "0.0625"))
    screen.wait("request 1")
    screen.press(" ")
    screen.wait("paused at")
    screen.press("0")
    screen.wait("at 0:00.000")
    screen.press("\x1b[C")
    screen.wait("POST /echo/a?b=1")
    screen.press("\x1b[C")
    screen.wait("GET /echo/forbidden")
    screen.press("\x1b[D")
    screen.wait("POST /echo/a?b=1")
    screen.press("/not-this\r")
    screen.wait("search: not-this")
    screen.wait("at 0:")
    screen.press("n")
    screen.wait("no further not-this")
    screen.press("q")
    assert screen.end() == 0


def test_exports_are_what_others_read(api: Gateway, auditor: Path, some: Seen, tmp_path: Path) -> None:
    """One object for each exchange, a HAR file, an asciicast; statements there are none."""
    for form in ("jsonl", "har", "asciicast"):
        run("session", "export", some.sid, *words(api, auditor, "--out", str(tmp_path / form), "--format", form))
    header, *lines = [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()]
    assert (header["kind"], header["protocol"]) == ("exchanges", "http")
    assert [line["response"]["status"] for line in sorted(lines, key=lambda one: one["exchange"])] == some.of("response", "status")
    log = json.loads((tmp_path / "har").read_text())["log"]
    assert (log["version"], len(log["entries"])) == ("1.2", 11)
    assert log["entries"][1]["request"]["postData"]["text"] == '{"name":"ann","tags":["x"]}'
    cast = [json.loads(line) for line in (tmp_path / "asciicast").read_text().splitlines()]
    assert cast[0]["version"] == 2
    assert any("answer to 3: 403" in text for _, _, text in cast[1:])
    assert "holds no statements" in run(
        "session", "export", some.sid, *words(api, auditor, "--out", "-", "--format", "sql"), expect=4)


def test_a_package_with_such_a_recording_verifies_until_it_is_tampered_with(
    api: Gateway, auditor: Path, some: Seen, tmp_path: Path,
) -> None:
    """By the command and by the verifier in the package, which needs nothing; a byte of a chunk changes the verdict."""
    package, key = tmp_path / "evidence.tar", str(api.state / "audit" / "log.vkey")
    run("audit", "export", "--session", some.sid, "--state", str(api.state), "--out", str(package))
    own = ["--package", str(package), "--key", key, "--identity", str(auditor)]
    assert run("session", "replay", some.sid, *own) == run("session", "replay", some.sid, *words(api, auditor))
    with tarfile.open(package) as tar:
        (member,) = [name for name in tar.getnames() if name.endswith("verify.py")]
        tar.extract(member, tmp_path, filter="data")
    verify = [sys.executable, "-I", str(tmp_path / member), str(package), "--key", key]
    printed = run("audit", "verify", str(package), "--key", key)
    assert re.search(r"ok    10 recordings: 1 streams, \d+ chunks, each as the log marked them", printed)
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    data = bytearray(package.read_bytes())
    data[data.index(b"age-encryption.org") + 200] ^= 1
    package.write_bytes(data)
    assert "TAMPERED" in run("session", "replay", some.sid, *own, expect=1)
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 1
    assert verify_log(api.state / "audit").verdict is Verdict.VERIFIED


def test_what_is_too_large_is_recorded_in_part_and_the_log_says_so(api: Gateway, agent: str, auditor: Path) -> None:
    """A mebibyte of text, 4 KiB of a picture, and the coverage of the session is `cut`."""
    def act() -> None:
        with client_at(api, agent, "plain.example") as client:
            assert len(client.get("/large/20").content) == 20 * 65_536
            assert len(client.get("/picture").content) == 72
            assert client.post("/sink", content=b"\0" * 9_000, headers={"content-type": "image/x"}).json() == {"size": 9_000}

    ((seen, end),) = sessions_of(api, act)
    assert (end["coverage"]["state"], end["coverage"]["reason"]) == ("cut", "2 contents recorded in part")
    large, picture = [one.fields for one in seen.all if one.fields.get("left_out")]
    assert (large["size"], large["kept"], large["left_out"]) == (20 * 65_536, 1 << 20, 4 << 16)
    assert (picture["size"], picture["kept"], picture["from"]) == (9_000, 4_096, "request")
    assert "of which 1048576 are recorded; SHA-256" in run("session", "replay", seen.sid, *words(api, auditor))
    assert "cut" in run("session", "list", "--state", str(api.state))
    assert verify_log(api.state / "audit").verdict is Verdict.VERIFIED


def test_streams_of_one_connection_share_a_recording(api: Gateway, certificate: Certificate, agent: str) -> None:
    """HTTP/2: exchanges that run at the same time have numbers, and none is in the other's way."""
    async def act() -> None:
        async with client_of(api, certificate, agent) as client:
            client.base_url = httpx.URL(f"https://127.0.0.1:{api.ports['secure']}")
            assert (await client.get("/customers/1")).http_version == "HTTP/2"
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(client.get(path)) for path in (
                    "/customers/2", "/echo/forbidden", "/echo/x", "/zipped", "/events", "/large/10")]
                asked.append(group.create_task(client.delete("/customers/1")))
        assert [one.result().status_code for one in asked] == [200, 403, 200, 200, 200, 200, 403]

    ((seen, end),) = sessions_of(api, lambda: asyncio.run(act()))
    assert end["coverage"]["state"] == "whole", end
    paths = dict(zip(seen.of("request", "number"), seen.of("request", "target"), strict=True))
    assert sorted(paths) == list(range(1, 9))
    answers = dict(zip(seen.of("response", "of"), seen.of("response", "status"), strict=True))
    methods = dict(zip(seen.of("request", "number"), seen.of("request", "method"), strict=True))
    assert {(methods[number], paths[number]) for number, status in answers.items() if status != 200} == {
        ("GET", "/echo/forbidden"), ("DELETE", "/customers/1")}
    assert sum(len(one.fields.get("text", "")) for one in seen.all
               if one.kind == "content" and paths[one.fields["of"]] == "/large/10") == 10 * 65_536
    require_none(seen, agent)


def test_connections_of_one_caller_share_a_recording(api: Gateway, agent: str) -> None:
    """Exchanges at the same time over several connections of HTTP/1.1: all of it is there, and each answer is its request's."""

    async def act() -> None:
        async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{api.port}", headers={"authorization": f"Bearer {agent}", "host": "crm.example"},
        ) as client, asyncio.TaskGroup() as group:
            for path in ("/customers/2", "/echo/x", "/large/10", "/events"):
                group.create_task(client.get(path))

    ((seen, end),) = sessions_of(api, lambda: asyncio.run(act()))
    assert end["coverage"]["state"] == "whole", end
    paths = dict(zip(seen.of("request", "number"), seen.of("request", "target"), strict=True))
    assert sorted(paths.values()) == ["/customers/2", "/echo/x", "/events", "/large/10"]
    assert sum(len(one.fields.get("text", "")) for one in seen.all
               if one.kind == "content" and paths[one.fields["of"]] == "/large/10") == 10 * 65_536
    require_none(seen, agent)


def test_at_the_limit_all_streams_of_the_session_end(api: Gateway, certificate: Certificate, agent: str) -> None:
    """Nothing goes on unrecorded: what is open is cut, and a new stream gets a session that can be recorded."""
    answers: list[bool] = []

    async def act() -> None:
        async with client_of(api, certificate, agent, "plain.example") as client:
            client.base_url = httpx.URL(f"https://127.0.0.1:{api.ports['secure']}")

            async def get() -> None:
                try:
                    answers.append(len((await client.get("/large/15")).content) == 15 * 65_536)
                except httpx.RemoteProtocolError:
                    answers.append(False)

            async with asyncio.TaskGroup() as group:
                for _ in range(9):
                    group.create_task(get())
            assert (await client.get("/customers")).status_code == 200

    (first, end), (second, other) = sessions_of(api, lambda: asyncio.run(act()))
    assert answers.count(True) <= 4
    assert len(answers) == 9
    assert (end["coverage"]["state"], end["coverage"]["reason"]) == ("cut", "the limit of 4000000 bytes is reached")
    assert (len(second.of("request", "number")), other["coverage"]["state"]) == (1, "whole")
    assert len(first.of("request", "number")) == 9


def test_streams_go_on_in_another_session_before_the_limit_is_reached(
    api: Gateway, certificate: Certificate, agent: str,
) -> None:
    """A session of which half of what may be is recorded takes no more requests: none is cut for what others brought."""

    async def act() -> None:
        async with client_of(api, certificate, agent, "plain.example") as client:
            client.base_url = httpx.URL(f"https://127.0.0.1:{api.ports['secure']}")
            for _ in range(7):
                assert len((await client.get("/large/15")).content) == 15 * 65_536

    found = sessions_of(api, lambda: asyncio.run(act()))
    assert [end["coverage"]["state"] for _, end in found] == ["whole"] * 3
    assert [len(seen.of("request", "number")) for seen, _ in found] == [3, 3, 1]


def test_what_a_proxy_lets_through_is_recorded_inside_of_the_tunnel(api: Gateway, agent: str) -> None:
    """curl over the forward proxy: the CONNECT, and the requests in it; of a blind tunnel that it was opened."""
    def curl(host: str) -> Callable[[], object]:
        return lambda: subprocess.run(
            ["curl", "-sSk", "-m", "20", "-x", f"http://agent:{agent}@127.0.0.1:{api.port}", f"https://{host}/customers/1"],
            capture_output=True, check=False)

    ((seen, _),) = sessions_of(api, curl("crm.example"))
    assert [(one.fields["method"], one.fields["target"]) for one in seen.all if one.kind == "request"] == [
        ("CONNECT", "crm.example:443"), ("GET", "/customers/1")]
    assert "xxxx" in seen.of("response", "text")[-1]
    require_none(seen, agent)
    ((seen, _),) = sessions_of(api, curl("blind.example"))
    assert seen.of("request", "target") == ["blind.example:443"]
    require_none(seen, agent)


def test_connections_that_are_not_recorded_leave_nothing(api: Gateway, agent: str) -> None:
    """The rule does not name `down`."""
    before = set((api.state / "audit" / "recordings").glob("*"))
    with client_at(api, agent, "down.example") as client:
        assert client.get("/x").status_code == 502
    assert set((api.state / "audit" / "recordings").glob("*")) == before


# ---------------------------------------------------------------- MCP


@pytest.fixture(scope="module")
def front(tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("mcp")
    with mcpserver(folder) as one, mcpserver(folder, "json") as two, gateway(
        folder / "gateway", recorded(mcp.HEAD, "crm", "documents"), env={"MCP_TOKEN": mcp.SECRET}, streamable=one.port, json=two.port, sse=1,
        turncoat=1, issuer=tokens.url,
    ) as running:
        yield running


@pytest.mark.parametrize("host", ["crm.example", "documents.example"])
def test_messages_of_mcp_in_both_directions(front: Gateway, agent: str, auditor: Path, host: str, tmp_path: Path) -> None:
    """The SDK's client over streams and documents: calls with their results, masked, and a refused call by its name."""
    async def act() -> None:
        async with mcp.session(front, agent, host) as client:
            await client.list_tools()
            assert (await client.call_tool("customer", {"number": 1})).structuredContent == {"id": 1, "name": "ann", "ssn": "xxxx"}
            assert (await client.call_tool("drop_everything", {"why": "private"})).isError
            await client.call_tool("note", {"number": 1})

    found = sessions_of(front, lambda: anyio.run(act))
    assert all(end["coverage"]["state"] == "whole" for _, end in found)
    for seen, _ in found:
        require_none(seen, agent, mcp.SECRET, CARD, "private")
    said = [one.fields for seen, _ in found for one in seen.all if one.kind == "message"]
    by_words = {one["what"].partition(" (id")[0]: json.loads(one["message"]) for one in said}
    assert by_words["tools/call customer"]["params"]["arguments"] == {"number": 1}
    assert by_words["result of tools/call customer"]["result"]["structuredContent"]["ssn"] == "xxxx"
    assert by_words["result of tools/call drop_everything"]["result"]["isError"] is True
    assert by_words["tools/call drop_everything"]["params"] == {"name": "drop_everything"}
    assert {"initialize", "notifications/initialized", "tools/list", "result of tools/list"} <= set(by_words)
    sid = next(seen.sid for seen, _ in found if "tools/call customer" in str(seen.of("message", "what")))
    printed = run("session", "replay", sid, *words(front, auditor))
    assert "    → tools/call customer (id " in printed
    assert "    ← result of tools/call customer (id " in printed
    run("session", "export", sid, *words(front, auditor, "--out", str(tmp_path / "har"), "--format", "har"))
    assert json.loads((tmp_path / "har").read_text())["log"]["entries"][0]["_beside"]
    assert verify_log(front.state / "audit").verdict is Verdict.VERIFIED


async def test_a_held_call_is_recorded_with_the_stream_that_it_waited_on(front: Gateway, agent: str, dba: str) -> None:
    """Progress while a person is asked, then the result, in one exchange."""
    async def act() -> None:
        async with mcp.session(front, agent) as client, anyio.create_task_group() as group:
            await client.list_tools()
            group.start_soon(mcp.approve_next, front, dba, "refund")
            await client.call_tool("refund", {"number": 1, "amount": 500.0})

    found = await anyio.to_thread.run_sync(lambda: sessions_of(front, lambda: anyio.run(act)))
    (one,) = [seen for seen, _ in found if "tools/call refund" in str(seen.of("message", "what"))]
    (number,) = {shown.fields["of"] for shown in one.all if shown.kind == "message" and "refund" in shown.fields["what"]}
    shown = [shown for shown in one.all if shown.fields.get("of", shown.fields.get("number")) == number]
    assert [part.kind for part in shown if part.kind in ("request", "response")] == ["response", "request"]
    assert "waits for a person" in str([part.fields.get("text") for part in shown])
