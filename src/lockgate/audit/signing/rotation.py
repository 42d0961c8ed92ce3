"""A change of the log's key: the order of its steps, and how a start finishes one that a crash cut short.

    1  the next key is on the disk beside the old one (`log.key.next`), here or where the signer is; a key service has
       it as the newest version of its key
    2  the leaf `key_rotate` is committed; the old key signs the tree that it is the last entry of, which is kept
    3  the next key takes the old one's place, and its verifier key is published

Before 2 nothing has happened, and whatever goes wrong changes nothing. After it the log says which key goes on, and
the next start does the rest. The old key is not kept; what it signed verifies with its verifier key, which the
leaf names. A signer in another process does 3 only when it is shown the leaf, under the tree that it signed last. A
key service has no step 3 of its own: it signs with whichever version is pinned (`log.vkey`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from lockgate.audit import keys
from lockgate.audit.checkpoint import Checkpoint, Signer, Verifier, open_note
from lockgate.audit.entry import parse
from lockgate.audit.failures import MalformedEntry, Tampered
from lockgate.audit.signing.contract import CheckpointSigner, Handover
from lockgate.audit.signing.opening import Settings, key_path, open_kms
from lockgate.audit.signing.remote import SocketSigner
from lockgate.audit.storage.contract import Batch, Head, Store
from lockgate.audit.tree import Frontier, growth_proof
from lockgate.errors import AuditError


class Successor(Protocol):
    """The next key, ready to take over."""

    @property
    def verifier(self) -> Verifier:
        """Its verifier key."""

    def install(self, folder: Path, handover: Handover) -> CheckpointSigner:
        """Step 3: put it in the old one's place. The signer that goes on. Raises `AuditError`."""


class _FileSuccessor:
    """A key file beside the old one."""

    def __init__(self, key: Path, signer: Signer) -> None:
        self._key = key
        self._signer = signer
        self.verifier = signer.verifier

    def install(self, folder: Path, handover: Handover) -> CheckpointSigner:
        install_successor(folder, self._key, self._signer)
        return self._signer


class _RemoteSuccessor:
    """A key that another process has made beside its own."""

    def __init__(self, signer: SocketSigner, verifier: Verifier) -> None:
        self._signer = signer
        self.verifier = verifier

    def install(self, folder: Path, handover: Handover) -> CheckpointSigner:
        signer = self._signer.switch(handover.leaf, handover.path, self.verifier)
        keys.publish(folder, self.verifier)
        return signer


class _ServiceSuccessor:
    """The newest version of a key in a key service."""

    def __init__(self, signer: CheckpointSigner) -> None:
        self._signer = signer
        self.verifier = signer.verifier

    def install(self, folder: Path, handover: Handover) -> CheckpointSigner:
        keys.publish(folder, self.verifier)
        return self._signer


def prepare_rotation(folder: Path, origin: str, settings: Settings) -> Successor:
    """Step 1, or what is left of an earlier one. Raises `AuditError`; nothing has happened then."""
    if "kms" in settings:
        return _ServiceSuccessor(open_kms(folder, origin, settings).successor())
    if "socket" in settings:
        signer = SocketSigner.connect(Path(settings["socket"]), origin)
        return _RemoteSuccessor(signer, signer.prepare())
    key = key_path(folder, settings)
    waiting = keys.successor(key)
    return _FileSuccessor(key, Signer(origin, keys.read_key(waiting)) if waiting.exists() else prepare_successor(key, origin))


def prepare_successor(key: Path, origin: str) -> Signer:
    """A new key beside the old one. Raises `AuditError`."""
    return Signer(origin, keys.create_key(keys.successor(key)))


def install_successor(folder: Path, key: Path, signer: Signer) -> None:
    """Step 3 of a key file. May be done again. Raises `AuditError`."""
    keys.publish(folder, signer.verifier)
    keys.replace_durably(keys.successor(key), key)


# ---------------------------------------------------------------- at a start


def finish_rotation(folder: Path, key: Path, signer: CheckpointSigner, store: Store) -> CheckpointSigner:
    """The signer that goes on, once a change of keys in files that was under way is finished or dropped."""
    waiting = keys.successor(key)
    if signer.lags or not waiting.exists():
        return signer
    successor = Signer(signer.verifier.name, keys.read_key(waiting))
    found = _newest(store)
    if found is not None and found.new == str(successor.verifier):
        install_successor(folder, key, successor)
        return successor
    try:
        waiting.unlink()
    except OSError as error:
        raise AuditError(f"{waiting}: {error.strerror}", advice="make the audit folder writable") from None
    keys.pin(folder, signer.verifier, may_create=True)
    return signer


