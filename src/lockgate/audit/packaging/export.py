"""Writes an evidence package: the range that was asked for, what it relies on, and the proofs of both.

The log is read from one snapshot, three times and in order: what lies outside the range and matters to it,
the leaf hashes for the proofs, and the range itself. Members are spooled beside the target, because the
manifest comes first and lists them all; memory does not grow with the range. The target appears
whole, readable by its owner only, or not at all.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from lockgate.audit.commitment import KEY_SIZE, unseal
from lockgate.audit.entry import canonical
from lockgate.audit.evidence.archive import ARCHIVE_END, MEMBER_LIMIT, member_header, member_padding
from lockgate.audit.evidence.contents import Runs
from lockgate.audit.evidence.erasures import erased_ranges
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import NoteKey, parse_note, parse_tree
from lockgate.audit.evidence.package import PACKAGE_FORMAT, member_place
from lockgate.audit.evidence.policy import parse_policy
from lockgate.audit.evidence.proofs import TlogProof, hash_lines
from lockgate.audit.evidence.recordings import CHUNK_LIMIT, RECORDING_MAGIC
from lockgate.audit.evidence.streams import StreamKey
from lockgate.audit.evidence.trust import key_of, ranges_of
from lockgate.audit.failures import Undisclosed
from lockgate.audit.keys import POLICY_FILE
from lockgate.audit.packaging.asking import Answer, Asked, resolve
from lockgate.audit.packaging.proving import Proofs
from lockgate.audit.packaging.reading import (
    change_of,
    damaged,
    data_of,
    hashes_of,
    kept_of,
    leaves_of,
    mark_of,
    record_of,
    text_in,
)
from lockgate.audit.packaging.standalone import standalone
from lockgate.audit.recording.shelf import Shelf, shelf_of
from lockgate.audit.storage.contract import Source
from lockgate.audit.storage.database.place import log_verifier
from lockgate.audit.storage.sqlite import open_source
from lockgate.errors import AuditError

_NOTE_LIMIT: Final = 65_536
_REVIEWS: Final = ("review_request", "review")
_README: Final = """\
This is an evidence package of a Lockgate audit log. manifest.json lists what is in it.

