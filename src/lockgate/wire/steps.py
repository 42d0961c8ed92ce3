"""The steps that mediators yield; the driver (`proxy.session`) carries each out and sends the result back.

A mediator is a generator over steps. It does no I/O and knows no socket; it says what should
happen and gets back what came of it. Everything that can fail in an expected way comes back as a
value (`Refusal`), not as an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from pathlib import Path
from typing import Any, Final, TypeVar

from lockgate.config.strict import SecretReference
from lockgate.govern.permit import Cleared, Permit
from lockgate.govern.pipeline import ClearPlan, Grant, Planned
from lockgate.govern.policy import MayHide, hides_nothing
from lockgate.model import Decision, Operation, OutcomeStatus, Refusal, RefusalCode, Secret


class Side(Enum):
    """The two ends of a session."""

    CLIENT = "client"
    SERVER = "server"


# ---------------------------------------------------------------- governance


@dataclass(slots=True)
class Judge:
    """Ask whether an operation may go on. → `Grant` or `Refusal`.

    `plan(decision)` is called once policy has decided and before anybody is asked or anything is
    recorded: it returns what would be forwarded and how results are masked (`Planned`), or a
    `Refusal` where a mask is due that it cannot enforce. `waiting(ticket)` gives bytes to send to
    the client while a person decides (keep-alive), or None where the protocol has no such thing.
    """

    operation: Operation
    plan: Callable[[Decision], Planned | Refusal]
    waiting: Callable[[str], bytes | None] | None = None
    ask: bool = True
    """False: decide and plan, but put no review to anybody (a statement that is prepared now and
    asked about when it is executed). The grant's decision may then still say REVIEW."""
    counts: bool | None = None
    """Whether it counts as one of the session's statements; None: if `ask`. A request that is judged twice
    before it goes on counts once."""
    patience: float | None = None
    """Seconds that the client waits for a person. After them the answer is a refusal that names the ticket, which
    stays open: the same request goes through once it was approved. None: as long as it takes."""


@dataclass(slots=True)
class Record:
    """Make the records of `grants` (durable or queued, as their decision says) for these bytes.
    → `Permit` or `Refusal`.

    With no grants the bytes carry no request of their own and go `under` the sequence number of a
    record that exists (0: the session's begin).
    """

    grants: Sequence[Grant]
    payload: bytes
    under: int = 0


@dataclass(slots=True)
class Clear:
    """Mask a chunk of results. → `Cleared` or `Refusal` (never an exception, never the raw chunk). A long one is
    masked beside the event loop, as `Compute` is."""

    plan: ClearPlan
    chunk: bytes


@dataclass(slots=True)
class Compute:
    """Call something pure that takes long (`computed` asks for it). → a function that returns or raises what it did.

    It runs beside the event loop, which serves the other sessions meanwhile; nothing else of this lane does.
    """

    call: Callable[[], Any]


@dataclass(slots=True)
class Compose:
    """Clear bytes that the gateway itself made (an error, a keep-alive). → `Cleared`."""

    payload: bytes


@dataclass(slots=True)
class Settle:
    """Say how a forwarded request ended; becomes its outcome record. → None."""

    grant: Grant
    status: OutcomeStatus
    rows: int = 0
    sent: int = 0
    code: str = ""


@dataclass(slots=True)
class Note:
    """Put something else of this session on record: an event of this `type` (a cancel, for one). → None."""

    type: str
    fields: dict[str, object] = field(default_factory=dict)


# ---------------------------------------------------------------- bytes


@dataclass(slots=True)
class ToServer:
    """Forward the permit's bytes. → None. Waits while the backend is slow."""

    permit: Permit


@dataclass(slots=True)
class ToClient:
    """Send the clearance's bytes. → None. Waits while the client is slow."""

    cleared: Cleared


@dataclass(slots=True)
class Tell:
    """Send the clearance's bytes to the client beside the protocol: on the standard error of a client that is a program.
    Nothing where it has no such thing. → None."""

    cleared: Cleared


@dataclass(slots=True)
class Close:
    """End the session after what was sent has been flushed. → does not return.

    `cause` goes into the `session_end` record.
    """

    cause: str


@dataclass(slots=True)
class Alarm:
    """Run `call`'s generator so many seconds from now, beside the lanes, unless another `Alarm` is set meanwhile.
    None: nothing rings any more. → None."""

    seconds: float | None
    call: Callable[[], Steps[None]] | None = None


