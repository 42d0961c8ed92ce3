"""The steps of a session that has a client: governance, identity, the client's end.

Stands apart from the session's life (`proxy.session`): here is what each step means, there is when
generators run and when it all ends. `_to_client` and the driver's `_to_server` are the only places
that take bytes out of a clearance or a permit and write them (I1, I3).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from lockgate.config.secrets import read_secret
from lockgate.errors import AuditError, ConfigError, IdentityError, Unpermitted
from lockgate.govern.identity import CertificateRules, Failure, ShownCertificate, failed, identify
from lockgate.govern.pending import Pending
from lockgate.govern.permit import Permit, require_clearance, require_permit
from lockgate.govern.pipeline import Governor, Grant, Held, audit_refusal
from lockgate.model import Effect, Event, Identity, OutcomeStatus, Refusal, RefusalCode, Secret, SessionStart
from lockgate.net.tls import TlsStream
from lockgate.proxy.callers import Caller
from lockgate.proxy.driver import BASE_HANDLERS, Driver, Handler, log, place, unreachable
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.lane import PARKED, Lane
from lockgate.proxy.recording import Recording, Tapped
from lockgate.proxy.stream import StreamEndpoint
from lockgate.wire.steps import (
    LONG,
    Admission,
    Admit,
    Authenticate,
    Clear,
    Interrupt,
    Judge,
    Note,
    Opened,
    Passed,
    Record,
    Settle,
    Side,
    Snapshot,
    StartTls,
    TlsInfo,
    ToClient,
    ToServer,
    Window,
)

if TYPE_CHECKING:
    from lockgate.audit.recording.studio import Studio
    from lockgate.config.settings import Connection
    from lockgate.proxy.callers import Joint
    from lockgate.proxy.host import Host
    from lockgate.proxy.listener import Doorway
    from lockgate.proxy.trunk import Trunk
    from lockgate.wire.spec import RecordingSpec
    from lockgate.wire.tap import TapMaker

KEEP_ALIVE = 12.0
"""Seconds between two signs of life to a client whose request waits for a person."""
_NOT_NOW = 1.0
"""Seconds until the next try when the protocol cannot say anything at this moment."""


class Governed(Driver):
    """A driver with a client's end and a governor."""

    __slots__ = (
        "_open", "_securing", "_token", "branch_of", "certificate", "client", "client_lane", "doorway", "identity", "joint",
        "peer", "recording", "wire",
    )
    handlers: ClassVar[Mapping[type, Handler]]

    def __init__(self, host: Host, doorway: Doorway) -> None:
        super().__init__(host)
        self.doorway = doorway
        self.client = Endpoint(Side.CLIENT, self, host.gone)
        self.client_lane = Lane(Side.CLIENT)
        self.certificate: ShownCertificate | None = None        # that the client's TLS has brought
        self.identity: Identity | None = None
        self.peer = "unknown"
        self.recording: Recording | None = None
        self.wire: Recording | Tapped | None = None     # the same, where it takes the wire's own bytes
        self.branch_of: Trunk | None = None     # the connection that this is one stream of
        self.joint: Joint | None = None         # the session, where others of its caller may be in it
        self._token = b""                       # SHA-256 of the one that was verified last
        self._open: dict[int, Grant] = {}
        self._securing: dict[Side, tuple[Pending[TlsInfo | Refusal], Refusal]] = {}

    # ------------------------------------------------------------ the two ends

    def _lane(self, side: Side) -> Lane:
        return self.client_lane if side is Side.CLIENT else self.server_lane

    def _end_of(self, side: Side) -> Endpoint | StreamEndpoint:
        return self.client if side is Side.CLIENT else self.server

    def _unpark(self, end: Endpoint | StreamEndpoint) -> None:
        super()._unpark(end)
        self._resume(self.client_lane, end, None)

    def _flush(self) -> None:
        self.client.flush()
        self.server.flush()

    def _handshakes(self) -> dict[Side, tuple[Pending[TlsInfo | Refusal], Refusal]]:
        return self._securing

    def _tls_info(self, side: Side, stream: TlsStream, refusal: Refusal) -> TlsInfo | Refusal:
        if side is Side.SERVER:
            return super()._tls_info(side, stream, refusal)
        end_point = self.doorway.certificate.end_point if self.doorway.certificate is not None else None
        shown = stream.peer_certificate() if self.certificate is None else None
        if shown is not None:
            try:
                self.certificate = ShownCertificate.of(shown)
            except IdentityError as error:
                return replace(refusal, cause=error.args[0])
        rules = self._clients()
        names = self.certificate is not None and rules is not None and rules.names_callers
        return TlsInfo(stream.server_name, stream.alpn, end_point, self.certificate.fingerprint if names else None)  # type: ignore[union-attr]

    def _clients(self) -> CertificateRules | None:
        """How certificates of clients are read at this door. Raises `ConfigError` where its rules are gone."""
        name = self.doorway.clients
        if name is None:
            return None
        rules = self.host.certificates.get(name)
        if rules is None:
            raise ConfigError(f"the certificates {name} of listener {self.doorway.name} are not configured any more")
        return rules

    def _start_tls(self, lane: Lane, step: StartTls) -> Any:
        if step.side is Side.SERVER:
            return self._start_server_tls(lane, step)
        refusal = Refusal(RefusalCode.UNAUTHENTICATED, "no TLS connection could be established")
        certificate, authority = self.doorway.certificate, self.host.authority
        try:
            if step.as_host is not None:
                context = None if authority is None else authority.context(step.as_host, step.alpn)
            else:
                context = None if certificate is None else certificate.context(step.alpn, self._clients())
        except ValueError:
            context = None              # a name that no certificate can have
        except ConfigError as error:
            log.error("TLS for clients unusable", listener=self.doorway.name, reason=str(error.args[0]))
            context = None
        if context is None:
            return refusal
        stream = TlsStream(context, server_side=True)
        return self._handshake(lane, self.client, stream, step.initial, refusal)

    def _to_client(self, lane: Lane, step: ToClient) -> Any:
        payload = require_clearance(step.cleared)
        self.host.counters.to_client += len(payload)
        wire = self.wire
        if wire is not None and not wire.told(payload):
            return PARKED               # it cannot be recorded, so it does not go on
        client = self.client
        client.queue(payload)
        if client.is_slow:
            return self._park(lane, client)
        return None if wire is None else self._unless_full(lane, wire)

    def _to_server(self, lane: Lane, step: ToServer) -> Any:
        wire = self.wire
        if wire is None:
            return super()._to_server(lane, step)
        payload = require_permit(step.permit)
        self.host.counters.to_server += len(payload)
        if not wire.sent(payload):
            return PARKED
        self.server.queue(payload)
        return self._park(lane, self.server) if self.server.is_slow else self._unless_full(lane, wire)

    def _unless_full(self, lane: Lane, recording: Recording | Tapped) -> Any:
        """Go on, or when what waits to be recorded has been written."""
        if not recording.is_full:
            return None
        recording.when_room(partial(self._resume, lane, recording, None))
        return self._park(lane, recording)

    def _opened(self, lane: Lane, step: Opened) -> Any:
        return self.recording is not None if self._record_session(step.client, step.server) else PARKED

    def _record_session(self, client: bytes, server: bytes) -> bool:
        """Begin the recording with these bytes, where the connection or a rule wants one; at most once. False where it is
        due and cannot be: the session is closed."""
        host, governor = self.host, self.governor
        if self.recording is not None or governor is None:
            return True
        studio, spec = host.studio, self.doorway.spec
        is_due, is_raw = self.is_recording_due()
        if not is_due:
            return True
        if studio is None or not studio.terms.recipients or spec.recording is None:
            log.error("session cannot be recorded", **self._names())
            self.close("it cannot be recorded")
            return False
        self.recording = self._begun_recording(studio, spec.recording, is_raw=is_raw)
        tap = self._tap(spec.recording)
        if tap is not None:
            self.wire = Tapped(self.recording, tap)
            return True
        if not spec.recording.is_wire:
            return True
        self.wire = self.recording
        for data, take in ((client, self.wire.heard), (server, self.wire.got)):
            if data and not take(data):
                return False
        return True

    def _tap(self, spec: RecordingSpec) -> TapMaker | None:
        """What makes pieces of the bytes that pass; None where they are recorded as they are."""
        return spec.tap

    def _begun_recording(self, studio: Studio, spec: RecordingSpec, *, is_raw: bool) -> Recording:
        """The session's recording; the one that there is already where connections or streams share the session."""
        governor, joint = self._governor(), self.joint
        made = None if joint is None else joint.recording
        if made is None:
            made = Recording(
                studio, self.host.clock, spec.kind, self.doorway.spec.name, governor.session,
                partial(self._credentials, self._connection(), spec), is_raw=is_raw,
                on_end=self.cannot_be_recorded if joint is None else partial(self.host.callers.cannot_be_recorded, joint))
            if joint is not None:
                joint.recording = made
        return made

    def _credentials(self, connection: Connection, spec: RecordingSpec) -> Sequence[Secret]:
        """All that the backend gets as a credential, as it looks on the wire. Called in a recording's thread."""
        found = [self.host.read_credential(connection), *self.host.tokens.held(connection)]
        found += (read_secret(reference) for reference in spec.secrets(connection))
        return [spelled for secret in found for spelled in spec.spelled(connection, secret)]

    def _leave(self, cause: str) -> None:
        """The admitted session is over, whatever becomes of the client's connection: what is open is settled as unknown,
        and it ends in the log once all of it is recorded."""
        governor, recording, wire, joint = self.governor, self.recording, self.wire, self.joint
        if governor is None:
            return
        self._settle_open(cause[:60])
        keeper = self.host.keepers.get(governor.connection)
        if keeper is not None:
            keeper.sessions.discard(self)
        self.governor = self.recording = self.wire = self.joint = None
        if isinstance(wire, Tapped):
            wire.close()
        if joint is None:
            self.host.end_session(governor, recording, cause)
        else:
            self.host.callers.leave(joint, self, cause)

    def is_recording_due(self) -> tuple[bool, bool]:
        """Whether this session is to be recorded, and the backend's end of it too."""
        by_rule, is_raw = self._governor().records
        wanted = self._connection().record
        if wanted is None:
            wanted = self.host.studio is not None and self.host.studio.terms.every
        return by_rule or wanted, is_raw

    def cannot_be_recorded(self, reason: str) -> None:
        """Nothing more of this session can be recorded, and it must not go on without."""
        raise NotImplementedError

    def _passed(self, lane: Lane, step: Passed) -> Any:
        recording = self.wire or self.recording
        if recording is None:
            return None
        return self._unless_full(lane, recording) if recording.passed(step) else PARKED

    def _window(self, lane: Lane, step: Window) -> Any:
        if self.recording is not None:
            self.recording.window(step.columns, step.rows)
        return None

    # ------------------------------------------------------------ identity and admission

    def _authenticate(self, lane: Lane, step: Authenticate) -> Any:
        waiting: Pending[Identity | Refusal] = Pending()
        self._token = b"" if step.token is None else sha256(step.token.reveal().encode()).digest()
        answered = partial(self._authenticated, waiting)
        if step.token is None:
            self._by_certificate(answered)
        else:
            self.host.verifier.authenticate(step.token.reveal(), answered, self.certificate)
        return self._wait(lane, waiting)

    def _by_certificate(self, answered: Callable[[Identity | Exception], None]) -> None:
        """Who the client is by the certificate that it has shown."""
        rules, shown = self._clients(), self.certificate
        try:
            if rules is None or shown is None:
                raise failed(Failure.CERTIFICATE, "the client has shown no certificate")
            identity = identify(rules, shown, self.host.clock.now())
        except IdentityError as error:
            answered(error)
        else:
            answered(identity)

    def _authenticated(self, waiting: Pending[Identity | Refusal], answer: Identity | Exception) -> None:
        if isinstance(answer, Identity):
            self.identity = answer
            waiting.resolve(answer)
            return
        if isinstance(answer, IdentityError):
            code, reason, hint = answer.code, str(answer.args[0]), answer.advice()
        else:
            log.error("identity not verified", error=type(answer).__name__, place=place(answer))
            code, reason, hint = "identity.unverifiable", "the token could not be verified", ""
        self.host.counters.logins[code] += 1
        log.info("log-in refused", code=code, peer=self.peer)
        waiting.resolve(Refusal(
            RefusalCode.UNAUTHENTICATED, f"{reason} ({code})",
            hint=hint or ("Send a valid token of a trusted provider." if self.certificate is None else
                          "Show another certificate, or send a valid token of a trusted provider."),
        ))

    def _admit(self, lane: Lane, step: Admit) -> Any:
        host = self.host
        if host.is_draining:
            return Refusal(RefusalCode.SHUTTING_DOWN, "the gateway is shutting down", hint="Connect again.")
        if len(host.sessions) > host.limits.sessions:
            host.counters.errors["sessions.limit"] += 1
            return Refusal(
                RefusalCode.BACKEND_UNAVAILABLE, "the gateway holds as many sessions as it may",
                hint="Close sessions that are not needed, then connect again.",
            )
        if self.governor is not None or self.identity is None or step.identity is not self.identity:
            raise Unpermitted("a session is admitted once, with the identity that was verified for it")
        decision = host.pipeline.policy.may_connect(self.identity, step.connection, now=host.clock.now())
        if decision.effect is not Effect.ALLOW:
            return self._begin(step)        # the pipeline refuses, and records that it did
        keeper = host.keepers.get(step.connection)
        if keeper is None or keeper.spec is not self.doorway.spec:
            return self._nowhere(step)
        answer: Pending[Any] = Pending()
        keeper.usable().then(partial(self._usable, answer, step, keeper.connection))
        return self._wait(lane, answer, unreachable(step.connection))

    def _nowhere(self, step: Admit) -> Refusal:
        """There is no such connection; that somebody asked for it is on record."""
        host, identity = self.host, self.identity
        assert identity is not None
        try:
            host.pipeline.recorder.event(Event(
                "access_denied", {"connection": "", "rules": [], "policy": host.pipeline.policy.policy_hash,
                                  "token": identity.token_hash},
                payload=json.dumps({"asked": step.connection[:300]}).encode()))
        except AuditError as error:
            return audit_refusal(error)
        return Refusal(RefusalCode.DENIED, f"there is no connection {step.connection[:80]!r} here")

    def _usable(self, answer: Pending[Any], step: Admit, connection: Connection, refusal: Refusal | None) -> None:
        """The connection has been checked: begin the session, or hand on why not."""
        if answer.is_done:
            return      # nobody waits any more
        if refusal is not None:
            answer.resolve(refusal)
            return
        begun = self._session_for(step, connection)
        if isinstance(begun, Pending):
            answer.on_withdraw = begun.withdraw
            begun.then(partial(self._begun, answer))
        else:
            self._begun(answer, begun)

    def _begun(self, answer: Pending[Any], begun: Governor | Refusal) -> None:
        if not answer.is_done:
            answer.resolve(self._admitted(begun) if isinstance(begun, Governor) else begun)

    def _session_for(self, step: Admit, connection: Connection) -> Governor | Refusal | Pending[Governor | Refusal]:
        """A session of this client's own, or its caller's."""
        if not step.shares:
            return self._begin(step)
        assert self.identity is not None
        caller = Caller(
            self.doorway.name, step.connection, self._token, None if self.certificate is None else self.certificate.fingerprint,
            self.identity, tuple(sorted(step.claims.items())), self.peer.rpartition(":")[0])
        return self.host.callers.join(caller, connection, self, partial(self._begin, step))

    def _begin(self, step: Admit) -> Governor | Refusal | Pending[Governor | Refusal]:
        host, identity = self.host, self.identity
        assert identity is not None
        start = SessionStart(
            session=secrets.token_hex(16), issuer=identity.issuer, subject=identity.subject, agent=identity.agent,
            model=identity.model, client_id=identity.client_id, groups=tuple(sorted(identity.groups)),
            token_hash=identity.token_hash, connection=step.connection, protocol=self.doorway.spec.name,
            peer=self.peer, policy_hash=host.pipeline.policy.policy_hash, claims=dict(step.claims),
            certificate=None if self.certificate is None else self.certificate.fingerprint,
        )
        return host.pipeline.admit(
            identity, step.connection, start, host.audit_mode(step.connection), self.doorway.spec.noun)

    def _admitted(self, governor: Governor) -> Admission | Refusal:
        """The session is on record: it has a governor from here on."""
        keeper = self.host.keepers.get(governor.connection)
        self.governor = governor
        if keeper is None:
            return unreachable(governor.connection)
        self.connection = keeper.connection
        keeper.sessions.add(self)
        self.host.counters.sessions += self.joint is None
        return Admission(governor.session, keeper.connection, keeper.connection.credential.user, governor.may_hide,
                         governor.foresee)

    # ------------------------------------------------------------ one request

    def _governor(self) -> Governor:
        if self.governor is None:
            raise Unpermitted("nothing is judged or recorded before the session is admitted")
        return self.governor

    def _judge(self, lane: Lane, step: Judge) -> Any:
        governor = self._governor()
        if step.ask and step.counts is None and step.patience is None:
            verdict = governor.judge(step.operation, step.plan)
        else:
            verdict = governor.judge(step.operation, step.plan, step.ask, step.counts, step.patience is None)
        kind = type(verdict)
        if kind is Grant:
            effect = verdict.decision.effect  # type: ignore[union-attr]
            if step.ask or (step.counts and effect is not Effect.REVIEW):
                self._count(step, effect.value)
            return verdict
        if kind is not Held:
            self._count(step, "deny")
            return verdict
        self._count(step, "held")
        return self._hold(lane, step, verdict)  # type: ignore[arg-type]

    def _count(self, step: Judge, decision: str) -> None:
        statements = self.host.counters.statements
        for verb in step.operation.verbs if len(step.operation.verbs) <= 4 else ("many",):
            statements[decision, verb] += 1

    def _hold(self, lane: Lane, step: Judge, held: Held) -> Any:
        """The request waits for a person: say so now, and again every `KEEP_ALIVE` seconds."""
        lane.since = self.host.clock.monotonic()
        answer = self._wait(lane, held)
        if answer is PARKED:
            self.host.counters.held += 1
            self.loop.call_soon(self._say_waiting, lane, step, held)
            if step.patience is not None:
                lane.impatience = self.loop.call_later(step.patience, held.postpone)
        return answer

    def _say_waiting(self, lane: Lane, step: Judge, held: Held) -> None:
        if self.is_closed or lane.waits_for is not held or step.waiting is None:
            return
        payload = step.waiting(held.ticket)
        if payload and not self.client.is_slow:
            if self.wire is not None and not self.wire.told(payload):
                return
            self.client.queue(require_clearance(self._governor().compose(payload)))
            self.client.flush()
        delay = KEEP_ALIVE if payload else _NOT_NOW
        lane.keep_alive = self.loop.call_later(delay, self._say_waiting, lane, step, held)

    def _heard(self, lane: Lane) -> None:
        """A held request has its answer, or nobody waits for it any more."""
        self.host.counters.held -= 1
        self.host.counters.waits.observe(self.host.clock.monotonic() - lane.since)
        for timer in (lane.keep_alive, lane.impatience):
            if timer is not None:
                timer.cancel()
        lane.keep_alive = lane.impatience = None

    def _resume(self, lane: Lane, awaited: object, value: Any) -> None:
        if self.is_closed or lane.waits_for is not awaited or lane.generator is None:
            return
        if type(awaited) is Held:
            self._heard(lane)
        elif type(value) is Permit and lane.grants:
            value = self._recorded(lane.grants, value)
            lane.grants = ()
        super()._resume(lane, awaited, value)

    def _record(self, lane: Lane, step: Record) -> Any:
        answer = self._governor().record(step.grants, step.payload, step.under)
        if not step.grants:
            return answer
        if type(answer) is Permit:
            return self._recorded(step.grants, answer)
        if isinstance(answer, Pending):
            lane.grants = tuple(step.grants)
            return self._wait(lane, answer)
        return answer

    def _recorded(self, grants: Any, permit: Permit) -> Permit:
        """These requests are open until they are settled."""
        for grant in grants:
            self._open[grant.record] = grant
        return permit

    def _clear(self, lane: Lane, step: Any) -> Any:
        clear = partial(self._governor().clear, step.plan, step.chunk)
        if len(step.chunk) > LONG:
            return self._beside(lane, clear, lambda done: self._cleared(done.result()))
        return self._cleared(clear())

    def _cleared(self, answer: Any) -> Any:
        if type(answer) is Refusal:
            self.host.counters.errors["mask"] += 1
        return answer

    def _settle(self, lane: Lane, step: Settle) -> Any:
        grant = step.grant
        if self._open.pop(grant.record, None) is not None:
            counters = self.host.counters
            counters.outcomes[step.status] += 1
            counters.rows += step.rows
            counters.durations.observe(self.host.clock.monotonic() - grant.started)
            if grant.masked:
                counters.masked.update(grant.masked)
        self._governor().settle(grant, step.status, step.rows, step.sent, step.code)
        return None

    def _note(self, lane: Lane, step: Note) -> Any:
        self._governor().event(step.type, step.fields)
        return None

    def _settle_open(self, code: str) -> None:
        """The session ends: whatever is open may have been executed."""
        governor = self.governor
        if governor is None:
            return
        for grant in self._open.values():
            self.host.counters.outcomes[OutcomeStatus.UNKNOWN] += 1
            governor.settle(grant, OutcomeStatus.UNKNOWN, code=code)
        self._open.clear()

    # ------------------------------------------------------------ catalogue and cancel

    def _snapshot(self, lane: Lane, step: Snapshot) -> Any:
        keeper = self.host.keepers.get(self._connection().name)
        if keeper is None:
            return unreachable(self._connection().name)
        answer = keeper.snapshot(step.newer_than)
        if isinstance(answer, Pending):
            return self._wait(lane, answer, unreachable(self._connection().name))
        return answer

    def end_when_idle(self, refusal: Refusal) -> None:
        """End with a clear error as soon as nothing is owed to the client."""
        raise NotImplementedError

    def interrupted(self, peer: str) -> None:
        """Somebody at `peer` holds this session's cancel key."""
        raise NotImplementedError

    def _interrupt(self, lane: Lane, step: Interrupt) -> Any:
        host = self.host
        target = host.cancels.find(step.key, self.peer.rpartition(":")[0])
        host.counters.cancels["unknown" if target is None else "found"] += 1
        if target is not None:
            self.loop.call_soon(target.interrupted, self.peer)
        return None


GOVERNED_HANDLERS: Mapping[type, Handler] = {
    **BASE_HANDLERS,
    StartTls: Governed._start_tls,
    ToClient: Governed._to_client,
    ToServer: Governed._to_server,
    Opened: Governed._opened,
    Passed: Governed._passed,
    Window: Governed._window,
    Authenticate: Governed._authenticate,
    Admit: Governed._admit,
    Judge: Governed._judge,
    Record: Governed._record,
    Clear: Governed._clear,
    Settle: Governed._settle,
    Note: Governed._note,
    Snapshot: Governed._snapshot,
    Interrupt: Governed._interrupt,
}
Governed.handlers = GOVERNED_HANDLERS
