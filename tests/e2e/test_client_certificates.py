"""Agents that are known by a certificate, with real clients; and tokens that count with a certificate only."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.audit.reader import Reader
from lockgate.control.issuer import UnsafeDevelopmentIssuer
from lockgate.govern.identity import ShownCertificate
from testbed.certificates import AgentAuthority, Certificate, make_certificate
from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.postgres import Server
from testbed.webapp import WebApp
from tests.e2e.conftest import PASSWORD, TRUST
from tests.e2e.test_custody import cli, records, until
from tests.e2e.test_http import SECRET

CONFIG = """\
limits: {{session_idle: 0s}}
listeners:
  - {{name: api, protocol: http, address: "127.0.0.1:{port}", proxy: true,
     tls: {{certificate: {certificate}, key: {key}, clients: mesh}}}}
  - {{name: bound, protocol: http, address: "127.0.0.1:{bound}", tls: {{certificate: {certificate}, key: {key}, clients: binding}}}}
  - {{name: tools, protocol: mcp, address: "127.0.0.1:{tools}", tls: {{certificate: {certificate}, key: {key}, clients: mesh}}}}
  - {{name: base, protocol: postgres, address: "127.0.0.1:{base}", tls: {{certificate: {certificate}, key: {key}, clients: mesh}}}}
""" + TRUST + """\
  certificates:
    - name: mesh
      ca: {ca}
      crl: {crl}
      subject: san_uri
      agent: last
      groups: {{"spiffe://example.org/agents/*": [agents]}}
    - {{name: binding, ca: {ca}, subject: none, required: true}}
