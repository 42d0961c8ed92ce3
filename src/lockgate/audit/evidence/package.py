"""The verifier of an evidence package: thirteen checks over one archive, by whoever holds a key.

    manifest.json     what the package holds: canonical JSON, every field bound to the rest
    README.txt        for people
    verify.py         this program, for an auditor who has no copy of it yet
    log.vkey          the key that signed the checkpoint (to be pinned from elsewhere)
    trust.note        what the organisation's root key says (optional)
    witnesses.vkey    who cosigned, by the log's own word, where there is no trust note
    checkpoint        the newest checkpoint; cosignatures may follow the log's
    cosigned          the newest one that enough witnesses cosigned, cosigned.consistency to `checkpoint`
    anchors/N.*       .checkpoint of size N, its .tsr of a time-stamping authority, its .consistency
    rotations/N.*     .checkpoint of size N, the last one by an older key: it ends with the change to the next
                      key. Whoever pinned the older one follows it from there; its .consistency
    frontier          the tree before the first leaf
    leaves.jsonl      the records from `first` to `last`, none left out, one a line
    leaves.sha256     their RFC 6962 leaf hashes, 32 bytes each
    range.consistency from the tree that ends with the last leaf to `checkpoint`
    extra/N.tlog-proof    single records outside the range, with their proofs
    sessions/N.tlog-proof the `session_end` at N: a proof of one session for whoever has nothing else
    payloads.jsonl    what is disclosed: index, salt, payload
    recordings/SID/STREAM.rec

It reads the archive twice and keeps nothing but what is open, so its memory does not grow with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from io import BytesIO
from typing import Any, BinaryIO

from lockgate.audit.evidence.archive import Member, archive_members
from lockgate.audit.evidence.contents import PlacedLeaf, Runs
from lockgate.audit.evidence.disclosed import DisclosedPayload, any_payload, plain_payload
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.leaf import canonical_object
from lockgate.audit.evidence.merkle import (
    HASH_SIZE,
    Frontier,
    leaf_hash,
    leaf_hashes,
    verify_consistency,
    verify_inclusion,
)
from lockgate.audit.evidence.notes import (
    LOG_KEY,
    WITNESS_KEY,
    NoteKey,
    SignedNote,
    SignedTree,
    parse_note,
    parse_tree,
    parse_vkey,
)
from lockgate.audit.evidence.proofs import TlogProof, parse_hash_lines, parse_tlog_proof
from lockgate.audit.evidence.records import Records
from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.evidence.signatures import Pins, Signatories, read_note, read_text, signatories
from lockgate.audit.evidence.timestamp import Timestamp, verify_timestamp

PACKAGE_FORMAT = "lockgate/evidence/v1"
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 64 << 20      # bytes
_SMALL = 1 << 20                # bytes of a note, a key or a proof
_LINE_LIMIT = 600 << 20         # bytes of the longest line that a payload may make
_CHUNK_SIZE = 1 << 17      # bytes: what is read stays in the processor's cache until it is used
_FIELDS = {"format": str, "origin": str, "size": int, "first": int, "last": int, "scope": dict, "withheld": list,
           "recordings_withheld": list, "files": list}
_PLACES = tuple(re.compile(pattern, re.ASCII) for pattern in (
    r"manifest\.json()", r"README\.txt()", r"verify\.py()", r"log\.vkey()", r"trust\.note()", r"witnesses\.vkey()", r"checkpoint()",
    r"cosigned()", r"cosigned\.consistency()", r"anchors/(0|[1-9]\d{0,15})\.(?:checkpoint|consistency|tsr)",
    r"rotations/(0|[1-9]\d{0,15})\.(?:checkpoint|consistency)", r"frontier()", r"leaves\.jsonl()", r"leaves\.sha256()", r"range\.consistency()",
    r"extra/(0|[1-9]\d{0,15})\.tlog-proof", r"sessions/(0|[1-9]\d{0,15})\.tlog-proof", r"payloads\.jsonl()",
    r"recordings/()[!-~]+\.rec",
))
_NEEDED = ("README.txt", "verify.py", "log.vkey", "checkpoint", "frontier", "leaves.jsonl", "leaves.sha256",
           "range.consistency", "payloads.jsonl")


def member_place(name: str) -> tuple[int, int, str]:
    """Where a file stands in a package: packages of one content have one order. Raises ValueError."""
    for place, pattern in enumerate(_PLACES):
        found = pattern.fullmatch(name)
        if found is not None:
            return place, int(f"0{found.group(1)}"), name
    raise ValueError("a package has no such file")


def verify_package(file: BinaryIO, pins: Pins, name: str = "") -> Report:
    """Check an evidence package. Does not raise: what is wrong is in the report."""
    report = Report(name, is_key_pinned=pins.key is not None or pins.root is not None)
    run = _PackageRun(report, file, pins)
    try:
        run.all()
    except EvidenceError as error:
        report.blame(error)
    return report


class _PackageRun:
    """One verification: what the checks share."""

    manifest: dict[str, Any]
    who: Signatories
    tree: SignedTree
    note: str
    signed: SignedNote      # the newest checkpoint, as its file is and taken apart

    def __init__(self, report: Report, file: BinaryIO, pins: Pins) -> None:
        self.report = report
        self.file = file
        self.pins = pins
        self.members: dict[str, Member] = {}
        self.pinned: NoteKey | None = None
        self.kept: SignedTree | None = None
        self.cosigned_at: int | None = None
        self.newest_time: int | None = None
        self.rotations: list[tuple[int, str, str]] = []
        self.ends: list[int] | None = None
        self.unheard: set[str] = set()      # named witnesses of whom no line was seen

    def all(self) -> None:
        """Every check, in order. One that cannot read its input says so and ends the run."""
        self.archive()
        for check in (self.trust, self.checkpoint):
            check()
        if self.pins.against is not None:
            self.kept = parse_tree(read_note(self.pins.against.encode("utf-8", "replace"), "the kept checkpoint",
                                             "kept checkpoint").text, "kept checkpoint")
        for later in (self.records, self.consistency, self.session_proofs, self.tail):
            self.attempt(later)

    def attempt(self, check: Callable[[], None]) -> None:
        try:
            check()
        except EvidenceError as error:
            self.report.blame(error)

    # ------------------------------------------------------------ 1 manifest

    def archive(self) -> None:
        """The archive holds what its manifest lists, in the one order, and nothing else."""
        last: tuple[object, ...] = ()
        self.file.seek(0)
        for member in archive_members(self.file):
            try:
                place = member_place(member.name)
            except ValueError:
                raise EvidenceError("manifest", f"a package has no file {member.name}") from None
            if place <= last:
                raise EvidenceError("manifest", f"{member.name} is there twice, or out of its order")
            self.members[member.name] = member
            last = place
        self.manifest = self.read_manifest()
        for name in _NEEDED:
            if name not in self.members:
                raise EvidenceError("manifest", f"{name} is missing", verdict="incomplete")
        self.listed()

    def read_manifest(self) -> dict[str, Any]:
        found = canonical_object(self.content(_MANIFEST, _MANIFEST_LIMIT), "the manifest", "manifest")
        if set(found) != set(_FIELDS) or any(type(found[name]) is not kind for name, kind in _FIELDS.items()):
            raise EvidenceError("manifest", "the manifest has not the fields of one")
        if found["format"] != PACKAGE_FORMAT:
            raise EvidenceError("manifest", "the package is of another format")
        if not 0 <= found["first"] <= found["last"] < found["size"]:
            raise EvidenceError("manifest", "the manifest names a range that cannot be")
        return found

    def listed(self) -> None:
        """Files against the manifest's list: names, sizes, SHA-256."""
        files = [{"name": member.name, "sha256": member.sha256, "size": member.size}
                 for member in self.members.values() if member.name != _MANIFEST]
        listed = self.manifest["files"]
        if files == listed:
            self.report.cover("manifest", f"{len(files)} files, each as listed, nothing beside them")
            return
        names = [str(entry.get("name")) for entry in listed if isinstance(entry, dict)]
        for name in names:
            if name not in self.members:
                self.report.find("manifest", Verdict.INCOMPLETE, f"{name[:80]} is listed and not there")
        for file in files:
            if file not in listed:
                self.report.find("manifest", Verdict.TAMPERED, f"{file['name']} is not "
                                 f"{'the file that was packed' if file['name'] in names else 'listed'}")
        if not self.report.findings:
            self.report.find("manifest", Verdict.TAMPERED, "the manifest does not list the files in their order, each once")

    # ------------------------------------------------------------ 2 trust chain

    def trust(self) -> None:
        """Whose signatures count, and that the key in the package is that one."""
        note = self.text("trust.note", "trust") if "trust.note" in self.members else None
        own = self.text("log.vkey", "key")
        pins = self.pins
        if not self.report.is_key_pinned:
            self.report.find("key", Verdict.UNTRUSTED, "no key was pinned: give --key or --root. The checks below use "
                             "the package's own key, which proves nothing about who made it")
            pins = pins._replace(key=own)
        self.who = signatories(pins, note)
        self.pinned = self.who.key
        key = self.who.key_for(self.manifest["size"])
        if own != key.vkey + "\n":
            key = self.successor(own, key)
        if pins.key is not None and self.who.key is not None and self.who.key.vkey != key.vkey:
            raise EvidenceError("key", "the pinned key is not the one that the trust note names", verdict="untrusted")
        if self.manifest["origin"] != self.who.origin:
            raise EvidenceError("manifest", f"the manifest names another log than {self.who.origin}")
        self.report.origin = self.who.origin
        self.who = self.who._replace(named=self.named_witnesses())
        self.unheard = {key.vkey for key in self.who.named}
        if self.who.trust is not None:
            self.report.cover("trust", f"trust note {self.who.trust.serial}, by the pinned root key")
        if self.report.is_key_pinned:
            self.report.cover("key", key.vkey)
        if note is not None and self.who.trust is None:
            self.report.notes.append("the trust note was not checked: pin the organisation's key with --root")

    def named_witnesses(self) -> tuple[NoteKey, ...]:
        """Who cosigned by the package's own word, one key a line."""
        if "witnesses.vkey" not in self.members:
            return ()
        lines = self.text("witnesses.vkey", "cosignature").split("\n")
        keys = tuple(parse_vkey(line, WITNESS_KEY, "cosignature") for line in lines[:-1])
        if lines != [*(key.vkey for key in keys), ""] or not keys or len(set(keys)) < len(keys):
            raise EvidenceError("cosignature", "the names of witnesses are not as they must be")
        return keys

    def successor(self, own: str, pinned: NoteKey) -> NoteKey:
        """The package's key, where the pinned one may be an older one of the same log. It opens the checkpoint, and
        whatever that says counts for nothing unless `consistency` finds that the pinned key handed on to it.
        """
        key = parse_vkey(own[:-1], LOG_KEY, "key")
        if self.who.trust is not None or key.name != pinned.name or own != key.vkey + "\n" or not self.rotated_at():
            raise EvidenceError("key", f"the package's key is not the trusted one, {pinned.vkey}, and nothing in it says "
                                "that one led to the other: where the log changed its key, pin the newest key, or the "
                                "organisation's with --root", verdict="untrusted")
        self.who = self.who._replace(key=key)
        return key

    def rotated_at(self) -> list[int]:
        """The sizes of the trees that older keys signed last, as the package has them."""
        return sorted({member_place(name)[1] for name in self.members if name.startswith("rotations/")})

    # ------------------------------------------------------------ 3 checkpoint and quorum

    def checkpoint(self) -> None:
        """The newest checkpoint is signed by the log, and each further line by a witness that is known."""
        self.note = self.text("checkpoint", "checkpoint")
        self.signed = parse_note(self.note)
        self.tree = self.who.open(self.signed, "checkpoint")
        if self.tree.size != self.manifest["size"]:
            raise EvidenceError("manifest", f"the manifest names {self.manifest['size']} entries, the checkpoint "
                                f"{self.tree.size}")
        self.report.size = self.tree.size
        self.report.cover("checkpoint", f"{self.tree.size} entries, signed by {self.tree.origin}")
        self.cosigned_by(self.signed, self.tree)

    def cosigned_by(self, note: SignedNote, tree: SignedTree) -> bool:
        """Cosignatures of a note whose tree is known to be of this log. False where those who count are too few."""
        found = self.who.witnessed(note)
        self.unheard -= {key.vkey for key in self.who.named if any(line.is_by(key) for line in note.signatures[1:])}
        if self.who.policy is None and found:
            self.report.notes.append(f"{tree.size} entries are cosigned by {', '.join(name for name, _ in found)}, whom only "
                                     "the package names: they count once they are pinned with --policy")
            return True
        when = self.who.vouched_at(found)
        if when is not None and tree.size > self.report.cosigned:
            self.report.cosigned, self.cosigned_at = tree.size, when
            self.report.cover("quorum", f"{tree.size} entries cosigned by {', '.join(name for name, _ in found)}")
        return when is not None

    # ------------------------------------------------------------ 4 consistency, 11 anchors

    def consistency(self) -> None:
        """Every other checkpoint is of the same log, only older, and by the key of its size."""
        self.who = self.who._replace(key=self.pinned).rotated(self.rotations)
        self.who.open(self.signed, "checkpoint")
        self.handed_on()
        if self.pins.against is not None:
            note = read_note(self.pins.against.encode("utf-8", "replace"), "the kept checkpoint", "kept checkpoint")
            self.who.open(note, "kept checkpoint")
        if "cosigned" in self.members:
            note, tree = self.older("cosigned", "cosigned.consistency", "cosigned checkpoint")
            if not self.cosigned_by(note, tree):
                raise EvidenceError("quorum", "the cosigned checkpoint is not cosigned by a quorum", verdict="untrusted")
        elif "cosigned.consistency" in self.members:
            raise EvidenceError("manifest", "a proof for a cosigned checkpoint that is not there")
        if self.unheard:
            raise EvidenceError("cosignature", "the package names a witness that has cosigned nothing of it")
        if self.who.is_quorum_needed and not self.report.cosigned:
            self.report.find("quorum", Verdict.UNTRUSTED, "no checkpoint was cosigned by the quorum of witnesses")
        self.attempt(self.anchors)

    def handed_on(self) -> None:
        """From the pinned key on, each key has signed the tree that ends with the change to the next one. What
        older keys than the pinned one have signed is compared as well, and need not be there.
        """
        changes, there = [index + 1 for index, _, _ in self.rotations], self.rotated_at()
        for size in there:
            if size not in changes:
                raise EvidenceError("rotation", f"rotations/{size}.checkpoint is of no change of keys")
            _, tree = self.older(f"rotations/{size}.checkpoint", f"rotations/{size}.consistency", "rotation")
            if tree.size != size:
                raise EvidenceError("rotation", f"rotations/{size}.checkpoint is of {tree.size} entries")
        keys = self.who.ranges
        for known in keys[max((at for at, one in enumerate(keys) if one.key == self.pinned), default=0):]:
            if known.last is not None and known.last < self.tree.size and known.last not in there:
                raise EvidenceError("rotation", "the old key has not signed the change of keys", known.last - 1,
                                    "untrusted")
        if self.pinned is not None and self.who.ranges and self.who.key_for(self.tree.size) != self.pinned:
            self.report.cover("rotation", f"handed on from the pinned key {self.pinned.vkey}")

    def older(self, name: str, proof: str, check: str) -> tuple[SignedNote, SignedTree]:
        """A checkpoint whose tree is proven to be a prefix of the newest."""
        note = read_note(self.content(name), name, check)
        tree = self.who.open(note, check)
        if proof not in self.members:
            raise EvidenceError(check, f"{proof} is missing", verdict="incomplete")
        self.extends(tree.size, tree.root, proof, check)
        self.report.cover(check, f"the tree of {tree.size} entries ({name}) is the beginning of this one")
        return note, tree

    def extends(self, size: int, root: bytes, proof: str, check: str) -> None:
        """Raise unless the tree of `size` under `root` is the beginning of the newest one."""
        hashes = parse_hash_lines(self.content(proof), proof, check)
        try:
            verify_consistency(size, self.tree.size, root, self.tree.root, hashes)
        except EvidenceError as error:
            raise EvidenceError(check, error.message) from None

    def anchors(self) -> None:
        """Time-stamps over older checkpoints, by the authorities that the trust note pins."""
        sizes = sorted({member_place(name)[1] for name in self.members if name.startswith("anchors/")})
        pinned = () if self.who.trust is None else self.who.trust.authorities
        stamps: list[Timestamp] = []
        for size in sizes:
            _, tree = self.older(f"anchors/{size}.checkpoint", f"anchors/{size}.consistency", "anchor")
            if tree.size != size:
                raise EvidenceError("anchor", f"anchors/{size}.checkpoint is of {tree.size} entries")
            stamp, note = self.content(f"anchors/{size}.tsr"), self.content(f"anchors/{size}.checkpoint")
            if pinned:
                stamps.append(verify_timestamp(stamp, note, pinned))
        if stamps:
            newest = max(stamps, key=lambda one: one.time)
            when = datetime.fromtimestamp(newest.time, timezone.utc).isoformat()
            self.report.cover("anchor", f"{len(sizes)} time-stamps, the newest by {newest.authority} of {when}")
        elif sizes:
            self.report.notes.append(f"{len(sizes)} time-stamps were not checked: a trust note, pinned with --root, "
                                     "names the authorities")

    # ------------------------------------------------------------ 5 to 9 and 12: records

    def records(self) -> None:
        """Every record of the range and beside it, in the order of the log."""
        report, manifest = self.report, self.manifest
        withheld = self.withheld()
        records = Records(report, manifest, self.members, withheld, self.payloads())
        contents, scope, streams = records.contents, records.scope, records.streams
        before, after = self.extras()
        for placed in before:
            records.take(placed)
        self.dense(records)
        for placed in after:
            records.take(placed)
        records.finish()
        if contents.is_second_look_due:
            contents.look_again(self.leaves())
        contents.finish()
        streams.compare(report, self.at, contents.erased_by, manifest["recordings_withheld"])
        report.notes.extend(streams.notes)
        if contents.found_withheld.ranges != withheld.ranges:
            report.find("payloads", Verdict.TAMPERED, "the manifest withholds other payloads than are left out")
        self.newest_time = scope.newest_time
        self.rotations = scope.rotations
        if contents.ledger is not None:
            scope.require()
            report.cover("manifest", scope.words())
            report.notes.extend(scope.notes)
            self.ends = scope.ends

    def withheld(self) -> Runs:
        """The manifest's ranges of payloads that are kept back."""
        runs, last = Runs(), -1
        for pair in self.manifest["withheld"]:
            if type(pair) is not list or len(pair) != 2 or not all(type(index) is int for index in pair) \
                    or not last < pair[0] <= pair[1]:
                raise EvidenceError("manifest", "the manifest's withheld ranges are not as they must be")
            runs.ranges.append(pair)
            last = pair[1]
        return runs

    def extras(self) -> tuple[Iterator[PlacedLeaf], Iterator[PlacedLeaf]]:
        """The single leaves before the range and those after it, each with its proof."""
        first, last = self.manifest["first"], self.manifest["last"]
        found = sorted((member_place(name)[1], name) for name in self.members if name.startswith("extra/"))

        def outside(extras: list[tuple[int, str]]) -> Iterator[PlacedLeaf]:
            for index, name in extras:
                if first <= index <= last:
                    raise EvidenceError("manifest", f"{name} is inside the range", index)
                yield self.single(index, name)

        return outside([one for one in found if one[0] < first]), outside([one for one in found if one[0] >= first])

    def leaves(self) -> Iterator[PlacedLeaf]:
        """All of them once more, by index. Each was checked."""
        before, after = self.extras()
        yield from before
        for index, leaves in self.blocks():
            for leaf in leaves:
                yield PlacedLeaf(index, leaf, b"", False)
                index += 1
        yield from after

    def single(self, index: int, name: str) -> PlacedLeaf:
        """A leaf outside the range, with its proof."""
        proof = self.proof(index, name)
        return PlacedLeaf(index, proof.leaf, leaf_hash(proof.leaf), True)

    def proof(self, index: int, name: str) -> TlogProof:
        """A proof file: of this entry, under the package's checkpoint."""
        proof = parse_tlog_proof(self.content(name), name, "proof")
        if proof.at != index or proof.note != self.note:
            raise EvidenceError("proof", f"{name} is a proof of something else", index)
        try:
            verify_inclusion(index, self.tree.size, leaf_hash(proof.leaf), proof.path, self.tree.root)
        except EvidenceError as error:
            raise EvidenceError("proof", error.message, index) from None
        return proof

    def dense(self, records: Records) -> None:
        """The leaves of the range: they lead from the frontier to the signed root."""
        first, last = self.manifest["first"], self.manifest["last"]
        member = self.members["leaves.sha256"]
        if member.size != (last - first + 1) * HASH_SIZE:
            raise EvidenceError("entries", f"{member.size // HASH_SIZE} hashes of {last - first + 1} leaves",
                                min(last, first + member.size // HASH_SIZE), "incomplete")
        try:
            nodes = parse_hash_lines(self.content("frontier"), "the frontier", "tree")
            frontier = Frontier(first, nodes)
        except ValueError:
            raise EvidenceError("tree", "the frontier is not one of a tree of this size", first) from None
        for start, leaves in self.blocks():
            listed = self.at(member.offset + (start - first) * HASH_SIZE, len(leaves) * HASH_SIZE)
            digests = leaf_hashes(leaves)
            packed = digests if b"".join(digests) == listed else [
                listed[at:at + HASH_SIZE] for at in range(0, len(listed), HASH_SIZE)]
            for at in range(len(leaves)):
                if digests[at] != packed[at]:
                    self.report.find("leaf hash", Verdict.TAMPERED, "the entry is not the one that was packed", start + at)
                records.take_inside(start + at, leaves[at], digests[at], frontier, packed)
            if self.kept is not None and start < self.kept.size <= start + len(leaves):
                self.compare_kept(self.kept, frontier.root_with(packed[:self.kept.size - start]))
            frontier.extend(packed)
        self.report.entries = last + 1 - first
        self.attempt(lambda: self.rooted(last + 1, frontier.root()))

    def blocks(self) -> Iterator[tuple[int, list[bytes]]]:
        """The leaves of the range, some at a time, with the first one's index."""
        index, end = self.manifest["first"], self.manifest["last"] + 1
        for leaves in self.lines("leaves.jsonl", 1 << 16):
            yield index, leaves[:end - index]
            if index + len(leaves) > end:
                raise EvidenceError("entries", "there are more leaves than the manifest says", end)
            index += len(leaves)
        if index < end:
            raise EvidenceError("entries", f"entry {index} is missing", index, "incomplete")

    def rooted(self, size: int, root: bytes) -> None:
        """The tree that ends with the last leaf is the beginning of the signed one."""
        try:
            self.extends(size, root, "range.consistency", "tree")
        except EvidenceError as error:
            self.report.find("tree", Verdict.TAMPERED, f"the leaves do not lead to the signed root: {error.message}",
                             self.manifest["first"], size - 1)
            return
        self.report.cover("leaves", f"{self.report.entries} leaves hashed again lead to the signed root")
        self.report.cover("grammar", "each leaf is canonical, with the fields of its type")

    def compare_kept(self, kept: SignedTree, root: bytes) -> None:
        if kept.root != root:
            self.report.find("kept checkpoint", Verdict.TAMPERED, f"the first {kept.size} entries do not have the root "
                             "of the checkpoint that was kept", None, None)
        else:
            self.report.cover("kept checkpoint", f"the kept checkpoint of {kept.size} entries is of this log")
        self.kept = None

    def payloads(self) -> Iterator[DisclosedPayload]:
        """What is disclosed, by index."""
        last = -1
        for lines in self.lines("payloads.jsonl", _LINE_LIMIT):
            for line in lines:
                found = plain_payload(line, last) or any_payload(line, last)
                yield found
                last = found.at

    # ------------------------------------------------------------ session proofs, tail

    def session_proofs(self) -> None:
        """A tlog-proof for the end of every session that was asked for, of the very leaf in the range."""
        first = self.manifest["first"]
        found = {member_place(name)[1]: name for name in self.members if name.startswith("sessions/")}
        for index, name in found.items():
            proof = self.proof(index, name)
            offset = self.members["leaves.sha256"].offset + (index - first) * HASH_SIZE
            if not first <= index <= self.manifest["last"] or self.at(offset, HASH_SIZE) != leaf_hash(proof.leaf):
                raise EvidenceError("proof", f"{name} is of another entry than the range holds", index)
        if self.ends is not None and sorted(found) != self.ends:
            raise EvidenceError("proof", "the proofs of sessions are not those of the sessions that end here")
        if found:
            self.report.cover("sessions", f"{len(found)} proofs of single sessions hold")

    def tail(self) -> None:
        """What was kept elsewhere and could not be compared, and how much no witness has seen."""
        report, kept = self.report, self.kept
        if kept is None:
            pass
        elif kept.size < self.tree.size:
            report.find("kept checkpoint", Verdict.INCOMPLETE, f"the package cannot show that the tree of {kept.size} "
                        "entries is the beginning of its own: export it with --against")
        elif kept.size > self.tree.size:
            report.find("kept checkpoint", Verdict.TAMPERED, f"the key signed {kept.size} entries, the package knows "
                        f"{self.tree.size}", self.tree.size)
        elif kept.root != self.tree.root:
            report.find("kept checkpoint", Verdict.TAMPERED, f"the key signed two logs of {kept.size} entries")
        else:
            report.cover("kept checkpoint", "the kept checkpoint is the newest one")
        if self.cosigned_at is not None and self.newest_time is not None:
            report.uncosigned_seconds = max(0, self.newest_time // 1000 - self.cosigned_at)
        report.cover_tail()

    # ------------------------------------------------------------ reading

    def at(self, offset: int, size: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(size)

    def content(self, name: str, limit: int = _SMALL) -> bytes:
        """A small file, whole."""
        member = self.members.get(name)
        if member is None:
            raise EvidenceError("manifest", f"{name} is missing", verdict="incomplete")
        if member.size > limit:
            raise EvidenceError("manifest", f"{name} is larger than it can be")
        return self.at(member.offset, member.size)

    def text(self, name: str, check: str) -> str:
        return read_text(self.content(name), name, check)

    def lines(self, name: str, limit: int) -> Iterator[list[bytes]]:
        """The lines of a file without their newlines, some at a time; every line has one."""
        member, begun, length = self.members[name], [b""], 0     # a line that is not whole: its pieces, and their bytes
        for start in range(0, member.size, _CHUNK_SIZE):
            # Looks for newlines by the machine's own search; `split` goes byte by byte.
            found = BytesIO(self.at(member.offset + start, min(_CHUNK_SIZE, member.size - start))).readlines()
            rest = found.pop() if found and not found[-1].endswith(b"\n") else b""
            if found:
                found[0] = b"".join([*begun, found[0]])
                begun, length = [], 0
            begun.append(rest)
            length += len(rest)
            yield [line[:-1] for line in found]
            if length > limit:
                raise EvidenceError("manifest", f"{name} has a line that is longer than it can be")
        if length:
            raise EvidenceError("manifest", f"{name} ends inside a line")
