"""Acts of people on this machine: on record with their account, through a gateway or without one."""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lockgate.app.admin import AdminServer
from lockgate.audit.admin import AdminRefused, recorded
from lockgate.audit.custody import Custody, submitting
from lockgate.audit.log import AuditLog
from lockgate.audit.reader import Reader
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.model import Event
from tests.unit.audit.logs import ORIGIN, Driven, sample

RUN = Event("verify_run", {"verdict": "verified", "entries": 16})


def body(folder: Path, index: int) -> dict[str, object]:
    with Reader(folder) as reader:
        entry, payload = reader.entry(index)
    assert "requester" in entry.record
    return {"type": entry.record["type"], "data": entry.record["data"], **json.loads(payload.content["body"])}


@asynccontextmanager
async def gateway(folder: Path, apart: bool = False) -> AsyncIterator[AuditLog]:
    """What of a gateway answers: its log on this loop, and the server of the socket."""
    loop = asyncio.get_running_loop()
    log = AuditLog.open(folder, origin=ORIGIN, dispatch=loop.call_soon_threadsafe, apart=apart)
    server = AdminServer(Custody(folder, submitting(log, loop.call_soon_threadsafe)))
    try:
        await server.open()
        yield log
    finally:
        await server.close()
        await asyncio.to_thread(log.close)


def act(folder: Path, event: Event = RUN) -> int:
    with recorded(folder) as log:
        return log.append(event)


def test_a_command_opens_a_log_that_nobody_has_open(tmp_path: Path) -> None:
    """The record is durable, names the account that asked, and the log stays whole."""
    sample(tmp_path)
    index = act(tmp_path, Event("recording_view", {"session": "a" * 16}, None, b'{"reason":"ticket 1"}'))
    assert body(tmp_path, index) == {
        "type": "recording_view", "data": {"session": "a" * 16}, "reason": "ticket 1",
        "requester": ["local", getpass.getuser()]}
    assert verify_log(tmp_path).findings == []


def test_what_was_in_force_stays_on_record(tmp_path: Path) -> None:
    """A start by a command repeats the facts of the gateway's, so that they hold until the next gateway."""
    driven = Driven(tmp_path, facts={"config": "ab", "policy": "cd", "mode": "full", "approvals": 2})
    driven.log.event(Event("config_change", {"before": "ab", "after": "ef", "policy_after": "99"}))
    driven.log.close()
    act(tmp_path)
    with Reader(tmp_path) as reader:
        said = reader.entry(3)[0].record["data"]
    assert said == {"config": "ef", "policy": "99", "mode": "full", "approvals": 2, "by": "command"}


@pytest.mark.parametrize("apart", [False, True])
async def test_a_running_gateway_takes_it(tmp_path: Path, apart: bool) -> None:
    """The answer comes when the record is durable, with its index, also between other records."""
    async with gateway(tmp_path, apart) as log:
        for _ in range(50):
            log.event(Event("cancel", {}))
        index = await asyncio.to_thread(act, tmp_path)
        for _ in range(50):
            log.event(Event("cancel", {}))
        assert body(tmp_path, index)["requester"] == ["local", getpass.getuser()]
        assert await asyncio.to_thread(act, tmp_path) == index + 51
        assert stat.S_IMODE((tmp_path / "admin.sock").stat().st_mode) == 0o600
    assert not (tmp_path / "admin.sock").exists()
    assert verify_log(tmp_path).findings == []


async def test_nobody_says_who_asked(tmp_path: Path) -> None:
    """The requester is who the kernel says is at the other end, whatever the question claims."""
    async with gateway(tmp_path):
        claim = Event("export", {}, None, b'{"requester":["https://issuer.test","carol"],"reviewer":["x","y"]}')
        index = await asyncio.to_thread(act, tmp_path, claim)
        assert body(tmp_path, index) == {"type": "export", "data": {}, "requester": ["local", getpass.getuser()]}


@pytest.mark.parametrize("kind", ["intent", "node_stop", "review", "erasure", "legal_hold", "config_change", "X"])
async def test_only_records_of_commands_are_taken(tmp_path: Path, kind: str) -> None:
    """The socket is no way to put a review, a session's record or an erasure on the log."""
    async with gateway(tmp_path):
        with pytest.raises(AdminRefused, match="not a record that a command may ask for"):
            await asyncio.to_thread(act, tmp_path, Event(kind, {}))
    with pytest.raises(AuditError):
        act(tmp_path, Event(kind, {}))


@pytest.mark.parametrize("words", [
    b"", b"{}\n", b"[]\n", b"not json\n", b'{"op":"append"}\n', b'{"op":["append"]}\n', b"x" * 300_000 + b"\n",
    b'{"op":"append","type":"export","fields":{},"payload":"?"}\n',
    b'{"op":"append","type":"export","fields":{},"payload":"W10="}\n',
])
async def test_a_question_that_is_not_understood_records_nothing(tmp_path: Path, words: bytes) -> None:
    """Half a line, other JSON, too much of it: an answer that says so, and no entry."""

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(tmp_path / "admin.sock"))
            connection.sendall(words)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()

    async with gateway(tmp_path) as log:
        before = log.size
        assert b"error" in await asyncio.to_thread(ask)
        assert log.size == before


async def test_a_path_may_be_longer_than_an_address(tmp_path: Path) -> None:
    """An address of a Unix socket has 108 bytes; a state folder may lie deeper."""
    folder = tmp_path / ("d" * 120)
    async with gateway(folder):
        assert await asyncio.to_thread(act, folder) > 0


async def test_without_the_record_there_is_an_error(tmp_path: Path) -> None:
    """A poisoned log, a closed one, a folder that is in use or holds none: never a silent success."""
    async with gateway(tmp_path) as log:
        log._poison(AuditError("the disk is full"))
        with pytest.raises(AdminRefused, match="the disk is full"):
            await asyncio.to_thread(act, tmp_path)
    driven = Driven(tmp_path)
    with pytest.raises(AuditError, match="another gateway uses this audit log"):
        act(tmp_path)
    driven.log.close()
    (tmp_path / "empty").mkdir()
    with pytest.raises(AuditError, match="no audit log here"):
        act(tmp_path / "empty")


async def test_a_socket_that_a_crash_left_is_replaced(tmp_path: Path) -> None:
    """It belongs to whoever holds the folder's lock; anything else in its place stops the start."""
    (tmp_path / "admin.sock").touch()
    with pytest.raises(AdminRefused, match="no socket"):
        async with gateway(tmp_path):
            pass
    (tmp_path / "admin.sock").unlink()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "admin.sock"))
    assert act(tmp_path) > 0
    async with gateway(tmp_path):
        assert await asyncio.to_thread(act, tmp_path) > 0


def test_a_log_in_a_database_is_left_to_its_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that cannot open it must not begin another log in its place."""
    sample(tmp_path / "elsewhere")
    (tmp_path / "pointer").mkdir()
    monkeypatch.setattr("lockgate.audit.admin.open_source", lambda folder: open_source(tmp_path / "elsewhere"))
    with pytest.raises(AdminRefused, match="kept in a database"):
        act(tmp_path / "pointer")
    assert list((tmp_path / "pointer").iterdir()) == []
