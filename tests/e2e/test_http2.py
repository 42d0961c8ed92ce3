"""HTTP/2 clients over TLS: the same policy, masks and record, and a stream that waits holds up nobody."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testbed.certificates import Certificate, make_certificate
from testbed.gateway import Gateway, Issuer, gateway
from testbed.webapp import WebApp
from tests.e2e.test_custody import records
from tests.e2e.test_http import HEAD, SECRET

TLS = HEAD.replace("plaintext_tokens: loopback, proxy: true", "tls: {{certificate: {certificate}, key: {key}}}", 1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "crm.example", "plain.example", "127.0.0.1")


@pytest.fixture(scope="module")
def api(web: WebApp, certificate: Certificate, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("h2")
    with gateway(folder, TLS, env={"API_TOKEN": SECRET}, backend=web.port, issuer=tokens.url,
                 certificate=certificate.certificate, key=certificate.key) as running:
        yield running


def client_of(api: Gateway, certificate: Certificate, token: str, host: str = "crm.example") -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=str(certificate.authority))
    return httpx.AsyncClient(http2=True, verify=context, base_url=f"https://127.0.0.1:{api.port}",
                             headers={"authorization": f"Bearer {token}", "host": host}, timeout=20)


async def test_streams_are_governed_one_by_one(api: Gateway, certificate: Certificate, tokens: Issuer) -> None:
    """Masked, refused and passed on one connection, in one session of the log."""
    begun = len(records(api, "session_begin"))
    async with client_of(api, certificate, tokens.token("streaming", "agents")) as client:
        first = await client.get("/customers/1")
        assert first.http_version == "HTTP/2"
        assert first.json()["ssn"] == "xxxx"
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(client.get(path)) for path in (
                "/customers/2", "/echo/forbidden", "/lies", "/zipped", "/events")]
        answers = [one.result() for one in asked]
        assert [answer.status_code for answer in answers] == [200, 403, 502, 200, 200]
        assert all("219-09" not in answer.text for answer in answers)
    assert len(records(api, "session_begin")) == begun + 1


async def test_a_held_stream_holds_up_nobody(api: Gateway, certificate: Certificate, agent: str) -> None:
    """While a person is asked about one request, others on the same connection are answered."""
    async with client_of(api, certificate, agent) as client:
        await client.get("/customers/1")
        async with asyncio.TaskGroup() as group:
            held = group.create_task(client.delete("/customers/1"))
            assert (await client.get("/customers/2")).status_code == 200
            assert not held.done()
        assert held.result().json()["code"] == "review_pending"


async def test_large_content_passes_in_both_directions(api: Gateway, certificate: Certificate, agent: str) -> None:
    """Windows open as the other side takes the bytes."""
    async with client_of(api, certificate, agent, "plain.example") as client:
        assert (await client.post("/sink", content=b"y" * 3_000_000)).json() == {"size": 3_000_000}
        assert len((await client.get("/large/100")).content) == 100 * 65_536
