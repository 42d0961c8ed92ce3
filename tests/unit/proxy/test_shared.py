"""Connections to a backend that carry streams of many sessions: how few there are, and what each session hears."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lockgate.config.settings import Connection
from lockgate.govern.pending import Pending
from lockgate.model import Refusal
from lockgate.proxy import bundled as bundling
from lockgate.proxy import shared as sharing
from lockgate.proxy.catalogue import Keeper
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.stream import StreamEndpoint
from lockgate.wire.spec import StreamEvent
from lockgate.wire.steps import Reach, Side
from testbed.certificates import make_certificate
from tests.unit.proxy import line
from tests.unit.proxy.rig import Backend, Client, Rig, rig

LINE = Reach(("line",))


class LineBundle:
    """Frames of a toy: ``<number> <text>`` both ways; ``room <n>`` says how many streams there may be, ``go`` that there may be
    no more, ``end <number>`` and ``no <number>`` that one has ended."""

    def __init__(self, _is_secure: bool = False) -> None:
        self.rest = b""
        self.out = b""
        self.most = 0
        self.streams: set[int] = set()
        self.last = 0
        self.slow: set[int] = set()
        self.is_ready = False
        self.has_ended = False

    @property
    def room(self) -> int:
        return 0 if self.has_ended else self.most - len(self.streams)

    def open(self) -> int:
        self.last += 1
        self.streams.add(self.last)
        return self.last

    def receive(self, data: bytes) -> list[StreamEvent]:
        found = []
        self.rest += data
        while b"\n" in self.rest:
            frame, self.rest = self.rest.split(b"\n", 1)
            word, _, text = frame.partition(b" ")
            if word == b"room":
                self.most, self.is_ready = int(text), True
            elif word == b"go":
                self.has_ended = True
            elif word in (b"end", b"no"):
                self.streams.discard(int(text))
                found.append(StreamEvent(int(text), ends=True, is_untouched=word == b"no"))
            else:
                found.append(StreamEvent(int(word), text + b"\n", size=len(text)))
        return found

    def outgoing(self) -> bytes:
        out, self.out = self.out, b""
        return out

    def send(self, number: int, data: bytes) -> bool:
        if number not in self.streams:
            return False
        self.out += b"%d %b" % (number, data)
        if b"slow" in data:
            self.slow.add(number)
        return True

    def taken(self, number: int, size: int) -> None:
        pass

    def is_slow(self, number: int) -> bool:
        return number in self.slow

    def closed(self, number: int) -> None:
        if number in self.streams:
            self.streams.discard(number)
            self.out += b"%d left\n" % number

    def lost(self) -> list[StreamEvent]:
        self.has_ended = True
        return [StreamEvent(number, ends=True) for number in self.streams]

    def end(self) -> None:
        self.has_ended = True

    def goodbye(self) -> None:
        self.out += b"0 bye\n"


async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
    """Each line on its own stream."""
    number, _, text = data.strip().partition(b" ")
    if text.startswith(b"get"):
        writer.write(b"%b done %b\n" % (number, text))


@asynccontextmanager
async def carried(room: int = 100, **limits: object) -> AsyncIterator[Rig]:
    """A gateway that speaks the toy to its backend, which has room for so many streams on a connection."""
    backend = Backend()
    backend.greeting, backend.work = b"room %d\n" % room, answer
    spec = replace(line.pooled(None), bundles={"line": LineBundle})
    async with rig(spec=spec, backend=backend, **limits) as r:
        yield r


def crm(r: Rig) -> Connection:
    return r.host.keepers["crm"].connection


async def many(r: Rig, count: int) -> list[Client]:
    """Clients that log in at once."""
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(logged_in(r)) for _ in range(count)]
    return [one.result() for one in made]


async def logged_in(r: Rig) -> Client:
    client = await r.client()
    await client.log_in()
    return client


async def test_sessions_share_one_connection() -> None:
    """Ten at once: one dial, and each has its own answers."""
    async with carried() as r:
        clients = await many(r, 10)
        assert len(r.backend.writers) == 1
        assert r.host.counters.links["dialled"] == 1
        for number, client in enumerate(clients):
            await client.send(f"get {number}")
        assert [await client.line() for client in clients] == [f"done get {number}" for number in range(10)]


async def test_a_session_that_leaves_takes_nobody_with_it() -> None:
    """Its stream is left, the connection stays."""
    async with carried() as r:
        first, second = await many(r, 2)
        await first.send("hang 1")
        await r.backend.wait(lambda: any(b"hang" in one for one in r.backend.lines))
        first.cut()
        await r.backend.wait(lambda: any(b"left" in one for one in r.backend.lines))
        assert await second.ask("get 2") == "done get 2"
        assert len(r.backend.writers) == 1


async def test_the_room_of_a_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """More sessions than it has room for: more connections up to a bound, and the others wait for who leaves."""
    monkeypatch.setattr(sharing, "MOST", 2)
    async with carried(room=2) as r:
        clients = await many(r, 4)
        assert len(r.backend.writers) == 2
        fifth = await r.client()
        await fifth.send("agent agents")
        await r.wait(lambda: any(len(shared._asking) for shared in r.host.pool._shared))
        clients[0].cut()
        assert (await fifth.line()).startswith("ok ")
        assert await fifth.ask("get 5") == "done get 5"
        assert len(r.backend.writers) == 2


async def test_who_waits_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No longer than a dial may take."""
    monkeypatch.setattr(sharing, "MOST", 1)
    async with carried(room=1, login_timeout="1s") as r:
        await many(r, 1)
        client = await r.client()
        assert await client.ask("agent agents") == "no backend_unavailable"


