"""Real HTTP clients through the gateway to a real web application: straight, and by the gateway as their proxy."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.webapp import WebApp
from tests.e2e.conftest import TRUST
from tests.e2e.test_custody import records, until

SECRET = "7c11-http-backend-canary"
HEAD = TRUST + """\
listeners:
  - {{name: api, protocol: http, address: "127.0.0.1:{port}", plaintext_tokens: loopback, proxy: true}}
connections:
  - name: crm
    protocol: http
    address: 127.0.0.1:{backend}
    server_names: [crm.example]
    credential: {{password: {{env: API_TOKEN}}}}
    tls: {{mode: disable}}
    options: {{patience: 500ms, graphql: [/echo/graphql]}}
  - name: plain
    protocol: http
    address: 127.0.0.1:{backend}
    server_names: [plain.example]
    credential: {{password: {{env: API_TOKEN}}}}
    tls: {{mode: disable}}
  - name: blind
    protocol: http
    address: 127.0.0.1:{backend}
    server_names: [blind.example]
    tls: {{mode: disable}}
    options: {{tunnel: true, inject: none}}
  - name: down
    protocol: http
    address: 127.0.0.1:1
    server_names: [down.example]
    tls: {{mode: disable}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
  - name: hide
    connections: [crm]
    mask:
      - {{columns: ["*.ssn"], with: redact}}
      - {{detect: [credit_card], with: partial}}
  - name: deletes-need-a-person
    connections: [crm]
    when: op.verb == "delete"
    review: {{by: [dba], expires: 5m}}
  - name: not-this
    connections: [crm, plain]
    when: op.path == "/echo/forbidden"
    deny: this path is not for agents
  - name: read-only-graphql
    connections: [crm]
    when: op.graphql.exists(o, o.type == "mutation")
    deny: only queries are for agents
  - name: no-programs
    connections: [crm]
    when: op.parts.exists(p, p.filename.endsWith(".exe"))
    deny: programs are not for agents
  - name: seldom
    when: op.path == "/echo/seldom"
    limit: {{requests: 2/h}}
"""


@pytest.fixture(scope="module")
def api(web: WebApp, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway in front of it."""
    with gateway(tmp_path_factory.mktemp("api"), HEAD, env={"API_TOKEN": SECRET}, backend=web.port,
                 issuer=tokens.url) as running:
        yield running


@pytest.fixture
def client(api: Gateway, agent: str) -> Iterator[httpx.Client]:
    """A client of the connection with masks."""
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}",
                      headers={"authorization": f"Bearer {agent}", "host": "crm.example"}) as made:
        yield made


