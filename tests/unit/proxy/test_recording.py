"""Sessions that are recorded, on real sockets and files: what gets in, and what happens when no more of it can."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pyrage
import pytest

from lockgate.audit.recording import shelf
from lockgate.audit.recording.events import Event
from lockgate.audit.recording.playback import Playback, streams_of
from lockgate.audit.recording.sealing import Opener
from lockgate.audit.recording.studio import OnCut, Studio, Terms
from lockgate.audit.recording.tape import FULL
from lockgate.govern.policy import PolicySet
from lockgate.model import Rule
from lockgate.wire.spec import RecordingSpec
from tests.unit.govern.fakes import World
from tests.unit.proxy import line
from tests.unit.proxy.rig import ALLOW, Client, Rig, rig

IDENTITY = pyrage.x25519.Identity.generate()
RECORD = Rule("record", record=True)
RAW = Rule("raw", record=True, record_raw=True)
SPEC = line.spec(recording=RecordingSpec("sql"))


def studio(folder: Path, **terms: object) -> Callable[[World], Studio]:
    def make(world: World) -> Studio:
        loop = asyncio.get_running_loop()
        return Studio(folder, world.recorder, lambda call: loop.call_soon_threadsafe(call) and None, Terms(
            (str(IDENTITY.to_public()),), **terms))  # type: ignore[arg-type]

    return make


def read(folder: Path, sid: str, stream: str = "client") -> Sequence[Event]:
    return list(Playback(streams_of(folder, sid)[stream], Opener([IDENTITY])).events())


def joined(events: Sequence[Event], kind: str) -> bytes:
    return b"".join(event.data for event in events if event.kind == kind)


async def log_in(gateway: Rig) -> tuple[Client, str]:
    client = await gateway.client()
    await client.log_in()
    return client, gateway.world.recorder.begun[-1].session


async def leave(gateway: Rig, client: Client) -> None:
    """End the session, and wait until the log has its end."""
    ended = len(gateway.world.recorder.ended)
    client.cut()
    await gateway.wait(lambda: len(gateway.world.recorder.ended) > ended)


async def test_the_client_s_end_is_recorded_behind_the_mask(tmp_path: Path) -> None:
    """What the client sent after its log-in, and what it got: no token, nothing that a mask hides. The end is on record
    behind the final mark."""
    async with rig(ALLOW, RECORD, spec=SPEC, studio=studio(tmp_path)) as gateway:
        client, sid = await log_in(gateway)
        assert await client.ask("select canary") == "done select xxxxxx"
        await leave(gateway, client)
        recorder = gateway.world.recorder
        assert recorder.marks[-1] == {"session": sid, "stream": "client", "chunks": 1, "final": True}
    events = read(tmp_path, sid)
    assert joined(events, "i") == b"select canary\n".replace(b"canary", b"******")     # the rig's credential is ``canary``
    assert joined(events, "o") == b"done select xxxxxx\n"
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert list(streams_of(tmp_path, sid)) == ["client"]


async def test_the_backend_s_end_is_recorded_where_a_rule_says_so(tmp_path: Path) -> None:
    """Before masks, in a stream of its own; a live credential is not in it either."""
    async with rig(ALLOW, RAW, spec=SPEC, studio=studio(tmp_path)) as gateway:
        client, sid = await log_in(gateway)
        assert await client.ask("select 219-09-9999") == "done select 219-09-9999"
        await leave(gateway, client)
    events = read(tmp_path, sid, "backend")
    assert joined(events, "i") == b"select 219-09-9999\nbye\n"
    assert joined(events, "o") == b"done select 219-09-9999\n"


@pytest.mark.parametrize(("rules", "record", "every", "wanted"), [
    ((), None, False, False), ((), None, True, True), ((), True, False, True), ((), False, True, False),
    ((RECORD,), False, False, True), ((Rule("other", record=True, connections=("erp",)),), None, False, False),
])
async def test_who_is_recorded(
    tmp_path: Path, rules: tuple[Rule, ...], record: bool | None, every: bool, wanted: bool,
) -> None:
    """The connection's word goes before the general one, and a rule only adds."""
    async with rig(ALLOW, *rules, spec=SPEC, record=record, studio=studio(tmp_path, every=every)) as gateway:
        client, sid = await log_in(gateway)
        assert await client.ask("select 1") == "done select 1"
        await leave(gateway, client)
    assert bool(streams_of(tmp_path, sid)) is wanted


@pytest.mark.parametrize("how", ["no studio", "no recipients", "no decoder"])
async def test_a_recording_that_is_due_and_cannot_be_made_ends_the_session(tmp_path: Path, how: str) -> None:
    """Nothing goes on unrecorded: the start-up's checks are not the only thing that stands in the way."""
    made = None if how == "no studio" else studio(tmp_path)

    def without(world: World) -> Studio:
        found = studio(tmp_path)(world)
        found.use(Terms())
        return found

    async with rig(ALLOW, RECORD, spec=line.spec() if how == "no decoder" else SPEC,
                   studio=without if how == "no recipients" else made) as gateway:
        client = await gateway.client()
        await client.send("agent agents")
        assert (await client.line()).startswith("ok")
        assert await client.line() == ""
        await gateway.wait(lambda: bool(gateway.world.recorder.ended))
        assert gateway.world.recorder.ended[0][1] == "it cannot be recorded"


