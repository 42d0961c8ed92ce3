"""Attacks on a finished package: on its files, its archive, its proofs, its notes. The manifest is made to fit them.

Who makes them has no key of the log unless the attack says so. Each says what the verifier has to name.
"""

from __future__ import annotations

import base64
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.audit.entry import canonical
from lockgate.audit.evidence.proofs import hash_lines
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.evidence.timestamp import canonical_response, read_response
from lockgate.audit.evidence.trust import TrustedAuthority
from lockgate.audit.tree import consistency_proof, leaf_hash
from testbed.timestamps import Authority
from tests.unit.audit.evidence.keys import W1, W2, W3, NoteSigner
from tests.unit.audit.logs import ORIGIN
from tests.unit.audit.packages import exported, listed, members, packed
from tests.unit.audit.tampering import honest as log
from tests.unit.audit.tampering import stamps
from tests.unit.audit.tampering.forge import Forge

ROOT = NoteSigner("org.test/root")
OTHER = NoteSigner(ORIGIN)
COSIGNED = 17       # entries that the witnesses saw
ANCHORED = 10       # entries that the authority stamped
CHANGED = (10, 24)  # where the log changes its key, in "keys"
Files = dict[str, bytes]


class Honest:
    """The log, and packages of it that verify: of the whole log, of session a, and of session b with everything that an
    organisation's trust note adds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forge = Forge(folder)
        self.key = (folder / "log.vkey").read_text()
        self.packages = {"whole": exported(folder), "session": exported(folder, session=log.A),
                         "withheld": exported(folder, withhold=((8, 11),)),
                         "unkept": exported(self._unkept()), "bare": exported(folder, payloads=False), "late": exported(self._late(), session=log.A)}
        self.authorities = [Authority(folder.with_name(name), "p256") for name in ("authority", "another")]
        (folder / "anchors").mkdir()
        note = self.forge.sign(ANCHORED, self.forge.root(ANCHORED))
        (folder / "anchors" / f"{ANCHORED}.checkpoint").write_text(note)
        (folder / "anchors" / f"{ANCHORED}.tsr").write_bytes(self.stamp(note))
        (folder / "trust.note").write_text(self.trust())
        (folder / "cosigned").write_text(self.cosigned(COSIGNED, W1, W2))
        self.packages["trusted"] = exported(folder, session=log.B)
        self.rotated_keys = [self.key]
        self.rotated = Forge(folder)
        rotated = self._rotate(self.rotated)
        self.packages |= {"keys": exported(rotated), "keys in part": exported(rotated, session=log.A)}
        shutil.rmtree(folder / "anchors")
        (folder / "trust.note").unlink()
        (folder / "witness.policy").write_text(_policy(2))
        self.packages["named"] = exported(folder)
        (folder / "witness.policy").unlink()
        (folder / "cosigned").unlink()

    def _unkept(self) -> Path:
        """The log with a payload that was too long to keep."""
        forge = Forge(self.folder)
        forge[5].fields["payload"]["kept"] = False
        forge[5].payload = None
        return forge.write(self.folder.with_name("unkept") / "log")

    def _late(self) -> Path:
        """The log with the review before the session that relies on it."""
        forge = Forge(self.folder)
        for name in ("sid", "sseq", "prev"):
            del forge[6].fields[name]
        forge.rows[1:1] = [forge.rows.pop(6), forge.rows.pop(6)]
        forge[9].fields["record"] = 3
        for index in (14, 15):      # the erased entry has moved, too
            forge[index].fields["data"]["binding"] = log.bound_erasure(forge, [(5, 5)])
        forge[16].fields["data"]["ranges"] = [[5, 5]]
        return forge.write(self.folder.with_name("late") / "log")

    def _rotate(self, forge: Forge) -> Path:
        """The log with two changes of keys: amid its records, and right before its end."""
        for number, at in enumerate(CHANGED, 1):
            successor = log.another_signer(number)
            forge.insert(at, forge.new("key_rotate", log.body(actor=["local", "ops"]), data={
                "old": str(forge.signer.verifier), "new": str(successor.verifier)}))
            forge.notes[at + 1] = forge.sign(at + 1, forge.root(at + 1))
            forge.signer = successor
            self.rotated_keys.append(str(successor.verifier))
        return forge.write(self.folder.with_name("rotated") / "log")

    @property
    def pins(self) -> Pins:
        return Pins(key=self.key)

    @property
    def root(self) -> Pins:
        return Pins(root=ROOT.vkey)

    def pins_of(self, name: str) -> Pins:
        """What its auditor has pinned."""
        return self.root if name == "trusted" else self.pins

    def files(self, name: str) -> Files:
        return members(self.packages[name])

    def fingerprint(self, number: int = 0) -> bytes:
        """How the trust note names an authority."""
        return sha256(self.authorities[number].certificate.public_bytes(Encoding.DER)).digest()

    def stamp(self, note: str, number: int = 0) -> bytes:
        """A time-stamp over a note."""
        answer = read_response(self.authorities[number].stamp(note.encode()))
        return canonical_response(answer, [TrustedAuthority("t", self.fingerprint(number))])

    def trust(self, *, quorum: int = 2, keys: str = "", signer: NoteSigner = ROOT, first: str = "serial 3\n",
              authority: int = 0, fingerprint: bytes = b"") -> str:
        """The organisation's trust note. `fingerprint` is of another authority than the usual ones."""
        witnesses = "".join(f"witness w{number} {one.vkey}\n" for number, one in enumerate((W1, W2, W3), 1))
        text = (f"lockgate/trust/v1\n{first}" + (keys or f"log {self.key.strip()} 1-\n") + witnesses
                + f"group most {quorum} w1 w2 w3\nquorum most\ntsa t {(fingerprint or self.fingerprint(authority)).hex()}\n")
        return f"{text}\n{signer.line(text)}"

    def cosigned(self, size: int, *witnesses: NoteSigner, root: bytes | None = None, time: int = 1_700_000_000) -> str:
        """A checkpoint of the log with cosignatures."""
        note = self.forge.sign(size, root or self.forge.root(size))
        text = note.partition("\n\n")[0] + "\n"
        return note + "".join(witness.cosign(text, time) for witness in witnesses)

    def consistency(self, size: int, forge: Forge | None = None) -> bytes:
        """The proof that the first entries are the beginning of all, of this log or of another one."""
        return hash_lines(consistency_proof(size, [leaf_hash(leaf) for leaf in (forge or self.forge).leaves()])).encode()


Attack = Callable[[Honest, Files], "Files | bytes"]


@dataclass(frozen=True)
class Altered:
    """One attack on the package `of`. `pins` are the auditor's where they are not the usual ones."""

    name: str
    change: Attack
    of: str
    check: str
    index: int | None = None
    verdict: Verdict = Verdict.TAMPERED
    pins: Callable[[Honest], Pins] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def made(self, honest: Honest) -> bytes:
        """The package."""
        changed = self.change(honest, honest.files(self.of))
        return changed if isinstance(changed, bytes) else listed(changed, **self.fields)

    def pinned(self, honest: Honest) -> Pins:
        return honest.pins_of(self.of) if self.pins is None else self.pins(honest)


ALTERED: list[Altered] = []


def attack(check: str, index: int | None = None, verdict: Verdict = Verdict.TAMPERED, *, of: str = "whole",
           pins: Callable[[Honest], Pins] | None = None, **fields: Any) -> Callable[[Attack], Attack]:
    """Register an attack under its function's name; `fields` are put into the manifest."""
    def register(change: Attack) -> Attack:
        ALTERED.append(Altered(change.__name__, change, of, check, index, verdict, pins, fields))
        return change
    return register


def edited(name: str, file: str, change: Callable[[bytes], bytes], check: str, index: int | None = None,
           verdict: Verdict = Verdict.TAMPERED, of: str = "whole", **fields: Any) -> None:
    """An attack on one file."""
    def rewrite(honest: Honest, files: Files) -> Files:
        changed = change(files[file])
        assert changed != files[file]
        return {**files, file: changed}
    rewrite.__name__ = name
    attack(check, index, verdict, of=of, **fields)(rewrite)


