"""Ends at backends that outlive the session they were made for: who gets them, and what is never given to anybody."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lockgate.config.settings import Connection
from lockgate.govern.pending import Pending
from lockgate.model import Refusal
from lockgate.proxy import pool as pooling
from lockgate.proxy.catalogue import Keeper
from lockgate.proxy.endpoint import Endpoint
from lockgate.wire.spec import Spare
from lockgate.wire.steps import Reach
from testbed.certificates import make_certificate
from tests.unit.proxy import line
from tests.unit.proxy.rig import Rig, rig

LINE = Reach(("line",))


@asynccontextmanager
async def shared(spare: Spare | None = Spare(30.0), **limits: object) -> AsyncIterator[Rig]:  # noqa: B008 - frozen
    """A gateway whose sessions leave their ends to others."""
    async with rig(spec=line.pooled(spare), **limits) as r:
        r.backend.greets = False
        yield r


async def asked(r: Rig, text: str, token: str = "agent agents") -> str:
    """What a client hears that logs in, asks once and leaves."""
    client = await r.client()
    await client.log_in(token)
    answer = await client.ask(text)
    client.cut()
    await r.wait(lambda: not r.host.sessions)
    return answer


def crm(r: Rig) -> Connection:
    return r.host.keepers["crm"].connection


async def test_an_end_that_is_left_is_the_next_ones() -> None:
    """Clients that come and go share one connection to the backend."""
    async with shared() as r:
        assert [await asked(r, f"get {number}") for number in range(5)] == [f"done get {number}" for number in range(5)]
        assert len(r.backend.writers) == 1
        assert r.host.counters.links == {"dialled": 1, "reused": 4}


async def test_what_a_mediator_does_not_vouch_for_is_closed() -> None:
    """No word from the protocol, no sharing: it may be in any state."""
    async with shared(None) as r:
        await asked(r, "get 1")
        await r.backend.wait(lambda: r.backend.open == 0)
        assert len(r.host.pool) == 0


async def test_a_request_that_is_open_leaves_nothing_behind() -> None:
    """The answer would be the next client's."""
    async with shared() as r:
        r.backend.answers = False
        client = await r.client()
        await client.log_in()
        await client.send("get secret")
        await r.backend.wait(lambda: r.backend.lines == [b"get secret\n"])
        client.cut()
        await r.backend.wait(lambda: r.backend.open == 0)
        assert len(r.host.pool) == 0


async def test_an_end_that_is_bound_is_its_callers_only() -> None:
    """Another caller gets one of its own; the same caller gets the one before."""
    async with shared(Spare(30.0, is_bound=True)) as r:
        await asked(r, "get 1", "ann agents")
        await asked(r, "get 2", "bob agents")
        assert len(r.backend.writers) == 2
        await asked(r, "get 3", "ann agents")
        await asked(r, "get 4", "bob agents")
        assert len(r.backend.writers) == 2


async def test_what_comes_unasked_ends_the_end() -> None:
    """An answer that nobody asked for is never the answer to the next request."""
    async with shared() as r:
        await asked(r, "get 1")
        r.backend.writers[0].write(b"done get poison\n")
        await r.wait(lambda: r.host.counters.links["spoke unasked"] == 1)
        assert await asked(r, "get 2") == "done get 2"
        assert len(r.backend.writers) == 2


async def test_what_has_come_and_nobody_has_read_yet_is_found() -> None:
    """The system has the bytes, the loop has not: the end is not given away."""
    async with shared() as r:
        await asked(r, "get 1")
        r.backend.writers[0].write(b"done get poison\n")
        answer = r.host.pool.reach(crm(r), LINE, None)
        assert isinstance(answer, Pending)
        assert r.host.counters.links["stale"] == 1
        answer.withdraw()
        await r.wait(lambda: len(r.host.pool) == 1)


async def test_an_end_that_the_backend_closes_is_dropped() -> None:
    """It is found out before it is used."""
    async with shared() as r:
        await asked(r, "get 1")
        r.backend.writers[0].close()
        await r.wait(lambda: len(r.host.pool) == 0)
        assert await asked(r, "get 2") == "done get 2"


async def test_ends_are_kept_for_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks, and it is closed."""
    monkeypatch.setattr(pooling, "_SWEEP", 0.01)
    async with shared(Spare(0.02)) as r:
        await asked(r, "get 1")
        await r.backend.wait(lambda: r.backend.open == 0)
        assert r.host.counters.links["idle"] == 1


async def test_old_ends_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may lead elsewhere by now, and a certificate may be another one."""
    monkeypatch.setattr(pooling, "AGE", 0.0)
    async with shared() as r:
        await asked(r, "get 1")
        await r.backend.wait(lambda: r.backend.open == 0)


