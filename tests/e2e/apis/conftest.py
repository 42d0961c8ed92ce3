"""One gateway for the tests by which HTTP is judged: a backend that says whatever a test wrote, with masks and without."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.certificates import Certificate, make_certificate
from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.nginx import PROGRAM, Nginx, nginx
from testbed.scripted import Scripted, scripted
from testbed.webapp import WebApp, webapp
from tests.e2e.conftest import TRUST

CREDENTIAL = "5d20-http-backend-canary"
CONFIG = TRUST + """\
limits: {{inspect: 1000000}}
listeners:
  - {{name: api, protocol: http, address: "127.0.0.1:{port}", plaintext_tokens: loopback, proxy: true}}
  - {{name: tls, protocol: http, address: "127.0.0.1:{tls}", tls: {{certificate: "{certificate}", key: "{key}"}}}}
connections:
  - name: plain
    protocol: http
    address: 127.0.0.1:{origin}
    server_names: [plain.example]
    tls: {{mode: disable}}
    options: {{inject: none, timeout: 20s}}
  - name: crm
    protocol: http
    address: 127.0.0.1:{origin}
    server_names: [crm.example]
    tls: {{mode: disable}}
    options: {{inject: none}}
  - name: ruled
    protocol: http
    address: 127.0.0.1:{origin}
    server_names: [ruled.example]
    tls: {{mode: disable}}
    options: {{inject: none}}
  - name: server
    protocol: http
    address: 127.0.0.1:{nginx}
    server_names: [a.example]
    tls: {{mode: disable}}
    options: {{inject: none}}
  - name: oauth
    protocol: http
    address: 127.0.0.1:{origin}
    server_names: [oauth.example]
    credential: {{user: me, password: {{env: API_TOKEN}}}}
    tls: {{mode: disable}}
    options: {{inject: oauth2, token_url: "http://127.0.0.1:{origin}/token", unsafe_http: true}}
  - name: web
    protocol: http
    address: 127.0.0.1:{web}
    server_names: [web.example]
    credential: {{password: {{env: API_TOKEN}}}}
    tls: {{mode: disable}}
    options: {{token_header: x-api-key, patience: 200ms}}
  - name: down
    protocol: http
    address: 127.0.0.1:1
    server_names: [down.example]
    tls: {{mode: disable}}
  - name: slow
    protocol: http
    address: 127.0.0.1:{origin}
    server_names: [slow.example]
    tls: {{mode: disable}}
    options: {{inject: none, timeout: 100ms}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
  - name: hide
    connections: [crm, web]
    mask:
      - {{columns: ["*.ssn"], with: redact}}
      - {{detect: [credit_card], with: redact}}
  - name: not-this
    connections: [web, ruled]
    when: op.path == "/echo/forbidden"
    deny: this path is not for agents
  - name: deletes-need-a-person
    connections: [web]
    when: op.verb == "delete"
    review: {{by: [dba], expires: 5m}}
  - name: not-this-model
    connections: [web]
    when: op.path in ["/v1/chat/completions", "/v1/messages"] && op.json.model == "forbidden"
    deny: this model is not for agents
  - name: looks-inside
    connections: [ruled]
    when: op.path == "/json" && has(op.json.amount) && op.json.amount > 100
    deny: less at a time
  - name: seldom
    connections: [ruled]
    when: op.path == "/seldom"
    limit: {{requests: 1/h}}
"""


@dataclass(frozen=True)
class Gate:
    """The gateway with what a client of it needs. `trust` is for its TLS port, `authority` for hosts that it stands in for."""

    gateway: Gateway
    token: str
    trust: Path
    authority: Path

    @property
    def port(self) -> int:
        return self.gateway.port

    @property
    def tls_port(self) -> int:
        return self.gateway.ports["tls"]

    def context(self) -> ssl.SSLContext:
        """For a client of the TLS port."""
        return ssl.create_default_context(cafile=str(self.trust))

    def inside(self) -> ssl.SSLContext:
        """For a client of a host that the forward proxy stands in for."""
        return ssl.create_default_context(cafile=str(self.authority))

    @property
    def bearer(self) -> bytes:
        return b"Bearer " + self.token.encode()


@pytest.fixture(scope="session")
def origin() -> Iterator[Scripted]:
    """The backend whose answers tests write."""
    with scripted() as running:
        yield running


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """A FastAPI application."""
    with webapp(tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.fixture(scope="session")
def server(origin: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx | None]:
    """nginx, None where it is not installed."""
    if PROGRAM is None:
        yield None
        return
    with nginx(tmp_path_factory.mktemp("nginx"), origin.port) as running:
        yield running


@pytest.fixture(scope="session")
def gate(
    origin: Scripted, web: WebApp, server: Nginx | None, tokens: Issuer, agent: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gate]:
    """The gateway in front of both."""
    folder = tmp_path_factory.mktemp("gate")
    certificate: Certificate = make_certificate(folder / "tls", *(f"{name}.example" for name in ("plain", "crm", "ruled", "web", "down", "slow")))
    with gateway(folder, CONFIG, env={"API_TOKEN": CREDENTIAL}, more_ports=("tls",), issuer=tokens.url, origin=origin.port,
                 nginx=server.behind if server else 1,
                 web=web.port, certificate=certificate.certificate, key=certificate.key) as running:
        authority = folder / "authority.pem"
        authority.write_text(run("ca", "--config", str(folder / "lockgate.yaml")))
        yield Gate(running, agent, certificate.authority, authority)
