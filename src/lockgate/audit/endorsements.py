"""What vouches for a log besides its own newest signature: older keys, kept checkpoints, witnesses, trust.

Apart from `verify`, which reads entries: this reads the small files beside them, and says by which key a
tree of some size has to be signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note, tree_of
from lockgate.audit.entry import parse
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import NOTE_LIMIT, NoteKey, parse_note
from lockgate.audit.evidence.policy import POLICY_LIMIT, Policy, parse_policy
from lockgate.audit.evidence.report import Report, counted
from lockgate.audit.evidence.timestamp import RESPONSE_LIMIT, Timestamp, verify_timestamp
from lockgate.audit.evidence.trust import KeyRange, Trust, key_of, ranges_of
from lockgate.audit.failures import MalformedEntry, UntrustedNote
from lockgate.audit.keys import CHECKPOINT_FILE, COSIGNED_FILE, POLICY_FILE
from lockgate.audit.tiles.disk import TILES_FOLDER
from lockgate.audit.tiles.layout import CHECKPOINT

ANCHOR = "anchor"
ANCHORS = "anchors"
COSIGNED = "cosigned checkpoint"


class Endorsements:
    """One verification's view of keys and of the checkpoints beside the log."""

    def __init__(
        self, folder: Path, pinned: NoteKey, trust: Trust | None, against: str | None, *, policy: Policy | None = None,
        believes_folder: bool = False,
    ) -> None:
        """`policy` is the witnesses' policy that was pinned besides a key. Without one the folder's own says who the
        witnesses are, as its own key does who signs: it counts where `believes_folder`, because nothing was pinned.
        """
        self.notes: list[tuple[str, str]] = []
        """Check and note of everything that was kept beside the entries."""
        self.rotations: list[int] = []
        """Indices of the changes of keys."""
        self._folder = folder
        self._pinned = pinned
        self._trust = trust
        self._against = against
        self._policy = policy if trust is None else trust.policy
        self._believes_folder = believes_folder
        self._unchecked = 0         # time-stamps that nobody says whom to trust for
        self._anchors: list[tuple[str, bytes, bytes]] = []
        self._cosigned_at: int | None = None     # Unix seconds: when the last one of the quorum cosigned
        self._ranges: tuple[KeyRange, ...] = (KeyRange(pinned, 1, None),)

    def read(self) -> Iterator[tuple[str, str]]:
        """Read the files, before the entries, which may grow meanwhile. Yields check and problem."""
        tiles = f"{TILES_FOLDER}/{CHECKPOINT}"
        for check, name in (("published checkpoint", CHECKPOINT_FILE), ("published checkpoint", tiles), (COSIGNED, COSIGNED_FILE)):
            path = self._folder / name
            try:
                if path.exists():
                    self.notes.append((check, path.read_bytes()[:NOTE_LIMIT].decode()))
            except (OSError, UnicodeDecodeError) as error:
                yield check, f"{path}: unreadable: {error}"
        if self._trust is not None and self._trust.authorities:
            yield from self._read_anchors()
        else:
            self._unchecked = len(list((self._folder / ANCHORS).glob("*.tsr")))
        if self._against is not None:       # last: where it contradicts one of the folder's, it is the one that says so
            self.notes.append(("kept checkpoint", self._against))

    def _read_anchors(self) -> Iterator[tuple[str, str]]:
        for path in sorted((self._folder / ANCHORS).glob("*.tsr")):
            try:
                note = path.with_suffix(".checkpoint").read_bytes()[:NOTE_LIMIT]
                self.notes.append((ANCHOR, note.decode()))
                self._anchors.append((path.name, note, path.read_bytes()[: RESPONSE_LIMIT + 1]))
            except (OSError, UnicodeDecodeError) as error:
                yield ANCHOR, f"{path}: unreadable: {error}"

    def take_rotations(self, rows: Iterable[tuple[int, bytes]]) -> Iterator[EvidenceError]:
        """The keys' ranges, from the leaves that may be changes of keys. What the leaves are is checked later."""
        changes: list[tuple[int, str, str]] = []
        for index, leaf in rows:
            try:
                record = parse(leaf)
            except MalformedEntry:
                continue
            if record["type"] == "key_rotate":
                changes.append((index, str(record["data"].get("old")), str(record["data"].get("new"))))
        self.rotations = [index for index, _, _ in changes]
        try:
            self._ranges = ranges_of(changes, self._pinned)
        except EvidenceError as error:
            yield error
        trust = self._trust
        if trust is not None and [known[:2] for known in self._ranges] != [known[:2] for known in trust.keys]:
            yield EvidenceError("trust", "the log changed its key where the trust note does not say so",
                                self.rotations[-1] if self.rotations else None, "untrusted")

    def open(self, check: str, note: str) -> Checkpoint:
        """A checkpoint by the key of its size. Raises `UntrustedNote` or `BrokenNote`."""
        tree = tree_of(note)
        try:
            key = key_of(self._ranges if self._trust is None else self._trust.keys, tree.size)
        except EvidenceError as error:
            raise UntrustedNote(error.message) from None
        return open_note(note, Verifier(key.name, key.public), cosigned=check != "checkpoint")

    def quorum(self, report: Report) -> Iterator[EvidenceError]:
        """How far witnesses vouch for the log, by the policy of the trust note or the pinned one."""
        policy = self._policy
        if policy is None:
            self._own_witnesses(report)
            return
        note = dict(self.notes).get(COSIGNED)
        if note is None:
            if not policy.is_quorum(set()):
                yield EvidenceError("quorum", "no checkpoint was cosigned by the quorum of witnesses",
                                    verdict="untrusted")
            return
        try:
            cosigners = policy.require_quorum(parse_note(note))
            report.cosigned = self.open(COSIGNED, note).size if cosigners else 0
            self._cosigned_at = policy.vouched_at(cosigners)
        except EvidenceError as error:
            yield error
        except UntrustedNote:
            return      # found where the note is compared
        else:
            report.cover("quorum", f"{counted(report.cosigned, 'entry', 'entries')} cosigned by "
                         f"{', '.join(name for name, _ in cosigners) or 'nobody, as the policy allows'}")

    def _own_witnesses(self, report: Report) -> None:
        """What the folder's own policy makes of it: to be known, and no finding, because nobody pinned it."""
        note = dict(self.notes).get(COSIGNED)
        path = self._folder / POLICY_FILE
        if note is None or not path.is_file():
            return
        try:
            policy = parse_policy(path.read_bytes()[:POLICY_LIMIT].decode())
            cosigners = policy.require_quorum(parse_note(note))
            size = self.open(COSIGNED, note).size
        except (OSError, UnicodeDecodeError) as error:
            report.notes.append(f"{POLICY_FILE} cannot be read: {error}")
        except EvidenceError as error:
            report.notes.append(f"by {POLICY_FILE} the cosigned checkpoint is none: {error.message}")
        except UntrustedNote:
            return      # found where the note is compared
        else:
            names = ", ".join(name for name, _ in cosigners) or "nobody, as it allows"
            seen = f"{counted(size, 'entry', 'entries')} cosigned by {names}"
            if self._believes_folder and cosigners:
                report.cosigned, self._cosigned_at = size, policy.vouched_at(cosigners)
                report.cover("quorum", f"{seen} of the folder's own {POLICY_FILE}")
            else:
                report.notes.append(f"{seen}, whom only the folder's own {POLICY_FILE} names: they count once they are "
                                    "pinned with --policy, or the organisation with --root")

    def anchored(self, report: Report) -> Iterator[EvidenceError]:
        """What time-stamping authorities say, as the trust note pins them."""
        if self._unchecked:
            report.notes.append(f"{counted(self._unchecked, 'time-stamp')} not checked: a trust note, pinned with --root, "
                                "names the authorities")
        if self._trust is None:
            return
        newest: Timestamp | None = None
        for name, note, response in self._anchors:
            try:
                found = verify_timestamp(response, note, self._trust.authorities)
            except EvidenceError as error:
                yield EvidenceError(error.check, f"{name}: {error.message}", verdict=error.verdict)
                continue
            newest = found if newest is None or found.time > newest.time else newest
        if newest is not None:
            when = datetime.fromtimestamp(newest.time, UTC).isoformat()
            report.cover(ANCHOR, f"{counted(len(self._anchors), 'time-stamp')}, the newest by {newest.authority} of {when}")

    def measure(self, report: Report, last_time: int) -> None:
        """How long ago the newest quorum was, at the last entry (milliseconds)."""
        if self._cosigned_at is not None:
            report.uncosigned_seconds = max(0, last_time // 1000 - self._cosigned_at)