@dataclass(slots=True)
class Fork:
    """Run `call`'s generator in a lane of its own, beside the others, from here on until it is done: for a request that
    may wait for a person while others of the same client go on. `key` is its name for `Abandon`. Never more at once than
    the mediator bounds; ends with the session. → None."""

    key: Hashable
    call: Callable[[], Steps[None]]


@dataclass(slots=True)
class Abandon:
    """Drop what was forked under this name, where it waits; a person that it asks is asked no more. → None."""

    key: Hashable


@dataclass(slots=True)
class HangUp:
    """Close the backend's end; what it still sends is dropped. Another `Dial` opens a new one. → None."""


@dataclass(slots=True)
class EndSession:
    """End the admitted session and leave the backend's end; the client's connection stays, and another identity or
    connection may be admitted on it. → None. What is open is settled as unknown."""

    cause: str


@dataclass(slots=True)
class Passed:
    """What came from `source` and was let through, in plain; for the recording of a protocol whose wire is encrypted or
    framed (`RecordingSpec.is_wire` is False). What goes to the client is passed behind its mask. → None.

    `part` and `left_out` (bytes that belong to it and are not in it) are for the protocol's own tap (`wire.tap`)."""

    source: Side
    data: bytes
    part: str = ""
    left_out: int = 0


@dataclass(slots=True)
class Window:
    """The client's terminal has so many columns and rows from here on; for its recording. → None."""

    columns: int
    rows: int


# ---------------------------------------------------------------- log-in, and sessions that follow one another


@dataclass(slots=True)
class Opened:
    """The log-in is over, and what follows is the session's own. → whether it is recorded: what is `Passed` is wanted. A
    recording begins here, with what the log-in has read already and not used."""

    client: bytes = b""
    server: bytes = b""



@dataclass(slots=True)
class Receive:
    """Wait for bytes from one side. → bytes (at least one), or b"" at end of stream.

    For a login, and for the client's side where the protocol on the connection changes; else bytes are pushed into the
    mediator's `client_data` and `server_data`.
    """

    side: Side


