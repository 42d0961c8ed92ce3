"""A change of the log's key: the order of its steps, and how a start finishes one that a crash cut short.

    1  the next key is on the disk beside the old one (`log.key.next`)
    2  the leaf `key_rotate` is committed; the old key signs the tree that it is the last entry of
    3  the next key's verifier key is published, and its file takes the old one's place

Before 2 nothing has happened: the next start removes the key that nobody has used. After it the log says
which key goes on, and the next start does 3. The old key is not kept; what it signed verifies with its
verifier key, which the leaf names.
"""

from __future__ import annotations

from pathlib import Path

from lockgate.audit import keys
from lockgate.audit.checkpoint import Signer
from lockgate.audit.entry import parse
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.signing.contract import CheckpointSigner
from lockgate.audit.storage.contract import Store
from lockgate.errors import AuditError


def prepare_successor(key: Path, origin: str) -> Signer:
    """Step 1: a new key beside the old one. Raises `AuditError`."""
    return Signer(origin, keys.create_key(keys.successor(key)))


def install_successor(folder: Path, key: Path, signer: Signer) -> None:
    """Step 3. May be done again. Raises `AuditError`."""
    keys.publish(folder, signer.verifier)
    keys.replace_durably(keys.successor(key), key)


def finish_rotation(folder: Path, key: Path, signer: CheckpointSigner, store: Store) -> CheckpointSigner:
    """The signer that goes on, once a change of keys that was under way is finished or dropped."""
    waiting = keys.successor(key)
    if signer.lags or not waiting.exists():
        return signer
    successor = Signer(signer.verifier.name, keys.read_key(waiting))
    if newest_key(store) == str(successor.verifier):
        install_successor(folder, key, successor)
        return successor
    try:
        waiting.unlink()
    except OSError as error:
        raise AuditError(f"{waiting}: {error.strerror}", advice="make the audit folder writable") from None
    keys.pin(folder, signer.verifier, may_create=True)
    return signer


def newest_key(store: Store) -> str | None:
    """The verifier key that the last change of keys names. What is in the log is checked afterwards."""
    found: str | None = None
    for _, _, leaf in store.leaves():
        if type(leaf) is bytes and b'"type":"key_rotate"' in leaf:
            try:
                record = parse(leaf)
            except MalformedEntry:
                continue
            if record["type"] == "key_rotate":
                found = str(record["data"].get("new"))
    return found
