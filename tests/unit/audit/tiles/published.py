"""What a publication must be, by the words of C2SP tlog-tiles, and stores and disks that tests control."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.checkpoint import Checkpoint, Signer, Verifier, open_note
from lockgate.audit.keys import read_verifier
from lockgate.audit.storage.contract import Head
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tiles.disk import Disk
from lockgate.audit.tiles.layout import Tile
from lockgate.audit.tiles.publisher import Publisher
from lockgate.audit.tree import leaf_hash, tree_root

SIGNER = Signer("lockgate.test/tiles", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
LEAVES = tuple(b'{"n":%d,"pad":"%s"}' % (number, b"x" * (number * 37 % 90)) for number in range(700))


class Memory:
    """A store's snapshot in memory, signed as a log signs."""

    origin = SIGNER.verifier.name
    pseudonyms = bytes(32)

    def __init__(self, entries: tuple[bytes, ...], signer: Signer = SIGNER) -> None:
        self.entries = entries
        root = tree_root([leaf_hash(leaf) for leaf in entries])
        self.note = signer.sign(Checkpoint(self.origin, len(entries), root)) if entries else ""
        self.read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def head(self) -> Head:
        return Head(len(self.entries), 1, b"", self.note)

    def leaves(self, first: int = 0, last: int | None = None, containing: Any = ()) -> Iterator[tuple[int, bytes, bytes]]:
        for index in range(first, len(self.entries) if last is None else min(len(self.entries), last + 1)):
            self.read += 1
            yield index, leaf_hash(self.entries[index]), self.entries[index]


def publisher(root: Path, source: Any, disk: Disk | None = None) -> Publisher:
    return Publisher(lambda: source, SIGNER.verifier, disk or Disk(root))


def publisher_of(log: Path, root: Path | None = None) -> Publisher:
    """A publisher of a real log's folder, as the gateway makes it."""
    return Publisher(lambda: open_source(log), read_verifier(log / "log.vkey"), Disk(root or log / "tiles"), log / "cosigned")


@cache
def expected(entries: tuple[bytes, ...]) -> dict[str, bytes]:
    """Path → content of all tiles and bundles of a tree over these entries, naively."""
    hashes = [leaf_hash(entry) for entry in entries]
    found: dict[str, bytes] = {}
    level = 0
    while hashes:
        for at in range(0, len(hashes), 256):
            part = hashes[at : at + 256]
            found[Tile(level, at // 256, len(part)).path] = b"".join(part)
            if level == 0:
                rows = entries[at : at + 256]
                found[Tile(None, at // 256, len(rows)).path] = b"".join(
                    len(entry).to_bytes(2, "big") + entry for entry in rows)
        level += 1
        hashes = [tree_root(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)]
    return found


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def require_valid(root: Path, entries: tuple[bytes, ...], verifier: Verifier = SIGNER.verifier) -> int:
    """The size that is published; fails unless everything that its checkpoint needs is there. 0 for none."""
    if not (root / "checkpoint").exists():
        return 0
    size = open_note((root / "checkpoint").read_text(), verifier).size
    there = files(root)
    for path, content in expected(entries[:size]).items():
        full = path.partition(".p/")[0]
        held = there[path] if path in there else there.get(full, b"")[: len(content)]
        assert held == content, path
    return size


class PowerLoss(Exception):
    """The machine is off."""


class FailingDisk(Disk):
    """Loses power before its step number `at`, and with it what was not settled: all, or every second file."""

    def __init__(self, root: Path, at: int, *, half: bool = False) -> None:
        super().__init__(root)
        self.at = at
        self.half = half
        self.steps = 0
        self.volatile: list[Path] = []

    def step(self) -> None:
        if self.steps == self.at:
            for path in self.volatile[:: 2 if self.half else 1]:
                path.write_bytes(b"")       # the name is in the folder, the content never came
            raise PowerLoss
        self.steps += 1

    def put(self, tile: Tile, content: bytes) -> None:
        self.step()
        super().put(tile, content)
        self.volatile.append(self.root / tile.path)

    def settle(self) -> None:
        self.step()
        super().settle()
        self.volatile.clear()

    def announce(self, note: str) -> None:
        self.step()
        super().announce(note)

    def withdraw(self) -> None:
        self.step()
        super().withdraw()

    def drop_partial(self, tile: Tile) -> None:
        self.step()
        super().drop_partial(tile)


class Forgetful(FailingDisk):
    """A publisher on it would announce before anything is on the disk."""

    def settle(self) -> None:
        self.step()