def claimed(name: str, check: str = "manifest", index: int | None = None, verdict: Verdict = Verdict.TAMPERED,
            of: str = "whole", **fields: Any) -> None:
    """An attack on the manifest's own fields."""
    def same(honest: Honest, files: Files) -> Files:
        return files
    same.__name__ = name
    attack(check, index, verdict, of=of, **fields)(same)


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _with_leaves(files: Files, leaves: list[bytes], **more: bytes) -> Files:
    """Leaves with hashes that fit."""
    hashes = b"".join(leaf_hash(leaf.rstrip(b"\n")) for leaf in leaves)
    return {**files, "leaves.jsonl": b"".join(leaves), "leaves.sha256": hashes, **more}


# ---------------------------------------------------------------- leaves without the key


@attack("chain", 22)
def leaf_exchanged(honest: Honest, files: Files) -> Files:
    """The session's next record does not follow from it."""
    return _with_leaves(files, _lines(_replaced(files, 12)))


@attack("leaf hash", 12)
def leaf_exchanged_under_its_hash(honest: Honest, files: Files) -> Files:
    return {**files, "leaves.jsonl": _replaced(files, 12)}


@attack("position", 10)
def leaf_of_no_session_exchanged(honest: Honest, files: Files) -> Files:
    """No session contradicts it; the next record of the gateway itself names the root that was."""
    leaves = _lines(files["leaves.jsonl"])
    leaves[13] = leaves[13].replace(b"case-7", b"case-8")
    return _with_leaves(files, leaves)


@attack("leaf grammar", 11)
def leaf_without_its_end(honest: Honest, files: Files) -> Files:
    leaves = _lines(files["leaves.jsonl"])
    leaves[11] = leaves[11][:-2] + b"\n"
    return _with_leaves(files, leaves)


@attack("leaf grammar", 5)
def leaf_that_is_no_text(honest: Honest, files: Files) -> Files:
    leaves = _lines(files["leaves.jsonl"])
    leaves[5] = leaves[5].replace(b"denied", b"deni\xff\xff")
    return _with_leaves(files, leaves)


@attack("leaf grammar", 5)
def leaf_with_half_a_letter(honest: Honest, files: Files) -> Files:
    leaves = _lines(files["leaves.jsonl"])
    leaves[5] = leaves[5].replace(b"denied", b"\\ud800")
    return _with_leaves(files, leaves)


@attack("leaf grammar", 5)
def leaf_of_a_thousand_brackets(honest: Honest, files: Files) -> Files:
    leaves = _lines(files["leaves.jsonl"])
    leaves[5] = b'{"a":' + b"[" * 1_900 + b"]" * 1_900 + b"}\n"
    return _with_leaves(files, leaves)


def _replaced(files: Files, at: int) -> bytes:
    leaves = _lines(files["leaves.jsonl"])
    leaves[at] = leaves[at].replace(b'"rows":1', b'"rows":9')
    return b"".join(leaves)


@attack("position", 3)
def leaves_swapped(honest: Honest, files: Files) -> Files:
    leaves = _lines(files["leaves.jsonl"])
    leaves[3], leaves[4] = leaves[4], leaves[3]
    return _with_leaves(files, leaves)


@attack("proof", 21)
def leaf_dropped(honest: Honest, files: Files) -> Files:
    leaves = _lines(files["leaves.jsonl"])
    del leaves[5]
    return _with_leaves(files, leaves)


@attack("position", 6)
def leaf_doubled(honest: Honest, files: Files) -> Files:
    leaves = _lines(files["leaves.jsonl"])
    leaves[6:6] = [leaves[5]]
    return _with_leaves(files, leaves[:24])


@attack("entries", 24)
def leaf_added(honest: Honest, files: Files) -> Files:
    return {**files, "leaves.jsonl": files["leaves.jsonl"] + _lines(files["leaves.jsonl"])[23]}


@attack("proof", 22)
def tail_cut_off(honest: Honest, files: Files) -> Files:
    return _with_leaves(files, _lines(files["leaves.jsonl"])[:22])


@attack("tree", 0, last=22, scope={}, withheld=[])
def tail_cut_off_and_the_range_with_it(honest: Honest, files: Files) -> Files:
    return _with_leaves(files, _lines(files["leaves.jsonl"])[:23])


@attack("leaf hash", 5)
def hashes_exchanged(honest: Honest, files: Files) -> Files:
    hashes = bytearray(files["leaves.sha256"])
    hashes[160:224] = hashes[192:224] + hashes[160:192]
    return {**files, "leaves.sha256": bytes(hashes)}


edited("leaves_without_the_last_newline", "leaves.jsonl", lambda data: data[:-1], "manifest")
edited("hashes_cut", "leaves.sha256", lambda data: data[:-32], "entries", 23, Verdict.INCOMPLETE)
edited("hashes_cut_inside_of_one", "leaves.sha256", lambda data: data[:-1], "entries", 23, Verdict.INCOMPLETE)
edited("hashes_added", "leaves.sha256", lambda data: data + bytes(32), "entries", 23, Verdict.INCOMPLETE)
edited("frontier_of_a_tree_that_is_not_there", "frontier", lambda data: hash_lines([bytes(32)]).encode(), "tree", 0)
edited("frontier_exchanged", "frontier", lambda data: hash_lines([bytes(32)]).encode(), "position", 1, of="session")
edited("frontier_left_out", "frontier", lambda data: b"", "tree", 1, of="session")
edited("proof_of_the_range_without_its_last_hash", "range.consistency", lambda data: b"".join(_lines(data)[:-1]), "tree", 1,
       of="session")
edited("proof_of_the_range_with_another_hash", "range.consistency", lambda data: data + hash_lines([bytes(32)]).encode(),
       "tree", 1, of="session")
edited("proof_where_none_is_needed", "range.consistency", lambda data: hash_lines([bytes(32)]).encode(), "tree", 0)
edited("proof_of_another_alphabet", "range.consistency", lambda data: data.replace(b"=", b"-", 1), "tree", 1, of="session")
edited("proof_without_its_last_newline", "range.consistency", lambda data: data[:-1], "tree", 1, of="session")
edited("proof_with_a_free_bit", "range.consistency",
       lambda data: data[:42] + bytes([data[42] + 1]) + data[43:], "tree", 1, of="session")


@attack("checkpoint", verdict=Verdict.UNTRUSTED)
def signed_by_the_key_that_was_changed(honest: Honest, files: Files) -> Files:
    """Who has the old key goes on with it, behind the record that says that another one does."""
    forge = Forge(honest.folder)
    forge.insert(23, forge.new("key_rotate", log.body(actor=["local", "ann"]), data={
        "old": honest.key.strip(), "new": OTHER.vkey}))
    with tempfile.TemporaryDirectory() as folder:
        package = exported(forge.write(Path(folder) / "log"))
    return {**members(package), "log.vkey": honest.key.encode()}


# ---------------------------------------------------------------- manifest and archive


claimed("another_format", format="lockgate/evidence/v2")
claimed("another_log", origin="other.test/log")
claimed("another_size", size=25)
claimed("a_range_backwards", first=5, last=4)
claimed("a_range_before_the_log", first=-1)
claimed("a_range_beyond_the_log", last=24)
claimed("a_range_that_begins_later", "proof", 21, first=1, scope={})
claimed("one_field_more", more=1)
claimed("a_field_of_another_type", withheld={})
claimed("a_float", size=24.0)
claimed("another_question", scope={"session": log.A})
claimed("a_question_of_nobody", scope={"session": "c"})
claimed("a_question_of_two_kinds", scope={"session": log.A, "from": 1})
claimed("another_period", scope={"from": 1, "to": 2})
claimed("persons_that_are_no_list", scope={"principals": 5})
claimed("other_persons", scope={"principals": ["ab" * 16]})
claimed("withheld_in_disorder", withheld=[[8, 8], [3, 3]])
claimed("withheld_backwards", withheld=[[8, 7]])
claimed("withheld_as_text", withheld=[["8", "8"]])
claimed("withheld_that_is_disclosed", "payloads", withheld=[[8, 8]])
claimed("withheld_more_than_is_left_out", "payloads", of="withheld", withheld=[[7, 11]])
claimed("withheld_of_nothing", "payloads", withheld=[[23, 23]])
claimed("recording_withheld_that_is_here", "recordings", recordings_withheld=[20])
claimed("range_of_a_session_shortened", "proof", 21, of="session", last=19)


@attack("payloads", 8, Verdict.INCOMPLETE, of="withheld", withheld=[])
def withheld_and_not_said(honest: Honest, files: Files) -> Files:
    return files


@attack("manifest", verdict=Verdict.INCOMPLETE)
def a_file_missing(honest: Honest, files: Files) -> Files:
    del files["README.txt"]
    return files


