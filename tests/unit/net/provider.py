"""A provider on loopback that answers exactly what a test says, over real HTTP(S)."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from lockgate.govern.identity import ProviderRules
from lockgate.model import Identity
from lockgate.net.discovery import OidcProvider
from lockgate.net.oidc import OidcBounds, OidcVerifier
from tests.unit.govern.identity.material import AUDIENCE, NOW, claims, mint, public

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/jwks"


@dataclass
class Clock:
    """A clock that only moves when told."""

    passed: float = 0.0

    def now(self) -> float:
        return NOW + self.passed

    def monotonic(self) -> float:
        return 1_000.0 + self.passed


@dataclass
class Answer:
    """One HTTP response; `raw` replaces all of it, and after `endless` interim ones it never comes."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    endless: bool = False

    def encode(self) -> bytes:
        if self.raw is not None:
            return self.raw
        headers = {"content-type": "application/json", "content-length": str(len(self.body)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} X\r\n{lines}connection: close\r\n\r\n".encode() + self.body


class ScriptedProvider:
    """Answers from `answers` by path and counts requests; while `gate` is unset, it hangs."""

    def __init__(self, *keys: dict[str, object], path: str = "", scheme: str = "http") -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: Counter[str] = Counter()
        self.asked = asyncio.Condition()
        self.gate = asyncio.Event()
        self.gate.set()
        self.port = 0
        self._initial = keys or (public("P256-1"),)
        self._path = path
        self._scheme = scheme

    @property
    def origin(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        return self.origin + self._path

    def publish(self, *keys: dict[str, object]) -> None:
        self.answers[self._path + KEYS] = Answer(json.dumps({"keys": keys}).encode())

    def discover(self, **changes: object) -> None:
        document = {"issuer": self.issuer, "jwks_uri": self.issuer + KEYS} | changes
        self.answers[self._path + DISCOVERY] = Answer(json.dumps(document).encode())

    def break_down(self) -> None:
        self.answers.clear()

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedProvider]:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        self.discover()
        self.publish(*self._initial)
        try:
            yield self
        finally:
            self.gate.set()
            server.close()

    async def wait_asked(self, path: str, count: int) -> None:
        async with self.asked:
            await self.asked.wait_for(lambda: self.requests[path] >= count)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            async with self.asked:
                self.requests[path] += 1
                self.asked.notify_all()
            await self.gate.wait()
            answer = self.answers.get(path, Answer(status=503))
            while answer.endless:
                # Always something to read, so that no timeout between two reads ever fires.
                writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
                await writer.drain()
            writer.write(answer.encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def settings(self, name: str = "corp", **changes: object) -> OidcProvider:
        rules = ProviderRules(name, self.issuer, AUDIENCE)
        return OidcProvider(rules, **{"unsafe_http": True, **changes})  # type: ignore[arg-type]

    def token(self, signer: str = "P256-1", **changes: object) -> str:
        return mint(claims(**{"iss": self.issuer, **changes}), signer=signer)


@asynccontextmanager
async def running(*providers: OidcProvider, clock: Clock | None = None,
                  bounds: OidcBounds | None = None) -> AsyncIterator[OidcVerifier]:
    """A verifier whose `run` is under way and ends with the block."""
    verifier = OidcVerifier(providers, clock or Clock(), bounds=bounds or OidcBounds())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(verifier.run())
        try:
            yield verifier
        finally:
            task.cancel()


async def log_in(verifier: OidcVerifier, token: str) -> Identity | Exception:
    """What a login ends with, however long it takes."""
    answer: asyncio.Future[Identity | Exception] = asyncio.get_running_loop().create_future()
    verifier.authenticate(token, answer.set_result)
    return await answer


def at_once(verifier: OidcVerifier, token: str) -> Identity | Exception | None:
    """What a login ends with before `authenticate` returns, or None when it waits."""
    answers: list[Identity | Exception] = []
    verifier.authenticate(token, answers.append)
    return answers[0] if answers else None
