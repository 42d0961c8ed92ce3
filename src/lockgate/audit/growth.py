"""Rows become entries: each record gets its place, its chain and its commitment, and the tree grows by it.

Stands apart from `writer` because it is the log's hot loop, twice for every statement, and because it knows no store
and no signer: what comes out is a `Batch` that nobody has made durable yet. After it raised, what it holds is no longer
the tree on the disk: it must not be used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from lockgate.audit import leaves
from lockgate.audit.commitment import KEY_SIZE, commit, fresh_secrets, seal
from lockgate.audit.entry import VERSION
from lockgate.audit.evidence.erasures import erased_ranges
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.leaves import Draft
from lockgate.audit.ledger import Session
from lockgate.audit.storage.contract import Batch
from lockgate.audit.tree import Frontier, leaf_hash

Row = tuple[str | None, int, float, leaves.Fields, bytes | None]
"""Session id or None, number in the session, Unix seconds, the draft's fields, and its payload as the commitment covers
it (`leaves.encode_payload`)."""

_NODE: Final = frozenset({"node_start", "node_stop", "heartbeat"})
_PLACE: Final = frozenset({"v", "node", "index", "time", "clock", "sid", "sseq", "prev", "payload"})
_BEHIND_MS: Final = 1_000


class Growth:
    """The only place where entries come into being. `node` is this process's opaque id.

    Payloads that are longer than `payload_limit` are committed to but not kept; their leaf says so (``kept: false``).
    """

    __slots__ = ("_node", "_payload_limit", "frontier", "last_ms", "sessions")

    def __init__(self, node: str, payload_limit: int) -> None:
        self.frontier = Frontier()
        self.sessions: dict[str, Session] = {}
        self.last_ms = 0
        """The time of the newest entry, in milliseconds since 1970."""
        self._node = node
        self._payload_limit = payload_limit

    def grow(self, batch: Batch, rows: Sequence[Row]) -> None:
        """Put all of `rows` into the batch, in order. Their fields become the leaves, in place."""
        secrets = fresh_secrets(sum(row[4] is not None for row in rows))
        for sid, number, now, fields, payload in rows:
            secret = b"" if payload is None else secrets.pop()
            kind: str = fields["type"]
            if sid is None:
                self._append(batch, kind, now, fields, payload, secret)
                continue
            session = self._session(sid, kind)
            fields["sid"] = sid
            fields["sseq"] = number
            fields["prev"] = session.prev
            if kind == "session_end":
                fields["count"] = number
                fields["root"] = session.frontier.root().hex()
                batch.ended.append((self.frontier.size, sid))
            elif kind == "session_begin":
                batch.begun.append((sid, self.frontier.size))
            digest = self._append(batch, kind, now, fields, payload, secret)
            session.prev = digest.hex()
            session.frontier.append(digest)

    def _append(
        self, batch: Batch, kind: str, now: float, fields: leaves.Fields, payload: bytes | None, secret: bytes,
    ) -> bytes:
        """One entry. Returns its hash."""
        frontier = self.frontier
        index = frontier.size
        fields["v"] = VERSION
        fields["node"] = self._node
        fields["index"] = index
        clock = int(now * 1000)
        if clock < self.last_ms:
            self._turned_back(fields, clock)
        else:
            self.last_ms = clock
        fields["time"] = self.last_ms
        if kind in _NODE:
            fields["size"] = index
            fields["root"] = frontier.root().hex()
        if payload is not None:
            fields["payload"] = self._commitment(payload, secret)
        leaf = leaves.encode_leaf(fields)
        if leaf is None:
            secret = secret or fresh_secrets(1)[0]
            leaf, payload = self._cut(fields, payload, secret)
        digest = leaf_hash(leaf)
        batch.entries.append((index, digest, leaf))
        if payload is not None:
            # The salt is kept in any case, so that who has the payload elsewhere can show it is the one.
            batch.keys.append((index, secret))
            if len(payload) <= self._payload_limit:
                batch.payloads.append((index, seal(secret[:KEY_SIZE], payload)))
        frontier.append(digest)
        if kind == "erasure":
            batch.destroyed += _destroyed(fields, index)
        return digest

    def _session(self, sid: str, kind: str) -> Session:
        """The chain of a session. One that ends is forgotten: the last use of it is this record."""
        if kind == "session_begin":
            session = self.sessions[sid] = Session(sid)
            return session
        if kind == "session_end":
            return self.sessions.pop(sid)
        return self.sessions[sid]

    def _turned_back(self, fields: leaves.Fields, clock: int) -> None:
        """Time never runs backwards in the log; where the clock did, the leaf says what it showed."""
        if self.last_ms - clock > _BEHIND_MS:
            fields["clock"] = max(clock, 0)

    def _commitment(self, payload: bytes, secret: bytes) -> leaves.Fields:
        said: leaves.Fields = {"commitment": commit(secret[KEY_SIZE:], payload), "size": len(payload)}
        if len(payload) > self._payload_limit:
            said["kept"] = False
        return said

    def _cut(self, fields: leaves.Fields, payload: bytes | None, secret: bytes) -> tuple[bytes, bytes]:
        """The leaf and the payload of a record that is too long for a leaf."""
        place = {name: value for name, value in fields.items() if name in _PLACE}
        own = {name: value for name, value in fields.items() if name not in _PLACE}
        draft = leaves.cut(Draft(own, None if payload is None else orjson.loads(payload)))
        whole = leaves.encode_payload(draft.payload or {})
        leaf = leaves.encode_leaf({**place, **draft.fields, "payload": self._commitment(whole, secret)})
        if leaf is None:
            raise MalformedEntry("a record does not fit into a leaf")
        return leaf, whole


def _destroyed(fields: leaves.Fields, index: int) -> list[tuple[int, int]]:
    """The ranges that an erasure names: they go in the transaction that its leaf comes with."""
    ranges = erased_ranges(fields)
    if ranges is None or not ranges or ranges[-1][1] >= index:
        raise MalformedEntry("an erasure names ranges of earlier entries, in order and apart")
    return ranges