async def test_a_backend_without_room_is_not_dialled_again() -> None:
    """Another connection would have no more."""
    async with carried(room=0, login_timeout="1s") as r:
        client = await r.client()
        assert await client.ask("agent agents") == "no backend_unavailable"
        assert len(r.backend.writers) == 1


async def test_who_leaves_while_waiting_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream goes to the next."""
    monkeypatch.setattr(sharing, "MOST", 1)
    async with carried(room=1) as r:
        (first,) = await many(r, 1)
        leaving, staying = r.host.pool.reach(crm(r), LINE, None), r.host.pool.reach(crm(r), LINE, None)
        assert isinstance(leaving, Pending)
        assert isinstance(staying, Pending)
        got: list[Any] = []
        staying.then(got.append)
        leaving.withdraw()
        first.cut()
        await r.wait(lambda: bool(got))
        assert isinstance(got[0], StreamEndpoint)
        got[0].close()


async def test_a_backend_that_is_down_is_told_once() -> None:
    """One dial for all who wait."""
    async with carried() as r:
        await r.backend.stop()
        found: list[Any] = []
        for _ in range(5):
            answer = r.host.pool.reach(crm(r), LINE, None)
            assert isinstance(answer, Pending)
            answer.then(found.append)
        await r.wait(lambda: len(found) == 5)
        assert all(isinstance(one, Refusal) for one in found)
        assert r.host.counters.errors["backend.unreachable"] == 1
        await r.backend.start(r.backend.port)
        client = await logged_in(r)
        assert await client.ask("get 1") == "done get 1"


async def test_a_backend_that_says_nothing_is_given_up_and_dialled_anew() -> None:
    """It accepts, and does not show that it speaks this."""
    async with carried(login_timeout="1s") as r:
        r.backend.greets = False
        client = await r.client()
        assert await client.ask("agent agents") == "no backend_unavailable"
        r.backend.greets = True
        client = await logged_in(r)
        assert await client.ask("get 1") == "done get 1"
        assert len(r.backend.writers) == 2


async def test_a_backend_that_hangs_up_at_once_is_told() -> None:
    """Before it has shown anything."""
    async with carried() as r:
        r.backend.greets = False
        client = await r.client()
        await client.send("agent agents")
        await r.wait(lambda: bool(r.backend.writers))
        r.backend.writers[0].close()
        assert await client.line() == "no backend_unavailable"


async def test_a_connection_that_goes_is_replaced_and_its_streams_stay() -> None:
    """The backend opens no more streams on it: the next session has another one."""
    async with carried() as r:
        (first,) = await many(r, 1)
        r.backend.writers[0].write(b"go\n")
        await r.wait(lambda: all(not shared._bundles for shared in r.host.pool._shared))
        second = await logged_in(r)
        assert await first.ask("get 1") == "done get 1"
        assert await second.ask("get 2") == "done get 2"
        assert len(r.backend.writers) == 2
        first.cut()
        await r.backend.wait(lambda: r.backend.open == 1)


@pytest.mark.parametrize(("word", "is_untouched"), [("end", False), ("no", True)])
async def test_a_stream_that_ends_is_its_sessions_affair(word: str, *, is_untouched: bool) -> None:
    """It hears of it, and whether anything was looked at; others hear nothing."""
    async with carried() as r:
        gone = await logged_in(r)
        end = r.session().server
        assert isinstance(end, StreamEndpoint)
        reached = end.reached
        other = await logged_in(r)
        r.backend.writers[0].write(f"{word} 1\n".encode())
        assert await gone.line() == "backend gone"
        assert await other.ask("get 1") == "done get 1"
        assert reached is not None
        assert reached.is_untouched is is_untouched


async def test_all_streams_end_with_the_connection() -> None:
    """Each session hears of it."""
    async with carried() as r:
        clients = await many(r, 3)
        r.backend.writers[0].close()
        assert [await client.line() for client in clients] == ["backend gone"] * 3


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind its last stream, after a time, with a goodbye."""
    monkeypatch.setattr(bundling, "IDLE", 0.02)
    async with carried() as r:
        (client,) = await many(r, 1)
        client.cut()
        await r.backend.wait(lambda: r.backend.open == 0)
        assert r.backend.lines[-1] == b"0 bye\n"


