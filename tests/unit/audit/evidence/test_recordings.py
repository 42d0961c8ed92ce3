"""Chunks of a recording against the marks that the log holds of them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from lockgate.audit.evidence.archive import Member
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.recordings import CHUNK_LIMIT, RECORDING_MAGIC, ChunkTree, require_marks
from lockgate.audit.evidence.streams import recorded_chunks
from tests.unit.audit.logs import chunk_root

CHUNKS = [os.urandom(5 + number) for number in range(9)]


def contained(chunks: list[bytes]) -> bytes:
    return RECORDING_MAGIC + b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in chunks)


def mark(count: int, *, final: bool = False, stream: str = "client", **other: Any) -> dict[str, Any]:
    data = {"stream": stream, "chunks": count, "bytes": 10 * count, "root": chunk_root(CHUNKS[:count]).hex(),
            "final": final, **other}
    return {"type": "rec_mark", "index": 100 + count, "data": data}


def chunks_in(data: bytes) -> list[bytes]:
    """As the verifier reads them out of an archive, here with something before the file and behind it."""
    archive, member = b"before" + data + b"\0\0\0\5behind", Member("recordings/s/client.rec", 6, len(data), "")
    return list(recorded_chunks(member, lambda offset, size: archive[offset:offset + size]))


def test_the_root_is_that_of_rfc_6962_while_it_grows() -> None:
    """A chunk's tree is the log's own kind of tree, over ciphertext; each mark holds the root of a prefix."""
    tree = ChunkTree()
    for count, chunk in enumerate(CHUNKS):
        assert tree.root() == chunk_root(CHUNKS[:count])
        tree.append(chunk)
    assert (tree.root(), tree.size) == (chunk_root(CHUNKS), len(CHUNKS))


def test_a_file_gives_back_its_chunks() -> None:
    """Length-prefixed chunks behind the magic; one as long as a chunk can be is one."""
    assert chunks_in(contained(CHUNKS)) == CHUNKS
    assert chunks_in(contained([])) == []
    assert chunks_in(contained([bytes(CHUNK_LIMIT)])) == [bytes(CHUNK_LIMIT)]


def test_every_cut_inside_a_chunk_is_refused() -> None:
    """A packed recording ends with a whole chunk, and nothing behind it in the archive is taken for the rest."""
    whole = contained(CHUNKS[:3])
    ends = {len(contained(CHUNKS[:count])): count for count in range(4)}
    for cut in range(len(whole)):
        if cut in ends:
            assert chunks_in(whole[:cut]) == CHUNKS[:ends[cut]]
            continue
        with pytest.raises(EvidenceError):
            chunks_in(whole[:cut])


@pytest.mark.parametrize("data", [b"", b"x", b"lockgate/rec/v2\n", RECORDING_MAGIC + bytes(8), contained([bytes(CHUNK_LIMIT + 1)])])
def test_what_is_no_recording_is_refused(data: bytes) -> None:
    """Another magic, an empty chunk and one beyond the limit are tampering, not a cut."""
    with pytest.raises(EvidenceError) as caught:
        chunks_in(data)
    assert (caught.value.check, caught.value.verdict) == ("recordings", "tampered")


def test_marks_that_fit_leave_nothing_over() -> None:
    """A final mark covers the whole stream; without one the tail is counted, not vouched for."""
    assert require_marks([mark(0), mark(4), mark(4), mark(9, final=True)], CHUNKS) == 0
    assert require_marks([mark(0), mark(4)], iter(CHUNKS)) == 5
    assert require_marks([], CHUNKS) == 9


@pytest.mark.parametrize(("marks", "words", "index"), [
    ([mark(9, final=True), mark(9)], "follows the final", 109),
    ([mark(4), mark(3)], "smaller", 103),
    ([mark(4, bytes=0)], "grow together", 104),
    ([mark(4), mark(4, bytes=41)], "grow together", 104),
    ([mark(4), mark(9, stream="backend")], "two streams", 109),
    ([mark(4, root=chunk_root(CHUNKS).hex())], "root", 104),
    ([mark(8, final=True)], "something follows", 108),
    ([mark(4, final=1)], "no valid final", 104),
    ([mark(4, chunks=True)], "no valid chunks", 104),
    ([mark(4, more=1)], "fields", 104),
    ([{"index": 3}], "fields", 3),
])
def test_marks_that_contradict_are_named(marks: list[dict[str, Any]], words: str, index: int) -> None:
    """The finding names the mark's entry."""
    with pytest.raises(EvidenceError, match=words) as caught:
        require_marks(marks, CHUNKS)
    assert (caught.value.index, caught.value.check, caught.value.verdict) == (index, "recordings", "tampered")


def test_missing_chunks_are_missing() -> None:
    """A file that was cut at a chunk's border is incomplete."""
    with pytest.raises(EvidenceError, match="chunk 5 of client is MISSING: 9") as caught:
        require_marks([mark(4), mark(9, final=True)], CHUNKS[:5])
    assert caught.value.verdict == "incomplete"


def test_every_flipped_byte_is_found() -> None:
    """Of a stream that was marked to its end."""
    whole, marks = contained(CHUNKS), [mark(9, final=True)]
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        with pytest.raises(EvidenceError):
            require_marks(marks, chunks_in(bytes(damaged)))


def test_swapped_chunks_are_found() -> None:
    """The order is part of the root."""
    with pytest.raises(EvidenceError, match="root"):
        require_marks([mark(9, final=True)], [CHUNKS[1], CHUNKS[0], *CHUNKS[2:]])
