"""Reading a log before it is written to: all of it, or, of a shard in a database, what nobody has vouched for yet.

    whole : every entry is hashed, parsed and checked
    tail  : the newest kept checkpoint → every entry after it, checked the same way, up to the signed head
            the oldest tree that this machine or its signer has seen → only hashes, up to that checkpoint
            sessions that are open → their own entries, from their beginning

Either way the log has to have the root of every tree that somebody has seen of it, at its size, and is
refused where it is smaller: it was rolled back. What a tail leaves unread is bound by signatures of the
log's key; that each entry there is what was hashed is for `lockgate audit verify`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note, tree_of
from lockgate.audit.entry import parse
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.ledger import SIGNED_APART
from lockgate.audit.evidence.notes import NoteKey
from lockgate.audit.evidence.trust import key_of, ranges_of
from lockgate.audit.failures import MalformedEntry, Tampered, UntrustedNote
from lockgate.audit.ledger import Ledger, Session, take, take_session
from lockgate.audit.rows import before, together, unbroken
from lockgate.audit.signing.contract import CheckpointSigner
from lockgate.audit.storage.contract import Head, Kept, Store, Tail
from lockgate.audit.tree import Frontier, leaf_hash


@dataclass(frozen=True, slots=True)
class Claim:
    """A tree that somebody has seen of this log: a note beside it, its head's, or the signer's memory."""

    check: str
    note: str | None
    tree: Checkpoint

    @classmethod
    def of(cls, check: str, note: str) -> Claim:
        """What a note says, whoever signed it."""
        try:
            return cls(check, note, tree_of(note))
        except UntrustedNote as error:
            raise Tampered(str(error), index=0, check=check) from None

    @property
    def verb(self) -> str:
        """What happened to that tree."""
        return "signed" if self.check in ("signer", "checkpoint") else self.check.partition(" ")[0]

    @property
    def contradicted(self) -> str:
        """The finding where the entries have another root."""
        return f"the log is not the one whose checkpoint was {self.verb}"


@dataclass(slots=True)
class Reading:
    """The tree while it is read: compared with every claim at its size, and split where the signer stands."""

    claims: Sequence[Claim]
    start: int
    """The size from which on a signer that lags has to be shown what the tree grew by."""
    lags: bool
    frontier: Frontier = field(default_factory=Frontier)
    base: Frontier = field(default_factory=Frontier)
    grown: list[bytes] = field(default_factory=list)

    @property
    def sizes(self) -> list[int]:
        """Where the tree has to be compared or split, ascending."""
        return sorted({self.start, *(claim.tree.size for claim in self.claims)})

    def append(self, digest: bytes) -> None:
        """One more leaf. Raises `Tampered` at the first tree that contradicts a claim."""
        if self.lags and self.frontier.size >= self.start:
            self.grown.append(digest)
        self.frontier.append(digest)
        self.compare()

    def follow(self, ledger: Ledger, rows: Iterator[tuple[Any, Any, Any]]) -> None:
        """Every row, the short way as far as all is well with them, compared as `append` does. Raises `Tampered`."""
        tree, sizes = self.frontier, self.sizes
        for some in together(rows):
            done = 0
            leaves, digests = unbroken(some, tree.size)
            while done < len(some):
                stop = min(len(leaves), done + before(sizes, tree.size))
                count = ledger.follow_all(tree, leaves, digests, done, stop)
                if not count:
                    tree.append(_take(ledger, tree.size, some[done]))
                done += count or 1
                self.compare()
            if self.lags:
                self.grown += [digest for index, digest, _ in some if index >= self.start]

    def compare(self) -> None:
        """The tree as it is, against the claims of its size."""
        size = self.frontier.size
        if size == self.start:
            self.base = self.frontier.copy()
        for claim in self.claims:
            if size == claim.tree.size and self.frontier.root() != claim.tree.root:
                raise Tampered(claim.contradicted, index=size - 1, check=claim.check)


@dataclass(frozen=True, slots=True)
class Recovery:
    """A log that was read: its tree, where the signer stands, and what is open."""

    reading: Reading
    open: dict[str, Session]
    last_time: int


def recover_log(store: Store, signer: CheckpointSigner, head: Head, kept: Mapping[str, str | None]) -> Recovery:
    """Read and check. `kept` are checkpoints beside the log, by what they are. Raises `Tampered` with the first bad index.

    A signer whose memory is empty is shown the head first: from then on it refuses everything older.
    """
    claims = [Claim.of(f"{name} checkpoint", note) for name, note in kept.items() if note]
    if head.note:
        claims.append(Claim.of("checkpoint", head.note))
    tail = store.tail()
    remembered = signer.last()
    if tail is not None and remembered is not None and not remembered.size and head.note:
        signer.sign(_opened(head.note, signer.verifier))
        remembered = signer.last()
    if remembered is not None and remembered.size:
        claims.append(Claim("signer", None, remembered))
    start = (remembered or claims[-1].tree).size if claims else 0
    found = None
    if tail is not None:
        with tail:
            found = _read_tail(tail, signer, head, Reading(claims, start, signer.lags))
    return found or _read_whole(store, signer, head, Reading(claims, start, signer.lags))


def _opened(note: str, verifier: Verifier) -> Checkpoint:
    try:
        return open_note(note, verifier)
    except UntrustedNote as error:
        raise Tampered(str(error), index=0, check="checkpoint") from None


def _read_whole(store: Store, signer: CheckpointSigner, head: Head, reading: Reading) -> Recovery:
    ledger = Ledger()
    ledger.root = reading.frontier.root
    reading.compare()
    reading.follow(ledger, store.leaves())
    return _accept(ledger, signer, head, reading, lags=ledger.lags, starts=ledger.starts)


def _read_tail(tail: Tail, signer: CheckpointSigner, head: Head, reading: Reading) -> Recovery | None:
    """None where there is nothing to go on from, or a key in it is not the signer's: then all of it is read."""
    sizes = [claim.tree.size for claim in reading.claims]
    newest = tail.kept(min(head.signed, head.size - 1))
    oldest = newest and tail.kept(min([newest.size, reading.start, *sizes]))
    notes = [claim.note for claim in reading.claims if claim.note is not None]
    if newest is None or oldest is None or not _are_by(signer.verifier, [newest.note, oldest.note, *notes]):
        return None
    reading.frontier = _tree_in(oldest)
    reading.compare()
    for digest in tail.hashes(oldest.size, newest.size - 1):
        reading.append(digest)
    if reading.frontier.to_bytes() != _tree_in(newest).to_bytes():
        raise Tampered("the entries do not lead from one kept checkpoint to the next", index=oldest.size,
                       check="checkpoint", last=newest.size - 1)
    ledger = Ledger(newest.size)
    ledger.root = reading.frontier.root
    ledger.starts = newest.epoch
    began = tail.open_sessions()
    _take_begun(tail, ledger, {sid for sid, first in began.items() if first < newest.size}, began, newest)
    reading.follow(ledger, tail.rows(newest.size))
    if {sid: session.begin for sid, session in ledger.open.items()} != began:
        raise Tampered("the index of sessions does not fit the entries", index=newest.size, check="sessions")
    lags = ledger.lags or (head.signed < head.size and _says_apart(tail.last_start(newest.size)))
    return _accept(ledger, signer, head, reading, lags=lags, starts=ledger.starts)


