"""Offline verification of a log's folder, by somebody who trusts nothing in it but a verifier key.

Every stored leaf is hashed into the tree again; the root must be the one that the pinned key
signed. Then the grammar of sessions, the payloads against their commitments, and whatever the
folder holds beside: nothing in the file may be there that no check covers. Reads only, also beside
a running gateway (one read transaction). Damage of any kind is a finding, never a traceback.

What it cannot show: a whole folder replaced by an older copy of itself (give `against` a checkpoint
that was kept elsewhere), or traffic that did not pass the gateway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw
import orjson

from lockgate.audit import leaves
from lockgate.audit.checkpoint import Checkpoint, Verifier
from lockgate.audit.commitment import KEY_SIZE, SALT_SIZE, unseal, verify_commitment
from lockgate.audit.disposal import Disposal
from lockgate.audit.endorsements import Endorsements
from lockgate.audit.entry import parse
from lockgate.audit.evidence.bindings import BindingBook
from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.evidence.trust import Trust
from lockgate.audit.failures import BrokenNote, MalformedEntry, Tampered, Undisclosed, UntrustedNote
from lockgate.audit.keys import VERIFIER_FILE, read_verifier
from lockgate.audit.ledger import Ledger, take
from lockgate.audit.recording.checking import RecordingCheck
from lockgate.audit.storage import wal
from lockgate.audit.storage.sqlite import DESTROYED, FILE, FORMAT, SCHEMA, open_read_only
from lockgate.audit.tree import Frontier, leaf_hash
from lockgate.errors import AuditError

_LENGTH: Final = 256 * 1024 * 1024     # no string or blob in a log is longer
# What reading a damaged file raises: SQLite's own errors, text that is no Unicode, and values of a type
# or a size that the schema rules out.
_UNREADABLE: Final = (apsw.Error, ValueError, TypeError, OverflowError, MemoryError)
_WAL_TRIES: Final = 4
_ROWS: Final = (
    "SELECT e.idx, e.hash, e.leaf, k.secret, p.sealed FROM entries e"
    " LEFT JOIN payload_keys k ON k.idx = e.idx LEFT JOIN payloads p ON p.idx = e.idx ORDER BY e.idx"
)


def verify_log(
    folder: Path, *, key: Path | None = None, against: str | None = None, trust: Trust | None = None,
) -> Report:
    """Check a log's folder. `key` is the pinned verifier key file (without it, the folder's own, which
    shows damage but not a log that was replaced whole); `against` a signed checkpoint kept elsewhere;
    `trust` the organisation's trust note, which says which keys, witnesses and authorities count.

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
    report.origin = verifier.name
    report.cover("key", str(verifier))
    _Run(report, folder, verifier, Endorsements(folder, verifier.key, trust, against)).all()
    return report


def _blob(value: object) -> bytes:
    """Bytes as stored; what is of another type in a damaged file is nothing."""
    return value if type(value) is bytes else b""


