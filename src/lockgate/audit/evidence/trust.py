"""The trust note: what an organisation's root key says about one log.

Its keys with the tree sizes that each of them signs, its witnesses and quorum, and the time-stamping
authorities whose anchors count. An auditor pins the root key and nothing else.

    lockgate/trust/v1
    serial <n>
    log <vkey> <first size>-<last size or nothing>
    witness <nickname> <vkey> [<url>]
    group <name> <n|all|any> <member>…
    quorum <name|none>
    tsa <nickname> <sha256 hex of a DER certificate>
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import (
    LOG_KEY,
    NoteKey,
    SignedNote,
    SignedTree,
    open_checkpoint,
    parse_note,
    parse_tree,
    parse_vkey,
    verify_first,
)
from lockgate.audit.evidence.policy import Policy, PolicyBuilder

TRUST_HEADER = "lockgate/trust/v1"
_ORDER = ("serial", "log", "witness", "group", "quorum", "tsa")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_RANGE = re.compile(r"([1-9][0-9]{0,15})-([1-9][0-9]{0,15})?", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)


class KeyRange(NamedTuple):
    """A key of the log, and the first and last tree size that it signs; None while it is in use."""

    key: NoteKey
    first: int
    last: int | None


class TrustedAuthority(NamedTuple):
    """A time-stamping authority by the SHA-256 of its signing certificate, or of that one's issuer."""

    name: str
    fingerprint: bytes


class Trust(NamedTuple):
    """A trust note whose signature was verified."""

    serial: int
    keys: tuple[KeyRange, ...]
    policy: Policy
    authorities: tuple[TrustedAuthority, ...]

    @property
    def origin(self) -> str:
        """The log's name."""
        (name,) = {known.key.name for known in self.keys}
        return name

    def key_for(self, size: int) -> NoteKey:
        """The key that signs trees of this size. Raises (untrusted) where no range covers it."""
        return key_of(self.keys, size)

    def open(self, note: SignedNote, check: str = "checkpoint") -> SignedTree:
        """The tree in a note that is signed by the key of its size. Cosignatures are `policy`'s."""
        return open_checkpoint(note, self.key_for(parse_tree(note.text, check).size), check)

    def text(self) -> str:
        """The signed text, as `parse_trust` reads it."""
        lines = [TRUST_HEADER, f"serial {self.serial}"]
        lines += [f"log {known.key.vkey} {known.first}-{'' if known.last is None else known.last}"
                  for known in self.keys]
        lines += [" ".join(filter(None, ("witness", witness.name, witness.key.vkey, witness.url)))
                  for witness in self.policy.witnesses]
        lines += [f"group {group.name} {group.threshold} {' '.join(group.members)}" for group in self.policy.groups]
        lines.append(f"quorum {self.policy.quorum}")
        lines += [f"tsa {authority.name} {authority.fingerprint.hex()}" for authority in self.authorities]
        return "\n".join(lines) + "\n"


def ranges_of(rotations: Sequence[tuple[int, str, str]], pinned: NoteKey) -> tuple[KeyRange, ...]:
    """The keys of a log by tree size, from its `key_rotate` leaves: (index, old vkey, new vkey) in order.

    A leaf of index r is the last of the old key: trees up to r + 1 are the old one's. `pinned` has to be
    one of the keys; an older one vouches for its successors by the tree that holds the leaf, a newer one
    for its predecessors. Raises (check ``rotation``) where the leaves do not form a chain.
    """
    ranges: list[KeyRange] = []
    first = 1
    for index, old, new in rotations:
        key, successor = parse_vkey(old, LOG_KEY, "rotation"), parse_vkey(new, LOG_KEY, "rotation")
        if key.name != pinned.name or successor.name != pinned.name or key == successor:
            raise EvidenceError("rotation", "a change of keys names another log, or no other key", index)
        if ranges and ranges[-1].key != key:
            raise EvidenceError("rotation", "a change of keys is not by the key that was in use", index)
        if ranges:
            ranges.pop()
        ranges += [KeyRange(key, first, index + 1), KeyRange(successor, index + 2, None)]
        first = index + 2
    if not ranges:
        return (KeyRange(pinned, 1, None),)
    if pinned not in [known.key for known in ranges]:
        raise EvidenceError("rotation", f"the trusted key {pinned.name} ({pinned.id.hex()}) is none of the log's keys",
                            verdict="untrusted")
    return tuple(ranges)


