"""Verification of a log through a snapshot of its store, whatever that is: a file, a shard in a database.

Everything is read once and in order: leaves hashed into the tree, roots against what the key signed,
the grammar of sessions, payloads against their commitments, the index of sessions. `verify` adds what
only a file has (its structure, its write-ahead log); `fleet.verification` what only a fleet has.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from lockgate.audit import leaves
from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note
from lockgate.audit.commitment import KEY_SIZE, SALT_SIZE, unseal, verify_commitment
from lockgate.audit.entry import parse
from lockgate.audit.evidence.erasures import Destroyed, HoldBook, erased_ranges
from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.failures import BrokenNote, MalformedEntry, Tampered, Undisclosed, UntrustedNote
from lockgate.audit.ledger import Ledger
from lockgate.audit.storage.contract import Source
from lockgate.audit.tree import Frontier, leaf_hash
from lockgate.errors import AuditError

Expected = tuple[str, Checkpoint]
"""A check's name, and what it says about the log at some size."""


def verify_snapshot(
    source: Source, verifier: Verifier, folder: Path, *, notes: Iterable[tuple[str, str]] = (),
    expected: Iterable[Expected] = (), is_key_pinned: bool = True,
) -> Report:
    """Check a whole log. `notes` are signed checkpoints from elsewhere, each with the name of its check;
    `expected` are checkpoints that somebody else vouches for.

    Takes a log that one key signed from its beginning on. Does not raise: what is wrong is in the report.
    """
    report = Report(str(folder), origin=verifier.name, is_key_pinned=is_key_pinned)
    report.cover("key", str(verifier))
    try:
        run = _Run(report, source, verifier)
        for check, note in notes:
            run.sign(check, note)
        for check, checkpoint in expected:
            run.expect(check, checkpoint)
        if run.expected:
            report.cover("kept checkpoint", f"{len(run.expected)} checkpoints that were kept elsewhere")
        run.all()
    except AuditError as error:
        report.find("store", Verdict.TAMPERED, str(error), report.entries)
    return report