@attack("manifest")
def a_file_too_many(honest: Honest, files: Files) -> Files:
    return {**files, "zz.txt": b""}


@attack("proof")
def a_file_listed_that_is_not_there(honest: Honest, files: Files) -> bytes:
    changed = members(listed(files))
    del changed["sessions/21.tlog-proof"]
    return packed(changed)


@attack("manifest")
def a_file_there_that_is_not_listed(honest: Honest, files: Files) -> bytes:
    without = {name: data for name, data in files.items() if name != "sessions/22.tlog-proof"}
    return packed({**files, "manifest.json": members(listed(without))["manifest.json"]})


@attack("manifest")
def a_file_that_was_not_packed(honest: Honest, files: Files) -> bytes:
    return packed({**files, "README.txt": b"Everything is fine.\n"})


@attack("manifest")
def files_listed_in_another_order(honest: Honest, files: Files) -> bytes:
    manifest = orjson.loads(files["manifest.json"])
    manifest["files"].reverse()
    return packed({**files, "manifest.json": canonical(manifest)})


@attack("manifest")
def a_file_listed_twice(honest: Honest, files: Files) -> bytes:
    manifest = orjson.loads(files["manifest.json"])
    manifest["files"].append(manifest["files"][0])
    return packed({**files, "manifest.json": canonical(manifest)})


@attack("manifest")
def a_list_with_something_else(honest: Honest, files: Files) -> bytes:
    manifest = orjson.loads(files["manifest.json"])
    manifest["files"].append(5)
    return packed({**files, "manifest.json": canonical(manifest)})


@attack("manifest")
def files_in_another_order(honest: Honest, files: Files) -> bytes:
    names = list(files)
    names[1], names[2] = names[2], names[1]
    return packed({name: files[name] for name in names})


@attack("manifest", verdict=Verdict.INCOMPLETE)
def manifest_missing(honest: Honest, files: Files) -> bytes:
    del files["manifest.json"]
    return packed(files)


@attack("manifest")
def manifest_not_canonical(honest: Honest, files: Files) -> bytes:
    return packed({**files, "manifest.json": files["manifest.json"].replace(b'":', b'": ', 1)})


@attack("manifest")
def manifest_without_its_size(honest: Honest, files: Files) -> bytes:
    manifest = orjson.loads(files["manifest.json"])
    del manifest["size"]
    return packed({**files, "manifest.json": canonical(manifest)})


@attack("manifest")
def manifest_that_is_no_json(honest: Honest, files: Files) -> bytes:
    return packed({**files, "manifest.json": b"{"})


@attack("manifest")
def the_same_file_twice(honest: Honest, files: Files) -> bytes:
    package, readme = packed(files), packed({"README.txt": files["README.txt"]})[:-1024]
    at = package.index(readme)
    return package[:at] + readme + package[at:]


def header(name: str, at: int, value: bytes) -> None:
    """An attack on the first header of the archive, with a checksum that fits."""
    def change(honest: Honest, files: Files) -> bytes:
        package = bytearray(honest.packages["whole"])
        package[at : at + len(value)] = value
        package[148:156] = b" " * 8
        package[148:156] = b"%06o\0 " % sum(package[:512])
        assert bytes(package) != honest.packages["whole"]
        return bytes(package)
    change.__name__ = name
    attack("archive")(change)


header("header_with_another_mode", 100, b"0000755\0")
header("header_with_an_owner", 108, b"0000001\0")
header("header_with_a_group", 116, b"0000001\0")
header("header_with_a_time", 136, b"00000000001\0")
header("header_of_a_link", 156, b"1")
header("header_of_an_old_kind", 156, b"\0")
header("header_of_gnu_tar", 257, b"ustar  \0")
header("header_with_an_owners_name", 265, b"root")
header("header_with_a_device", 329, b"0000001\0")
header("header_with_something_behind_it", 500, b"x")
header("header_with_a_size_in_another_base", 124, b"\x80" + bytes(11))
header("header_with_a_name_outside", 0, b"/manifest.json")
header("header_with_a_name_above", 0, b"..//manifest.json")
header("header_with_a_hidden_name", 14, b"x")


@attack("archive")
def header_with_another_checksum(honest: Honest, files: Files) -> bytes:
    package = bytearray(honest.packages["whole"])
    package[154:156] = b" \0"
    return bytes(package)


@attack("archive")
def something_behind_a_file(honest: Honest, files: Files) -> bytes:
    package = bytearray(honest.packages["whole"])
    size = len(files["manifest.json"])
    package[512 + size] = 1
    return bytes(package)


@attack("archive")
def one_empty_block_at_the_end(honest: Honest, files: Files) -> bytes:
    return honest.packages["whole"][:-512]


@attack("archive")
def three_empty_blocks_at_the_end(honest: Honest, files: Files) -> bytes:
    return honest.packages["whole"] + bytes(512)


@attack("archive", verdict=Verdict.INCOMPLETE)
def no_end(honest: Honest, files: Files) -> bytes:
    return honest.packages["whole"][:-1024]


@attack("archive", verdict=Verdict.INCOMPLETE)
def an_end_inside_a_file(honest: Honest, files: Files) -> bytes:
    return honest.packages["whole"][:3000]


