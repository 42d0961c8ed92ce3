"""What a protocol declares about itself: the one object that the rest of the gateway reads.

Nothing outside `protocols/X/` names X: listeners, CLI help, the API and the docs come from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from lockgate.audit.recording.events import Event, Header
from lockgate.audit.recording.shown import Shown
from lockgate.config.settings import Connection, Limits
from lockgate.config.strict import SecretReference
from lockgate.govern.masking.keys import MaskKeys
from lockgate.model import Definition, Exported, Refusal, Rule, Secret
from lockgate.wire.leaktest import LeakSuite
from lockgate.wire.steps import Program, Steps
from lockgate.wire.tap import TapMaker


class PipedMediator(Protocol):
    """What a mediator of a backend that is a program has besides."""

    def server_aside(self, data: bytes) -> Steps[None]:
        """What the program wrote on its standard error."""


class Mediator(Protocol):
    """One admitted stream. Each method is a generator that the driver runs to its end.

    The driver never runs two generators of the same side at once; while a client-side generator
    waits for a person or a record, server-side ones go on running.
    """

    @property
    def is_idle(self) -> bool:
        """True between requests: nothing is owed to the client. Drain and expiry wait for it."""

    def client_data(self, data: bytes) -> Steps[None]: ...

    def server_data(self, data: bytes) -> Steps[None]: ...

    def client_closed(self) -> Steps[None]:
        """The client is gone: settle what is open, say goodbye to the backend."""

    def server_closed(self) -> Steps[None]:
        """The backend is gone: settle what is open, tell the client."""

    def end(self, refusal: Refusal) -> Steps[None]:
        """End the session between requests (expired identity, drain, broken log) with a clear error."""

    @property
    def is_stalled(self) -> bool:
        """True while frames of the client wait for a reply of the backend: the driver need not read
        more from the client (back-pressure); `server_data` goes on with them by itself."""

    def interrupt(self) -> Steps[None]:
        """Somebody holds this session's cancel key: forward it if a request is running."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """What happens to one stream of a connection: it opens, brings `data` (of which `size` bytes are content that its window
    counts), takes data again, or ends before its time; `is_untouched`: and the backend has looked at nothing that came on it."""

    stream: int
    data: bytes = b""
    size: int = 0
    opens: bool = False
    drained: bool = False
    ends: bool = False
    is_untouched: bool = False


@runtime_checkable
class Multiplexer(Protocol):
    """A client's connection that carries many streams (HTTP/2): its frames. Sans-IO and synchronous; a log-in returns it in
    place of a mediator, and the driver gives each stream a mediator and a session of its own."""

    @property
    def has_ended(self) -> bool:
        """True when no stream can be opened any more."""

    def mediator(self) -> Mediator:
        """Of one stream."""

    def receive(self, data: bytes) -> list[StreamEvent]:
        """What the client's bytes mean."""

    def outgoing(self) -> bytes:
        """Bytes for the client that wait to be sent; to be asked for after every other call."""

    def send(self, number: int, data: bytes) -> bool:
        """Bytes of a stream's mediator; True when nothing of the stream is left to be said."""

    def taken(self, number: int, size: int) -> None:
        """A stream's mediator has taken so many bytes of content."""

    def is_slow(self, number: int) -> bool:
        """Whether a stream's client is behind."""

    def closed(self, number: int) -> None:
        """A stream's mediator is gone."""

    def end(self) -> None:
        """Let no more streams be opened."""


