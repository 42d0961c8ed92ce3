"""A backend that is a program: started without a shell in a process group of its own, spoken to over one socket that is
its standard input and output, and ended step by step.

The program gets a minimum of an environment and what its terms say, nothing of the gateway's own: that holds tokens and
credentials. Its standard error is handed on as it comes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from lockgate.errors import BackendError

PASSED: Final = frozenset((
    "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
    "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
))
"""What a program gets of whoever starts it; `LC_*` too."""
_PATIENCE: Final = 2.0
"""Seconds between two steps of its end."""
_LOOK: Final = 0.02
"""Seconds between two looks whether all of its group are gone, of which nobody tells."""
_READ: Final = 8_192
_SIGNALLED: Final = 128     # what a shell adds to a signal's number


def minimal(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment is passed on unasked."""
    return {name: value for name, value in environment.items() if name in PASSED or name.startswith("LC_")}


class RunningProgram:
    """A program that was started. `status` is its exit status as a shell tells it, None while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._is_silent = asyncio.Event()

    @property
    def pid(self) -> int:
        """Its number, and its group's."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How it ended."""
        code = self._process.returncode
        return None if code is None else code if code >= 0 else _SIGNALLED - code

    async def listen(self, told: Callable[[bytes], None]) -> None:
        """Hand on its standard error until that ends."""
        assert self._process.stderr is not None
        try:
            while data := await self._process.stderr.read(_READ):
                told(data)
        finally:
            self._is_silent.set()

    async def wait_gone(self) -> None:
        """Until it has ended and said its last words, or its time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE / 2):
                await self._process.wait()
                await self._is_silent.wait()

    async def end(self) -> None:
        """Its standard input is closed: give it time, then ask it to end, then end it (MCP 2025-11-25, "Lifecycle",
        shutdown over stdio). What it has started in its group ends with it, also where it has ended itself before."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    while self._signalled(0):       # noqa: ASYNC110 - of a group nobody tells
                        await asyncio.sleep(_LOOK)
            if not self._signalled(number):
                break
        await self._process.wait()          # asyncio tells `status` a moment after nobody is there any more

    def _signalled(self, number: int) -> bool:
        """Whether there was somebody in its group who got this signal (0: none is sent)."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True


async def start(
    command: Sequence[str], environment: Mapping[str, str], directory: Path | None, factory: Callable[[], asyncio.BaseProtocol],
) -> RunningProgram:
    """Start a program and connect what `factory` makes with its standard streams. `BackendError` with the reason."""
    path = _found(command[0], environment.get("PATH", os.defpath), directory)
    ours, theirs = socket.socketpair()
    process: asyncio.subprocess.Process | None = None
    running: RunningProgram | None = None
    try:
        process = await asyncio.create_subprocess_exec(
            path, *command[1:], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=asyncio.subprocess.PIPE,
            env=dict(environment), cwd=directory, start_new_session=True)
        ours.setblocking(False)
        await asyncio.get_running_loop().create_connection(factory, sock=ours)
        running = RunningProgram(process)
    except OSError as error:
        raise BackendError(f"its program cannot be started: {os.strerror(error.errno or 0).lower()}") from None
    finally:
        theirs.close()
        if running is None:         # also where whoever waited gave up
            ours.close()
            if process is not None:
                process.kill()
    return running


def _found(name: str, path: str, directory: Path | None) -> str:
    """The program's file: of a path from the folder where it starts, of a name as its own `PATH` says."""
    if directory is not None and not directory.is_dir():
        raise BackendError("the folder where its program starts is not there")
    found = str((directory or Path.cwd()) / name) if "/" in name else shutil.which(name, path=path)
    if found is None or not os.access(found, os.X_OK):
        raise BackendError("there is no such program")
    return found
