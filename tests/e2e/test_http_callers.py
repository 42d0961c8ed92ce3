"""Callers with a connection for each request, with real clients: in which session their requests are, and when it ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import requests

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.reader import Reader
from lockgate.audit.verify import verify_log
from testbed.certificates import Certificate, make_certificate
from testbed.gateway import Gateway, Issuer, gateway
from testbed.webapp import WebApp
from tests.e2e.test_custody import cli, records, until
from tests.e2e.test_http import HEAD, SECRET
from tests.e2e.test_http2 import client_of

BOTH = HEAD.replace(
    "connections:", '  - {{name: tls, protocol: http, address: "127.0.0.1:{tls}", tls: {{certificate: {certificate}, key: {key}}}}}\nconnections:', 1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "crm.example", "127.0.0.1")


@pytest.fixture(scope="module")
def api(
    web: WebApp, tokens: Issuer, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("api"), BOTH, env={"API_TOKEN": SECRET}, backend=web.port, issuer=tokens.url,
                 more_ports=["tls"], certificate=certificate.certificate, key=certificate.key) as running:
        yield running


def headers(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Host": "crm.example", **more}


def begun(api: Gateway) -> list[str]:
    """Sessions, in the order in which they began."""
    return [str(record["sid"]) for record in records(api, "session_begin")]


def with_httpx(url: str, token: str) -> int:
    return httpx.get(url, headers=headers(token)).status_code


def with_requests(url: str, token: str) -> int:
    return requests.get(url, headers=headers(token), timeout=20).status_code


def with_curl(url: str, token: str) -> int:
    fields = [word for name, value in headers(token).items() for word in ("-H", f"{name}: {value}")]
    return int(subprocess.run(["curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", *fields, url],
                              capture_output=True, check=True).stdout)


@pytest.mark.parametrize("get", [with_httpx, with_requests, with_curl])
def test_a_connection_for_each_request_is_one_session(api: Gateway, tokens: Issuer, get: Callable[[str, str], int]) -> None:
    """Each request is on record in it, and with the port that it came from."""
    token, before = tokens.token(get.__name__, "agents"), begun(api)
    assert [get(f"http://127.0.0.1:{api.port}/customers/{number}", token) for number in (1, 2, 1)] == [200] * 3
    (sid,) = begun(api)[len(before):]
    with Reader(api.state / "audit") as reader:
        (start,) = [entry for entry in reader._entries(0, None, b'"type":"session_begin"') if entry.record["sid"] == sid]
        contents = [reader.payload(entry).content for entry in reader._entries(0, None, b'"type":"intent"')
                    if entry.record["sid"] == sid]
        ports = [content.get("peer", reader.payload(start).content["peer"]) for content in contents]
    assert len(set(ports)) == 3
    shown = cli("session", "replay", sid, "--state", str(api.state))
    assert [port in shown for port in ports] == [True] * 3


async def test_requests_that_come_together_begin_one_session(api: Gateway, certificate: Certificate, tokens: Issuer) -> None:
    """Streams of a new connection, and new connections."""
    for http2 in (True, False):
        token, before = tokens.token(f"together-{http2}", "agents"), begun(api)
        async with client_of(api, certificate, token) as streams, httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{api.port}", headers=headers(token)) as connections:
            client = streams if http2 else connections
            url = f"https://127.0.0.1:{api.ports['tls']}/customers/1" if http2 else "/customers/1"
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(client.get(url)) for _ in range(8)]
        assert [one.result().status_code for one in asked] == [200] * 8
        assert len(begun(api)) == len(before) + 1


def test_another_token_or_task_is_another_session(api: Gateway, tokens: Issuer) -> None:
    """Of the same agent, too."""
    before, url = begun(api), f"http://127.0.0.1:{api.port}/customers/1"
    first, second = tokens.token("twice", "agents"), tokens.token("twice", "agents")
    for fields in (headers(first), headers(second), headers(first, **{"Lockgate-Task": "a"}), headers(first)):
        assert requests.get(url, headers=fields, timeout=20).status_code == 200
    assert len(begun(api)) == len(before) + 3


def test_a_token_that_runs_out_is_refused_and_its_session_ends(api: Gateway, tokens: Issuer) -> None:
    """Between two connections: nothing keeps it open for longer."""
    token, before = tokens.token("short", "agents", lifetime="3"), begun(api)
    url = f"http://127.0.0.1:{api.port}/customers/1"
    assert with_requests(url, token) == 200
    (sid,) = begun(api)[len(before):]
    until(lambda: with_requests(url, token) == 401)
    until(lambda: [one for one in records(api, "session_end") if (one["sid"], one["cause"]) == (sid, "ended: expired")])


def test_sessions_begin_anew_after_a_reload_and_end_with_the_gateway(
    web: WebApp, tokens: Issuer, certificate: Certificate, tmp_path: Path,
) -> None:
    """What a session began under is not so any more; at the end none is open, and the log is whole."""
    with gateway(tmp_path, BOTH, env={"API_TOKEN": SECRET}, backend=web.port, issuer=tokens.url, more_ports=["tls"],
                 certificate=certificate.certificate, key=certificate.key) as api:
        token, url = tokens.token("reloaded", "agents"), f"http://127.0.0.1:{api.port}/customers/1"
        assert with_requests(url, token) == 200
        path = tmp_path / "lockgate.yaml"
        path.write_text(path.read_text().replace("this path is not for agents", "this path is for nobody"))
        api.process.send_signal(signal.SIGHUP)
        until(lambda: records(api, "session_end"))
        assert with_requests(url, token) == 200
        assert len(begun(api)) == 2
        api.process.send_signal(signal.SIGTERM)
        api.process.wait(20)
        assert [one["cause"] for one in records(api, "session_end")] == ["reconfigured", "ended: shutting_down"]
        assert verify_log(api.state / "audit").verdict is Verdict.VERIFIED


def test_a_crash_leaves_a_log_that_can_be_verified(
    web: WebApp, tokens: Issuer, certificate: Certificate, tmp_path: Path,
) -> None:
    """A session that waits for its caller when the gateway is killed is ended by the next start; its caller begins anew."""
    token = tokens.token("survivor", "agents")

    def run() -> Iterator[Gateway]:
        with gateway(tmp_path, BOTH, env={"API_TOKEN": SECRET}, backend=web.port, issuer=tokens.url, more_ports=["tls"],
                     certificate=certificate.certificate, key=certificate.key) as api:
            assert with_requests(f"http://127.0.0.1:{api.port}/customers/1", token) == 200
            yield api

    for api in run():
        api.process.kill()
        api.process.wait(20)
    for api in run():
        assert [one["cause"] for one in records(api, "session_end")] == ["crash"]
        assert len(begun(api)) == 2
    assert verify_log(tmp_path / "state" / "audit").verdict is Verdict.VERIFIED
