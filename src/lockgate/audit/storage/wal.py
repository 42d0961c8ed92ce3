"""Whether a write-ahead log holds frames that SQLite silently leaves out because they are damaged.

SQLite reads a write-ahead log up to the first frame whose checksum is wrong and takes that for its
end: right after a crash, but it also means that one flipped byte makes the newest commits vanish
without an error. Format: sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
_HEADER: Final = 32
_FRAME: Final = 24


def damage(path: Path) -> str | None:
    """What is wrong with a write-ahead log, or None (also where there is none)."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"the write-ahead log cannot be read: {error.strerror}"
    if not stored:
        return None
    if len(stored) < _HEADER:
        return "the write-ahead log's header is cut off"
    magic, _, page, _, salt1, salt2, sum1, sum2 = struct.unpack(">8I", stored[:_HEADER])
    order = _MAGIC.get(magic)
    if order is None or _checksum(order, stored[:24], 0, 0) != (sum1, sum2):
        return "the write-ahead log's header is damaged: what it holds is left out"
    if page < 512 or page > 65_536 or page & (page - 1):
        return "the write-ahead log's page size is wrong"
    return _frames(stored, order, page, (salt1, salt2), (sum1, sum2))


def _frames(
    stored: bytes, order: str, page: int, salts: tuple[int, int], sums: tuple[int, int]
) -> str | None:
    size = _FRAME + page
    for number, at in enumerate(range(_HEADER, len(stored) - size + 1, size)):
        _, _, salt1, salt2, sum1, sum2 = struct.unpack(">6I", stored[at : at + _FRAME])
        if (salt1, salt2) == salts:
            sums = _checksum(order, stored[at : at + 8], *sums)
            sums = _checksum(order, stored[at + _FRAME : at + size], *sums)
            if sums == (sum1, sum2):
                continue
        return _beyond(stored, range(at, len(stored) - size + 1, size), salts, number)
    return None


def _beyond(stored: bytes, rest: range, salts: tuple[int, int], number: int) -> str | None:
    """Frames behind the first invalid one must be left over from an earlier round: both salts differ."""
    for at in rest:
        salt1, salt2 = struct.unpack(">2I", stored[at + 8 : at + 16])
        if salt1 == salts[0] or salt2 == salts[1]:
            return f"the write-ahead log is damaged at frame {number}: newer commits are left out"
    return None


def _checksum(order: str, content: bytes, first: int, second: int) -> tuple[int, int]:
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return first, second