def _are_by(verifier: Verifier, notes: Sequence[str]) -> bool:
    try:
        for note in notes:
            open_note(note, verifier, cosigned=True)
    except UntrustedNote:
        return False
    return True


def _tree_in(kept: Kept) -> Frontier:
    """The tree of a kept checkpoint, which its note has to be of."""
    try:
        frontier = Frontier.from_bytes(kept.frontier)
    except ValueError:
        frontier = Frontier()
    tree = tree_of(kept.note)
    if (tree.size, tree.root) != (kept.size, frontier.root()) or frontier.size != kept.size:
        raise Tampered("a kept checkpoint is not of its tree", index=kept.size - 1, check="checkpoint")
    return frontier


def _take_begun(tail: Tail, ledger: Ledger, sids: set[str], began: Mapping[str, int], newest: Kept) -> None:
    """The entries so far of sessions that are open: their chains have to lead into the tail."""
    if not sids:
        return
    for at, digest, leaf in tail.rows_of(sids, min(began[sid] for sid in sids), newest.size - 1):
        take_session(ledger, at, _checked(at, digest, leaf), digest)


def _says_apart(leaf: bytes | None) -> bool:
    try:
        data = {} if leaf is None else parse(leaf).get("data")
    except MalformedEntry:
        return False
    return isinstance(data, dict) and data.get("signer") == SIGNED_APART


