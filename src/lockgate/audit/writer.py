"""Turns queued records into leaves and commits them, a batch at a time. Knows no thread and no queue.

`AuditLog` decides when a batch is taken and who is told; this is what happens to it: each record
gets its place, its chain and its commitment, the tree grows, and one transaction makes all of it
durable together with the newly signed checkpoint. After `commit` raised, the writer's state is no
longer that of the disk: it must not be used again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lockgate.audit import leaves
from lockgate.audit.bell import Bell
from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note
from lockgate.audit.failures import Poisoned, UntrustedNote
from lockgate.audit.growth import Growth, Row
from lockgate.audit.leaves import Draft
from lockgate.audit.ledger import Session
from lockgate.audit.recovery import recover_log
from lockgate.audit.signing.contract import CheckpointSigner, Handover
from lockgate.audit.signing.notary import Lagging, Notary, Prompt, Tempo
from lockgate.audit.storage.contract import Batch, Head, Store
from lockgate.audit.tree import Frontier

PAYLOAD_LIMIT: Final = 4 * 1024 * 1024
"""Longer payloads are committed to but not kept; their leaf says so (``kept: false``)."""

Item = tuple[str | None, int, float, Any]
"""Session id or None, number in the session, Unix seconds, and what to record: a value of `model` or
a `Draft`."""


class Writer:
    """What an open log is written by. `node` is this process's opaque id."""

    def __init__(
        self, store: Store, signer: CheckpointSigner, node: str, payload_limit: int, tempo: Tempo,
    ) -> None:
        self._store = store
        self._signer = signer
        self._notary: Notary = Prompt(signer)
        self._tempo = tempo
        self._node = node
        self._payload_limit = payload_limit
        self._growth = Growth(node, payload_limit)
        self._head = store.head()
        self._epoch = self._head.epoch

    @property
    def size(self) -> int:
        """How many entries are durable."""
        return self._head.size

    @property
    def epoch(self) -> int:
        """How many times the log was opened, this time included."""
        return self._epoch

    @property
    def note(self) -> str:
        """The newest signed checkpoint of a durable tree."""
        return self._notary.newest() or self._head.note

    # ------------------------------------------------------------ start

    def recover(self, kept: Mapping[str, str | None]) -> dict[str, Session]:
        """Read the log (`recovery`), compare it with its checkpoint, and return the sessions left open.

        `kept` are checkpoints that were put beside the log, by what they are: a store that is smaller, or
        does not have their root at their size, was rolled back. So it is against what the signer remembers.
        Raises `Tampered` with the first bad index.
        """
        found = recover_log(self._store, self._signer, self._head, kept)
        read = found.reading
        self._growth.frontier = read.frontier
        self._growth.last_ms = found.last_time
        self._growth.sessions = dict(found.open)
        self._epoch = self._head.epoch + 1
        self._store.resume_history()
        if self._signer.lags:
            self._notary = Lagging(self._signer, read.base, read.grown, self._head.note, self._tempo)
        return found.open

    def terms(self, folder: Path) -> dict[str, Any]:
        """What a writer in another process has to know to `take_over` after this one's last commit."""
        return {"folder": str(folder.resolve()), "origin": self._signer.verifier.name, "node": self._node,
                "payload_limit": self._payload_limit, "size": self._head.size, "epoch": self._epoch,
                "last_ms": self._growth.last_ms, "tempo": list(self._tempo)}

    def take_over(self, terms: Mapping[str, Any]) -> None:
        """Continue where a writer that has just recovered the whole log left off, and nowhere else."""
        head = self._head
        if (head.size, head.epoch) != (terms["size"], terms["epoch"]):
            raise Poisoned("another process wrote to this log")
        try:
            self._growth.frontier = Frontier.from_bytes(head.frontier)
        except ValueError:
            raise Poisoned("another process wrote to this log") from None
        try:
            note = open_note(head.note, self._signer.verifier)
        except UntrustedNote as error:
            raise Poisoned(f"another process wrote to this log: {error}") from None
        if (note.size, note.root) != (self._growth.frontier.size, self._growth.frontier.root()):
            raise Poisoned("another process wrote to this log")
        self._growth.last_ms = terms["last_ms"]
        self._store.resume_history()
        if self._signer.lags:
            self._notary = Lagging(self._signer, self._growth.frontier.copy(), (), head.note, self._tempo)

    # ------------------------------------------------------------ appending

    def prepare(self, sid: str | None, number: int, now: float, value: object) -> tuple[Item, int]:
        """A record as `commit` takes it, and about how many bytes it keeps waiting. Called at admission."""
        return (sid, number, now, value), leaves.weight(value)

    @property
    def ahead(self) -> int:
        """One batch at a time: `submit` returns when it is durable."""
        return 1

    def submit(self, items: Sequence[Item]) -> None:
        """As `commit`."""
        self.commit(items)

    def wait_settled(self, bell: Bell) -> bool:
        """What was submitted is settled already."""
        return True

    def collect(self) -> None:
        """What was submitted is durable already."""

    def commit(self, items: Sequence[Item]) -> None:
        """Make all of `items` durable, in order. Raises `AuditError`; nothing may be retried then."""
        key = self._store.pseudonyms
        self.commit_rows([_row(sid, number, now, leaves.draft(value, key)) for sid, number, now, value in items])

    def commit_rows(self, rows: Sequence[Row], *, is_kept: bool = False) -> None:
        """As `commit`, for records whose payload is encoded already. Their fields are used up."""
        batch = Batch(is_kept=is_kept)
        self._growth.grow(batch, rows)
        note = self._notary.note_for(self._tree())
        batch.signed = self._notary.signed()
        self._store_batch(batch, note)
        self._notary.committed(self._tree(), [digest for _, digest, _ in batch.entries])

    def settle(self) -> None:
        """Have the whole log signed, and that stored: nothing lags behind it then. Raises `AuditError`."""
        if self._head.signed < self._head.size:
            self._store_batch(Batch(), self._notary.settle(self._tree()))

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._signer.verifier.name

    def rotate(self, now: float, successor: Verifier, who: leaves.Fields) -> Handover:
        """Commit that another key takes over: the old one signs the tree that this leaf ends, and nothing after it.

        That checkpoint is kept for good. `who` is the payload. Only `go_on` may follow.
        """
        self.settle()
        lags = self._signer.lags
        path = tuple(reversed(self._growth.frontier.nodes))
        batch = Batch(is_kept=not lags)
        named = {"old": str(self._signer.verifier), "new": str(successor)}
        self._growth.grow(batch, [_row(None, 0, now, Draft({"type": "key_rotate", "data": named}, who))])
        self._store_batch(batch, self._notary.note_for(self._tree()))
        if lags:
            self._notary.committed(self._tree(), [digest for _, digest, _ in batch.entries])
            self._store_batch(Batch(is_kept=True), self._notary.settle(self._tree()))
        self._notary.close()
        return Handover(batch.entries[0][2], path)

    def go_on(self, signer: CheckpointSigner) -> None:
        """Sign with the key that the log was handed over to."""
        self._signer = signer
        self._notary = (Lagging(signer, self._growth.frontier.copy(), (), self._head.note, self._tempo) if signer.lags
                        else Prompt(signer))

    def close(self) -> None:
        """Ask for no signature any more."""
        self._notary.close()

    def _tree(self) -> Checkpoint:
        return Checkpoint(self._signer.verifier.name, self._growth.frontier.size, self._growth.frontier.root())

    def _store_batch(self, batch: Batch, note: str) -> None:
        head = Head(self._growth.frontier.size, self._epoch, self._growth.frontier.to_bytes(), note)
        self._store.commit(batch, self._head, head)
        self._head = head


def _row(sid: str | None, number: int, now: float, draft: Draft) -> Row:
    fields, payload = draft
    return sid, number, now, fields, None if payload is None else leaves.encode_payload(payload)
