"""Calls of the verifier's small parts, for what no package reaches or one package reaches only once.

Each takes the verifier as one program (the names of all its modules) and returns something that can be compared. What
is right is said by the tests of each part; here it is whatever the program says that was not changed.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.audit.evidence.archive import ARCHIVE_END, member_header
from lockgate.audit.evidence.der import write_der
from lockgate.audit.evidence.notes import NoteKey
from lockgate.audit.evidence.timestamp import canonical_response, read_response
from lockgate.audit.evidence.trust import TrustedAuthority
from lockgate.audit.tree import Frontier, consistency_proof, inclusion_proof, leaf_hash
from testbed.timestamps import KINDS, Authority
from tests.unit.audit.evidence import equations, test_der
from tests.unit.audit.evidence.keys import LOG, W1, W2, W3, NoteSigner, body, note
from tests.unit.audit.logs import chunk_root
from tests.unit.audit.tampering import stamps
from tests.unit.audit.tampering.forge import Forge
from tests.unit.audit.tampering.honest import CHUNKS, recording

Space = dict[str, Any]


class Part(NamedTuple):
    """One call."""

    name: str
    call: Callable[[Space], object]


PARTS: list[Part] = []


def part(call: Callable[[Space], object]) -> Callable[[Space], object]:
    """Register a call under its function's name."""
    PARTS.append(Part(call.__name__, call))
    return call


def each(name: str, function: str, *arguments: tuple[Any, ...]) -> None:
    """Register a call for each list of arguments."""
    for number, given in enumerate(arguments):
        PARTS.append(Part(f"{name} {number}", lambda space, given=given: plain(space[function](*given))))  # type: ignore[misc]


def plain(value: Any) -> Any:
    """Values of the program's own classes as tuples."""
    if isinstance(value, (tuple, list)):
        return tuple(plain(item) for item in value)
    return value


def tried(space: Space, call: Callable[[], Any]) -> object:
    """What it returns, or what it finds wrong."""
    try:
        return plain(call())
    except space["EvidenceError"] as error:
        return error.check, error.verdict, error.index, error.last
    except ValueError:
        return "ValueError"


# ---------------------------------------------------------------- trees

_LEAVES = [leaf_hash(bytes([number])) for number in range(12)]


def _root(size: int) -> bytes:
    tree = Frontier()
    for digest in _LEAVES[:size]:
        tree.append(digest)
    return tree.root()


@part
def consistency(space: Space) -> object:
    """All pairs of sizes, with good proofs and bad ones."""
    found = []
    for new in range(1, 12):
        for old in range(new + 2):
            proof = consistency_proof(old, _LEAVES[:new]) if 0 < old <= new else []
            for hashes in (proof, [*proof, bytes(32)], proof[:-1], proof[1:], [bytes(32), *proof]):
                for one, two in ((_root(old), _root(new)), (bytes(32), _root(new)), (_root(old), bytes(32))):
                    found.append(tried(space, lambda old=old, new=new, one=one, two=two, hashes=hashes:     # type: ignore[misc]
                                       space["verify_consistency"](old, new, one, two, hashes)))
    return found


@part
def inclusion(space: Space) -> object:
    """All places in trees of all sizes, with good proofs and bad ones."""
    found = []
    for size in range(1, 12):
        for at in range(-1, size + 1):
            proof = inclusion_proof(at, _LEAVES[:size]) if 0 <= at < size else []
            for hashes in (proof, [*proof, bytes(32)], proof[:-1], proof[1:]):
                for leaf, root in ((_LEAVES[at], _root(size)), (bytes(32), _root(size)), (_LEAVES[at], bytes(32))):
                    found.append(tried(space, lambda at=at, size=size, leaf=leaf, hashes=hashes, root=root:     # type: ignore[misc]
                                       space["verify_inclusion"](at, size, leaf, hashes, root)))
    return found


@part
def frontiers(space: Space) -> object:
    """Growing, copied, stored and read again, and what is none."""
    tree, found = space["Frontier"](), []
    for number, digest in enumerate(_LEAVES):
        other = tree.copy()
        found.append((tree.size, tree.root(), tree.to_bytes(), space["Frontier"].from_bytes(tree.to_bytes()).root(), number))
        tree.append(digest)
        other.append(bytes(32))
        found.append((other.size, tree.root() == other.root()))
    for size, nodes in ((0, [bytes(32)]), (1, []), (3, [bytes(32)]), (3, [bytes(32), bytes(31)]), (-1, []), (2, [bytes(32)])):
        found.append(tried(space, lambda size=size, nodes=nodes: space["Frontier"](size, nodes).root()))     # type: ignore[misc]
    for stored in (b"", bytes(7), bytes(8), bytes(9), bytes(7) + b"\1" + bytes(32), bytes(7) + b"\1" + bytes(31)):
        found.append(tried(space, lambda stored=stored: space["Frontier"].from_bytes(stored).size))     # type: ignore[misc]
    return found


# ---------------------------------------------------------------- signatures

_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_PUBLIC = _PRIVATE.public_key().public_bytes_raw()
_ORDER = 2**252 + 27742317777372353535851937790883648493
_P = 2**255 - 19


def _signatures() -> Iterator[tuple[bytes, bytes, bytes]]:
    good = _PRIVATE.sign(b"message")
    yield _PUBLIC, b"message", good
    yield _PUBLIC, b"massage", good
    for place in (0, 31, 32, 60, 63):
        yield _PUBLIC, b"message", good[:place] + bytes([good[place] ^ 1]) + good[place + 1:]
    yield _PUBLIC, b"message", good[:63]
    yield _PUBLIC, b"message", good + b"\0"
    yield _PUBLIC[:31], b"message", good
    yield _PUBLIC + b"\0", b"message", good
    large = int.from_bytes(good[32:], "little") + _ORDER
    yield _PUBLIC, b"message", good[:32] + large.to_bytes(32, "little")
    yield _PUBLIC, b"message", good[:32] + _ORDER.to_bytes(32, "little")
    for y in (0, 1, 2, _P - 1, _P, _P + 1, 2**255 - 1):
        yield y.to_bytes(32, "little"), b"message", bytes(64)
        yield (y | 1 << 255).to_bytes(32, "little"), b"", b"\1" + bytes(63)
    small = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
    for y in (small, _P - small):
        yield y.to_bytes(32, "little"), b"", b"\1" + bytes(63)
    for number in range(4):
        private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        yield private.public_key().public_bytes_raw(), bytes(number), private.sign(bytes(number))


@part
def ed25519(space: Space) -> object:
    """The equation in plain Python, and what is refused by form."""
    equation = space["_ed_equation"]
    space["use_ed25519"](None)
    try:
        return [space["verify_ed25519"](*given) for given in _signatures()]
    finally:
        space["use_ed25519"](equation)


@part
def ed25519_points(space: Space) -> object:
    """What is on the curve, and what is not."""
    encoded = [bytes(32), b"\1" + bytes(31), b"\1" + bytes(30) + b"\x80", *(bytes([n]) + bytes(31) for n in range(2, 12)),
               *((_P + n).to_bytes(32, "little") for n in (-2, -1, 0, 1)), b"\xff" * 32, _PUBLIC]
    return [space["_ed_point"](one) for one in encoded]