async def test_a_bounded_number_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has been idle longest makes room."""
    monkeypatch.setattr(pooling, "MOST", 2)
    async with shared() as r:
        clients = [await r.client() for _ in range(3)]
        for client in clients:
            await client.log_in()
        for client in clients:
            client.cut()
        await r.wait(lambda: not r.host.sessions)
        assert len(r.host.pool) == 2
        assert r.host.counters.links == {"dialled": 3, "many": 1}


async def test_who_wants_a_new_one_gets_a_new_one() -> None:
    """A request that goes out for the second time must not meet another end that is about to close."""
    async with shared() as r:
        await asked(r, "get 1")
        answer = r.host.pool.reach(crm(r), Reach(("line",), idle=0.0), None)
        assert isinstance(answer, Pending)
        answer.withdraw()
        await r.wait(lambda: len(r.host.pool) == 2)


async def test_who_asks_for_another_protocol_gets_none_of_these() -> None:
    """An end speaks what was agreed when it was made."""
    async with shared() as r:
        await asked(r, "get 1")
        answer = r.host.pool.reach(crm(r), Reach(("other",)), None)
        assert isinstance(answer, Pending)
        answer.withdraw()
        await r.wait(lambda: len(r.host.pool) == 2)


async def test_new_settings_leave_the_ends_of_the_old_ones() -> None:
    """They were made with another address, certificate or name."""
    async with shared() as r:
        await asked(r, "get 1")
        before = crm(r)
        keeper = Keeper(r.host, r.door.doorway.spec, crm(r).model_copy(), lambda *_: [])
        r.host.set_keepers({"crm": keeper})
        assert len(r.host.pool) == 0
        await asked(r, "get 2")
        assert len(r.backend.writers) == 2
        assert isinstance(r.host.pool.reach(before, LINE, None), Pending)       # of a session that began with those
        await r.wait(lambda: r.host.counters.links["dialled"] == 3)


async def test_bytes_that_wait_leave_nothing_behind() -> None:
    """The mediator has not seen them, whatever it says."""
    async with shared() as r:
        client = await r.client()
        await client.log_in()
        r.session().server_lane.put(b"done get poison\n")
        r.session().close("test")
        await r.backend.wait(lambda: r.backend.open == 0)


async def test_a_session_that_failed_leaves_nothing_behind() -> None:
    """Nobody knows in what state it was."""
    spec = replace(line.pooled(), spare=lambda _: Spare(30.0))
    async with rig(spec=spec) as r:
        r.backend.greets = False
        client = await r.client()
        await client.log_in()
        assert await client.ask("boom") == ""
        await r.backend.wait(lambda: r.backend.open == 0)


async def test_an_end_that_nobody_waits_for_any_more_is_kept() -> None:
    """Who asked for it has left while it was dialled."""
    async with shared() as r:
        answer = r.host.pool.reach(crm(r), LINE, None)
        assert isinstance(answer, Pending)
        answer.withdraw()
        await r.wait(lambda: len(r.host.pool) == 1)
        assert await asked(r, "get 1") == "done get 1"
        assert len(r.backend.writers) == 1


async def test_a_backend_that_is_down_is_told() -> None:
    """A refusal, and nothing is kept."""
    async with rig(spec=line.pooled(), start_backend=False) as r:
        client = await r.client()
        assert await client.ask("agent agents") == "no backend_unavailable"
        assert len(r.host.pool) == 0


async def test_a_drain_closes_what_is_kept() -> None:
    """An end that nobody uses holds up nobody."""
    async with shared() as r:
        await asked(r, "get 1")
        await r.host.drain(5.0)
        await r.backend.wait(lambda: r.backend.open == 0)


# ---------------------------------------------------------------- TLS

async def reached(r: Rig, connection: Connection, *protocols: str) -> Endpoint | Refusal:
    answer = r.host.pool.reach(connection, Reach(protocols, idle=0.0), None)
    assert isinstance(answer, Pending)
    found: list[Endpoint | Refusal] = []
    answer.then(found.append)
    await r.wait(lambda: bool(found))
    return found[0]


@asynccontextmanager
async def secured(tmp_path: Path, *protocols: str, greeting: bytes = b"") -> AsyncIterator[tuple[int, Path]]:
    """A backend with TLS that chooses among these protocols: its port, and who vouches for it."""
    made = make_certificate(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    if protocols:
        context.set_alpn_protocols(list(protocols))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], made.authority


def over_tls(r: Rig, port: int, authority: Path | None) -> Connection:
    return crm(r).model_copy(update={
        "address": f"127.0.0.1:{port}", "tls": crm(r).tls.model_copy(update={"mode": "verify-full", "ca": authority})})


@pytest.mark.parametrize(("chosen", "expected"), [(("b",), "b"), (("a", "b"), "a"), ((), "b")], ids=["one", "preferred", "none"])
async def test_the_backend_chooses_what_is_spoken(tmp_path: Path, chosen: tuple[str, ...], expected: str) -> None:
    """By ALPN, the preferred one if it can; a backend that chooses none speaks the last."""
    async with shared() as r, secured(tmp_path, *chosen) as (port, authority):
        end = await reached(r, over_tls(r, port, authority), "a", "b")
        assert isinstance(end, Endpoint)
        assert end.protocol == expected
        end.abort()


async def test_a_backend_that_is_not_trusted_is_told(tmp_path: Path) -> None:
    """A refusal that says which check failed to those who run the gateway."""
    async with shared() as r, secured(tmp_path) as (port, _):
        answer = await reached(r, over_tls(r, port, None), "a")
        assert isinstance(answer, Refusal)
        assert answer.reason == "the backend of connection crm is not trusted"
        assert "certificate not accepted" in (answer.cause or "")


async def test_a_handshake_has_a_deadline(tmp_path: Path) -> None:
    """A backend that accepts and then says nothing is given up."""
    async with shared(login_timeout="1s") as r:
        r.backend.answers = False
        answer = await reached(r, over_tls(r, r.backend.port, None), "a")
        assert isinstance(answer, Refusal)
        assert answer.reason == "the backend of connection crm cannot be reached"
