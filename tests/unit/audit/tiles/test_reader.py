"""Proofs from tiles against the tree's own, and what a reader takes for a tile."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.audit.failures import Absent, MalformedEntry, Tampered
from lockgate.audit.tiles.layout import Tile
from lockgate.audit.tiles.reader import Tiles, fetch_from
from lockgate.audit.tree import consistency_proof, inclusion_proof, leaf_hash, tree_root
from lockgate.errors import AuditError
from tests.unit.audit.tiles.published import LEAVES, Memory, expected, publisher

HASHES = [leaf_hash(leaf) for leaf in LEAVES]
SIZES = (1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 699, 700)


class Counted:
    """Tiles in memory that count what is asked of them."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []

    def __call__(self, path: str, limit: int) -> bytes:
        self.asked.append(path)
        if path not in self.files:
            raise Absent(path)
        return self.files[path]


@pytest.fixture
def fetch() -> Counted:
    return Counted(expected(LEAVES))


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_proofs_are_those_of_the_tree(fetch: Counted, size: int) -> None:
    """For any index and any smaller size, hash by hash."""
    tiles = Tiles(fetch, len(LEAVES))
    assert tiles.root(size) == tree_root(HASHES[:size])
    for index in {0, 1 % size, size // 2, size - 1, 255 % size, 256 % size, 300 % size}:
        assert tiles.inclusion(index, size) == inclusion_proof(index, HASHES[:size])


@pytest.mark.parametrize("old", SIZES)
def test_consistency_proofs_are_those_of_the_tree(fetch: Counted, old: int) -> None:
    """Between any two sizes; none is needed from the empty tree or to itself."""
    tiles = Tiles(fetch, len(LEAVES))
    for new in SIZES:
        if old <= new:
            assert tiles.consistency(old, new) == consistency_proof(old, HASHES[:new])
    assert tiles.consistency(0, old) == []


def test_a_proof_reads_few_tiles(fetch: Counted) -> None:
    """At most two tiles of each level: the one on the way and the one on the edge."""
    for index in (0, 255, 256, 699):
        fetch.asked.clear()
        Tiles(fetch, 700).inclusion(index, 700)
        assert len(fetch.asked) == len(set(fetch.asked)) <= 4


def test_what_the_tree_does_not_have_is_refused(fetch: Counted) -> None:
    """Indices and sizes outside the published tree are errors of the caller."""
    tiles = Tiles(fetch, 700)
    for wrong in (lambda: tiles.inclusion(700, 700), lambda: tiles.inclusion(0, 701), lambda: tiles.root(701),
                  lambda: tiles.consistency(2, 1), lambda: tiles.consistency(1, 701), lambda: tiles.inclusion(0, 0)):
        with pytest.raises(ValueError, match=r"smaller|outside|above"):
            wrong()


def test_a_partial_tile_may_have_given_way_to_the_full_one(fetch: Counted) -> None:
    """Who holds an older checkpoint reads the beginning of the full tile, and of the full bundle."""
    fetch.files = {**expected(LEAVES), "tile/1/000.p/1": expected(LEAVES[:300])["tile/1/000.p/1"]}
    tiles = Tiles(fetch, 300)
    assert tiles.root(300) == tree_root(HASHES[:300])
    assert tiles.entry(299) == LEAVES[299]
    assert "tile/0/001.p/44" in fetch.asked
    assert "tile/entries/001" in fetch.asked


def test_a_tile_of_another_width_is_tampered_with(fetch: Counted) -> None:
    """A hash more or less, or a piece of one, is not read over."""
    for cut in (-32, -1):
        fetch.files = {**expected(LEAVES), "tile/0/001": expected(LEAVES)["tile/0/001"][:cut]}
        with pytest.raises(Tampered) as found:
            Tiles(fetch, 700).tile(Tile(0, 1))
        assert found.value.index == 256
    fetch.files = {"tile/entries/000.p/2": b"\0\1a"}
    with pytest.raises(MalformedEntry):
        Tiles(fetch, 2).entries(0)
    fetch.files = {}
    with pytest.raises(Absent):
        Tiles(fetch, 256).entries(0)
    with pytest.raises(Absent):
        Tiles(fetch, 256).tile(Tile(0, 0))


def test_a_folder_is_read_within_bounds(tmp_path: Path) -> None:
    """Not beyond the limit, not through a symbolic link, and a folder is not a file."""
    publisher(tmp_path / "tiles", Memory(LEAVES[:5])).run()
    fetch = fetch_from(tmp_path / "tiles")
    assert fetch("tile/0/000.p/5", 160) == b"".join(HASHES[:5])
    with pytest.raises(MalformedEntry, match="longer than 159"):
        fetch("tile/0/000.p/5", 159)
    (tmp_path / "secret").write_text("canary")
    (tmp_path / "tiles/tile/0/001").symlink_to(tmp_path / "secret")
    with pytest.raises(AuditError, match="symbolic link"):
        fetch("tile/0/001", 8192)
    with pytest.raises(AuditError):
        fetch("tile/0", 8192)
    for path in ("tile/0/002", "tile/0/000.p/5/6"):
        with pytest.raises(Absent):
            fetch(path, 8192)
