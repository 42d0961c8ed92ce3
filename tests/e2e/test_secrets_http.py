"""Credentials of HTTP and MCP backends, and agents' tokens there, turn up in no log, record, file, answer, child or core."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testbed.gateway import Gateway, Issuer
from testbed.mcpserver import McpServer, mcpserver
from testbed.webapp import CLIENT_ID, CLIENT_SECRET, WebApp, webapp
from tests.e2e import canaries
from tests.e2e.canaries import hits
from tests.e2e.conftest import TRUST
from tests.e2e.test_review import call
from tests.e2e.test_secrets import Ran, fetch, started, wait_expired

SECRETS = {
    "CRM_PASSWORD": "c4n-bearer-1f7a90", "BASIC": "c4n-basic-90ab31", "HEADER": "c4n-header-5d02e1", "QUERY": "c4n-query-77aa03",
    "AWS_SECRET": "c4n-aws-secret-e0e1f4", "AWS_SESSION": "c4n-aws-session-0f3b", "MCP_TOKEN": "c4n-mcp-token-6c21d7",
    "CLIENT_SECRET": CLIENT_SECRET, "OTHER_SECRET": "c4n-other-33bd20",
}
SENT = {"bearer": "CRM_PASSWORD", "header": "HEADER", "query": "QUERY", "signed": "AWS_SESSION"}
"""What a backend is seen to get as it is, by connection."""
MCP = {"accept": "application/json, text/event-stream", "host": "tools.example"}


def connection(name: str, credential: str, options: str, protocol: str = "http", backend: str = "backend") -> str:
    """A connection's part of the configuration, before its braces are filled in."""
    return (f"  - name: {name}\n    protocol: {protocol}\n    address: 127.0.0.1:{{{backend}}}\n"
            f"    server_names: [{name}.example]\n    credential: {{{{{credential}}}}}\n    tls: {{{{mode: disable}}}}\n"
            f"    options: {{{{{options}}}}}\n")


