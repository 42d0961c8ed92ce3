"""One stream: events become chunks, and chunks are durable when their mark is told.

Runs in the studio's threads, one call at a time. After an error the stream ends with the last chunk that is whole, and
the reel takes nothing more. Where the chunks go is `shelf`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lockgate.analysis.secrets import obscure
from lockgate.audit.evidence.recordings import ChunkTree
from lockgate.audit.recording.events import BYTES_LIMIT, INPUT, OUTPUT, Header, bytes_line, header_line
from lockgate.audit.recording.scrub import Credentials, Needles, Scrubber
from lockgate.audit.recording.sealing import PLAIN_LIMIT, Sealer
from lockgate.audit.recording.shelf import Medium
from lockgate.errors import AuditError, ConfigError

LINE: Final = 64
"""Bytes that an event takes beside its data, at most."""

Piece = tuple[float, str, bytes]
"""Seconds since the session began, kind, and bytes; of a kind without bytes its whole line."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a stream is on the disk: chunks, `size` in bytes of plaintext, and the root over the chunks."""

    chunks: int
    size: int
    root: bytes


class Reel:
    """One stream, open for appending."""

    def __init__(self, medium: Medium, header: Header, sealer: Sealer, credentials: Credentials) -> None:
        self._medium = medium
        self._header = header
        self._sealer = sealer
        self._credentials = credentials
        self._scrubbers = {INPUT: Scrubber(), OUTPUT: Scrubber()}
        self._tree = ChunkTree()
        self._bytes = 0
        self._at = 0.0

    @property
    def mark(self) -> Mark:
        """What is on the disk."""
        return Mark(self._tree.size, self._bytes, self._tree.root())

    def open(self) -> None:
        """Make the stream. Raises `AuditError`."""
        self._medium.open()

    def write(self, pieces: Sequence[Piece], *, is_last: bool = False) -> Mark:
        """Append chunks with these events and make them durable. Raises `AuditError` where they cannot be."""
        plain = b"".join(self._plain(pieces, is_last=is_last))
        if not plain:
            return self.mark
        # Where an event ends is of no account to chunks.
        chunks = [self._sealer.seal(some) for some in _cut(plain, PLAIN_LIMIT)]
        self._medium.append(chunks)
        for chunk in chunks:
            self._tree.append(chunk)
        self._bytes += len(plain)
        return self.mark

    def close(self) -> None:
        """Let go of the stream."""
        self._medium.close()

    def _plain(self, pieces: Sequence[Piece], *, is_last: bool) -> list[bytes | memoryview]:
        scrubbed = self._scrubbed(pieces)
        parts: list[bytes | memoryview] = []
        if not self._tree.size:
            parts.append(header_line(self._header))
        for (at, kind, _), data in zip(pieces, scrubbed, strict=True):
            if kind in self._scrubbers:
                _add(parts, at, kind, data)
            else:
                parts.append(data)
        if pieces:
            self._at = pieces[-1][0]
        if is_last:
            for kind, scrubber in self._scrubbers.items():
                _add(parts, self._at, kind, scrubber.rest())
        return parts

    def _scrubbed(self, pieces: Sequence[Piece]) -> list[bytes]:
        """The bytes of all pieces; the credential is known for the time of this call."""
        found = _without_secrets(pieces)
        try:
            needles = Needles(self._credentials())
        except ConfigError:
            raise AuditError("the backend credential cannot be read, so it could not be kept out of the recording") from None
        for kind, scrubber in self._scrubbers.items():
            mine = [index for index, piece in enumerate(pieces) if piece[1] == kind]
            if mine:
                for index, data in zip(mine, scrubber.take([found[index] for index in mine], needles), strict=True):
                    found[index] = data
        return found


def _without_secrets(pieces: Sequence[Piece]) -> list[bytes]:
    """The pieces with asterisks for what somebody sends as a credential (`analysis.secrets`). One that is torn apart
    between two calls is not seen; the recording is for its recipients alone.
    """
    found = [data for _, _, data in pieces]
    mine = [index for index, piece in enumerate(pieces) if piece[1] == INPUT]
    sent = b"".join([found[index] for index in mine])
    kept = obscure(sent)
    if kept is not sent:
        at = 0
        for index in mine:
            size = len(found[index])
            found[index] = kept[at : at + size]
            at += size
    return found


def _add(parts: list[bytes | memoryview], at: float, kind: str, data: bytes) -> None:
    """The event or, where it has more bytes than one may have, events."""
    if not data:
        return
    if len(data) <= BYTES_LIMIT:
        parts += (bytes_line(at, kind, len(data)), data, b"\n")
        return
    for some in _cut(data, BYTES_LIMIT):
        parts += (bytes_line(at, kind, len(some)), some, b"\n")


def _cut(data: bytes, limit: int) -> Iterator[memoryview]:
    """The bytes, so many at a time."""
    whole = memoryview(data)
    for start in range(0, len(data), limit):
        yield whole[start : start + limit]
