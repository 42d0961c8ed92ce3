"""A session whose client is a program's standard streams, and whose backend is a program that is started for it.

Stands apart from `session`, which it is but for its two ends: the client's comes over the local socket of `net.piping`, in
frames, behind a line that says who asks for what; the backend's is made by starting it. One ends with the other: a client
that leaves ends its program step by step, a program that ends is told to everybody who waits.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from lockgate.config.secrets import read_secret
from lockgate.config.strict import SecretReference
from lockgate.errors import BackendError, ConfigError
from lockgate.govern.permit import require_clearance
from lockgate.model import Refusal, Secret
from lockgate.net import program as programs
from lockgate.net.piping import ERROR, EXIT, LONGEST, OUT, READY, Hello, framed, peer_of
from lockgate.proxy.driver import Handler, log, unreachable
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.lane import Lane
from lockgate.proxy.listener import Doorway
from lockgate.proxy.session import Session
from lockgate.wire.spec import LoginContext, Mediator, Multiplexer, Piped, PipedMediator
from lockgate.wire.steps import Dial, Program, Side, Steps, Tell

if TYPE_CHECKING:
    import socket

    from lockgate.config.settings import Connection
    from lockgate.proxy.host import Host
    from lockgate.wire.spec import RecordingSpec
    from lockgate.wire.tap import TapMaker

_ASIDE: Final = 65_536
"""Bytes of a program's standard error that wait to be looked into; more is dropped."""
_QUIET: Final = ("client left", "ended: ", "refused: ")
"""Causes of an end that people have been told of, or that need no words."""
_FAILED: Final = 1


class PipedEndpoint(Endpoint):
    """The client's end: what is written goes into frames."""

    __slots__ = ()

    def _write(self, data: bytes) -> None:
        if data:
            super()._write(framed(OUT, data))

    def tell(self, kind: bytes, data: bytes) -> None:
        """Send another frame, behind what was queued."""
        self.flush()
        super()._write(framed(kind, data))

    @property
    def peer(self) -> tuple[int, int]:
        """The process and the account at the other end."""
        assert self._transport is not None
        return peer_of(cast("socket.socket", self._transport.get_extra_info("socket")))


