"""Publishes a store's log as tiles, again and again, reading and writing only what is new.

Order is what makes it safe: tiles and bundles, then a wait until they are on the disk, then the
checkpoint. So a checkpoint that can be seen has all its tiles, whenever the power fails. It comes from
the store's snapshot, so it is never ahead of what is durable there. Rules:

- A run continues from the published checkpoint, and first computes its root from the tiles on the disk:
  from the right edge each time, from every tile for the first time in a process.
- Tiles that do not give that root are made anew from the store, after the checkpoint was withdrawn.
- A store that contradicts a checkpoint which this log's key signed was rolled back or rewritten. That is
  not repaired: nothing is published, and what was published stays as evidence.
- Partial tiles stay until the run after the one that published the full one, for readers in between.

The file `checkpoint` beside the store is another statement, by another writer: `AuditLog` puts it there
from memory, also where nothing is published, so that the next start can tell a rolled back store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note, tree_of
from lockgate.audit.entry import parse
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.trust import key_of, ranges_of
from lockgate.audit.failures import Absent, BrokenNote, MalformedEntry, Tampered, UntrustedNote
from lockgate.audit.storage.contract import Source
from lockgate.audit.tiles.disk import TILES_FOLDER, Disk
from lockgate.audit.tiles.edge import Edge
from lockgate.audit.tiles.layout import (
    CHECKPOINT,
    CHECKPOINT_LIMIT,
    COSIGNED,
    WIDTH,
    Tile,
    bundle,
    tile_at,
    tiles_of,
)
from lockgate.audit.tiles.reader import Tiles, fetch_from
from lockgate.audit.tree import HASH_SIZE, Frontier, leaf_hash, perfect_root
from lockgate.errors import AuditError

_ROTATION: Final = b'"type":"key_rotate"'


class Publisher:
    """Publishes what `open_source` opens, into `disk`. `run` may be called from any thread. `cosigned` is the file with
    the newest note that witnesses cosigned, which goes along once its tree is published.
    """

    def __init__(
        self, open_source: Callable[[], Source], verifier: Verifier, disk: Disk, cosigned: Path | None = None,
    ) -> None:
        self._cosigned = cosigned
        self._open_source = open_source
        self._verifier = verifier
        self._disk = disk
        self._fetch = fetch_from(disk.root)
        self._lock = threading.Lock()
        self._is_checked = False
        self._superseded: list[Tile] = []

    def run(self) -> None:
        """Publish the log as it is now.

        Raises `Tampered` where store and publication contradict each other, `AuditError` or `OSError`
        where one of them cannot be read or written; the next run then starts over from what is there.
        """
        with self._lock, self._open_source() as source:
            head = source.head()
            if not head.note:
                return
            self._disk.prepare()
            new = self._newest(source, head.note)
            old = self._published(source)
            edge = self._resume(source, old, new)
            if edge.size < new.size:
                self._publish(source, edge, new, head.note)
            else:
                self._tidy()
            self._endorse(new.size)

    def _newest(self, source: Source, note: str) -> Checkpoint:
        """The store's checkpoint; by the key that the log was handed on to, where that was after this began."""
        try:
            return open_note(note, self._verifier)
        except BrokenNote:
            raise
        except UntrustedNote as error:
            try:
                self._verifier = _key_of(source, self._verifier, note)
            except (EvidenceError, MalformedEntry):
                raise error from None
            return open_note(note, self._verifier)

    def _endorse(self, size: int) -> None:
        """Whoever reads it judges it; here it only has to be of no larger tree than the checkpoint beside it."""
        if self._cosigned is None or not self._cosigned.exists():
            return
        with suppress(BrokenNote, Absent, MalformedEntry):
            note = fetch_from(self._cosigned.parent)(self._cosigned.name, CHECKPOINT_LIMIT).decode("utf-8", "replace")
            if tree_of(note).size <= size and note != self._endorsed():
                self._disk.endorse(note)

    def _endorsed(self) -> str:
        try:
            return self._fetch(COSIGNED, CHECKPOINT_LIMIT).decode("utf-8", "replace")
        except (Absent, MalformedEntry):
            return ""

    # ------------------------------------------------------------ where the last run left off

    def _published(self, source: Source) -> Checkpoint | None:
        """The published checkpoint, where this log's key signed it. Anything else counts as none."""
        try:
            note = self._fetch(CHECKPOINT, CHECKPOINT_LIMIT).decode()
            try:
                return open_note(note, self._verifier, cosigned=True)
            except BrokenNote:
                return None
            except UntrustedNote:
                return open_note(note, _key_of(source, self._verifier, note), cosigned=True)
        except (Absent, UntrustedNote, MalformedEntry, UnicodeDecodeError, EvidenceError):
            return None

    def _resume(self, source: Source, old: Checkpoint | None, new: Checkpoint) -> Edge:
        """The tree to go on with: the published one where it is whole, else the empty one."""
        if old is not None:
            if old.size > new.size or (old.size == new.size and old.root != new.root):
                raise Tampered(f"{old.size} entries were published, the store's checkpoint is of {new.size}",
                               index=min(old.size, new.size), check="published tiles")
            edge = self._whole(old)
            if edge is not None:
                return edge
            _require_prefix(source, old)
        self._disk.withdraw()
        self._is_checked = True
        self._superseded = []
        return Edge()

    def _whole(self, old: Checkpoint) -> Edge | None:
        """The edge of the published tiles, or None where they are not those of their checkpoint."""
        tiles = Tiles(self._fetch, old.size)
        try:
            edge = tiles.edge()
            if edge.root() != old.root or not (self._is_checked or self._is_whole(tiles)):
                return None
        except (Absent, Tampered, MalformedEntry):
            return None
        if not self._is_checked:
            self._superseded = [tile for tile in self._disk.partial() if _is_full(tile, old.size)]
            self._is_checked = True
        return edge

    def _is_whole(self, tiles: Tiles) -> bool:
        """Every full tile has the root that the tile above says, and every bundle is there."""
        for tile in tiles_of(tiles.size):
            assert tile.level is not None
            if tile.width == WIDTH:
                above = tiles.tile(tile_at(tile.level + 1, tile.index // WIDTH, tiles.size))
                at = tile.index % WIDTH * HASH_SIZE
                if perfect_root(tiles.tile(tile)) != above[at : at + HASH_SIZE]:
                    return False
            if tile.level == 0:
                entries = Tile(None, tile.index, tile.width)
                if not (self._disk.has(entries) or self._disk.has(entries.full)):
                    return False
        return True

    # ------------------------------------------------------------ what is new

    def _publish(self, source: Source, edge: Edge, new: Checkpoint, note: str) -> None:
        first, there = edge.size, {tile for tile, _ in edge.partial()}
        known = edge.reopen()
        for entries in _bundles(source, edge.size, new.size):
            hashes = b"".join(map(leaf_hash, entries))
            if not hashes.startswith(known):
                raise Tampered("the store's entries are not those that were published",
                               index=edge.size, check="published tiles")
            known = b""
            self._disk.put(tile_at(None, edge.size // WIDTH, new.size), bundle(entries))
            for tile, content in edge.grow(hashes):
                self._disk.put(tile, content)
        for tile, content in edge.partial():
            if tile not in there:
                self._disk.put(tile, content)
        if (edge.size, edge.root()) != (new.size, new.root):
            raise Tampered("the store's entries do not have the root that was signed",
                           index=first, check="published tiles")
        self._disk.settle()
        self._disk.announce(note)
        self._tidy()
        self._superseded = _outgrown(first, new.size)

    def _tidy(self) -> None:
        """Remove the partial tiles whose full ones an earlier run has published."""
        while self._superseded:
            self._disk.drop_partial(self._superseded[-1])
            self._superseded.pop()


def require_as_long(folder: Path, verifier: Verifier, size: int) -> None:
    """Raise `Tampered` where more entries than `size` were published from the log in a folder.

    For a start, before it appends to a store that was rolled back. Only what the key in use signed counts:
    whatever else is wrong with the tiles is for the publisher to find, and to repair.
    """
    try:
        note = fetch_from(folder / TILES_FOLDER)(CHECKPOINT, CHECKPOINT_LIMIT).decode()
        published = open_note(note, verifier, cosigned=True).size
    except (AuditError, UnicodeDecodeError):
        return
    if published > size:
        raise Tampered(f"the log was rolled back: {published} entries were published as tiles",
                       index=size, check="published tiles")


def _key_of(source: Source, verifier: Verifier, note: str) -> Verifier:
    """The key for a note's size, in a log that changed its key: `verifier` is the one in use now."""
    found = [(index, parse(leaf)) for index, _, leaf in source.leaves(containing=(_ROTATION,))]
    changes = [(index, str(record["data"].get("old")), str(record["data"].get("new")))
               for index, record in found if record["type"] == "key_rotate"]
    key = key_of(ranges_of(changes, verifier.key), tree_of(note).size)
    return Verifier(key.name, key.public)


def _bundles(source: Source, first: int, size: int) -> Iterator[list[bytes]]:
    """The entries from `first`, where a bundle begins, up to `size`, a bundle at a time."""
    rows = source.leaves(first, size - 1)
    while first < size:
        entries: list[bytes] = []
        for index, _, leaf in islice(rows, min(WIDTH, size - first)):
            if index != first + len(entries) or type(leaf) is not bytes:
                break
            entries.append(leaf)
        if len(entries) != min(WIDTH, size - first):
            raise Tampered("an entry is missing in the store", index=first + len(entries), check="entries")
        yield entries
        first += len(entries)


def _require_prefix(source: Source, old: Checkpoint) -> None:
    """Raise `Tampered` unless the store's first entries have the root that was published for them."""
    frontier = Frontier()
    for _, _, leaf in source.leaves(0, old.size - 1):
        frontier.append(leaf_hash(bytes(leaf)))
    if (frontier.size, frontier.root()) != (old.size, old.root):
        raise Tampered("the store does not hold the log whose checkpoint was published",
                       index=0, check="published tiles")


def _is_full(tile: Tile, size: int) -> bool:
    """Whether a tree of `size` has the full tile at this place."""
    return (tile.index + 1) * WIDTH <= size >> 8 * (tile.level or 0)


def _outgrown(old: int, new: int) -> list[Tile]:
    """The places where the tree of size `old` had a partial tile and that of size `new` has a full one."""
    levels = [level for level in range(8) if old >> 8 * level & 0xFF]
    places = [Tile(level, old >> 8 * (level + 1)) for level in levels]
    return [place for place in (Tile(None, old // WIDTH), *places) if _is_full(place, new)]
