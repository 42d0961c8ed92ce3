"""Verification of a published log, folder or URL, by somebody who trusts nothing but a verifier key.

Every entry is hashed again, into every tile and into the signed root; then the grammar of entries and
sessions. Texts are not published, so they are withheld here and said to be. Nothing raises: what
cannot be read is a finding. `audit.verify` does the same for the store's own folder, with the texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note, tree_of
from lockgate.audit.evidence.contents import Contents, PlacedLeaf
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import parse_note
from lockgate.audit.evidence.policy import Policy
from lockgate.audit.evidence.report import Report, Verdict, counted
from lockgate.audit.evidence.trust import KeyRange, Trust, key_of, ranges_of
from lockgate.audit.failures import Absent, BrokenNote, MalformedEntry, Tampered, UntrustedNote
from lockgate.audit.keys import VERIFIER_FILE, read_verifier
from lockgate.audit.tiles.edge import Edge
from lockgate.audit.tiles.layout import CHECKPOINT, CHECKPOINT_LIMIT, COSIGNED, WIDTH, Tile
from lockgate.audit.tiles.reader import Fetch, Tiles, first_of
from lockgate.audit.tree import HASH_SIZE, leaf_hashes
from lockgate.errors import AuditError

_SUCCESSION = ("; where the log changed its key, pin the newest key, or give --trust and --root: tiles alone do not show "
               "that an older key handed on")


def verify_tiles(
    fetch: Fetch, place: str, *, key: Path | None = None, against: str | None = None, trust: Trust | None = None,
    policy: Policy | None = None,
) -> Report:
    """Check what `fetch` reads from `place`, a folder or a URL. `key` is the pinned verifier key file.

    Without it, a folder's own is taken (beside the tiles, where the gateway leaves it); a URL has none.
    `trust` is the organisation's trust note, which says which key counts for which size, in its place, and which
    witnesses; besides a key `policy` says that.
    `against` is a signed checkpoint that was kept elsewhere.
    """
    report = Report(place, is_key_pinned=key is not None or trust is not None)
    try:
        ranges = (KeyRange(read_verifier(key or Path(place).parent / VERIFIER_FILE).key, 1, None),) if trust is None \
            else trust.keys
    except UntrustedNote as error:
        report.find("key", Verdict.UNTRUSTED, f"{error}; give it with --key")
        return report
    report.origin = ranges[-1].key.name
    report.cover("key", ranges[-1].key.vkey)
    _Run(report, fetch, ranges, trust, policy).all(against)
    return report


class _Run:
    """One verification: what the checks share."""

    def __init__(
        self, report: Report, fetch: Fetch, ranges: tuple[KeyRange, ...], trust: Trust | None, policy: Policy | None,
    ) -> None:
        self.report = report
        self.fetch = fetch
        self.ranges = ranges
        self.trust = trust
        self.policy = policy if trust is None else trust.policy
        self.contents = Contents(report, 0, None)

    def find(self, check: str, verdict: Verdict, message: str, index: int | None = None) -> None:
        self.report.find(check, verdict, message, index)

    def all(self, against: str | None) -> None:
        """Every check, in order. Entries are read up to the first that is not what the root says."""
        cosigned = self.cosigned()      # read first: what is published grows, and this is of no larger tree
        checkpoint = self.checkpoint()
        if checkpoint is None:
            return
        tiles = Tiles(self.fetch, checkpoint.size)
        try:
            self.signed(self.grown(tiles), checkpoint)
            self.keys_in_use(checkpoint)
            if self.contents.is_second_look_due:
                self.contents.look_again(self.leaves(tiles))
            self.contents.finish()
            kept = None if against is None else self.open("kept checkpoint", against)
            if kept is not None:
                self.extends(tiles, checkpoint, kept)
            self.quorum(tiles, checkpoint, {"cosigned checkpoint": cosigned, "kept checkpoint": against})
            self.report.cover_tail()
        except Absent as error:
            self.find("tiles", Verdict.INCOMPLETE, str(error), self.report.entries)
        except Tampered as error:
            self.find(error.check, Verdict.TAMPERED, str(error), error.index)
        except MalformedEntry as error:
            self.find("entries", Verdict.TAMPERED, str(error), self.report.entries)
        except AuditError as error:
            self.find("tiles", Verdict.INCOMPLETE, str(error), self.report.entries)

    # ------------------------------------------------------------ signatures

    def checkpoint(self) -> Checkpoint | None:
        try:
            note = self.fetch(CHECKPOINT, CHECKPOINT_LIMIT).decode()
        except UnicodeDecodeError:
            self.find("checkpoint", Verdict.TAMPERED, "the checkpoint is not UTF-8")
        except MalformedEntry as error:
            self.find("checkpoint", Verdict.TAMPERED, str(error))
        except AuditError as error:
            self.find("checkpoint", Verdict.INCOMPLETE, str(error))
        else:
            checkpoint = self.open("checkpoint", note)
            if checkpoint is not None:
                self.report.size = checkpoint.size
                self.report.cover("checkpoint", f"{counted(checkpoint.size, 'entry', 'entries')}, signed by {checkpoint.origin}")
            return checkpoint
        return None

    def open(self, check: str, note: str) -> Checkpoint | None:
        """A note that must be of this log, by the key of its size."""
        try:
            key = key_of(self.ranges, tree_of(note).size)
            return open_note(note, Verifier(key.name, key.public), cosigned=check != "checkpoint")
        except EvidenceError as error:
            self.report.blame(error)
        except BrokenNote as error:
            self.find(check, Verdict.TAMPERED, str(error))
        except UntrustedNote as error:
            self.find(check, Verdict.UNTRUSTED, f"{error}{'' if self.trust is not None else _SUCCESSION}")
        return None

    def cosigned(self) -> str | None:
        """The note that witnesses cosigned, where one is published and somebody can judge it."""
        if self.policy is None:
            return None
        try:
            return self.fetch(COSIGNED, CHECKPOINT_LIMIT).decode()
        except Absent:
            return None
        except (UnicodeDecodeError, AuditError) as error:
            self.find("cosigned checkpoint", Verdict.TAMPERED, f"it cannot be read: {error}")
            return None

    def quorum(self, tiles: Tiles, checkpoint: Checkpoint, notes: Mapping[str, str | None]) -> None:
        """How far the pinned witnesses vouch for the log. What was kept may be cosigned as well."""
        policy = self.policy
        if policy is None:
            return
        for check, note in notes.items():
            tree = None if note is None else self.open(check, note)
            if note is None or tree is None:
                continue
            try:
                found = policy.cosignatures(parse_note(note))
                when = policy.vouched_at(found)
            except EvidenceError as error:
                self.report.blame(error)
                continue
            if tree.size > checkpoint.size or tiles.root(tree.size) != tree.root:
                self.find(check, Verdict.TAMPERED, f"the tree of {tree.size} entries is not the beginning of this one", 0)
            elif when is not None and tree.size > self.report.cosigned:
                self.report.cosigned = tree.size
                if self.contents.ledger is not None:
                    newest = self.contents.ledger.last_time // 1000
                    self.report.uncosigned_seconds = max(0, newest - when)
                self.report.cover("quorum", f"{counted(tree.size, 'entry', 'entries')} cosigned by {', '.join(name for name, _ in found)}")
        if not policy.is_quorum(set()) and not self.report.cosigned:
            self.find("quorum", Verdict.UNTRUSTED, "no checkpoint was cosigned by the quorum of witnesses")

    def keys_in_use(self, checkpoint: Checkpoint) -> None:
        """The log changed its key where it says so, and nowhere else; the trusted key is the one in use now."""
        ledger = self.contents.ledger
        if ledger is None:
            return
        last = ledger.rotations[-1][0] if ledger.rotations else None
        pinned = self.ranges[-1].key
        try:
            found = ranges_of(ledger.rotations, pinned)
            if self.trust is not None and [known[:2] for known in found] != [known[:2] for known in self.ranges]:
                raise EvidenceError("trust", "the log changed its key where the trust note does not say so", last, "untrusted")
            if self.trust is None and key_of(found, checkpoint.size) != pinned:
                raise EvidenceError("rotation", "the log goes on with another key than the trusted one", last, "untrusted")
            self.ranges = found
        except EvidenceError as error:
            self.report.blame(error)

    def signed(self, edge: Edge, checkpoint: Checkpoint) -> None:
        if edge.root() != checkpoint.root:
            self.find("checkpoint", Verdict.TAMPERED,
                      f"the {edge.size} entries do not have the root that was signed", 0)
            return
        entries = counted(edge.size, "entry", "entries")
        self.report.cover("tree", f"the root over {entries} is the signed one")
        self.report.cover("manifest", f"the tiles of a tree of {entries}, each holds the hashes of what is below it")

    def extends(self, tiles: Tiles, checkpoint: Checkpoint, kept: Checkpoint) -> None:
        """The log is the one whose checkpoint was kept, or a later state of it."""
        if kept.size > checkpoint.size:
            self.find("kept checkpoint", Verdict.TAMPERED,
                      f"the key signed {kept.size} entries, {checkpoint.size} are published", checkpoint.size)
        elif tiles.root(kept.size) != kept.root:
            self.find("kept checkpoint", Verdict.TAMPERED,
                      f"the first {kept.size} entries do not have the root that was signed", 0)
        elif not self.report.findings:
            self.report.cover("kept checkpoint", f"{counted(kept.size, 'entry', 'entries')}, still the first ones")

    # ------------------------------------------------------------ entries and tiles

    def grown(self, tiles: Tiles) -> Edge:
        """The tree over all entries, after each of its tiles was compared with the published one."""
        edge = Edge()
        while edge.size < tiles.size:
            leaves = tiles.entries(edge.size // WIDTH)
            hashes = leaf_hashes(leaves)
            self.contents.take_all(edge.size, leaves, hashes, edge.frontier)
            self.report.entries = edge.size + len(leaves)
            for tile, content in edge.grow(b"".join(hashes)):
                _compare(tiles, tile, content)
        for tile, content in edge.partial():
            _compare(tiles, tile, content)
        self.report.cover("entries", f"{counted(edge.size, 'leaf', 'leaves')} hashed again, leaf by leaf")
        self.report.cover("grammar", "each leaf is canonical, with the fields of its type")
        return edge

    def leaves(self, tiles: Tiles) -> Iterator[PlacedLeaf]:
        """All leaves once more."""
        for bundle in range(-(-tiles.size // WIDTH)):
            for at, leaf in enumerate(tiles.entries(bundle)):
                yield PlacedLeaf(bundle * WIDTH + at, leaf, b"", False)


def _compare(tiles: Tiles, tile: Tile, content: bytes) -> None:
    """Raise `Tampered` at the first entry whose hash the published tile does not give."""
    published = tiles.tile(tile)
    for at in range(0, len(content), HASH_SIZE):
        if published[at : at + HASH_SIZE] != content[at : at + HASH_SIZE]:
            index = first_of(tile) + (at // HASH_SIZE << 8 * (tile.level or 0))
            raise Tampered(f"{tile.path} does not hold the hash of what is below it", index=index, check="tiles")
