"""The life of one client's connection: log-in, requests, and every way in which it ends.

    log-in   one generator reads from both sides, until it returns a mediator or a deadline passes
    open     client bytes run in the client's lane, backend bytes in the backend's
    end      the client or the backend leaves, the token expires, the gateway drains, or an error

Rules: bytes that arrive while a lane is parked wait in its inbox, and above `limits.buffer` reading
stops; a client that leaves withdraws what a person was asked; an end by expiry or drain waits until
the mediator owes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from lockgate.errors import RemoteProtocolError
from lockgate.govern.pending import Pending
from lockgate.govern.pipeline import Governor, Held
from lockgate.model import Refusal, RefusalCode
from lockgate.net.address import is_loopback
from lockgate.proxy.driver import Handler, log
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.governed import GOVERNED_HANDLERS, Governed
from lockgate.proxy.lane import Lane
from lockgate.proxy.stream import StreamEndpoint
from lockgate.proxy.trunk import Trunk
from lockgate.wire.spec import LoginContext, Mediator, Multiplexer, Route
from lockgate.wire.steps import Abandon, Admission, Alarm, EndSession, Fork, HangUp, Side, Steps

if TYPE_CHECKING:
    from lockgate.proxy.host import Host
    from lockgate.proxy.listener import Doorway

_EXPIRED = Refusal(
    RefusalCode.EXPIRED, "the token or certificate that this session logged in with has expired",
    hint="Get a new one and connect again.",
)
_SHUTTING_DOWN = Refusal(
    RefusalCode.SHUTTING_DOWN, "the gateway is shutting down", hint="Nothing is lost; connect again.",
)
_BACKEND_LEFT = Refusal(
    RefusalCode.BACKEND_UNAVAILABLE, "the backend closed the connection while the request waited for review",
    hint="Nothing was executed. Connect again.",
)
_UNRECORDED = Refusal(
    RefusalCode.AUDIT_UNAVAILABLE, "no more of this session can be recorded, so it has ended",
    hint="Tell those who run the gateway. A new session may be recorded again.",
)
_LAST_WORDS = 1.0
"""Seconds that a log-in has after its deadline to tell the client what it waited for."""
_GONE = 10.0
"""Seconds after the client left in which what it had sent is still carried out."""
_RECHECK = 60.0
"""Seconds between two looks at the wall clock, which may have been set meanwhile."""
_TICK: Final = 0.01
"""Seconds that a timer may go off early, as the loop rounds."""


class Session(Governed):
    """One client's connection."""

    __slots__ = (
        "_alarm", "_alarm_at", "_alarm_call", "_alarm_due", "_aside_lane", "_cause", "_deadline", "_ending", "_expiry", "_forks", "_gone", "_key", "_stalled", "mediator",
        "trunk",
    )
    handlers: ClassVar[Mapping[type, Handler]]

    def __init__(self, host: Host, doorway: Doorway) -> None:
        super().__init__(host, doorway)
        self.mediator: Mediator | None = None
        self.trunk: Trunk | None = None         # of a connection that carries streams, instead of a mediator
        self._aside_lane = Lane(Side.CLIENT)
        self._forks: dict[Hashable, Lane] = {}
        self._cause = "ended"
        self._ending: Refusal | None = None
        self._key: list[bytes] = []
        self._stalled = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0                    # when the timer goes off
        self._alarm_due = 0.0                   # and when what was asked for last is due, not before that
        self._alarm_call: Callable[[], Steps[None]] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._gone: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ log-in

    def connected(self, side: Side) -> None:
        """The client's end is there: start its log-in. The backend's end is nobody's news."""
        host = self.host
        if side is Side.SERVER:
            host.opened(self._own_end())
            return
        host.opened(self.client)
        host.counters.connections += 1
        self.peer = self.client.addresses()[0]
        if not host.welcome(self):
            host.counters.errors["connections.limit"] += 1
            self.is_closed = True
            self.client.abort()
            return
        self._deadline = self.loop.call_later(host.limits.login_timeout, self._late)
        self._greet()

    def _greet(self) -> None:
        """Begin the log-in."""
        self.client_lane.generator = self._login(self._context())
        self._run(self.client_lane)

    def _login(self, context: LoginContext) -> Steps[Mediator | Multiplexer | None]:
        return self.doorway.spec.login(context)

    def _context(self) -> LoginContext:
        host = self.host
        here = self.client.addresses()[1]
        doorway = self.doorway
        vouched = None if doorway.clients is None else host.certificates.get(doorway.clients)
        loopback = is_loopback(self.peer.rpartition(":")[0].strip("[]")) and is_loopback(here)
        route = Route(
            listener=doorway.name, connection=doorway.connection, peer=self.peer, is_loopback=loopback,
            allow_plaintext=doorway.plaintext and loopback, has_tls=doorway.certificate is not None,
            is_proxy=doorway.is_proxy, takes_certificates=vouched is not None and vouched.names_callers,
        )
        return LoginContext(
            route=route, connections=host.connections_of(doorway.spec), by_server_name=host.by_server_name,
            cancel_key=self._cancel_key, limits=host.limits.settings, keys=host.keys,
            now=host.clock.now,
            definitions=host.definitions, shared=host.shared.setdefault(self.doorway.spec.name, {}),
        )

    def branch(self, trunk: Trunk, end: StreamEndpoint, mediator: Mediator) -> Session | None:
        """A session for one stream of this connection, None where there may be no more."""
        host = self.host
        stream = Session(host, self.doorway)
        stream.client = end  # type: ignore[assignment]
        stream.branch_of, stream.mediator, stream.peer = trunk, mediator, self.peer
        stream.certificate = self.certificate
        return stream if host.welcome(stream) else None

    def _cancel_key(self, size: int) -> bytes:
        if len(self._key) >= 4:
            raise RemoteProtocolError("a session has one cancel key")
        key = self.host.cancels.issue(size, self)
        self._key.append(key)
        return key

    def _late(self) -> None:
        """The log-in's time is up: a backend that hangs is reported, a client that hangs is cut."""
        lane = self.client_lane
        self.host.counters.logins["timeout"] += 1
        log.info("log-in timed out", peer=self.peer, **self._names())
        if lane.at_deadline is None or self.client_lane.has_ended:
            self.close("log-in timed out")
            return
        self._deadline = self.loop.call_later(_LAST_WORDS, self.close, "log-in timed out")
        awaited = lane.waits_for
        if isinstance(awaited, Pending):
            awaited.withdraw()
        self._resume(lane, awaited, lane.at_deadline)

    def _logged_in(self, mediator: Mediator | Multiplexer | None) -> None:
        """The log-in is over; what it left unread belongs to the mediator."""
        if mediator is None:
            self.host.counters.logins["ended"] += 1
            self.close("log-in ended")
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if isinstance(mediator, Multiplexer):
            self.host.counters.logins["ok"] += 1
            self.trunk = Trunk(self, mediator)
            self.trunk.receive(self._taken(self.client_lane) if self.client_lane.inbox else b"")
            return
        if not self._record_session(self.client_lane.peek(), self.server_lane.peek()):
            return
        self.mediator = mediator
        self.host.counters.logins["ok"] += 1
        log.info("session open", peer=self.peer, **self._names())
        self._watch_expiry()
        if self.host.is_draining:
            self.end_when_idle(_SHUTTING_DOWN)
        if self.server_lane.inbox or self.server_lane.has_ended:
            self.loop.call_soon(self._wake, self.server_lane)

    def _wake(self, lane: Lane) -> None:
        """Run what waits for a free lane; a lane that runs looks for itself when it is done."""
        if self.is_closed or lane.is_running or lane.generator is not None:
            return
        if self._next(lane):
            self._run(lane)

    # ------------------------------------------------------------ bytes

    def received(self, side: Side, data: bytes) -> None:
        """Bytes of one side: run them, or keep them until their lane is free."""
        if self.is_closed:
            return
        if self.trunk is not None:
            self.trunk.receive(data)
            return
        lane = self.client_lane if side is Side.CLIENT else self.server_lane
        wire = self.wire
        if wire is not None and not (wire.heard(data) if side is Side.CLIENT else wire.got(data)):
            return
        mediator = self.mediator
        if mediator is not None and lane.generator is None and not lane.inbox:
            if side is Side.CLIENT:
                lane.generator = mediator.client_data(data)
                self._run(lane)
                self._mind_stall(mediator, len(data))
            else:
                lane.generator = mediator.server_data(data)
                self._run(lane)
            return
        lane.put(data)
        if lane.inbox_size >= self.host.limits.buffer:
            self._end_of(side).hold()
        if self.client_lane.waits_for is side:
            self._resume(self.client_lane, side, self._taken(lane))

    def _mind_stall(self, mediator: Mediator, size: int) -> None:
        """Back-pressure for what the mediator itself keeps while the backend is busy."""
        if self.is_closed or not mediator.is_stalled:
            self._stalled = 0
            return
        self._stalled += size
        if self._stalled >= self.host.limits.buffer:
            self.client.hold()

    def _next(self, lane: Lane) -> bool:
        """The lane is free: the bytes that waited, then the end of the stream."""
        mediator = self.mediator
        if mediator is None or lane is self._aside_lane or lane.key is not None:
            return False
        is_client = lane is self.client_lane
        if lane.inbox:
            data = self._taken(lane)
            lane.generator = mediator.client_data(data) if is_client else mediator.server_data(data)
        elif lane.has_ended and not lane.is_end_told:
            lane.is_end_told = True
            lane.generator = mediator.client_closed() if is_client else mediator.server_closed()
        elif self._ending is not None and is_client and mediator.is_idle:
            ending, self._ending = self._ending, None
            self._cause = f"ended: {ending.code}"
            lane.is_end_told = True
            lane.generator = mediator.end(ending)
        return lane.generator is not None

    def _finished(self, lane: Lane, value: Any) -> None:
        if lane.key is not None:
            if self._forks.get(lane.key) is lane:
                del self._forks[lane.key]
        elif self.mediator is None:
            self._logged_in(value)
        elif lane.is_end_told and not (lane is self.server_lane and self.doorway.spec.redials):
            self.close("client left" if self.client_lane.has_ended else
                       "backend left" if self.server_lane.has_ended else self._cause)

    def _ran(self, lane: Lane) -> None:
        self.client.flush()
        self.server.flush()
        mediator = self.mediator
        if mediator is None:
            return
        if self._ending is not None and not self.client_lane.is_busy and mediator.is_idle:
            self.loop.call_soon(self._wake, self.client_lane)
        if self._stalled and lane is self.server_lane and not mediator.is_stalled:
            self._stalled = 0
            if self.client_lane.inbox_size < self.host.limits.buffer:
                self.client.release()

    def drained(self, side: Side) -> None:
        """Resume whoever waited for a slow end."""
        if self.trunk is not None:
            self.trunk.drained()
            return
        end = self._end_of(side)
        for lane in self._lanes():
            self._resume(lane, end, None)

    # ------------------------------------------------------------ ends

    def ended(self, side: Side) -> None:
        """One side sends no more."""
        if self.is_closed:
            return
        lane = self._lane(side)
        lane.has_ended = True
        if self.trunk is not None:
            self.close("client left")
            return
        if self.mediator is None:
            self._ended_in_login(side)
            return
        if side is Side.CLIENT:
            self._gone = self.loop.call_later(_GONE, self.close, "client left")
            self._drop_held()
        elif not self.doorway.spec.redials:
            self._answer_held(_BACKEND_LEFT)
        self._wake(lane)

    def _ended_in_login(self, side: Side) -> None:
        lane = self.client_lane
        if lane.waits_for is side and not self._lane(side).inbox:
            self._resume(lane, side, b"")
        elif side is Side.CLIENT and not self.client_lane.inbox:
            self.close("client left during log-in")

    def _lanes(self) -> list[Lane]:
        """Lanes that write to an end, or ask a person."""
        return [self.server_lane, self.client_lane, *self._forks.values()]

    def _held(self) -> list[Lane]:
        """Lanes whose request waits for a person (the backend's lane goes on with pipelined ones)."""
        return [lane for lane in self._lanes() if type(lane.waits_for) is Held]

    def _drop_held(self) -> None:
        """The client left while a person was asked: the question is withdrawn, nothing runs."""
        for lane in self._held():
            held = lane.waits_for
            lane.drop()
            self._heard(lane)
            assert isinstance(held, Held)
            held.withdraw()

    def _answer_held(self, refusal: Refusal) -> bool:
        """Stop waiting for a person; the client reads why. False where nobody waited."""
        lanes = self._held()
        for lane in lanes:
            held = lane.waits_for
            assert isinstance(held, Held)
            held.withdraw()
            self._resume(lane, held, refusal)
        return bool(lanes)

    def interrupted(self, peer: str) -> None:
        """Somebody holds this session's cancel key."""
        if self.is_closed or self.mediator is None:
            return
        if self.governor is not None:
            # An address says who somebody is: it is payload, which can be erased.
            self.governor.event("cancel", {}, json.dumps({"peer": peer}).encode())
        if self._answer_held(Refusal(
                RefusalCode.REVIEW_EXPIRED, "cancelled while it waited for review",
                hint=f"Nothing was executed. Send the same {self.doorway.spec.noun} again to ask anew.")):
            return
        lane = self._aside_lane     # beside the others: a cancel comes while both may be busy
        if lane.generator is None:
            lane.generator = self.mediator.interrupt()
            self._run(lane)

    def end_when_idle(self, refusal: Refusal) -> None:
        """End with a clear error as soon as nothing is owed to the client."""
        if self.is_closed:
            return
        if self.trunk is not None:
            self.trunk.finish()
            return
        if self.mediator is None:
            if refusal.code is RefusalCode.SHUTTING_DOWN and self.governor is None:
                self.close("shutting down")
            return
        self._ending = refusal
        self._wake(self.client_lane)

    def cannot_be_recorded(self, reason: str) -> None:
        """End with a clear error if nothing is owed to the client, else at once: nothing goes on unrecorded."""
        if self.is_closed:
            return
        log.error("session cannot be recorded any more", reason=reason, **self._names())
        self.host.counters.errors["recording"] += 1
        mediator = self.mediator
        is_quiet = mediator is not None and mediator.is_idle and not (self.client_lane.is_busy or self.server_lane.is_busy)
        if is_quiet:
            self.end_when_idle(_UNRECORDED)
        else:
            self.close("no more of it can be recorded")

    @property
    def is_unrecorded(self) -> bool:
        """True where a recording of this session is due and none is made: rules have changed since it began."""
        return self.mediator is not None and self.recording is None and self.is_recording_due()[0]

    def drain(self) -> None:
        """The gateway ends: a question to a person is not waited for, a running statement is."""
        self._answer_held(_SHUTTING_DOWN)
        self.end_when_idle(_SHUTTING_DOWN)

    # ------------------------------------------------------------ steps of sessions that follow one another

    def _admitted(self, governor: Governor) -> Admission | Refusal:
        answer = super()._admitted(governor)
        if self.mediator is not None:
            self._watch_expiry()
        return answer

    def _end_session(self, lane: Lane, step: EndSession) -> Any:
        if self._expiry is not None:
            self._expiry.cancel()
        self._leave(step.cause)
        self._leave_backend()
        self.identity = self.connection = None
        return self._hang_up(lane, HangUp())

    def _fork(self, lane: Lane, step: Fork) -> Any:
        forked = self._forks[step.key] = Lane(Side.CLIENT, step.key)
        forked.generator = step.call()
        self._run(forked)

    def _abandon(self, lane: Lane, step: Abandon) -> Any:
        forked = self._forks.pop(step.key, None)
        if forked is not None:
            if type(forked.waits_for) is Held:
                self._heard(forked)
            self._withdraw(forked)

    def _leave_backend(self) -> None:
        """The backend's end goes to whoever asks next, if the mediator leaves it as good as new; else it is closed."""
        server, lane, connection = self.server, self.server_lane, self.connection
        is_at_rest = not lane.inbox and not lane.has_ended and (lane.generator is None or lane.is_running)
        if not isinstance(server, Endpoint) or not server.protocol or not is_at_rest or connection is None or self.mediator is None:
            server.close()
            return
        spare = self.doorway.spec.spare(self.mediator)
        if spare is None:
            server.close()
            return
        self._face(Endpoint(Side.SERVER, self, self.host.gone))
        self.host.pool.put(connection, server, spare, self._caller())

    def _caller(self) -> Hashable:
        identity = self.identity
        return None if identity is None else (identity.issuer, identity.subject, identity.agent)

    def _set_alarm(self, lane: Lane, step: Alarm) -> Any:
        """Alarms are set anew with every message and hardly ever go off: a timer that goes off before is left, and looks."""
        self._alarm_call = None if step.seconds is None else step.call
        if step.seconds is None or step.call is None:
            return None
        self._alarm_due = self.loop.time() + step.seconds
        if self._alarm is None or self._alarm_due < self._alarm_at:
            self._set_timer(self._alarm_due)
        return None

    def _set_timer(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self.loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        call, lane, now = self._alarm_call, self._aside_lane, self.loop.time()
        if self.is_closed or call is None:
            return
        if now < self._alarm_due - _TICK:
            self._set_timer(self._alarm_due)
        elif lane.generator is not None:
            self._set_timer(now + _LAST_WORDS)
        else:
            self._alarm_call = None
            lane.generator = call()
            self._run(lane)

    # ------------------------------------------------------------ the end

    def _watch_expiry(self) -> None:
        """End the session when its token runs out; look again in between, for clocks that step."""
        if self.is_closed or self.identity is None:
            return
        left = self.identity.expires_at - self.host.clock.now()
        if left <= 0:
            self.end_when_idle(_EXPIRED)
            return
        self._expiry = self.loop.call_later(min(left, _RECHECK), self._watch_expiry)

    def close(self, cause: str) -> None:
        """End it now. What was sent is flushed, what is open is settled as unknown."""
        if self.is_closed:
            return
        self.is_closed = True
        for timer in (self._alarm, self._deadline, self._expiry, self._gone):
            if timer is not None:
                timer.cancel()
        for lane in self._held():
            self._heard(lane)
        for lane in (self.client_lane, self._aside_lane, *self._forks.values()):
            self._withdraw(lane)
        self._settle_open(cause[:60])
        self._release()
        if self.trunk is not None:
            self.trunk.end(cause)
        self.client.close(linger=True)
        for key in self._key:
            self.host.cancels.forget(key)
        if self.governor is not None:
            log.info("session closed" if self.joint is None else "session left", cause=cause, **self._names())
        else:
            log.info("connection closed", cause=cause, peer=self.peer)
        self._leave(cause)
        self.host.left(self)


Session.handlers = {
    **GOVERNED_HANDLERS, Abandon: Session._abandon, Alarm: Session._set_alarm, EndSession: Session._end_session,
    Fork: Session._fork,
}