CONFIG = TRUST + """\
listeners:
  - {{name: api, protocol: http, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
  - {{name: tools, protocol: mcp, address: "127.0.0.1:{tools}", plaintext_tokens: loopback}}
connections:
""" + "".join((
    connection("bearer", "password: {{env: CRM_PASSWORD}}", "inject: bearer"),
    connection("basic", "user: app, password: {{env: BASIC}}", "inject: basic"),
    connection("header", "password: {{env: HEADER}}", "inject: header, name: x-api-key"),
    connection("query", "password: {{env: QUERY}}", "inject: query, name: key"),
    connection("granted", f'user: "{CLIENT_ID}", password: {{{{env: CLIENT_SECRET}}}}',
               'inject: oauth2, token_url: "http://127.0.0.1:{backend}/oauth/token", unsafe_http: true'),
    connection("stranger", "user: nobody, password: {{env: CLIENT_SECRET}}",
               'inject: oauth2, token_url: "http://127.0.0.1:{backend}/oauth/token", unsafe_http: true'),
    connection("signed", "user: AKIDEXAMPLE, password: {{env: AWS_SECRET}}",
               "inject: aws, region: eu-central-1, service: execute-api, session_token: {{env: AWS_SESSION}}"),
    connection("tools", "password: {{env: MCP_TOKEN}}", "", "mcp", "server"),
)) + """\
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebApp, McpServer]]:
    """An application that is its own token server, and an MCP server."""
    folder = tmp_path_factory.mktemp("servers")
    with webapp(folder) as web, mcpserver(folder, "json") as tools:
        yield web, tools


def work(front: Gateway, issuer: Issuer, ran: Ran) -> None:
    """Every way of a credential to a backend, and good and bad tokens on every way in."""
    agent, dba, short = issuer.token("agent-7", "agents"), issuer.token("dora", "dba"), issuer.token("agent-8", "agents", lifetime="1")
    forged = agent.rpartition(".")[0] + "." + "Zm9yZ2VkLXNpZ25hdHVyZS1jYW5hcnktMDAwMDAwMDAwMDA"
    for name, token in (("token", agent), ("reviewer's token", dba), ("expired token", short), ("forged token", forged)):
        ran.secrets[name] = token.rpartition(".")[2].encode()
    with httpx.Client(base_url=f"http://127.0.0.1:{front.port}", headers=bearer(agent), timeout=20) as client:
        for name in ("bearer", "basic", "header", "query", "granted", "signed"):
            answer = client.post("/echo/x", headers={"host": f"{name}.example"}, json={"number": 1})
            assert answer.status_code == 200, answer.text
            assert SECRETS[SENT[name]] in answer.text if name in SENT else "authorization" in answer.text
            assert client.get("/note", headers={"host": f"{name}.example"}).status_code == 200
        assert client.get("/guarded", headers={"host": "granted.example"}).status_code == 200
        said = [client.get("/guarded", headers={"host": "stranger.example"}).text]      # no access token
    wait_expired(short)
    for bad in (short, forged, "c4n-no-token-at-all"):
        for port, path in ((front.port, "/note"), (front.ports["tools"], "/mcp")):
            said.append(httpx.post(f"http://127.0.0.1:{port}{path}", headers={**bearer(bad), "host": "bearer.example"}, json={}).text)
    said += tools(front, agent)
    said += [str(call(front, "/v1/reviews", bad)[1]) for bad in (forged, agent)]
    said += [fetch(front, path, dba).decode() for path in ("/v1/sessions", "/metrics", "/readyz", "/v1/openapi.json")]
    ran.places += canaries.answers(front, [answer.encode() for answer in said])


def tools(front: Gateway, agent: str) -> list[str]:
    """A session of MCP, as JSON-RPC; what the server said."""
    first = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}
    with httpx.Client(base_url=f"http://127.0.0.1:{front.ports['tools']}", headers={**bearer(agent), **MCP}, timeout=20) as client:
        begun = client.post("/mcp", json=first)
        assert begun.status_code == 200, begun.text
        client.headers["mcp-session-id"] = begun.headers["mcp-session-id"]
        client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        client.post("/mcp", json={"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
        called = client.post("/mcp", json={"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {
            "name": "refund", "arguments": {"number": 7, "amount": 3.5}}})
    assert "refunded" in called.text
    return [begun.text, called.text]


def bearer(token: str) -> dict[str, str]:
    """The header with a token."""
    return {"authorization": f"Bearer {token}"}


def run(folder: Path, how: str, servers: tuple[WebApp, McpServer], issuer: Issuer) -> Ran:
    """One run, and what is left of it."""
    ran = Ran({**{name: value.encode() for name, value in SECRETS.items()}, "access token": b"granted-",
               "no token": b"c4n-no-token-at-all"})
    folder.mkdir()
    said: dict[str, object] = {"backend": servers[0].port, "server": servers[1].port, "issuer": issuer.url}
    with started(folder, how, CONFIG, SECRETS, said, "tools") as front:
        work(front, issuer, ran)
        ran.places += canaries.children(front.process.pid)
        ran.places += canaries.dumps(front.folder, front.process.pid)
        ran.places += canaries.cores(front)
    ran.secrets["log key"] = (front.state / "audit" / "log.key").read_bytes().splitlines()[1]
    ran.places += canaries.files(front.state, "state", frozenset({"mask.key", "log.key"}))
    ran.places += canaries.payloads(front.state / "audit")
    ran.places.append(("log", front.log.read_bytes()))
    return ran


def test_no_credential_of_http_or_mcp_is_anywhere(servers: tuple[WebApp, McpServer], tokens: Issuer, tmp_path: Path) -> None:
    """Bearer, Basic, header, query, OAuth's client secret and access token, AWS's keys, MCP's token, and agents' tokens."""
    ran = run(tmp_path / "safe", "safe", servers, tokens)
    assert len(ran.secrets) == 16
    assert {place for place, _ in ran.places} >= {"answer", "log", "payload", "cmdline", "environ of a child", "state:log.db"}
    payloads = [json.loads(content) for place, content in ran.places if place == "payload" and content.startswith(b"[")]
    assert {record["connection"] for record, _ in payloads if record["type"] == "session_begin"} >= {*SENT, "granted", "tools"}
    assert any("refund" in str(content) for _, content in payloads)
    assert not hits(ran.places, ran.secrets)
    assert not {"core", "core limit"} & {place for place, _ in ran.places}
    assert b"invalid_client" in next(content for place, content in ran.places if place == "log")


def test_the_search_finds_them(servers: tuple[WebApp, McpServer], tokens: Issuer, tmp_path: Path) -> None:
    """A gateway that leaks is caught in each place, the core of its memory among them."""
    ran = run(tmp_path / "leaky", "leaky", servers, tokens)
    found = hits(ran.places, ran.secrets)
    assert found >= {(place, "CRM_PASSWORD") for place in ("answer", "log", "state:debug.txt", "cmdline")}
    assert found >= {("environ of a child", name) for name in SECRETS}
    assert found >= {("core", name) for name in ("CRM_PASSWORD", "access token", "token")}
    assert "core limit" in {place for place, _ in ran.places}
