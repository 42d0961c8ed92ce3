"""Backends that speak HTTP/2, behind clients of either version: one road for a request, few connections, no answer that crosses."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from testbed.certificates import Certificate, make_certificate
from testbed.gateway import Gateway, Issuer, gateway, spawn, wait_ready
from testbed.postgres import free_port
from testbed.webapp import WebApp, webapp
from tests.e2e.h2backend import H2Backend, h2_backend
from tests.e2e.test_custody import records
from tests.e2e.test_http import SECRET
from tests.e2e.test_http_reuse import BOTH

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log error;
events {{ worker_connections 512; }}
http {{
  access_log off; default_type application/json; keepalive_requests 50; client_max_body_size 100m;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{plain}; location / {{ return 200 "ready"; }} }}
  server {{
    listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};
    location /who/ {{ return 200 '{{"uri": "$request_uri", "link": $connection, "version": "$server_protocol", "token": "$http_authorization", "ssn": "219-09-9999"}}'; }}
    location / {{ proxy_pass http://127.0.0.1:{app}; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off; }}
  }}
}}
"""
CONFIG = BOTH.replace("policies:", """\
  - name: both
    protocol: http
    address: 127.0.0.1:{nginx}
    server_names: [both.example]
    credential: {{password: {{env: API_TOKEN}}}}
    tls: {{ca: {authority}, server_name: localhost}}
  - name: old
    protocol: http
    address: 127.0.0.1:{nginx}
    server_names: [old.example]
    tls: {{ca: {authority}, server_name: localhost}}
    options: {{inject: none, versions: http/1.1}}
  - name: always
    protocol: http
    address: 127.0.0.1:{nginx}
    server_names: [always.example]
    credential: {{password: {{env: API_TOKEN}}}}
    tls: {{ca: {authority}, server_name: localhost}}
    options: {{versions: h2}}
  - name: calls
    protocol: http
    address: 127.0.0.1:{h2c}
    server_names: [calls.example]
    tls: {{mode: disable}}
    options: {{inject: none, versions: h2}}
  - name: few
    protocol: http
    address: 127.0.0.1:{few}
    server_names: [few.example]
    tls: {{mode: disable}}
    options: {{inject: none, versions: h2}}
  - name: other
    protocol: http
    address: 127.0.0.1:{app}
    server_names: [other.example]
    tls: {{mode: disable}}
    options: {{inject: none, versions: h2}}
policies:
  - name: hide-too
    connections: [both, old, always]
    mask: [{{columns: ["*.ssn"], with: redact}}]
""", 1)


@contextlib.contextmanager
def nginx(folder: Path, certificate: Certificate, app: int) -> Iterator[int]:
    """nginx with HTTP/2 in front of an application, until the block ends: its port."""
    folder.mkdir(parents=True)
    port, plain, config = free_port(), free_port(), folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, plain=plain, app=app, certificate=certificate.certificate, key=certificate.key))
    process = spawn(["nginx", "-e", str(folder / "first.log"), "-c", str(config)], folder / "out.log", {})
    try:
        wait_ready(f"http://127.0.0.1:{plain}/", process, folder / "out.log")
        yield port
    finally:
        process.terminate()
        process.wait(20)


class Scene:
    """Everything that runs."""

    def __init__(self, api: Gateway, certificate: Certificate, h2c: H2Backend, few: H2Backend) -> None:
        self.api, self.certificate, self.h2c, self.few = api, certificate, h2c, few


