"""Proofs as files: lines of hashes, and C2SP tlog-proof with the entry itself.

A consistency proof, or a frontier, is one base64 hash a line, as C2SP tlog-witness sends it. A tlog-proof
carries the entry as its ``extra``, the inclusion proof and the checkpoint. Each has one spelling only:
what is read is written again and compared.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import NamedTuple

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.merkle import HASH_SIZE

_PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_PROOF_FILE = re.compile(
    r"c2sp\.org/tlog-proof@v1\nextra ([A-Za-z0-9+/=]{0,6000})\nindex (0|[1-9][0-9]{0,15})\n"
    r"((?:[A-Za-z0-9+/=]{44}\n){0,64})\n", re.ASCII)
_HASH_LINES = 64        # no tree that a checkpoint can name is taller


class TlogProof(NamedTuple):
    """That `leaf` is entry `at` under the root in the checkpoint's `note`."""

    leaf: bytes
    at: int
    path: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """The file's content."""
        extra = base64.b64encode(self.leaf).decode()
        return f"{_PROOF_HEADER}\nextra {extra}\nindex {self.at}\n{hash_lines(self.path)}\n{self.note}"


def hash_lines(hashes: Sequence[bytes]) -> str:
    """One base64 hash a line."""
    return "".join(base64.b64encode(digest).decode() + "\n" for digest in hashes)


def parse_hash_lines(data: bytes, what: str, check: str) -> tuple[bytes, ...]:
    """The hashes in lines that `hash_lines` wrote. Raises for any other bytes."""
    lines = data.split(b"\n")
    if lines[-1] or len(lines) > _HASH_LINES + 1:
        raise EvidenceError(check, f"{what} is not made of lines of hashes")
    try:
        found = tuple(base64.b64decode(line) for line in lines[:-1])
    except (binascii.Error, ValueError):
        found = (b"",)
    if any(len(digest) != HASH_SIZE for digest in found) or hash_lines(found).encode() != data:
        raise EvidenceError(check, f"{what} is not made of lines of hashes in canonical base64")
    return found


def parse_tlog_proof(data: bytes, what: str, check: str) -> TlogProof:
    """Read a proof file. Raises for anything that `TlogProof.text` would not write."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    found = _PROOF_FILE.match(text)
    if found is None:
        raise EvidenceError(check, f"{what} is not a tlog-proof with its entry")
    try:
        leaf = base64.b64decode(found.group(1))
    except (binascii.Error, ValueError):
        leaf = b""
    path = parse_hash_lines(found.group(3).encode(), what, check)
    proof = TlogProof(leaf, int(found.group(2)), path, text[found.end():])
    if proof.text().encode() != data:
        raise EvidenceError(check, f"{what} holds base64 that is not canonical")
    return proof
