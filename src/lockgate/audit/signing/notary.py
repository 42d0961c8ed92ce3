"""Between the writer and its signer: the note that a commit stores, whether it is signed in it or behind it.

`Prompt` signs the tree that is being committed. `Lagging` has a thread that signs the newest tree that
is durable, and hands out the newest note that it got; it stops the log once something durable has
waited for a signature for longer than `patience`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from lockgate.audit.checkpoint import Checkpoint
from lockgate.audit.signing.contract import CheckpointSigner, SignerAway
from lockgate.audit.tree import Frontier, growth_proof
from lockgate.errors import AuditError

_RETRY: Final = 0.25
_BURST: Final = 4_000_000   # leaf hashes that may wait; patience ends long before


class Tempo(NamedTuple):
    """Seconds: the least time between two signatures, and how long something durable may wait for one."""

    pace: float = 0.0
    patience: float = 10.0


class Notary(Protocol):
    """Used by the writer's thread."""

    def note_for(self, checkpoint: Checkpoint) -> str:
        """The note to store with this tree. Raises `AuditError` where signing has failed."""

    def committed(self, checkpoint: Checkpoint, leaves: Sequence[bytes]) -> None:
        """The tree is durable; `leaves` are the hashes that it grew by."""

    def newest(self) -> str | None:
        """The newest note of a durable tree, or None where that is the one in the store."""

    def signed(self) -> tuple[str, bytes] | None:
        """The newest note that was got here and the frontier of its tree; None where a commit has its own."""

    def settle(self, checkpoint: Checkpoint) -> str:
        """The note of exactly this durable tree, waited for. Raises `AuditError`."""

    def close(self) -> None:
        """Sign nothing any more. Idempotent."""


class Prompt:
    """Signs in the commit."""

    def __init__(self, signer: CheckpointSigner) -> None:
        self._signer = signer

    def note_for(self, checkpoint: Checkpoint) -> str:
        """A fresh signature."""
        return self._signer.sign(checkpoint)

    def committed(self, checkpoint: Checkpoint, leaves: Sequence[bytes]) -> None:
        """Nothing is left to do."""

    def newest(self) -> str | None:
        """The store has it."""
        return None

    def signed(self) -> None:
        """The store has it."""

    def settle(self, checkpoint: Checkpoint) -> str:
        """A fresh signature."""
        return self._signer.sign(checkpoint)

    def close(self) -> None:
        """Nothing to let go of."""


class Lagging:
    """Signs behind the commit, in a thread. `base` is the tree that was signed last, `leaves` what is durable
    beyond it, `note` the newest note that is known, empty before the first one.
    """

    def __init__(
        self, signer: CheckpointSigner, base: Frontier, leaves: Sequence[bytes], note: str, tempo: Tempo,
    ) -> None:
        self._signer = signer
        self._pace, self._patience = tempo
        self._changed = threading.Condition()
        self._base = base
        self._leaves = list(leaves)
        self._note = note
        self._target: Checkpoint | None = None
        self._signed: Checkpoint | None = None
        self._waiting: float | None = None      # since when something durable is not signed
        self._failure: AuditError | None = None
        self._away: AuditError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="audit-notary", daemon=True)
        self._thread.start()

    def note_for(self, checkpoint: Checkpoint) -> str:
        """The newest note there is, of an older tree."""
        with self._changed:
            self._require_progress()
            return self._note

    def committed(self, checkpoint: Checkpoint, leaves: Sequence[bytes]) -> None:
        """Have the tree signed soon."""
        with self._changed:
            self._leaves.extend(leaves)
            self._target = checkpoint
            if self._waiting is None:
                self._waiting = time.monotonic()
            self._changed.notify_all()

    def newest(self) -> str | None:
        """The newest note there is."""
        with self._changed:
            return self._note or None

    def signed(self) -> tuple[str, bytes] | None:
        """The newest note there is, unless it came with the log, and its tree."""
        with self._changed:
            return None if self._signed is None else (self._note, self._base.to_bytes())

    def settle(self, checkpoint: Checkpoint) -> str:
        """Wait, at most for `patience`."""
        with self._changed:
            if self._signed != checkpoint and self._target is None:
                self._target, self._waiting = checkpoint, time.monotonic()
                self._changed.notify_all()
            while self._signed != checkpoint:
                self._require_progress()
                self._changed.wait(_RETRY)
            return self._note

    def close(self) -> None:
        """End the thread; a request that is under way ends with its own time limit."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _require_progress(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._waiting is not None and (time.monotonic() - self._waiting > self._patience
                                          or len(self._leaves) > _BURST):
            raise AuditError(
                f"no checkpoint was signed for {self._patience:g} s: {self._away or 'the signer is too slow'}",
                advice="start the signer, then restart the gateway")

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        request: tuple[Checkpoint, list[bytes]] | None = None
        while True:
            # The same request until it is answered: one whose answer was lost may have been signed.
            request = request or self._next()
            if request is None:
                return
            try:
                note = self._signer.sign(*request)
            except SignerAway as error:
                with self._changed:
                    self._away = error
                    if self._changed.wait_for(lambda: self._closing, _RETRY):
                        return
            except AuditError as error:
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            else:
                self._take(request[0], note)
                request = None

    def _next(self) -> tuple[Checkpoint, list[bytes]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._target is not None)
            if self._closing or self._target is None:
                return None
            target = self._target
            count = target.size - self._base.size
            base, leaves = self._base, self._leaves[:count]
        return target, growth_proof(base, leaves)

    def _take(self, signed: Checkpoint, note: str) -> None:
        with self._changed:
            count = signed.size - self._base.size
            for leaf in self._leaves[:count]:
                self._base.append(leaf)
            del self._leaves[:count]
            self._note, self._signed, self._away = note, signed, None
            if self._target == signed:
                self._target = self._waiting = None
            else:
                self._waiting = time.monotonic()
            self._changed.notify_all()
            if self._pace:
                self._changed.wait_for(lambda: self._closing, self._pace)