# ---------------------------------------------------------------- when no more can be recorded


@pytest.mark.parametrize("how", [OnCut.END, OnCut.MARK])
async def test_at_the_limit(tmp_path: Path, how: OnCut) -> None:
    """The session ends before anything unrecorded is delivered, or goes on and the log says that the rest is missing."""
    terms = studio(tmp_path, limit=40, on_limit=how)
    async with rig(ALLOW, RECORD, spec=SPEC, studio=terms) as gateway:
        client, sid = await log_in(gateway)
        assert await client.ask("select 1") == "done select 1"
        answer = await client.ask("select 22222222")
        assert answer == ("" if how is OnCut.END else "done select 22222222")
        if how is OnCut.MARK:
            await leave(gateway, client)
        await gateway.wait(lambda: bool(gateway.world.recorder.ended))
        ((_, stream, dropped, reason),) = gateway.world.recorder.cuts
        assert (stream, dropped, reason) == ("client", 21, "the limit of 40 bytes is reached")
    assert joined(read(tmp_path, sid), "o") == b"done select 1\n"


async def test_at_the_limit_between_requests_the_client_is_told(tmp_path: Path) -> None:
    """A session that owes nothing ends with a clear error, and what would have been over the limit is not carried out."""
    async with rig(ALLOW, RECORD, spec=SPEC, studio=studio(tmp_path, limit=20)) as gateway:
        client, _ = await log_in(gateway)
        assert await client.ask("select 111111111111111111") == "end audit_unavailable"
        assert await client.line() == ""
        await gateway.wait(lambda: bool(gateway.world.recorder.ended))
        assert not gateway.world.recorder.intents


@pytest.mark.parametrize("how", [OnCut.END, OnCut.MARK])
async def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: OnCut) -> None:
    """The session ends, with a clear error where nothing is owed, or goes on and the log says what is missing."""
    failing = threading.Event()
    write = os.write

    def fail(descriptor: int, content: bytes) -> int:
        if failing.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content)

    monkeypatch.setattr(shelf.os, "write", fail)
    async with rig(ALLOW, RECORD, spec=SPEC, studio=studio(tmp_path, on_error=how)) as gateway:
        client, sid = await log_in(gateway)
        assert await client.ask("select 1") == "done select 1"
        assert gateway.host.studio is not None
        await gateway.wait(lambda: bool(gateway.world.recorder.marks))      # there is a file
        failing.set()
        gateway.host.studio.tick()
        await gateway.wait(lambda: bool(gateway.world.recorder.cuts))
        if how is OnCut.END:
            assert await client.line() == "end audit_unavailable"
        else:
            assert await client.ask("select 2") == "done select 2"
            await leave(gateway, client)
        await gateway.wait(lambda: bool(gateway.world.recorder.ended))
        assert "No space left" in gateway.world.recorder.cuts[0][3]
        failing.clear()
    assert streams_of(tmp_path, sid)["client"].read_bytes() == shelf.RECORDING_MAGIC


async def test_a_disk_that_is_slow_slows_the_session_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While as much waits as may, the lanes stop and reading pauses; then everything goes on, and all of it is there."""
    writable = threading.Event()
    write = os.write

    def slow(descriptor: int, content: bytes) -> int:
        assert writable.wait(20)
        return write(descriptor, content)

    async def work(data: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * (FULL * 2) + b"\n")
        await writer.drain()

    monkeypatch.setattr(shelf.os, "write", slow)
    async with rig(ALLOW, RECORD, spec=SPEC, studio=studio(tmp_path), buffer=65_536) as gateway:
        gateway.backend.work = work
        client, sid = await log_in(gateway)
        session = gateway.session()
        await client.send("select much")
        total = 0
        async with asyncio.timeout(20):
            while session.server_lane.waits_for is not session.recording:
                total += len(await client.reader.read(1 << 20))
        assert session.recording is not None
        assert session.recording.is_full
        assert total < FULL * 2
        writable.set()
        while total < FULL * 2 + 1:
            total += len(await client.reader.read(1 << 20))
        await leave(gateway, client)
    assert joined(read(tmp_path, sid), "o") == b"x" * (FULL * 2) + b"\n"


async def test_rules_that_change_while_a_session_is_open(tmp_path: Path) -> None:
    """A session of which a recording is due from now on ends; it is recorded when it comes back."""
    async with rig(ALLOW, spec=SPEC, studio=studio(tmp_path)) as gateway:
        client, _ = await log_in(gateway)
        assert not gateway.session().is_unrecorded
        gateway.world.pipeline.replace(PolicySet.compile([ALLOW, RECORD], "x" * 64))
        assert gateway.session().is_unrecorded
        client.cut()
