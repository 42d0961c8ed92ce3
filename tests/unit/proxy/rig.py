"""A gateway for the line protocol on real sockets, over the fakes of the pipeline's ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from lockgate.audit.recording.studio import Studio
from lockgate.config.settings import Connection, Limits
from lockgate.errors import IdentityError
from lockgate.govern.identity import ShownCertificate
from lockgate.model import AuditMode, Identity, Rule, Secret
from lockgate.net.tls import ServerCertificate
from lockgate.proxy.catalogue import Check, Keeper
from lockgate.proxy.counters import Counters
from lockgate.proxy.host import Host, HostLimits
from lockgate.proxy.listener import Door, Doorway
from lockgate.proxy.session import Session
from lockgate.wire.spec import ProtocolSpec
from tests.unit.govern.fakes import World, identity, world
from tests.unit.proxy import line

ALLOW = Rule("allow", allow=True)


class Tokens:
    """``<subject> <groups…>`` is a token, what follows a ``#`` makes it another one of the same identity; ``bad`` is refused,
    and ``slow`` is never answered."""

    def __init__(self) -> None:
        self.expires_at = 1_900_000_000.0

    def authenticate(
        self, token: str, callback: Callable[[Identity | Exception], None], certificate: ShownCertificate | None = None,
    ) -> None:
        if token == "bad":
            callback(IdentityError("not a token"))
        elif token == "boom":
            callback(ValueError("the value of the canary"))
        elif token != "slow":
            subject, *groups = token.partition("#")[0].split(" ")
            callback(identity(subject, *groups, expires_at=self.expires_at))


class Backend:
    """A backend on loopback: greets, keeps what it gets, answers lines unless told not to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.arrived = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []
        self.greets = True
        self.greeting = b"hello\n"
        self.answers = True
        self.catalogue = b"tables"
        self.work: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]] | None = None
        self.server: asyncio.Server | None = None
        self.port = 0
        self.open = 0

    async def start(self, port: int = 0) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.open += 1
        try:
            if self.greets:
                writer.write(self.greeting)
            while data := await reader.readline():
                self.lines.append(data)
                self.arrived.set()
                if data == b"catalogue\n":
                    writer.write(self.catalogue + b"\n")
                elif self.work is not None:
                    await self.work(data, writer)
                elif self.answers and data not in (b"bye\n", b"stop\n"):
                    writer.write(b"done " + data)
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()
            self.arrived.set()

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Until something that the backend sees is so."""
        async with asyncio.timeout(10):
            while not condition():
                self.arrived.clear()
                await self.arrived.wait()

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await self.server.wait_closed()
        await self.wait(lambda: self.open == 0)


@dataclass
class Client:
    """A client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode() + b"\n" if isinstance(text, str) else text)
        await self.writer.drain()

    async def line(self) -> str:
        """The next line; '' at the end of the stream."""
        async with asyncio.timeout(10):
            try:
                return (await self.reader.readline()).decode().strip()
            except ConnectionError:
                return ""

    async def ask(self, text: str) -> str:
        await self.send(text)
        return await self.line()

    def cut(self) -> None:
        self.writer.transport.abort()

    async def log_in(self, token: str = "agent agents") -> str:
        answer = await self.ask(token)
        assert answer.startswith("ok "), answer
        return answer[3:]


@dataclass
class Rig:
    """Everything of one test."""

    world: World
    host: Host
    backend: Backend
    door: Door
    tokens: Tokens
    clients: list[Client] = field(default_factory=list)

    async def client(self, address: str = "127.0.0.1") -> Client:
        """A connection, from this address."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.door.ports[0], local_addr=(address, 0))
        made = Client(reader, writer)
        self.clients.append(made)
        return made

    def session(self) -> Session:
        (session,) = self.host.sessions
        return session

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Until something inside the gateway is so (it has no event of its own to wait for)."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)


@asynccontextmanager
async def rig(
    *rules: Rule, spec: ProtocolSpec | None = None, certificate: ServerCertificate | None = None, audit: str = "async",
    check: Check = lambda *_: [], start_backend: bool = True, record: bool | None = None,
    studio: Callable[[World], Studio] | None = None, backend: Backend | None = None, **limits: object,
) -> AsyncIterator[Rig]:
    """A gateway until the block ends; afterwards nothing is left open."""
    made = world(*(rules or (ALLOW,)))
    backend = backend or Backend()
    await backend.start()
    if not start_backend:
        await backend.stop()
    spec = spec or line.spec()
    tokens = Tokens()
    async with asyncio.TaskGroup() as tasks:
        host = Host(
            tasks=tasks, pipeline=made.pipeline, verifier=tokens, clock=made.clock, counters=Counters(),
            limits=HostLimits.of(Limits.model_validate(limits)), credential=lambda _: Secret("canary"),
            audit=AuditMode(audit), studio=None if studio is None else studio(made),
        )
        connection = Connection.model_validate({
            "name": "crm", "protocol": "line", "address": f"127.0.0.1:{backend.port}",
            "credential": {"user": "app"}, "tls": {"mode": "disable"}, "record": record,
        })
        keeper = Keeper(host, spec, connection, check)
        host.set_keepers({"crm": keeper})
        door = Door(Doorway("door", "127.0.0.1:0", spec, None, certificate, plaintext=True))
        await door.open(host)
        found = Rig(made, host, backend, door, tokens)
        try:
            yield found
        finally:
            door.close()
            keeper.stop()
            for client in found.clients:
                client.cut()
            await host.drain(5.0)
            if host.studio is not None:
                host.studio.close()
            assert not host.sessions
            assert not host.recorded
            assert not host.callers.resting
            assert len(made.recorder.ended) == len(made.recorder.begun)
            assert not len(host.cancels)
            if start_backend:
                await backend.stop()