@dataclass(slots=True)
class StartTls:
    """Become the TLS server towards the client, or the TLS client towards the backend. → `TlsInfo`
    or `Refusal`.

    `initial` are bytes already received that belong to the handshake (direct TLS). `alpn` is
    offered (backend) or accepted (client). With `as_host` the certificate that the client gets is one for this name, by
    the installation's own authority: a forward proxy stands in for it.
    """

    side: Side
    initial: bytes = b""
    alpn: tuple[str, ...] = ()
    as_host: str | None = None


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What the handshake established. `server_end_point` is RFC 5929's channel binding data of the
    certificate that the TLS *server* of that side showed, or None where it is undefined. `certificate` is the hex SHA-256 of
    the one that the client has shown, where it says who the client is: `Authenticate(None)` gives the identity.
    """

    server_name: str | None
    alpn: str | None
    server_end_point: bytes | None
    certificate: str | None = None


@dataclass(slots=True)
class Authenticate:
    """Verify a token, or (None) read the certificate that the client has shown in TLS. → `Identity` or `Refusal`."""

    token: Secret | None


@dataclass(slots=True)
class Admit:
    """May this identity use this connection? Records `session_begin` durably. → `Admission` or
    `Refusal`.

    `connection` is a connection's name; `claims` are what the client says of itself (task, trace),
    recorded as claims. `shares`: requests stand for themselves, so those of the same caller are one session,
    whatever connections they come over.
    """

    identity: Any
    connection: str
    claims: dict[str, str] = field(default_factory=dict)
    shares: bool = False


def foresees_nothing(_operation: Operation) -> Decision | Refusal:
    """Where there is no policy to ask."""
    return Refusal(RefusalCode.INTERNAL, "no policy can be asked")


@dataclass(frozen=True, slots=True)
class Admission:
    """An admitted session: its opaque id, the connection's settings and its backend user.

    `may_hide` tells at any time which masks and detectors some request of the session could be under. `foresees` is policy's
    answer to an operation that nobody has asked for yet (an entry of a list); nothing of it is recorded or counted.
    """

    session: str
    connection: Any
    user: str
    may_hide: Callable[[], MayHide] = hides_nothing
    foresees: Callable[[Operation], Decision | Refusal] = foresees_nothing


@dataclass(frozen=True, slots=True)
class Program:
    """A backend that is a program: it is started for a session, and speaks on its standard input and output.

    `command` is what is started, without a shell; `environment` is all that it gets besides a minimum, secrets are read
    when it starts; `directory` is where it starts (None: where the gateway is).
    """

    command: tuple[str, ...]
    environment: Mapping[str, str | SecretReference | Secret] = field(default_factory=dict)
    directory: Path | None = None


@dataclass(slots=True)
class Dial:
    """Connect to the admitted connection's backend, over a new end where there was one before; with `program` it is
    started. → None or `Refusal`."""

    program: Program | None = None


@dataclass(slots=True)
class Reach:
    """An end at the admitted connection's backend, over TLS where its settings say so: one that is kept from before, or a
    new one. In place of the end that there was. → `Reached` or `Refusal`.

    `protocols` are offered by ALPN, the preferred one first; a backend that chooses none speaks the last. Without TLS it
    speaks the first. An end that is kept may have been idle for `idle` seconds; 0: only a new one will do.
    """

    protocols: tuple[str, ...]
    idle: float = inf


@dataclass(slots=True)
class Reached:
    """An end at a backend that speaks `protocol`. `is_used`: requests have gone over it before, so the backend may be
    closing it just now. `is_single`: it is one stream of a connection (`ProtocolSpec.bundles`), for one request.
    `is_untouched` is set when it ends and the backend has looked at nothing that was sent over it."""

    protocol: str
    is_used: bool
    is_single: bool = False
    is_untouched: bool = False


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """How an access token is had for the connection's user and password (OAuth 2, RFC 6749 section 4.4).

    `audience` is a parameter that some servers want (it is in no RFC for this grant; empty: not sent). `in_body`: user and
    password as parameters (section 2.3.1) in place of `Basic`. `ca`: a PEM file of authorities instead of the system's.
    """

    url: str
    scope: str = ""
    audience: str = ""
    in_body: bool = False
    ca: Path | None = None


@dataclass(slots=True)
class Credential:
    """Read the backend credential now. → `Secret` or `Refusal`. Forget it after use (I6).

    With `token` the secret is the access token that the credential is good for; waits while one is fetched. With
    `reference` it is another secret, read where that says.
    """

    token: ClientCredentials | None = None
    reference: SecretReference | None = None


@dataclass(slots=True)
class Disown:
    """The backend did not take the access token of `token`: who asks next gets a fresh one. → None."""

    token: ClientCredentials


@dataclass(slots=True)
class Snapshot:
    """The newest catalogue of the connection. → what the protocol's `probe` returned, or `Refusal`.

    `newer_than` asks for one taken after that version was found stale (own DDL, unknown name).
    """

    newer_than: int | None = None


@dataclass(slots=True)
class Interrupt:
    """A cancel request arrived for this key. → None, whether or not such a session exists."""

    key: bytes


@dataclass(slots=True)
class Aside:
    """Send the permit's bytes over a fresh connection to the same backend and close it (how
    PostgreSQL wants a cancel). → None. Failures are logged, not reported.

    With `waits` the step is done when the backend has hung up, or would not take it. With `is_secured` it goes over TLS, as
    the connection's settings say.
    """

    permit: Permit
    waits: bool = False
    is_secured: bool = False


Step = (
    Judge | Record | Clear | Compute | Compose | Settle | Note | ToServer | ToClient | Close | Receive | StartTls
    | Authenticate | Admit | Dial | Reach | Credential | Disown | Snapshot | Interrupt | Aside | Window | Passed | Opened | Alarm
    | HangUp | EndSession | Fork | Abandon | Tell
)

R = TypeVar("R")
Steps = Generator[Step, Any, R]

LONG: Final = 262_144
"""Bytes of values that are looked at in one go on the event loop; at up to 2 microseconds a byte. More than a read
brings, so a row has to be as large for its session to wait."""


def computed(call: Callable[[], R], size: int) -> Steps[R]:
    """What `call` returns or raises, which looks at `size` bytes of values; beside the event loop if they are many."""
    if size <= LONG:
        return call()
    result: Callable[[], R] = yield Compute(call)
    return result()
