"""Reading published tiles, wherever they are, and proofs from them in O(log n) reads.

A `Fetch` gets one resource and bounds what it reads; `fetch_from` is that of a folder, the one for URLs
is in `net`. What is read is not believed: widths are checked here, hashes by whoever has a signed root.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lockgate.audit.failures import Absent, MalformedEntry, Tampered
from lockgate.audit.tiles.edge import Edge
from lockgate.audit.tiles.layout import WIDTH, Tile, tile_at, unbundle
from lockgate.audit.tree import EMPTY_ROOT, HASH_SIZE, node_hash, perfect_root
from lockgate.errors import AuditError

Fetch = Callable[[str, int], bytes]
"""Path below the log's prefix and the most bytes it may have → content. Raises `Absent` where there is
none, `AuditError` where it cannot be had."""

_CACHED: Final = 64     # tiles of 8 KiB


def fetch_from(folder: Path) -> Fetch:
    """Reads below a folder. Follows no symbolic link in the last place."""

    def fetch(path: str, limit: int) -> bytes:
        place = folder / path
        try:
            if place.is_symlink():
                raise AuditError(f"{place}: a symbolic link is no part of a log")
            with place.open("rb") as file:
                content = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise Absent(f"{place}: is not there") from None
        except OSError as error:
            raise AuditError(f"{place}: {error.strerror}") from None
        if len(content) > limit:
            raise MalformedEntry(f"{place}: longer than {limit} bytes")
        return content

    return fetch


class Tiles:
    """The tiles of a tree of `size` that was published. Keeps the last ones that were read."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self.size = size
        self._fetch = fetch
        self._cache: OrderedDict[Tile, bytes] = OrderedDict()

    # ------------------------------------------------------------ resources

    def tile(self, tile: Tile) -> bytes:
        """The hashes of a tile. A partial one may have given way to the full one (C2SP tlog-tiles)."""
        known = self._cache.get(tile)
        if known is not None:
            self._cache.move_to_end(tile)
            return known
        content = self._get(tile)
        self._cache[tile] = content
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return content

    def _get(self, tile: Tile) -> bytes:
        try:
            content = self._fetch(tile.path, tile.limit)
        except Absent:
            if tile.width == WIDTH:
                raise
            content = self._fetch(tile.full.path, tile.full.limit)[: tile.limit]
        if len(content) != tile.limit:
            raise Tampered(f"{tile.path} has {len(content)} bytes instead of {tile.limit}",
                           index=first_of(tile), check="tiles")
        return content

    def entries(self, index: int) -> list[bytes]:
        """The entries of bundle `index`, as many as this tree has there."""
        tile = tile_at(None, index, self.size)
        try:
            return unbundle(self._fetch(tile.path, tile.limit), tile.width)
        except Absent:
            if tile.width == WIDTH:
                raise
            return unbundle(self._fetch(tile.full.path, tile.full.limit), WIDTH)[: tile.width]

    def entry(self, index: int) -> bytes:
        """The leaf with this number."""
        return self.entries(index // WIDTH)[index % WIDTH]

    def edge(self) -> Edge:
        """The right edge of the tree."""
        levels = range((self.size.bit_length() + 7) // 8)
        return Edge(self.size, [
            self.tile(tile_at(level, self.size >> 8 * (level + 1), self.size)) if self.size >> 8 * level & 0xFF else b""
            for level in levels
        ])

    # ------------------------------------------------------------ hashes and proofs

    def root(self, size: int) -> bytes:
        """The root over the first `size` leaves."""
        return self._range(0, self._within(size)) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """RFC 6962 §2.1.1: the audit path of leaf `index` in the tree of `size`."""
        first, last, path = 0, self._within(size), []
        if not 0 <= index < size:
            raise ValueError("the index is outside the tree")
        while last - first > 1:
            middle = first + _split(last - first)
            if index < middle:
                path.append(self._range(middle, last))
                last = middle
            else:
                path.append(self._range(first, middle))
                first = middle
        path.reverse()
        return path

    def consistency(self, old: int, new: int) -> list[bytes]:
        """RFC 6962 §2.1.2: that the tree of size `old` is a prefix of the one of size `new`; empty for 0."""
        first, last, path, whole = 0, self._within(new), [], True
        if not 0 <= old <= new:
            raise ValueError("the older size must not be above the newer one")
        while old and old < last:
            middle = first + _split(last - first)
            if old <= middle:
                path.append(self._range(middle, last))
                last = middle
            else:
                path.append(self._range(first, middle))
                first, whole = middle, False
        if not whole:
            path.append(self._range(first, last))
        path.reverse()
        return path

    def _within(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise ValueError("the published tree is smaller")
        return size

    def _range(self, first: int, last: int) -> bytes:
        """The hash over leaves `first` to `last`, excluded, as RFC 6962 divides them."""
        count = last - first
        if count & (count - 1) == 0:
            return self._perfect(first, count)
        middle = first + _split(count)
        return node_hash(self._perfect(first, middle - first), self._range(middle, last))

    def _perfect(self, first: int, count: int) -> bytes:
        """The root of a perfect subtree: some hashes of the one tile that it lies in."""
        level, bits = divmod(count.bit_length() - 1, 8)
        at = first >> 8 * level
        hashes = self.tile(tile_at(level, at // WIDTH, self.size))
        begin = at % WIDTH * HASH_SIZE
        return perfect_root(hashes[begin : begin + (HASH_SIZE << bits)])


def _split(count: int) -> int:
    """The largest power of two below `count` (RFC 6962's k)."""
    return 1 << ((count - 1).bit_length() - 1)


def first_of(tile: Tile) -> int:
    """The first leaf below a tile."""
    return tile.index * WIDTH << 8 * (tile.level or 0)