class PipedSession(Session):
    """One client's program."""

    __slots__ = ("_error_lane", "_greeting", "_is_reaping", "_piped", "_program")
    handlers: ClassVar[Mapping[type, Handler]]
    client: PipedEndpoint

    def __init__(self, host: Host, doorway: Doorway) -> None:
        super().__init__(host, doorway)
        self.client = PipedEndpoint(Side.CLIENT, self, host.gone)
        self._greeting = b""
        self._piped: Piped | None = None
        self._program: programs.RunningProgram | None = None
        self._is_reaping = False
        self._error_lane = Lane(Side.SERVER)

    # ------------------------------------------------------------ who asks for what

    def _greet(self) -> None:
        """Nothing is known before the first line has come."""
        pid, uid = self.client.peer
        self.peer = f"process {pid}"
        if uid not in (os.geteuid(), 0):
            self.close("another account's client")

    def received(self, side: Side, data: bytes) -> None:
        """Bytes of one side; the first line of the client's is no part of the protocol."""
        if self._piped is not None or side is Side.SERVER or self.is_closed:
            super().received(side, data)
            return
        self._greeting += data
        line, newline, rest = self._greeting.partition(b"\n")
        if newline:
            self._greeting = b""
            self._greeted(line, rest)
        elif len(self._greeting) > LONGEST:
            self.close("no greeting")

    def _greeted(self, line: bytes, rest: bytes) -> None:
        try:
            hello = Hello.decode(line)
        except ValueError:
            self.close("no greeting")
            return
        name = self._named(hello)
        if name is None:
            self.close(self._nowhere_of(hello))
            return
        self.doorway = replace(self.doorway, spec=self.host.keepers[name].spec, connection=name)
        program = None if hello.command is None else Program(
            hello.command, hello.environment, None if hello.directory is None else Path(hello.directory))
        self._piped = Piped(hello.token, program, {} if program is None else {"program": _shown(program)})
        self.client.tell(READY, b"")
        if rest:
            self.client_lane.put(rest)
        super()._greet()

    def _programs_of(self, protocol: str) -> list[str]:
        """The connections of a protocol that are programs."""
        return [name for name, keeper in self.host.keepers.items()
                if not keeper.connection.address and keeper.spec.name == protocol]

    def _named(self, hello: Hello) -> str | None:
        """The connection that is asked for: the one of that name, or the only one."""
        names = self._programs_of(hello.protocol)
        if hello.connection is None:
            return names[0] if len(names) == 1 else None
        return hello.connection if hello.connection in names else None

    def _nowhere_of(self, hello: Hello) -> str:
        names = ", ".join(self._programs_of(hello.protocol))
        if not names:
            return f"no {hello.protocol[:20]} connection of the configuration is a program, without `address`"
        if hello.connection is not None:
            return f"no such connection is a program; those are: {names}"
        return f"say which connection with --connection: {names}"

    def _context(self) -> LoginContext:
        return replace(super()._context(), piped=self._piped, connections=self.host.connections_of(self.doorway.spec, piped=True))

    def _login(self, context: LoginContext) -> Steps[Mediator | Multiplexer | None]:
        assert self.doorway.spec.piped is not None
        return self.doorway.spec.piped(context)

    def _ended_in_login(self, side: Side) -> None:
        """A client that has said all that it had to say still reads why it is refused."""
        if self._piped is None or self.client_lane.waits_for is side:
            super()._ended_in_login(side)

    def _logged_in(self, mediator: Any) -> None:
        super()._logged_in(mediator)
        self._wake(self._error_lane)

    def _record_session(self, client: bytes, server: bytes) -> bool:
        """Where the protocol has no tap for standard streams, what is due is refused."""
        spec = self.doorway.spec.recording
        if self.governor is None or not self.is_recording_due()[0] or (spec is not None and spec.piped is not None):
            return super()._record_session(client, server)
        log.error("session cannot be recorded", **self._names())
        self.close("sessions with a program cannot be recorded")
        return False

    def _tap(self, spec: RecordingSpec) -> TapMaker | None:
        return spec.piped

    # ------------------------------------------------------------ the program

    async def _connect(self, connection: Connection, step: Dial) -> Refusal | None:
        """Start it, with the secrets that its terms name."""
        terms = step.program
        if terms is None:
            return unreachable(connection.name, "nothing says which program it is")
        try:
            environment = programs.minimal(os.environ)
            environment.update((name, _read(value)) for name, value in terms.environment.items())
            running = await programs.start(terms.command, environment, terms.directory, self._own_end)
        except (BackendError, ConfigError) as error:
            log.warning("program cannot be started", reason=str(error.args[0]), connection=connection.name)
            self.host.counters.errors["backend.unreachable"] += 1
            return replace(unreachable(connection.name), reason=f"the server of connection {connection.name} cannot be "
                           f"started: {error.args[0]}", cause=str(error.args[0]))
        if self.is_closed:
            self.host.tasks.create_task(running.end())
            return None
        self._program = running
        log.info("program started", pid=running.pid, **self._names())
        self._spawn(partial(running.listen, self._said))
        return None

    def _said(self, data: bytes) -> None:
        """The program wrote on its standard error."""
        lane = self._error_lane
        if lane.inbox_size < _ASIDE:
            lane.put(data)
        self._wake(lane)

    def _next(self, lane: Lane) -> bool:
        if lane is not self._error_lane:
            return super()._next(lane)
        if lane.inbox and self.mediator is not None:
            lane.generator = cast(PipedMediator, self.mediator).server_aside(lane.take())
        return lane.generator is not None

    def _tell(self, lane: Lane, step: Tell) -> Any:
        payload = require_clearance(step.cleared)
        self.client.tell(ERROR, payload)
        return self._park(lane, self.client) if self.client.is_slow else None

    def _lanes(self) -> list[Lane]:
        return [*super()._lanes(), self._error_lane]

    # ------------------------------------------------------------ ends

    def ended(self, side: Side) -> None:
        """One side sends no more. Of a program that has ended its status and its last words come first."""
        if side is Side.CLIENT or self._program is None or self.is_closed:
            super().ended(side)
        elif not self._is_reaping:
            self._is_reaping = True
            self._spawn(self._reap)

    async def _reap(self) -> None:
        assert self._program is not None
        await self._program.wait_gone()
        super().ended(Side.SERVER)

    def close(self, cause: str) -> None:
        """End it now; whoever started this end is told how."""
        if not self.is_closed and self.client.is_connected:
            self.client.tell(EXIT, json.dumps(self._how(cause)).encode())
        super().close(cause)

    def _how(self, cause: str) -> dict[str, object]:
        """The exit status of the client's program, and words for people."""
        status = None if self._program is None else self._program.status
        if cause == "client left":
            return {"status": 0, "words": ""}
        if self._is_reaping and status is not None:
            return {"status": status, "words": f"the server has ended with status {status}"}
        return {"status": _FAILED, "words": "" if cause.startswith(_QUIET) else cause}

    def _release(self) -> None:
        self.server.close(linger=True)
        super()._release()
        self._withdraw(self._error_lane)
        if self._program is not None:
            self.host.tasks.create_task(self._program.end())


def _read(value: str | SecretReference | Secret) -> str:
    """A variable's text, now."""
    if isinstance(value, str):
        return value
    return (value if isinstance(value, Secret) else read_secret(value)).reveal()


def _shown(program: Program) -> str:
    """What is put on record of a program that a client names. Not its arguments: some people write secrets there."""
    exact = json.dumps(program.command).encode()
    return f"{Path(program.command[0]).name[:100]}, {len(program.command) - 1} arguments, SHA-256 {hashlib.sha256(exact).hexdigest()}"


PipedSession.handlers = {**Session.handlers, Tell: PipedSession._tell}