def _accept(
    ledger: Ledger, signer: CheckpointSigner, head: Head, reading: Reading, *, lags: bool, starts: int,
) -> Recovery:
    """Every checkpoint is by the key of its size, the newest one covers what it has to, and the head is of all this."""
    frontier = reading.frontier
    for claim in reading.claims:
        if claim.tree.size > frontier.size:
            raise Tampered(f"the log was rolled back: {claim.tree.size} entries were {claim.verb}",
                           index=frontier.size, check=claim.check)
    _require_keys(ledger, signer, reading.claims)
    if head.signed < frontier.size and not lags:
        raise Tampered(f"the signed checkpoint covers {head.signed} entries; stored are {frontier.size}",
                       index=head.signed, check="checkpoint")
    if (head.size, head.frontier, head.epoch) != (frontier.size, frontier.to_bytes(), starts):
        raise Tampered("the head does not fit the entries", index=frontier.size, check="head")
    for error in ledger.unrooted:
        raise Tampered(error.message, index=error.index or 0, check=error.check, last=error.last)
    return Recovery(reading, dict(ledger.open), ledger.last_time)


def _require_keys(ledger: Ledger, signer: CheckpointSigner, claims: Sequence[Claim]) -> None:
    try:
        ranges = ranges_of(ledger.rotations, signer.verifier.key)
        if ranges[-1].key != signer.verifier.key:
            raise Tampered("the log goes on with another key than this signer's",
                           index=ledger.rotations[-1][0], check="rotation")
        for claim in claims:
            _require_signed(claim, key_of(ranges, claim.tree.size))
    except EvidenceError as error:
        raise Tampered(str(error), index=error.index or 0, check=error.check) from None


def _require_signed(claim: Claim, key: NoteKey) -> None:
    try:
        if claim.note is not None:
            open_note(claim.note, Verifier(key.name, key.public), cosigned=claim.check != "checkpoint")
    except UntrustedNote as error:
        raise Tampered(str(error), index=claim.tree.size, check=claim.check) from None


def _take(ledger: Ledger, index: int, stored: tuple[Any, Any, Any]) -> bytes:
    """Check one stored row and let the ledger take it. Returns its hash."""
    at, digest, leaf = stored
    if at != index:
        raise Tampered(f"entry {index} is missing", index=index, check="entries")
    record = _checked(index, digest, leaf)
    take(ledger, index, record, digest)
    return bytes(digest)


def _checked(index: int, digest: object, leaf: object) -> dict[str, Any]:
    """The record of a stored row."""
    if type(leaf) is not bytes or type(digest) is not bytes or leaf_hash(leaf) != digest:
        raise Tampered("the entry is not the one that was stored", index=index, check="leaf hash")
    try:
        return parse(leaf)
    except MalformedEntry as error:
        raise Tampered(str(error), index=index, check="leaf grammar") from None