each("vkey", "parse_vkey", *((text, kind) for kind in (1, 4) for text in (
    LOG.vkey, W1.vkey, LOG.vkey + "+", "+".join([*LOG.vkey.split("+")[:2], base64.b64encode(b"\2" + LOG.key.public).decode()]),
    "+" + LOG.vkey.partition("+")[2], "a b+" + LOG.vkey.partition("+")[2], LOG.vkey[1:], LOG.vkey.replace("+", " "), "a+b", "", LOG.vkey[:-1] + "!",
    LOG.vkey.replace("log", "l\nog"), "x" * 256 + LOG.vkey[LOG.vkey.index("+"):], LOG.vkey.replace("l", "\ud800", 1),
    "+".join([*LOG.vkey.split("+")[:2], base64.b64encode(b"\1" + bytes(31)).decode()]),
    "+".join([*LOG.vkey.split("+")[:2], base64.b64encode(b"\1" + bytes(33)).decode()]),
    NoteKey("a b", 1, LOG.key.public).vkey, NoteKey("", 1, LOG.key.public).vkey, NoteKey("x" * 256, 1, LOG.key.public).vkey,
    *(NoteKey("a", kind, LOG.key.public + more).vkey for kind in (1, 4) for more in (b"", b"x")),
)))

_NOTE = note(W1, W2)
_NOTES = [
    _NOTE, note(), _NOTE[:-1], _NOTE.replace("\n\n", "\n"), "\n" + _NOTE, "", "\n\n", _NOTE + "\n", _NOTE.replace("42", "4\t2"),
    _NOTE.replace("42", "4\x7f2"), _NOTE + _NOTE.split("\n")[-2] + "\n", _NOTE.replace("— ", "- "), _NOTE.replace("— ", "—"),
    _NOTE.replace("— log", "— log "), _NOTE + "— x AAAAAA==\n", _NOTE + "— x AAAAAAA=\n", _NOTE + "— x+y AAAAAAA=\n", _NOTE + "— x AAAAAAB=\n",
    _NOTE + "— x AA!AAAA=\n", note(*[NoteSigner(f"w{number}", 4) for number in range(63)]),
    note(*[NoteSigner(f"w{number}", 4) for number in range(64)]), _NOTE + "x" * 65_536, *("a" * size + "\n\n\u2014 x AAAAAAA=\n" for size in (65_536 - 16, 65_536 - 15)), _NOTE.replace("log", "l\ud800g", 1),
    "a\n" * 32_700 + "\n— x AAAAAAA=\n", "a\n" * 32_800 + "\n— x AAAAAAA=\n", body() + "\n", "a\n\n— x AAAAAAA=\n\n— y AAAAAAA=\n",
]
each("note", "parse_note", *((text,) for text in _NOTES))
each("tree", "parse_tree", *((text,) for text in (
    body(), body(0), body(2**63 - 1), body(2**63), body()[:-1], body() + "x\n", body().replace("42", "042"), body().replace("42", "-1"),
    body().replace("42", ""), body().replace("42", "9" * 19), body(root=bytes(31)), body(root=bytes(33)), body().replace("=", ""), "x",
)))


@part
def opened_notes(space: Space) -> object:
    """Who signed, and who cosigned when."""
    key, found = space["parse_vkey"](LOG.vkey, 1), []
    witness = space["parse_vkey"](W1.vkey, 4)
    other = NoteSigner("other.test/log")
    texts = [note(), note(W1), note(log=other), note(W1, log=W2), note(text=body(origin="other.test/x")),
             note().replace("42", "43"), note(log=NoteSigner(LOG.key.name + "x"))]
    for text in texts:
        signed = space["parse_note"](text)
        found.append(tried(space, lambda signed=signed: space["open_checkpoint"](signed, key)))     # type: ignore[misc]
        for line in signed.signatures:
            found.append(tried(space, lambda signed=signed, line=line: space["verify_cosignature"](     # type: ignore[misc]
                signed.text, line, witness)))
            found.append((line.is_by(key), line.is_by(witness), line.line))
    for time in (0, 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1):
        text = body()
        line = space["parse_signature"](W1.cosign(text, time)[:-1])
        found.append(tried(space, lambda line=line, text=text: space["verify_cosignature"](text, line, witness)))     # type: ignore[misc]
    short = space["SignatureLine"](witness.name, witness.id, bytes(71))
    found.append(tried(space, lambda: space["verify_cosignature"]("x", short, witness)))
    for name, cosigner, known in (("x", W1, witness), (witness.name, W1, witness), (key.name, LOG, key), (witness.name, W2, witness)):
        made = space["parse_signature"](cosigner.cosign(body())[:-1])     # right but for the name, or by a log's key
        line = space["SignatureLine"](name, known.id, made.signature)
        found.append(tried(space, lambda line=line, known=known: space["verify_cosignature"](body(), line, known)))     # type: ignore[misc]
        found += [line.is_by(known), space["SignatureLine"](known.name, b"1234", made.signature).is_by(known)]
    return [*found, key.vkey, witness.vkey]


# ---------------------------------------------------------------- policies and trust

_WITNESSES = f"witness a {W1.vkey} https://a.test/\nwitness b {W2.vkey}\nwitness c {W3.vkey} http://c.test\n"
_POLICIES = [
    "quorum none\n", f"log {LOG.vkey}\nquorum none\n", f"log {LOG.vkey} https://log.test/x\n{_WITNESSES}quorum a\n",
    f"{_WITNESSES}group g all a b\nquorum g\n", f"{_WITNESSES}group g any a b c\nquorum g\n",
    f"{_WITNESSES}group g 2 a b c\nquorum g\n", f"{_WITNESSES}group g 3 a b c\nquorum g\n", f"{_WITNESSES}group g 4 a b c\nquorum g\n",
    f"{_WITNESSES}group g 0 a b c\nquorum g\n", f"{_WITNESSES}group g 1 a\ngroup h 2 g b\nquorum h\n",
    f"{_WITNESSES}group g 1 a a\nquorum g\n", f"{_WITNESSES}group g 1 a\ngroup h 1 a\nquorum h\n", f"{_WITNESSES}group a 1 b\nquorum a\n",
    f"{_WITNESSES}group none 1 b\nquorum none\n", f"{_WITNESSES}group g 1 x\nquorum g\n", f"{_WITNESSES}group g 1\nquorum a\n", f"{_WITNESSES}group g all\nquorum g\n", f"{_WITNESSES}group g\nquorum g\n",
    f"{_WITNESSES}quorum x\n", f"{_WITNESSES}quorum a\nquorum a\n", f"{_WITNESSES}quorum\n", f"{_WITNESSES}quorum a b\n", _WITNESSES, "",
    "# nothing\n\n \t\nquorum none\n", "quorum none", "quorum\tnone\n", "strange none\n", "quorum none\r\n", "quorum n\x7fone\n",
    f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none\n", "log\nquorum none\n", f"log {LOG.vkey} https://a.test b\nquorum none\n",
    f"log {LOG.vkey} ftp://a.test\nquorum none\n", f"log {LOG.vkey} https://\nquorum none\n", f"log {W1.vkey}\nquorum none\n",
    f"witness a {W1.vkey}\nwitness a {W2.vkey}\nquorum a\n", f"witness a {W1.vkey}\nwitness b {W1.vkey}\nquorum a\n",
    f"witness none {W1.vkey}\nquorum none\n", "witness a\nquorum none\n", f"witness a {W1.vkey} https://a.test x\nquorum a\n",
    f"witness a {LOG.vkey}\nquorum none\n", "#" + "x" * 65_522 + "\nquorum none\n", "#" + "x" * 65_523 + "\nquorum none\n",
    "".join(f"witness w{number} {NoteSigner(f'w{number}', 4).vkey}\n" for number in range(64)) + "quorum none\n",
    "".join(f"witness w{number} {NoteSigner(f'w{number}', 4).vkey}\n" for number in range(65)) + "quorum none\n",
    f"witness a {W1.vkey}\ngroup g0 1 a\n" + "".join(f"group g{number + 1} 1 g{number}\n" for number in range(63)) + "quorum g63\n",
    f"witness a {W1.vkey}\ngroup g0 1 a\n" + "".join(f"group g{number + 1} 1 g{number}\n" for number in range(64)) + "quorum g63\n",
    "".join(f"log {NoteSigner(f'l{number}').vkey}\n" for number in range(64)) + "quorum none\n",
    "".join(f"log {NoteSigner(f'l{number}').vkey}\n" for number in range(65)) + "quorum none\n",
]


