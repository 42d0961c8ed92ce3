"""Bytes of a frame that has not arrived whole, joined once and not at every read.

Apart from the codecs because each needs it: `rest + data` at every read costs time quadratic in the
length of a large frame.
"""

from __future__ import annotations


class Backlog:
    """Holds the beginning of a frame until so many bytes are there as its header asks for."""

    __slots__ = ("_missing", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._missing = 0

    def keep(self, beginning: bytes, length: int) -> None:
        """Keep `beginning`; the frame is whole at `length` bytes (0: not known yet)."""
        self._pieces = [beginning]
        self._missing = max(length - len(beginning), 1)

    def take(self, data: bytes) -> bytes:
        """`data` behind what is kept, or nothing while the kept frame still is not whole."""
        if not self._pieces:
            return data
        self._pieces.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return b""
        whole = b"".join(self._pieces)
        self._pieces = []
        return whole

    def __len__(self) -> int:
        return sum(map(len, self._pieces))
