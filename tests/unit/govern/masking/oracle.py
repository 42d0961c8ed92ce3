"""A second, slow reading of what detection promises: every value searched by every detector, one by one.

No prefilter, no chunks, no joined values, votes counted row by row. Only the detectors' precise halves and
the type-specific encodings are shared with what is tested.
"""

from __future__ import annotations

from functools import lru_cache

from lockgate.govern.masking.column_types import Shape, shape_of
from lockgate.govern.masking.conceal import Concealer
from lockgate.govern.masking.detector import REDACTED, Detector
from lockgate.govern.masking.detectors import Active
from lockgate.govern.masking.search import Find, Search
from lockgate.govern.masking.voting import Terms
from lockgate.model import MaskMethod
from tests.unit.govern.masking.shapes import Row


class Thorough(Search):
    """A Search that asks every detector, whether its prefilter occurs or not."""

    def finds(self, value: bytes) -> list[Find]:
        return _finds(self.active, value) if len(value) < 1_000 else list(_kept(self.active, value))

    def finds_in(self, values: list[bytes]) -> list[list[Find]]:
        return [self.finds(value) for value in values]


def _finds(active: Active, value: bytes) -> list[Find]:
    return [(start, end, detector, method) for detector, method in active for start, end in detector.find(value)]


@lru_cache(maxsize=64)
def _kept(active: Active, value: bytes) -> tuple[Find, ...]:
    """Kept for the next format that the same long value comes in."""
    return tuple(_finds(active, value))


def spliced(value: bytes, finds: list[Find]) -> bytes | None:
    """From find to find: what lies under a find is hidden, neighbouring bytes of overlapping finds as one."""
    if any(find[3] is MaskMethod.NULL for find in finds):
        return None
    out = bytearray()
    at = 0
    while at < len(value):
        group = [find for find in finds if find[0] <= at < find[1]]
        if not group:
            following = min((find[0] for find in finds if find[0] > at), default=len(value))
            out += value[at:following]
            at = following
            continue
        end = at
        while True:
            group = [find for find in finds if find[0] < max(end, at + 1) and find[1] > at]
            if max(find[1] for find in group) == end:
                break
            end = max(find[1] for find in group)
        one = min(group, key=lambda find: find[2].name)
        is_readable = all(find[:2] == (at, end) and find[3] is MaskMethod.PARTIAL for find in group)
        out += one[2].partial(value[at:end]) if is_readable else REDACTED
        at = end
    return bytes(out)


def expected(
    rows: list[Row], active: Active, types: tuple[int, ...], binary: tuple[bool, ...], terms: Terms | None
) -> tuple[list[Row], dict[str, int]]:
    """The rows after masking, and how often each detector found something. No types: all columns are text
    of a COPY stream, or values of some type in a binary one.
    """
    masked: dict[str, int] = {}
    concealer = Concealer(Thorough(active, masked))
    counts: dict[tuple[int, str], int] = {}
    elected: dict[tuple[int, str], tuple[int, Detector]] = {}
    out: list[Row] = []
    for number, row in enumerate(rows):
        new: Row = []
        for column, value in enumerate(row):
            oid, is_binary = (types[column], binary[column]) if types else (None, binary[0])
            is_text = (
                shape_of(oid) is Shape.TEXT or (is_binary and oid == 17)
                if oid is not None
                else (not is_binary and value is not None and not _is_hex(value))
            )
            if value is None:
                new.append(None)
            elif not is_text:
                conceal = (
                    concealer.for_column(16384, binary=True)
                    if oid is None and is_binary
                    else (concealer.untyped if oid is None else concealer.for_column(oid, is_binary))
                )
                new.append(conceal(value))
            else:
                finds = concealer.search.finds(value)
                found = {find[2].name: find[2] for find in finds if find[2].suspect is not None}
                for name, detector in found.items():
                    key = (column, name)
                    counts[key] = counts.get(key, 0) + 1
                    if (
                        terms is not None
                        and key not in elected
                        and counts[key] >= terms.least
                        and (counts[key] / (number + 1) >= terms.share / 100)
                    ):
                        elected[key] = (number, detector)
                for (place, _), (since, detector) in elected.items():
                    if place == column and since < number and detector.suspect is not None:
                        mine = [find for find in finds if find[2] is detector]
                        method = dict(active)[detector]
                        finds += [
                            (start, end, detector, method)
                            for start, end in detector.suspect(value)
                            if all(end <= find[0] or find[1] <= start for find in mine)
                        ]
                for find in finds:
                    masked[find[2].name] = masked.get(find[2].name, 0) + 1
                new.append(spliced(value, finds) if finds else value)
        out.append(new)
    return out, masked


def _is_hex(value: bytes) -> bool:
    digits = value[2:]
    return value[:2] == b"\\x" and len(digits) % 2 == 0 and all(byte in b"0123456789abcdefABCDEF" for byte in digits)