@part
def policies(space: Space) -> object:
    """What is a policy, and which witnesses are a quorum by it."""
    found: list[object] = []
    for text in _POLICIES:
        found.append(tried(space, lambda text=text: space["parse_policy"](text)))     # type: ignore[misc]
        try:
            policy = space["parse_policy"](text)
        except space["EvidenceError"]:
            continue
        for names in ((), ("a",), ("b",), ("a", "b"), ("a", "b", "c"), ("b", "c"), ("x",)):
            found.append(policy.is_quorum(set(names)))
            found += [policy.vouched_at(list(zip(names, times))) for times in ((30, 10, 20), (0, 0, 0))]     # noqa: B905
        for signed in (note(), note(W1), note(W1, W2), note(W2, W3), note(NoteSigner("x", 4)), note(W1, W1)):
            for check in ("cosignatures", "require_quorum"):
                found.append(tried(space, lambda policy=policy, check=check, signed=signed:     # type: ignore[misc]
                                   getattr(policy, check)(space["parse_note"](signed))))
    return found


_TRUST = f"lockgate/trust/v1\nserial 7\nlog {LOG.vkey} 1-\n{_WITNESSES}group g 2 a b c\nquorum g\ntsa t {'ab' * 32}\n"


def _vkey_of(number: int) -> str:
    public = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32).public_key().public_bytes_raw()
    return NoteKey(LOG.key.name, 1, public).vkey


_OTHER_VKEY, _THIRD_VKEY = _vkey_of(8), _vkey_of(9)
_TRUSTS = [
    _TRUST, _TRUST[:-1], _TRUST.replace("v1", "v2"), _TRUST.replace("serial 7", "serial 07"), _TRUST.replace("serial 7", "serial"),
    _TRUST.replace("serial 7", "serial 7 8"), _TRUST.replace("serial 7\n", ""), _TRUST.replace("serial 7\n", "serial 7\nserial 8\n"),
    _TRUST.replace("1-", "0-"), _TRUST.replace("1-", "1-9"), _TRUST.replace("1-", "1"), _TRUST.replace("1-", "1- "),
    _TRUST.replace("1-", "2-"), _TRUST.replace("1-\n", "1-9 x\n"), _TRUST.replace(f"log {LOG.vkey} 1-\n", ""),
    _TRUST.replace("quorum g", "quorum x"), _TRUST.replace("quorum g\n", ""), _TRUST.replace("ab" * 32, "ab" * 31),
    _TRUST.replace("ab" * 32, "AB" * 32), _TRUST + f"tsa t {'cd' * 32}\n", _TRUST + f"tsa u {'cd' * 32}\n", _TRUST + "tsa u\n",
    _TRUST + "more\n", _TRUST.replace("witness a", "witness  a"), _TRUST.replace("group g", "quorum g\ngroup g"),
    _TRUST.replace("1-\n", f"1-9\nlog {NoteSigner('other').vkey} 10-\n"), _TRUST.replace("serial 7", "serial 1234567890123456"),
    _TRUST.replace("serial 7", "serial 12345678901234567"), _TRUST.replace("serial", "\nserial"),
    *(_TRUST.replace("1-\n", f"1-9\nlog {_OTHER_VKEY} {bounds}\n") for bounds in ("10-", "11-", "9-", "10-9", "10-10")),
    _TRUST.replace("1-\n", f"1-1\nlog {_OTHER_VKEY} 2-2\nlog {_THIRD_VKEY} 3-\n"),
]


@part
def trust(space: Space) -> object:
    """What is a trust note, and whose key signs which size."""
    root, found = NoteSigner("root.test/x"), list[object]()
    for text in _TRUSTS:
        found.append(tried(space, lambda text=text: space["parse_trust"](text)))     # type: ignore[misc]
        try:
            known = space["parse_trust"](text)
        except space["EvidenceError"]:
            continue
        found += [known.text() == text, known.origin]
        found += [tried(space, lambda known=known, size=size: known.key_for(size)) for size in (0, 1, 9, 10, 42)]     # type: ignore[misc]
        found += [tried(space, lambda known=known, signed=signed: known.open(space["parse_note"](signed)))     # type: ignore[misc]
                  for signed in (note(), note(log=W1), note(text=body(0)))]
    for text in (f"{_TRUST}\n{root.line(_TRUST)}", f"{_TRUST}\n{LOG.line(_TRUST)}", f"{_TRUST}\n{root.line('x')}", _TRUST,
                 f"{_TRUST}\n{root.line(_TRUST)}{W1.cosign(_TRUST)}"):
        for vkey in (root.vkey, f" {root.vkey}\n", LOG.vkey, "x"):
            found.append(tried(space, lambda text=text, vkey=vkey: space["parse_trust_note"](text, vkey)))     # type: ignore[misc]
    return found


# ---------------------------------------------------------------- files

each("member", "member_header", *((name, size) for name, size in (
    ("a", 0), ("a/b", 1), ("", 0), ("/a", 0), ("a/", 0), ("a//b", 0), ("a b", 0), ("a" * 100, 5), ("a" * 101, 5), ("b/" + "a" * 100, 5),
    ("b" * 155 + "/" + "a" * 100, 5), ("b" * 156 + "/" + "a" * 99, 5), ("a/" * 60 + "a", 5), ("ä", 0), ("a", -1), ("a", 8**11 - 1),
    ("a", 8**11), ("~", 1), ("-", 1),
)))


@part
def archives(space: Space) -> object:
    """Archives cut anywhere near an edge."""
    found = list[object]()
    deep = "b" * 155 + "/" + "a" * 100
    for data in (member_header(deep, 0) + ARCHIVE_END, member_header("a", 8**10) + b"x", member_header("a", 0), bytes(512), bytes(1024), bytes(1536),
                 bytes(511), bytes(1023), member_header("a", 0) + bytes(512)):
        found.append(tried(space, lambda data=data: list(space["archive_members"](io.BytesIO(data)))))     # type: ignore[misc]
    whole = member_header("a", 3) + b"abc" + bytes(509) + member_header("b/" + "c" * 100, 512) + bytes(512) + ARCHIVE_END
    for data in (whole, b"", *(whole[:end] for end in (1, 511, 512, 514, 515, 1024, 1025, 2047, 2048, 2559, 2560, 3071)),
                 whole + b"\0", whole + bytes(512), member_header("a", 0) + ARCHIVE_END, ARCHIVE_END, whole[:-1] + b"x"):
        found.append(tried(space, lambda data=data: list(space["archive_members"](io.BytesIO(data)))))     # type: ignore[misc]
    return found


