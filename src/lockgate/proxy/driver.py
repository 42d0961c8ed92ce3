"""The steps interpreter: runs generators of `wire.steps` and does their I/O.

What every driven thing needs, with a client or without: lanes, the backend's end, credential, TLS
towards the backend, permits. `proxy.session` adds the client's end and governance, `proxy.probe`
the gateway's own connection.

Rules: a generator runs inline from the event that brought its bytes, and is parked without a task
when a step waits. `_run` is the one place that catches everything (the per-connection guard): it
logs the exception's type and place, never a value, settles what is open and closes.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import structlog

from lockgate.config.secrets import read_secret
from lockgate.errors import BackendError, ConfigError, LockgateError, ProtocolError
from lockgate.govern.pending import Pending
from lockgate.govern.permit import require_permit
from lockgate.model import Refusal, RefusalCode
from lockgate.net.address import split_address
from lockgate.net.dial import dial
from lockgate.net.tls import TlsError, TlsStream, client_context
from lockgate.net.tokens import no_token
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.lane import PARKED, Lane
from lockgate.proxy.stream import StreamEndpoint
from lockgate.wire.steps import (
    Aside,
    Close,
    Compose,
    Compute,
    Credential,
    Dial,
    Disown,
    HangUp,
    Reach,
    Reached,
    Receive,
    Side,
    StartTls,
    TlsInfo,
    ToServer,
)

if TYPE_CHECKING:
    from lockgate.config.settings import Connection
    from lockgate.govern.pipeline import Governor
    from lockgate.proxy.host import Host

log = structlog.get_logger("lockgate.proxy")
Handler = Callable[[Any, Lane, Any], Any]
_EMPTY_READS = 8


def place(fault: BaseException) -> str:
    """Where an exception came from, as ``file:line in function``. Never its message: it may hold data."""
    frames = traceback.extract_tb(fault.__traceback__)
    if not frames:
        return "unknown"
    last = next((frame for frame in reversed(frames) if "lockgate" in frame.filename), frames[-1])
    return f"{'/'.join(last.filename.split('/')[-3:])}:{last.lineno} in {last.name}"


def unreachable(connection: str, cause: str | None = None) -> Refusal:
    """What a client reads when the backend cannot be used; the reason is in the log."""
    return Refusal(
        RefusalCode.BACKEND_UNAVAILABLE, f"the backend of connection {connection} cannot be reached",
        hint="Nothing was executed. Try again later; if it stays so, tell those who run the gateway.", cause=cause,
    )


def backend_tls(connection: Connection, alpn: tuple[str, ...]) -> TlsStream | Refusal:
    """TLS towards a backend as its settings say, before the handshake; the reason why it cannot be is in the log."""
    tls = connection.tls
    refusal = distrusted(connection.name)
    if tls.mode == "disable":
        return refusal
    name = tls.server_name or split_address(connection.address)[0]
    try:
        return TlsStream(client_context(tls.mode, tls.ca, alpn, tls.own), server_side=False, server_name=name)
    except (ConfigError, ValueError) as error:
        log.error("backend TLS unusable", connection=connection.name, reason=str(error.args[0]))
        return replace(refusal, cause=f"its TLS settings cannot be used: {error.args[0]}")


def distrusted(connection: str, cause: str | None = None) -> Refusal:
    """What a client reads when TLS to the backend fails; the reason is in the log."""
    return Refusal(
        RefusalCode.BACKEND_UNAVAILABLE, f"the backend of connection {connection} is not trusted",
        hint="Tell those who run the gateway; its log says which check failed.", cause=cause,
    )


class Driver:
    """Runs generators against a backend. Not reusable after `close`."""

    __slots__ = (
        "_empty_reads", "_tasks", "connection", "governor", "host", "is_closed", "loop", "server", "server_lane",
    )
    handlers: ClassVar[Mapping[type, Handler]]

    def __init__(self, host: Host) -> None:
        self.host = host
        self.loop = host.loop
        self.server: Endpoint | StreamEndpoint = Endpoint(Side.SERVER, self, host.gone)
        self.server_lane = Lane(Side.SERVER)
        self.connection: Connection | None = None
        self.governor: Governor | None = None
        self.is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty_reads = 0

    # ------------------------------------------------------------ running

    def _run(self, lane: Lane, value: Any = None) -> None:
        """Go on with the lane's generator, and with what waits behind it, until it parks or is done."""
        if lane.is_running:
            raise RuntimeError("a lane runs one generator at a time")
        lane.is_running = True
        handlers = self.handlers
        try:
            while (generator := lane.generator) is not None:
                try:
                    send = generator.send
                    while True:
                        step = send(value)
                        value = handlers[type(step)](self, lane, step)
                        if value is PARKED or self.is_closed:
                            return
                except StopIteration as stop:
                    lane.generator = None
                    self._finished(lane, stop.value)
                    if self.is_closed:
                        return
                    self._next(lane)
                    value = None
        except Exception as fault:  # noqa: BLE001 - the per-connection guard; see the module's docstring
            self._failed(fault)
        finally:
            lane.is_running = False
            if self.is_closed:
                lane.drop()
            else:
                self._ran(lane)

    def _resume(self, lane: Lane, awaited: object, value: Any) -> None:
        """What a parked generator waited for is there."""
        if self.is_closed or lane.waits_for is not awaited or lane.generator is None:
            return
        lane.waits_for = None
        lane.at_deadline = None
        self._run(lane, value)

    def _park(self, lane: Lane, awaited: object, at_deadline: object = None) -> Any:
        lane.waits_for = awaited
        lane.at_deadline = at_deadline
        return PARKED

    def _wait(self, lane: Lane, pending: Pending[Any], at_deadline: object = None) -> Any:
        """The pending's value now, or parked until it comes."""
        if pending.is_done:
            values: list[Any] = []
            pending.then(values.append)
            return values[0]
        pending.then(partial(self._resume, lane, pending))
        return self._park(lane, pending, at_deadline)

    def _finished(self, lane: Lane, value: Any) -> None:
        """A generator came to its end with `value`."""
        raise NotImplementedError

    def _next(self, lane: Lane) -> bool:
        """Set the lane's next generator where something waits; True where there is one."""
        return False

    def _ran(self, lane: Lane) -> None:
        """A run is over: send what it queued."""
        self.server.flush()

    def _failed(self, fault: Exception) -> None:
        """A generator or a step raised: close, and say where, but not what."""
        self.server.close()             # nobody knows what state it is in
        kind = fault.code if isinstance(fault, LockgateError) else "internal"
        self.host.counters.errors[kind] += 1
        if isinstance(fault, ProtocolError):
            log.info("protocol error", error=kind, place=place(fault), **self._names())
        else:
            log.error("session failed", error=type(fault).__name__, place=place(fault), **self._names())
        self.close(f"error: {kind}")

    def _names(self) -> dict[str, object]:
        """What a log line says of this driver."""
        names: dict[str, object] = {}
        if self.governor is not None:
            names["session"] = self.governor.session
        if self.connection is not None:
            names["connection"] = self.connection.name
        return names

    def close(self, cause: str) -> None:
        """End it: nothing runs on. Idempotent."""
        raise NotImplementedError

    def _release(self) -> None:
        """Drop tasks and the backend's lane and end."""
        for task in tuple(self._tasks):
            task.cancel()
        self._leave_backend()
        self._withdraw(self.server_lane)

    def _leave_backend(self) -> None:
        """Nothing more is said to the backend."""
        self.server.close()

    def _withdraw(self, lane: Lane) -> None:
        """Forget what a lane does; who would have answered is told that nobody waits."""
        awaited = lane.waits_for
        if lane.is_running:
            lane.waits_for = None
            lane.inbox.clear()      # its generator ends with the run that closed the session
        else:
            lane.drop()
        if isinstance(awaited, Pending):
            awaited.withdraw()

    def _spawn(self, work: Callable[[], Any]) -> None:
        """A task of this driver; ends with it."""
        task = self.host.tasks.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ what endpoints tell

    def connected(self, side: Side) -> None:
        """An end has its transport."""
        raise NotImplementedError

    def received(self, side: Side, data: bytes) -> None:
        """Bytes of one side."""
        raise NotImplementedError

    def ended(self, side: Side) -> None:
        """One side sends no more."""
        raise NotImplementedError

    def _lane(self, side: Side) -> Lane:
        return self.server_lane

    def _own_end(self) -> Endpoint:
        """The backend's end, where it is no stream."""
        assert isinstance(self.server, Endpoint)
        return self.server

    def _end_of(self, side: Side) -> Endpoint | StreamEndpoint:
        return self.server

    def drained(self, side: Side) -> None:
        """Resume whoever waited for a slow end."""
        self._resume(self.server_lane, self._end_of(side), None)

    # ------------------------------------------------------------ steps: bytes

    def _to_server(self, lane: Lane, step: ToServer) -> Any:
        payload = require_permit(step.permit)
        self.host.counters.to_server += len(payload)
        server = self.server
        server.queue(payload)
        if server.is_slow:
            return self._park(lane, server)
        return None

    def _receive(self, lane: Lane, step: Receive) -> Any:
        source = self._lane(step.side)
        if source.inbox:
            return self._taken(source)
        end = self._end_of(step.side)
        if source.has_ended or (step.side is Side.SERVER and not end.is_connected):
            self._empty_reads += 1
            if self._empty_reads > _EMPTY_READS:
                raise BackendError("a login reads on after the end of the stream")
            return b""
        self._flush()
        return self._park(lane, step.side, b"" if step.side is Side.SERVER else None)

    def _taken(self, source: Lane) -> bytes:
        """What waits from one side; reading goes on when it had been paused."""
        data = source.take()
        self._end_of(source.side).release()
        return data

    def _flush(self) -> None:
        self.server.flush()

    def _compose(self, lane: Lane, step: Compose) -> Any:
        governor = self.governor
        return (governor or self.host.pipeline).compose(step.payload)

    def _compute(self, lane: Lane, step: Compute) -> Any:
        return self._beside(lane, step.call, lambda done: done.result)

    def _beside(self, lane: Lane, call: Callable[[], Any], read: Callable[[asyncio.Future[Any]], Any]) -> Any:
        """Park the lane until `call` has run in a thread; it goes on with what `read` makes of the future."""
        future = self.host.beside(call)
        future.add_done_callback(partial(self._called, lane, read))
        return self._park(lane, future)

    def _called(self, lane: Lane, read: Callable[[asyncio.Future[Any]], Any], future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            return                      # the gateway ends
        future.exception()              # seen; nobody may be left to read it
        if lane.waits_for is future:
            self._resume(lane, future, read(future))

    def _close(self, lane: Lane, step: Close) -> Any:
        self.close(step.cause)
        return PARKED

    # ------------------------------------------------------------ steps: the backend

    def _hang_up(self, lane: Lane, step: HangUp) -> Any:
        """The backend's end is closed, and a fresh one stands in its place."""
        left = self.server
        left.close()
        if left.is_slow:
            self.loop.call_soon(self._unpark, left)
        self._face(Endpoint(Side.SERVER, self, self.host.gone))

    def _unpark(self, end: Endpoint | StreamEndpoint) -> None:
        """Who waits for this end to take more need not wait any more."""
        self._resume(self.server_lane, end, None)

    def _face(self, end: Endpoint | StreamEndpoint) -> None:
        """Have this end at the backend from here on."""
        self.server = end
        server_lane = self.server_lane
        server_lane.inbox.clear()
        server_lane.inbox_size = 0
        server_lane.has_ended = server_lane.is_end_told = False

    def _reach(self, lane: Lane, step: Reach) -> Any:
        connection = self._connection()
        if not self.server.is_fresh:
            self._hang_up(lane, HangUp())
        found = self.host.pool.reach(connection, step, self._caller())
        if not isinstance(found, Pending):
            return self._reached(found)
        answer: Pending[Reached | Refusal] = Pending(found.withdraw)
        found.then(lambda end: answer.resolve(end if isinstance(end, Refusal) else self._reached(end)))
        return self._wait(lane, answer, unreachable(connection.name))

    def _reached(self, end: Endpoint | StreamEndpoint) -> Reached:
        end.hand_over(self)
        self._face(end)
        reached = Reached(end.protocol, end.is_used, is_single=isinstance(end, StreamEndpoint))
        if isinstance(end, StreamEndpoint):
            end.reached = reached
        return reached

    def _caller(self) -> Hashable:
        """Who ends are kept for that nobody else may use."""
        return None

    def _dial(self, lane: Lane, step: Dial) -> Any:
        connection = self._connection()
        if not self.server.is_fresh:
            self._hang_up(lane, HangUp())
        token = object()
        self._spawn(partial(self._dialling, lane, token, connection, step))
        return self._park(lane, token, unreachable(connection.name))

    async def _dialling(self, lane: Lane, token: object, connection: Connection, step: Dial) -> None:
        self._resume(lane, token, await self._connect(connection, step))

    async def _connect(self, connection: Connection, step: Dial) -> Refusal | None:
        """The backend's end gets its transport. None, or why it does not."""
        host, port = split_address(connection.address)
        end = self._own_end()
        try:
            await dial(host, port, lambda: end, self.host.dial_timeout)
        except BackendError as error:
            log.warning("backend unreachable", reason=error.args[0], connection=connection.name)
            self.host.counters.errors["backend.unreachable"] += 1
            return unreachable(connection.name, f"{connection.address} cannot be reached: {error.args[0]}")
        return None

    def _credential(self, lane: Lane, step: Credential) -> Any:
        connection = self._connection()
        if step.token is not None:
            answer = self.host.tokens.get(connection, step.token)
            return self._wait(lane, answer, no_token(connection.name, "")) if isinstance(answer, Pending) else answer
        try:
            return self.host.read_credential(connection) if step.reference is None else read_secret(step.reference)
        except ConfigError as error:
            log.error("credential unreadable", connection=connection.name, reason=error.args[0])
            return Refusal(
                RefusalCode.BACKEND_UNAVAILABLE,
                f"the gateway has no usable credential for connection {connection.name}",
                hint="Tell those who run the gateway; its log says what is missing.", cause=error.args[0],
            )

    def _disown(self, lane: Lane, step: Disown) -> Any:
        self.host.tokens.disown(self._connection(), step.token)

    def _connection(self) -> Connection:
        if self.connection is None:
            raise BackendError("no connection has been admitted")
        return self.connection

    def _start_server_tls(self, lane: Lane, step: StartTls) -> Any:
        connection = self._connection()
        stream = backend_tls(connection, step.alpn)
        if isinstance(stream, Refusal):
            return stream
        return self._handshake(lane, self._own_end(), stream, step.initial, distrusted(connection.name))

    def _handshake(
        self, lane: Lane, end: Endpoint, stream: TlsStream, initial: bytes, refusal: Refusal
    ) -> Any:
        """Start a handshake; bytes that arrived already and were not consumed belong to it."""
        waiting: Pending[TlsInfo | Refusal] = Pending()
        self._handshakes()[end.side] = (waiting, refusal)
        end.secure(stream, initial + self._lane(end.side).take())
        return self._wait(lane, waiting, refusal if end.side is Side.SERVER else None)

    def _handshakes(self) -> dict[Side, tuple[Pending[TlsInfo | Refusal], Refusal]]:
        raise NotImplementedError

    def _tls_info(self, side: Side, stream: TlsStream, refusal: Refusal) -> TlsInfo | Refusal:
        """What a handshake established, or the refusal of what it brought."""
        return TlsInfo(stream.server_name, stream.alpn, stream.peer_end_point())

    def secured(self, side: Side, error: TlsError | None) -> None:
        """A handshake is over."""
        found = self._handshakes().pop(side, None)
        stream = self._end_of(side).tls
        if found is None or stream is None:
            return
        waiting, refusal = found
        if error is not None:
            log.info("TLS handshake failed", side=side.value, reason=error.args[0], **self._names())
            self.host.counters.errors[f"tls.{side.value}"] += 1
            waiting.resolve(replace(refusal, cause=f"TLS: {error.args[0]}"))
            return
        waiting.resolve(self._tls_info(side, stream, refusal))

    # ------------------------------------------------------------ steps: aside

    def _aside(self, lane: Lane, step: Aside) -> Any:
        payload = require_permit(step.permit)
        taken: Pending[None] = Pending()
        self.host.spawn_aside(self._connection(), payload, taken, is_secured=step.is_secured)
        return self._wait(lane, taken) if step.waits else None


BASE_HANDLERS: Mapping[type, Handler] = {
    ToServer: Driver._to_server,
    Receive: Driver._receive,
    Compute: Driver._compute,
    Compose: Driver._compose,
    Close: Driver._close,
    Dial: Driver._dial,
    Reach: Driver._reach,
    HangUp: Driver._hang_up,
    Credential: Driver._credential,
    Disown: Driver._disown,
    Aside: Driver._aside,
}
