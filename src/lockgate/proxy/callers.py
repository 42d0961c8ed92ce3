"""Sessions that requests of one caller share, whatever connections or streams they come over.

Most clients of HTTP open a connection for a request and leave. Their identity is verified for each connection all the same;
what is shared is the session in the log: its begin, which has to be durable before the first request, its tally, its keys of
masks, its recording. A caller is the same one where everything is the same that a session's begin says of it (`Caller`), so a
session never says of a request what is not so; the port, which differs, stands with the request.

    join     the caller's session, or a new one; who asks while it is being begun waits for that one
    leave    the last one out starts the clock: it ends `limits.session_idle` later, and with its token at once
    retire   nobody joins any more, and it ends with its last connection: what it began under is not so any more

Apart from `governed`, which is one client's end: here is what outlives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from lockgate.govern.pending import Pending
from lockgate.govern.pipeline import Governor
from lockgate.model import Identity, Refusal

if TYPE_CHECKING:
    from lockgate.config.settings import Connection
    from lockgate.proxy.governed import Governed
    from lockgate.proxy.host import Host
    from lockgate.proxy.recording import Recording
    from lockgate.proxy.trunk import Trunk

AGE: Final = 900.0
"""Seconds after its begin from which a session takes no more connections: what is told, erased and played session by session
must not go on for as long as a caller does."""
MOST: Final = 1024
"""Sessions that wait for their caller to come back; the one that has waited longest ends first."""
_SWEEP: Final = 1.0
"""Seconds between two looks for sessions that have waited long enough."""
_EXPIRED: Final = "ended: expired"
Begin = Callable[[], "Governor | Refusal | Pending[Governor | Refusal]"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for what from where. `token` is the SHA-256 of its bytes, empty where a certificate stands in its place: two
    tokens of one subject are two callers. `identity` is what it was verified to be, for this connection and not from memory."""

    listener: str
    connection: str
    token: bytes
    certificate: str | None
    identity: Identity
    claims: tuple[tuple[str, str], ...]
    host: str


@dataclass(slots=True, eq=False)
class Joint:
    """A session that is shared. `governor` is None until it is on record; `waiting` are those who wait for that."""

    caller: Caller
    connection: Connection
    begun: float
    governor: Governor | None = None
    recording: Recording | None = None
    users: set[Governed] = field(default_factory=set)
    trunks: set[Trunk] = field(default_factory=set)
    waiting: dict[Governed, Pending[Governor | Refusal]] = field(default_factory=dict)
    is_retired: bool = False
    is_over: bool = False
    until: float = inf