@part
def recordings(space: Space) -> object:
    """Containers, their roots, and marks that fit them or do not."""
    found: list[object] = []
    whole, largest = recording(CHUNKS), bytes(space["CHUNK_LIMIT"])
    for data in (whole, b"", whole[:5], whole[:16], whole[:18], whole[:-1], whole[:-12], b"x" + whole, recording([]), whole + bytes(4),
                 recording([largest]), recording([largest + b"x"]), whole + b"\0\0\0\1x", whole + b"\0\0"):
        member = space["Member"]("recordings/s/a.rec", 3, len(data), "")
        archive = b"abc" + data + b"\0\0\0\1d"
        found.append(tried(space, lambda archive=archive, member=member: [sha256(one).digest() for one in space["recorded_chunks"](     # type: ignore[misc]
            member, lambda offset, size: archive[offset:offset + size])]))
    tree = space["ChunkTree"]()
    for number in range(9):
        found.append((tree.size, tree.root()))
        tree.append(bytes([number]) * 3)
    marks = _marks()
    for chosen in ([], marks[:1], marks[:2], marks, marks[2:], marks[::-1], [marks[2], marks[2]], [marks[0], marks[0]],
                   [marks[1], {**marks[1], "data": {**marks[1]["data"], "bytes": 5}}],
                   [marks[1], {**marks[1], "data": {**marks[1]["data"], "chunks": 1}}],
                   [{**marks[0], "data": {**marks[0]["data"], "chunks": 0, "bytes": 0, "root": sha256().hexdigest()}}, *marks],
                   *([{**marks[0], "data": {**marks[0]["data"], **more}}] for more in (
                       {"more": 1}, {"chunks": "1"}, {"final": 1}, {"root": "ab"}, {"chunks": 9}, {"bytes": 0}, {"chunks": 0}, {"stream": "b"})),
                   [marks[0], {**marks[1], "data": {**marks[1]["data"], "stream": "other"}}],
                   [marks[0], {**marks[1], "data": {**marks[1]["data"], "bytes": 1}}],
                   [marks[0], {**marks[1], "data": {**marks[0]["data"], "bytes": 99}}],
                   [{**marks[0], "data": {**marks[0]["data"], "final": True}}], [{"index": 5, "data": None}]):
        for chunks in (CHUNKS, CHUNKS[:1], [*CHUNKS, b"x"], []):
            found.append(tried(space, lambda chosen=chosen, chunks=chunks: space["require_marks"](chosen, iter(chunks))))     # type: ignore[misc]
    return found


def _marks() -> list[dict[str, Any]]:
    return [{"index": 10 + count, "data": {"stream": "a", "chunks": count, "bytes": 10 * count, "final": count == 3,
                                           "root": chunk_root(CHUNKS[:count]).hex()}} for count in (1, 2, 3)]


_DIGEST = base64.b64encode(bytes(range(32))).decode()
each("hashes", "parse_hash_lines", *((data, "it", "proof") for data in (
    b"", f"{_DIGEST}\n".encode(), f"{_DIGEST}\n".encode() * 64, f"{_DIGEST}\n".encode() * 65, _DIGEST.encode(), b"\n", b"AAAA\n", b"!\n",
    b"\xff\n", f"{_DIGEST[:-2]}9=\n".encode(), f" {_DIGEST}\n".encode(),
)))
_PROOF = "c2sp.org/tlog-proof@v1\nextra AAAA\nindex 5\n" + f"{_DIGEST}\n" * 2 + "\nnote\n"
each("proof", "parse_tlog_proof", *((data.encode("utf-8", "surrogatepass"), "it", "proof") for data in (
    _PROOF, _PROOF.replace("v1", "v2"), _PROOF.replace("AAAA", "AA"), _PROOF.replace("AAAA", "AAA="), _PROOF.replace("AAAA", "AAB="),
    _PROOF.replace("AAAA", ""), _PROOF.replace("index 5", "index 05"), _PROOF.replace("index 5", "index 0"), _PROOF.replace("\n\n", "\n"),
    _PROOF.replace(_DIGEST, _DIGEST[:-2] + "9="), "x" + _PROOF, _PROOF + "\ud800", _PROOF.replace(f"{_DIGEST}\n", ""),
)))


# ---------------------------------------------------------------- leaves

_LEAF = b'{"index":5,"node":"n","time":7,"type":"note","v":1}'
each("leaf", "parse_leaf", *((leaf,) for leaf in (
    _LEAF, _LEAF.replace(b'"v":1', b'"v":1,"z":[[[[[1]]]]]'), _LEAF.replace(b'"v":1', b'"v":1,"z":[[[[[[1]]]]]]'),
    _LEAF.replace(b'"time":7', b'"time":0'), _LEAF.replace(b'"index":5', b'"index":0'), _LEAF.replace(b'"index":5', b'"index":-1'),
    _LEAF.replace(b'"n"', b'"' + b"n" * 128 + b'"'), _LEAF.replace(b'"n"', b'"' + b"n" * 129 + b'"'), _LEAF.replace(b"note", b"n" * 40),
    _LEAF.replace(b"note", b"n" * 41), _LEAF.replace(b'"v":1', b'"v":1,"z":"' + b"x" * (4096 - len(_LEAF) - 7) + b'"'),
    _LEAF.replace(b'"v":1', b'"v":1,"z":"' + b"x" * (4097 - len(_LEAF) - 7) + b'"'), _LEAF.replace(b'"v":1', b'"v":1,"z":null'),
    _LEAF.replace(b'"v":1', b'"v":1,"z":true'), _LEAF.replace(b'"v":1', b'"v":1,"z":false'), _LEAF.replace(b'"v":1', b'"v":1,"z":{"\xc3\xbc":1}'),
    _LEAF.replace(b'"v":1', b'"v":1,"z":1.5'), _LEAF.replace(b'"v":1', b'"v":1,"z":Infinity'), _LEAF.replace(b'"v":1', b'"v":1,"z":"\\ud800"'),
    _LEAF.replace(b'"v":1', b'"v":1,"z":"\xc3\xbc"'), _LEAF.replace(b'"v":1', b'"v":1,"z":"\\u00fc"'), _LEAF.replace(b'"v":1', b'"v":"1"'),
    *(_LEAF.replace(b'"type"', more + b',"type"') for more in (
        b'"sid":"s","sseq":0,"prev":"' + b"0" * 64 + b'"', b'"sid":"s","sseq":0,"prev":"' + b"0" * 63 + b'"', b'"sid":"s","sseq":-1,"prev":"' + b"0" * 64 + b'"')),
    *(b'{"index":5,"node":"n","prev":"' + b"0" * 64 + b'","sid":"s","sseq":' + number + b',"time":7,"type":"note","v":1}' for number in (b"0", b"-1", b'"0"')),
    *(b'{"index":5,"node":"n","prev":"' + b"0" * 64 + b'","sid":"s","sseq":0,"time":7,"type":"' + kind + b'","v":1}' for kind in (
        b"rec_mark", b"recording_truncated", b"outcome", b"note")),
    *(b'{"index":5,"node":"n","prev":' + prev + b',"sid":"s","sseq":0,"time":7,"type":"note","v":1}' for prev in (b'"0"', b"5", b"null")),
    *(b'{"data":{},"index":5,"node":"n","time":7,"type":"' + kind + b'","v":1}' for kind in (
        b"key_rotate", b"shard_checkpoint", b"rec_mark", b"recording_truncated", b"session_begin", b"session_end", b"intent", b"outcome")),
    b'{"index":5,"node":"n","time":7,"type":"shard_checkpoint","v":1}', b'{"index":5,"node":"n","sseq":0,"time":7,"type":"note","v":1}',
    *(_LEAF.replace(b'"v":1', b'"root":' + root + b',"v":1').replace(b'"time":7,"type":"note","root":', b'"time":7,"type":"note","root":') for root in (b'"ab"',)),
    _LEAF.replace(b'{"i', b'{"a":' + b"[" * 2_000 + b"]" * 2_000 + b',"i'), b"[]", b"", b"5", b"\xff",
)))


@part
def runs(space: Space) -> object:
    """Ranges of indices."""
    found = space["Runs"]()
    said = [found.holds(0)]
    for number in (1, 2, 5):
        found.add(number)
    said += [found.holds(number) for number in range(7)]
    found.cut()
    found.add(7)
    found.cut()
    found.cut()
    found.add(9)
    return [*said, found.ranges, [found.holds(number) for number in range(11)]]


@part
def destroyed(space: Space) -> object:
    """Which erasure names an entry, where several do."""
    book = space["Destroyed"]()
    said = [book.by(3)]
    book.add(20, [(3, 5), (9, 9)])
    said += [book.by(number) for number in range(11)]
    book.add(30, [(4, 8)])
    book.add(31, [(0, 1), (5, 7)])
    return [*said, *[book.by(number) for number in range(11)], list(book.ranges())]


