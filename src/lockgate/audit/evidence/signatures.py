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
    parse_tree,
    parse_vkey,
    verify_cosignature,
)
from lockgate.audit.evidence.policy import Policy, parse_policy
from lockgate.audit.evidence.trust import KeyRange, Trust, key_of, parse_trust_note, ranges_of


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
    ranges: tuple[KeyRange, ...] = ()
    """Which key signs which sizes, where the log's own changes of keys are what is known of that."""
    named: tuple[NoteKey, ...] = ()
    """Witnesses that only the package names: their lines are by somebody known, and count for nothing."""

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
        return key_of(self.ranges, size) if self.ranges else self.key

    def open(self, note: SignedNote, check: str) -> SignedTree:
        """The tree in a note that the log signed. Cosignatures are `witnessed`'s."""
        return open_checkpoint(note, self.key_for(parse_tree(note.text, check).size), check)

    def rotated(self, rotations: list[tuple[int, str, str]]) -> Signatories:
        """The same, with what the log says of its changes of keys: (index, old vkey, new vkey), in order. Raises
        where the trust note says otherwise.
        """
        if self.trust is None:
            return self if self.key is None else self._replace(ranges=ranges_of(rotations, self.key))
        keys = self.trust.keys
        known = {(one.last, one.key.vkey, keys[place].key.vkey) for place, one in enumerate(keys[:-1], 1)}
        for index, old, new in rotations:
            if (index + 1, old, new) not in known:
                raise EvidenceError("trust", "the log changed its key where the trust note does not say so", index,
                                    "untrusted")
        return self

    def witnessed(self, note: SignedNote) -> list[tuple[str, int]]:
        """Who cosigned, and when (Unix seconds). Raises where a line is by somebody unknown."""
        if self.policy is not None:
            return self.policy.cosignatures(note)
        found = []
        for line in note.signatures[1:]:
            key = next((one for one in self.named if line.is_by(one)), None)
            if key is None:
                raise EvidenceError("cosignature", f"a signature line by {line.name}, whom nobody here knows: give --root "
                                    "or --policy", verdict="untrusted")
            found.append((key.name, verify_cosignature(note.text, line, key, "cosignature")))
        return found

    def vouched_at(self, cosigners: list[tuple[str, int]]) -> int | None:
        """When they were enough (Unix seconds); None where they are not."""
        return None if self.policy is None else self.policy.vouched_at(cosigners)

    @property
    def is_quorum_needed(self) -> bool:
        """Whether a policy is known that asks for witnesses."""
        return self.policy is not None and not self.policy.is_quorum(set())


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