class Callers:
    """Mutable; one for each process."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._joints: dict[Caller, Joint] = {}          # that may be joined
        self._resting: dict[Joint, None] = {}           # that nobody uses, the one that has waited longest first
        self._beginning: set[Joint] = set()             # that are not on record yet, whoever still waits for them
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def resting(self) -> list[Governor]:
        """Sessions that are open and that no connection is in."""
        return [joint.governor for joint in self._resting if joint.governor is not None]

    @property
    def is_beginning(self) -> bool:
        """Whether a session is being put on record: it will have to end as well."""
        return bool(self._beginning)

    # ------------------------------------------------------------ joining

    def join(
        self, caller: Caller, connection: Connection, user: Governed, begin: Begin
    ) -> Governor | Refusal | Pending[Governor | Refusal]:
        """The caller's session as `user` sees it; `begin` makes one where there is none that takes it."""
        joint = self._joints.get(caller)
        if joint is not None and not self._is_open(joint, connection):
            self._retire(joint, "renewed")
            joint = None
        if joint is not None:
            return self._waiting(joint, user) if joint.governor is None else self._joined(joint, user)
        begun = begin()
        if not isinstance(begun, Pending):
            return begun
        joint = Joint(caller, connection, self._host.clock.monotonic())
        if not self._is_closed:
            self._joints[caller] = joint
        answer = self._waiting(joint, user)
        self._beginning.add(joint)
        begun.then(partial(self._begun, joint))
        return answer

    def _waiting(self, joint: Joint, user: Governed) -> Pending[Governor | Refusal]:
        """What `user` gets when the session is on record."""
        answer: Pending[Governor | Refusal] = Pending(partial(self._gave_up, joint, user))
        joint.waiting[user] = answer
        return answer

    def _is_open(self, joint: Joint, connection: Connection) -> bool:
        return (joint.connection is connection and self._host.clock.monotonic() - joint.begun < AGE
                and (joint.recording is None or joint.recording.has_room))

    def _begun(self, joint: Joint, answer: Governor | Refusal) -> None:
        """It is on record, or could not be put there."""
        self._beginning.discard(joint)
        waiting, joint.waiting = joint.waiting, {}
        if isinstance(answer, Governor):
            joint.governor = answer
            self._host.counters.sessions += 1
        else:
            self._forget(joint)
        # All are in it before the first goes on, so that it does not end with that one.
        found = [(user, one, answer if isinstance(answer, Refusal) else self._joined(joint, user))
                 for user, one in waiting.items()]
        for user, one, own in found:
            if one.is_done:
                joint.users.discard(user)       # gone meanwhile
            else:
                one.resolve(own)
        if joint.governor is not None and not joint.users and not joint.is_over:
            self._rest(joint, "client left")
        self._host.stir()

    def _joined(self, joint: Joint, user: Governed) -> Governor | Refusal:
        assert joint.governor is not None
        found = self._host.pipeline.join(joint.governor, user.peer)
        if isinstance(found, Governor):
            self._resting.pop(joint, None)
            joint.users.add(user)
            user.joint = joint
            if user.branch_of is not None:
                joint.trunks.add(user.branch_of)
                user.branch_of.joints.add(joint)
        return found

    def _gave_up(self, joint: Joint, user: Governed) -> None:
        """Whoever asked is gone. The session is being begun all the same."""
        joint.waiting.pop(user, None)

    # ------------------------------------------------------------ leaving

    def leave(self, joint: Joint, user: Governed, cause: str) -> None:
        """A connection or stream is not in the session any more."""
        joint.users.discard(user)
        if not joint.users and not joint.waiting:
            self._rest(joint, cause)

    def left(self, trunk: Trunk, cause: str) -> None:
        """A connection is gone that kept the sessions of its streams: between two of them they do not end."""
        for joint in tuple(trunk.joints):
            joint.trunks.discard(trunk)
            if joint in self._resting:
                self._rest(joint, cause)
        trunk.joints.clear()

    def _rest(self, joint: Joint, cause: str) -> None:
        host = self._host
        idle = host.limits.session_idle
        self._resting.pop(joint, None)
        if self._is_expired(joint):
            self._end(joint, _EXPIRED)
            return
        if joint.is_retired or self._is_closed or not (idle or joint.trunks):
            self._end(joint, cause)
            return
        joint.until = inf if joint.trunks else host.clock.monotonic() + idle
        self._resting[joint] = None
        if len(self._resting) > MOST:
            self._end(next(iter(self._resting)), "made room for others")
        if self._sweeper is None:
            self._sweeper = host.loop.call_later(_SWEEP, self._swept)

    def _is_expired(self, joint: Joint) -> bool:
        return self._host.clock.now() >= joint.caller.identity.expires_at

    def _end(self, joint: Joint, cause: str) -> None:
        self._forget(joint)
        joint.is_over = True
        for trunk in joint.trunks:
            trunk.joints.discard(joint)
        if joint.governor is not None:
            self._host.end_session(joint.governor, joint.recording, cause)

    def _forget(self, joint: Joint) -> None:
        """Nobody joins it any more."""
        joint.is_retired = True
        self._resting.pop(joint, None)
        if self._joints.get(joint.caller) is joint:
            del self._joints[joint.caller]

    def _swept(self) -> None:
        self._sweeper = None
        self.sweep()
        if self._resting:
            self._sweeper = self._host.loop.call_later(_SWEEP, self._swept)

    def sweep(self) -> None:
        """End the sessions that have waited long enough, and those whose token has run out."""
        now = self._host.clock.monotonic()
        for joint in tuple(self._resting):
            if self._is_expired(joint):
                self._end(joint, _EXPIRED)
            elif now >= joint.until:
                self._end(joint, "idle")

    # ------------------------------------------------------------ ends that are not the caller's

    def _retire(self, joint: Joint, cause: str) -> None:
        self._forget(joint)
        if joint.governor is not None and not joint.users and not joint.waiting:
            self._end(joint, cause)

    def retire(self, cause: str) -> None:
        """What sessions begin under has changed: whoever comes from here on begins anew."""
        for joint in tuple(self._joints.values()):
            self._retire(joint, cause)

    def cannot_be_recorded(self, joint: Joint, reason: str) -> None:
        """No more of a session can be recorded: all that is in it ends, and nobody joins it."""
        self._retire(joint, "no more of it can be recorded")
        for user in tuple(joint.users):
            user.cannot_be_recorded(reason)

    def close(self) -> None:
        """The gateway ends: nothing waits for a caller to come back."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self.retire("ended: shutting_down")
