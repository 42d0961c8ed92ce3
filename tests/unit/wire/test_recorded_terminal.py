"""A terminal's session in a playbook, recorded by what records every protocol, and played again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pyrage

from lockgate.audit.recording.events import Event
from lockgate.audit.recording.playback import Playback, streams_of
from lockgate.audit.recording.sealing import Opener
from lockgate.audit.recording.studio import Studio, Terms
from lockgate.cli.exported import asciicast
from lockgate.cli.played import Script
from lockgate.model import Refusal, Rule, Secret
from lockgate.proxy.recording import Recording
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from lockgate.wire.steps import Compose, Passed, Record, Steps, ToClient, ToServer, Window
from tests.unit.govern.fakes import world

IDENTITY = pyrage.x25519.Identity.generate()


class Shell:
    """Keys go to the machine, what it prints comes back; ``\\x01<columns>x<rows>`` is a window that changed."""

    is_idle = True
    is_stalled = False

    def client_data(self, data: bytes) -> Steps[None]:
        if data[:1] == b"\x01":
            columns, rows = map(int, data[1:].split(b"x"))
            yield Window(columns, rows)
            return
        yield Passed(CLIENT, data)
        permit = yield Record((), data)
        assert not isinstance(permit, Refusal)
        yield ToServer(permit)

    def server_data(self, data: bytes) -> Steps[None]:
        yield Passed(SERVER, data)
        yield ToClient((yield Compose(data.hex().encode())))     # a wire that is not what is shown

    def client_closed(self) -> Steps[None]:
        yield from ()

    def server_closed(self) -> Steps[None]:
        yield from ()

    def end(self, refusal: Refusal) -> Steps[None]:
        yield from ()

    def interrupt(self) -> Steps[None]:
        yield from ()


async def test_a_terminal_s_session_becomes_an_asciicast(tmp_path: Path) -> None:
    """Keys, output and window sizes, byte for byte and in order; characters that were torn apart are whole again."""
    loop, made = asyncio.get_running_loop(), world(Rule("allow", allow=True))

    def dispatch(call: Any) -> None:
        loop.call_soon_threadsafe(call)

    studio = Studio(tmp_path, made.recorder, dispatch, Terms((str(IDENTITY.to_public()),)))
    recording = Recording(studio, made.clock, "terminal", "shell", "5e55", lambda: (Secret("backend-canary"),), is_raw=False,
                          on_end=lambda _: None)
    book = Playbook(Shell(), made.session(), recording=recording)
    book >> Bytes(CLIENT, b"\x01100x40") >> Bytes(CLIENT, b"ls\r") << Bytes(SERVER, b"ls\r")
    made.clock.time += 1.5
    euro = "\u20ac".encode()
    book >> Bytes(SERVER, b"\x1b[1mfiles " + euro[:1]) >> Bytes(SERVER, euro[1:] + b"\r\nbackend-canary\r\n")
    book >> Bytes(CLIENT, b"\x0180x24")
    over = asyncio.Event()
    recording.finish(over.set)
    async with asyncio.timeout(10):
        await over.wait()
    studio.close()
    playback = Playback(streams_of(tmp_path, "5e55")["client"], Opener([IDENTITY]))
    assert playback.header.kind == "terminal"
    first, *events = playback.events()
    assert first == Event(0.0, "w", b"", {"columns": 100, "rows": 40})
    assert events[0].kind == "i"
    header, *lines = [json.loads(line) for line in asciicast(Script(playback, None))]
    assert (header["version"], header["width"], header["height"], header["timestamp"]) == (2, 100, 40, 1_800_000_000)
    assert lines == [
        [0.0, "r", "100x40"], [0.0, "i", "ls\r"], [1.5, "o", "\x1b[1mfiles "],
        [1.5, "o", "\u20ac\r\n**************\r\n"], [1.5, "r", "80x24"],
    ]
