"""`lockgate audit rotate-key`: a new key for a log that no gateway has open."""

from __future__ import annotations

import os
from pathlib import Path

from lockgate.audit import keys
from lockgate.audit.leaves import Draft
from lockgate.audit.opening import lock_folder, recover, reopening
from lockgate.audit.signing.opening import key_path
from lockgate.audit.signing.rotation import install_successor, prepare_successor
from lockgate.errors import AuditError


def change_key(folder: Path, *, actor: str, reason: str, now: float) -> tuple[str, str]:
    """Check the log, then give it a new key in the old one's place. Returns both verifier keys.

    `actor` is the operating system's name of who asked. Raises `AuditError`; a crash at any point leaves a
    log that opens, with one key or the other.
    """
    lock = lock_folder(folder / "lock")
    try:
        recovered = recover(folder, keys.read_verifier(folder / keys.VERIFIER_FILE).name)
        try:
            signer, writer, key = recovered.signer, recovered.writer, key_path(folder, recovered.settings)
            if signer.lags:
                raise AuditError("this log's key is not in a file", advice="change it where it is kept")
            writer.commit(reopening(recovered, now, {"mode": "rotate-key"}))
            successor = prepare_successor(key, signer.verifier.name)
            writer.rotate(now, successor, {"actor": ["local", actor], "reason": reason})
            install_successor(folder, key, successor)
            writer.commit([(None, 0, now, Draft({"type": "node_stop"}))])
            keys.write_durably(folder / keys.CHECKPOINT_FILE, writer.note.encode(), 0o644)
            recovered.store.finish()
        finally:
            recovered.close()
    finally:
        os.close(lock)
    return str(signer.verifier), str(successor.verifier)
