"""Turns queued records into leaves and commits them, a batch at a time. Knows no thread and no queue.

`AuditLog` decides when a batch is taken and who is told; this is what happens to it: each record
gets its place, its chain and its commitment, the tree grows, and one transaction makes all of it
durable together with the newly signed checkpoint. After `commit` raised, the writer's state is no
longer that of the disk: it must not be used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import apsw

from lockgate.audit import leaves
from lockgate.audit.checkpoint import Checkpoint, Signer, open_note
from lockgate.audit.commitment import KEY_SIZE, commit, fresh_secrets, seal
from lockgate.audit.entry import VERSION, parse
from lockgate.audit.failures import MalformedEntry, Tampered, UntrustedNote
from lockgate.audit.leaves import Draft
from lockgate.audit.ledger import Ledger, Session
from lockgate.audit.storage.sqlite import Batch, Head, SqliteStore
from lockgate.audit.tree import Frontier, leaf_hash
from lockgate.errors import AuditError
from lockgate.model import Event, Intent, Outcome, SessionStart

PAYLOAD_LIMIT: Final = 4 * 1024 * 1024
"""Longer payloads are committed to but not kept; their leaf says so (``kept: false``)."""
_BEHIND_MS: Final = 1_000

Item = tuple[Session | None, int, float, Any]
"""Session or None, number in the session, Unix seconds, and what to record: a value of `model` or a
`Draft`."""


class Writer:
    """The only place where entries come into being. `node` is this process's opaque id."""

    def __init__(self, store: SqliteStore, signer: Signer, node: str, payload_limit: int) -> None:
        self._store = store
        self._signer = signer
        self._node = node
        self._payload_limit = payload_limit
        self._head = store.head()
        self._epoch = self._head.epoch
        self._frontier = Frontier()
        self._last_ms = 0

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
        """The newest signed checkpoint that is durable."""
        return self._head.note

    # ------------------------------------------------------------ start

    def recover(self, published: str | None) -> dict[str, Session]:
        """Read the whole log, compare it with its checkpoint, and return the sessions left open.

        `published` is the checkpoint that was last put beside the log: a store that is smaller, or
        does not have its root at that size, was rolled back. Raises `Tampered` with the first bad index.
        """
        ledger, frontier, head = Ledger(), self._frontier, self._head
        anchor = self._open_note(published, 0) if published else None
        for stored in self._store.leaves():
            index = frontier.size
            _take(ledger, frontier, index, stored)
            if anchor is not None and frontier.size == anchor.size and frontier.root() != anchor.root:
                raise Tampered("the log is not the one whose checkpoint was published",
                               index=index, check="published checkpoint")
        if anchor is not None and anchor.size > frontier.size:
            raise Tampered(f"the log was rolled back: {anchor.size} entries were published",
                           index=frontier.size, check="published checkpoint")
        if head.note or frontier.size:
            note = self._open_note(head.note, frontier.size)
            if (note.size, note.root) != (frontier.size, frontier.root()):
                raise Tampered(
                    f"the signed checkpoint covers {note.size} entries with another root; stored are "
                    f"{frontier.size}", index=min(note.size, frontier.size), check="checkpoint")
        if (head.size, head.frontier, head.epoch) != (frontier.size, frontier.to_bytes(), ledger.starts):
            raise Tampered("the head does not fit the entries", index=frontier.size, check="head")
        self._last_ms = ledger.last_time
        self._epoch = head.epoch + 1
        self._store.resume_history()
        return ledger.open

    def _open_note(self, note: str, index: int) -> Checkpoint:
        try:
            return open_note(note, self._signer.verifier)
        except UntrustedNote as error:
            raise Tampered(str(error), index=index, check="checkpoint") from None

    # ------------------------------------------------------------ appending

    def commit(self, items: Sequence[Item]) -> None:
        """Make all of `items` durable, in order. Raises `AuditError`; nothing may be retried then."""
        batch = Batch()
        for secret, item in zip(fresh_secrets(len(items)), items, strict=True):
            self._append(batch, item, secret)
        frontier = self._frontier
        checkpoint = Checkpoint(self._signer.verifier.name, frontier.size, frontier.root())
        head = Head(frontier.size, self._epoch, frontier.to_bytes(), self._signer.sign(checkpoint))
        try:
            self._store.commit(batch, self._head, head)
        except (apsw.Error, OSError) as error:
            raise AuditError(f"the audit log cannot be written: {error}") from None
        self._head = head

    def _append(self, batch: Batch, item: Item, secret: bytes) -> None:
        session, number, now, value = item
        draft = self._draft(value)
        frontier = self._frontier
        index = frontier.size
        fields = draft.fields
        payload = None if draft.payload is None else leaves.encode_payload(draft.payload)
        common = self._common(index, now)
        kind = fields["type"]
        if session is not None:
            common["sid"] = session.sid
            common["sseq"] = number
            common["prev"] = session.prev
            if kind == "session_end":
                fields["count"] = number
                fields["root"] = session.frontier.root().hex()
        elif kind in ("node_start", "node_stop", "heartbeat"):
            fields["size"] = index
            fields["root"] = frontier.root().hex()
        leaf = leaves.encode_leaf({**common, **fields, **self._commitment(payload, secret)})
        if leaf is None:
            draft = leaves.cut(draft)
            payload = leaves.encode_payload(draft.payload or {})
            leaf = leaves.encode_leaf({**common, **draft.fields, **self._commitment(payload, secret)})
            if leaf is None:
                raise MalformedEntry("a record does not fit into a leaf")
        digest = leaf_hash(leaf)
        batch.entries.append((index, digest, leaf))
        if payload is not None:
            self._keep(batch, index, payload, secret)
        frontier.append(digest)
        if session is not None:
            session.prev = digest.hex()
            session.frontier.append(digest)
            if kind == "session_begin":
                batch.begun.append((session.sid, index))
            elif kind == "session_end":
                batch.ended.append((index, session.sid))

    def _draft(self, value: Any) -> Draft:
        kind = type(value)
        if kind is Intent:
            return leaves.intent(value)
        if kind is Outcome:
            return leaves.outcome(value)
        if kind is SessionStart:
            return leaves.begin(value, self._store.pseudonyms)
        if kind is Event:
            return leaves.event(value, self._store.pseudonyms)
        draft: Draft = value
        return draft

    def _common(self, index: int, now: float) -> leaves.Fields:
        """Time never runs backwards in the log; where the clock did, the leaf says what it showed."""
        clock = int(now * 1000)
        common: leaves.Fields = {"v": VERSION, "node": self._node, "index": index}
        if clock < self._last_ms:
            if self._last_ms - clock > _BEHIND_MS:
                common["clock"] = max(clock, 0)
        else:
            self._last_ms = clock
        common["time"] = self._last_ms
        return common

    def _commitment(self, payload: bytes | None, secret: bytes) -> leaves.Fields:
        if payload is None:
            return {}
        said: leaves.Fields = {"commitment": commit(secret[KEY_SIZE:], payload), "size": len(payload)}
        if len(payload) > self._payload_limit:
            said["kept"] = False
        return {"payload": said}

    def _keep(self, batch: Batch, index: int, payload: bytes, secret: bytes) -> None:
        """The salt is kept in any case, so that who has the payload elsewhere can show it is the one."""
        batch.keys.append((index, secret))
        if len(payload) <= self._payload_limit:
            batch.payloads.append((index, seal(secret[:KEY_SIZE], payload)))


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
    ledger.take(index, record, digest)
    frontier.append(digest)
