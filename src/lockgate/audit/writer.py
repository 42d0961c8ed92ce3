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
from lockgate.audit.checkpoint import Checkpoint, open_note
from lockgate.audit.commitment import KEY_SIZE, commit, fresh_secrets, seal
from lockgate.audit.entry import VERSION
from lockgate.audit.evidence.erasures import erased_ranges
from lockgate.audit.failures import MalformedEntry, Poisoned, UntrustedNote
from lockgate.audit.leaves import Draft
from lockgate.audit.ledger import Session
from lockgate.audit.recovery import recover_log
from lockgate.audit.signing.contract import CheckpointSigner
from lockgate.audit.signing.notary import Lagging, Notary, Prompt, Tempo
from lockgate.audit.storage.contract import Batch, Head, Store
from lockgate.audit.tree import Frontier, leaf_hash

PAYLOAD_LIMIT: Final = 4 * 1024 * 1024
"""Longer payloads are committed to but not kept; their leaf says so (``kept: false``)."""
_BEHIND_MS: Final = 1_000

Item = tuple[str | None, int, float, Any]
"""Session id or None, number in the session, Unix seconds, and what to record: a value of `model` or
a `Draft`."""
Row = tuple[str | None, int, float, leaves.Fields, leaves.Fields | None]
"""The same with the draft's fields and payload."""

_NODE: Final = frozenset({"node_start", "node_stop", "heartbeat"})
_PLACE: Final = frozenset({"v", "node", "index", "time", "clock", "sid", "sseq", "prev", "payload"})


