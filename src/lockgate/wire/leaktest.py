"""The contract of a leak test: what a protocol brings so that `lockgate leaktest` can fire at a gateway.

Stands apart from `spec` because it is the other side of the wire: here the protocol's folder speaks as a
client. It opens no socket; whoever runs the test hands it a `Line`. A shape is a statement, or a few in
order, that would deliver a protected value or tell something about it; a ground is what shapes are fired
at. Values and statements here are the test's own canaries, never a gateway's secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from lockgate.errors import BackendError
from lockgate.model import Secret


class Line(Protocol):
    """One connection's bytes. Every call ends by the line's own deadline, with a `BackendError`."""

    @property
    def is_private(self) -> bool:
        """Whether what is sent can be read by the peer alone: TLS, or loopback."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes:
        """At least one byte, or b"" at the end."""

    def start_tls(self, alpn: tuple[str, ...]) -> None: ...

    def end_point(self) -> bytes | None:
        """The channel's binding (RFC 5929, `tls-server-end-point`), None without TLS."""

    def within(self, seconds: float) -> None:
        """Set the deadline to so many seconds from now."""

    def close(self) -> None: ...


class LineTimeout(Exception):
    """The line's deadline passed."""


class NotAdmitted(BackendError):
    """The server knows who it is and takes no session: what it waits for may be just what the test is about to make."""


class Inside(Enum):
    """The transaction block around a shot. Whatever it is, it is rolled back."""

    NOTHING = "none"
    BLOCK = "block"
    READ_ONLY = "read only"


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in where. `tls` is libpq's sslmode: disable, prefer, require, verify-ca or verify-full."""

    user: str
    database: str
    secret: Secret
    tls: str


@dataclass(frozen=True, slots=True)
class Shot:
    """Statements in their order, with the parameters of each."""

    statements: tuple[str, ...]
    parameters: tuple[tuple[str, ...], ...] = ()
    guesses: tuple[str, ...] = ()
    """The forms of a value that the statements hold, longest first: an answer may echo them."""

    def parameters_of(self, index: int) -> tuple[str, ...]:
        """Parameters of one statement; empty where it has none."""
        return self.parameters[index] if index < len(self.parameters) else ()


@dataclass(frozen=True, slots=True)
class Shape:
    """One way out for a value.

    With `wrong` it is a guess: `right` holds the canary and `wrong` another value, and it leaks if what comes
    back differs. Without, it leaks if the canary comes back in any form.
    """

    name: str
    group: str
    right: Shot
    wrong: Shot | None = None
    writes: bool = False
    """It changes the ground, so it is fired inside a transaction that is rolled back."""
    bare: bool = False
    """It cannot be fired inside a transaction block; the ground is looked at afterwards."""
    stated: str = ""
    """Why a gateway cannot close it, where the documentation says so and claims nothing."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Everything that came back for one shot: every message as (type, body), and rows as their cells."""

    messages: tuple[tuple[int, bytes], ...]
    rows: tuple[tuple[bytes | None, ...], ...]
    code: str = ""
    """The first error's code (SQLSTATE); empty where there was none."""
    reason: str = ""
    """The first error's text, which may hold what the server put into it."""
    end: str = ""
    """Why the conversation ended before its time (``timeout``, ``closed``, ``too much``, ``held``)."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A value that must not come back, and what else is known to be the same (text and binary forms)."""

    name: str
    text: str
    exact: frozenset[bytes] = frozenset()
    """Whole cells that are the value in other forms: its binary representation, a keyless hash."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is fired at. `build` and `drop` are for a direct connection; empty where nothing is made."""

    canaries: tuple[Canary, ...]
    shapes: tuple[Shape, ...]
    benign: tuple[Shape, ...]
    opening: tuple[str, ...]
    """Statements that begin each session."""
    probes: Mapping[str, Shot]
    """Labelled column → the plainest read of it, to see whether it is masked at all."""
    is_read_only: bool
    policy: str = ""
    """The lines of a policy that label the ground."""
    guard: str = ""
    """A statement that fails where something of the ground's name exists that the test did not make."""
    build: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    state: str = ""
    """A statement whose result changes when the ground has changed."""
    harvest: tuple[str, ...] = ()
    """Statements whose cells, read directly, are the canaries in the forms that the backend gives them."""


class LeakSession(Protocol):
    """One logged-in session of a test."""

    @property
    def is_usable(self) -> bool:
        """False once the peer has ended it or it was left in the middle of an answer."""

    def run(self, statement: str) -> tuple[tuple[bytes | None, ...], ...]:
        """Rows of a statement of the test itself. Raises `BackendError` with the server's words."""

    def cells(self, statement: str) -> frozenset[bytes]:
        """Every cell of a statement's result, in text and in binary form."""

    def deliver(self, shot: Shot, way: str, *, inside: Inside, seconds: float) -> Delivery:
        """Fire one shot one way."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LeakSuite:
    """What a protocol brings. `ways` are the ways in which each shape is fired."""

    scheme: str
    """Of the URLs that name a server (``scheme://user@host:port/database``)."""
    ways: tuple[str, ...]
    log_in: Callable[[Line, Login, tuple[str, ...]], LeakSession]
    """(line, login, statements that begin the session) → a session. Raises `BackendError`."""
    scratch: Callable[[], Ground]
    """A ground of its own, with new canaries."""
    columns: Callable[[Sequence[str], Sequence[str], str], Ground]
    """(columns as ``schema.table.column``, values that stand in them, condition or "") → a ground that is only
    read. Raises `ConfigError` for names and values that cannot be used."""
    notes: tuple[str, ...] = field(default=())
    """What the test does not see, for the report."""
