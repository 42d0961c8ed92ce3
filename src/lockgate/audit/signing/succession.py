"""`lockgate audit rotate-key`: a new key for a log that no gateway has open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lockgate.audit import keys
from lockgate.audit.leaves import Draft
from lockgate.audit.opening import Recovered, lock_folder, recover, reopening
from lockgate.audit.signing.opening import key_path
from lockgate.audit.signing.rotation import install_successor, prepare_successor
from lockgate.audit.storage.database.place import fleet_folder
from lockgate.errors import AuditError


def change_key(folder: Path, *, actor: str, reason: str, now: float) -> tuple[str, str]:
    """Check the log, then give it a new key in the old one's place. Returns both verifier keys.

    `actor` is the operating system's name of who asked. Raises `AuditError`; a crash at any point leaves a
    log that opens, with one key or the other.
    """
    with _taken(folder) as recovered:
        signer, writer, key = recovered.signer, recovered.writer, key_path(recovered.folder, recovered.settings)
        if signer.lags:
            raise AuditError("this log's key is not in a file", advice="change it where it is kept")
        writer.commit(reopening(recovered, now, {"mode": "rotate-key"}))
        successor = prepare_successor(key, signer.verifier.name)
        writer.rotate(now, successor, {"actor": ["local", actor], "reason": reason})
        install_successor(recovered.folder, key, successor)
        writer.commit([(None, 0, now, Draft({"type": "node_stop"}))])
        keys.write_durably(recovered.folder / keys.CHECKPOINT_FILE, writer.note.encode(), 0o644)
        recovered.store.finish()
    return str(signer.verifier), str(successor.verifier)


@contextmanager
def _taken(folder: Path) -> Iterator[Recovered]:
    """The log, read and held: in the folder, or in a database, where the shard is leased for so long."""
    with ExitStack() as stack:
        own: dict[str, Any] = {}
        if fleet_folder(folder) is None:
            origin = keys.read_verifier(folder / keys.VERIFIER_FILE).name
        else:
            from lockgate.audit.fleet.membership import rejoined  # brings a database driver with it

            member = stack.enter_context(rejoined(folder))
            folder, origin = member.folder, member.origin
            own = {"place": member.place, "shard": member.lease.shard}
        stack.callback(os.close, lock_folder(folder / "lock"))
        recovered = recover(folder, origin, **own)
        stack.callback(recovered.close)
        yield recovered