@attack("archive")
def packed_by_another_tar(honest: Honest, files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


# ---------------------------------------------------------------- single records


@attack("proof", 23, of="session")
def record_beside_the_range_exchanged(honest: Honest, files: Files) -> Files:
    return {**files, "extra/23.tlog-proof": _with_leaf(files["extra/23.tlog-proof"], honest.forge.leaves()[22])}


@attack("proof", 22, of="session")
def record_beside_the_range_at_another_place(honest: Honest, files: Files) -> Files:
    proof = files.pop("extra/23.tlog-proof")
    return _ordered({**files, "extra/22.tlog-proof": proof})


@attack("manifest", 20, of="session")
def record_beside_the_range_inside_of_it(honest: Honest, files: Files) -> Files:
    text = files["extra/23.tlog-proof"].replace(b"index 23", b"index 20")
    return _ordered({**files, "extra/20.tlog-proof": text})


@attack("manifest", 1, of="session")
def record_beside_the_range_at_its_beginning(honest: Honest, files: Files) -> Files:
    return _ordered({**files, "extra/1.tlog-proof": files["extra/23.tlog-proof"]})


@attack("manifest", 21, of="session")
def record_beside_the_range_at_its_end(honest: Honest, files: Files) -> Files:
    return _ordered({**files, "extra/21.tlog-proof": files["extra/23.tlog-proof"]})


@attack("proof", 21, of="session")
def proof_of_the_session_for_another_record(honest: Honest, files: Files) -> Files:
    name = "sessions/21.tlog-proof"
    return {**files, name: _with_leaf(files[name], honest.forge.leaves()[20])}


@attack("proof", of="session")
def proof_of_the_session_missing(honest: Honest, files: Files) -> Files:
    del files["sessions/21.tlog-proof"]
    return files


@attack("proof", 22)
def proof_with_one_hash_more(honest: Honest, files: Files) -> Files:
    name = "sessions/22.tlog-proof"
    return {**files, name: files[name].replace(b"\n\n", b"\n" + hash_lines([bytes(32)]).encode() + b"\n", 1)}


@attack("proof", 22)
def proof_with_one_hash_less(honest: Honest, files: Files) -> Files:
    name = "sessions/22.tlog-proof"
    lines = files[name].split(b"\n")
    del lines[3]
    return {**files, name: b"\n".join(lines)}


@attack("proof", 22)
def proof_under_another_checkpoint(honest: Honest, files: Files) -> Files:
    name = "sessions/22.tlog-proof"
    note = honest.forge.sign(23, honest.forge.root(23)).encode()
    return {**files, name: files[name].partition(b"\n\n")[0] + b"\n\n" + note}


edited("proof_that_is_no_file_of_one", "sessions/22.tlog-proof", lambda data: data.replace(b"@v1", b"@v2"), "proof")
edited("proof_with_a_leading_zero", "sessions/22.tlog-proof", lambda data: data.replace(b"index 22", b"index 022"), "proof")
edited("proof_that_is_no_text", "sessions/22.tlog-proof", lambda data: b"\xff" + data, "proof")
edited("proof_with_a_blank_in_its_record", "sessions/22.tlog-proof", lambda data: data.replace(b"extra e", b"extra  e"), "proof")


def _with_leaf(proof: bytes, leaf: bytes) -> bytes:
    lines = proof.split(b"\n")
    lines[1] = b"extra " + base64.b64encode(leaf)
    return b"\n".join(lines)


def _ordered(files: Files) -> Files:
    from lockgate.audit.evidence.package import member_place
    return dict(sorted(files.items(), key=lambda item: member_place(item[0])))


@attack("review", 8, Verdict.INCOMPLETE, of="late")
def review_beside_the_range_missing(honest: Honest, files: Files) -> Files:
    return _unproven(files, 1, 2)


@attack("review", 8, Verdict.INCOMPLETE, of="late")
def request_beside_the_range_missing(honest: Honest, files: Files) -> Files:
    return _unproven(files, 1)


@attack("review", 8, of="late")
def verdict_beside_the_range_missing(honest: Honest, files: Files) -> Files:
    return _unproven(files, 2)


def _unproven(files: Files, *indices: int) -> Files:
    """Without these records beside the range, and what is disclosed of them."""
    lines = [line for line in _lines(files["payloads.jsonl"]) if orjson.loads(line)["index"] not in indices]
    return _without({**files, "payloads.jsonl": b"".join(lines)}, *(f"extra/{index}.tlog-proof" for index in indices))


# ---------------------------------------------------------------- payloads


def payload(name: str, check: str, index: int | None, change: Callable[[list[Any]], None],
            verdict: Verdict = Verdict.TAMPERED) -> None:
    """An attack on the list of disclosed payloads."""
    def rewrite(honest: Honest, files: Files) -> Files:
        entries = [orjson.loads(line) for line in files["payloads.jsonl"].splitlines()]
        change(entries)
        return {**files, "payloads.jsonl": b"".join(canonical(entry) + b"\n" for entry in entries)}
    rewrite.__name__ = name
    attack(check, index, verdict)(rewrite)


# entries disclosed: 1 2 5 6 7 8 11 13 14 15 16 17 18
payload("payload_left_out", "payloads", 8, lambda all_: all_.pop(5), Verdict.INCOMPLETE)
payload("payload_exchanged", "payloads", 8, lambda all_: all_[5].update(payload=all_[6]["payload"]))
payload("payload_with_another_salt", "payloads", 8, lambda all_: all_[5].update(salt=all_[6]["salt"]))
payload("payload_at_another_entry", "payloads", 9, lambda all_: all_[5].update(index=9))
payload("payload_of_an_entry_that_is_not_here", "payloads", 30, lambda all_: all_.append({**all_[5], "index": 30}))
payload("payloads_in_disorder", "payloads", None, lambda all_: all_.reverse())
payload("payload_twice", "payloads", None, lambda all_: all_.insert(5, all_[5]))
payload("payload_with_a_field_more", "payloads", None, lambda all_: all_[5].update(more=1))
payload("payload_with_a_short_salt", "payloads", 8, lambda all_: all_[5].update(salt="ab"))
payload("payload_with_a_salt_in_capitals", "payloads", 8, lambda all_: all_[5].update(salt="AB" * 32))
payload("payload_with_a_salt_that_is_none", "payloads", 8, lambda all_: all_[5].update(salt="x"))
payload("payload_without_an_index", "payloads", None, lambda all_: all_[5].update(index="8"))
payload("payload_that_is_a_number", "payloads", None, lambda all_: all_[5].update(payload=5))
edited("payloads_that_are_no_json", "payloads.jsonl", lambda data: b"x" + data, "payloads")
edited("payloads_not_canonical", "payloads.jsonl", lambda data: data.replace(b'{"', b'{ "', 1), "payloads")
edited("payloads_cut", "payloads.jsonl", lambda data: data[:-1], "manifest")


@attack("erasure", 3)
def payload_that_was_erased(honest: Honest, files: Files) -> Files:
    """Kept by somebody from before the erasure: the commitment fits."""
    before = Forge(honest.folder.with_name("sample"))[3]
    said = {"index": 3, "payload": (before.payload or b"").decode(), "salt": before.secret[32:].hex()}
    lines = _lines(files["payloads.jsonl"])
    return {**files, "payloads.jsonl": b"".join([*lines[:2], canonical(said) + b"\n", *lines[2:]])}


@attack("payloads", 5, of="unkept")
def payload_that_was_not_kept(honest: Honest, files: Files) -> Files:
    """Somebody has it all the same, and the commitment fits."""
    row = honest.forge[5]
    said = {"index": 5, "payload": (row.payload or b"").decode(), "salt": row.secret[32:].hex()}
    lines = _lines(files["payloads.jsonl"])
    return {**files, "payloads.jsonl": b"".join([*lines[:2], canonical(said) + b"\n", *lines[2:]])}


@attack("payloads", 8, Verdict.INCOMPLETE, of="unkept")
def payload_missing_beside_one_that_was_not_kept(honest: Honest, files: Files) -> Files:
    lines = [line for line in _lines(files["payloads.jsonl"]) if orjson.loads(line)["index"] != 8]
    return {**files, "payloads.jsonl": b"".join(lines)}


# ---------------------------------------------------------------- recordings

_REC = f"recordings/{log.A}/sql.rec"


def recorded(name: str, chunks: list[bytes], index: int | None, verdict: Verdict = Verdict.TAMPERED) -> None:
    """An attack on the recording."""
    edited(name, _REC, lambda data: log.recording(chunks), "recordings", index, verdict)


recorded("chunk_dropped", [log.CHUNKS[0], log.CHUNKS[2]], 19)
recorded("chunks_swapped", [log.CHUNKS[1], log.CHUNKS[0], log.CHUNKS[2]], 19)
recorded("chunk_replaced", [*log.CHUNKS[:2], b"another chunk"], 20)
recorded("chunk_added", [*log.CHUNKS, b"fourth chunk"], 20)
recorded("last_chunk_cut_off", log.CHUNKS[:2], 20, Verdict.INCOMPLETE)
recorded("all_chunks_cut_off", [], 19, Verdict.INCOMPLETE)
edited("recording_cut_inside_a_chunk", _REC, lambda data: data[:-1], "recordings")
edited("recording_that_is_none", _REC, lambda data: b"x" + data[1:], "recordings")
edited("recording_with_a_chunk_of_nothing", _REC, lambda data: data + bytes(4), "recordings")
edited("recording_with_an_impossible_chunk", _REC, lambda data: data[:16] + b"\xff" * 4 + data[20:], "recordings")


@attack("recordings", 20, Verdict.INCOMPLETE)
def recording_missing(honest: Honest, files: Files) -> Files:
    del files[_REC]
    return files


@attack("recordings")
def recording_of_nobody(honest: Honest, files: Files) -> Files:
    return _ordered({**files, f"recordings/{log.B}/sql.rec": files[_REC]})


# ---------------------------------------------------------------- keys, notes, witnesses


@attack("checkpoint", verdict=Verdict.UNTRUSTED)
def signed_by_another_key(honest: Honest, files: Files) -> Files:
    text = files["checkpoint"].decode().partition("\n\n")[0] + "\n"
    return {**files, "checkpoint": f"{text}\n{OTHER.line(text)}".encode()}


@attack("key", verdict=Verdict.UNTRUSTED)
def key_exchanged(honest: Honest, files: Files) -> Files:
    return {**files, "log.vkey": f"{OTHER.vkey}\n".encode()}


@attack("key", verdict=Verdict.UNTRUSTED)
def key_and_signature_exchanged(honest: Honest, files: Files) -> Files:
    return {**signed_by_another_key(honest, files), "log.vkey": f"{OTHER.vkey}\n".encode()}     # type: ignore[dict-item]


@attack("key", verdict=Verdict.UNTRUSTED, pins=lambda honest: Pins())
def no_key_was_pinned(honest: Honest, files: Files) -> Files:
    return files


@attack("key", verdict=Verdict.UNTRUSTED, pins=lambda honest: Pins(key=OTHER.vkey))
def another_key_was_pinned(honest: Honest, files: Files) -> Files:
    return files


@attack("key", verdict=Verdict.UNTRUSTED, pins=lambda honest: Pins(key=honest.key.replace("+", "-")))
def what_was_pinned_is_no_key(honest: Honest, files: Files) -> Files:
    return files


@attack("key", verdict=Verdict.UNTRUSTED, pins=lambda honest: Pins(key=W1.vkey))
def a_witness_was_pinned(honest: Honest, files: Files) -> Files:
    return files


def noted(name: str, change: Callable[[bytes], bytes], check: str = "checkpoint", verdict: Verdict = Verdict.TAMPERED) -> None:
    """An attack on the checkpoint's note."""
    edited(name, "checkpoint", change, check, None, verdict)


def _reencoded(data: bytes) -> bytes:
    """The same root in base64 with a bit that decoders leave out."""
    lines = data.split(b"\n")
    lines[2] = lines[2][:-2] + bytes([lines[2][-2] + 1]) + b"="
    return b"\n".join(lines)


noted("checkpoint_larger_than_it_can_be", lambda data: data + b"x" * (1 << 20), "manifest")
noted("checkpoint_of_another_size", lambda data: data.replace(b"\n24\n", b"\n25\n"))
noted("checkpoint_with_a_leading_zero", lambda data: data.replace(b"\n24\n", b"\n024\n"))
noted("checkpoint_without_a_signature", lambda data: data.partition(b"\n\n")[0] + b"\n\n")
noted("checkpoint_without_its_last_newline", lambda data: data[:-1])
noted("checkpoint_with_an_unknown_signature", lambda data: data + W1.cosign(data.decode().partition("\n\n")[0] + "\n").encode(),
      "cosignature", Verdict.UNTRUSTED)
noted("checkpoint_with_its_signature_twice", lambda data: data + _lines(data)[-1])
noted("checkpoint_with_a_malformed_signature", lambda data: data + b"- x y\n")
noted("checkpoint_with_a_short_signature", lambda data: b"\n".join(data.split(b"\n")[:-2]) + b"\n\xe2\x80\x94 "
      + ORIGIN.encode() + b" AAAA\n")
noted("checkpoint_with_a_control_character", lambda data: data.replace(b"\n24\n", b"\n24\r\n"))
noted("checkpoint_that_is_no_text", lambda data: b"\xff" + data)
noted("checkpoint_root_not_canonical", _reencoded)
noted("signature_not_canonical", lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:] if data[-2:] == b"=\n" else data + b" ")


