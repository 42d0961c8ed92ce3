"""The memory of a signer in a process of its own: it never signs a smaller tree, or two of one size.

The size and root are on the disk before the signature leaves. So whoever takes the gateway over can
make this key sign an extension of what it has signed, and nothing that takes something back.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import orjson

from lockgate.audit import keys
from lockgate.audit.checkpoint import Checkpoint, Signer, Verifier, open_note
from lockgate.audit.entry import parse
from lockgate.audit.failures import Locked, MalformedEntry, ProofFailed
from lockgate.audit.signing.contract import SignerRefused
from lockgate.audit.tree import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from lockgate.errors import AuditError

_STATE_LIMIT: Final = 4096


class Guard:
    """A key and what it signed last, in two files that no second process uses meanwhile."""

    lags = False

    def __init__(self, key: Signer, own: Path, path: Path, last: Checkpoint, lock: int) -> None:
        self._key = key
        self._own = own
        self._path = path
        self._last = last
        self._lock = lock

    @classmethod
    def open(cls, key: Path, state: Path, origin: str, own: Path | None = None) -> Self:
        """Continue where the state file left off. `own` is where this log's next key goes, and what it signs with once
        that is there, if `key` is one that other logs share. Raises `AuditError`, also where there is no state file:
        a signer without memory would sign anything.
        """
        own = own or key
        lock = _hold(state)
        try:
            last = _read(state, origin)
            return cls(Signer(origin, keys.read_key(own if own.exists() else key)), own, state, last, lock)
        except AuditError:
            os.close(lock)
            raise

    @staticmethod
    def begin(key: Path, state: Path, origin: str, note: str | None = None) -> Verifier:
        """Make the state file, and the key if there is none: from the empty tree, or from a checkpoint that
        this key signed. Raises `AuditError` where there is a state file already.
        """
        if state.exists():
            raise AuditError(f"{state}: this signer has a memory already",
                             advice="it begins once; without --init it continues")
        for folder in (key.parent, state.parent):
            _make(folder)
        if key.exists() or note is not None:
            signer = Signer(origin, keys.read_key(key))
        else:
            signer = Signer(origin, keys.create_key(key))
        start = Checkpoint(origin, 0, EMPTY_ROOT) if note is None else open_note(note, signer.verifier)
        _write(state, start)
        return signer.verifier

    @property
    def verifier(self) -> Verifier:
        """The key that it signs with."""
        return self._key.verifier

    def last(self) -> Checkpoint:
        """The newest tree that was signed."""
        return self._last

    def sign(self, checkpoint: Checkpoint, proof: Sequence[bytes] = ()) -> str:
        """Remember the tree, then sign it. Raises `SignerRefused`; nothing is remembered or signed then."""
        last = self._last
        if checkpoint.origin != self._key.verifier.name:
            raise SignerRefused(f"this key signs {self._key.verifier.name}, not {checkpoint.origin}")
        if checkpoint.size < last.size:
            raise SignerRefused(f"a tree of {last.size} entries was signed, this one has {checkpoint.size}")
        if checkpoint.size == last.size and checkpoint.root != last.root:
            raise SignerRefused(f"another tree of {last.size} entries was signed")
        if checkpoint.size > last.size:
            try:
                verify_consistency(last.size, checkpoint.size, last.root, checkpoint.root, proof)
            except ProofFailed as error:
                raise SignerRefused(f"not an extension of the {last.size} entries that were signed: {error}") from None
            _write(self._path, checkpoint)
            self._last = checkpoint
        return self._key.sign(checkpoint)

    # ------------------------------------------------------------ a change of keys

    @property
    def successor(self) -> Verifier | None:
        """The next key, where one was prepared."""
        waiting = self._next()
        return None if waiting is None else waiting.verifier

    def prepare(self) -> Verifier:
        """Make the next key, unless it is there. Raises `SignerRefused`; this key goes on signing."""
        waiting = self._next()
        try:
            waiting = waiting or Signer(self.verifier.name, keys.create_key(keys.successor(self._own)))
        except AuditError as error:
            raise SignerRefused(str(error)) from None
        return waiting.verifier

    def switch(self, leaf: bytes, path: Sequence[bytes]) -> Verifier:
        """Let the next key take this one's place, once the last entry of the tree that was signed last says so.

        Raises `SignerRefused`, and this key goes on signing; `AuditError` where the files cannot be written.
        """
        waiting, last = self._next(), self._last
        if waiting is None:
            raise SignerRefused("no next key was prepared")
        try:
            verify_inclusion(last.size - 1, last.size, leaf_hash(leaf), path, last.root)
            record = parse(leaf)
        except (ProofFailed, MalformedEntry) as error:
            raise SignerRefused(f"not the last entry of the {last.size} that were signed: {error}") from None
        if record["type"] != "key_rotate" or record["data"] != {"old": str(self.verifier), "new": str(waiting.verifier)}:
            raise SignerRefused("the last entry that was signed does not hand over to the next key")
        keys.replace_durably(keys.successor(self._own), self._own)
        self._key = waiting
        return waiting.verifier

    def _next(self) -> Signer | None:
        """The key that waits. One that cannot be used is said to be so, and no reason for this one to stop signing."""
        path = keys.successor(self._own)
        try:
            return Signer(self.verifier.name, keys.read_key(path)) if path.exists() else None
        except AuditError as error:
            raise SignerRefused(str(error)) from None

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._lock)


def own_key(memory: Path) -> Path:
    """Where one log of a fleet has its key, beside its memory, once that was changed."""
    return memory.with_name(memory.name + ".key")


def _make(folder: Path) -> None:
    """The folder, for its owner alone where it is new."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AuditError(f"{folder}: {error.strerror}", advice="name a folder that can be made, or make it") from None


def _hold(state: Path) -> int:
    try:
        lock = os.open(state.with_name(state.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AuditError(f"{state}: {error.strerror}", advice="make the signer's folder writable") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Locked(f"{state}: another signer uses this memory") from None
    return lock


def _write(state: Path, last: Checkpoint) -> None:
    content = orjson.dumps({"v": 1, "origin": last.origin, "size": last.size, "root": last.root.hex()})
    keys.write_durably(state, content + b"\n", 0o600)


def _read(state: Path, origin: str) -> Checkpoint:
    try:
        with state.open("rb") as file:
            said = orjson.loads(file.read(_STATE_LIMIT))
        if said["v"] != 1 or said["origin"] != origin or type(said["size"]) is not int or said["size"] < 0:
            raise ValueError
        root = bytes.fromhex(said["root"])
    except FileNotFoundError:
        raise AuditError(f"{state}: the signer's memory is not there", advice="the first time: --init; otherwise "
                         "restore it, or find out who took it away") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise AuditError(f"{state}: the signer's memory is damaged, or of another log") from None
    if len(root) != 32:
        raise AuditError(f"{state}: the signer's memory is damaged")
    return Checkpoint(origin, said["size"], root)
