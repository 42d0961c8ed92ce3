"""Programs: started without a shell, with what they are given, and ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import cast

import pytest

from lockgate.errors import BackendError
from lockgate.net.program import RunningProgram, minimal, start


class End(asyncio.Protocol):
    """The gateway's end."""

    def __init__(self) -> None:
        self.got = b""
        self.ended = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> bool:
        self.ended.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def started(*command: str, directory: Path | None = None, **environment: str) -> tuple[RunningProgram, End]:
    end = End()
    running = await start(command, {"PATH": os.environ["PATH"], **environment}, directory, lambda: end)
    return running, end


async def finish(running: RunningProgram, end: End) -> None:
    assert end.transport is not None
    end.transport.close()
    await running.end()


async def test_a_program_speaks_on_its_standard_streams(tmp_path: Path) -> None:
    """It gets the environment and the folder that it is given, and nothing else; its words need no shell's quotes."""
    shows = ("import json, os, sys; "
             "sys.stdout.write(sys.stdin.readline() + json.dumps([sorted(os.environ), os.getcwd(), sys.argv[1:]]))")
    running, end = await started(sys.executable, "-c", shows, "$(id); *", directory=tmp_path, ONE="1")
    assert end.transport is not None
    end.transport.write(b"hello\n")
    await end.ended.wait()
    told, _, seen = end.got.decode().partition("\n")
    assert told == "hello"
    names, folder, words = json.loads(seen)
    assert set(names) <= {"ONE", "PATH", "LC_CTYPE"}
    assert (folder, words) == (str(tmp_path), ["$(id); *"])
    await running.wait_gone()
    await finish(running, end)
    assert running.status == 0


async def test_standard_error_is_handed_on_until_it_ends() -> None:
    """Apart from standard output, down to the last words."""
    running, end = await started(sys.executable, "-c", "import sys; sys.stderr.write('last words'); sys.exit(3)")
    said: list[bytes] = []
    await running.listen(said.append)
    await running.wait_gone()
    assert (b"".join(said), running.status) == (b"last words", 3)
    await finish(running, end)


async def test_a_signal_is_told_as_a_shell_tells_it() -> None:
    """128 and its number; the program is the leader of a group of its own."""
    running, end = await started("sleep", "600")
    assert os.getpgid(running.pid) == running.pid
    assert running.status is None
    os.kill(running.pid, signal.SIGKILL)
    await finish(running, end)
    assert running.status == 137


@pytest.mark.parametrize(("command", "directory", "reason"), [
    (("no-such-program",), None, "there is no such program"), (("./no-such",), None, "there is no such program"),
    (("/etc/passwd",), None, "there is no such program"), (("sleep", "1"), Path("/not/there"), "the folder where"),
])
async def test_what_cannot_be_started_is_told(command: tuple[str, ...], directory: Path | None, reason: str) -> None:
    """Without the path, which is not the client's to know; nothing stays open."""
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(BackendError, match=reason):
        await started(*command, directory=directory)
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1


async def test_a_program_of_a_folder_is_found_from_where_it_starts(tmp_path: Path) -> None:
    """A path with a slash is taken from there, a name from the program's own PATH."""
    script = tmp_path / "server.sh"
    script.write_text("#!/bin/sh\necho here\n")
    script.chmod(0o700)
    running, end = await started("./server.sh", directory=tmp_path)
    await end.ended.wait()
    assert end.got == b"here\n"
    await finish(running, end)
    end = End()
    running = await start(["server.sh"], {"PATH": f"{tmp_path}:/bin"}, None, lambda: end)
    await end.ended.wait()
    assert end.got == b"here\n"
    await finish(running, end)


def test_a_minimum_of_an_environment_is_passed_on() -> None:
    """By a list of what is, not of what is not."""
    assert minimal({"PATH": "/bin", "LC_ALL": "C", "HOME": "/h", "LOCKGATE_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "s", "LD_PRELOAD": "x",
                    "PYTHONPATH": "y"}) == {"PATH": "/bin", "LC_ALL": "C", "HOME": "/h"}
