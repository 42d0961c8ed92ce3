"""What a store of the log is, whatever database it is in: how a batch is committed, how it is read.

A store offers one transaction for a batch and the head that it leads to, guarded by compare-and-swap
on size and epoch. Everything else that people see (tiles, packages, exports) is derived from a
`Source`, a read-only snapshot, and can be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from lockgate.errors import AuditError


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log stands. `note` is the newest signed checkpoint, empty before the first one.

    It is of this size where the log's key is in a file; a signer elsewhere may be some entries behind.
    """

    size: int
    epoch: int
    frontier: bytes
    note: str

    @property
    def signed(self) -> int:
        """The size that the note is of, 0 without one."""
        return signed_size(self.note, self.size)


def signed_size(note: str, size: int) -> int:
    """The size that a stored note says it is of; `size` where it is no checkpoint at all, 0 where there is none."""
    lines = note.split("\n", 2)
    if len(lines) == 3 and lines[1].isascii() and lines[1].isdecimal():
        return int(lines[1])
    return size if note else 0


@dataclass(slots=True)
class Batch:
    """What one transaction adds. Row shapes are the tables'."""

    entries: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    payloads: list[tuple[int, bytes]] = field(default_factory=list)
    keys: list[tuple[int, bytes]] = field(default_factory=list)
    begun: list[tuple[str, int]] = field(default_factory=list)
    ended: list[tuple[int, str]] = field(default_factory=list)
    destroyed: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of entries, both ends included, whose payloads and keys are destroyed by this batch."""
    is_kept: bool = False
    """Whether the checkpoint that is stored with this batch is kept for good, whatever the spacing."""
    signed: tuple[str, bytes] | None = None
    """Where the signer lags: the newest note that this process got, and the frontier of its tree."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that is kept for good, with the tree that it is of, and how often the log had been opened then."""

    size: int
    note: str
    frontier: bytes
    epoch: int


class Tail(Protocol):
    """The end of a log, in one snapshot, for whoever goes on with it without reading all of it. A context manager.

    Types are whatever the store holds. Every method may raise `AuditError`.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def kept(self, size: int) -> Kept | None:
        """The newest checkpoint that is kept of a tree of at most `size` entries."""

    def hashes(self, first: int, last: int) -> Iterator[bytes]:
        """Leaf hashes from `first` to `last` included, in order."""

    def rows(self, first: int) -> Iterator[tuple[Any, Any, Any]]:
        """Rows (index, hash, leaf) from `first` on, in order."""

    def rows_of(self, sids: Collection[str], first: int, last: int) -> Iterator[tuple[Any, Any, Any]]:
        """Rows from `first` to `last` included that belong to these sessions."""

    def open_sessions(self) -> dict[str, int]:
        """Sessions without an end, and the index that each began at."""

    def last_start(self, before: int) -> bytes | None:
        """The leaf of the newest `node_start` before an index."""


class Store(Protocol):
    """The writer's side. Used by one thread at a time."""

    pseudonyms: bytes
    """The key of the principals in this log's leaves."""

    def head(self) -> Head:
        """The head as stored."""

    def commit(self, batch: Batch, old: Head, new: Head) -> None:
        """Add the batch durably, or raise `AuditError`; what is stored then is unknown."""

    def leaves(self) -> Iterator[tuple[Any, Any, Any]]:
        """Every stored row (index, hash, leaf) in order."""

    def tail(self) -> Tail | None:
        """What a start reads of a log that is shared and long; None where it reads all of it (`leaves`)."""

    def resume_history(self) -> None:
        """Continue the spacing of kept checkpoints where the store left off."""

    def finish(self) -> None:
        """Everything is written: leave the store as readers like it best."""

    def close(self) -> None:
        """Let go of the store. What was not committed is not in it. Idempotent."""


class Source(Protocol):
    """The reader's side: one snapshot, which a running gateway does not change. A context manager.

    Types are whatever the store holds; `entry.parse` and the verifier check them. Every method may
    raise `AuditError`.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def origin(self) -> str:
        """The log's name."""

    @property
    def pseudonyms(self) -> bytes:
        """The key of the principals, for whoever may turn a name into a principal."""

    def head(self) -> Head:
        """The head of the snapshot."""

    def leaves(
        self, first: int = 0, last: int | None = None, containing: tuple[bytes, ...] = (),
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """Rows (index, leaf hash, leaf) from `first` to `last` included, in order; only leaves that contain
        each of these strings.
        """

    def hashes(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """Leaf hashes from `first` to `last` included, in order."""

    def note(self, size: int) -> str | None:
        """The checkpoint that is kept of exactly this size, or None."""

    def notes(self) -> Iterator[tuple[int, str]]:
        """Every checkpoint that is kept, by size; the head's own is not among them unless it is kept too."""

    def rows(
        self, first: int = 0, last: int | None = None,
    ) -> Iterator[tuple[int, bytes, bytes, bytes | None, bytes | None]]:
        """Entries from `first` to `last` included with their payloads, in order: index, leaf hash, leaf, key ‖ salt, sealed payload."""

    def counts(self) -> tuple[int, int, int]:
        """How many payload keys, payloads and sessions are stored, whatever they belong to."""

    def kept(self, index: int) -> tuple[bytes | None, bytes | None]:
        """Key ‖ salt and the sealed payload of an entry; None for what is not there."""

    def session(self, prefix: str) -> tuple[int, int | None, str]:
        """First and last index (None while it is open) and id of the one session whose id begins so.

        Raises `AuditError` where there is none, or more than one.
        """

    def sessions(self, first: int = 0, last: int | None = None) -> Iterator[tuple[str, int, int | None]]:
        """Sessions (id, first, last) that have records between two indices, in the order of their beginning."""


def the_one_session(prefix: str, look: Callable[[], Iterable[tuple[int, int | None, str]]]) -> tuple[int, int | None, str]:
    """Which of the sessions that `look` finds is meant: the one of exactly this id, else the only one.

    An id is printable ASCII (`entry.is_opaque`): for anything else the store is not asked.
    """
    rows = list(look()) if prefix and prefix.isascii() and prefix.isprintable() else []
    found = [row for row in rows if row[2] == prefix] or rows
    if not found:
        raise AuditError(f"no session begins with {prefix!r}", advice="`lockgate session list` names them")
    if len(found) > 1:
        raise AuditError(f"several sessions begin with {prefix!r}", advice="give more of the id")
    first, last, sid = found[0]
    return first, last, sid
