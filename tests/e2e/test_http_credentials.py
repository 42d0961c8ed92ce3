"""What a backend gets as the gateway's credential, with real token servers and real backends."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from lockgate.model import Secret
from lockgate.protocols.http.signing import Key, authorization
from testbed.certificates import make_certificate
from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.webapp import CLIENT_ID, CLIENT_SECRET, WebApp
from tests.e2e.conftest import TRUST
from tests.e2e.test_custody import records, until

CONFIG = TRUST + """\
listeners:
  - {{name: api, protocol: http, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
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
  - name: signed
    protocol: http
    address: 127.0.0.1:{backend}
    server_names: [signed.example]
    credential: {{user: AKIDEXAMPLE, password: {{env: CLIENT_SECRET}}}}
    tls: {{mode: disable}}
    options: {{inject: aws, region: eu-central-1, service: execute-api, session_token: {{env: SESSION_TOKEN}}}}
  - name: mutual
    protocol: http
    address: 127.0.0.1:{mutual}
    server_names: [mutual.example]
    tls: {{ca: "{certs}/ca.crt", certificate: "{certs}/server.crt", key: "{certs}/server.key"}}
    options: {{inject: none}}
  - name: anonymous
    protocol: http
    address: 127.0.0.1:{mutual}
    server_names: [anonymous.example]
    tls: {{ca: "{certs}/ca.crt"}}
    options: {{inject: none}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
"""


class _Who(BaseHTTPRequestHandler):
    """Tells whose certificate the client has shown."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The certificate's name."""
        shown = self.connection.getpeercert()  # type: ignore[attr-defined]
        said = json.dumps(dict(part[0] for part in shown["subject"])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _TlsServer(ThreadingHTTPServer):
    """Closes what fails its handshake without a word."""

    def handle_error(self, *_: object) -> None:
        """A client without a certificate."""


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a certificate, which both ends use."""
    return make_certificate(tmp_path_factory.mktemp("certs"), "127.0.0.1").certificate.parent


@pytest.fixture(scope="module")
def mutual(certs: Path) -> Iterator[int]:
    """The port of a TLS server that wants to see a client certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs / "server.crt", certs / "server.key")
    context.load_verify_locations(certs / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    with _TlsServer(("127.0.0.1", 0), _Who) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def api(
    web: WebApp, mutual: int, certs: Path, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """The gateway in front of them."""
    with gateway(tmp_path_factory.mktemp("api"), CONFIG, env={"CLIENT_SECRET": CLIENT_SECRET, "SESSION_TOKEN": "temporary"}, backend=web.port,
                 issuer=tokens.url, client=CLIENT_ID, mutual=mutual, certs=certs) as running:
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


def test_what_arrives_is_what_was_signed(client: httpx.Client) -> None:
    """The signature holds over method, target, fields and content as the backend received them."""
    for content in (b"", b"x" * 90_000):
        seen = client.request("PUT", "/echo/a%20b?z=1&a=%2F", headers={"host": "signed.example"}, content=content).json()
        got = dict(seen["headers"])
        names = got["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        assert {"host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"} <= set(names)
        assert got["x-amz-security-token"] == "temporary"
        assert got["x-amz-content-sha256"] == hashlib.sha256(content).hexdigest()
        expected = authorization(
            Key("AKIDEXAMPLE", Secret(CLIENT_SECRET), "eu-central-1", "execute-api"), b"PUT",
            f"{seen['path']}?{seen['query']}".encode(), [(name.encode(), got[name].encode()) for name in names],
            got["x-amz-content-sha256"], got["x-amz-date"])
        assert got["authorization"] == expected.decode()


def test_a_backend_that_asks_for_a_client_certificate_gets_the_gateways(client: httpx.Client) -> None:
    """The backend knows the gateway by it; without one there is no connection, and the agent gets a 502."""
    answer = client.get("/x", headers={"host": "mutual.example"})
    assert (answer.status_code, answer.json()) == (200, {"commonName": "127.0.0.1"})
    assert client.get("/x", headers={"host": "anonymous.example"}).status_code == 502


def test_the_table_of_check_has_the_credential(api: Gateway) -> None:
    """`lockgate check` says where access tokens are had."""
    said = run("check", "-c", str(next(api.folder.glob("*.yaml"))), env={"CLIENT_SECRET": CLIENT_SECRET})
    assert "an access token of http://127.0.0.1:" in said


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