@pytest.fixture(scope="module")
def scene(tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if shutil.which("nginx") is None:
        pytest.skip("no nginx is installed")
    folder = tmp_path_factory.mktemp("backends")
    certificate = make_certificate(folder / "tls", "localhost", "127.0.0.1")
    with contextlib.ExitStack() as stack:
        app: WebApp = stack.enter_context(webapp(folder))
        port = stack.enter_context(nginx(folder / "nginx", certificate, app.port))
        h2c, few = stack.enter_context(h2_backend()), stack.enter_context(h2_backend(streams=3))
        yield Scene(stack.enter_context(gateway(
            folder / "gateway", CONFIG, env={"API_TOKEN": SECRET}, backend=app.port, issuer=tokens.url, nginx=port, app=app.port,
            h2c=h2c.port, few=few.port, authority=certificate.authority, more_ports=["tls"],
            certificate=certificate.certificate, key=certificate.key)), certificate, h2c, few)


@contextlib.asynccontextmanager
async def client(scene: Scene, token: str, host: str, *, http2: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cafile=str(scene.certificate.authority))
    base = f"https://127.0.0.1:{scene.api.ports['tls']}" if http2 else f"http://127.0.0.1:{scene.api.port}"
    async with httpx.AsyncClient(
            http2=http2, verify=context, base_url=base, timeout=30,
            headers={"authorization": f"Bearer {token}", "host": host}) as made:
        yield made


async def all_of(made: httpx.AsyncClient, paths: list[str]) -> list[httpx.Response]:
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(made.get(path)) for path in paths]
    return [one.result() for one in asked]


@pytest.mark.parametrize(("host", "http2"), [("always.example", False), ("both.example", True)])
async def test_nginx_is_spoken_to_in_http2(scene: Scene, agent: str, host: str, *, http2: bool) -> None:
    """By either client: 120 requests, forty at a time and masked, each with its own answer; the connection is replaced when
    nginx says that it goes (`keepalive_requests 50`: the next one takes all forty, so that no request is sent back twice and
    goes on over HTTP/1.1), and nobody notices."""
    recorded, links = len(records(scene.api, "intent")), set[int]()
    async with client(scene, agent, host, http2=http2) as made:
        for turn in range(3):
            paths = [f"/who/{http2}/{turn}/{number}" for number in range(40)]
            found = [(answer.status_code, answer.json()) for answer in await all_of(made, paths)]
            assert [status for status, _ in found] == [200] * 40
            assert [one["uri"] for _, one in found] == paths
            assert {one["version"] for _, one in found} == {"HTTP/2.0"}
            assert {one["ssn"] for _, one in found} == {"xxxx"}
            assert {one["token"] for _, one in found} == {f"Bearer {SECRET}"}
            assert len({one["link"] for _, one in found}) <= 6
            links |= {one["link"] for _, one in found}
    assert len(links) > 1
    assert len(records(scene.api, "intent")) == recorded + 120


async def test_a_connection_may_say_which_version_is_spoken(scene: Scene, agent: str) -> None:
    """`versions: http/1.1` offers nothing else, and `auto` offers a client of HTTP/1.1 what it speaks."""
    async with client(scene, agent, "old.example") as made:
        assert (await made.get("/who/x")).json()["version"] == "HTTP/1.1"
    async with client(scene, agent, "both.example", http2=False) as made:
        assert (await made.get("/who/x")).json()["version"] == "HTTP/1.1"


async def test_large_content_passes_in_both_directions(scene: Scene, agent: str) -> None:
    """Windows open as the other side takes the bytes, on both sides of the gateway."""
    async with client(scene, agent, "both.example") as made:
        assert (await made.post("/sink", content=b"y" * 3_000_000)).json() == {"size": 3_000_000}
        assert len((await made.get("/large/100")).content) == 100 * 65_536


def test_curl_over_http2_on_both_sides(scene: Scene, agent: str) -> None:
    """A real client, with content and without, and an answer without content."""
    command = ["curl", "-sS", "--http2", "--max-time", "20", "--cacert", str(scene.certificate.authority), "-w", " %{http_version} %{http_code}",
               "-H", f"Authorization: Bearer {agent}", "-H", "Host: both.example", f"https://127.0.0.1:{scene.api.ports['tls']}"]
    ask = [*command[:-1], command[-1] + "/who/curl"]
    assert '"uri": "/who/curl"' in subprocess.run(ask, capture_output=True, check=True, text=True).stdout
    head = subprocess.run([*command[:-1], "-I", command[-1] + "/who/head"], capture_output=True, check=True, text=True).stdout
    assert head.endswith(" 2 200")
    sent = subprocess.run([*command[:-1], "--data-binary", "@-", command[-1] + "/sink"], capture_output=True, check=True,
                          input=b"z" * 200_000).stdout
    assert sent == b'{"size":200000} 2 200'