def finish_elsewhere(folder: Path, origin: str, settings: Settings, store: Store) -> None:
    """The same for a signer in another process, before it is opened. What does not fit together is left as it is:
    recovery finds it.
    """
    pinned = folder / keys.VERIFIER_FILE
    if not pinned.exists():
        return
    if "kms" in settings:
        _finish_in_service(folder, origin, settings, store)
    elif "socket" in settings:
        _finish_in_process(folder, SocketSigner.connect(Path(settings["socket"]), origin), store)


def _finish_in_service(folder: Path, origin: str, settings: Settings, store: Store) -> None:
    """Only the last entry can be a change that is not finished: nothing is committed until the next key is pinned."""
    known = str(keys.read_verifier(folder / keys.VERIFIER_FILE))
    leaf, size = _last(store), store.head().size
    found = None if leaf is None else _change(leaf, size, ())
    if found is None or found.old != known:
        return
    new = Verifier.parse(found.new)
    if new.name == origin and str(open_kms(folder, origin, settings, new).verifier) == found.new:
        _let_old_sign(open_kms(folder, origin, settings), store, size)
        keys.publish(folder, new)


def _finish_in_process(folder: Path, signer: SocketSigner, store: Store) -> None:
    known = str(keys.read_verifier(folder / keys.VERIFIER_FILE))
    if signer.successor is None and str(signer.verifier) == known:
        return
    found = _newest(store)
    if found is None or found.old != known:
        return
    if (str(signer.verifier), str(signer.successor)) == (found.old, found.new) and store.head().size == found.size:
        _let_old_sign(signer, store, found.size)
        _RemoteSuccessor(signer, Verifier.parse(found.new)).install(folder, Handover(found.leaf, found.path))
    elif str(signer.verifier) == found.new:
        keys.publish(folder, signer.verifier)


def _let_old_sign(signer: CheckpointSigner, store: Store, size: int) -> None:
    """Have the tree that ends with the change of keys signed by the old key, and that note kept.

    Raises `Tampered` where that tree does not extend what the key has signed: a key service would not notice.
    """
    last = signer.last() or open_note(store.head().note, signer.verifier)
    signed, base, grown = last.size, Frontier(), []
    tree = Frontier()
    for _, digest, _ in store.leaves():
        tree.append(digest)
        if tree.size <= signed:
            base.append(digest)
        else:
            grown.append(digest)
    if base.root() != last.root:
        raise Tampered(f"the first {signed} entries are not those that were signed", index=signed, check="rotation")
    note = signer.sign(Checkpoint(signer.verifier.name, size, tree.root()), growth_proof(base, grown))
    head = store.head()
    store.resume_history()
    store.commit(Batch(is_kept=True), head, Head(head.size, head.epoch, head.frontier, note))


class _Change(NamedTuple):
    size: int
    """Of the tree that it is the last entry of."""
    old: str
    new: str
    leaf: bytes
    path: tuple[bytes, ...]


def _newest(store: Store) -> _Change | None:
    """The last change of keys that the log has. What is in the log is checked afterwards."""
    found: _Change | None = None
    before = Frontier()
    for index, digest, leaf in store.leaves():
        found = _change(leaf, index + 1, before.nodes) or found
        before.append(digest)
    return found


def _change(leaf: object, size: int, before: Sequence[bytes]) -> _Change | None:
    """What an entry hands over, if that is what it does; `before` are the nodes of the tree that it was added to."""
    if type(leaf) is not bytes or b'"type":"key_rotate"' not in leaf:
        return None
    try:
        record = parse(leaf)
    except MalformedEntry:
        return None
    if record["type"] != "key_rotate":
        return None
    data = record["data"]
    return _Change(size, str(data.get("old")), str(data.get("new")), leaf, tuple(reversed(before)))


def _last(store: Store) -> object:
    """The newest leaf, or None."""
    tail = store.tail()
    if tail is None:
        rows = list(deque(store.leaves(), 1))
    else:
        with tail:
            rows = list(tail.rows(max(0, store.head().size - 1)))
    return rows[-1][2] if rows else None