@attack("checkpoint")
def checkpoint_with_an_extension(honest: Honest, files: Files) -> Files:
    """Signed by the log's key."""
    return {**files, "checkpoint": _resigned(honest, lambda text: text + "more\n")}


@attack("checkpoint")
def checkpoint_of_another_origin(honest: Honest, files: Files) -> Files:
    return {**files, "checkpoint": _resigned(honest, lambda text: "other" + text)}


@attack("checkpoint")
def checkpoint_with_a_short_root(honest: Honest, files: Files) -> Files:
    return {**files, "checkpoint": _resigned(honest, lambda text: text.replace("=\n", "==\n").replace("\n2", "\n2"))}


@attack("proof", 21)
def checkpoint_with_another_root(honest: Honest, files: Files) -> Files:
    """The log's key signs anything: a split view of one size. The proofs are those of the other one."""
    note = honest.forge.sign(24, bytes(32)).encode()
    return {name: data.replace(files["checkpoint"], note) for name, data in files.items()}


def _resigned(honest: Honest, change: Callable[[str], str]) -> bytes:
    text = change(honest.forge.sign(24, honest.forge.root(24)).partition("\n\n")[0] + "\n")
    signer = honest.forge.signer
    blob = signer.verifier.id + signer._private.sign(text.encode())
    return f"{text}\n— {ORIGIN} {base64.b64encode(blob).decode()}\n".encode()


def against(name: str, note: Callable[[Honest], str], check: str, index: int | None,
            verdict: Verdict = Verdict.TAMPERED, of: str = "whole") -> None:
    """A good package, and a checkpoint that the auditor kept."""
    def same(honest: Honest, files: Files) -> Files:
        return files
    same.__name__ = name
    attack(check, index, verdict, of=of, pins=lambda honest: honest.pins._replace(against=note(honest)))(same)


against("rolled_back", lambda honest: honest.forge.sign(30, bytes(32)), "kept checkpoint", 24)
against("split_view", lambda honest: honest.forge.sign(24, bytes(32)), "kept checkpoint", None)
against("split_view_of_a_part", lambda honest: honest.forge.sign(24, bytes(32)), "kept checkpoint", None, of="session")
against("rolled_back_and_in_part", lambda honest: honest.forge.sign(30, bytes(32)), "kept checkpoint", 24, of="session")
against("forked_before_what_was_kept", lambda honest: honest.forge.sign(17, bytes(32)), "kept checkpoint", None)
against("kept_from_another_log", lambda honest: OTHER.line("x"), "kept checkpoint", None)
against("kept_and_not_to_be_compared", lambda honest: honest.forge.sign(1, honest.forge.root(1)), "kept checkpoint", None,
        Verdict.INCOMPLETE, "session")


# ---------------------------------------------------------------- the trust note, cosignatures


@attack("trust", of="trusted", verdict=Verdict.UNTRUSTED, pins=lambda honest: Pins(root=W1.vkey))
def another_root_was_pinned(honest: Honest, files: Files) -> Files:
    return files


@attack("trust", of="whole", verdict=Verdict.INCOMPLETE, pins=lambda honest: honest.root)
def trust_note_missing(honest: Honest, files: Files) -> Files:
    return files


@attack("key", of="trusted", verdict=Verdict.UNTRUSTED, pins=lambda honest: Pins(key=OTHER.vkey, root=ROOT.vkey))
def pinned_key_is_not_the_trusted_one(honest: Honest, files: Files) -> Files:
    return files


def trusted(name: str, note: Callable[[Honest], str], check: str = "trust", verdict: Verdict = Verdict.UNTRUSTED) -> None:
    """Another trust note."""
    def change(honest: Honest, files: Files) -> Files:
        return {**files, "trust.note": note(honest).encode()}
    change.__name__ = name
    attack(check, verdict=verdict, of="trusted")(change)


def _keys(*ranges: str) -> Callable[[Honest], str]:
    """A trust note with these ranges of keys, the log's (L) and another one's (O)."""
    def note(honest: Honest) -> str:
        lines = [{"L": honest.key.strip(), "O": OTHER.vkey}[one[0]] + one[1:] for one in ranges]
        return honest.trust(keys="".join(f"log {line}\n" for line in lines))
    return note


trusted("trust_note_by_another_root", lambda honest: honest.trust(signer=NoteSigner("org.test/root2")))
trusted("trust_note_changed", lambda honest: honest.trust().replace("serial 3", "serial 4"))
trusted("trust_note_signed_twice", lambda honest: honest.trust() + W1.cosign("x"))
trusted("trust_note_of_another_kind", lambda honest: _by_root(honest.trust().replace("trust/v1", "trust/v2")))
trusted("trust_note_without_a_serial", lambda honest: honest.trust(first=""))
trusted("trust_note_with_two_serials", lambda honest: honest.trust(first="serial 3\nserial 4\n"))
trusted("trust_note_with_a_blank", lambda honest: honest.trust(first="serial  3\n"))
trusted("trust_note_out_of_order", lambda honest: _by_root(honest.trust().replace("serial 3\n", "").replace(
    "quorum most\n", "quorum most\nserial 3\n")))
trusted("old_key_after_its_range", _keys("L 1-23", "O 24-"), "key")
trusted("key_whose_range_has_not_begun", _keys("O 1-24", "L 25-"), "key")
trusted("keys_that_leave_a_gap", _keys("O 1-10", "L 12-"))
trusted("keys_that_overlap", _keys("O 1-10", "L 10-"))
trusted("keys_that_begin_late", _keys("L 2-"))
trusted("keys_that_end", _keys("L 1-23"))
trusted("keys_of_a_range_backwards", _keys("O 1-0", "L 1-"))
trusted("one_key_twice", _keys("L 1-10", "L 11-"))
trusted("quorum_of_more_than_cosigned", lambda honest: honest.trust(quorum=3), "quorum")
trusted("quorum_that_cannot_be", lambda honest: honest.trust(quorum=4))


def _by_root(note: str) -> str:
    text = note.partition("\n\n")[0] + "\n"
    return f"{text}\n{ROOT.line(text)}"


def witnessed(name: str, note: Callable[[Honest], str], check: str, verdict: Verdict = Verdict.TAMPERED) -> None:
    """Another note in the place of the cosigned one."""
    def change(honest: Honest, files: Files) -> Files:
        return {**files, "cosigned": note(honest).encode()}
    change.__name__ = name
    attack(check, verdict=verdict, of="trusted")(change)


