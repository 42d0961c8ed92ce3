"""The audit log as the gateway uses it: admission, the writer's thread, and failing closed.

    caller : admit (bounded, a few microseconds) → queue
    thread : take what queued while the last fsync ran → leaves, tree, signature → one COMMIT
             → one `dispatch` per batch, which tells every caller; a writer in another process is sent
             the next batch while it commits the last one
    error  : tell all of them, poisoned: nothing is accepted until a restart with recovery

There is no timer in front of a record that somebody waits for. Records that nobody waits for
(`audit: async`, outcomes) are gathered for at most `GATHER` seconds, so that they do not cost a
commit each. Matches `govern.ports.Recorder`, which this layer may not import.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

from lockgate.audit import keys, leaves
from lockgate.audit.apart.link import Link
from lockgate.audit.bell import Bell
from lockgate.audit.entry import is_opaque, require_type
from lockgate.audit.evidence.erasures import erased_ranges
from lockgate.audit.evidence.recordings import RECORDING_CUT, RECORDING_MARK, RecordedStreams
from lockgate.audit.failures import MalformedEntry, Overload, Poisoned, Uncosigned, UnknownSession
from lockgate.audit.leaves import Draft
from lockgate.audit.opening import Recovered, lock_folder, recover, reopening
from lockgate.audit.recording.reel import Mark
from lockgate.audit.signing.opening import Settings
from lockgate.audit.storage.database.place import Place
from lockgate.audit.storage.sqlite import SqliteStore
from lockgate.audit.writer import PAYLOAD_LIMIT
from lockgate.errors import AuditError
from lockgate.model import Erasure, Event, Intent, Outcome, SessionStart

Done = Callable[[AuditError | None], None]
Dispatch = Callable[[Callable[[], None]], None]

GATHER: Final = 0.01                # seconds
_HURRY: Final = 1_024               # waiting records that end the gathering early
_BATCH: Final = 4_096               # records in one transaction
_SPLIT: Final = 96                  # records that are two transactions where the first can overtake the second
_BYTES: Final = 256 * 1024 * 1024   # payload waiting in the queue
_RESERVE: Final = 2                 # outcomes and ends may fill the queue this many times over


class Clock(Protocol):
    """Unix seconds."""

    def now(self) -> float: ...


class _Committer(Protocol):
    """A `Writer`, here or at the other end of a `Link`."""

    @property
    def size(self) -> int: ...

    @property
    def note(self) -> str: ...

    def prepare(self, sid: str | None, number: int, now: float, value: object) -> tuple[Any, int]: ...

    @property
    def ahead(self) -> int:
        """How many batches may be submitted before the first of them is collected."""

    def submit(self, items: Sequence[Any]) -> None:
        """Begin to commit a batch."""

    def wait_settled(self, bell: Bell) -> bool:
        """Return True when `collect` would not wait, or False when the bell was rung before that."""

    def collect(self) -> None:
        """Return when the oldest submitted batch is durable, or raise `AuditError`."""

    def settle(self) -> None: ...

    def close(self) -> None: ...


class _Files(Protocol):
    """What a clean end finishes, and every end closes: a store, or the link to the process that has it."""

    def finish(self) -> None: ...

    def close(self) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()


class _Open:
    """A session as admission knows it: its next number, the intents that wait for an outcome, and its recording."""

    __slots__ = ("next", "open", "recorded")

    def __init__(self) -> None:
        self.next = 1       # 0 is `session_begin`
        self.open: set[int] = set()
        self.recorded: RecordedStreams | None = None


class AuditLog:
    """An open log. All calls are made on one thread (the driver's), where `dispatch` calls back too.

    Made by `open` only. After `Poisoned` every call raises it, until the process starts anew.
    """

    def __init__(
        self, writer: _Committer, store: _Files, folder: Path, lock: int, *,
        dispatch: Dispatch, queue: int, clock: Clock,
    ) -> None:
        self._writer = writer
        self._store = store
        self._folder = folder
        self._lock = lock
        self._dispatch = dispatch
        self._bound = queue
        self._clock = clock
        self._sessions: dict[str, _Open] = {}
        self._failure: AuditError | None = None
        self._closing = False
        self._withheld: str | None = None
        self._items: deque[tuple[Any, Done | None, int]] = deque()
        self._in_flight: deque[list[tuple[Any, Done | None, int]]] = deque()
        self._bell = Bell()
        self._idle = self._urgent = self._signalled = self._telling = self._publish_due = False
        self._enough = 1        # urgent records that are worth waking the writer
        self._admitted = self._finished = 0
        self._base = writer.size
        self._admitted_bytes = self._finished_bytes = 0
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ opening and closing

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        origin: str,
        dispatch: Dispatch,
        queue: int = 10_000,
        clock: Clock | None = None,
        facts: Mapping[str, object] | None = None,
        payload_limit: int = PAYLOAD_LIMIT,
        signer: Settings | None = None,
        apart: bool = False,
        vfs: str | None = None,
        place: Place | None = None,
        shard: int = 1,
    ) -> AuditLog:
        """Check the whole log, close what a crash left open, and accept records.

        With `apart` a process of its own writes; `vfs` is for a log that is written by this one. With
        `place` the log is a shard in a database, and the folder holds what lies beside it.
        `facts` go into `node_start` (configuration and policy hash, audit mode); `signer` says who signs
        (`signing.opening`), by default whoever signed last, and at first a key file. Raises `AuditError`
        where the log is locked, unreadable or has been altered (`Tampered` names the first bad entry).
        """
        clock = clock or SystemClock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = lock_folder(folder / "lock")
        except OSError as error:
            raise AuditError(f"{folder}: {error.strerror}", advice="make the state folder writable") from None
        recovered: Recovered | None = None
        try:
            recovered = recover(folder, origin, signer=signer, payload_limit=payload_limit, vfs=vfs, place=place,
                                shard=shard)
            writer, store = recovered.writer, recovered.store
            writer.commit(reopening(recovered, clock.now(), facts or {}))
            writer.settle()
            if apart:
                recovered.close()
                terms = {**writer.terms(folder), "database": store.terms(), "signer": dict(recovered.settings)}
                link = Link.start(terms, store.pseudonyms, lock)
                return cls(link, link, folder, lock, dispatch=dispatch, queue=queue, clock=clock)
            if isinstance(store, SqliteStore):
                store.checkpoint_apart(vfs)
        except AuditError:
            if recovered is not None:
                recovered.close()
            os.close(lock)
            raise
        return cls(writer, store, folder, lock, dispatch=dispatch, queue=queue, clock=clock)

    def close(self) -> None:
        """End every session, append `node_stop`, wait until all of it is durable. Idempotent.

        After a failed write it only lets go of the files.
        """
        if self._closing:
            return
        if self._failure is None:
            for sid in list(self._sessions):
                self.end_session(sid, "shutdown")
            self._admit(None, 0, Draft({"type": "node_stop"}), None)
        self._closing = True
        self._bell.ring()
        self._thread.join()
        self._bell.close()
        try:
            if self._failure is None:
                self._writer.settle()
                self._publish()
                self._store.finish()
        finally:
            self._writer.close()
            self._store.close()
            os.close(self._lock)

    def heartbeat(self, counts: Mapping[str, int] | None = None) -> None:
        """Append a sign of life (call it every 60 s) and put the newest checkpoint beside the log."""
        self._require_writable()
        data = {name: leaves.plain(count) for name, count in (counts or {}).items()}
        self._admit(None, 0, Draft({"type": "heartbeat", "sessions": len(self._sessions), "data": data}), None)
        self._publish_due = True

    # ------------------------------------------------------------ the Recorder

    @property
    def is_writable(self) -> bool:
        """False once the log is poisoned or closed: nothing may be forwarded."""
        return self._failure is None and not self._closing

    @property
    def is_congested(self) -> bool:
        """True while more than half of what may wait does: who comes now should wait for durability.

        That slows senders down to what the disk takes, long before `Overload` turns them away.
        """
        return (2 * (self._admitted - self._finished) > self._bound
                or 2 * (self._admitted_bytes - self._finished_bytes) > _BYTES)

    @property
    def queued(self) -> int:
        """Records that are accepted and not durable yet."""
        return self._admitted - self._finished

    @property
    def folder(self) -> Path:
        """Where the log is."""
        return self._folder

    @property
    def size(self) -> int:
        """Entries that are durable. With `queued` it is all that were ever accepted, at any moment."""
        return self._base + self._finished

    def withhold(self, reason: str | None) -> None:
        """Take no new session and no new intent for this reason, until it is None again. What runs may end."""
        self._withheld = reason

    @property
    def withheld(self) -> str | None:
        """Why nothing new is taken, or None."""
        return self._withheld

    def begin_session(self, start: SessionStart, done: Done) -> None:
        """Append `session_begin`, number 0 of the session."""
        self._require_new()
        if start.session in self._sessions or not is_opaque(start.session):
            raise UnknownSession("a session's id is opaque and used once")
        self._admit(start.session, 0, start, done)
        self._sessions[start.session] = _Open()

    def intent(self, intent: Intent, done: Done | None) -> int:
        """Queue an intent; with `done` the caller is told when it is durable. Returns its number."""
        self._require_new()
        session = self._sessions.get(intent.session)
        if session is None:
            raise UnknownSession("the session has not begun, or has ended")
        number = self._next(intent.session, session, intent, done)
        if intent.refusal is None and intent.decision != "deny":
            session.open.add(number)
        return number

    def outcome(self, outcome: Outcome) -> None:
        """Queue the outcome of an intent. A second one for the same intent is an error of the caller."""
        self._require_room(_RESERVE)
        session = self._sessions.get(outcome.session)
        if session is None or outcome.record not in session.open:
            raise UnknownSession("no intent of an open session waits for this outcome")
        self._next(outcome.session, session, outcome, None)
        session.open.discard(outcome.record)

    def event(self, event: Event, done: Done | None = None) -> None:
        """Queue any other record, of a session or of the gateway itself."""
        self._require_room(1 if done is not None else _RESERVE)
        require_type(event.type)
        if event.type in leaves.RESERVED or event.type == "erasure":
            raise UnknownSession(f"{event.type} is not an event")
        if event.session is None:
            self._admit(None, 0, event, done)
            return
        session = self._sessions.get(event.session)
        if session is None:
            raise UnknownSession("the session has not begun, or has ended")
        self._next(event.session, session, event, done)

    def mark(self, session: str, stream: str, mark: Mark, *, final: bool) -> None:
        """Queue a `rec_mark`: what of a recording's stream is on the disk."""
        self._recorded(session, RECORDING_MARK, {"stream": stream, "chunks": mark.chunks, "bytes": mark.size,
                                       "root": mark.root.hex(), "final": final})

    def truncated(self, session: str, stream: str, dropped: int, reason: str) -> None:
        """Queue `recording_truncated`: a stream of which no more is recorded, and how many bytes were dropped."""
        self._recorded(session, RECORDING_CUT, {"stream": stream, "bytes": dropped, "reason": reason[:200]})

    def _recorded(self, sid: str, kind: str, data: dict[str, Any]) -> None:
        """At most one a second or mebibyte of a stream, so there is room for it whatever the queue holds."""
        self._require_writable()
        session = self._sessions.get(sid)
        if session is None:
            raise UnknownSession("the session has not begun, or has ended")
        session.recorded = session.recorded or RecordedStreams()
        session.recorded.take(kind, data)
        self._next(sid, session, Event(kind, data, sid), None)

    def append(self, record: Event | Erasure, done: Done) -> int:
        """Queue a record of the gateway itself. Returns the index that it has once `done` was told None.

        An erasure destroys the payloads that it names in the transaction that makes it durable.
        """
        self._require_room()
        if isinstance(record, Event):
            require_type(record.type)
            if record.type in leaves.RESERVED or record.type == "erasure" or record.session is not None:
                raise UnknownSession(f"{record.type} is no record of the gateway itself")
        elif not _is_apart(record.ranges) or record.ranges[-1][1] >= self._base + self._admitted:
            raise MalformedEntry("an erasure names ranges of earlier entries, in order and apart")
        index = self._base + self._admitted     # one entry for each record, in the order of admission
        self._admit(None, 0, record, done)
        return index

    def end_session(self, session: str, cause: str) -> None:
        """Queue `session_end`, with what of the session is recorded. Intents that are still open get the outcome
        ``unknown`` first."""
        self._require_writable()
        ending = self._sessions.pop(session, None)
        if ending is None:
            return
        for record in sorted(ending.open):
            self._next(session, ending, leaves.unknown_outcome(record, "session ended"), None)
        ending.open.clear()
        fields: leaves.Fields = {"type": "session_end", "cause": cause[:200]}
        if ending.recorded is not None:
            fields["coverage"] = ending.recorded.coverage()
        self._next(session, ending, Draft(fields), None)

    # ------------------------------------------------------------ admission

    def _next(self, sid: str, session: _Open, value: object, done: Done | None) -> int:
        number = session.next
        self._admit(sid, number, value, done)
        session.next = number + 1
        return number

    def _require_writable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closing:
            raise Poisoned("the audit log is closed")

    def _require_new(self) -> None:
        if self._withheld is not None:
            self._require_writable()
            raise Uncosigned(f"nothing new is let through: {self._withheld}")
        self._require_room()

    def _require_room(self, times: int = 1) -> None:
        if self._failure is not None or self._closing:
            self._require_writable()
        if self._admitted - self._finished >= self._bound * times:
            raise Overload("the audit queue is full")
        if self._admitted_bytes - self._finished_bytes >= _BYTES:
            raise Overload("the audit queue holds too many bytes")

    def _admit(self, sid: str | None, number: int, value: object, done: Done | None) -> None:
        item, size = self._writer.prepare(sid, number, self._clock.now(), value)
        self._admitted += 1
        self._admitted_bytes += size
        self._items.append((item, done, size))
        if done is not None:
            self._urgent = True
        if not self._telling:
            self._signal()

    def _signal(self) -> None:
        """Ring for the writer, where there is something to write now."""
        # An item is in the queue before these flags are read, and the writer clears them before it
        # drains: an item is either drained or its signal is seen.
        waiting = len(self._items)
        if not (self._signalled or self._closing) and (
                (self._urgent and waiting >= self._enough) or (self._idle and waiting) or waiting >= _HURRY):
            self._signalled = True
            self._bell.ring()

    # ------------------------------------------------------------ the writer's thread

    def _run(self) -> None:
        clean = False
        try:
            while batch := self._gather():
                self._write(batch)
            clean = True
        except AuditError as error:
            self._poison(error)
            clean = True
        finally:
            if not clean:    # a fault in this program: fail closed, then let the thread's hook report it
                self._poison(AuditError("the audit writer failed"))

    def _gather(self) -> list[tuple[Any, Done | None, int]]:
        """What queued meanwhile; empty when the log is closing and nothing is left."""
        while True:
            if not self._items:
                self._idle = True
                if not self._items:
                    if self._closing:
                        return []
                    self._bell.wait()
                self._idle = False
            if not (self._urgent or self._closing):
                self._signalled = False
                self._bell.wait(GATHER)
            is_urgent, self._signalled, self._urgent = self._urgent, False, False
            items = self._items
            count = min(len(items), _BATCH)
            if is_urgent and count >= _SPLIT and self._writer.ahead > 1 and not self._in_flight:
                count = (count + 1) // 2
            batch = [items.popleft() for _ in range(count)]
            if batch:
                if items:
                    self._urgent = True
                return batch

    def _write(self, batch: list[tuple[Any, Done | None, int]]) -> None:
        self._in_flight.append(batch)
        self._writer.submit([item for item, _, _ in batch])
        while self._in_flight and (len(self._in_flight) >= self._writer.ahead or not self._wait_more()):
            self._writer.collect()
            self._committed(self._in_flight.popleft())

    def _wait_more(self) -> bool:
        """True when there is another batch to submit, False when the oldest one is settled before that.

        Only records that somebody waits for, or a long queue, are worth a batch behind another one, and only
        where they are many, and half as many as that: what a commit costs however small it is would be all of it.
        """
        self._enough = max(len(self._in_flight[-1]), _SPLIT) // 2
        try:
            while True:
                self._signalled = False
                waiting = len(self._items)
                if (self._urgent and waiting >= self._enough) or waiting >= _HURRY:
                    return True
                if self._writer.wait_settled(self._bell):
                    return False
        finally:
            self._enough = 1

    def _committed(self, batch: list[tuple[Any, Done | None, int]]) -> None:
        if self._publish_due:
            self._publish_due = False
            self._publish()
        self._finished += len(batch)
        self._finished_bytes += sum(size for _, _, size in batch)
        self._tell([done for _, done, _ in batch if done is not None], None)

    def _poison(self, cause: AuditError) -> None:
        """Nothing is accepted any more, and everybody who waits hears of it."""
        self._failure = Poisoned(
            f"nothing is recorded and nothing forwarded: {cause}",
            advice="free or repair the disk of the state folder, then restart the gateway",
        )
        waiting = [*chain.from_iterable(self._in_flight), *self._items]
        self._in_flight.clear()
        self._items.clear()
        self._tell([done for _, done, _ in waiting if done is not None], self._failure)

    def _tell(self, waiting: list[Done], error: AuditError | None) -> None:
        if not waiting:
            return

        def tell() -> None:
            # Who is told now may have the next record at once: all of them go into one batch.
            self._telling = True
            try:
                for done in waiting:
                    done(error)
            finally:
                self._telling = False
                self._signal()

        try:
            self._dispatch(tell)
        except RuntimeError:
            pass    # the driver's loop is closed: nobody is left to be told, and the records stand

    def _publish(self) -> None:
        """Put the newest durable checkpoint beside the log, for witnesses and against a roll-back.

        The records stand without it: where it cannot be written the next heartbeat tries again.
        """
        with contextlib.suppress(AuditError):
            keys.write_durably(self._folder / keys.CHECKPOINT_FILE, self._writer.note.encode(), 0o644)


def _is_apart(ranges: Sequence[tuple[int, int]]) -> bool:
    return erased_ranges({"data": {"ranges": [list(pair) for pair in ranges]}}) is not None