connections:
  - name: crm
    protocol: http
    address: 127.0.0.1:{backend}
    server_names: [crm.example]
    credential: {{password: {{env: API_TOKEN}}}}
    tls: {{mode: disable}}
  - name: bench
    protocol: mcp
    address: 127.0.0.1:1
    server_names: [bench.example]
    tls: {{mode: disable}}
    options: {{inject: none}}
  - name: plain
    protocol: postgres
    address: 127.0.0.1:{database}
    credential: {{user: app, password: {{env: CRM_PASSWORD}}}}
    tls: {{mode: disable}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
  - {{name: not-the-other, when: 'identity.agent == "other" && op.verb == "delete"', deny: not for this agent}}
"""


def named(name: str, folder: str = "agents") -> x509.GeneralName:
    return x509.UniformResourceIdentifier(f"spiffe://example.org/{folder}/{name}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "crm.example", "bench.example", "127.0.0.1")


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> AgentAuthority:
    return AgentAuthority(tmp_path_factory.mktemp("agents"))


@pytest.fixture(scope="module")
def analyst(agents: AgentAuthority) -> Certificate:
    return agents.issue("analyst", named("analyst"))


@pytest.fixture(scope="module")
def api(
    web: WebApp, backend: Server, server: Certificate, agents: AgentAuthority, tokens: Issuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("mtls"), CONFIG, env={"API_TOKEN": SECRET, "CRM_PASSWORD": PASSWORD},
                 more_ports=["bound", "tools", "base"], backend=web.port, database=backend.port, issuer=tokens.url,
                 certificate=server.certificate, key=server.key, ca=agents.file, crl=agents.revoke()) as running:
        yield running


def tls(server: Certificate, own: Certificate | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(server.authority))
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def client(api: Gateway, server: Certificate, own: Certificate | None, port: str = "port", **more: Any) -> httpx.Client:
    return httpx.Client(base_url=f"https://127.0.0.1:{api.ports[port]}", verify=tls(server, own), timeout=20,
                        **{"headers": {"host": "crm.example"}, **more})


def digest(own: Certificate) -> ShownCertificate:
    return ShownCertificate.of(x509.load_pem_x509_certificate(own.certificate.read_bytes()).public_bytes(Encoding.DER))


def curl(server: Certificate, own: Certificate | None, *words: str) -> subprocess.CompletedProcess[str]:
    key = () if own is None else ("--cert", str(own.certificate), "--key", str(own.key))
    return subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", str(server.authority), *key, *words],
                          capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("http2", [False, True])
def test_an_agent_is_known_by_its_certificate(
    api: Gateway, server: Certificate, agents: AgentAuthority, analyst: Certificate, http2: bool
) -> None:
    """Without a token, over HTTP/1.1 and HTTP/2; who it is and the certificate's fingerprint are on record."""
    with client(api, server, analyst, http2=http2) as agent:
        answer = agent.get("/customers/1", headers={"client-cert": ":forged=:"})
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
        assert agent.delete("/customers/1").status_code == 204
        with Reader(api.state / "audit") as reader:
            *_, last = reader._entries(0, None, b'"type":"session_begin"')
            begun, said = last.record, reader.payload(last).content
        assert begun["certificate"] == begun["token"] == digest(analyst).fingerprint
        assert (said["subject"], said["agent"], said["groups"]) == ("spiffe://example.org/agents/analyst", "analyst", ["agents"])
    with client(api, server, agents.issue("other", named("other")), http2=http2) as other:
        assert other.delete("/customers/1").json()["rule"] == "not-the-other"
    with client(api, server, None, http2=http2) as nobody:
        refused = nobody.get("/customers/1", headers={"x-client-cert": analyst.certificate.read_text().replace("\n", "")})
        assert refused.status_code == 401


def test_curl_shows_a_certificate_to_the_gateway_and_to_the_proxy(api: Gateway, server: Certificate, analyst: Certificate, tmp_path: Path) -> None:
    """As its server, and as a proxy that is reached over TLS, by CONNECT and with a target in absolute form."""
    resolved = ("--resolve", f"crm.example:{api.port}:127.0.0.1")
    straight = curl(server, analyst, *resolved, f"https://crm.example:{api.port}/customers/1")
    assert json.loads(straight.stdout)["name"] == "ann", straight.stderr
    trust = tmp_path / "ca.pem"
    trust.write_text(run("ca", "--config", str(api.folder / "lockgate.yaml")))
    shown = ("--proxy", f"https://127.0.0.1:{api.port}", "--proxy-cacert", str(server.authority))
    own = ("--proxy-cert", str(analyst.certificate), "--proxy-key", str(analyst.key))
    for target in ("https://crm.example/customers/1", "http://crm.example/customers/1"):
        within = curl(server, None, "--cacert", str(trust), *shown, *own, target)
        assert json.loads(within.stdout)["name"] == "ann", within.stderr
        without = curl(server, None, "--cacert", str(trust), *shown, "-w", "%{http_code} %{http_connect}", target)
        assert "407" in without.stdout + without.stderr


def test_what_is_no_good_certificate_is_refused(
    api: Gateway, server: Certificate, agents: AgentAuthority, tmp_path: Path, tokens: Issuer
) -> None:
    """Forged, expired, for servers and revoked ones end in a TLS alert, others in a status that says why."""
    stranger, namesake = AgentAuthority(tmp_path / "stranger", "somebody else"), AgentAuthority(tmp_path / "namesake")
    revoked = agents.issue("revoked", named("revoked"))
    with client(api, server, revoked) as before:
        assert before.get("/note").status_code == 200
    agents.revoke(revoked)
    url = ("--resolve", f"crm.example:{api.port}:127.0.0.1", f"https://crm.example:{api.port}/note")
    for own, alert in (
        (stranger.issue("strange", named("analyst")), "unknown ca"),
        (namesake.issue("forged", named("analyst")), "decrypt error"),
        (agents.issue("expired", named("analyst"), ends=dt.timedelta(seconds=-5)), "expired"),
        (agents.issue("server", named("analyst"), purposes=[x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), "certificate"),
        (revoked, "revoked"),
    ):
        done = curl(server, own, *url)
        assert (done.returncode in (35, 56), done.stdout) == (True, ""), (own, done)
        assert alert in done.stderr
    token = {"host": "crm.example", "authorization": "Bearer forged"}
    for own, status, reason in (
        (agents.issue("any", named("analyst"), purposes=None), 401, "does not say that it is for clients"),
        (agents.issue("authority", named("analyst"), is_authority=True), 401, "an authority's"),
        (agents.issue("two", named("analyst"), named("other")), 401, "exactly one"),
        (agents.issue("nameless"), 401, "exactly one"),
        (agents.issue("outside", named("analyst", "people")), 403, "no policy allows"),
    ):
        with client(api, server, own) as agent:
            answer = agent.get("/note")
            assert (answer.status_code, reason in answer.json()["detail"]) == (status, True), answer.text
            assert agent.get("/note", headers=token).status_code == 401, "a token that does not count is not made up for"
    assert any("revoked" in line for line in api.log.read_text().splitlines() if "TLS handshake failed" in line)


def test_a_bound_token_counts_with_its_certificate_only(
    api: Gateway, server: Certificate, agents: AgentAuthority, analyst: Certificate, tokens: Issuer
) -> None:
    """RFC 8705: whoever has stolen the token has not its certificate's key. Both are on record."""
    issuer = UnsafeDevelopmentIssuer(tokens.url, unsafe_development_only=True, state=tokens.folder)
    token = issuer.mint(subject="ann", groups=["agents"], cnf={"x5t#S256": digest(analyst).thumbprint})
    bearer = {"host": "crm.example", "authorization": f"Bearer {token}"}
    with client(api, server, analyst, port="bound") as agent:
        assert agent.get("/note", headers=bearer).status_code == 200
        begun = records(api, "session_begin")[-1]
        assert begun["certificate"] == digest(analyst).fingerprint != begun["token"]
        assert agent.get("/note").status_code == 401, "certificates name nobody on this listener"
    thief = agents.issue("thief", named("thief"))
    for own, port in ((thief, "bound"), (thief, "port"), (None, "port")):
        with client(api, server, own, port=port) as other:
            refused = other.get("/note", headers=bearer)
            assert (refused.status_code, "identity.sender_constrained" in refused.text) == (401, True)
    with pytest.raises(httpx.TransportError), client(api, server, None, port="bound") as bare:
        bare.get("/note", headers=bearer)
    control = httpx.get(f"{api.control_url}/v1/sessions", headers={"authorization": f"Bearer {token}"})
    assert control.status_code == 401, "the control API is shown no certificates"


def test_databases_and_tools_know_agents_by_certificates_too(
    api: Gateway, server: Certificate, agents: AgentAuthority, analyst: Certificate
) -> None:
    """No password is asked for by the one, no token by the other."""
    words = {"host": "127.0.0.1", "port": api.ports["base"], "user": "analyst", "dbname": "plain", "sslmode": "verify-ca",
             "sslrootcert": server.authority, "sslcert": analyst.certificate, "sslkey": analyst.key}
    with psycopg.connect(" ".join(f"{key}={value}" for key, value in words.items())) as connection:
        assert connection.execute("SELECT count(*) FROM plain").fetchone() == (500,)
    del words["sslcert"], words["sslkey"]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(" ".join(f"{key}={value}" for key, value in words.items()), sslcertmode="disable")
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for own, status in ((analyst, 200), (None, 401)):
        with client(api, server, own, port="tools", headers={"host": "bench.example"}) as agent:
            assert agent.post("/mcp", json=message).status_code == status


def test_groups_of_certificates_are_taken_over_while_it_runs(
    api: Gateway, server: Certificate, agents: AgentAuthority, analyst: Certificate
) -> None:
    """Like everything of `identity`; authorities that cannot be read leave the old ones in force."""
    file = api.folder / "lockgate.yaml"
    text = file.read_text()

    def status() -> int:
        with client(api, server, analyst) as agent:
            return agent.get("/note").status_code

    assert status() == 200
    file.write_text(text.replace("agents/*", "robots/*"))
    until(lambda: status() == 403)
    empty = api.folder / "empty.pem"
    empty.write_text("")
    changes = len(records(api, "config_change"))
    file.write_text(text.replace(f"ca: {agents.file}", f"ca: {empty}", 1))
    until(lambda: "empty.pem as a certificate authority" in api.log.read_text())
    assert (status(), len(records(api, "config_change"))) == (403, changes)
    file.write_text(text)
    until(lambda: status() == 200)


def test_a_session_ends_with_its_certificate(api: Gateway, server: Certificate, agents: AgentAuthority) -> None:
    """The connection that is open does not outlive it."""
    brief = agents.issue("brief", named("brief"), ends=dt.timedelta(seconds=6))
    connection = http.client.HTTPSConnection("127.0.0.1", api.port, context=tls(server, brief), timeout=30)
    connection.request("GET", "/note", headers={"Host": "crm.example"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"card 4111 1111 1111 1111 ok\n")
    assert connection.sock.recv(1) == b""
    connection.close()
    until(lambda: any(record["cause"] == "ended: expired" for record in records(api, "session_end")))
    assert "VERIFIED" in cli("audit", "verify", "--state", str(api.state))