witnessed("quorum_too_small", lambda honest: honest.cosigned(COSIGNED, W1), "quorum", Verdict.UNTRUSTED)
witnessed("cosigned_by_nobody", lambda honest: honest.cosigned(COSIGNED), "quorum", Verdict.UNTRUSTED)
witnessed("one_cosignature_twice", lambda honest: honest.cosigned(COSIGNED, W1, W1), "cosigned checkpoint")
witnessed("one_witness_at_two_times", lambda honest: honest.cosigned(COSIGNED, W1) + W1.cosign(
    honest.cosigned(COSIGNED).partition("\n\n")[0] + "\n", 1_700_000_001), "cosigned checkpoint")
witnessed("cosigned_by_a_stranger", lambda honest: honest.cosigned(COSIGNED, W1, W2, NoteSigner("w.test/x", 4)), "quorum")
witnessed("cosignature_of_another_tree", lambda honest: honest.cosigned(COSIGNED, W1) + W2.cosign("x\n1\nx\n"), "quorum")
witnessed("cosignature_of_another_time", lambda honest: _moved(honest.cosigned(COSIGNED, W1, W2)), "quorum")
witnessed("cosignature_that_is_a_signature", lambda honest: honest.cosigned(COSIGNED, W1) + W2.line(
    honest.cosigned(COSIGNED).partition("\n\n")[0] + "\n"), "quorum")
witnessed("forked_before_the_cosigned_point", lambda honest: honest.cosigned(COSIGNED, W1, W2, root=bytes(32)),
          "cosigned checkpoint")
witnessed("cosigned_tree_larger_than_this", lambda honest: honest.cosigned(25, W1, W2, root=bytes(32)),
          "cosigned checkpoint")
witnessed("cosigned_tree_of_nothing", lambda honest: honest.cosigned(0, W1, W2, root=bytes(32)), "trust", Verdict.UNTRUSTED)


def _moved(note: str) -> str:
    """The last cosignature claims another second."""
    lines = note.split("\n")
    name, _, encoded = lines[-2].rpartition(" ")
    blob = bytearray(base64.b64decode(encoded))
    blob[11] ^= 1
    lines[-2] = f"{name} {base64.b64encode(blob).decode()}"
    return "\n".join(lines)


@attack("cosigned checkpoint", of="trusted", verdict=Verdict.INCOMPLETE)
def proof_of_the_cosigned_tree_missing(honest: Honest, files: Files) -> Files:
    del files["cosigned.consistency"]
    return files


@attack("manifest", of="trusted")
def proof_of_a_cosigned_tree_that_is_not_there(honest: Honest, files: Files) -> Files:
    del files["cosigned"]
    return files


@attack("cosigned checkpoint", of="trusted")
def proof_of_the_cosigned_tree_with_one_hash_more(honest: Honest, files: Files) -> Files:
    name = "cosigned.consistency"
    return {**files, name: files[name] + hash_lines([bytes(32)]).encode()}


@attack("cosigned checkpoint", of="trusted")
def proof_of_the_cosigned_tree_empty(honest: Honest, files: Files) -> Files:
    return {**files, "cosigned.consistency": b""}


@attack("quorum", of="trusted", verdict=Verdict.UNTRUSTED, pins=lambda honest: Pins(root=ROOT.vkey, policy=_policy(3)))
def quorum_of_the_auditors_own_policy(honest: Honest, files: Files) -> Files:
    """It goes before the trust note's."""
    return files


@attack("policy", of="trusted", verdict=Verdict.UNTRUSTED, pins=lambda honest: Pins(root=ROOT.vkey, policy="x\n"))
def policy_that_is_none(honest: Honest, files: Files) -> Files:
    return files


def _policy(quorum: int) -> str:
    witnesses = "".join(f"witness w{number} {one.vkey}\n" for number, one in enumerate((W1, W2, W3), 1))
    return f"{witnesses}group most {quorum} w1 w2 w3\nquorum most\n"


@attack("quorum", of="trusted", verdict=Verdict.UNTRUSTED)
def cosigned_tree_left_out(honest: Honest, files: Files) -> Files:
    del files["cosigned"], files["cosigned.consistency"]
    return files


# ---------------------------------------------------------------- witnesses that only the package names

_NAMED = "witnesses.vkey"
edited("witness_named_twice", _NAMED, lambda data: data * 2, "cosignature", of="named")
edited("no_witness_named", _NAMED, lambda data: b"", "cosignature", of="named")
edited("names_of_witnesses_with_a_blank_line", _NAMED, lambda data: data + b"\n", "cosignature", None, Verdict.UNTRUSTED, of="named")
edited("names_of_witnesses_without_the_last_newline", _NAMED, lambda data: data[:-1], "cosignature", of="named")
edited("names_of_witnesses_with_a_free_space", _NAMED, lambda data: data.replace(b"\n", b" \n", 1), "cosignature", None,
       Verdict.UNTRUSTED, of="named")
edited("names_of_witnesses_that_are_no_text", _NAMED, lambda data: b"\xff" + data, "cosignature", of="named")
edited("witness_named_that_cosigned_nothing", _NAMED, lambda data: data + f"{W3.vkey}\n".encode(), "cosignature", of="named")
edited("witness_left_out_of_the_names", _NAMED, lambda data: _lines(data)[1], "cosignature", None, Verdict.UNTRUSTED, of="named")


@attack("cosignature", of="named", verdict=Verdict.UNTRUSTED)
def log_named_as_a_witness(honest: Honest, files: Files) -> Files:
    """By its own key, which is of another kind."""
    return {**files, _NAMED: files[_NAMED] + honest.key.encode()}


@attack("cosignature", of="named", verdict=Verdict.UNTRUSTED)
def names_of_witnesses_left_out(honest: Honest, files: Files) -> Files:
    del files[_NAMED]
    return files


@attack("cosignature", of="named")
def witnesses_named_of_what_none_cosigned(honest: Honest, files: Files) -> Files:
    del files["cosigned"], files["cosigned.consistency"]
    return files


@attack("cosigned checkpoint", of="named")
def cosignature_of_a_named_witness_twice(honest: Honest, files: Files) -> Files:
    return {**files, "cosigned": honest.cosigned(COSIGNED, W1, W2, W2).encode()}


@attack("cosignature", of="named")
def cosignature_of_a_named_witness_at_another_time(honest: Honest, files: Files) -> Files:
    return {**files, "cosigned": _moved(honest.cosigned(COSIGNED, W1, W2)).encode()}


# ---------------------------------------------------------------- anchors


def anchored(name: str, change: Callable[[Honest, Files], Files], check: str = "anchor",
             verdict: Verdict = Verdict.TAMPERED) -> None:
    """An attack on the time-stamp."""
    def rewrite(honest: Honest, files: Files) -> Files:
        return _ordered(change(honest, files))
    rewrite.__name__ = name
    attack(check, verdict=verdict, of="trusted")(rewrite)


_TSR, _STAMPED, _OLDER = (f"anchors/{ANCHORED}.{end}" for end in ("tsr", "checkpoint", "consistency"))


def _without(files: Files, *names: str) -> Files:
    return {name: data for name, data in files.items() if name not in names}


def _renamed(files: Files, size: int) -> Files:
    return {name.replace(f"anchors/{ANCHORED}.", f"anchors/{size}."): data for name, data in files.items()}


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:] if at >= 0 else data[:at] + bytes([data[at] ^ 1]) + data[len(data) + at + 1:]


anchored("stamp_over_another_checkpoint", lambda honest, files: {**files, _TSR: honest.stamp("x")})
anchored("stamp_of_another_authority", lambda honest, files: {**files, _TSR: honest.stamp(files[_STAMPED].decode(), 1)},
         verdict=Verdict.UNTRUSTED)
anchored("stamp_that_is_none", lambda honest, files: {**files, _TSR: b"0\0"})
anchored("stamp_that_is_empty", lambda honest, files: {**files, _TSR: b""})
anchored("stamp_cut", lambda honest, files: {**files, _TSR: files[_TSR][:-1]})
anchored("stamp_with_something_behind_it", lambda honest, files: {**files, _TSR: files[_TSR] + b"\0"})
anchored("stamp_as_the_authority_sent_it", lambda honest, files: {
    **files, _TSR: honest.authorities[0].stamp(files[_STAMPED])})
