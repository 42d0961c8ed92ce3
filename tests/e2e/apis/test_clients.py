"""Unchanged clients: the same calls straight at the gateway and through it as their proxy, over TLS that it ends."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import httpx2
import openai
import pytest
import requests
from autogen_core import CancellationToken
from autogen_ext.tools.http import HttpTool

from tests.e2e.apis.conftest import CREDENTIAL, Gate

MASKED = {"id": 1, "name": "ann", "email": "ann@example.com", "ssn": "xxxx", "balance": 12.5}


@dataclass(frozen=True)
class Place:
    """Where a client goes: the URL in front of every path, and what it sends with each request. `gate` is behind it."""

    url: str
    headers: dict[str, str]
    gate: Gate


Said = tuple[int, Any]
"""The status, and the JSON of the content."""


async def by_curl(place: Place, method: str, path: str, data: object) -> Said:
    words = ["curl", "-sS", "-X", method, "-w", "\n%{http_code}", *(word for field in place.headers.items() for word in ("-H", ": ".join(field)))]
    if data is not None:
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(data)]
    done = subprocess.run([*words, "--compressed", place.url + path], capture_output=True, text=True, timeout=30, check=True)
    content, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(content)


async def by_httpx(place: Place, method: str, path: str, data: object) -> Said:
    async with httpx.AsyncClient(headers=place.headers) as client:
        answer = await client.request(method, place.url + path, json=data)
    return answer.status_code, answer.json()


async def by_httpx2(place: Place, method: str, path: str, data: object) -> Said:
    async with httpx2.AsyncClient(headers=place.headers) as client:
        answer = await client.request(method, place.url + path, json=data)
    return answer.status_code, answer.json()


async def by_requests(place: Place, method: str, path: str, data: object) -> Said:
    with requests.Session() as session:
        answer = session.request(method, place.url + path, headers=place.headers, json=data, timeout=30)
    return answer.status_code, answer.json()


async def by_aiohttp(place: Place, method: str, path: str, data: object) -> Said:
    # Its context was made when it was imported, before the test could name an authority.
    async with aiohttp.ClientSession(headers=place.headers, trust_env=True) as session:
        async with session.request(method, place.url + path, json=data, ssl=place.gate.inside()) as answer:
            return answer.status, await answer.json(content_type=None)


async def by_urllib(place: Place, method: str, path: str, data: object) -> Said:
    content = None if data is None else json.dumps(data).encode()
    headers = place.headers | ({} if data is None else {"Content-Type": "application/json"})
    opener = urllib.request.build_opener()
    try:
        with opener.open(urllib.request.Request(place.url + path, content, headers, method=method), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


async def by_http_tool(place: Place, method: str, path: str, data: object) -> Said:
    """AutoGen's tool gives the content alone."""
    url = httpx.URL(place.url)
    schema = {"type": "object", "properties": {name: {"type": "integer"} for name in data or ()}}     # type: ignore[attr-defined]
    tool = HttpTool(name="api", host=url.host, port=url.port or 443, path=path, scheme=url.scheme, method=method,     # type: ignore[arg-type]
                    headers=place.headers, json_schema=schema, return_type="json", timeout=30)
    content = await tool.run_json(data or {}, CancellationToken())     # type: ignore[arg-type]
    return content.get("status", 200), content


Client = Callable[[Place, str, str, object], Awaitable[Said]]
CLIENTS: dict[str, Client] = {
    "curl": by_curl, "httpx": by_httpx, "httpx2": by_httpx2, "requests": by_requests, "aiohttp": by_aiohttp, "urllib": by_urllib,
    "HttpTool": by_http_tool,
}


@pytest.fixture(params=["straight", "proxied"])
def place(request: pytest.FixtureRequest, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Straight at the gateway, which a Host says whom to ask; or at the host itself, with the gateway as everybody's proxy."""
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "straight":
        return Place(f"http://127.0.0.1:{gate.port}", {"Host": "web.example", "Authorization": f"Bearer {gate.token}"}, gate)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://agent:{gate.token}@127.0.0.1:{gate.port}")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(gate.authority))
    return Place("https://web.example", {}, gate)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
async def test_a_client_is_governed_without_a_change(client: Client, place: Place) -> None:
    """It reads masked data, sends its own, and gets a refusal that it can act on."""
    assert await client(place, "GET", "/customers/1", None) == (200, MASKED)
    status, seen = await client(place, "POST", "/echo/a", {"amount": 3})
    assert (status, seen["method"], json.loads(seen["body"])) == (200, "POST", {"amount": 3})
    assert dict(seen["headers"])["authorization"] == f"Bearer {CREDENTIAL}"
    assert place.gate.token not in json.dumps(seen)
    status, refused = await client(place, "POST", "/echo/forbidden", {})
    assert (status, refused["code"], refused["rule"]) == (403, "denied", "not-this")


def said(place: Place) -> dict[str, Any]:
    """How OpenAI's client is told where to go: its key is the agent's token."""
    return {"base_url": f"{place.url}/v1", "api_key": place.gate.token, "max_retries": 0,
            "default_headers": {name: value for name, value in place.headers.items() if name == "Host"}}


ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "which card?"}]}


def test_openais_client_gets_masked_completions_whole_and_streamed(place: Place) -> None:
    """A card number that comes in pieces is hidden as one that comes at once; a model that is not allowed is an error of its own."""
    with openai.OpenAI(**said(place)) as client:
        assert client.chat.completions.create(**ASKED).choices[0].message.content == "card xxxx ok"
        with client.chat.completions.create(**ASKED, stream=True) as stream:
            assert "".join(event.choices[0].delta.content or "" for event in stream) == "card xxxx ok"
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.chat.completions.create(**(ASKED | {"model": "forbidden"}))
        assert caught.value.body["rule"] == "not-this-model"     # type: ignore[index]


async def test_the_shape_of_anthropic_is_masked_whole_and_streamed(place: Place) -> None:
    """With the token where its clients send their key."""
    headers = {name: value for name, value in place.headers.items() if name == "Host"} | {"x-api-key": place.gate.token}
    async with httpx.AsyncClient(base_url=place.url, headers=headers) as client:
        whole = await client.post("/v1/messages", json=ASKED)
        assert whole.json()["content"][0]["text"] == "card xxxx ok"
        text = ""
        async with client.stream("POST", "/v1/messages", json=ASKED | {"stream": True}) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: ") and (event := json.loads(line[6:]))["type"] == "content_block_delta":
                    text += event["delta"]["text"]
        assert text == "card xxxx ok"
        refused = await client.post("/v1/messages", json=ASKED | {"model": "forbidden"})
        assert (refused.status_code, refused.json()["rule"]) == (403, "not-this-model")
