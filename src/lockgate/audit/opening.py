"""What an opening log does before it accepts records: hold the folder, find what was published, and
say in the log itself that it was opened and what a crash had left open.

Apart from `log` because none of it is needed once the log is open.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from lockgate.audit import leaves
from lockgate.audit.evidence.ledger import SIGNED_APART
from lockgate.audit.evidence.notes import NOTE_LIMIT
from lockgate.audit.failures import Locked
from lockgate.audit.keys import CHECKPOINT_FILE, COSIGNED_FILE
from lockgate.audit.leaves import Draft
from lockgate.audit.ledger import Session
from lockgate.audit.recording.coverage import crash_coverage
from lockgate.audit.recording.shelf import FolderShelf, Shelf
from lockgate.audit.signing.contract import CheckpointSigner
from lockgate.audit.signing.opening import Settings, key_path, open_signer, recall, remember, tempo
from lockgate.audit.signing.rotation import finish_elsewhere, finish_rotation
from lockgate.audit.storage.database.place import Place, read_pointer
from lockgate.audit.storage.database.store import DatabaseStore
from lockgate.audit.storage.sqlite import FILE, SqliteStore
from lockgate.audit.tiles.publisher import require_as_long
from lockgate.audit.writer import PAYLOAD_LIMIT, Item, Writer
from lockgate.errors import AuditError

_PATIENCE: Final = 2.0      # seconds for a killed gateway's writer to finish
_RETRY: Final = 0.02


def open_store(
    folder: Path, origin: str, fresh_key: bytes, place: Place | None, shard: int, vfs: str | None = None,
) -> SqliteStore | DatabaseStore:
    """The log's store: a shard in the database at `place`, else the file in the folder.

    Without a `fresh_key` only a log that exists is opened. Raises `AuditError`.
    """
    if place is not None:
        return DatabaseStore.open(place, shard=shard, origin=origin, fresh_key=fresh_key)
    if read_pointer(folder, password=False) is not None:
        # Whoever opened the shard without its lease would fence the gateway that has it.
        raise AuditError(f"{folder}: this log is in a database, where only a gateway that holds it may write",
                         advice="start the gateway, then ask again")
    return SqliteStore.open(folder / FILE, origin=origin, fresh_key=fresh_key, vfs=vfs)


@dataclass(frozen=True, slots=True)
class Recovered:
    """A log that was read and checked from its first entry on, ready to be written to."""

    folder: Path
    writer: Writer
    store: SqliteStore | DatabaseStore
    signer: CheckpointSigner
    settings: Settings
    crashed: Mapping[str, Session]
    """Sessions that the last process left open."""

    def shelf(self) -> Shelf:
        """The log's recordings."""
        return self.store.shelf() if isinstance(self.store, DatabaseStore) else FolderShelf(self.folder)

    def close(self) -> None:
        """Let go of the store and the signer."""
        self.writer.close()
        self.store.close()


def recover(
    folder: Path, origin: str, *, signer: Settings | None = None, payload_limit: int = PAYLOAD_LIMIT,
    vfs: str | None = None, place: Place | None = None, shard: int = 1,
) -> Recovered:
    """Open the log in a folder that is locked, or make one, and check all of it. Raises `AuditError`.

    Without `signer` it is the one that signed last, as the folder remembers.
    """
    settings = recall(folder) if signer is None else signer
    store = open_store(folder, origin, secrets.token_bytes(32), place, shard, vfs)
    writer: Writer | None = None
    try:
        finish_elsewhere(folder, origin, settings, store)
        made = open_signer(folder, origin, settings, may_create=store.head().size == 0)
        made = finish_rotation(folder, key_path(folder, settings), made, store)
        remember(folder, settings)
        writer = Writer(store, made, secrets.token_hex(8), payload_limit, tempo(settings))
        crashed = writer.recover({"published": published(folder / CHECKPOINT_FILE),
                                  "cosigned": published(folder / COSIGNED_FILE)})
        require_as_long(folder, made.verifier, writer.size)
    except AuditError:
        if writer is not None:
            writer.close()
        store.close()
        raise
    return Recovered(folder, writer, store, made, settings, crashed)


def reopening(recovered: Recovered, now: float, facts: Mapping[str, Any]) -> list[Item]:
    """What a start appends: that it happened, and an end to whatever the last process left open."""
    epoch, crashed = recovered.writer.epoch, recovered.crashed
    said = {name: leaves.plain(value) for name, value in facts.items() if name != "signer"}
    if recovered.signer.lags:
        said["signer"] = SIGNED_APART
    items: list[Item] = [(None, 0, now, Draft(
        {"type": "node_start", "epoch": epoch, "version": _version(), "data": said}))]
    for sid, session in crashed.items():
        number = session.next
        for record in sorted(session.open):
            items.append((sid, number, now, leaves.unknown_outcome(record, "crash")))
            number += 1
        fields: leaves.Fields = {"type": "session_end", "cause": "crash"}
        if session.recorded.is_any:
            with recovered.shelf() as shelf:
                fields["coverage"] = crash_coverage(shelf, sid, session.recorded)
        items.append((sid, number, now, Draft(fields)))
    return items


def _version() -> str:
    try:
        return metadata.version("lockgate")
    except metadata.PackageNotFoundError:
        return "source"


def published(path: Path) -> str | None:
    """The checkpoint that was last put beside the log, or None before the first one."""
    try:
        return path.read_bytes()[:NOTE_LIMIT].decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise AuditError(f"{path}: unreadable", advice="keep it as evidence and find out who changed it") from None


def lock_folder(path: Path) -> int:
    """Hold the folder for this process; the kernel lets go of it when the process ends.

    So does a writer's process that was given the descriptor. It may outlive a killed gateway by a
    commit, for which this waits a moment before it gives up.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _PATIENCE
    pause = threading.Event()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() < deadline:
                pause.wait(_RETRY)      # nothing is served yet: opening reads the whole log and blocks anyway
                continue
            os.close(descriptor)
            raise Locked(f"{path.parent}: another gateway uses this audit log",
                         advice="stop it, or give each gateway a state folder of its own") from None
        return descriptor
