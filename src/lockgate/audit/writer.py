"""Turns queued records into leaves and commits them, a batch at a time. Knows no thread and no queue.

`AuditLog` decides when a batch is taken and who is told; this is what happens to it: each record
gets its place, its chain and its commitment, the tree grows, and one transaction makes all of it
durable together with the newly signed checkpoint. After `commit` raised, the writer's state is no
longer that of the disk: it must not be used again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lockgate.audit import leaves
from lockgate.audit.bell import Bell
from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note, tree_of
from lockgate.audit.entry import parse
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.trust import key_of, ranges_of
from lockgate.audit.failures import MalformedEntry, Poisoned, Tampered, UntrustedNote
from lockgate.audit.growth import Growth, Row
from lockgate.audit.leaves import Draft
from lockgate.audit.ledger import Ledger, Session, take
from lockgate.audit.rows import before, together, unbroken
from lockgate.audit.signing.contract import CheckpointSigner, Handover
from lockgate.audit.signing.notary import Lagging, Notary, Prompt, Tempo
from lockgate.audit.storage.contract import Batch, Head, Store
from lockgate.audit.tree import Frontier, leaf_hash

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
        """Read the whole log, compare it with its checkpoint, and return the sessions left open.

        `kept` are checkpoints that were put beside the log, by what they are: a store that is smaller, or
        does not have their root at their size, was rolled back. So it is against what the signer remembers.
        Raises `Tampered` with the first bad index.
        """
        ledger, frontier, head = Ledger(), self._growth.frontier, self._head
        claims = [_Claim.of(f"{name} checkpoint", note) for name, note in kept.items() if note]
        remembered = self._signer.last()
        if remembered is not None and remembered.size:
            claims.append(_Claim("signer", None, remembered))
        if head.note:
            claims.append(_Claim.of("checkpoint", head.note))
        start = (remembered or claims[-1].tree).size if claims else 0
        base, grown = Frontier(), list[bytes]()
        ledger.root = frontier.root
        sizes = sorted({start, *(claim.tree.size for claim in claims)})
        for rows in together(self._store.leaves()):
            done = 0
            leaves, digests = unbroken(rows, frontier.size)
            while done < len(rows):
                stop = min(len(leaves), done + before(sizes, frontier.size))
                count = ledger.follow_all(frontier, leaves, digests, done, stop)
                if not count:
                    _take(ledger, frontier, frontier.size, rows[done])
                done += count or 1
                if frontier.size == start:
                    base = frontier.copy()
                for claim in claims:
                    if frontier.size == claim.tree.size and frontier.root() != claim.tree.root:
                        raise Tampered(claim.contradicted, index=frontier.size - 1, check=claim.check)
            if self._signer.lags:
                grown += [digest for index, digest, _ in rows if index >= start]
        self._require_covered(claims, ledger)
        if (head.size, head.frontier, head.epoch) != (frontier.size, frontier.to_bytes(), ledger.starts):
            raise Tampered("the head does not fit the entries", index=frontier.size, check="head")
        for error in ledger.unrooted:
            raise Tampered(error.message, index=error.index or 0, check=error.check, last=error.last)
        self._growth.last_ms = ledger.last_time
        self._epoch = head.epoch + 1
        self._store.resume_history()
        self._growth.sessions = dict(ledger.open)
        if self._signer.lags:
            self._notary = Lagging(self._signer, base, grown, head.note, self._tempo)
        return ledger.open

    def _require_covered(self, claims: Sequence[_Claim], ledger: Ledger) -> None:
        """Every checkpoint is by the key of its size, and the newest one covers what it has to."""
        frontier, head = self._growth.frontier, self._head
        for claim in claims:
            if claim.tree.size > frontier.size:
                raise Tampered(f"the log was rolled back: {claim.tree.size} entries were {claim.verb}",
                               index=frontier.size, check=claim.check)
        try:
            ranges = ranges_of(ledger.rotations, self._signer.verifier.key)
            if ranges[-1].key != self._signer.verifier.key:
                raise Tampered("the log goes on with another key than this signer's",
                               index=ledger.rotations[-1][0], check="rotation")
            for claim in claims:
                if claim.note is not None:
                    key = key_of(ranges, claim.tree.size)
                    open_note(claim.note, Verifier(key.name, key.public), cosigned=claim.check != "checkpoint")
        except EvidenceError as error:
            raise Tampered(str(error), index=error.index or 0, check=error.check) from None
        except UntrustedNote as error:
            raise Tampered(str(error), index=claim.tree.size, check=claim.check) from None
        if head.signed < frontier.size and not ledger.lags:
            raise Tampered(f"the signed checkpoint covers {head.signed} entries; stored are {frontier.size}",
                           index=head.signed, check="checkpoint")

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
        self._store_batch(batch, self._notary.note_for(self._tree()))
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


@dataclass(frozen=True, slots=True)
class _Claim:
    """A tree that somebody has seen of this log: a note beside it, its head's, or the signer's memory."""

    check: str
    note: str | None
    tree: Checkpoint

    @classmethod
    def of(cls, check: str, note: str) -> _Claim:
        try:
            return cls(check, note, tree_of(note))
        except UntrustedNote as error:
            raise Tampered(str(error), index=0, check=check) from None

    @property
    def verb(self) -> str:
        """What happened to that tree."""
        return "signed" if self.check in ("signer", "checkpoint") else self.check.partition(" ")[0]

    @property
    def contradicted(self) -> str:
        """The finding where the entries have another root."""
        return f"the log is not the one whose checkpoint was {self.verb}"


def _take(ledger: Ledger, frontier: Frontier, index: int, stored: tuple[Any, Any, Any]) -> None:
    """Check one stored row and let tree and ledger grow by it."""
    at, digest, leaf = stored
    if at != index:
        raise Tampered(f"entry {index} is missing", index=index, check="entries")
    if type(leaf) is not bytes or type(digest) is not bytes or leaf_hash(leaf) != digest:
        raise Tampered("the entry is not the one that was stored", index=index, check="leaf hash")
    try:
        record = parse(leaf)
    except MalformedEntry as error:
        raise Tampered(str(error), index=index, check="leaf grammar") from None
    take(ledger, index, record, digest)
    frontier.append(digest)