class Writer:
    """The only place where entries come into being. `node` is this process's opaque id."""

    def __init__(
        self, store: Store, signer: CheckpointSigner, node: str, payload_limit: int, tempo: Tempo,
    ) -> None:
        self._store = store
        self._signer = signer
        self._notary: Notary = Prompt(signer)
        self._tempo = tempo
        self._node = node
        self._payload_limit = payload_limit
        self._head = store.head()
        self._epoch = self._head.epoch
        self._frontier = Frontier()
        self._last_ms = 0
        self._sessions: dict[str, Session] = {}

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
        growth = found.growth
        self._frontier = growth.frontier
        self._last_ms = found.last_time
        self._epoch = self._head.epoch + 1
        self._store.resume_history()
        self._sessions = dict(found.open)
        if self._signer.lags:
            self._notary = Lagging(self._signer, growth.base, growth.grown, self._head.note, self._tempo)
        return found.open

    def terms(self, folder: Path) -> dict[str, Any]:
        """What a writer in another process has to know to `take_over` after this one's last commit."""
        return {"folder": str(folder.resolve()), "origin": self._signer.verifier.name, "node": self._node,
                "payload_limit": self._payload_limit, "size": self._head.size, "epoch": self._epoch,
                "last_ms": self._last_ms, "tempo": list(self._tempo)}

    def take_over(self, terms: Mapping[str, Any]) -> None:
        """Continue where a writer that has just recovered the whole log left off, and nowhere else."""
        head = self._head
        if (head.size, head.epoch) != (terms["size"], terms["epoch"]):
            raise Poisoned("another process wrote to this log")
        try:
            self._frontier = Frontier.from_bytes(head.frontier)
        except ValueError:
            raise Poisoned("another process wrote to this log") from None
        try:
            note = open_note(head.note, self._signer.verifier)
        except UntrustedNote as error:
            raise Poisoned(f"another process wrote to this log: {error}") from None
        if (note.size, note.root) != (self._frontier.size, self._frontier.root()):
            raise Poisoned("another process wrote to this log")
        self._last_ms = terms["last_ms"]
        self._store.resume_history()
        if self._signer.lags:
            self._notary = Lagging(self._signer, self._frontier.copy(), (), head.note, self._tempo)

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

    def collect(self) -> None:
        """What was submitted is durable already."""

    def commit(self, items: Sequence[Item]) -> None:
        """Make all of `items` durable, in order. Raises `AuditError`; nothing may be retried then."""
        key = self._store.pseudonyms
        self.commit_drafts([(sid, number, now, *leaves.draft(value, key)) for sid, number, now, value in items])

    def commit_drafts(self, rows: Sequence[Row], *, is_kept: bool = False) -> None:
        """As `commit`, for records that are drafts already. Their fields are used up."""
        batch = Batch(is_kept=is_kept)
        for secret, (sid, number, now, fields, payload) in zip(fresh_secrets(len(rows)), rows, strict=True):
            self._append(batch, sid, number, now, fields, payload, secret)
        note = self._notary.note_for(self._tree())
        batch.signed = self._notary.signed()
        self._store_batch(batch, note)
        self._notary.committed(self._tree(), [digest for _, digest, _ in batch.entries])

    def settle(self) -> None:
        """Have the whole log signed, and that stored: nothing lags behind it then. Raises `AuditError`."""
        if self._head.signed < self._head.size:
            self._store_batch(Batch(), self._notary.settle(self._tree()))

    def rotate(self, now: float, successor: CheckpointSigner, who: leaves.Fields) -> None:
        """Hand the log over to another key: the old one signs the leaf that says so, and nothing after it.

        The checkpoint of exactly that size is kept for good. `who` is the payload. Call it after `settle`.
        """
        named = {"old": str(self._signer.verifier), "new": str(successor.verifier)}
        self.commit_drafts([(None, 0, now, {"type": "key_rotate", "data": named}, who)], is_kept=True)
        self._signer = successor
        self._notary = Prompt(successor)

    def close(self) -> None:
        """Ask for no signature any more."""
        self._notary.close()

    def _tree(self) -> Checkpoint:
        return Checkpoint(self._signer.verifier.name, self._frontier.size, self._frontier.root())

    def _store_batch(self, batch: Batch, note: str) -> None:
        head = Head(self._frontier.size, self._epoch, self._frontier.to_bytes(), note)
        self._store.commit(batch, self._head, head)
        self._head = head

    def _append(
        self, batch: Batch, sid: str | None, number: int, now: float, fields: leaves.Fields,
        payload: leaves.Fields | None, secret: bytes,
    ) -> None:
        """Twice for every statement: `fields` becomes the leaf in place, and is serialised once."""
        frontier = self._frontier
        index = frontier.size
        kind = fields["type"]
        session: Session | None = None
        fields["v"] = VERSION
        fields["node"] = self._node
        fields["index"] = index
        if sid is not None:
            session = self._session(sid, kind)
            fields["sid"] = sid
            fields["sseq"] = number
            fields["prev"] = session.prev
            if kind == "session_end":
                fields["count"] = number
                fields["root"] = session.frontier.root().hex()
        elif kind in _NODE:
            fields["size"] = index
            fields["root"] = frontier.root().hex()
        self._stamp(fields, now)
        sealed = None
        if payload is not None:
            sealed = leaves.encode_payload(payload)
            fields["payload"] = self._commitment(sealed, secret)
        leaf = leaves.encode_leaf(fields)
        if leaf is None:
            leaf, sealed = self._cut(fields, payload, secret)
        digest = leaf_hash(leaf)
        batch.entries.append((index, digest, leaf))
        if sealed is not None:
            self._keep(batch, index, sealed, secret)
        frontier.append(digest)
        if kind == "erasure":
            batch.destroyed += _destroyed(fields, index)
        if session is not None:
            session.prev = digest.hex()
            session.frontier.append(digest)
            if kind == "session_begin":
                batch.begun.append((session.sid, index))
            elif kind == "session_end":
                batch.ended.append((index, session.sid))

    def _session(self, sid: str, kind: str) -> Session:
        """The chain of a session. One that ends is forgotten: the last use of it is this record."""
        if kind == "session_begin":
            session = self._sessions[sid] = Session(sid)
            return session
        if kind == "session_end":
            return self._sessions.pop(sid)
        return self._sessions[sid]

    def _cut(
        self, fields: leaves.Fields, payload: leaves.Fields | None, secret: bytes
    ) -> tuple[bytes, bytes]:
        """The leaf and the payload of a record that is too long for a leaf."""
        place = {name: value for name, value in fields.items() if name in _PLACE}
        own = {name: value for name, value in fields.items() if name not in _PLACE}
        draft = leaves.cut(Draft(own, payload))
        sealed = leaves.encode_payload(draft.payload or {})
        leaf = leaves.encode_leaf({**place, **draft.fields, "payload": self._commitment(sealed, secret)})
        if leaf is None:
            raise MalformedEntry("a record does not fit into a leaf")
        return leaf, sealed

    def _stamp(self, fields: leaves.Fields, now: float) -> None:
        """Time never runs backwards in the log; where the clock did, the leaf says what it showed."""
        clock = int(now * 1000)
        if clock < self._last_ms:
            if self._last_ms - clock > _BEHIND_MS:
                fields["clock"] = max(clock, 0)
        else:
            self._last_ms = clock
        fields["time"] = self._last_ms

    def _commitment(self, payload: bytes, secret: bytes) -> leaves.Fields:
        said: leaves.Fields = {"commitment": commit(secret[KEY_SIZE:], payload), "size": len(payload)}
        if len(payload) > self._payload_limit:
            said["kept"] = False
        return said

    def _keep(self, batch: Batch, index: int, payload: bytes, secret: bytes) -> None:
        """The salt is kept in any case, so that who has the payload elsewhere can show it is the one."""
        batch.keys.append((index, secret))
        if len(payload) <= self._payload_limit:
            batch.payloads.append((index, seal(secret[:KEY_SIZE], payload)))


def _destroyed(fields: leaves.Fields, index: int) -> list[tuple[int, int]]:
    """The ranges that an erasure names: they go in the transaction that its leaf comes with."""
    ranges = erased_ranges(fields)
    if ranges is None or not ranges or ranges[-1][1] >= index:
        raise MalformedEntry("an erasure names ranges of earlier entries, in order and apart")
    return ranges
