"""The audit log as the gateway uses it: admission, the writer's thread, and failing closed.

    caller : admit (bounded, a few microseconds) → queue
    writer : take what queued while the last fsync ran → leaves, tree, signature → one COMMIT
             → one `dispatch` per batch, which tells every caller
    error  : tell all of them, poisoned: nothing is accepted until a restart with recovery

There is no timer in front of a record that somebody waits for. Records that nobody waits for
(`audit: async`, outcomes) are gathered for at most `GATHER` seconds, so that they do not cost a
commit each. Matches `govern.ports.Recorder`, which this layer may not import.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from lockgate.audit import keys, leaves
from lockgate.audit.entry import is_opaque, require_type
from lockgate.audit.failures import Locked, Overload, Poisoned, UnknownSession
from lockgate.audit.leaves import Draft
from lockgate.audit.ledger import Session
from lockgate.audit.storage.checkpointer import Checkpointer
from lockgate.audit.storage.sqlite import FILE, SqliteStore
from lockgate.audit.writer import PAYLOAD_LIMIT, Item, Writer
from lockgate.errors import AuditError
from lockgate.model import Event, Intent, Outcome, SessionStart

Done = Callable[[AuditError | None], None]
Dispatch = Callable[[Callable[[], None]], None]

GATHER: Final = 0.01                # seconds
_HURRY: Final = 1_024               # waiting records that end the gathering early
_BATCH: Final = 4_096               # records in one transaction
_BYTES: Final = 256 * 1024 * 1024   # payload waiting in the queue
_RESERVE: Final = 2                 # outcomes and ends may fill the queue this many times over


class Clock(Protocol):
    """Unix seconds."""

    def now(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()


class AuditLog:
    """An open log. All calls are made on one thread (the driver's), where `dispatch` calls back too.

    Made by `open` only. After `Poisoned` every call raises it, until the process starts anew.
    """

    def __init__(
        self, writer: Writer, store: SqliteStore, folder: Path, lock: int, *,
        dispatch: Dispatch, queue: int, clock: Clock, vfs: str | None,
    ) -> None:
        self._writer = writer
        self._store = store
        self._folder = folder
        self._lock = lock
        self._dispatch = dispatch
        self._bound = queue
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._failure: AuditError | None = None
        self._closing = False
        self._items: deque[tuple[Item, Done | None, int]] = deque()
        self._in_flight: list[tuple[Item, Done | None, int]] = []
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._idle = self._urgent = self._signalled = self._publish_due = False
        self._admitted = self._finished = 0
        self._admitted_bytes = self._finished_bytes = 0
        self._checkpointer = Checkpointer(store.path, store.connection, vfs)
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
        facts: Mapping[str, str | int | bool | None] | None = None,
        payload_limit: int = PAYLOAD_LIMIT,
        vfs: str | None = None,
    ) -> AuditLog:
        """Check the whole log, close what a crash left open, and accept records.

        `facts` go into `node_start` (configuration and policy hash, audit mode). Raises `AuditError`
        where the log is locked, unreadable or has been altered (`Tampered` names the first bad entry).
        """
        clock = clock or SystemClock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _lock(folder / "lock")
        except OSError as error:
            raise AuditError(f"{folder}: {error.strerror}", advice="make the state folder writable") from None
        store: SqliteStore | None = None
        try:
            signer = keys.load_or_create(folder, origin, may_create=not (folder / FILE).exists())
            store = SqliteStore.open(folder / FILE, origin=origin, fresh_key=secrets.token_bytes(32), vfs=vfs)
            writer = Writer(store, signer, secrets.token_hex(8), payload_limit)
            crashed = writer.recover(_published(folder / keys.CHECKPOINT_FILE))
            writer.commit(_reopening(crashed, clock.now(), writer.epoch, facts or {}))
        except AuditError:
            if store is not None:
                store.close()
            os.close(lock)
            raise
        return cls(writer, store, folder, lock, dispatch=dispatch, queue=queue, clock=clock, vfs=vfs)

    def close(self) -> None:
        """End every session, append `node_stop`, wait until all of it is durable. Idempotent.

        After a failed write it only lets go of the files.
        """
        if self._closing:
            return
        if self._failure is None:
            for sid in list(self._sessions):
                self.end_session(sid, "shutdown")
            self._admit((None, 0, self._clock.now(), Draft({"type": "node_stop"})), None, 0)
        self._closing = True
        self._wake.put(None)
        self._thread.join()
        self._checkpointer.stop()
        try:
            if self._failure is None:
                self._publish()
                self._store.finish()
        finally:
            self._store.close()
            os.close(self._lock)

    def heartbeat(self, counts: Mapping[str, int] | None = None) -> None:
        """Append a sign of life (call it every 60 s) and put the newest checkpoint beside the log."""
        self._require_writable()
        data = {name: leaves.plain(count) for name, count in (counts or {}).items()}
        self._admit((None, 0, self._clock.now(), Draft(
            {"type": "heartbeat", "sessions": len(self._sessions), "data": data})), None, 0)
        self._publish_due = True

    # ------------------------------------------------------------ the Recorder

    @property
    def is_writable(self) -> bool:
        """False once the log is poisoned or closed: nothing may be forwarded."""
        return self._failure is None and not self._closing

    @property
    def queued(self) -> int:
        """Records that are accepted and not durable yet."""
        return self._admitted - self._finished

    @property
    def size(self) -> int:
        """Entries that are durable."""
        return self._writer.size

    def begin_session(self, start: SessionStart, done: Done) -> None:
        """Append `session_begin`, number 0 of the session."""
        self._require_room()
        if start.session in self._sessions or not is_opaque(start.session):
            raise UnknownSession("a session's id is opaque and used once")
        session = self._sessions[start.session] = Session(start.session)
        session.next = 1
        self._admit((session, 0, self._clock.now(), start), done, 0)

    def intent(self, intent: Intent, done: Done | None) -> int:
        """Queue an intent; with `done` the caller is told when it is durable. Returns its number."""
        self._require_room()
        session = self._sessions.get(intent.session)
        if session is None:
            raise UnknownSession("the session has not begun, or has ended")
        size = len(intent.text) + len(intent.forwarded)
        for parameter in intent.parameters:
            if parameter is not None:
                size += len(parameter)
        number = session.next
        session.next = number + 1
        if intent.refusal is None and intent.decision != "deny":
            session.open.add(number)
        self._admit((session, number, self._clock.now(), intent), done, size)
        return number

    def outcome(self, outcome: Outcome) -> None:
        """Queue the outcome of an intent. A second one for the same intent is an error of the caller."""
        self._require_room(_RESERVE)
        session = self._sessions.get(outcome.session)
        if session is None or outcome.record not in session.open:
            raise UnknownSession("no intent of an open session waits for this outcome")
        session.open.discard(outcome.record)
        self._next(session, outcome, None)

    def event(self, event: Event, done: Done | None = None) -> None:
        """Queue any other record, of a session or of the gateway itself."""
        self._require_room(1 if done is not None else _RESERVE)
        require_type(event.type)
        if event.type in leaves.RESERVED:
            raise UnknownSession(f"{event.type} is not an event")
        if event.session is None:
            self._admit((None, 0, self._clock.now(), event), done, len(event.payload))
            return
        session = self._sessions.get(event.session)
        if session is None:
            raise UnknownSession("the session has not begun, or has ended")
        self._next(session, event, done, len(event.payload))

    def end_session(self, session: str, cause: str) -> None:
        """Queue `session_end`. Intents that are still open get the outcome ``unknown`` first."""
        self._require_writable()
        ending = self._sessions.pop(session, None)
        if ending is None:
            return
        for record in sorted(ending.open):
            self._next(ending, leaves.unknown_outcome(record, "session ended"), None)
        ending.open.clear()
        self._next(ending, Draft({"type": "session_end", "cause": cause[:200]}), None)

    # ------------------------------------------------------------ admission

    def _next(self, session: Session, value: object, done: Done | None, size: int = 0) -> None:
        number = session.next
        session.next = number + 1
        self._admit((session, number, self._clock.now(), value), done, size)

    def _require_writable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closing:
            raise Poisoned("the audit log is closed")

    def _require_room(self, times: int = 1) -> None:
        if self._failure is not None or self._closing:
            self._require_writable()
        if self._admitted - self._finished >= self._bound * times:
            raise Overload("the audit queue is full")
        if self._admitted_bytes - self._finished_bytes >= _BYTES:
            raise Overload("the audit queue holds too many bytes")

    def _admit(self, item: Item, done: Done | None, size: int) -> None:
        self._admitted += 1
        self._admitted_bytes += size
        self._items.append((item, done, size))
        if done is not None:
            self._urgent = True
        # The item is in the queue before these flags are read, and the writer clears them before it
        # drains: an item is either drained or its signal is seen.
        if not self._signalled and (done is not None or self._idle or len(self._items) >= _HURRY):
            self._signalled = True
            self._wake.put(None)

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

    def _gather(self) -> list[tuple[Item, Done | None, int]]:
        """What queued meanwhile; empty when the log is closing and nothing is left."""
        while True:
            if not self._items:
                self._idle = True
                if not self._items:
                    if self._closing:
                        return []
                    self._wake.get()
                self._idle = False
            if not (self._urgent or self._closing):
                try:
                    self._signalled = False
                    self._wake.get(timeout=GATHER)
                except Empty:
                    pass
            self._signalled = self._urgent = False
            items = self._items
            batch = [items.popleft() for _ in range(min(len(items), _BATCH))]
            if batch:
                if items:
                    self._urgent = True
                return batch

    def _write(self, batch: list[tuple[Item, Done | None, int]]) -> None:
        self._in_flight = batch
        self._writer.commit([item for item, _, _ in batch])
        self._in_flight = []
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
        waiting = [*self._in_flight, *self._items]
        self._in_flight = []
        self._items.clear()
        self._tell([done for _, done, _ in waiting if done is not None], self._failure)

    def _tell(self, waiting: list[Done], error: AuditError | None) -> None:
        if not waiting:
            return

        def tell() -> None:
            for done in waiting:
                done(error)

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


def _reopening(
    crashed: Mapping[str, Session], now: float, epoch: int, facts: Mapping[str, Any]
) -> list[Item]:
    """What a start appends: that it happened, and an end to whatever the last process left open."""
    said = {name: leaves.plain(value) for name, value in facts.items()}
    items: list[Item] = [(None, 0, now, Draft(
        {"type": "node_start", "epoch": epoch, "version": _version(), "data": said}))]
    for session in crashed.values():
        for record in sorted(session.open):
            items.append((session, session.next, now, leaves.unknown_outcome(record, "crash")))
            session.next += 1
        items.append((session, session.next, now, Draft({"type": "session_end", "cause": "crash"})))
    return items


def _version() -> str:
    try:
        return metadata.version("lockgate")
    except metadata.PackageNotFoundError:
        return "source"


def _published(path: Path) -> str | None:
    try:
        return path.read_bytes()[:4096].decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise AuditError(f"{path}: unreadable", advice="keep it as evidence and find out who changed it") from None


def _lock(path: Path) -> int:
    """Hold the folder for this process; the kernel lets go of it when the process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Locked(f"{path.parent}: another gateway uses this audit log",
                     advice="stop it, or give each gateway a state folder of its own") from None
    return descriptor