class Bundle(Protocol):
    """A connection to a backend that carries streams of many sessions (HTTP/2): its frames. Sans-IO and synchronous. On each
    stream a session speaks as it would over a connection of its own, once."""

    @property
    def is_ready(self) -> bool:
        """True once the backend has shown that it speaks this."""

    @property
    def has_ended(self) -> bool:
        """True when no stream can be opened any more."""

    @property
    def room(self) -> int:
        """Streams that may be opened now."""

    def open(self) -> int:
        """A new stream's number."""

    def receive(self, data: bytes) -> list[StreamEvent]:
        """What the backend's bytes mean."""

    def outgoing(self) -> bytes:
        """Bytes for the backend that wait to be sent; to be asked for after every other call."""

    def send(self, number: int, data: bytes) -> bool:
        """Bytes of a stream's session. False where the stream is gone."""

    def taken(self, number: int, size: int) -> None:
        """A stream's session has taken so many bytes of content."""

    def is_slow(self, number: int) -> bool:
        """Whether the backend is behind with a stream."""

    def closed(self, number: int) -> None:
        """A stream's session has left it."""

    def lost(self) -> list[StreamEvent]:
        """The connection is gone."""

    def end(self) -> None:
        """Let no more streams be opened."""

    def goodbye(self) -> None:
        """No stream is left, and the connection is about to be closed."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a client came in: which listener, and what the listener is bound to."""

    listener: str
    connection: str | None     # set where the port belongs to one connection
    peer: str                  # ``ip:port``
    is_loopback: bool
    allow_plaintext: bool      # the listener accepts tokens without TLS (loopback only)
    has_tls: bool              # the listener has a certificate
    is_proxy: bool = False     # the listener is a forward proxy as well
    takes_certificates: bool = False    # a certificate that the client shows in TLS may stand in a token's place


@dataclass(frozen=True, slots=True)
class Piped:
    """What came with a client that speaks over the standard streams of a program (`ProtocolSpec.piped`): its token, what its command
    line names as the backend (None: nothing), and what it says of itself."""

    token: Secret
    program: Program | None = None
    claims: Mapping[str, str] = field(default_factory=dict)


class Definitions(Protocol):
    """The definitions of every connection, kept over restarts. Raises where they cannot be read or written."""

    def of(self, connection: str) -> Mapping[str, Definition]:
        """By name."""

    def put(self, connection: str, definition: Definition) -> None:
        """Keep this one in the place of the one that has its name."""


@dataclass(slots=True)
class Passing:
    """Definitions in memory: of a gateway without a state folder, and of tests."""

    kept: dict[str, dict[str, Definition]] = field(default_factory=dict)

    def of(self, connection: str) -> Mapping[str, Definition]:
        """By name."""
        return self.kept.get(connection, {})

    def put(self, connection: str, definition: Definition) -> None:
        """Keep this one."""
        self.kept.setdefault(connection, {})[definition.name] = definition


@dataclass(frozen=True, slots=True)
class LoginContext:
    """What a login may look up. `connections` maps names to settings of this protocol only."""

    route: Route
    connections: Mapping[str, Any]
    by_server_name: Callable[[str], str | None]
    cancel_key: Callable[[int], bytes]
    """A new cancel key of so many random bytes, unique in this process and registered for this session.

    `Interrupt(key)` later names the session by exactly these bytes.
    """
    limits: Limits = field(default_factory=Limits)
    keys: MaskKeys | None = None
    """Of masks that need one; None: such masks cannot be made, and results that are due one are refused."""
    now: Callable[[], float] = time.time
    """Unix seconds, for what is signed with its time."""
    definitions: Definitions = field(default_factory=Passing)
    """What backends have said of their tools, and what of it was accepted."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What a protocol's sessions have in common in this process; it is the protocol's to fill, and to bound."""
    piped: Piped | None = None
    """Of a log-in by `ProtocolSpec.piped`; `route.connection` is the connection that is asked for."""


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """What a probe works with: the connection, the version that its catalogue shall bear, and the
    catalogue it would replace (given back unchanged where the backend's fingerprint is the same;
    None, or `fresh`, asks for a new one in any case).
    """

    connection: Connection
    version: int
    previous: Any = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Enforcement:
    """One row of the enforcement table: how one rule is held on one connection.

    `problem` is None when it is; otherwise the gateway refuses to start with it (I5). `doubt` is what is probably a
    mistake, and starts all the same. `subject` is what of the rule the row is about (a glob), to find its line.
    """

    connection: str
    rule: str
    control: str
    how: str
    problem: str | None = None
    doubt: str | None = None
    subject: str = ""


class Decoder(Protocol):
    """Reads the recorded bytes of one stream. Sans-IO; never raises for bytes that do not add up, but shows them."""

    def take(self, event: Event) -> list[Shown]: ...


Written = Callable[[Header, Iterable[Shown]], Iterator[str]]
"""A recording in some format, line by line."""


def _as_it_is(_connection: Connection, secret: Secret) -> Sequence[Secret]:
    return (secret,)


