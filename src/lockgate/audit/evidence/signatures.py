"""Whose signature counts: what an auditor has pinned, and the notes that are opened with it.

A root key opens the organisation's trust note, which names the log's keys with the sizes that each of
them signs, the witnesses and the quorum. Without one, a single key of the log is pinned, and witnesses
come from a C2SP policy file or are unknown. An unknown signature line is a finding, not noise.
"""

from __future__ import annotations

from typing import NamedTuple

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import (
    LOG_KEY,
    NoteKey,
    SignedNote,
    SignedTree,
    open_checkpoint,
    parse_note,
    parse_vkey,
)
from lockgate.audit.evidence.policy import Policy, parse_policy
from lockgate.audit.evidence.trust import Trust, parse_trust_note


class Pins(NamedTuple):
    """What an auditor brings along, each the text of a file: the log's key or the organisation's root key, a
    witness policy, and a checkpoint that was kept.
    """

    key: str | None = None
    root: str | None = None
    policy: str | None = None
    against: str | None = None


class Signatories(NamedTuple):
    """Whose signatures count. `trust` where a root key was pinned, else `key`."""

    key: NoteKey | None
    trust: Trust | None
    policy: Policy | None

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.trust.origin if self.trust is not None else self.key.name if self.key is not None else ""

    def key_for(self, size: int) -> NoteKey:
        """The key that must have signed a tree of this size."""
        if self.trust is not None:
            return self.trust.key_for(size)
        if self.key is None:
            raise EvidenceError("trust", "no key was pinned", verdict="untrusted")
        return self.key

    def open(self, note: SignedNote, check: str) -> SignedTree:
        """The tree in a note that the log signed. Cosignatures are `witnessed`'s."""
        if self.trust is not None:
            return self.trust.open(note, check)
        return open_checkpoint(note, self.key_for(0), check)

    def witnessed(self, note: SignedNote) -> list[tuple[str, int]]:
        """Who cosigned, and when (Unix seconds). Raises where a line is by somebody unknown."""
        if self.policy is not None:
            return self.policy.cosignatures(note)
        if len(note.signatures) > 1:
            raise EvidenceError("cosignature", f"a signature line by {note.signatures[1].name}, whom nobody here "
                                "knows: give --root or --policy", verdict="untrusted")
        return []

    def is_quorum(self, names: list[str]) -> bool:
        """Whether these witnesses are enough; nobody is not, even where a policy asks for none."""
        return bool(names) and self.policy is not None and self.policy.is_quorum(set(names))


def signatories(pins: Pins, trust_note: str | None) -> Signatories:
    """Read what was pinned. Raises `EvidenceError` (untrusted or incomplete)."""
    key = None if pins.key is None else parse_vkey(pins.key.strip(), LOG_KEY, "key")
    policy = None if pins.policy is None else parse_policy(pins.policy)
    if pins.root is None:
        return Signatories(key, None, policy)
    if trust_note is None:
        raise EvidenceError("trust", "there is no trust note that the root key could open", verdict="incomplete")
    trust = parse_trust_note(trust_note, pins.root)
    return Signatories(key, trust, policy or trust.policy)


def read_text(data: bytes, what: str, check: str) -> str:
    """UTF-8 text. Raises (tampered)."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise EvidenceError(check, f"{what} is not UTF-8") from None


def read_note(data: bytes, what: str, check: str) -> SignedNote:
    """A signed note in a file."""
    return parse_note(read_text(data, what, check), check)
