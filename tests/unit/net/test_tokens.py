"""Access tokens from a real HTTP server on loopback, with a clock that only tests move."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest

from lockgate.config.settings import Connection
from lockgate.govern.pending import Pending
from lockgate.model import Refusal, RefusalCode, Secret
from lockgate.net import tokens
from lockgate.net.tokens import AccessTokens
from lockgate.wire.steps import ClientCredentials
from tests.unit.net.provider import Clock

CONNECTION = Connection.model_validate({
    "name": "crm", "protocol": "http", "address": "crm.internal:443", "credential": {"user": "gate way"}})
SECRET = "s3:cr%t"


def grant(token: object = "tok-1", **more: object) -> bytes:
    """A whole answer with a token."""
    return answer(json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 3600, **more}).encode())


def answer(body: bytes, status: int = 200, more: str = "") -> bytes:
    """An answer's bytes."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n".encode() + body


@dataclass
class Scene:
    """A token server that says what the test says, and the tokens of a gateway."""

    port: int = 0
    says: bytes = grant()
    heard: list[tuple[bytes, dict[str, list[str]]]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Clock = field(default_factory=Clock)
    failures: list[str] = field(default_factory=list)
    secret: str = SECRET
    kept: Any = None

    def terms(self, **more: object) -> ClientCredentials:
        return ClientCredentials(f"http://127.0.0.1:{self.port}/token", **more)  # type: ignore[arg-type]

    async def get(self, terms: ClientCredentials | None = None) -> Secret | Refusal:
        found = self.kept.get(CONNECTION, terms or self.terms())
        if not isinstance(found, Pending):
            return found  # type: ignore[no-any-return]
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        found.then(future.set_result)
        async with asyncio.timeout(20):
            return await future  # type: ignore[no-any-return]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        self.heard.append((head, parse_qs((await reader.readexactly(length)).decode())))
        await self.gate.wait()
        writer.write(self.says)
        writer.close()


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """Until the block ends."""
    made = Scene()
    made.gate.set()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.TaskGroup() as tasks:
            made.kept = AccessTokens(tasks, made.clock, lambda _: Secret(made.secret), lambda *said: made.failures.append(said[1]))
            yield made
    finally:
        server.close()
        await server.wait_closed()


async def test_all_who_ask_share_one_fetch_and_its_token_is_kept_until_shortly_before_its_end() -> None:
    """One request for a hundred that ask; none while the token lives; another half a minute before it dies."""
    async with scene() as s:
        s.gate.clear()
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(s.get()) for _ in range(100)]
            while not s.heard:
                await asyncio.sleep(0)
            s.gate.set()
        assert all(one.result() == Secret("tok-1") for one in asked)
        s.says = grant("tok-2")
        s.clock.passed = 3600 - tokens.MARGIN - 0.1
        assert s.kept.get(CONNECTION, s.terms()) == Secret("tok-1")
        assert len(s.heard) == 1
        s.clock.passed += 0.2
        assert await s.get() == Secret("tok-2")
        assert len(s.heard) == 2


async def test_the_client_says_who_it_is_as_the_server_wants() -> None:
    """By Basic, each part form-encoded before they are joined (RFC 6749 section 2.3.1), or as parameters."""
    async with scene() as s:
        await s.get(s.terms(scope="read write", audience="https://crm"))
        await s.get(s.terms(in_body=True))
        (head, form), (plain, posted) = s.heard
        basic = base64.b64encode(b"gate+way:s3%3Acr%25t")
        assert b"authorization: basic " + basic.lower() in head.lower()
        assert form == {"grant_type": ["client_credentials"], "scope": ["read write"], "audience": ["https://crm"]}
        assert b"authorization" not in plain.lower()
        assert posted == {"grant_type": ["client_credentials"], "client_id": ["gate way"], "client_secret": [SECRET]}


async def test_a_token_that_the_backend_did_not_take_is_dropped_once_in_a_while() -> None:
    """The first 401 causes a fetch; a backend that always says 401 does not cause one for each request."""
    async with scene() as s:
        await s.get()
        for number in range(5):
            s.kept.disown(CONNECTION, s.terms())
            s.says = grant(f"tok-{number + 2}")
            assert await s.get() == Secret("tok-2")
        assert len(s.heard) == 2
        s.clock.passed += tokens.DISOWNED
        s.kept.disown(CONNECTION, s.terms())
        assert await s.get() == Secret("tok-6")


