"""A log in the hands of somebody who has its key: every record can be changed, and everything that follows is made to fit.

`Forge` takes a log apart into rows, lets an attack change them, and writes a folder whose hashes, chains, roots,
commitments and signature are those of the changed rows. What the attack wants to leave as it is not supposed to be,
it says in `Row.late`. A forged log without a change is an honest one; a test holds that.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from lockgate.audit.checkpoint import Checkpoint, Signer
from lockgate.audit.commitment import KEY_SIZE, commit, fresh_secrets, seal, unseal
from lockgate.audit.entry import canonical
from lockgate.audit.evidence.leaf import NO_PREVIOUS
from lockgate.audit.keys import load_or_create
from lockgate.audit.storage.contract import Batch, Head
from lockgate.audit.storage.sqlite import FILE, SqliteStore, open_source
from lockgate.audit.tree import Frontier, leaf_hash
from tests.unit.audit.logs import ORIGIN

Fields = dict[str, Any]
_NODE = ("node_start", "node_stop", "heartbeat")


@dataclass
class Row:
    """One record. `late` is put into the leaf after everything that follows from its place; `raw` is a leaf as it is.

    `payload` is what it commits to; `is_kept` is whether the store has it.
    """

    fields: Fields
    payload: bytes | None = None
    secret: bytes = b""
    is_kept: bool = True
    late: Fields = field(default_factory=dict)
    raw: bytes | Callable[[bytes], bytes] | None = None

    @property
    def kind(self) -> str:
        return str(self.fields["type"])

    @property
    def content(self) -> Fields:
        """The payload, to be changed and given to `commit_to`."""
        return dict(orjson.loads(self.payload or b"{}"))

    def commit_to(self, content: Fields | bytes) -> None:
        """Another payload, and the commitment to it."""
        self.payload = content if isinstance(content, bytes) else canonical(content)
        self.secret = self.secret or fresh_secrets(1)[0]
        self.fields["payload"] = {"commitment": commit(self.secret[KEY_SIZE:], self.payload), "size": len(self.payload)}


@dataclass
class _Chain:
    first: int
    next: int = 0
    prev: str = NO_PREVIOUS
    frontier: Frontier = field(default_factory=Frontier)


class Forge:
    """The rows of a log and its key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signer: Signer = load_or_create(folder, ORIGIN, may_create=False)
        self.rows: list[Row] = []
        self.epoch: int | None = None
        self.drop_recordings = False
        self.note: str | None = None
        self.notes: dict[int, str] = {}
        """Checkpoints that the store keeps, by size."""
        with open_source(folder) as source:
            self.pseudonyms = source.pseudonyms
            for index, _, leaf in source.leaves():
                secret, sealed = source.kept(index)
                payload = None if sealed is None or secret is None else unseal(secret[:KEY_SIZE], sealed)
                self.rows.append(Row(orjson.loads(leaf), payload, secret or b""))

    # ------------------------------------------------------------ changing

    def of(self, kind: str, nth: int = 0) -> int:
        """The index of the n-th record of a type."""
        return [index for index, row in enumerate(self.rows) if row.kind == kind][nth]

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def new(self, kind: str, content: Fields | None = None, **fields: Any) -> Row:
        """A record of the gateway itself."""
        time = self.rows[-1].fields["time"]
        row = Row({"v": 1, "type": kind, "node": self.rows[0].fields["node"], "index": 0, "time": time, **fields})
        if content is not None:
            row.commit_to(content)
        return row

    def insert(self, at: int, *rows: Row) -> None:
        """Records before the one at `at`, as old as it."""
        for row in rows:
            row.fields["time"] = self.rows[min(at, len(self.rows) - 1)].fields["time"]
        self.rows[at:at] = rows

    def twin(self, index: int) -> Row:
        """A copy of a record, which can take another place."""
        row = self.rows[index]
        return Row(orjson.loads(orjson.dumps(row.fields)), row.payload, row.secret)

    def keep(self, *names: str) -> None:
        """These fields stay as they are in all records, whatever happens to the rest."""
        for row in self.rows:
            row.late.update({name: row.fields[name] for name in names if name in row.fields})

    def delay(self, first: int, seconds: int) -> None:
        """All records from here on happened later."""
        for row in self.rows[first:]:
            row.fields["time"] += seconds * 1000

    # ------------------------------------------------------------ writing

    def leaves(self) -> list[bytes]:
        """What follows from the rows: every leaf."""
        tree, chains, found = Frontier(), dict[str, _Chain](), []
        for index, row in enumerate(self.rows):
            record = {**row.fields, "index": index}
            chain = None
            if row.kind in _NODE:
                record.update(size=index, root=tree.root().hex())
            if "sid" in record:
                chain = chains.setdefault(record["sid"], _Chain(index))
                record.update(sseq=chain.next, prev=chain.prev)
                if row.kind == "session_end":
                    record.update(count=chain.next, root=chain.frontier.root().hex())
                    del chains[record["sid"]]
            record.update(row.late)
            leaf = canonical(record)
            if row.raw is not None:
                leaf = row.raw if isinstance(row.raw, bytes) else row.raw(leaf)
            digest = leaf_hash(leaf)
            tree.append(digest)
            if chain is not None:
                chain.next = record["sseq"] + 1
                chain.prev = digest.hex()
                chain.frontier.append(digest)
            found.append(leaf)
        return found

    def write(self, folder: Path) -> Path:
        """The log's folder. Its checkpoint is signed by `signer`, or is `note`."""
        folder.mkdir(parents=True)
        shutil.copy(self.folder / "log.key", folder / "log.key")
        (folder / "log.vkey").write_text(f"{self.signer.verifier}\n")
        if (self.folder / "recordings").exists() and not self.drop_recordings:
            shutil.copytree(self.folder / "recordings", folder / "recordings")
        store = SqliteStore.open(folder / FILE, origin=ORIGIN, fresh_key=self.pseudonyms)
        leaves, tree, batch = self.leaves(), Frontier(), Batch()
        seen: dict[str, int] = {}
        for index, (leaf, row) in enumerate(zip(leaves, self.rows, strict=True)):
            digest = leaf_hash(leaf)
            tree.append(digest)
            batch.entries.append((index, digest, leaf))
            if row.payload is not None and row.is_kept:
                batch.keys.append((index, row.secret))
                batch.payloads.append((index, seal(row.secret[:KEY_SIZE], row.payload)))
            elif row.is_kept and "kept" in row.fields.get("payload", {}):
                batch.keys.append((index, row.secret))
            sid = row.fields.get("sid")
            if sid is not None and sid not in seen:
                seen[sid] = index
                batch.begun.append((sid, index))
            if row.kind == "session_end":
                batch.ended.append((index, sid))
        note = self.note or self.sign(len(leaves), tree.root())
        epoch = sum(row.kind == "node_start" for row in self.rows) if self.epoch is None else self.epoch
        head = Head(len(leaves), epoch, tree.to_bytes(), note)
        store.commit(batch, Head(0, 0, bytes(8), ""), head)
        for size, kept in self.notes.items():
            store.connection.execute("INSERT INTO checkpoints VALUES (?, ?)", (size, kept))
        store.finish()
        store.close()
        (folder / "checkpoint").write_text(note)
        return folder

    def sign(self, size: int, root: bytes, signer: Signer | None = None) -> str:
        """A checkpoint by the log's key, or another one."""
        return (signer or self.signer).sign(Checkpoint(ORIGIN, size, root))

    def root(self, size: int) -> bytes:
        """The root over the first leaves."""
        tree = Frontier()
        for leaf in self.leaves()[:size]:
            tree.append(leaf_hash(leaf))
        return tree.root()
