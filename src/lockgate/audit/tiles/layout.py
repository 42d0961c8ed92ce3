"""C2SP tlog-tiles on paper: the paths of tiles and entry bundles, and the bytes inside them.

Tiles have a height of 8: 256 hashes of 32 bytes. A tile at level 0 holds leaf hashes, one above holds
the roots of full tiles below. The rightmost tile of a level is partial and names its width, so that a
path never changes its content. Pure, and strict: a path has one spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lockgate.audit.entry import LEAF_LIMIT
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.tree import HASH_SIZE

WIDTH: Final = 256
TILE_SIZE: Final = WIDTH * HASH_SIZE
BUNDLE_LIMIT: Final = WIDTH * (2 + LEAF_LIMIT)
"""No bundle of this log is longer, in bytes: the specification admits 16 times as much in an entry."""
CHECKPOINT: Final = "checkpoint"
COSIGNED: Final = "cosigned"
"""Beside it, and no part of C2SP tlog-tiles: the newest note that a quorum of witnesses cosigned, of this size or less."""
CHECKPOINT_LIMIT: Final = 16_384
"""A note with some hundred cosignatures."""
_PATH = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)
_TOP: Final = 63


@dataclass(frozen=True, slots=True)
class Tile:
    """The name of one resource. `level` is None for a bundle of entries; `width` is below 256 for a partial."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def folder(self) -> str:
        """Where the full tile is; the partial ones are in the folder of this name and ``.p``."""
        parts = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            parts.append(f"x{rest % 1000:03d}")
            rest //= 1000
        level = "entries" if self.level is None else str(self.level)
        return f"tile/{level}/{'/'.join(reversed(parts))}"

    @property
    def path(self) -> str:
        """``tile/<L>/<N>[.p/<W>]``, below the log's prefix."""
        return self.folder if self.width == WIDTH else f"{self.folder}.p/{self.width}"

    @property
    def limit(self) -> int:
        """Bytes that it has (a tile) or has at most (a bundle)."""
        return BUNDLE_LIMIT if self.level is None else self.width * HASH_SIZE

    @property
    def full(self) -> Tile:
        """The full tile at its place."""
        return Tile(self.level, self.index)


def parse_path(path: str) -> Tile | None:
    """The tile that a path names, or None for whatever is not exactly the path of one."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    level = None if found[1] == "entries" else int(found[1])
    width = WIDTH if found[3] is None else int(found[3])
    tile = Tile(level, int(found[2].replace("x", "").replace("/", "")), width)
    is_one = (level or 0) <= _TOP and (found[3] is None or width < WIDTH) and tile.path == path
    return tile if is_one else None


def tile_at(level: int | None, index: int, size: int) -> Tile:
    """The tile at this place in a tree of `size`: full, or as wide as it is there. ValueError for none."""
    width = min(WIDTH, (size >> 8 * (level or 0)) - index * WIDTH)
    if width <= 0:
        raise ValueError("the tree has no such tile")
    return Tile(level, index, width)


def tiles_of(size: int) -> Iterator[Tile]:
    """Every hash tile of a tree of `size`, from the leaves up."""
    level = 0
    while size >> 8 * level:
        for index in range(-(-(size >> 8 * level) // WIDTH)):
            yield tile_at(level, index, size)
        level += 1


def bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry after its length (u16, big-endian)."""
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def unbundle(content: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle. Raises `MalformedEntry` for more, fewer, or a cut one."""
    entries: list[bytes] = []
    at, size = 0, len(content)
    while at < size:
        begin = at + 2
        at = begin + int.from_bytes(content[at:begin], "big")
        if at > size or len(entries) == width:
            raise MalformedEntry("an entry bundle is not a row of whole entries")
        entries.append(content[begin:at])
    if len(entries) != width:
        raise MalformedEntry(f"an entry bundle holds {len(entries)} entries instead of {width}")
    return entries
