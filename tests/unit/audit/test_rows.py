"""Stored rows, some at a time: nothing that was read is lost, and one that is not as it was stored stands alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lockgate.audit import rows
from lockgate.audit.tree import leaf_hash
from lockgate.errors import AuditError

Stored = tuple[int, bytes, bytes]


def _stored(first: int, count: int) -> list[Stored]:
    return [(index, leaf_hash(b"%d" % index), b"%d" % index) for index in range(first, first + count)]


def test_rows_come_in_their_order() -> None:
    """Whatever their number is, none is left out and none comes twice."""
    for count in (0, 1, 255, 256, 257, 600):
        taken = list(rows.together(iter(_stored(0, count))))
        assert [row for some in taken for row in some] == _stored(0, count)
        assert all(0 < len(some) <= 256 for some in taken)


def test_large_rows_are_not_taken_together() -> None:
    """Payloads of megabytes do not pile up in memory."""
    large = [(index, b"", bytes(700_000)) for index in range(6)]
    assert [len(some) for some in rows.together(iter(large))] == [2, 2, 2]


def test_what_was_read_comes_before_the_failure() -> None:
    """A page that cannot be read does not hide the rows before it, which may have a fault of their own."""
    def damaged() -> Iterator[Stored]:
        yield from _stored(0, 300)
        raise AuditError("the log is damaged")

    found = rows.together(damaged())
    assert [len(next(found)), len(next(found))] == [256, 44]
    with pytest.raises(AuditError):
        next(found)


@pytest.mark.parametrize("row", [
    (4, leaf_hash(b"3"), b"3"), (3, leaf_hash(b"x"), b"3"), (3, leaf_hash(b"3"), "3"), (3, leaf_hash(b"3").hex(), b"3"),
    (3, None, b"3"), ("3", leaf_hash(b"3"), b"3"),
])
def test_rows_that_are_not_what_was_stored_are_not_taken_together(row: tuple[object, ...]) -> None:
    """One missing, altered, or of another type: then each row is looked at by itself."""
    assert rows.unbroken(_stored(0, 6), 0) == ([leaf for _, _, leaf in _stored(0, 6)], [digest for _, digest, _ in _stored(0, 6)])
    assert rows.unbroken(_stored(0, 6), 1) == ([], [])
    assert rows.unbroken([*_stored(0, 3), row, *_stored(4, 2)], 0) == ([], [])


def test_the_next_size_that_matters() -> None:
    """Rows are taken together up to each size of which a root is known, and that root is compared there."""
    assert [rows.before([3, 7], size) for size in (0, 2, 3, 6)] == [3, 1, 4, 1]
    assert rows.before([3, 7], 7) > 0
    assert rows.before([], 0) > 0
