"""Offline verification of a log, by somebody who trusts nothing in it but a verifier key.

Every stored leaf is hashed into the tree again; the root must be the one that the pinned key signed. What
the records say (grammar, sessions, payloads, holds against erasures) is judged by `evidence.contents`, as
in a package; here is what a store has besides: signed roots, its index of sessions, keys and payloads of
every entry, and whatever the folder holds beside it. Nothing in the store may be there that no check
covers. Reads only, also beside a running gateway, through one snapshot (`storage.contract.Source`): a
file's, or that of a shard in a database. Damage of any kind is a finding, never a traceback.

What it cannot show: a whole folder replaced by an older copy of itself (give `against` a checkpoint
that was kept elsewhere), or traffic that did not pass the gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from lockgate.audit import leaves
from lockgate.audit.checkpoint import Checkpoint, Verifier
from lockgate.audit.commitment import KEY_SIZE, SALT_SIZE, all_opened, opened
from lockgate.audit.endorsements import Endorsements
from lockgate.audit.entry import parse
from lockgate.audit.evidence.contents import Contents, PlacedLeaf, Runs
from lockgate.audit.evidence.disclosed import Disclosed
from lockgate.audit.evidence.ledger import LogLedger, Session
from lockgate.audit.evidence.merkle import Frontier, leaf_hash
from lockgate.audit.evidence.policy import Policy
from lockgate.audit.evidence.report import Report, Verdict, counted
from lockgate.audit.evidence.trust import Trust
from lockgate.audit.failures import BrokenNote, MalformedEntry, UntrustedNote
from lockgate.audit.keys import VERIFIER_FILE, read_verifier
from lockgate.audit.recording.checking import RecordingCheck, left_playing
from lockgate.audit.recording.shelf import FolderShelf, Shelf
from lockgate.audit.rows import UNREADABLE, before, together, unbroken
from lockgate.audit.storage.contract import Source
from lockgate.audit.storage.sqlite import FILE, SqliteSource
from lockgate.audit.storage.structure import (
    check_destroyed,
    check_integrity,
    check_schema,
    check_write_ahead_log,
)
from lockgate.errors import AuditError

_NAMED: Final = 100     # findings of one kind

Row = tuple[int, bytes, bytes, bytes | None, bytes | None]
"""Index, leaf hash, leaf, key ‖ salt, sealed payload."""
Expected = tuple[str, Checkpoint]
"""A check's name, and what it says about the log at some size."""


def verify_log(
    folder: Path, *, key: Path | None = None, against: str | None = None, trust: Trust | None = None,
    policy: Policy | None = None,
) -> Report:
    """Check a log's folder. `key` is the pinned verifier key file (without it, the folder's own, which
    shows damage but not a log that was replaced whole); `against` a signed checkpoint kept elsewhere;
    `trust` the organisation's trust note, which says which keys, witnesses and authorities count, or besides a key
    `policy` the witnesses.

    Does not raise: what is wrong is in the report.
    """
    report = Report(str(folder), is_key_pinned=key is not None or trust is not None)
    if not (folder / FILE).is_file():
        report.find("store", Verdict.INCOMPLETE, f"{folder}: there is no {FILE}")
        return report
    try:
        verifier = (read_verifier(key or folder / VERIFIER_FILE) if trust is None
                    else Verifier(trust.origin, trust.keys[-1].key.public))
    except AuditError as error:
        report.find("key", Verdict.UNTRUSTED, str(error))
        return report
    endorsed = Endorsements(folder, verifier.key, trust, against, policy=policy, believes_folder=not report.is_key_pinned)
    # Before the entries, which may grow meanwhile.
    for check, problem in endorsed.read():
        report.find(check, Verdict.TAMPERED, problem)
    try:
        source = SqliteSource(folder / FILE)
    except UNREADABLE as error:
        report.find("store", Verdict.TAMPERED, f"{FILE} cannot be opened: {error}")
        return report
    with source:
        run = _Run(report, source, verifier, endorsed, RecordingCheck(FolderShelf(folder)))
        run.attempt("schema", lambda: check_schema(report, source.connection, verifier.name))
        run.all(())
        run.attempt("payloads", lambda: check_destroyed(report, source.connection, run.contents.erased_by))
        run.attempt("store", lambda: check_integrity(report, source.connection))
    check_write_ahead_log(report, folder)
    return report