# ---------------------------------------------------------------- a backend without TLS, by prior knowledge


def test_trailers_pass_in_both_directions(scene: Scene, agent: str) -> None:
    """What a client says behind content that goes on as it comes, and a status behind the answer's, as gRPC has it."""
    with socket.create_connection(("127.0.0.1", scene.api.port), timeout=20) as one:
        one.sendall(f"POST /call/x HTTP/1.1\r\nHost: calls.example\r\nAuthorization: Bearer {agent}\r\nTransfer-Encoding: chunked\r\n"
                    "Content-Type: application/grpc\r\nConnection: close\r\n\r\n".encode())
        one.sendall(b"11170\r\n" + b"x" * 70_000 + b"\r\n0\r\nX-Sum: 7\r\n\r\n")
        answer = b"".join(iter(lambda: one.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.count(b"x") >= 70_000
    assert answer.endswith(b"\r\n0\r\ngrpc-status: 0\r\nx-got: 7\r\nx-te: trailers\r\n\r\n")


async def test_fifty_streams_share_a_connection(scene: Scene, agent: str, other: str) -> None:
    """Of two callers, with content and without: no answer crosses."""
    before = scene.h2c.connections
    async with client(scene, agent, "calls.example") as first, client(scene, other, "calls.example", http2=False) as second:
        for made, name in ((first, "first"), (second, "second")):
            paths = [f"/x/{name}/{number}" for number in range(50)]
            answers = await all_of(made, paths)
            assert [answer.text.partition(" ")[0] for answer in answers] == paths
        posts = [await first.post("/post", content=b"x" * size) for size in (1, 70_000)]
        assert [re.sub(r"over \d+ ", "", answer.text) for answer in posts] == ["/post of 1", "/post of 70000"]
    assert scene.h2c.connections - before <= 3


async def test_the_backends_limit_of_streams_is_kept(scene: Scene, agent: str) -> None:
    """Three at a time: the others wait, or have another connection, of which there are a few."""
    async with client(scene, agent, "few.example") as made:
        paths = [f"/hold/{number}" for number in range(40)]
        answers = await all_of(made, paths)
    assert [answer.text.partition(" ")[0] for answer in answers] == paths
    assert scene.few.most <= 3
    assert scene.few.connections <= 16


@pytest.mark.parametrize("act", ["refuse", "go"])
async def test_what_was_not_looked_at_is_asked_again(scene: Scene, agent: str, act: str) -> None:
    """A stream that was refused, or that a GOAWAY leaves behind (RFC 9113 section 8.7): a POST too, under one record."""
    recorded = len(records(scene.api, "intent"))
    async with client(scene, agent, "calls.example") as made:
        answer = await made.post(f"/{act}/pay", content=b"12345")
    assert answer.status_code == 200
    assert answer.text.startswith(f"/{act}/pay over")
    assert answer.text.endswith(" of 5")
    assert [path for _, path in scene.h2c.seen].count(f"/{act}/pay") == 2
    assert len(records(scene.api, "intent")) == recorded + 1


@pytest.mark.parametrize(("path", "times"), [("/never/x", 3), ("/fail/x", 1), ("/cut/x", None), ("/short/x", None)])
async def test_what_cannot_be_asked_again_is_a_502(scene: Scene, agent: str, path: str, times: int | None) -> None:
    """For ever refused, or looked at; half an answer is none, and other streams have theirs."""
    async with client(scene, agent, "calls.example") as made:
        answer = await made.post(path, content=b"1")
        assert answer.status_code == 502
        assert "half" not in answer.text
        if times is not None:
            assert [one for _, one in scene.h2c.seen].count(path) == times
        assert (await made.get("/fine")).text.startswith("/fine over")


async def test_a_backend_that_does_not_speak_it_is_told(scene: Scene, agent: str) -> None:
    """`versions: h2` without TLS takes for granted what is not so."""
    async with client(scene, agent, "other.example") as made:
        answer = await made.get("/customers")
    assert (answer.status_code, answer.json()["code"]) == (502, "backend_unavailable")


@pytest.fixture(scope="module")
def other(tokens: Issuer) -> str:
    """Another caller, who may do the same."""
    return tokens.token("agent-2", "agents")
