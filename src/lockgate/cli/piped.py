"""`lockgate NAME run`: what a client starts in its server's place. It governs nothing itself.

It connects to the gateway that runs on the configuration's state folder, and where none does it starts one that ends when
nobody uses it any more. From there on it copies bytes: the gateway starts the server, judges and masks. So there is one log,
one desk of reviews and one set of pins, however many clients start the same server.

Its standard output carries the protocol and nothing else. Imports little: a client waits for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from lockgate.config.load import state_of
from lockgate.errors import ConfigError, LockgateError
from lockgate.model import Secret
from lockgate.net.piping import ERROR, EXIT, OUT, READY, FrameReader, Hello, connect
from lockgate.net.program import minimal

LOG: Final = "serve.log"
"""The log of a gateway that was started here, in the state folder."""
_LOG_SIZE: Final = 4_194_304
_START: Final = 60.0
"""Seconds that a gateway has to come up."""
_OTHER: Final = 3.0
_UNUSED: Final = "30s"
"""After how long without a session such a gateway ends."""
_LOOK: Final = 0.05
_GOODBYE: Final = 15.0
"""Seconds that the gateway has for its last words once the client has left."""
_TRIES: Final = 3
_FIRST: Final = 10.0
"""Seconds that a client has for its first request, where all there is for it is an error."""
_UNAVAILABLE: Final = -32_002
_READ: Final = 65_536
_SIGNALLED: Final = 128


class NotGoverned(LockgateError):
    """No gateway takes the session."""

    code = "piped"


def group(protocol: str) -> typer.Typer:
    """The verbs of a protocol whose backends can be programs."""
    app = typer.Typer(name=protocol, no_args_is_help=True)

    @app.callback()
    def verbs() -> None:
        """Run a server that speaks on its standard streams behind the gateway."""

    @app.command("run")
    def run(
        program: Annotated[list[str] | None, typer.Argument(
            help="The server and its arguments, behind `--`; only where the configuration does not name it.")] = None,
        config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")] = Path("lockgate.yaml"),
        connection: Annotated[str | None, typer.Option(
            "--connection", help="The connection's name; not needed where there is only one without an address.")] = None,
        env: Annotated[list[str] | None, typer.Option(
            "--env", "-e", help="A variable of this environment that PROGRAM gets too, besides PATH, HOME and the like.")] = None,
    ) -> None:
        """Stand in a server's place: a client starts this instead of it. LOCKGATE_TOKEN says who the client is."""
        try:
            status = run_session(protocol, config, connection, program or [], env or [])
        except LockgateError as error:
            tell_client(error)
            raise
        raise typer.Exit(status)

    return app


def run_session(protocol: str, config: Path, connection: str | None, program: list[str], passed: list[str]) -> int:
    """One session from its start to its end; the exit status."""
    token = os.environ.get("LOCKGATE_TOKEN", "").strip()
    environment = {name: Secret(value) for name, value in minimal(os.environ).items()}
    for name in passed:
        if name not in os.environ:
            raise ConfigError(f"--env {name}: there is no such variable here")
        if name.startswith("LOCKGATE_"):
            raise ConfigError(f"--env {name}: what the gateway reads is not for the server")
        environment[name] = Secret(os.environ[name])
    state = state_of(config)
    hello = Hello(protocol, Secret(token), connection, tuple(program) or None, environment if program else {},
                  str(Path.cwd()) if program else None)
    for _ in range(_TRIES):
        with gateway_of(config, state) as reached:
            status = Bridge(reached).run(hello)
        if status is not None:
            return status
    raise NotGoverned("the gateway takes no session", advice=f"Look into its log, or {state / LOG}.")


