"""What a backend gets as the gateway's credential, with real token servers and real backends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.webapp import CLIENT_ID, CLIENT_SECRET, WebApp, webapp
from tests.e2e.test_custody import records, until

CONFIG = """\
state: {folder}/state
listeners:
  - {{name: api, protocol: http, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
control: {{address: "127.0.0.1:{control}"}}
audit: {{mode: full, origin: test.lockgate.example/log}}
identity:
  providers:
    - {{name: test, issuer: "{issuer}", audience: lockgate, agent_claim: agent, model_claim: model, leeway: 0s,
       algorithms: [ES256], unsafe_http: true}}
connections:
  - name: crm
    protocol: http
    address: 127.0.0.1:{backend}
    server_names: [crm.example]
    credential: {{user: "{client}", password: {{env: CLIENT_SECRET}}}}
    tls: {{mode: disable}}
    options: {{inject: oauth2, token_url: "http://127.0.0.1:{backend}/oauth/token", unsafe_http: true, scope: crm.read}}
  - name: posts
    protocol: http
    address: 127.0.0.1:{backend}
    server_names: [posts.example]
    credential: {{user: "{client}", password: {{env: CLIENT_SECRET}}}}
    tls: {{mode: disable}}
    options: {{inject: oauth2, token_url: "http://127.0.0.1:{backend}/oauth/token", unsafe_http: true, client_auth: post}}
  - name: stranger
    protocol: http
    address: 127.0.0.1:{backend}
    server_names: [stranger.example]
    credential: {{user: nobody, password: {{env: CLIENT_SECRET}}}}
    tls: {{mode: disable}}
    options: {{inject: oauth2, token_url: "http://127.0.0.1:{backend}/oauth/token", unsafe_http: true}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application, which is its own token server."""
    with webapp(tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.fixture(scope="module")
def api(web: WebApp, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway in front of it."""
    with gateway(tmp_path_factory.mktemp("api"), CONFIG, env={"CLIENT_SECRET": CLIENT_SECRET}, backend=web.port,
                 issuer=tokens.url, client=CLIENT_ID) as running:
        yield running


@pytest.fixture
def client(api: Gateway, agent: str) -> Iterator[httpx.Client]:
    """A client that says in `host` where it wants to go."""
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", headers={"authorization": f"Bearer {agent}"}) as made:
        yield made


CRM, POSTS, STRANGER = ({"host": f"{name}.example"} for name in ("crm", "posts", "stranger"))


def test_an_access_token_is_fetched_kept_and_fetched_anew_behind_a_401(client: httpx.Client, web: WebApp) -> None:
    """One fetch for many requests; when the token was revoked the agent sees one 401, and the next request has another."""
    assert client.get("/guarded", headers=CRM).status_code == 200
    first = client.get("/guarded", headers=CRM)
    assert client.get("/guarded", headers=CRM).json() == first.json()
    httpx.post(f"{web.url}/oauth/revoke")
    assert client.get("/guarded", headers=CRM).status_code == 401
    assert client.get("/guarded", headers=CRM).status_code == 200
    assert client.get("/echo/x", headers=CRM).json()["headers"][-1][1].endswith("-crm.read")
    assert client.get("/echo/x", headers=POSTS).json()["headers"][-1][1].startswith("Bearer granted-")


def test_without_an_access_token_the_agent_gets_a_502_and_nobody_sees_a_secret(
    client: httpx.Client, api: Gateway
) -> None:
    """The log says why; neither the client's secret nor a token is in it, in a record or in an answer."""
    answer = client.get("/guarded", headers=STRANGER)
    assert answer.status_code == 502
    assert answer.json()["detail"] == "the gateway has no access token for connection stranger"
    assert client.get("/guarded", headers=CRM).status_code in (200, 401)
    until(lambda: any(record.get("connection") == "stranger" for record in records(api, "session_begin")))
    log = api.log.read_text()
    assert "invalid_client" in log
    for place in (log, answer.text, *(file.read_bytes().decode("latin-1") for file in _files(api.folder))):
        assert CLIENT_SECRET not in place
        assert "granted-" not in place


def test_the_table_of_check_has_the_credential(api: Gateway) -> None:
    """`lockgate check` says where access tokens are had."""
    said = run("check", "-c", str(next(api.folder.glob("*.yaml"))), env={"CLIENT_SECRET": CLIENT_SECRET})
    assert "an access token of http://127.0.0.1:" in said


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
