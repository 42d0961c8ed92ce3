"""Takes live backend credentials out of what is recorded: the second net.

The first one is that a credential reaches no stream that is recorded. Should one be in there all the same (an echo, a
dump of a settings table), its bytes become asterisks, as many as it had, so that what frames the bytes still adds up.

The credential is asked for when a chunk is scrubbed and forgotten with it (I6). What a cut between two pieces would
tear apart is held back until the next piece: less than the credential's own length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import re2

from lockgate.model import Secret

_LARGE: Final = 4_096
_FEW: Final = 2
SHORTEST: Final = 4
"""Bytes that a credential must have to be looked for: a shorter one is a part of anything."""

Credentials = Callable[[], Sequence[Secret]]
Key = tuple[str, int, str]
"""Kind of event, number of the exchange and its part; 0 and "" where there are none."""


class Needles:
    """The credentials of one moment, as something that finds them in bytes."""

    __slots__ = ("_pattern", "_texts")

    def __init__(self, secrets: Sequence[Secret]) -> None:
        texts = {secret.reveal().encode() for secret in secrets}
        self._texts = sorted((text for text in texts if len(text) >= SHORTEST), key=len, reverse=True)
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        self._pattern = re2.compile(b"|".join(map(re2.escape, self._texts)), options) if self._texts else None

    def replaced(self, data: bytes) -> bytes:
        """The bytes with asterisks where a credential was."""
        for text in self._texts:
            data = data.replace(text, b"*" * len(text))
        return data

    def is_in(self, data: bytes) -> bool:
        """Whether one of them is."""
        return self._pattern is not None and self._pattern.search(data) is not None

    def are_in_none(self, pieces: list[bytes]) -> bool:
        """Whether none of them is in a piece or across a border, nor begins at the end: without joining them."""
        if not self._texts:
            return True
        most = len(self._texts[0]) - 1
        before = b""
        for piece in pieces:
            if self.is_in(before + piece[:most]) or self.is_in(piece):
                return False
            before = (before + piece)[-most:] if len(piece) < most else piece[-most:]
        return not self.held(before)

    def held(self, data: bytes) -> int:
        """How many bytes at the end could be the beginning of a credential."""
        most = 0
        for text in self._texts:
            tail = data[1 - len(text):]
            at = tail.find(text[:1])
            while at >= 0 and len(tail) - at > most:
                if text.startswith(tail[at:]):
                    most = len(tail) - at
                    break
                at = tail.find(text[:1], at + 1)
        return most


class Scrubber:
    """One direction of one stream, some pieces at a time."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    @property
    def is_holding(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def take(self, pieces: list[bytes], needles: Needles) -> list[bytes]:
        """As many pieces, scrubbed: what was held back before comes in front of the first, and what may be a torn
        credential is missing at the end."""
        if not self._held and len(pieces[-1]) >= _LARGE and needles.are_in_none(pieces):
            return pieces
        data = self._held + b"".join(pieces)
        has_some, held = needles.is_in(data), needles.held(data)
        if not (has_some or held or self._held):
            return pieces
        ends = _ends(pieces, len(self._held))
        if has_some:
            data = needles.replaced(data)
            held = needles.held(data)
        last = len(data) - held
        self._held = data[last:]
        starts = (0, *ends[:-1])
        return [data[min(start, last):min(end, last)] for start, end in zip(starts, ends, strict=True)]

    def rest(self) -> bytes:
        """What is held back, when no more comes."""
        held, self._held = self._held, b""
        return held


class Scrubbers:
    """All that one stream records: what may be torn apart is one direction of a stream, or one part of an exchange in it."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[Key, Scrubber] = {}

    def take(self, pieces: Sequence[tuple[Key, bytes, bool]], needles: Needles) -> list[bytes]:
        """As many pieces, scrubbed. The bool says whether more with the same key may follow."""
        found = [data for _, data, _ in pieces]
        groups: dict[Key, list[int]] = {}
        for index, (key, _, _) in enumerate(pieces):
            groups.setdefault(key, []).append(index)
        if len(groups) > _FEW and self._are_clean(pieces, found, needles):
            return found
        for key, mine in groups.items():
            scrubber = self._open.pop(key, None) or Scrubber()
            for index, data in zip(mine, scrubber.take([found[index] for index in mine], needles), strict=True):
                found[index] = data
            last = mine[-1]
            if not pieces[last][2]:
                found[last] += scrubber.rest()
            elif scrubber.is_holding:
                self._open[key] = scrubber
        return found

    def rest(self) -> list[tuple[Key, bytes]]:
        """What is held back, when no more comes."""
        held = [(key, scrubber.rest()) for key, scrubber in self._open.items()]
        self._open.clear()
        return held

    def _are_clean(self, pieces: Sequence[tuple[Key, bytes, bool]], found: list[bytes], needles: Needles) -> bool:
        """Whether nothing has to be done, found out at once for all of them."""
        return not (self._open or needles.is_in(b"\n".join(found))
                    or any(more and needles.held(data) for _, data, more in pieces))


def _ends(pieces: list[bytes], before: int) -> list[int]:
    ends = []
    for piece in pieces:
        before += len(piece)
        ends.append(before)
    return ends
