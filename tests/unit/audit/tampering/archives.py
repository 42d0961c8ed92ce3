"""Attacks on a finished package: on its files, its archive, its proofs, its notes. The manifest is made to fit them.

Who makes them has no key of the log unless the attack says so. Each says what the verifier has to name.
"""

from __future__ import annotations

import base64
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping
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
from lockgate.audit.tree import leaf_hash
from testbed.timestamps import Authority
from tests.unit.audit.evidence.keys import W1, W2, W3, NoteSigner
from tests.unit.audit.logs import ORIGIN
from tests.unit.audit.packages import exported, listed, members, packed
from tests.unit.audit.tampering import honest as log
from tests.unit.audit.tampering.forge import Forge

ROOT = NoteSigner("org.test/root")
OTHER = NoteSigner(ORIGIN)
COSIGNED = 17       # entries that the witnesses saw
ANCHORED = 10       # entries that the authority stamped
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
        shutil.rmtree(folder / "anchors")
        (folder / "trust.note").unlink()
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
              authority: int = 0) -> str:
        """The organisation's trust note."""
        witnesses = "".join(f"witness w{number} {one.vkey}\n" for number, one in enumerate((W1, W2, W3), 1))
        text = (f"lockgate/trust/v1\n{first}" + (keys or f"log {self.key.strip()} 1-\n") + witnesses
                + f"group most {quorum} w1 w2 w3\nquorum most\ntsa t {self.fingerprint(authority).hex()}\n")
        return f"{text}\n{signer.line(text)}"

    def cosigned(self, size: int, *witnesses: NoteSigner, root: bytes | None = None) -> str:
        """A checkpoint of the log with cosignatures."""
        note = self.forge.sign(size, root or self.forge.root(size))
        text = note.partition("\n\n")[0] + "\n"
        return note + "".join(witness.cosign(text) for witness in witnesses)


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