class _Run:
    """One verification: what the checks share."""

    def __init__(self, report: Report, folder: Path, verifier: Verifier, endorsed: Endorsements) -> None:
        self.report = report
        self.folder = folder
        self.verifier = verifier
        self.endorsed = endorsed
        self.ledger: Ledger | None = Ledger(remembers=True)
        self.frontier = Frontier()
        self.ledger.tree = self.frontier
        self.bindings = BindingBook()
        self.notes: dict[int, tuple[str, Checkpoint]] = {}
        self.good = 0        # entries up to here are covered by a signed root that fits
        self.pseudonyms = b""
        self.keys = self.sealed = 0
        self.disposal = Disposal()
        self.recordings = RecordingCheck(folder)

    def find(
        self, check: str, verdict: Verdict, message: str, index: int | None = None, last: int | None = None
    ) -> None:
        self.report.find(check, verdict, message, index, last)

    def tampered(self, error: Tampered) -> None:
        self.find(error.check, Verdict.TAMPERED, str(error), error.index, error.last)

    def all(self) -> None:
        """Run every check, in order. A check that cannot read its input says so."""
        for check, problem in self.endorsed.read():
            self.find(check, Verdict.TAMPERED, problem)
        connection: apsw.Connection | None = None
        try:
            connection = open_read_only(self.folder / FILE)
            connection.limit(apsw.SQLITE_LIMIT_LENGTH, _LENGTH)
            connection.execute("BEGIN")
        except _UNREADABLE as error:
            self.find("store", Verdict.TAMPERED, f"{FILE} cannot be opened: {error}")
            if connection is not None:
                connection.close(True)
            return
        try:
            steps: tuple[tuple[str, Callable[[apsw.Connection], None]], ...] = (
                ("schema", self.schema), ("rotation", self.keys_in_use), ("checkpoint", self.checkpoint), ("entries", self.rows),
                ("tree", self.tree), ("sessions", self.index), ("payloads", self.counts),
                ("erasures", self.erasures),
                ("store", self.integrity),
            )
            for name, step in steps:
                try:
                    step(connection)
                except _UNREADABLE as error:
                    # Where rows were being read, the next one is the first that cannot be.
                    at = self.frontier.size if name == "entries" else None
                    self.find(name, Verdict.TAMPERED, f"the file is damaged: {error}", at)
        finally:
            connection.close(True)
        self.write_ahead_log()

    # ------------------------------------------------------------ what is beside the entries

    def expect(self, check: str, note: str) -> Checkpoint | None:
        """A note that must be of this log; its root is compared when the tree has its size."""
        try:
            checkpoint = self.endorsed.open(check, note)
        except BrokenNote as error:
            self.find(check, Verdict.TAMPERED, str(error))
        except UntrustedNote as error:
            self.find(check, Verdict.UNTRUSTED, str(error))
        else:
            known = self.notes.get(checkpoint.size)
            if known is not None and known[1].root != checkpoint.root:
                self.find(check, Verdict.TAMPERED, f"the key signed two logs of {checkpoint.size} entries",
                          self.good, checkpoint.size - 1)
            self.notes.setdefault(checkpoint.size, (check, checkpoint))
            return checkpoint
        return None

    def keys_in_use(self, connection: apsw.Connection) -> None:
        """Which key signs which sizes, as the leaves and the trust note say; then what is beside the log."""
        rows = connection.execute("SELECT idx, leaf FROM entries WHERE instr(leaf, ?) ORDER BY idx",
                                  (b'"type":"key_rotate"',))
        for problem in self.endorsed.take_rotations((index, _blob(leaf)) for index, leaf in rows):
            self.report.blame(problem)
        for check, note in self.endorsed.notes:
            self.expect(check, note)
        for problem in (*self.endorsed.quorum(self.report), *self.endorsed.anchored(self.report)):
            self.report.blame(problem)

    def schema(self, connection: apsw.Connection) -> None:
        """Tables exactly as this version makes them, and the log's name."""
        found = dict(connection.execute("SELECT name, sql FROM sqlite_schema"))
        if found != SCHEMA:
            self.find("schema", Verdict.TAMPERED, "the tables are not those of a log of this version")
        meta = dict(connection.execute("SELECT CAST(name AS BLOB), CAST(value AS BLOB) FROM meta"))
        self.pseudonyms = _blob(meta.pop(b"pseudonyms", b""))
        if meta != {b"format": FORMAT.encode(), b"origin": self.verifier.name.encode()}:
            self.find("schema", Verdict.TAMPERED, "the log has another name or format than its key says")

    def checkpoint(self, connection: apsw.Connection) -> None:
        """Signatures of the head and of every checkpoint that is kept."""
        rows = connection.execute("SELECT size, CAST(note AS BLOB) FROM head").fetchall()
        if len(rows) != 1 or not rows[0][1]:
            self.find("checkpoint", Verdict.INCOMPLETE, "the log has no signed checkpoint")
        signed = 0
        kept = connection.execute("SELECT size, CAST(note AS BLOB) FROM checkpoints ORDER BY size")
        for place, (size, note) in enumerate((*rows[:1], *kept)):
            checkpoint = self.expect("checkpoint", _blob(note).decode("utf-8", "replace"))
            # The head's may be smaller: `tree` says whether it may.
            if checkpoint is not None and (checkpoint.size > size if place == 0 else checkpoint.size != size):
                self.find("checkpoint", Verdict.TAMPERED, "a checkpoint is stored under another size")
            signed += 1
        for index in self.endorsed.rotations:
            if index + 1 not in self.notes:
                self.find("rotation", Verdict.UNTRUSTED, "the old key has not signed the change of keys", index)
        self.report.cover("checkpoint", f"{signed} signatures by {self.verifier.name}")

    # ------------------------------------------------------------ entries

    def rows(self, connection: apsw.Connection) -> None:
        """Every row: its place, its hash, its grammar, its payload."""
        for row in connection.execute(_ROWS):
            index = self.frontier.size
            if row[0] != index:
                self.find("entries", Verdict.TAMPERED, f"entry {index} is missing; next is {row[0]}", index)
                self.ledger = None
                return
            self.row(index, connection, *row[1:])
        self.report.cover("entries", f"{self.frontier.size} leaves hashed again, leaf by leaf")

    def row(
        self, index: int, connection: apsw.Connection, digest: Any, leaf: Any, secret: Any, sealed: Any
    ) -> None:
        leaf = _blob(leaf)
        actual = leaf_hash(leaf)
        if digest != actual:
            self.find("leaf hash", Verdict.TAMPERED, "the entry is not the one that was stored", index)
            self.ledger = None
        record = self.read(index, leaf)
        if self.ledger is not None and record is not None:
            self.grammar(self.ledger, index, record, actual, connection)
        self.frontier.append(actual)
        self.report.entries = self.report.size = index + 1
        note = self.notes.get(index + 1)
        if note is not None:
            self.compare(index + 1, *note)
        if record is None:
            return
        self.disposal.take(index, record)
        if self.ledger is not None:
            self.recordings.take(index, record)
        self.payload(index, record, secret, sealed)
        if record["type"] == "session_end":
            self.bindings.end(record["sid"])

    def read(self, index: int, leaf: bytes) -> dict[str, Any] | None:
        """The record in a leaf, or None where it is none."""
        try:
            return parse(leaf)
        except MalformedEntry as error:
            self.find("leaf grammar", Verdict.TAMPERED, str(error), index)
            self.ledger = None
            return None

    def compare(self, size: int, check: str, checkpoint: Checkpoint) -> None:
        """The signed root of this size against the root of the leaves up to here."""
        if checkpoint.root == self.frontier.root():
            self.good = size
        else:
            self.find(check, Verdict.TAMPERED,
                      f"the first {size} entries do not have the root that was signed", self.good, size - 1)
            self.notes = {}

    def grammar(
        self, ledger: Ledger, index: int, record: dict[str, Any], digest: bytes, connection: apsw.Connection
    ) -> None:
        sid = record.get("sid")
        session = ledger.open.get(sid) if isinstance(sid, str) else None
        try:
            take(ledger, index, record, digest)
        except Tampered as error:
            self.ledger = None
            if error.check == "chain" and session is not None:
                rooted = record.get("root") == session.frontier.root().hex()
                before = self.is_predecessor_altered(connection, index, record, digest, rooted)
                if before and session.last >= 0:
                    error = Tampered("the session's next record does not follow from this entry",
                                     index=session.last, check="chain")
            self.tampered(error)
            return
        while ledger.unrooted:
            self.report.blame(ledger.unrooted.pop())
        for ended, (first, last) in ledger.ended.items():
            row = connection.execute("SELECT first, last FROM sessions WHERE sid = ?", (ended,)).fetchall()
            if row != [(first, last)]:
                self.find("sessions", Verdict.TAMPERED, f"the index of session {ended} is wrong", index)
        ledger.ended.clear()

    def is_predecessor_altered(
        self, connection: apsw.Connection, index: int, record: dict[str, Any], digest: bytes, rooted: bool
    ) -> bool:
        """A broken link means that one of its two ends was altered: which one does the next link say."""
        if record["type"] == "session_end":
            return not rooted
        marker = f'"sid":"{record["sid"]}"'.encode()
        rows = connection.execute(
            "SELECT leaf FROM entries WHERE idx > ? AND instr(leaf, ?) ORDER BY idx LIMIT 1", (index, marker)
        )
        for (leaf,) in rows:
            try:
                return bool(parse(bytes(leaf)).get("prev") == digest.hex())
            except (MalformedEntry, TypeError):
                break
        return True

    # ------------------------------------------------------------ payloads

    def payload(self, index: int, record: dict[str, Any], secret: Any, sealed: Any) -> None:
        """What is kept for this entry is what it committed to; nothing is kept for others."""
        self.keys += secret is not None
        self.sealed += sealed is not None
        said = record.get("payload")
        if said is None:
            if secret is not None or sealed is not None:
                self.find("payloads", Verdict.TAMPERED, "a payload of an entry that has none", index)
            return
        is_kept = "kept" not in said
        if secret == DESTROYED and sealed is None:
            secret = None
        if secret is None or (is_kept and sealed is None):
            self.disposal.lacks(index)
            return
        if type(secret) is not bytes or len(secret) != KEY_SIZE + SALT_SIZE:
            self.find("payloads", Verdict.TAMPERED, "the payload's key is damaged", index)
            return
        if not is_kept:
            if sealed is not None:
                self.find("payloads", Verdict.TAMPERED, "a payload that was said not to be kept", index)
            return
        try:
            content = unseal(secret[:KEY_SIZE], _blob(sealed))
            verify_commitment(said["commitment"], secret[KEY_SIZE:], content)
        except Undisclosed as error:
            self.find("payloads", Verdict.TAMPERED, str(error), index)
            return
        self.report.payloads += 1
        if len(content) != said["size"]:
            self.find("payloads", Verdict.TAMPERED, "the payload has another size than recorded", index)
        if record["type"] == "session_begin":
            self.principal(index, record, content)
        if self.bindings.concerns(record):
            self.binding(index, record, content)

    def binding(self, index: int, record: dict[str, Any], content: bytes) -> None:
        """What was executed by a ticket is what was approved."""
        try:
            said = orjson.loads(content)
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            self.find("payloads", Verdict.TAMPERED, "the payload is not a JSON object", index)
            return
        for problem in self.bindings.take(record, said):
            self.find("binding", Verdict.TAMPERED, problem, index)

    def principal(self, index: int, record: dict[str, Any], content: bytes) -> None:
        """The opaque id in a session's leaf is that of the person in its payload."""
        try:
            who = orjson.loads(content)
            expected = leaves.principal(self.pseudonyms, who["issuer"], who["subject"])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            expected = ""
        if record["principal"] != expected:
            self.find("payloads", Verdict.TAMPERED, "the session's principal is not who its payload names",
                      index)

    # ------------------------------------------------------------ after the last entry

    def tree(self, connection: apsw.Connection) -> None:
        """The head: its size, frontier and epoch against what the entries give."""
        report, size = self.report, self.frontier.size
        missing = [(wanted, found) for wanted, found in self.notes.items() if wanted > size]
        if missing:
            _, (check, checkpoint) = max(missing)
            self.find(check, Verdict.TAMPERED,
                      f"the key signed {checkpoint.size} entries, {size} are stored", size)
            self.ledger = None
        head = connection.execute("SELECT size, epoch, frontier FROM head").fetchall()
        if self.ledger is not None and head != [(size, self.ledger.starts, self.frontier.to_bytes())]:
            at = min(size, head[0][0]) if head and type(head[0][0]) is int else size
            self.find("tree", Verdict.TAMPERED, "the head does not fit the entries", at)
        elif self.good < size and self.ledger is not None and self.ledger.lags:
            report.unsigned = size - self.good
        elif self.good < size and not report.findings:
            self.find("tree", Verdict.TAMPERED, "entries beyond the signed checkpoint", self.good)
        if self.good == size:
            report.cover("tree", f"the root over {size} entries is the signed one")
        if self.ledger is not None:
            self.endorsed.measure(report, self.ledger.last_time)
            report.sessions = self.ledger.sessions
            report.open_sessions = len(self.ledger.open)
            report.intents = self.ledger.intents

    def index(self, connection: apsw.Connection) -> None:
        """The table of sessions says what the leaves say."""
        ledger = self.ledger
        if ledger is None:
            return
        stepped = f"; the clock had gone back at {ledger.stepped}, which say so" if ledger.stepped else ""
        self.report.cover("grammar", "each leaf is canonical, with the fields of its type")
        self.report.cover("clock", f"{self.report.entries} records in the order of their time{stepped}")
        self.report.cover("uncosigned", f"{self.report.size - self.report.cosigned} of {self.report.size} entries")
        for sid, session in ledger.open.items():
            row = connection.execute("SELECT first, last FROM sessions WHERE sid = ?", (sid,)).fetchall()
            if row != [(session.begin, None)]:
                self.find("sessions", Verdict.TAMPERED, f"the index of session {sid} is wrong", session.begin)
        if connection.execute("SELECT count(*) FROM sessions").get != ledger.sessions:
            self.find("sessions", Verdict.TAMPERED, "the index names sessions that the log does not hold")
        self.report.cover("sessions", (
            f"{ledger.sessions} sessions ({len(ledger.open)} open), {ledger.intents} requests: gapless, "
            "chained, one outcome each, reviews bound and by somebody else"
        ))

    def counts(self, connection: apsw.Connection) -> None:
        """No key and no payload belongs to an entry that is not there."""
        keys = connection.execute("SELECT count(*) FROM payload_keys").get
        sealed = connection.execute("SELECT count(*) FROM payloads").get
        if (keys, sealed) != (self.keys, self.sealed):
            self.find("payloads", Verdict.TAMPERED, "payloads or keys of entries that do not exist")
        self.report.cover("payloads", f"{self.report.payloads} opened, each is what was committed to")

    def erasures(self, connection: apsw.Connection) -> None:
        """What is not there was erased, what was erased is not there, and nothing of it was on hold."""
        for found in self.disposal.complaints(connection, self.folder):
            self.find(found.check, found.verdict, found.message, found.index)
        self.report.erased = self.disposal.erased
        if self.disposal.erasures:
            self.report.cover("erasure", f"{sum(self.report.erased.values())} payloads erased by "
                              f"{len(self.disposal.erasures)} records, nothing else is missing, nothing was on hold")
        for verdict, message, index in self.recordings.complaints(self.disposal.destroyed.by):
            self.find("recordings", verdict, message, index)
        if self.recordings.streams:
            self.report.cover("recordings", self.recordings.covered)

    def integrity(self, connection: apsw.Connection) -> None:
        """SQLite's own check of the file's structure: pages, order of keys, types of columns."""
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
        if problems != ["ok"]:
            self.find("store", Verdict.TAMPERED, f"the file is damaged: {'; '.join(map(str, problems))[:300]}")
        self.report.cover("store", "file structure, schema, no page outside it")

    def write_ahead_log(self) -> None:
        """Commits that SQLite leaves out because their frames are damaged. A gateway may be writing."""
        path = self.folder / f"{FILE}-wal"
        problem: str | None = None
        for attempt in range(_WAL_TRIES):
            if attempt:
                threading.Event().wait(0.05)
            problem = wal.damage(path)
            if problem is None:
                self.report.cover("write-ahead log", "no damaged frame")
                return
        self.find("write-ahead log", Verdict.INCOMPLETE, problem or "")
