"""Paths and bytes of tiles: one spelling each, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.audit.failures import MalformedEntry
from lockgate.audit.tiles.layout import Tile, bundle, parse_path, tile_at, tiles_of, unbundle


def test_paths_are_those_of_the_specification() -> None:
    """The examples of C2SP tlog-tiles: index 1234067, and a tree of 70,000."""
    assert Tile(3, 1_234_067).path == "tile/3/x001/x234/067"
    assert Tile(None, 273, 112).path == "tile/entries/273.p/112"
    tiles = list(tiles_of(70_000))
    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert [tile.path for tile in tiles if tile.width < 256] == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert [tile.path for tile in tiles_of(256)] == ["tile/0/000", "tile/1/000.p/1"]


@given(st.one_of(st.none(), st.integers(0, 63)), st.integers(0, 10**17), st.integers(1, 256))
def test_every_path_leads_back_to_its_tile(level: int | None, index: int, width: int) -> None:
    """Writing and reading a path are inverse."""
    assert parse_path(Tile(level, index, width).path) == Tile(level, index, width)


@pytest.mark.parametrize("path", [
    "", "checkpoint", "tile", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000", "tile/64/000",
    "tile/-1/000", "tile/data/000", "tile/entries/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256",
    "tile/0/000.p/01", "tile/0/000.p/1/", "tile/0/x000/001", "tile/0/001/000", "tile/0/x001/x000", "tile/0/x001",
    "/tile/0/000", "tile//000", "tile/0/../0/000", "tile/0/..", "tile/0/%2e%2e", "tile/0/000\n", "tile/0/000.new",
    "tile/0/٠٠٠", "tile/0/000\x00", "../log.key", "tile/0/" + "x999/" * 6 + "999", "tile/0/x001/" * 50 + "000",
])
def test_nothing_else_is_a_path(path: str) -> None:
    """No other spelling, no way out of the layout."""
    assert parse_path(path) is None


@given(st.text(alphabet="tile/0123456789x.pentris%\\", max_size=40))
def test_what_is_read_as_a_path_is_written_the_same(path: str) -> None:
    """There is one spelling of each path."""
    tile = parse_path(path)
    assert tile is None or tile.path == path


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_give_their_entries_back(entries: list[bytes]) -> None:
    """Bundling and reading are inverse, whatever the entries hold."""
    assert unbundle(bundle(entries), len(entries)) == entries


def test_broken_bundles_are_refused() -> None:
    """Too few, too many, cut in the length or in the entry."""
    whole = bundle([b"abc", b"", b"de"])
    for content, width in ((whole, 2), (whole, 4), (whole[:-1], 3), (whole + b"\0", 3), (whole[:1], 1), (b"", 1)):
        with pytest.raises(MalformedEntry):
            unbundle(content, width)


def test_a_tree_has_no_tile_beyond_its_size() -> None:
    """A width is that of the tree, and never zero."""
    assert tile_at(0, 0, 256) == Tile(0, 0)
    assert tile_at(1, 0, 511) == Tile(1, 0, 1)
    for level, index, size in ((0, 1, 256), (1, 0, 255), (None, 0, 0), (2, 0, 65_535)):
        with pytest.raises(ValueError, match="no such tile"):
            tile_at(level, index, size)