def verify_source(
    source: Source, shelf: Shelf, verifier: Verifier, folder: Path, *, against: str | None = None, expected: Iterable[Expected] = (),
    trust: Trust | None = None, is_key_pinned: bool = True,
) -> Report:
    """Check a log that is no file and its recordings, with what this machine keeps of it in `folder`. `expected` are checkpoints
    that somebody else vouches for, `trust` the log's trust note, whose newest key `verifier` is then.

    Does not raise: what is wrong is in the report.
    """
    report = Report(str(folder), is_key_pinned=is_key_pinned)
    endorsed = Endorsements(folder, verifier.key, trust, against, believes_folder=not is_key_pinned)
    for check, problem in endorsed.read():
        report.find(check, Verdict.TAMPERED, problem)
    _Run(report, source, verifier, endorsed, RecordingCheck(shelf)).all(expected)
    report.cover("store", "one snapshot: every row belongs to the log")
    return report


class _Run:
    """One verification: what the checks share."""

    def __init__(
        self, report: Report, source: Source, verifier: Verifier, endorsed: Endorsements, recordings: RecordingCheck,
    ) -> None:
        self.report = report
        self.source = source
        self.verifier = verifier
        self.endorsed = endorsed
        self.recordings = recordings
        self.contents = Contents(report, 0, Runs())
        self.frontier = Frontier()
        self.roots: dict[int, Expected] = {}
        self.sizes: list[int] = []      # of the same, ascending
        self.index: dict[str, tuple[int, int | None]] = {}
        self.good = 0        # entries up to here are covered by a signed root that fits
        self.older = 0       # kept checkpoints that fit
        self.keys = self.sealed = 0
        self.is_salt_missing = False
        report.origin = verifier.name
        report.cover("key", str(verifier))

    def tampered(self, check: str, message: str, index: int | None = None, last: int | None = None) -> None:
        self.report.find(check, Verdict.TAMPERED, message, index, last)

    def attempt(self, name: str, step: Callable[[], None]) -> None:
        """Run one check. One that cannot read its input says so."""
        try:
            step()
        except UNREADABLE as error:
            # Where rows were being read, the next one is the first that cannot be.
            self.tampered(name, str(error) or "the store is damaged", self.frontier.size if name == "entries" else None)

    def all(self, expected: Iterable[Expected]) -> None:
        """Every check, in order."""
        self.attempt("rotation", self.keys_in_use)
        for check, checkpoint in expected:
            self.expect(check, checkpoint)
        for name, step in (("checkpoint", self.checkpoints), ("entries", self.rows), ("tree", self.tree),
                           ("sessions", self.sessions), ("payloads", self.payloads)):
            self.attempt(name, step)
        self.contents.finish()
        self.attempt("recordings", self.recorded)
        self.report.cover_tail()

    # ------------------------------------------------------------ what is known of the roots

    def sign(self, check: str, note: str) -> Checkpoint | None:
        """A note that must be of this log; its root is compared when the tree has its size."""
        try:
            checkpoint = self.endorsed.open(check, note)
        except BrokenNote as error:
            self.tampered(check, str(error))
        except UntrustedNote as error:
            self.report.find(check, Verdict.UNTRUSTED, str(error))
        else:
            self.expect(check, checkpoint)
            return checkpoint
        return None

    def expect(self, check: str, checkpoint: Checkpoint) -> None:
        """A root that the log must have at this size."""
        known = self.roots.setdefault(checkpoint.size, (check, checkpoint))[1]
        if known.root != checkpoint.root:
            self.tampered(check, f"there are two logs of {checkpoint.size} entries, both signed", self.good,
                          checkpoint.size - 1)

    def keys_in_use(self) -> None:
        """Which key signs which sizes, as the leaves and the trust note say; then what is beside the log."""
        # The first is rare where the second begins like every name: a search by it alone takes a third longer.
        changes = self.source.leaves(containing=(b"key_rotate", b'"type":"key_rotate"'))
        for problem in self.endorsed.take_rotations((index, leaf) for index, _, leaf in changes):
            self.report.blame(problem)
        for check, note in self.endorsed.notes:
            self.sign(check, note)
        for problem in (*self.endorsed.quorum(self.report), *self.endorsed.anchored(self.report)):
            self.report.blame(problem)

    def checkpoints(self) -> None:
        """Signatures of the head and of every checkpoint that is kept."""
        head = self.source.head()
        if self.source.origin != self.verifier.name:
            self.tampered("schema", f"the log says that it is {self.source.origin}")
        if not head.note:
            self.report.find("checkpoint", Verdict.INCOMPLETE, "the log has no signed checkpoint")
        signed = 0
        for size, note in ((head.size, head.note), *self.source.notes()):
            checkpoint = self.sign("checkpoint", note) if note or signed else None
            # The head's may be smaller: `tree` says whether it may.
            if checkpoint is not None and (checkpoint.size > size if signed == 0 else checkpoint.size != size):
                self.tampered("checkpoint", "a checkpoint is stored under another size")
            signed += 1
        for index in self.endorsed.rotations:
            if index + 1 not in self.roots:
                self.report.find("rotation", Verdict.UNTRUSTED, "the old key has not signed the change of keys", index)
        self.report.cover("checkpoint", f"{counted(signed, 'signature')} by {self.verifier.name}")

    def compare(self, size: int, check: str, checkpoint: Checkpoint) -> None:
        """The signed root of this size against the root of the leaves up to here."""
        if checkpoint.root != self.frontier.root():
            self.tampered(check, f"the first {size} entries do not have the root that was signed", self.good, size - 1)
            self.roots = {}
            return
        self.good = size
        if check == "checkpoint":
            self.older += 1
        else:
            self.report.cover(check, f"the tree of {counted(size, 'entry', 'entries')} ({check}) is the beginning of this one")

    # ------------------------------------------------------------ entries

    def rows(self) -> None:
        """Every row: its place, its hash, what it says, its payload."""
        self.index = {sid: (first, last) for sid, first, last in self.source.sessions()}
        self.sizes = sorted(self.roots)
        for batch in together(self.source.rows()):
            if not self.batch(batch):
                return
        self.report.cover("entries", f"{counted(self.frontier.size, 'leaf', 'leaves')} hashed again, leaf by leaf")
        self.report.cover("grammar", "each leaf is canonical, with the fields of its type")

    def batch(self, rows: list[Row]) -> bool:
        """Some rows, the short way as far as all is well with them. Whether none is missing."""
        done, tree = 0, self.frontier
        leaves, digests = unbroken(rows, tree.size)
        disclosed = all_opened(rows) if leaves else []
        while done < len(rows):
            stop = min(len(leaves), done + before(self.sizes, tree.size))
            count = self.contents.follow_all(tree, leaves, digests, disclosed, done, stop)
            if count:
                done += count
                kept = count - disclosed[done - count:done].count(None)
                self.keys += kept
                self.sealed += kept
                self.reached(tree.size)
                continue
            at, digest, leaf, secret, sealed = rows[done]
            if at != tree.size:
                self.tampered("entries", f"entry {tree.size} is missing; next is {at}", tree.size)
                self.contents.ledger = None
                return False
            self.row(tree.size, digest, leaf if type(leaf) is bytes else b"", secret, sealed)
            done += 1
        return True

    def reached(self, size: int) -> None:
        """So many entries were taken."""
        self.report.entries = self.report.size = size
        known = self.roots.get(size)
        if known is not None:
            self.compare(size, *known)

    def row(self, index: int, digest: bytes, leaf: bytes, secret: bytes | None, sealed: bytes | None) -> None:
        contents, frontier = self.contents, self.frontier
        actual = leaf_hash(leaf)
        if digest != actual:
            self.tampered("leaf hash", "the entry is not the one that was stored", index)
            contents.ledger = None
        disclosed = None
        if sealed is not None:
            self.sealed += 1
            disclosed = None if secret is None else opened(secret, sealed)
        ledger = contents.ledger
        record = contents.take(PlacedLeaf(index, leaf, actual, False, frontier.root), disclosed)
        if contents.ledger is None and ledger is not None and record is not None:
            self.narrow(ledger, index, record, actual)
        elif ledger is not None and ledger.ended:
            self.ended(ledger, index)
        frontier.append(actual)
        self.reached(index + 1)
        if record is not None:
            self.keep(index, record, secret, sealed, disclosed)

    def ended(self, ledger: LogLedger, index: int) -> None:
        """The index of sessions says where a session began and ended."""
        for sid, bounds in ledger.ended.items():
            if self.index.pop(sid, None) != bounds:
                self.tampered("sessions", f"the index of session {sid} is wrong", index)
        ledger.ended.clear()

    def narrow(self, ledger: LogLedger, index: int, record: dict[str, Any], digest: bytes) -> None:
        """A broken link means that one of its two ends was altered: which one does the next link say."""
        sid = record.get("sid")
        session = ledger.open.get(sid) if isinstance(sid, str) else None
        if session is None or session.last < 0:
            return
        for place, found in enumerate(self.report.findings):
            if (found.check, found.index) == ("chain", index) and self.is_before_altered(session, index, record, digest):
                del self.report.findings[place]
                self.tampered("chain", "the session's next record does not follow from this entry", session.last)
                return

    def is_before_altered(self, session: Session, index: int, record: dict[str, Any], digest: bytes) -> bool:
        if record["type"] == "session_end":
            return bool(record.get("root") != session.frontier.root().hex())
        for _, _, leaf in self.source.leaves(index + 1, containing=(f'"sid":"{record["sid"]}"'.encode(),)):
            try:
                return bool(parse(bytes(leaf)).get("prev") == digest.hex())
            except (MalformedEntry, TypeError):
                break
        return True

    # ------------------------------------------------------------ payloads

    def keep(
        self, index: int, record: dict[str, Any], secret: bytes | None, sealed: bytes | None, disclosed: Disclosed | None,
    ) -> None:
        """What is kept for an entry besides what it discloses: nothing for one without a payload, and else its key."""
        kind = record["type"]
        if kind in {"rec_mark", "session_end"} and self.contents.ledger is not None:
            self.recordings.take(index, record)
        if secret is not None:
            self.keys += 1
        said = record.get("payload")
        if said is None:
            if disclosed is None and (secret is not None or sealed is not None):
                self.tampered("payloads", "a payload of an entry that has none", index)
        elif disclosed is not None:
            if kind == "session_begin" and record["principal"] != self.principal(disclosed.payload):
                self.tampered("payloads", "the session's principal is not who its payload names", index)
        elif secret is not None and (type(secret) is not bytes or len(secret) != KEY_SIZE + SALT_SIZE):
            self.tampered("payloads", "the payload's key is damaged", index)
        elif "kept" in said:
            if sealed is not None:
                self.tampered("payloads", "a payload that was said not to be kept", index)
            elif secret is None:
                self.is_salt_missing = True

    def principal(self, content: bytes) -> str:
        """The opaque id of the person in a session's payload."""
        try:
            who = orjson.loads(content)
            return leaves.principal(self.source.pseudonyms, who["issuer"], who["subject"])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return ""

    def payloads(self) -> None:
        """What is not there was erased on record and what was erased is not there; no key belongs to no entry."""
        contents = self.contents
        if contents.is_second_look_due or self.is_salt_missing:
            contents.look_again(self.again())
        if self.source.counts()[:2] != (self.keys, self.sealed):
            self.tampered("payloads", "payloads or keys of entries that do not exist")

    def again(self) -> Iterator[PlacedLeaf]:
        """All leaves once more. What is left of a payload without its other half, `contents` has not seen."""
        report, named = self.report, 0
        for index, digest, leaf, secret, sealed in self.source.rows(0, self.frontier.size - 1):
            is_locked = secret is None
            by = self.contents.erased_by(index)
            if by is not None and is_locked != (sealed is None):
                self.tampered("erasure", f"entry {index} was erased by record {by}, and a part of its payload is there", index)
            if is_locked and b'"kept":false' in leaf and _is_unkept(leaf):
                if by is not None:
                    report.erased[by] = report.erased.get(by, 0) + 1
                elif named < _NAMED:
                    named += 1
                    report.find("payloads", Verdict.INCOMPLETE, "the entry's payload is MISSING", index)
            yield PlacedLeaf(index, leaf, digest, False)

    # ------------------------------------------------------------ after the last entry

    def tree(self) -> None:
        """The head: its size, frontier and epoch against what the entries give."""
        report, size, ledger = self.report, self.frontier.size, self.contents.ledger
        beyond = [known for wanted, known in self.roots.items() if wanted > size]
        if beyond:
            check, checkpoint = max(beyond, key=lambda known: known[1].size)
            self.tampered(check, f"{checkpoint.size} entries were signed, {size} are stored", size)
            ledger = self.contents.ledger = None
        head = self.source.head()
        if ledger is not None and (head.size, head.epoch, head.frontier) != (size, ledger.starts, self.frontier.to_bytes()):
            self.tampered("tree", "the head does not fit the entries", min(size, head.size))
        elif self.good < size and ledger is not None and ledger.lags:
            report.unsigned = size - self.good
        elif self.good < size and not report.findings:
            self.tampered("tree", "entries beyond the signed checkpoint", self.good)
        if self.good == size:
            report.cover("tree", f"the root over {counted(size, 'entry', 'entries')} is the signed one")
        if self.older:
            report.cover("consistency", f"{counted(self.older, 'signed checkpoint')} of its own, each the root at its size")
        if ledger is not None:
            self.endorsed.measure(report, ledger.last_time)

    def sessions(self) -> None:
        """The index of sessions says what the leaves say."""
        ledger = self.contents.ledger
        if ledger is None:
            return
        for sid, session in ledger.open.items():
            if self.index.pop(sid, None) != (session.begin, None):
                self.tampered("sessions", f"the index of session {sid} is wrong", session.begin)
        if self.index or self.source.counts()[2] != ledger.sessions:
            self.tampered("sessions", "the index names sessions that the log does not hold")

    def recorded(self) -> None:
        """Recordings are what was marked, or were erased; what was erased is not there."""
        check = self.recordings
        for verdict, message, index in check.complaints(self.contents.erased_by):
            self.report.find("recordings", verdict, message, index)
        if self.contents.is_second_look_due:
            for message, index in left_playing(check.shelf, self.source, self.contents.erased_by):
                self.tampered("erasure", message, index)
        if check.streams:
            self.report.cover("recordings", check.covered)


def _is_unkept(leaf: bytes) -> bool:
    try:
        return "kept" in (parse(leaf).get("payload") or {})
    except MalformedEntry:
        return False