class _Run:
    """One verification: what the checks share."""

    def __init__(self, report: Report, source: Source, verifier: Verifier) -> None:
        self.report = report
        self.source = source
        self.verifier = verifier
        self.ledger: Ledger | None = Ledger()
        self.frontier = Frontier()
        self.expected: dict[int, Expected] = {}
        self.good = 0           # entries up to here are covered by a root that was signed
        self.keys = self.sealed = 0
        self.destroyed = Destroyed()
        self.holds = HoldBook()
        self.missing: list[int] = []
        self.index = {sid: (first, last) for sid, first, last in source.sessions()}

    def find(self, check: str, verdict: Verdict, message: str, index: int | None = None,
             last: int | None = None) -> None:
        self.report.find(check, verdict, message, index, last)

    def tampered(self, check: str, message: str, index: int | None = None) -> None:
        self.find(check, Verdict.TAMPERED, message, index)

    # ------------------------------------------------------------ what is known of the roots

    def sign(self, check: str, note: str) -> Checkpoint | None:
        """A note that the key must have signed."""
        try:
            checkpoint = open_note(note, self.verifier)
        except BrokenNote as error:
            self.tampered(check, str(error))
        except UntrustedNote as error:
            self.find(check, Verdict.UNTRUSTED, str(error))
        else:
            self.expect(check, checkpoint)
            return checkpoint
        return None

    def expect(self, check: str, checkpoint: Checkpoint) -> None:
        """A root that the log must have at this size."""
        known = self.expected.setdefault(checkpoint.size, (check, checkpoint))[1]
        if known.root != checkpoint.root:
            self.find(check, Verdict.TAMPERED, f"there are two logs of {checkpoint.size} entries", self.good,
                      checkpoint.size - 1)

    # ------------------------------------------------------------ the checks, in order

    def all(self) -> None:
        source = self.source
        head = source.head()
        if source.origin != self.verifier.name:
            self.tampered("schema", f"the log says it is {source.origin}")
        signed = 0
        for size, note in ((head.size, head.note), *source.notes()):
            checkpoint = self.sign("checkpoint", note)
            if checkpoint is not None and (checkpoint.size > size if signed == 0 else checkpoint.size != size):
                self.tampered("checkpoint", "a checkpoint is stored under another size")
            signed += 1
        self.report.cover("checkpoint", f"{signed} signatures by {self.verifier.name}")
        for at, digest, leaf, secret, sealed in source.rows():
            if at != self.frontier.size:
                self.tampered("entries", f"entry {self.frontier.size} is missing; next is {at}", self.frontier.size)
                self.ledger = None
                break
            self.row(at, digest, leaf, secret, sealed)
        self.report.cover("entries", f"{self.frontier.size} leaves hashed again, leaf by leaf")
        self.tree(head.size, head.epoch, head.frontier)
        self.sessions()
        self.payloads()

    def row(self, index: int, digest: bytes, leaf: bytes, secret: bytes | None, sealed: bytes | None) -> None:
        actual = leaf_hash(leaf)
        if digest != actual:
            self.tampered("leaf hash", "the entry is not the one that was stored", index)
            self.ledger = None
        self.frontier.append(actual)
        self.report.entries = self.report.size = index + 1
        known = self.expected.get(index + 1)
        if known is not None:
            self.compare(index + 1, *known)
        try:
            record = parse(leaf)
        except MalformedEntry as error:
            self.tampered("leaf grammar", str(error), index)
            self.ledger = None
            return
        if self.ledger is not None:
            self.grammar(self.ledger, index, record, actual)
        self.payload(index, record, secret, sealed)

    def compare(self, size: int, check: str, checkpoint: Checkpoint) -> None:
        if checkpoint.root == self.frontier.root():
            self.good = size
        else:
            self.find(check, Verdict.TAMPERED, f"the first {size} entries do not have the root that was signed",
                      self.good, size - 1)
            self.expected = {}

    def grammar(self, ledger: Ledger, index: int, record: dict[str, Any], digest: bytes) -> None:
        try:
            ledger.take(index, record, digest)
        except Tampered as error:
            self.ledger = None
            self.tampered(error.check, str(error), error.index)
            return
        for sid, bounds in ledger.ended.items():
            if self.index.pop(sid, None) != bounds:
                self.tampered("sessions", f"the index of session {sid} is wrong", index)
        ledger.ended.clear()

    def payload(self, index: int, record: dict[str, Any], secret: bytes | None, sealed: bytes | None) -> None:
        """What is kept for this entry is what it committed to; nothing is kept for others."""
        self.keys += secret is not None
        self.sealed += sealed is not None
        if record["type"] == "legal_hold":
            self.holds.take(record)
        elif record["type"] == "erasure":
            self.erasure(index, erased_ranges(record) or [])
        said = record.get("payload")
        if said is None:
            if secret is not None or sealed is not None:
                self.tampered("payloads", "a payload of an entry that has none", index)
            return
        is_kept = "kept" not in said
        if secret is None or (is_kept and sealed is None):
            self.missing.append(index)
            return
        if len(secret) != KEY_SIZE + SALT_SIZE or (not is_kept and sealed is not None):
            self.tampered("payloads", "the payload's key is damaged, or it was said not to be kept", index)
            return
        if is_kept and sealed is not None:
            self.opened(index, record, secret, sealed)

    def erasure(self, index: int, ranges: list[tuple[int, int]]) -> None:
        """What an erasure destroyed; nothing of it may have been on hold then."""
        self.destroyed.add(index, ranges)
        for first, last in ranges if self.holds.standing else ():
            for at, _, leaf in self.source.leaves(first, last):
                record = parse(leaf)
                name = self.holds.holding(at, record.get("sid"), self.people(record))
                if "payload" in record and name is not None:
                    self.tampered("hold", f"entry {at}, under the legal hold {name!r}, was erased", index)
                    return

    def people(self, record: dict[str, Any]) -> list[str]:
        """Whose an entry is, as principals: those that it names, and its session's."""
        found = [record[role] for role in ("principal", "requester", "reviewer") if isinstance(record.get(role), str)]
        if "sid" in record:
            first, _, _ = self.source.session(record["sid"])
            found += [str(parse(leaf).get("principal")) for _, _, leaf in self.source.leaves(first, first)]
        return found

    def opened(self, index: int, record: dict[str, Any], secret: bytes, sealed: bytes) -> None:
        said = record["payload"]
        try:
            content = unseal(secret[:KEY_SIZE], sealed)
            verify_commitment(said["commitment"], secret[KEY_SIZE:], content)
        except Undisclosed as error:
            self.tampered("payloads", str(error), index)
            return
        self.report.payloads += 1
        if len(content) != said["size"]:
            self.tampered("payloads", "the payload has another size than recorded", index)
        if record["type"] == "session_begin" and record["principal"] != self.principal(content):
            self.tampered("payloads", "the session's principal is not who its payload names", index)

    def principal(self, content: bytes) -> str:
        try:
            who = orjson.loads(content)
            return leaves.principal(self.source.pseudonyms, who["issuer"], who["subject"])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return ""

    # ------------------------------------------------------------ after the last entry

    def tree(self, stored: int, epoch: int, frontier: bytes) -> None:
        report, size = self.report, self.frontier.size
        beyond = [known for wanted, known in self.expected.items() if wanted > size]
        if beyond:
            check, checkpoint = max(beyond, key=lambda known: known[1].size)
            self.tampered(check, f"{checkpoint.size} entries were signed, {size} are stored", size)
            self.ledger = None
        if self.ledger is not None and (stored, epoch, frontier) != (size, self.ledger.starts, self.frontier.to_bytes()):
            self.tampered("tree", "the head does not fit the entries", min(size, stored))
        elif self.good < size and self.ledger is not None and self.ledger.lags:
            report.unsigned = size - self.good
        elif self.good < size and not report.findings:
            self.tampered("tree", "entries beyond the signed checkpoint", self.good)
        if self.good == size:
            report.cover("tree", f"the root over {size} entries is the signed one")

    def sessions(self) -> None:
        """The index of sessions says what the leaves say."""
        ledger = self.ledger
        if ledger is None:
            return
        for sid, session in ledger.open.items():
            if self.index.pop(sid, None) != (session.begin, None):
                self.tampered("sessions", f"the index of session {sid} is wrong", session.begin)
        if self.index:
            self.tampered("sessions", "the index names sessions that the log does not hold")
        self.report.sessions, self.report.open_sessions = ledger.sessions, len(ledger.open)
        self.report.intents = ledger.intents
        self.report.cover("sessions", (
            f"{ledger.sessions} sessions ({len(ledger.open)} open), {ledger.intents} requests: gapless, chained, one "
            "outcome each, reviews bound and by somebody else"))

    def payloads(self) -> None:
        """What is not there was erased on record; no key and no payload belongs to no entry."""
        for index in self.missing:
            by = self.destroyed.by(index)
            if by is None:
                self.find("payloads", Verdict.INCOMPLETE, "the entry's payload is MISSING", index)
            else:
                self.report.erased[by] = self.report.erased.get(by, 0) + 1
        for first, last, leaf in self.destroyed.ranges():
            for index, _, _, secret, sealed in self.source.rows(first, last):
                if secret is not None or sealed is not None:
                    self.tampered("erasure", f"was erased by record {leaf}, and its payload is there", index)
        kept = self.source.counts()[:2]
        if kept != (self.keys, self.sealed):
            self.tampered("payloads", "payloads or keys of entries that do not exist")
        self.report.cover("payloads", f"{self.report.payloads} opened, each is what was committed to")