def tell_client(error: LockgateError) -> None:
    """Answer a client's first request with what is wrong: all that it would see else is a stream that ends. What is spoken
    over standard streams is JSON-RPC 2.0, one message a line."""
    data = b""
    deadline = time.monotonic() + _FIRST
    with suppress(OSError, ValueError, AttributeError):
        while b"\n" not in data and len(data) < _READ and select.select([0], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(0, _READ)
            if not piece:
                break
            data += piece
        number = json.loads(data.partition(b"\n")[0]).get("id")
        if isinstance(number, str | int):
            words = " ".join((f"lockgate: {error}", error.advice())).strip()
            os.write(1, json.dumps({"jsonrpc": "2.0", "id": number, "error": {"code": _UNAVAILABLE, "message": words}}).encode() + b"\n")


# ---------------------------------------------------------------- the gateway


@contextmanager
def gateway_of(config: Path, state: Path) -> Iterator[socket.socket]:
    """A connection to the gateway of a state folder; it is started where it does not run."""
    try:
        reached = connect(state) if state.is_dir() else None
        if reached is None:
            reached = _started(config, state)
    except OSError as error:
        raise NotGoverned(f"{state}: {error.strerror}", advice="Run as the account that the gateway runs as.") from None
    with reached:
        yield reached


def _started(config: Path, state: Path) -> socket.socket:
    """Start a gateway, unless somebody else just does, and wait until it answers."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "serve.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = connect(state)
        return found if found is not None else _spawned(config, state)


def _spawned(config: Path, state: Path) -> socket.socket:
    log = state / LOG
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_SIZE:
            log.unlink()
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "ab") as output:
        begun = output.seek(0, os.SEEK_END)
        environment = {name: value for name, value in os.environ.items() if name != "LOCKGATE_TOKEN"}
        process = subprocess.Popen(
            [sys.executable, "-m", "lockgate", "serve", "--while-used", _UNUSED, "-c", str(config.absolute())],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True)
    deadline, has_failed = time.monotonic() + _START, False
    while time.monotonic() < deadline:
        found = connect(state)
        if found is not None:
            return found
        if process.poll() is not None and not has_failed:
            has_failed = True       # perhaps because another one has just been started: that one may answer soon
            deadline = min(deadline, time.monotonic() + _OTHER)
        select.select([], [], [], _LOOK)
    why = f"start: {_last_words(log, begun)}" if has_failed else "come up"
    raise NotGoverned(f"the gateway does not {why}", advice=f"Its log is {log}.")


def _last_words(log: Path, begun: int) -> str:
    """What a gateway that did not start has said about it."""
    with log.open("rb") as file:
        file.seek(begun)
        lines = file.read(_READ).decode("utf-8", "replace").splitlines()
    told = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return "\n".join(lines[told[-1]:]).removeprefix("error: ") if told else "it says not why"


# ---------------------------------------------------------------- the session


@dataclass
class Bridge:
    """Copies between this process's standard streams and the gateway."""

    gateway: socket.socket
    signalled: int = 0

    def run(self, hello: Hello) -> int | None:
        """Until the session is over: the exit status. None where the gateway ended before it took the session."""
        is_taken = False
        try:
            self.gateway.sendall(hello.encode())
            for kind, data in self._frames():
                if kind == READY:
                    is_taken = True
                    self._begin()
                elif kind == OUT:
                    self._write(1, data)
                elif kind == ERROR:
                    self._write(2, data)
                elif kind == EXIT:
                    return self._ended(data)
        except OSError:
            pass            # the gateway is gone
        if not is_taken:
            return None
        self._write(2, b"lockgate: the gateway has ended\n")
        return 1

    def _frames(self) -> Iterator[tuple[bytes, bytes]]:
        reader = FrameReader()
        while data := self.gateway.recv(_READ):
            yield from reader.feed(data)

    def _begin(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._leave)
        threading.Thread(target=self._copy, daemon=True).start()

    def _copy(self) -> None:
        """Standard input to the gateway, until it ends."""
        with suppress(OSError):
            while data := os.read(0, _READ):
                self.gateway.sendall(data)
        self._left()

    def _left(self) -> None:
        """The client has closed its end. The gateway has some time to end the session."""
        with suppress(OSError):
            self.gateway.shutdown(socket.SHUT_WR)
            self.gateway.settimeout(_GOODBYE)

    def _leave(self, number: int, _frame: object) -> None:
        self.signalled = number
        self._left()

    def _write(self, stream: int, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(stream, data):]
        except OSError:
            if stream == 1:     # nobody reads: the client is gone
                self._left()

    def _ended(self, data: bytes) -> int:
        said = json.loads(data)
        if said["words"]:
            self._write(2, f"lockgate: {said['words']}\n".encode())
        return _SIGNALLED + self.signalled if self.signalled else int(said["status"])