@part
def swept(space: Space) -> object:
    """Which ranges hold an index, and which periods are over."""
    sweep = space["RangeSweep"]([(3, 5, 1), (4, 4, 2), (9, 9, 0), (4, 12, 3)])
    found: list[object] = [sweep.at(index) for index in range(14)]
    for record in ({"type": "note", "time": 1_000}, {"type": "rec_mark", "time": 1_000}, {"type": "note", "time": 1_000, "payload": {}}):
        for periods in (None, {}, {"payloads": 60}, {"recordings": 60}, {"payloads": "60"}):
            found += [space["is_period_over"](record, periods, at, is_last) for at in (60_999, 61_000) for is_last in (False, True)]
    return found


@part
def holds(space: Space) -> object:
    """Holds of every scope, set and lifted, in a whole log and in a part of one."""
    found = list[object]()
    for whole in (True, False):
        book = space["HoldBook"](is_whole=whole) if not whole else space["HoldBook"]()
        for name, action, scope in (("a", "lift", None), ("a", "set", {"all": True}), ("b", "set", {"session": "s"}), ("c", "set", {"principal": "p"}),
                                    ("d", "set", {"first": 3, "last": 5}), ("a", "lift", None), ("e", "set", {"session": ""}), ("e", "set", {"session": 5}),
                                    ("e", "set", {"all": 1}), ("e", "set", {"first": 0, "last": 0}), ("e", "lift", None), ("f", "set", {"principal": ""})):
            other = book.copy()
            found.append(book.take({"data": {"hold": name, "action": action, "scope": scope}}) is None)
            found.append((sorted(other.standing), sorted(book.standing)))
            found += [book.holding(*asked) for asked in ((0, None, []), (1, "s", []), (2, "t", ["p"]), (3, "t", ["q"]), (4, None, ["p"]), (5, "t", []),
                                                         (6, "t", ["q"]))]
    return found


@part
def erased(space: Space) -> object:
    """What names ranges, and what does not."""
    ranges = ([[1, 2]], [[1, 1], [2, 2]], [[1, 2], [2, 3]], [[2, 1]], [], [[n, n] for n in range(60)], [[n, n] for n in range(61)], [[0, 0]],
              [[-1, 0]], [["1", 2]], [[1, "2"]], [[1]], [[1, 2, 3]], [1], {}, None)
    return [plain(space["erased_ranges"]({"data": {"ranges": one}})) for one in ranges] + [space["erased_ranges"]({"data": 1})]


@part
def bindings(space: Space) -> object:
    """Payloads of odd shapes: what cannot be compared is not."""
    book, found = space["BindingBook"](), list[object]()
    begin = {"type": "session_begin", "sid": "s", "connection": "crm"}
    asked = {"type": "review_request", "data": {"ticket": "T"}}
    done = {"type": "intent", "sid": "s", "ticket": "T", "policy": "p", "decision": "review", "binding": "x"}
    for record in (begin, asked, done, {**done, "refusal": "no"}, {**done, "decision": "deny"}, {"type": "outcome"},
                   {"type": "intent", "decision": "allow"}):
        found.append(book.concerns(record))
    whole = {"text": "DELETE", "parameters": [], "reading": "r", "context": [], "salt": "s"}
    binding = space["bound_to"]("s", space["request_binding"](("i", "s"), "crm", "p", whole))
    for record, content in (
        (done, whole), (begin, {"issuer": "i", "subject": "s"}), (done, whole), ({**done, "binding": binding}, whole),
        ({**done, "binding": binding}, {**whole, "whole": {}}), (done, {**whole, "whole": {}}), (done, {"text": "DELETE"}),
        (asked, {"body": 5}), (asked, {"body": "x"}), (asked, {"body": "5"}), (asked, {"body": "{}"}), (done, whole),
        ({**asked, "data": 5}, {"body": '{"text":"X"}'}), (asked, {"body": '{"text":"SELECT","parameters":[]}'}), ({**done, "binding": binding}, whole),
        (asked, {"body": '{"text":"DELETE","parameters":[]}'}), ({**done, "binding": binding}, whole), ({**done, "binding": binding}, {"reading": 1}),
        ({**done, "ticket": "U", "binding": binding}, whole), ({**done, "sid": "t"}, whole),
    ):
        found.append((len(list(book.take(record, content))), book.bound))
    book.end("s")
    book.end("s")
    return [*found, len(list(book.take(done, whole))), book.bound]


def _taken(space: Space, records: list[dict[str, Any]], first: int = 0) -> object:
    """What a ledger says of records, one after the other."""
    ledger, found = space["LogLedger"](first, remembers=True), list[object]()
    for number, record in enumerate(records):
        said = {"index": first + number, "time": 1_000, **record}
        found.append(tried(space, lambda said=said: ledger.take(said["index"], said, bytes([said["index"]]) * 32)))     # type: ignore[misc]
    return [*found, ledger.rotations, ledger.lags, ledger.starts, ledger.sessions, ledger.partial, ledger.intents, ledger.reviewed,
            ledger.stepped, len(ledger.lacking), sorted(ledger.open), sorted(ledger.ended.items())]