anchored("stamp_with_another_signature", lambda honest, files: {**files, _TSR: _flipped(files[_TSR], -1)})
anchored("stamp_missing", lambda honest, files: _without(files, _TSR), "manifest", Verdict.INCOMPLETE)
anchored("stamped_checkpoint_missing", lambda honest, files: _without(files, _STAMPED), "manifest", Verdict.INCOMPLETE)
anchored("proof_of_the_stamped_tree_missing", lambda honest, files: _without(files, _OLDER), "anchor", Verdict.INCOMPLETE)
anchored("stamp_of_another_size", lambda honest, files: _renamed(files, 11))
anchored("stamped_tree_of_another_log", lambda honest, files: {
    **files, _STAMPED: honest.forge.sign(ANCHORED, bytes(32)).encode(),
    _TSR: honest.stamp(honest.forge.sign(ANCHORED, bytes(32)))})
anchored("stamped_tree_signed_by_a_stranger", lambda honest, files: {
    **files, _STAMPED: honest.forge.sign(ANCHORED, honest.forge.root(ANCHORED), log.another_signer()).encode()},
         verdict=Verdict.UNTRUSTED)
trusted("authority_that_is_not_pinned", lambda honest: honest.trust(authority=1), "anchor")


def stamped(case: stamps.Stamped) -> None:
    """A time-stamp that was made by hand, over the very checkpoint, by somebody whom the trust note pins or who says so."""
    assert isinstance(case.said, Verdict)
    def rewrite(honest: Honest, files: Files) -> Files:
        note = honest.trust(fingerprint=case.authorities[0].fingerprint)
        return {**files, _TSR: case.make(files[_STAMPED]), "trust.note": note.encode()}
    rewrite.__name__ = f"stamp_{case.name}"
    attack("anchor", verdict=case.said, of="trusted")(rewrite)


_IN_PACKAGES = ("of_two_signers", "from_before_its_certificate", "from_after_its_certificate", "with_an_attribute_twice",
                "with_a_further_certificate", "with_the_higher_scalar", "of_an_imprint_by_another_hash", "signed_by_a_stranger",
                "of_a_certificate_for_something_else", "of_a_usage_that_says_it_is_not_critical",
                "of_a_certificate_that_somebody_else_issued", "of_a_certificate_in_another_name", "of_a_stranger_beside_the_pinned_issuer")
for _case in stamps.BAD:
    if _case.name in _IN_PACKAGES:
        stamped(_case)


# ---------------------------------------------------------------- changes of keys


_ONE, _TWO = (f"rotations/{_at + 1}." for _at in CHANGED)


def _each(start: str, files: Files) -> Files:
    return {name: data for name, data in files.items() if name.startswith(start)}


@attack("rotation", CHANGED[0], Verdict.UNTRUSTED, of="keys")
def first_change_of_keys_not_shown(honest: Honest, files: Files) -> Files:
    """The pinned key has signed nothing that names its successor."""
    return _without(files, *_each(_ONE, files))


@attack("rotation", CHANGED[1], Verdict.UNTRUSTED, of="keys")
def second_change_of_keys_not_shown(honest: Honest, files: Files) -> Files:
    return _without(files, *_each(_TWO, files))


@attack("rotation", CHANGED[1], Verdict.UNTRUSTED, of="keys in part")
def change_of_keys_beside_the_range_not_shown(honest: Honest, files: Files) -> Files:
    return _without(files, *_each(_TWO, files))


@attack("rotation", CHANGED[1], Verdict.UNTRUSTED, of="keys", pins=lambda honest: Pins(key=honest.rotated_keys[1]))
def change_of_the_pinned_key_not_shown(honest: Honest, files: Files) -> Files:
    """The second key is pinned: the first change is none of its business, the second one is."""
    return _without(files, *_each(_TWO, files))


@attack("key", verdict=Verdict.UNTRUSTED, of="keys")
def no_change_of_keys_shown(honest: Honest, files: Files) -> Files:
    return _without(files, *_each("rotations/", files))


@attack("rotation", of="keys")
def one_change_of_keys_shown_for_another(honest: Honest, files: Files) -> Files:
    return {**files, **{_ONE + end: files[_TWO + end] for end in ("checkpoint", "consistency")}}


@attack("rotation", verdict=Verdict.UNTRUSTED, of="keys")
def change_of_keys_signed_by_the_new_key(honest: Honest, files: Files) -> Files:
    """The thief of a newer key cannot claim the older one's word."""
    text = files[_ONE + "checkpoint"].decode().partition("\n\n")[0] + "\n"
    signer = log.another_signer(1)
    blob = signer.verifier.id + signer._private.sign(text.encode())
    return {**files, _ONE + "checkpoint": f"{text}\n\u2014 {ORIGIN} {base64.b64encode(blob).decode()}\n".encode()}


@attack("rotation", of="keys")
def change_of_keys_in_another_tree(honest: Honest, files: Files) -> Files:
    return {**files, _ONE + "consistency": hash_lines([bytes(32)]).encode() + files[_ONE + "consistency"]}


@attack("rotation", verdict=Verdict.INCOMPLETE, of="keys")
def change_of_keys_without_its_proof(honest: Honest, files: Files) -> Files:
    return _without(files, _ONE + "consistency")


@attack("rotation", of="keys")
def change_of_keys_where_there_is_none(honest: Honest, files: Files) -> Files:
    return _ordered({**files, "rotations/1.checkpoint": files[_ONE + "checkpoint"], "rotations/1.consistency": files[_ONE + "consistency"]})


@attack("rotation", of="keys")
def older_checkpoint_among_the_changes_of_keys(honest: Honest, files: Files) -> Files:
    """A good one, with its proof, of a size at which no key changed."""
    note = honest.forge.sign(5, honest.forge.root(5)).encode()
    proof = honest.consistency(5, honest.rotated)
    return _ordered({**files, "rotations/5.checkpoint": note, "rotations/5.consistency": proof})


@attack("key", verdict=Verdict.UNTRUSTED, of="keys", pins=lambda honest: Pins(key=NoteSigner("other.test/log").vkey))
def key_of_another_log_was_pinned(honest: Honest, files: Files) -> Files:
    return files


@attack("rotation", verdict=Verdict.UNTRUSTED, of="keys", pins=lambda honest: Pins(key=OTHER.vkey))
def key_that_the_log_never_had_was_pinned(honest: Honest, files: Files) -> Files:
    return files


def _by_ranges(honest: Honest, *bounds: str) -> bytes:
    """A trust note with the three keys of the log that changed them."""
    lines = (f"log {key.strip()} {bound}\n" for key, bound in zip(honest.rotated_keys, bounds, strict=True))
    return honest.trust(keys="".join(lines)).replace("quorum most", "quorum none").encode()


def ruled(name: str, check: str, index: int | None, *bounds: str, own: int = 2) -> None:
    """The log that changed its keys, with a trust note; `own` is the key in the package."""
    def change(honest: Honest, files: Files) -> Files:
        note = _by_root(_by_ranges(honest, *bounds).decode())
        return _ordered({**files, "trust.note": note.encode(), "log.vkey": honest.rotated_keys[own].strip().encode() + b"\n"})
    change.__name__ = name
    attack(check, index, Verdict.UNTRUSTED, of="keys", pins=lambda honest: honest.root)(change)


ruled("older_key_beside_a_trust_note", "key", None, "1-11", "12-25", "26-", own=0)
ruled("change_of_keys_that_the_trust_note_has_elsewhere", "trust", CHANGED[0], "1-12", "13-25", "26-")
ruled("last_change_of_keys_that_the_trust_note_has_elsewhere", "trust", CHANGED[1], "1-11", "12-24", "25-")

edited("key_of_the_package_with_a_blank", "log.vkey", lambda data: data[:-1] + b" \n", "key", None, Verdict.UNTRUSTED, of="keys")
edited("key_of_the_package_without_its_newline", "log.vkey", lambda data: data[:-1] + b"x", "key", None, Verdict.UNTRUSTED, of="keys")
edited("key_of_the_package_that_is_no_text", "log.vkey", lambda data: b"\xff" + data, "key")
edited("trust_note_that_is_no_text", "trust.note", lambda data: b"\xff" + data, "trust", of="trusted")


# ---------------------------------------------------------------- what else can be done to the files


@attack("manifest")
def a_file_before_the_manifest(honest: Honest, files: Files) -> bytes:
    return packed({"zz.txt": b"", **members(listed(files))})


@attack("manifest")
def two_files_that_were_not_packed(honest: Honest, files: Files) -> bytes:
    return packed({**files, "README.txt": b"Everything is fine.\n", "verify.py": b"print('VERIFIED')\n"})


