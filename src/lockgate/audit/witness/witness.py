"""A small witness: it has seen a log grow, and says so, once for every size and root.

The order of the checks is that of C2SP tlog-witness: 400 what cannot be read, 404 unknown log, 403 not
by its key, 400 older than it says to be, 409 not the size that was seen last, 409 another root at that
size, 422 a proof that does not lead there, 200.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.evidence.ed25519 import verify_ed25519
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import (
    WITNESS_KEY,
    NoteKey,
    SignatureLine,
    SignedNote,
    SignedTree,
    cosigned_message,
    parse_note,
    parse_tree,
)
from lockgate.audit.failures import ProofFailed
from lockgate.audit.tree import EMPTY_ROOT, verify_consistency
from lockgate.audit.witness.exchange import (
    SIZE_TYPE,
    Answer,
    MalformedSubmission,
    Submission,
    parse_submission,
)
from lockgate.audit.witness.memory import Memory


class Witness:
    """Cosigns the logs whose keys it was given. May be called from several threads."""

    def __init__(
        self, name: str, private: Ed25519PrivateKey, logs: Sequence[NoteKey], memory: Memory, now: Callable[[], float],
    ) -> None:
        self.key = NoteKey(name, WITNESS_KEY, private.public_key().public_bytes_raw())
        self._private = private
        self._logs: Mapping[str, list[NoteKey]] = {
            key.name: [other for other in logs if other.name == key.name] for key in logs}
        self._memory = memory
        self._now = now

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request. Raises `AuditError` where the memory fails: nothing is cosigned then."""
        try:
            asked = parse_submission(body)
            note = parse_note(asked.note)
            tree = parse_tree(note.text)
        except MalformedSubmission as error:
            return _text(400, str(error))
        except EvidenceError as error:
            return _text(400, f"the checkpoint is malformed: {error.message}")
        known = self._logs.get(tree.origin)
        if known is None:
            return _text(404, "this log is not known here")
        if not any(_is_signed(note, key) for key in known):
            return _text(403, "the checkpoint is not signed by this log's key")
        if asked.old > tree.size:
            return _text(400, "the old size is larger than the checkpoint's")
        with self._memory.turn(tree.origin) as seen:
            refused = _judge(asked, tree, seen.size, seen.root)
            if refused is not None:
                return refused
            seen.move(tree.size, tree.root)
        return Answer(200, "text/plain", self._cosign(note.text).encode())

    def _cosign(self, text: str) -> str:
        timestamp = int(self._now())
        signature = struct.pack(">Q", timestamp) + self._private.sign(cosigned_message(text, timestamp))
        return SignatureLine(self.key.name, self.key.id, signature).line


def _is_signed(note: SignedNote, key: NoteKey) -> bool:
    """Whether a line by this key is there and verifies. Lines by others are ignored, as the protocol says."""
    return any(line.is_by(key) and verify_ed25519(key.public, note.text.encode(), line.signature)
               for line in note.signatures)


def _judge(asked: Submission, tree: SignedTree, size: int, root: bytes) -> Answer | None:
    """Why the tree is not a continuation of what was seen, or None where it is."""
    if asked.old != size or (tree.size == size and size and tree.root != root):
        return Answer(409, SIZE_TYPE, f"{size}\n".encode())
    if not tree.size and tree.root != EMPTY_ROOT:
        return _text(422, "a tree without entries has one root, and this is another")
    try:
        verify_consistency(size, tree.size, root if size else EMPTY_ROOT, tree.root, asked.proof)
    except ProofFailed as error:
        return _text(422, str(error))
    return None


def _text(status: int, reason: str) -> Answer:
    return Answer(status, "text/plain", f"{reason}\n".encode())