async def test_an_old_connection_takes_no_more_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and certificates change."""
    async with carried() as r:
        (first,) = await many(r, 1)
        monkeypatch.setattr(bundling, "AGE", 0.0)
        found = r.host.pool.reach(crm(r), LINE, None)
        assert isinstance(found, Pending)
        found.withdraw()
        assert await first.ask("get 1") == "done get 1"
        first.cut()
        await r.backend.wait(lambda: b"0 bye\n" in r.backend.lines)


async def test_new_settings_leave_the_connections_of_the_old_ones() -> None:
    """Their streams come to their end, the next session has another connection."""
    async with carried() as r:
        (first,) = await many(r, 1)
        r.host.set_keepers({"crm": Keeper(r.host, r.door.doorway.spec, crm(r).model_copy(), lambda *_: [])})
        second = await logged_in(r)
        assert await first.ask("get 1") == "done get 1"
        assert await second.ask("get 2") == "done get 2"
        assert len(r.backend.writers) == 2
        first.cut()
        await r.backend.wait(lambda: r.backend.open == 1)


async def test_who_waits_for_a_slow_stream_goes_on_when_it_is_left() -> None:
    """A lane that waits for an end which was hung up would wait for ever, and with it its client."""
    async with carried() as r:
        client = await logged_in(r)
        (session,) = r.host.sessions
        await client.send("slow 1")
        await r.wait(lambda: session.server.is_slow)
        await client.send("get 2")
        await r.wait(lambda: session.client_lane.waits_for is session.server)
        left = session.server
        session._hang_up(session.server_lane, None)  # type: ignore[arg-type]
        await r.wait(lambda: session.client_lane.waits_for is not left)
        assert session.client_lane.generator is None


# ---------------------------------------------------------------- a backend that chooses


@asynccontextmanager
async def choosing(tmp_path: Path, chooses: Callable[[], tuple[str, ...]]) -> AsyncIterator[tuple[int, Path]]:
    """A backend with TLS: its port, and who vouches for it."""
    made = make_certificate(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("ssl_object").selected_alpn_protocol() == "line":
            writer.write(b"room 100\n")
        await reader.read()
        writer.close()

    context.set_alpn_protocols(list(chooses()))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], made.authority


@pytest.mark.parametrize(("chosen", "kind", "dials"), [("line", StreamEndpoint, 1), ("plain", Endpoint, 4)])
async def test_who_waits_gets_what_the_backend_chose(tmp_path: Path, chosen: str, kind: type, dials: int) -> None:
    """A stream each of one connection; or an end each, the first of them the one that showed it."""
    async with carried() as r, choosing(tmp_path, lambda: (chosen,)) as (port, authority):
        connection = crm(r).model_copy(update={
            "address": f"127.0.0.1:{port}", "tls": crm(r).tls.model_copy(update={"mode": "verify-full", "ca": authority})})
        r.host.set_keepers({"crm": Keeper(r.host, r.door.doorway.spec, connection, lambda *_: [])})
        found: list[Any] = []
        for _ in range(4):
            answer = r.host.pool.reach(connection, Reach(("line", "plain")), None)
            assert isinstance(answer, Pending)
            answer.then(found.append)
        await r.wait(lambda: len(found) == 4)
        assert [type(one) for one in found] == [kind] * 4
        assert r.host.counters.links["dialled"] == dials
        for one in found:
            one.close()


async def test_a_stream_gives_back_what_nobody_took() -> None:
    """A session that is behind when it leaves takes nothing of the connection's window with it."""
    taken: list[tuple[int, int]] = []

    class Carrier:
        def send(self, number: int, data: bytes) -> bool:
            return False

        def taken(self, number: int, size: int) -> None:
            taken.append((number, size))

        def left(self, number: int) -> None:
            taken.append((number, 0))

        def addresses(self) -> tuple[str, str]:
            return ("", "")

    end = StreamEndpoint(Side.SERVER, Carrier(), 7)
    end.took(5)
    end.hold()
    end.took(11)
    end.close()
    assert taken == [(7, 5), (7, 0), (7, 11)]