@attack("manifest", verdict=Verdict.INCOMPLETE)
def a_list_with_a_name_that_is_none(honest: Honest, files: Files) -> bytes:
    manifest = orjson.loads(files["manifest.json"])
    manifest["files"].append({"name": ["README.txt"]})
    return packed({**files, "manifest.json": canonical(manifest)})


claimed("withheld_before_the_log", withheld=[[-1, -1]])
claimed("withheld_twice", withheld=[[8, 8], [8, 8]])
claimed("withheld_in_ranges_that_overlap", withheld=[[3, 8], [5, 9]])
claimed("withheld_of_an_entry_without_a_payload", "payloads", withheld=[[0, 0]])
claimed("withheld_with_three_ends", withheld=[[3, 4, 5]])
edited("frontier_that_is_none", "frontier", lambda data: b"x\n", "tree", of="session")
edited("last_leaf_missing_under_its_hash", "leaves.jsonl", lambda data: b"".join(_lines(data)[:-1]), "entries", 23, Verdict.INCOMPLETE)
edited("leaf_of_more_than_a_mebibyte", "leaves.jsonl", lambda data: data[:-1] + b"x" * (1 << 21) + b"\n", "manifest")
edited("proof_that_names_another_entry", "extra/23.tlog-proof", lambda data: data.replace(b"index 23", b"index 22"), "proof", 23, of="session")
edited("proof_without_a_newline_at_its_end", "range.consistency", lambda data: data + b"x", "tree", 1, of="session")
payload("payload_of_an_entry_before_the_log", "payloads", None, lambda all_: all_.insert(0, {**all_[0], "index": -1}))
payload("payload_of_an_entry_that_has_none_amid_others", "payloads", 4, lambda all_: all_.insert(2, {**all_[1], "index": 4}))
noted("checkpoint_as_large_as_a_file_can_be", lambda data: data + b"x" * ((1 << 20) - len(data)))
noted("checkpoint_signed_under_another_name", lambda data: data.replace(b"\xe2\x80\x94 " + ORIGIN.encode(), b"\xe2\x80\x94 " + ORIGIN.encode() + b"x"),
      verdict=Verdict.UNTRUSTED)


@attack("payloads", 0, of="session")
def payload_of_an_entry_before_the_range(honest: Honest, files: Files) -> Files:
    first = canonical({"index": 0, "payload": "{}", "salt": "00" * 32}) + b"\n"
    return {**files, "payloads.jsonl": first + files["payloads.jsonl"]}


@attack("payloads", of="trusted")
def payloads_in_disorder_of_a_cosigned_log(honest: Honest, files: Files) -> Files:
    """How much no witness saw is not said, as not all records were read."""
    return {**files, "payloads.jsonl": b"".join(reversed(_lines(files["payloads.jsonl"])))}


@attack("trust", verdict=Verdict.UNTRUSTED, pins=lambda honest: Pins(key=honest.key, policy=_policy(2)))
def cosigned_tree_without_entries(honest: Honest, files: Files) -> Files:
    note = honest.cosigned(0, W1, W2, root=sha256(b"").digest())
    return _ordered({**files, "cosigned": note.encode(), "cosigned.consistency": b""})


against("kept_from_a_stranger", lambda honest: honest.forge.sign(17, honest.forge.root(17), log.another_signer()), "kept checkpoint", None,
        Verdict.UNTRUSTED)


@attack("recordings", 22)
def recording_that_was_erased(honest: Honest, files: Files) -> Files:
    """Kept by somebody from before its erasure."""
    forge = Forge(honest.folder)
    forge[0].fields["data"]["retention"] = {"recordings": 60}
    forge.insert(22, log.erasure(forge, [[20, 20]]))
    forge[22].fields["data"] = {"cause": "retention", "ranges": [[20, 20]], "approvals": 1}
    forge.delay(22, 60)
    forge.drop_recordings = True
    return _ordered({**_exported(forge), _REC: files[_REC]})


@attack("recordings", 19)
def recording_that_goes_on_behind_its_last_mark(honest: Honest, files: Files) -> Files:
    """Somebody added a chunk to a recording that a crash had cut."""
    forge = Forge(honest.folder)
    del forge.rows[20]
    forge[20].fields["coverage"] = {"state": "cut", "streams": 1, "chunks": 2, "bytes": 20, "reason": "crash"}
    return _ordered({**_exported(forge), _REC: files[_REC]})


def _exported(forge: Forge) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        return members(exported(forge.write(Path(folder) / "log")))


# ---------------------------------------------------------------- packages that are as they must be


def honest_packages(honest: Honest) -> Iterator[tuple[str, bytes, Pins]]:
    """Packages of every kind that verify, with what their auditors have pinned."""
    for number, key in enumerate(honest.rotated_keys):
        yield f"rotated, by key {number}", honest.packages["keys"], Pins(key=key)
        yield f"rotated in part, by key {number}", honest.packages["keys in part"], Pins(key=key)
    files = honest.files("keys")
    yield "rotated, by its newest key alone", listed(_without(files, *_each("rotations/", files))), Pins(key=honest.rotated_keys[2])
    yield "rotated, by its second key", listed(_without(files, *_each(_ONE, files))), Pins(key=honest.rotated_keys[1])
    note = _by_root(_by_ranges(honest, "1-11", "12-25", "26-").decode()).encode()
    yield "rotated, by a trust note", listed(_ordered({**files, "trust.note": note})), honest.root
    forge = Forge(honest.folder)
    forge.rows.append(forge.new("key_rotate", log.body(actor=["local", "ops"]), data={
        "old": str(forge.signer.verifier), "new": str(log.another_signer().verifier)}))
    ended = _exported(forge)        # the newest checkpoint is the one that hands the log on
    yield "rotated by its last entry", listed(_without(ended, *_each("rotations/", ended))), honest.pins
    forge = Forge(honest.folder)
    forge[19].fields["data"] = log.mark(forge, []).fields["data"]
    del forge.rows[20]
    forge[20].fields["coverage"] = {"state": "lost", "streams": 1, "chunks": 0, "bytes": 0, "reason": "crash"}
    forge.drop_recordings = True
    yield "recorded without a chunk", listed(_exported(forge)), honest.pins
    only = {"start": log.NOW + 5_000, "end": log.NOW + 5_000}
    yield "one entry, which is a session's end", exported(honest.folder, **only), honest.pins
    files = honest.files("trusted")
    newest = honest.cosigned(24, W1, W2).encode()
    both = {name: data.replace(files["checkpoint"], newest) for name, data in files.items()}
    yield "cosigned to its end", listed(both), honest.root
    again = honest.cosigned(24, W1, W2, time=1_700_000_900).encode()
    yield "cosigned twice", listed({**both, "cosigned": again, "cosigned.consistency": b""}), honest.root
    later = honest.cosigned(COSIGNED, W1, W2, time=2_000_000_000).encode()
    yield "cosigned after its last record", listed({**files, "cosigned": later}), honest.root
    first = honest.cosigned(1, W1, W2).encode()
    yield "cosigned in its first entry", listed({**files, "cosigned": first, "cosigned.consistency": honest.consistency(1)}), honest.root
    files = honest.files("named")
    one = honest.cosigned(24, W1).encode()
    both = {name: data.replace(files["checkpoint"], one) for name, data in files.items()}
    yield "cosigned to its end by whom it names", listed({**both, "cosigned": honest.cosigned(COSIGNED, W2).encode()}), honest.pins
    files = honest.files("trusted")
    for name, times in (("rising", ("20270115080000", "20270115090000")), ("falling", ("20270115090000", "20270115080000"))):
        yield f"stamped twice, at {name} times", listed(_ordered(_stamped_twice(honest, files, times))), honest.root


def _stamped_twice(honest: Honest, files: Files, times: tuple[str, str]) -> Files:
    found = {**files, "trust.note": honest.trust(fingerprint=sha256(stamps.ROOTS).digest()).encode()}
    for size, at in zip((ANCHORED, COSIGNED), times, strict=True):
        note = honest.forge.sign(size, honest.forge.root(size)).encode()
        stamp = stamps.stamp(note, said=stamps.info(note, at=stamps.moment(at)))
        found |= {f"anchors/{size}.checkpoint": note, f"anchors/{size}.consistency": honest.consistency(size), f"anchors/{size}.tsr": stamp}
    return found
