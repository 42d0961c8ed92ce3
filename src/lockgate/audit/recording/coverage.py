"""What is left of a recording, against what the log says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.recordings import CHUNK_LIMIT, RECORDING_MAGIC, ChunkTree, RecordedStreams
from lockgate.audit.recording.shelf import Readable, Shelf


def crash_coverage(shelf: Shelf, sid: str, recorded: RecordedStreams) -> dict[str, Any]:
    """What is left of a session that a crash ended: the chunks that are kept against the last marks."""
    is_lost = not all(_is_there(shelf, sid, stream, mark) for stream, mark in recorded.marks.items())
    return recorded.coverage("crash", is_lost=is_lost)


def _is_there(shelf: Shelf, sid: str, stream: str, mark: Mapping[str, Any]) -> bool:
    tree = ChunkTree()
    if not mark["chunks"]:
        return True
    try:
        with closing(shelf.read(sid, stream)) as file:
            for chunk in chunks_of(file):
                if tree.size == mark["chunks"]:
                    break
                tree.append(chunk)
    except (OSError, EvidenceError):
        return False
    return (tree.size, tree.root().hex()) == (mark["chunks"], mark["root"])


def chunks_of(file: Readable, rest: list[int] | None = None) -> Iterator[bytes]:
    """The whole chunks of a stream, one at a time; `rest` gets the number of bytes behind the last one, of a chunk that was
    being written when the gateway was killed. Raises OSError, and `EvidenceError` for what is no recording."""
    magic = file.read(len(RECORDING_MAGIC))
    if magic != RECORDING_MAGIC and not RECORDING_MAGIC.startswith(magic):
        raise EvidenceError("recordings", "the file is no recording")
    left = len(magic) if magic != RECORDING_MAGIC else 0
    while not left:
        head = file.read(4)
        length = int.from_bytes(head, "big")
        if len(head) < 4:
            left = len(head)
            break
        if not 0 < length <= CHUNK_LIMIT:
            raise EvidenceError("recordings", "a chunk has an impossible length")
        chunk = file.read(length)
        if len(chunk) < length:
            left = 4 + len(chunk)
            break
        yield chunk
    if rest is not None:
        rest.append(left)