@dataclass(frozen=True, slots=True)
class RecordingSpec:
    """How sessions of a protocol are recorded: `kind` is ``sql``, ``terminal`` or ``exchanges``. `decoder` makes what reads
    the bytes (None: they are text for a terminal). `is_wire`: the bytes on the wire are recorded as they are; else what the
    mediator says with `Passed`, or, with `tap`, what that makes of what passes."""

    kind: str
    decoder: Callable[[], Decoder] | None = None
    is_wire: bool = True
    tap: TapMaker | None = None
    piped: TapMaker | None = None
    """The tap of sessions with a program (`ProtocolSpec.piped`); None: they cannot be recorded."""
    formats: Mapping[str, Written] = field(default_factory=dict)
    """Formats of the protocol's own, by name; one that is called as a general one goes before it."""
    spelled: Callable[[Connection, Secret], Sequence[Secret]] = _as_it_is
    """How the backend's credential looks on the wire, so that it is found in what is recorded."""
    secrets: Callable[[Connection], Sequence[SecretReference]] = lambda _: ()
    """Other secrets of a connection that go to its backend."""


@dataclass(frozen=True, slots=True)
class Spare:
    """A backend's end as its mediator leaves it: good for another session within so many `seconds`; of the same caller
    only, where `is_bound`."""

    seconds: float
    is_bound: bool = False


@dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """A protocol, as its folder's `__init__.py` exports it under the name `SPEC`."""

    name: str
    title: str
    default_port: int
    settings: type[BaseModel]
    """Protocol-specific keys of a connection (validated, frozen)."""
    login: Callable[[LoginContext], Steps[Mediator | Multiplexer | None]]
    """From the first byte to a mediator, or None where the connection ended properly (cancel, refusal)."""
    probe: Callable[[ProbeContext], Steps[Any]] | None
    """Runs on a connection that the gateway holds itself and returns a catalogue; sees no client."""
    enforce: Callable[[str, Any, Sequence[Rule], Any], list[Enforcement]]
    """(connection name, settings, rules that apply, catalogue or None) → rows for `lockgate check`."""
    facts: Mapping[str, str]
    """Fact name → one line of documentation, for conditions (`op.<name>`) and the generated docs."""
    verbs: frozenset[str]
    """Every verb that this protocol can report."""
    qualified: Mapping[str, str] = field(default_factory=dict)
    """Fact that is a list of dotted names → an example of one, so that a condition with a part less is found."""
    columns: Callable[[Any], list[str]] | None = None
    """(catalogue) → the name of everything that a label can name, in order; None where there is no such thing."""
    recording: RecordingSpec | None = None
    """How sessions are recorded; None where they cannot be."""
    leaktest: LeakSuite | None = None
    """What `lockgate leaktest` fires at a gateway for this protocol; None where there is no such test."""
    exported: Exported = field(default_factory=Exported)
    """How its requests are told to a SIEM or a tracing system."""
    proxies: bool = False
    """Whether its listeners can be forward proxies."""
    needs_user: bool = True
    """Whether the backend's credential has a user's name."""
    problems: Callable[[Connection], Iterable[tuple[tuple[str, ...], str]]] = lambda _: ()
    """(connection, its options validated) → what does not go together in its settings: (keys that lead to it, sentence)."""
    piped: Callable[[LoginContext], Steps[Mediator | None]] | None = None
    """The log-in of a client that speaks over standard streams, to a connection without an address: `lockgate NAME run`
    stands in the program's place. Its mediator is a `PipedMediator` too. None: every connection has an address."""
    attach: Callable[[Any, Path], tuple[Any, tuple[Path, ...]]] = lambda options, _: (options, ())
    """(a connection's options validated, the configuration's folder) → the same with what the files hold that they name, and
    those files. Raises `ConfigError`."""
    noun: str = "request"
    """What is judged one by one, as people and models call it, for the words of refusals."""
    redials: bool = False
    """The backend's connection may end and be dialled again within a client's connection, which outlives it; the
    mediator admits sessions itself. Else the two end together."""
    bundles: Mapping[str, Callable[[bool], Bundle]] = field(default_factory=dict)
    """What `Reach` may agree on of which one connection carries streams of many sessions; (is there TLS) → its frames."""
    spare: Callable[[Any], Spare | None] = lambda _: None
    """(mediator) → whether the backend's end that `Reach` gave it is good for another session, now that this one leaves it.
    None: it is closed."""