@part
def ledgers(space: Space) -> object:
    """Sequences that a package hardly ever holds."""
    start = {"type": "node_start", "epoch": 1, "size": 0, "root": ""}
    rotate = {"type": "key_rotate", "data": {"old": "a", "new": "b"}}
    begin = {"type": "session_begin", "sid": "s", "sseq": 0, "prev": "0" * 64, "principal": "p"}
    asked = {"type": "review_request", "data": {"ticket": "T", "binding": "x", "expires": 1}, "requester": "p"}
    review = {"type": "review", "data": {"ticket": "T", "binding": "x", "verdict": "approved"}, "reviewer": "q"}
    intent = {"type": "intent", "sid": "s", "decision": "review", "ticket": "T", "binding": "x"}
    end = {"type": "session_end", "sid": "s", "count": 0, "root": ""}
    return [_taken(space, records, first) for records, first in (
        ([start, rotate, {**rotate, "data": {"old": "b", "new": "c"}}, rotate], 0), ([start, {**rotate, "data": {"old": 5, "new": "b"}}], 0),
        ([start, {**rotate, "data": {"old": "a", "new": None}}], 0), ([start, {**rotate, "sid": "s", "sseq": 0}], 0), ([start, {**rotate, "data": {}}], 0),
        ([{**start, "data": {"signer": "apart"}}], 0), ([{**start, "data": {"signer": "file"}}], 0), ([{**start, "data": 5}], 0), ([{**start, "epoch": 2}], 0),
        ([{**start, "epoch": 4, "size": 7}, {**start, "epoch": 5, "size": 8}, {**start, "epoch": 7, "size": 9}], 7),
        ([{"type": "node_stop", "size": 0, "root": ""}], 0), ([{"type": "node_stop", "size": 7, "root": ""}], 7), ([start, begin, {"type": "node_stop", "size": 2, "root": ""}], 0),
        ([start, {**begin, "sseq": 1}], 0), ([{**begin, "sseq": 3, "type": "note"}, {**begin, "sseq": 4, "type": "note", "prev": "07" * 32}], 7),
        ([{**begin, "sseq": 0, "type": "note"}], 7), ([{**begin, "sseq": 3, "type": "outcome", "record": 2, "rows": 0, "sent": 0}], 7),
        ([{**begin, "sseq": 3, "type": "outcome", "record": 3, "rows": 0, "sent": 0}], 7), ([{**begin, "sseq": 3, "type": "outcome", "record": 0, "rows": 0, "sent": 0}], 7),
        ([{**end, "sseq": 3, "prev": "ab" * 32, "count": 3}, {**begin}], 7), ([{**end, "sseq": 3, "prev": "ab" * 32, "count": 4}], 7),
        ([start, asked, review, {**begin}, {**intent, "sseq": 1, "prev": "03" * 32}], 0), ([start, asked, {**review, "time": 1_999}], 0), ([start, asked, {**review, "time": 2_000}], 0),
        *(([start, asked, review, {**begin}, {**intent, "sseq": 1, "prev": "03" * 32, "time": time}], 0) for time in (61_999, 62_000)),
        ([review, asked, {**begin}, {**intent, "sseq": 1, "prev": "09" * 32}], 7), ([asked, {**review, "reviewer": "p"}], 7),
        ([{**begin}, {**intent, "sseq": 1, "prev": "07" * 32}, {**intent, "sseq": 2, "prev": "08" * 32, "ticket": 5}], 7),
        ([start, {"type": "note", "clock": 999}, {"type": "note", "clock": 1_000}], 0), ([start, {"type": "note", "clock": 0}, {"type": "note", "clock": -1}], 0),
        ([start, {"type": "note", "time": 999}], 0), ([start, {"type": "note", "index": 5}], 0), ([start, {**asked, "data": 5}], 0), ([start, {**review, "data": 5}], 0),
        ([{**review, "data": 5}], 7), ([start, asked, {**asked}], 0), ([start, {**asked, "data": {"ticket": 5}}], 0),
        ([start, asked, {**review, "data": {**review["data"], "verdict": "denied"}}, {**review, "data": {**review["data"], "verdict": "denied"}}], 0),
        ([{**asked, "index": 3}, review], 7), ([{**begin, "sseq": 3, "type": "note", "prev": "AB" * 32}], 7), ([{**begin, "sseq": 3, "type": "note", "prev": "ab" * 32}], 7),
        *(([start, asked, review, {"type": "erasure", "data": {"ranges": [[first, last]], "cause": cause, "approvals": approvals, **more}, "requester": "p",
                                   "reviewer": "q"}], 0)
          for first, last, cause, approvals, more in ((0, 2, "record", 1, {}), (0, 3, "record", 1, {}), (0, 4, "record", 1, {}), (0, 2, "because", 1, {}),
                                                      (0, 2, "subject", 1, {}), (0, 2, "record", 3, {}), (0, 2, "retention", 1, {}), (0, 2, "record", 2, {}),
                                                      (0, 2, "record", 2, {"ticket": "T", "rest": ""}), (0, 2, "record", 2, {"ticket": "T", "rest": 5}),
                                                      (0, 2, "record", 2, {"ticket": "U", "rest": ""}))),
        ([{"type": "erasure", "data": {"ranges": [[0, 2]], "cause": "record", "approvals": 2, "ticket": "T", "rest": ""}, "requester": "p"}], 7),
        ([review, {"type": "erasure", "data": {"ranges": [[0, 2]], "cause": "record", "approvals": 2, "ticket": "T", "rest": ""}, "requester": "p"}], 7),
        ([start, {"type": "config_change", "data": {"approvals": 2}}, {"type": "config_change", "data": {}},
          {"type": "erasure", "data": {"ranges": [[0, 0]], "cause": "record", "approvals": 1}, "requester": "p"}], 0),
        ([start, {"type": "config_change", "data": {"approvals": 2}}, {**start, "epoch": 2, "size": 2},
          {"type": "erasure", "data": {"ranges": [[0, 0]], "cause": "record", "approvals": 1}, "requester": "p"}], 0),
        ([start, {**begin}, {**intent, "sseq": 1, "prev": "01" * 32, "ticket": None}], 0), ([start, {**begin}, {**begin}], 0), ([{**begin}, {**begin}], 7),
        ([{**begin}, {**end, "sseq": 1, "prev": "07" * 32, "count": 1, "root": "x"}], 7),
        ([{**intent, "sseq": 3, "prev": "ab" * 32, "ticket": None, "decision": "allow"}] * 1, 7),
        ([{"type": "note", "index": 9}], 7), ([{**begin, "sseq": 1, "prev": "ab" * 32, "type": "intent", "decision": "allow"}] + [
            {**begin, "sseq": 2 + number, "type": "intent", "decision": "allow", "ticket": f"U{number}", "prev": f"{8 + number - 1:02x}" * 32} for number in range(102)], 7),
    )]


@part
def rotations(space: Space) -> object:
    """Which key signs which sizes, as a log's changes of keys say."""
    stranger = NoteSigner("other.test/log").vkey
    one, two, three = LOG.vkey, _OTHER_VKEY, _THIRD_VKEY
    found = []
    for said in ([], [(4, one, two)], [(4, one, two), (9, two, three)], [(4, one, two), (9, one, three)], [(4, one, one)], [(4, two, three)],
                 [(3, three, one), (5, one, two), (8, two, three)], [(4, one, two), (6, two, three), (8, one, two)], [(4, one, stranger)], [(4, stranger, one)], [(4, "x", one)], [(4, one, "x")], [(0, one, two), (1, two, three)]):
        for pinned in (one, two, three):
            key = space["parse_vkey"](pinned, 1)
            found.append(tried(space, lambda said=said, key=key: space["ranges_of"](said, key)))     # type: ignore[misc]
            who = space["Signatories"](key, None, None)
            found.append(tried(space, lambda said=said, who=who: who.rotated(said).ranges))     # type: ignore[misc]
            found += [tried(space, lambda said=said, who=who, size=size: who.rotated(said).key_for(size))     # type: ignore[misc]
                      for size in (0, 1, 2, 3, 5, 6, 10, 11)]
        for bounds in (("1-",), ("1-5", "6-"), ("1-5", "6-10", "11-"), ("1-4", "5-")):
            text = "lockgate/trust/v1\nserial 1\n" + "".join(
                f"log {vkey} {bound}\n" for vkey, bound in zip((one, two, three), bounds, strict=False)) + "quorum none\n"
            trusted = space["Signatories"](None, space["parse_trust"](text), None)
            found.append(tried(space, lambda said=said, trusted=trusted: bool(trusted.rotated(said))))     # type: ignore[misc]
    nobody = space["Signatories"](None, None, None)
    return [*found, tried(space, lambda: nobody.key_for(1)), nobody.origin, nobody.vouched_at([("a", 5)]), nobody.is_quorum_needed,
            tried(space, lambda: bool(nobody.rotated([])))]


def _read(space: Space, data: bytes) -> object:
    """What a value is, in all of the ways in which it may be looked at."""
    try:
        value = space["parse_der"](data)
    except space["EvidenceError"] as error:
        return error.check, error.verdict
    return [plain(value), *(tried(space, call) for call in (
        value.number, lambda: value.items(0x30), lambda: value.items(0x31), lambda: value.require(0x02), lambda: value.require(0x30)))]


for _number, _data in enumerate([*map(bytes.fromhex, (*test_der.CUT_OR_PADDED, *test_der.NO_NUMBERS, *test_der.NUMBERS.values())),
                                 *(bytes.fromhex("30" + head) + bytes(size) for size, head in test_der.SIZES.items()), write_der(0x30, b"\2\1\5", b"\5\0"),
                                 b"0\x84\0\1\0\0" + bytes(65_536), b"0\3\2\1\5", b"0\4\2\1\5\2", b"1\0", b"\2\2\5\5"]):
    PARTS.append(Part(f"der {_number}", lambda space, data=_data: _read(space, data)))     # type: ignore[misc]
each("oid", "der_oid", *((text,) for text in ("1.2", "2.5.29.37", "1.2.840.113549", "1.3.127", "1.3.128", "1.3.16384", "0.9", "2.999")))
each("der of", "write_der", *((0x30, bytes(size)) for size in test_der.SIZES))
each("number", "write_der_number", *((number,) for number in test_der.NUMBERS))