def key_of(ranges: Sequence[KeyRange], size: int) -> NoteKey:
    """The key that signs trees of this size. Raises (untrusted) where no range covers it."""
    for known in ranges:
        if known.first <= size and (known.last is None or size <= known.last):
            return known.key
    raise EvidenceError("trust", f"no key of the log is trusted for a tree of size {size}", verdict="untrusted")


def parse_trust_note(note: str, root_vkey: str) -> Trust:
    """Open a trust note with the pinned root key. Raises `EvidenceError` (check ``trust``, untrusted)."""
    try:
        signed = parse_note(note)
        verify_first(signed, parse_vkey(root_vkey.strip(), LOG_KEY))
        if len(signed.signatures) != 1:
            raise _distrust("a trust note has one signature")
        return parse_trust(signed.text)
    except EvidenceError as error:
        raise _distrust(error.message) from None


def parse_trust(text: str) -> Trust:
    """The text of a trust note, whoever signed it. Order, spacing and repetition are fixed."""
    found: dict[str, list[list[str]]] = {word: [] for word in _ORDER}
    lines = text.split("\n")
    if lines[0] != TRUST_HEADER or lines[-1]:
        raise _distrust(f"a trust note begins with {TRUST_HEADER}")
    order = []
    for line in lines[1:-1]:
        words = line.split(" ")
        if not all(words) or words[0] not in found:
            raise _distrust(f"a line of the trust note is malformed: {line[:80]!r}")
        order.append(_ORDER.index(words[0]))
        found[words[0]].append(words[1:])
    if order != sorted(order):
        raise _distrust("the lines of the trust note are out of order")
    builder = PolicyBuilder("trust")
    keys = _key_ranges(builder, found["log"])
    for witness in found["witness"]:
        builder.take_witness(witness)
    for group in found["group"]:
        builder.take_group(group)
    for quorum in found["quorum"]:
        builder.take_quorum(quorum)
    return Trust(_serial(found["serial"]), keys, builder.build(), _authorities(found["tsa"]))


def _serial(lines: list[list[str]]) -> int:
    number = "\n".join(" ".join(words) for words in lines)
    if not _NUMBER.fullmatch(number):
        raise _distrust("a trust note has one serial number")
    return int(number)


def _key_ranges(builder: PolicyBuilder, lines: list[list[str]]) -> tuple[KeyRange, ...]:
    ranges: list[KeyRange] = []
    for words in lines:
        bounds = _RANGE.fullmatch(words[1]) if len(words) == 2 else None
        if bounds is None:
            raise _distrust("a log line is: log <vkey> <first size>-<last size or nothing>")
        builder.take_log(words[:1])
        last = None if bounds.group(2) is None else int(bounds.group(2))
        ranges.append(KeyRange(builder.logs[-1].key, int(bounds.group(1)), last))
    expected: int | None = 1
    for known in ranges:
        if known.first != expected or (known.last is not None and known.last < known.first):
            raise _distrust("the ranges of the log's keys leave a gap or overlap")
        expected = None if known.last is None else known.last + 1
    if len({known.key.name for known in ranges}) != 1:
        raise _distrust("a trust note names the log's keys, which bear one name")
    return tuple(ranges)


def _authorities(lines: list[list[str]]) -> tuple[TrustedAuthority, ...]:
    found: dict[str, TrustedAuthority] = {}
    for words in lines:
        if len(words) != 2 or words[0] in found or not _FINGERPRINT.fullmatch(words[1]):
            raise _distrust("a tsa line is: tsa <nickname> <sha256 hex of a certificate>, each name once")
        found[words[0]] = TrustedAuthority(words[0], bytes.fromhex(words[1]))
    return tuple(found.values())


def _distrust(message: str) -> EvidenceError:
    return EvidenceError("trust", message, verdict="untrusted")