To check it, with a copy of the verifier that you trust and a key that you were given by other means:

    python3 -I verify.py evidence.tar --root root.vkey     (the organisation's root key)
    python3 -I verify.py evidence.tar --key log.vkey       (the log's key, where there is no trust note)

Exit status: 0 verified, 1 tampered, 2 incomplete, 3 untrusted, 4 usage. The verify.py in here is a
copy for convenience: whoever could have altered the package could have altered it as well.

leaves.jsonl      the records, one a line, in the bytes that are hashed (SHA-256 of a zero byte and the line)
leaves.sha256     those hashes, 32 bytes each
frontier          roots of the perfect subtrees before the first record (base64, largest first)
range.consistency RFC 6962 proof from the tree that ends with the last record to `checkpoint`
checkpoint        the newest signed checkpoint (C2SP signed note)
payloads.jsonl    what the records committed to, as far as it is disclosed: SHA-256("lockgate/commit/v1\\0",
                  salt, length as 8 bytes big-endian, payload)
witnesses.vkey    who cosigned, by the log's own word: whoever pins them (--policy) lets them count
rotations         what each older key of the log signed last: the tree that ends with the change to the next key
extra, sessions   single records with their proofs (C2SP tlog-proof)
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    first: int
    last: int
    size: int
    disclosed: int


@dataclass(slots=True)
class _Around:
    """What outside the range matters to it, and which tickets the sessions that were asked for used."""

    tickets: set[str] = field(default_factory=set)
    disclosed: set[str] = field(default_factory=set)
    extras: dict[int, bytes] = field(default_factory=dict)


def export_package(
    folder: Path, asked: Asked, target: Path, before: Callable[[Exported], None] | None = None
) -> Exported:
    """Write the package of the log in `folder` to `target`. Raises `AuditError`, and leaves no file then.

    `before` is called when the log is closed again and the package is made, before it can be seen: it puts the
    export on record.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".package-", dir=target.parent) as spool:
            part = Path(spool) / "package"
            with open_source(folder) as source, shelf_of(folder) as shelf:
                answer = resolve(source, asked)
                writer = _PackageWriter(source, shelf, folder, asked, answer, Path(spool))
                writer.write()
                writer.pack(part)
            written = Exported(target, answer.first, answer.last, writer.size, writer.disclosed)
            if before is not None:
                before(written)
            part.chmod(0o600)
            part.replace(target)
    except OSError as error:
        raise AuditError(f"{target}: {error.strerror}", advice="name a folder that can be written") from None
    return written


class _PackageWriter:
    """One package in the making: its members lie in the spool folder until all of them are known."""

    def __init__(self, source: Source, shelf: Shelf, folder: Path, asked: Asked, answer: Answer, spool: Path) -> None:
        head = source.head()
        self.size = head.signed
        self.disclosed = 0
        self._note = head.note
        self._source = source
        self._shelf = shelf
        self._folder = folder
        self._asked = asked
        self._answer = answer
        self._spool = spool
        self._files: list[tuple[str, Path]] = []
        self._withheld = Runs()
        self._ends: list[int] = []
        self._changes: list[tuple[int, str, str]] = []
        self._recordings_withheld: list[int] = []

    def write(self) -> None:
        """Everything but the manifest."""
        answer = self._answer
        self._add("README.txt", _README.encode())
        self._add("verify.py", standalone().encode())
        self._add("log.vkey", f"{self._key().vkey}\n".encode())
        self._add("checkpoint", self._note.encode())
        older = self._older()
        around = self._around()
        self._range(around)
        self._recordings()
        proofs = Proofs(self.size)
        proofs.want_frontier(answer.first)
        for size in {answer.last + 1, *older.values()}:
            proofs.want_consistency(size)
        for index in {*around.extras, *self._ends}:
            proofs.want_inclusion(index)
        proofs.read(hashes_of(self._source, self.size))
        self._add("frontier", hash_lines(proofs.frontier(answer.first)).encode())
        self._add("range.consistency", hash_lines(proofs.consistency(answer.last + 1)).encode())
        for name, size in older.items():
            self._add(name, hash_lines(proofs.consistency(size)).encode())
        for index, leaf in around.extras.items():
            self._prove(f"extra/{index}.tlog-proof", index, leaf, proofs)
        for index in self._ends:
            for _, _, leaf in leaves_of(self._source, index, index):
                self._prove(f"sessions/{index}.tlog-proof", index, leaf, proofs)

    def _key(self) -> NoteKey:
        """The key that signs trees of the package's size: behind a change of keys that is the new one."""
        self._changes = [change_of(index, record)
                         for index, _, leaf in leaves_of(self._source, 0, self.size - 1, (b'"type":"key_rotate"',))
                         if (record := record_of(index, leaf)).get("type") == "key_rotate"]
        try:
            return key_of(ranges_of(self._changes, log_verifier(self._folder).key), self.size)
        except EvidenceError as error:
            raise damaged(error.message) from None

    def _prove(self, name: str, index: int, leaf: bytes, proofs: Proofs) -> None:
        self._add(name, TlogProof(leaf, index, tuple(proofs.inclusion(index)), self._note).text().encode())

    def _add(self, name: str, content: bytes) -> None:
        path = self._spool / str(len(self._files))
        path.write_bytes(content)
        self._files.append((name, path))

    # ------------------------------------------------------------ notes beside the log

    def _older(self) -> dict[str, int]:
        """Other checkpoints of the log that are there, as the names of their proofs and their sizes."""
        trust = self._folder / "trust.note"
        if trust.is_file():
            self._add("trust.note", _small(trust))
        found: dict[str, int] = {}
        cosigned = self._folder / "cosigned"
        if cosigned.is_file() and (size := self._size_of(_small(cosigned))):
            if not trust.is_file():
                self._name_witnesses(_small(cosigned))
            self._add("cosigned", _small(cosigned))
            found["cosigned.consistency"] = size
        for stamp in sorted((self._folder / "anchors").glob("*.tsr")):
            note = stamp.with_suffix(".checkpoint")
            if note.is_file() and (size := self._size_of(_small(note))) and stamp.stem == str(size):
                self._add(f"anchors/{size}.checkpoint", _small(note))
                self._add(f"anchors/{size}.tsr", _small(stamp))
                found[f"anchors/{size}.consistency"] = size
        return found | self._handed_on()

    def _name_witnesses(self, cosigned: bytes) -> None:
        """Who cosigned, by the policy beside the log: so that each line is by somebody known, though by nobody pinned."""
        path = self._folder / POLICY_FILE
        if not path.is_file():
            return
        try:
            keys = [witness.key for witness in parse_policy(_small(path).decode()).witnesses]
            lines = parse_note(cosigned.decode()).signatures[1:]
        except (EvidenceError, UnicodeDecodeError) as error:
            raise AuditError(f"{path}: {error}", advice="start the gateway: it puts the policy there") from None
        named = [key for key in keys if any(line.is_by(key) for line in lines)]
        if named:
            self._add("witnesses.vkey", "".join(f"{key.vkey}\n" for key in named).encode())

    def _handed_on(self) -> dict[str, int]:
        """For whoever pinned an older key: what each old key signed last, the tree that ends with the change."""
        found: dict[str, int] = {}
        for index, _, _ in self._changes:
            size, note = index + 1, self._source.note(index + 1)
            if note is not None and size < self.size and self._size_of(note.encode()) == size:
                self._add(f"rotations/{size}.checkpoint", note.encode())
                found[f"rotations/{size}.consistency"] = size
        return found

    def _size_of(self, note: bytes) -> int:
        """The size in a note of this log that is not newer than the snapshot; 0 for any other."""
        try:
            tree = parse_tree(parse_note(note.decode()).text)
        except (EvidenceError, UnicodeDecodeError):
            return 0
        return tree.size if tree.origin == self._source.origin and tree.size <= self.size else 0

    # ------------------------------------------------------------ what matters outside the range

    def _around(self) -> _Around:
        """Reviews that requests in the range rely on, holds and erasures that concern it, and its neighbours."""
        answer, around = self._answer, _Around()
        for index, _, leaf in leaves_of(self._source, answer.first, answer.last, (b'"ticket":',)):
            self._relied_on(record_of(index, leaf), around)
        for kind in (b'"type":"legal_hold"', b'"type":"key_rotate"'):
            around.extras.update(self._outside(kind))
        self._neighbours(around)
        while self._erased(around) | self._reviewed(around):
            pass        # an erasure relies on reviews, and what a review said may be erased
        return around

    def _erased(self, around: _Around) -> bool:
        """Erasures outside that name something of what is packed; whether there was another one."""
        before, singles = len(around.extras), sorted(around.extras)

        def is_packed(first: int, last: int) -> bool:
            is_inside = first <= self._answer.last and last >= self._answer.first
            return is_inside or bisect_left(singles, first) < bisect_right(singles, last)

        for index, leaf in self._outside(b'"type":"erasure"'):
            record = record_of(index, leaf)
            ranges = erased_ranges(record)
            if ranges is None:
                raise damaged(f"entry {index} is no erasure")
            if index not in around.extras and any(is_packed(*pair) for pair in ranges):
                around.extras[index] = leaf
                self._relied_on(record, around)
        return len(around.extras) > before

    def _reviewed(self, around: _Around) -> bool:
        """What was said outside about the tickets that are relied on; whether there was more of it."""
        before = len(around.extras)
        if around.tickets:
            for index, leaf in self._outside(b'"type":"review'):
                if _ticket(record_of(index, leaf)) in around.tickets:
                    around.extras[index] = leaf
        return len(around.extras) > before

    def _relied_on(self, record: dict[str, Any], around: _Around) -> None:
        """A record that names a ticket: the ticket's request and review belong to it."""
        kind, ticket = record.get("type"), _ticket(record)
        if ticket is None or kind == "review":
            return
        if kind != "review_request":
            around.tickets.add(ticket)
        sessions = self._answer.sessions
        if sessions is None or text_in(record, "sid") in sessions:
            around.disclosed.add(ticket)

    def _neighbours(self, around: _Around) -> None:
        """The records on both sides of a period; the newest, and the last cosigned one, for their times."""
        answer = self._answer
        wanted = {self.size - 1}
        if "from" in answer.scope:
            wanted |= {answer.first - 1, answer.last + 1}
        cosigned = self._folder / "cosigned"
        if cosigned.is_file():
            wanted.add(self._size_of(_small(cosigned)) - 1)
        for index in wanted:
            if 0 <= index < self.size and not answer.first <= index <= answer.last:
                for _, _, leaf in leaves_of(self._source, index, index):
                    around.extras[index] = leaf

    def _outside(self, marker: bytes) -> Iterator[tuple[int, bytes]]:
        answer = self._answer
        for first, last in ((0, answer.first - 1), (answer.last + 1, self.size - 1)):
            if first <= last:
                for index, _, leaf in leaves_of(self._source, first, last, (marker,)):
                    yield index, leaf

    # ------------------------------------------------------------ the range

    def _range(self, around: _Around) -> None:
        """Leaves, their hashes, and payloads of those and of the leaves around, by index."""
        answer = self._answer
        paths = {name: self._spool / name for name in ("leaves.jsonl", "leaves.sha256", "payloads.jsonl")}
        before = {index: leaf for index, leaf in sorted(around.extras.items()) if index < answer.first}
        behind = {index: leaf for index, leaf in sorted(around.extras.items()) if index > answer.last}
        with paths["leaves.jsonl"].open("wb") as lines, paths["leaves.sha256"].open("wb") as hashes, \
                paths["payloads.jsonl"].open("wb") as payloads:
            for index, leaf in before.items():
                self._payload(index, leaf, around, payloads)
            for index, digest, leaf in leaves_of(self._source, answer.first, answer.last):
                lines.write(leaf + b"\n")
                hashes.write(digest)
                self._payload(index, leaf, around, payloads)
                if b'"type":"session_end"' in leaf:
                    self._end(index, record_of(index, leaf))
            for index, leaf in behind.items():
                self._payload(index, leaf, around, payloads)
        self._files += paths.items()

    def _end(self, index: int, record: dict[str, Any]) -> None:
        sessions = self._answer.sessions
        if record.get("type") == "session_end" and (sessions is None or text_in(record, "sid") in sessions):
            self._ends.append(index)

    def _payload(self, index: int, leaf: bytes, around: _Around, file: BinaryIO) -> None:
        """Disclose the entry's payload, or withhold it. One that is not there is neither: the log, or nobody, says why."""
        if b'"payload":{' not in leaf:
            return
        record = record_of(index, leaf)
        if not isinstance(record.get("payload"), dict) or "kept" in record["payload"]:
            return
        kept = kept_of(self._source, index)
        if kept is None:
            self._withheld.cut()
        elif not self._is_disclosed(index, record, around):
            self._withheld.add(index)
        else:
            self._withheld.cut()
            self.disclosed += 1
            secret, sealed = kept
            try:
                content = unseal(secret[:KEY_SIZE], sealed).decode()
            except (Undisclosed, UnicodeDecodeError):
                raise AuditError(f"the payload of entry {index} is damaged",
                                 advice=f"run `lockgate audit verify`; leave it out with --withhold {index}") from None
            file.write(canonical({"index": index, "payload": content, "salt": secret[KEY_SIZE:].hex()}) + b"\n")

    def _is_disclosed(self, index: int, record: dict[str, Any], around: _Around) -> bool:
        """Whether the question asks for this entry's payload, and nobody withholds it."""
        if record.get("type") in _REVIEWS and _ticket(record) in around.disclosed:
            return not self._is_held_back(index)
        return self._is_asked_for(text_in(record, "sid"), index)

    def _is_asked_for(self, sid: str | None, index: int) -> bool:
        sessions, answer = self._answer.sessions, self._answer
        is_meant = answer.first <= index <= answer.last if sessions is None else sid in sessions
        return is_meant and not self._is_held_back(index)

    def _is_held_back(self, index: int) -> bool:
        return not self._asked.payloads or any(first <= index <= last for first, last in self._asked.withhold)

    # ------------------------------------------------------------ recordings

    def _recordings(self) -> None:
        """The recorded streams of what was asked for, up to their last mark in the range; others are withheld."""
        last: dict[StreamKey, tuple[int, int]] = {}
        for index, _, leaf in leaves_of(self._source, self._answer.first, self._answer.last, (b'"type":"rec_mark"',)):
            record = record_of(index, leaf)
            if record.get("type") == "rec_mark":
                key, chunks = mark_of(index, record)
                last[key] = (index, chunks)
        for key, (index, chunks) in sorted(last.items(), key=lambda item: item[1]):
            if not chunks:
                continue    # nothing was recorded
            try:
                found = self._shelf.read(key.sid, key.stream)
            except FileNotFoundError:
                continue    # it was erased, or is lost: the log says which
            if not self._is_asked_for(key.sid, index):
                found.close()
                self._recordings_withheld.append(index)
                continue
            spooled = self._spool / str(len(self._files))
            with closing(found) as source, spooled.open("wb") as target:
                target.write(source.read(len(RECORDING_MAGIC)))
                for _ in range(chunks):
                    head = source.read(4)
                    if not head:
                        break       # the file ends before its mark: the verifier says so
                    target.write(head + source.read(min(int.from_bytes(head, "big"), CHUNK_LIMIT)))
            self._files.append((key.member, spooled))

    # ------------------------------------------------------------ the archive

    def pack(self, path: Path) -> None:
        """The manifest, then every member in its place."""
        files = sorted(self._files, key=lambda item: member_place(item[0]))
        manifest = {
            "format": PACKAGE_FORMAT, "origin": self._source.origin, "size": self.size, "first": self._answer.first,
            "last": self._answer.last, "scope": self._answer.scope, "withheld": self._withheld.ranges,
            "recordings_withheld": self._recordings_withheld,
            "files": [{"name": name, "size": spooled.stat().st_size, "sha256": _sha256(spooled)}
                      for name, spooled in files],
        }
        self._add("manifest.json", canonical(manifest))
        with path.open("wb") as out:
            for name, spooled in (self._files[-1], *files):
                size = spooled.stat().st_size
                if size > MEMBER_LIMIT:
                    raise AuditError(f"{name} is too large for a package", advice="ask for a shorter range")
                out.write(member_header(name, size))
                with spooled.open("rb") as member:
                    shutil.copyfileobj(member, out, 1 << 20)
                out.write(member_padding(size))
            out.write(ARCHIVE_END)


def _ticket(record: dict[str, Any]) -> str | None:
    """The ticket that a record names: in its fields where it was used, in its data where it is about it."""
    return text_in(record, "ticket") or text_in(data_of(record), "ticket")


def _small(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_NOTE_LIMIT)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