def _equation(space: Space, case: equations.Equation) -> object:
    first, second, oid = case.key
    key = space["PublicKey"](first, second, space["CURVES"][oid] if oid else None)
    return [tried(space, lambda: key.verifies(case.digest, equations.MESSAGE, case.signature)),
            tried(space, lambda: key.canonical(case.signature))]


PARTS += [Part(one.name, lambda space, one=one: _equation(space, one)) for one in equations.equations()]     # type: ignore[misc]
PARTS += [Part(one.name, lambda space, one=one: tried(space, lambda: [     # type: ignore[misc]
    *space["read_public_key"](space["parse_der"](one.info))])) for one in equations.infos()]


# ---------------------------------------------------------------- time-stamps

_STAMPED = b"a note"


def _real(kind: str, pinned: str) -> Callable[[Space], object]:
    """A real authority's time-stamp, as it is kept: whole, over another content, by nobody who is pinned, and as it came."""
    def call(space: Space) -> object:
        answer, kept, pin = _stamps()[kind, pinned]
        authorities = [space["TrustedAuthority"]("t", pin)]
        return [_judged(space, stamp, content, authorities) for stamp, content in ((kept, _STAMPED), (kept, b"x"), (answer, _STAMPED))]
    return call


@cache
def _stamps() -> dict[tuple[str, str], tuple[bytes, bytes, bytes]]:
    """Answers of authorities of every kind, how they are kept, and what is pinned."""
    found = {}
    with tempfile.TemporaryDirectory() as root:
        for kind in KINDS:
            authority = Authority(Path(root) / kind, kind)
            answer = authority.stamp(_STAMPED)
            for pinned, certificate in (("signer", authority.certificate), ("issuer", authority.root)):
                pin = sha256(certificate.public_bytes(Encoding.DER)).digest()
                found[kind, pinned] = answer, canonical_response(read_response(answer), [TrustedAuthority("t", pin)]), pin
    return found


def _judged(space: Space, stamp: bytes, content: bytes, authorities: list[Any]) -> object:
    """What is read, what it is kept as, and the verdict on both."""
    kept = tried(space, lambda: space["canonical_response"](space["read_response"](stamp), authorities))
    return [tried(space, lambda: space["read_response"](stamp)), kept,
            tried(space, lambda: space["verify_timestamp"](stamp, content, authorities)),
            isinstance(kept, bytes) and kept != stamp and tried(space, lambda: space["verify_timestamp"](kept, content, authorities))]


PARTS += [Part(f"stamp of {kind} by its {pinned}", _real(kind, pinned)) for kind in KINDS for pinned in ("signer", "issuer")]


def _made(case: stamps.Stamped) -> Callable[[Space], object]:
    """A time-stamp that was made by hand."""
    def call(space: Space) -> object:
        return _judged(space, cached(case), stamps.STAMPED, [space["TrustedAuthority"](*one) for one in case.authorities])
    return call


@cache
def cached(case: stamps.Stamped) -> bytes:
    """Made once."""
    return case.make(stamps.STAMPED)


PARTS += [Part(f"stamp {case.name}", _made(case)) for case in (*stamps.GOOD, *stamps.BAD)]


@part
def cut_stamps(space: Space) -> object:
    """Cut and changed anywhere."""
    whole = stamps.stamp()
    pinned = [space["TrustedAuthority"](*stamps.pin(stamps.ROOTS))]
    found = [_judged(space, whole[:size], stamps.STAMPED, pinned) for size in (0, 1, 2, 50, len(whole) - 1)]
    return [*found, *(_judged(space, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:], stamps.STAMPED, pinned)
                      for at in range(0, len(whole), 131))]


_AGAIN = stamps.certificate(stamps.ROOT, stamps.ROOT, extensions=[], digest="sha384")      # of the issuer's key as well
_OTHER = stamps.certificate(stamps.STRANGER)


def _several(certificates: list[bytes]) -> Callable[[Space], object]:
    """Several certificates are there, and several are pinned: which is kept, and whose word it is."""
    stamp = stamps.stamp(certificates=certificates)
    def call(space: Space) -> object:
        found = []
        for pinned in ([], [_AGAIN], [stamps.ROOTS, _AGAIN], [_AGAIN, stamps.ROOTS], [_OTHER, stamps.ROOTS], [stamps.OWN, stamps.ROOTS]):
            authorities = [space["TrustedAuthority"](str(number), sha256(one).digest()) for number, one in enumerate(pinned)]
            found.append(tried(space, lambda authorities=authorities: space["canonical_response"](space["read_response"](stamp), authorities)))     # type: ignore[misc]
        return found
    return call


PARTS += [Part(f"stamp with certificates {number}", _several(one)) for number, one in enumerate((
    [stamps.OWN, stamps.ROOTS, _AGAIN], [_AGAIN, stamps.ROOTS, stamps.OWN], [_OTHER, stamps.OWN, stamps.ROOTS], [stamps.OWN]))]


# ---------------------------------------------------------------- what is said


@part
def reports(space: Space) -> object:
    """Findings of every check with every kind of place, and what is said of them."""
    found = list[object]()
    for check in ("store", "schema", "write-ahead log", "archive", "key", "note", "quorum", "cosignature", "policy", "rotation", "published checkpoint",
                  "kept checkpoint", "cosigned checkpoint", "fleet log", "entries", "tiles", "leaf hash", "tree", "proof", "head", "leaf grammar",
                  "position", "epoch", "session", "gapless", "chain", "outcome", "session root", "review", "binding", "clock", "payloads", "recording",
                  "anchor", "erasure", "hold", *space["CHECKS"]):
        found.append(space["Finding"](check, space["Verdict"].TAMPERED, "words").number)
    places = [(None, None), (5, None), (5, 5), (5, 6), (5, 4), (0, None), (0, 3)]
    found += [space["Finding"]("tree", space["Verdict"].TAMPERED, "words", *place).where for place in places]
    for chosen in ([], places, places[::-1], places[:1], places[3:4] + places[1:2], places[6:] + places[5:6], places * 3, (places * 3)[:20],
                   [(None, None), (0, None)], [(0, None), (None, None)], [(1, None), (0, 1)], [(0, None), (0, 0)]):
        for pinned, tail, unsigned in ((True, 0, 0), (False, 3, 0), (True, 3, 2)):
            report = space["Report"]("x", size=9, cosigned=9 - tail, is_key_pinned=pinned, unsigned=unsigned)
            for place in chosen:
                report.find("tree", space["Verdict"].TAMPERED, "words", *place)
            report.cover_tail()
            found += [report.first and (report.first.index, report.first.last), len(list(space["text_lines"](report))),
                      len(list(space["uncosigned"](report))), space["conclusion"](report), [line[:3] for line in space["checklist"](report)]]
    return [*found, space["Report"]("x").is_key_pinned, space["counted"](1, "a"), space["counted"](0, "a"), space["counted"](2, "a", "b")]


@part
def coverages(space: Space) -> object:
    """What is left of recordings: of streams with and without their final mark, truncated, and gone."""
    marks = [one["data"] for one in _marks()]
    found = list[object]()
    for taken in ([], [marks[0]], marks, [{**marks[0], "stream": "b"}, *marks], [{**marks[0], "chunks": 0, "bytes": 0}]):
        for cut in (None, "the disk was full", "x" * 200):
            streams = space["RecordedStreams"]()
            for data in taken:
                streams.take("rec_mark", data, 5)
            if cut is not None:
                streams.take("recording_truncated", {"stream": "a", "bytes": 5, "reason": cut})
                streams.take("recording_truncated", {"stream": "a", "bytes": 5, "reason": "and again"})
            whole = streams.coverage()
            found += [streams.is_any, whole, streams.coverage("crash"), streams.coverage("crash", True), streams.coverage(is_lost=False)]
            for said in (None, whole, {**whole, "state": "whole"}, {**whole, "state": "cut"}, {**whole, "state": "lost"}, {**whole, "state": "x"}, 5,
                         {**whole, "chunks": 99}, {**whole, "bytes": 99}, {**whole, "streams": 99}, {**whole, "more": 1}):
                found.append(tried(space, lambda streams=streams, said=said: streams.require(said, 5)))     # type: ignore[misc]
    return found


