"""The right edge of a tiled tree: on each level the tile that is not full yet.

It is what a tree needs to grow by further leaves and to tell its root, like `tree.Frontier`, but in
whole tiles; the publisher writes what it lets go, the verifier compares it with what was published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lockgate.audit.tiles.layout import TILE_SIZE, WIDTH, Tile, tile_at
from lockgate.audit.tree import HASH_SIZE, Frontier, perfect_root


class Edge:
    """A tree of `size`; `tiles` are the hashes of the open tile of each level, from the leaves up."""

    __slots__ = ("size", "tiles")

    def __init__(self, size: int = 0, tiles: Sequence[bytes] = ()) -> None:
        widths = [size >> 8 * level & 0xFF for level in range((size.bit_length() + 7) // 8)]
        if [width * HASH_SIZE for width in widths] != [len(tile) for tile in tiles]:
            raise ValueError("an edge has as many hashes on each level as its size says")
        self.size = size
        self.tiles = list(tiles) or [b""]

    def grow(self, hashes: bytes) -> Iterator[tuple[Tile, bytes]]:
        """Add leaf hashes, at most as many as fill the open tile, and let go every tile that is full then."""
        self.size += len(hashes) // HASH_SIZE
        self.tiles[0] += hashes
        if len(self.tiles[0]) > TILE_SIZE:
            raise ValueError("these are more leaves than fill a tile")
        level = 0
        while len(self.tiles[level]) == TILE_SIZE:
            full = self.tiles[level]
            yield Tile(level, (self.size >> 8 * (level + 1)) - 1), full
            self.tiles[level] = b""
            level += 1
            if level == len(self.tiles):
                self.tiles.append(b"")
            self.tiles[level] += perfect_root(full)

    def reopen(self) -> bytes:
        """Take the leaves of the open tile back out, and return their hashes."""
        known, self.tiles[0] = self.tiles[0], b""
        self.size -= len(known) // HASH_SIZE
        return known

    def partial(self) -> list[tuple[Tile, bytes]]:
        """The partial tiles of the tree as it is now."""
        return [(tile_at(level, self.size >> 8 * (level + 1), self.size), hashes)
                for level, hashes in enumerate(self.tiles) if hashes]

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        return self.frontier().root()

    def frontier(self) -> Frontier:
        """The tree as it is now, without its tiles."""
        nodes = []
        for hashes in reversed(self.tiles):
            width, at = len(hashes) // HASH_SIZE, 0
            for half in (WIDTH >> bit for bit in range(1, 9)):
                if width & half:
                    nodes.append(perfect_root(hashes[at : at + half * HASH_SIZE]))
                    at += half * HASH_SIZE
        return Frontier(self.size, nodes)