@pytest.fixture(scope="module")
def authority(api: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate that clients of the forward proxy trust, as the command prints it."""
    path = tmp_path_factory.mktemp("trust") / "ca.pem"
    path.write_text(run("ca", "--config", str(next(api.folder.glob("*.yaml")))))
    return path


def test_the_backend_sees_its_credential_and_the_client_masks(client: httpx.Client, agent: str) -> None:
    """What travels on is the connection's credential; what comes back is masked, and nothing else is changed."""
    seen = client.get("/echo/a?b=1", headers={"x-trace": "7"}).json()
    headers = dict(seen["headers"])
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["x-trace"] == "7"
    assert agent not in json.dumps(seen)
    assert (seen["path"], seen["query"]) == ("/echo/a", "b=1")
    assert client.get("/customers/1").text == (
        '{"id": 1, "name": "ann", "email": "ann@example.com", "ssn": "xxxx", "balance": 12.5}')
    assert "4111 1111" not in client.get("/note").text


def test_what_claims_to_be_json_and_is_not_does_not_pass(client: httpx.Client) -> None:
    """A 502 that says what is wrong, without the content."""
    answer = client.get("/lies")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert "219-09" not in answer.text
    assert client.get("/picture").status_code == 502


def test_a_refusal_can_be_acted_on_and_is_on_record(client: httpx.Client, api: Gateway) -> None:
    """problem+json with code, rule and hint."""
    answer = client.get("/echo/forbidden")
    assert answer.status_code == 403
    assert answer.json()["rule"] == "not-this"
    until(lambda: any(record.get("refusal") == "denied" for record in records(api, "intent")))


def test_a_graphql_mutation_is_refused_and_a_query_goes_through(client: httpx.Client) -> None:
    """By what the document says, not by the method."""
    assert client.post("/echo/graphql", json={"query": "{ me { name } }"}).status_code == 200
    both = {"query": "query a { me } mutation b { pay }", "operationName": "a"}
    refused = client.post("/echo/graphql", json=both)
    assert (refused.status_code, refused.json()["rule"]) == (403, "read-only-graphql")
    assert client.post("/echo/graphql", json={"query": "{ me"}).status_code == 400


def test_a_file_is_judged_by_its_name(client: httpx.Client) -> None:
    """As a real client writes the parts of a form."""
    assert client.post("/echo/up", data={"note": "x"}, files={"doc": ("a.txt", b"1")}).status_code == 200
    refused = client.post("/echo/up", data={"note": "x"}, files={"doc": ("a.exe", b"1", "text/plain")})
    assert (refused.status_code, refused.json()["rule"]) == (403, "no-programs")


def test_above_its_rate_an_agent_is_told_when_to_come_again(client: httpx.Client, api: Gateway) -> None:
    """Over all its connections to the gateway; other requests still pass."""
    for _ in range(2):
        assert client.get("/echo/seldom").status_code == 200
    refused = httpx.get(f"http://127.0.0.1:{api.port}/echo/seldom", headers=client.headers)
    assert (refused.status_code, refused.json()["rule"]) == (429, "seldom")
    assert 1700 < int(refused.headers["retry-after"]) <= 1800
    assert client.get("/customers/1").status_code == 200


def test_a_delete_waits_for_a_person_and_its_retry_goes_through(
    client: httpx.Client, api: Gateway, dba: str
) -> None:
    """Held for the connection's patience, refused with the ticket, approved, and sent again."""
    refused = client.delete("/customers/2")
    assert refused.status_code == 403
    ticket = refused.json()["ticket"]
    assert ticket in refused.json()["hint"]
    assert "statement" not in refused.text, "with HTTP it is a request"
    decided = httpx.post(f"{api.control_url}/v1/reviews/{ticket}/approve", headers={"authorization": f"Bearer {dba}"}, json={})
    assert decided.status_code == 200, decided.text
    assert client.delete("/customers/2").status_code == 204
    assert client.delete("/customers/2").json()["ticket"] != ticket


def test_large_content_passes_in_both_directions(client: httpx.Client) -> None:
    """Streams go on as they come, and arrive whole."""
    assert client.post("/sink", content=(b"x" * 65_536 for _ in range(64))).json() == {"size": 64 * 65_536}
    assert client.post("/sink", content=b"y" * 3_000_000).json() == {"size": 3_000_000}
    plain = {"host": "plain.example"}
    assert len(client.get("/large/200", headers=plain).content) == 200 * 65_536


def test_a_backend_that_is_down_is_a_502(client: httpx.Client) -> None:
    """And the connection can be used on."""
    assert client.get("/x", headers={"host": "down.example"}).status_code == 502
    assert client.get("/customers/1").status_code == 200


def test_unchanged_clients_reach_the_backend(api: Gateway, agent: str) -> None:
    """requests, curl and urllib, with the token as a bearer or as a password."""
    url = f"http://127.0.0.1:{api.port}/customers/1"
    masked = {"id": 1, "name": "ann", "email": "ann@example.com", "ssn": "xxxx", "balance": 12.5}
    assert requests.get(url, auth=("agent", agent), headers={"Host": "crm.example"}, timeout=10).json() == masked
    said = subprocess.run(["curl", "-sS", "-u", f"agent:{agent}", "-H", "Host: crm.example", "--compressed", url],
                          capture_output=True, timeout=20, check=True)
    assert json.loads(said.stdout) == masked


def test_who_asked_without_a_token_may_ask_again_with_one(api: Gateway, tokens: Issuer) -> None:
    """On the same connection: nobody's request is in no session, and who asked before goes on with theirs."""
    agent = tokens.token("now-and-then", "agents")
    begun = len(records(api, "session_begin"))
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
    answers = []
    for token in (agent, None, agent):
        connection.request("GET", "/customers/1", headers={
            "Host": "crm.example", **({} if token is None else {"Authorization": f"Bearer {token}"})})
        answer = connection.getresponse()
        answers.append((answer.status, answer.read() and connection.sock is not None))
    connection.close()
    assert answers == [(200, True), (401, True), (200, True)]
    assert len(records(api, "session_begin")) == begun + 1


def test_a_forward_proxy_stands_in_for_hosts_that_are_connections(
    api: Gateway, agent: str, authority: Path
) -> None:
    """Code that knows nothing of the gateway is governed: HTTPS is intercepted with the installation's own authority."""
    proxy = f"http://agent:{agent}@127.0.0.1:{api.port}"
    environment = {**os.environ, "HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "SSL_CERT_FILE": str(authority),
                   "REQUESTS_CA_BUNDLE": str(authority), "NO_PROXY": "", "no_proxy": ""}
    for code in (
        "import urllib.request as u; print(u.urlopen('https://crm.example/customers/1').read().decode())",
        "import requests; print(requests.get('https://crm.example/customers/1').text)",
        "import httpx; print(httpx.get('https://crm.example/customers/1').text)",
        "import httpx; print(httpx.get('http://crm.example/customers/1').text)",
    ):
        said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30)
        assert '"ssn": "xxxx"' in said.stdout, said.stderr[-800:]
    curl = ["curl", "-sS", "--cacert", str(authority), "-x", proxy]
    said = subprocess.run([*curl, "https://crm.example/customers/1"], capture_output=True, text=True, timeout=20)
    assert '"ssn": "xxxx"' in said.stdout


def test_a_forward_proxy_leads_nowhere_else(api: Gateway, agent: str, authority: Path) -> None:
    """A host that is no connection is refused and on record; so is who brings no token."""
    proxy = f"http://agent:{agent}@127.0.0.1:{api.port}"
    def asked(*words: str) -> Any:
        return subprocess.run(["curl", "-sS", "--cacert", str(authority), "-w", "%{http_connect}", *words],
                              capture_output=True, text=True, timeout=20)
    assert asked("-x", proxy, "https://evil.example/x").stdout.endswith("403")
    assert asked("-x", proxy, "https://169.254.169.254/latest").stdout.endswith("403")
    assert asked("-x", f"http://127.0.0.1:{api.port}", "https://crm.example/x").stdout.endswith("407")
    assert asked("-x", proxy, "-p", "http://crm.example:1/customers/1").stdout.endswith("200")
    inside = asked("-x", proxy, "-H", "Host: plain.example", "https://crm.example/customers/1")
    assert "another than the one that the tunnel" in inside.stdout


def test_a_blind_tunnel_passes_bytes_to_its_connection_only(api: Gateway, agent: str) -> None:
    """Where the connection says so; the port that the client names is not dialled."""
    proxy = f"http://agent:{agent}@127.0.0.1:{api.port}"
    said = subprocess.run(["curl", "-sS", "-p", "-x", proxy, "http://blind.example:9/customers/1"],
                          capture_output=True, text=True, timeout=20)
    assert '"ssn": "219-09-9999"' in said.stdout
    assert any(record["verbs"] == ["connect"] for record in records(api, "intent"))