async def test_tokens_that_a_backend_may_just_have_seen_are_known() -> None:
    """The last and the one before, also when they are not used any more; of other connections none."""
    async with scene() as s:
        assert s.kept.held(CONNECTION) == []
        for number in range(1, 4):
            s.says = grant(f"tok-{number}")
            await s.get()
            s.clock.passed += tokens.DISOWNED
            s.kept.disown(CONNECTION, s.terms())
        assert s.kept.held(CONNECTION) == [Secret("tok-3"), Secret("tok-2")]
        assert s.kept.held(CONNECTION.model_copy(update={"name": "erp"})) == []


@pytest.mark.parametrize(("says", "reason"), [
    (answer(b'{"error":"invalid_client","error_description":"tok s3:cr%t"}', 401), "answered with status 401 (invalid_client)"),
    (answer(b'{"error":"s3:cr%t"}', 400), "answered with status 400"),
    (answer(b"", 302, "Location: http://127.0.0.1:1/\r\n"), "answered with status 302"),
    (answer(b"<html>"), "holds no access token"),
    (grant("to\r\nk"), "holds no access token"),
    (grant("x" * 20_000), "holds no access token"),
    (grant(7), "holds no access token"),
    (grant(token_type="mac"), "of another type than Bearer"),
    (grant(expires_in="soon"), "does not say in seconds"),
    (grant(expires_in=-1), "does not say in seconds"),
    (grant(expires_in=True), "does not say in seconds"),
    (answer(b" " * 70_000), "longer than 65536 bytes"),
    (answer(b"x", 200, "Content-Encoding: gzip\r\n"), "compressed"),
    (b"garbage\r\n\r\n", "cannot be reached (RemoteProtocolError)"),
], ids=["client", "echo", "redirect", "html", "newline", "long", "number", "type", "life", "negative", "bool", "endless",
        "gzip", "garbage"])
async def test_what_grants_no_token_is_a_refusal_without_a_secret(says: bytes, reason: str) -> None:
    """The backend is unavailable; the log says why, and nothing that was sent or granted."""
    async with scene() as s:
        s.says = says
        found = await s.get()
        assert isinstance(found, Refusal)
        assert found.code is RefusalCode.BACKEND_UNAVAILABLE
        assert reason in s.failures[0]
        assert SECRET not in repr((found, s.failures))
        assert "tok" not in s.failures[0].replace("token", "")


async def test_a_failure_is_not_repeated_at_once_and_does_not_last() -> None:
    """Within the pause nobody is asked; behind it the next request is."""
    async with scene() as s:
        s.says = answer(b"", 500)
        assert isinstance(await s.get(), Refusal)
        s.says = grant()
        assert isinstance(s.kept.get(CONNECTION, s.terms()), Refusal)
        assert len(s.heard) == 1
        s.clock.passed += tokens.PAUSE
        assert await s.get() == Secret("tok-1")


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded in time as a whole."""
    monkeypatch.setattr(tokens, "WITHIN", 0.05)
    async with scene() as s:
        s.gate.clear()
        assert isinstance(await s.get(), Refusal)
        assert "within 0.05 s" in s.failures[0] or "Timeout" in s.failures[0]
        s.gate.set()


@pytest.mark.parametrize(("more", "lives"), [
    ({"expires_in": 100}, 80), ({"expires_in": "100"}, 80), ({"expires_in": 10**9}, 86_400 - 30), ({"expires_in": 0}, 0),
], ids=["short", "text", "huge", "none"])
async def test_the_life_of_a_token_is_what_the_server_says_within_a_day(more: dict[str, object], lives: float) -> None:
    """A fifth of a short life is the margin; a life of nothing is one use."""
    async with scene() as s:
        s.says = grant(**more)
        assert await s.get() == Secret("tok-1")
        is_kept: Callable[[], bool] = lambda: not isinstance(s.kept.get(CONNECTION, s.terms()), Pending)  # noqa: E731
        if lives:
            s.clock.passed = lives - 0.01
            assert is_kept()
        s.clock.passed = lives
        assert not is_kept()
