"""C2SP tlog-proof files: that one entry is in the log, for somebody who holds nothing but the file and a key.

Lines: the version, ``extra`` with the entry itself (base64: what is needed to compute its hash), ``index``,
the inclusion proof from the leaf up, an empty line, the checkpoint verbatim. Stricter than the
specification: canonical base64, no more hashes than a tree can need, and ``extra`` must be there.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note
from lockgate.audit.entry import LEAF_LIMIT
from lockgate.audit.failures import ProofFailed
from lockgate.audit.tiles.layout import CHECKPOINT_LIMIT
from lockgate.audit.tiles.reader import Tiles
from lockgate.audit.tree import HASH_SIZE, leaf_hash, verify_inclusion

SUFFIX: Final = ".tlog-proof"
PROOF_LIMIT: Final = CHECKPOINT_LIMIT + 2 * LEAF_LIMIT + 4096
"""Characters of a proof file."""
_VERSION: Final = "c2sp.org/tlog-proof@v1"
_HASHES: Final = 63     # the tallest tree whose size is a checkpoint's
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogProof:
    """One proof: the entry, its number, the audit path, and the checkpoint's note as it was signed."""

    leaf: bytes
    index: int
    path: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """The file's content."""
        lines = [_VERSION, f"extra {_encode(self.leaf)}", f"index {self.index}", *map(_encode, self.path)]
        return "\n".join(lines) + f"\n\n{self.note}"


def prove(tiles: Tiles, index: int, note: str, verifier: Verifier) -> LogProof:
    """The proof that entry `index` is under the note's root.

    It is verified before it is returned: tiles that were altered raise `ProofFailed`.
    """
    if not 0 <= index < tiles.size:
        raise ProofFailed(f"entry {index} is not among the {tiles.size} that are published",
                          advice="wait for the next publication, a few seconds")
    proof = LogProof(tiles.entry(index), index, tuple(tiles.inclusion(index, tiles.size)), note)
    verify_proof(proof, verifier, cosigned=True)    # witnesses' lines are judged by whoever pins their keys
    return proof


def verify_proof(proof: LogProof, verifier: Verifier, *, cosigned: bool = False) -> Checkpoint:
    """The checkpoint that covers the entry, by the log's key; with `cosigned` whoever else signed it as well.

    Raises `ProofFailed`, or `UntrustedNote` for another key's.
    """
    checkpoint = open_note(proof.note, verifier, cosigned=cosigned)
    verify_inclusion(proof.index, checkpoint.size, leaf_hash(proof.leaf), proof.path, checkpoint.root)
    return checkpoint


def parse_proof(text: str) -> LogProof:
    """Read a proof file. Raises `ProofFailed` for anything that `LogProof.text` would not write."""
    if len(text) > PROOF_LIMIT:
        raise ProofFailed("a proof file is longer than one can be")
    head, blank, note = text.partition("\n\n")
    version, extra, index, *path = [*head.split("\n"), "", ""]
    found = _INDEX.fullmatch(index)
    if not blank or version != _VERSION or not extra.startswith("extra ") or found is None:
        raise ProofFailed("this is no proof of an entry: it begins with version, extra and index")
    hashes = tuple(_decode(line) for line in path[:-2])
    if len(hashes) > _HASHES or any(len(digest) != HASH_SIZE for digest in hashes):
        raise ProofFailed("a proof's lines are SHA-256 hashes")
    return LogProof(_decode(extra.removeprefix("extra ")), int(found[1]), hashes, note)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decode(line: str) -> bytes:
    try:
        content = base64.b64decode(line.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        content = b""
    if _encode(content) != line:
        raise ProofFailed("a proof holds base64 that is invalid or not canonical")
    return content