@part
def notes_of_streams(space: Space) -> object:
    """More sessions that are recorded in part than are named one by one."""
    book, found = space["StreamBook"]({}), list[object]()
    for number in range(102):
        book.take(number, {"type": "session_end", "sid": str(number), "coverage": {"state": "cut", "reason": "x"}})
        found.append(len(book.notes))
    return found


@part
def published(space: Space) -> object:
    """A log whose payloads are not there at all: how many are held back, how many were erased and by whom, and what was not kept."""
    from tests.unit.audit.tampering.corpus import honest_log
    forge, found = Forge(honest_log().folder), list[object]()
    forge[5].fields["payload"]["kept"] = False
    for first in (0, 3):
        report = space["Report"]("x")
        contents = space["Contents"](report, first, None)
        placed = [space["PlacedLeaf"](at, leaf, space["leaf_hash"](leaf), False) for at, leaf in enumerate(forge.leaves()) if at >= first]
        found += [contents.take(one, None) is None for one in placed]
        found.append(contents.is_second_look_due)
        contents.look_again(placed)
        contents.finish()
        found += [report.withheld, report.unkept, sorted(report.erased.items()), [contents.erased_by(at) for at in range(24)],
                  [(each.check, each.index) for each in report.findings], sorted(report.covered)]
    return found


@part
def rows_of_a_log(space: Space) -> object:
    """A log's own leaves as a folder, its tiles and a start read them: one by one and together, wherever one does not fit."""
    from tests.unit.audit.tampering.corpus import honest_log
    leaves, found = honest_log().forge.leaves(), list[object]()
    digests = [space["leaf_hash"](leaf) for leaf in leaves]
    for changed in (None, 4, 12):
        given = [leaf.replace(b'"rows":1', b'"rows":2') if at == changed else leaf for at, leaf in enumerate(leaves)]
        for first in (0, 3):
            report = space["Report"]("x")
            contents, tree = space["Contents"](report, first, None), space["Frontier"](first, [bytes(32)] * first.bit_count())
            contents.take_all(first, given[first:], digests[first:], tree.copy)
            found += [report.withheld, [(each.check, each.index, each.last) for each in report.findings]]
    contents, nothing = space["Contents"](space["Report"]("x"), 0, None), [None] * len(leaves)
    for at, leaf in enumerate(leaves):
        tree = space["Frontier"](at, [bytes(32)] * at.bit_count())
        taken = [contents.follow_all(tree, leaves, digests, nothing, at, stop) for stop in (at - 1, at, at + 1, at + 2)]
        if not any(taken):
            contents.take(space["PlacedLeaf"](at, leaf, digests[at], False), None)
        found += [*taken, tree.size, contents.report.withheld]
    ledger = space["LogLedger"]()
    for at, leaf in enumerate(leaves):
        tree = space["Frontier"](at, [bytes(32)] * at.bit_count())
        taken = [ledger.follow_all(tree, leaves, digests, at, stop) for stop in (at - 1, at, at + 1)]
        if not taken[2]:
            ledger.take(at, space["parse_leaf"](leaf), digests[at])
        found += [*taken, tree.size, sorted(ledger.open), sorted(ledger.ended.items()), len(ledger._by_id), ledger.last_time, ledger.starts]
    return found


@part
def sessions_that_are_read_again(space: Space) -> object:
    """A start takes the entries so far of sessions that are open, and remembers no session that is over; nor does a judge
    of what it needs no more.
    """
    from tests.unit.audit.tampering.corpus import honest_log
    leaves, found = [space["parse_leaf"](leaf) for leaf in honest_log().forge.leaves()], list[object]()
    for remembers in (True, False):
        ledger = space["LogLedger"](remembers=remembers)
        for at, record in [*enumerate(leaves)] * 2:
            if "sid" in record:
                digest = leaf_hash(honest_log().forge.leaves()[at])
                found.append(tried(space, lambda at=at, record=record, digest=digest, ledger=ledger: ledger.take_session(at, record, digest)))     # type: ignore[misc]
        found += [sorted(ledger.open), len(ledger._by_id)]
    for first in (0, 5):
        ledger = space["LogLedger"](first)
        for at, record in ((1, leaves[1]), (2, leaves[1]), (0, leaves[0]), (10, leaves[10])):
            found.append(tried(space, lambda at=at, record=record, ledger=ledger: ledger.take_session(at, record, bytes(32))))     # type: ignore[misc]
    return found


@part
def what_is_over_is_forgotten(space: Space) -> object:
    """Memory holds what is open and nothing else."""
    from tests.unit.audit.tampering.corpus import honest_log
    contents, found = space["Contents"](space["Report"]("x"), 0, space["Runs"]()), list[object]()
    for at, leaf in enumerate(honest_log().forge.leaves()):
        row = honest_log().forge[at]
        disclosed = None if row.payload is None else space["Disclosed"](row.secret[32:], row.payload)
        contents.take(space["PlacedLeaf"](at, leaf, space["leaf_hash"](leaf), False), disclosed)
        ledger = contents.ledger
        found.append((len(contents._bindings._people), ledger and (sorted(ledger.ended), sorted(ledger.open), len(ledger._by_id))))
    return found


@part
def read_in_pieces(space: Space) -> object:
    """Packages are read piece by piece: the verdict is the same, however small the pieces, and wherever the file stands."""
    from tests.unit.audit.tampering.corpus import corpus
    usual, found = space["_CHUNK_SIZE"], list[object]()
    chosen = [one for one in corpus() if one.name in ("whole", "rotated in part, by key 1", "leaf_dropped", "payload_with_another_salt")]
    for size in (64, 512, usual):
        space["_CHUNK_SIZE"] = size
        try:
            for one in chosen:
                file = io.BytesIO(one.package)
                file.seek(5)
                report = space["verify_package"](file, space["Pins"](*one.pins), "package")
                found.append((report.verdict, report.entries, report.payloads, [(each.check, each.index) for each in report.findings]))
        finally:
            space["_CHUNK_SIZE"] = usual
    return found


# ---------------------------------------------------------------- the command


@part
def command(space: Space) -> object:
    """What it prints of good and bad packages, and its status."""
    from tests.unit.audit.tampering.corpus import corpus
    wanted = ("whole", "trusted", "range 5", "leaf_dropped", "no_key_was_pinned", "leaf_of_no_session_exchanged", "many", "payload_left_out", "no_end", "rolled_back")
    found: list[object] = []
    with tempfile.TemporaryDirectory() as root:
        for judged in [one for one in corpus() if one.name in wanted]:
            words = [str(Path(root) / "package")]
            Path(words[0]).write_bytes(judged.package)
            for option, text in zip(("key", "root", "policy", "against"), judged.pins, strict=True):
                if text is not None:
                    (Path(root) / option).write_text(text)
                    words += [f"--{option}", str(Path(root) / option)]
            found += [said(space, words, root), said(space, [*words, "--json"], root)]
        (Path(root) / "binary").write_bytes(b"\xff")
        for words in ([], ["x"], [str(Path(root) / "none")], [str(Path(root) / "package"), "--key", str(Path(root) / "binary")]):
            found.append(said(space, words, root))
    return found


def said(space: Space, words: list[str], root: str) -> object:
    """Standard output and status."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        try:
            status: object = space["main"](words)
        except SystemExit as error:
            status = error.code
    return out.getvalue().replace(root, ""), status


each("printable", "printable", ("plain",), ("\x1b[2J\n",), ("ü\u202e\x9b",))
