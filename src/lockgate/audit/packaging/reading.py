"""Reads rows and records of a log that nobody has verified: what is not what it has to be is an `AuditError`.

A package may hold a leaf that is none, because its verifier says so. But where the export has to understand
a leaf to know what belongs to it, there is nothing to export: such a log is looked at where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from lockgate.audit.evidence.streams import StreamKey
from lockgate.audit.storage.contract import Source
from lockgate.audit.tree import HASH_SIZE
from lockgate.errors import AuditError


def damaged(words: str) -> AuditError:
    """The error of a log that is not what it has to be."""
    return AuditError(f"the log is damaged: {words}", advice="run `lockgate audit verify`")


def leaves_of(
    source: Source, first: int, last: int, containing: tuple[bytes, ...] = (),
) -> Iterator[tuple[int, bytes, bytes]]:
    """As `Source.leaves`, held to its types."""
    for index, digest, leaf in source.leaves(first, last, containing):
        if type(index) is not int or type(leaf) is not bytes or type(digest) is not bytes or len(digest) != HASH_SIZE:
            raise damaged(f"the row of entry {index} is not one")
        yield index, digest, leaf


def hashes_of(source: Source, size: int) -> Iterator[bytes]:
    """The first `size` leaf hashes, held to their type."""
    for digest in source.hashes(0, size - 1):
        if type(digest) is not bytes or len(digest) != HASH_SIZE:
            raise damaged("what is stored as a leaf's hash is none")
        yield digest


def kept_of(source: Source, index: int) -> tuple[bytes, bytes] | None:
    """Key ‖ salt and the sealed payload of an entry, held to their types; None where one is not there."""
    secret, sealed = source.kept(index)
    if secret is None or sealed is None:
        return None
    if type(secret) is not bytes or type(sealed) is not bytes:
        raise damaged(f"what is stored as the payload of entry {index} is none")
    return secret, sealed


def record_of(index: int, leaf: bytes) -> dict[str, Any]:
    """What a leaf says. That it has the fields of its type is not known."""
    try:
        record = orjson.loads(leaf)
    except orjson.JSONDecodeError:
        record = None
    if not isinstance(record, dict):
        raise damaged(f"entry {index} is no record")
    return record


def text_in(record: dict[str, Any], name: str) -> str | None:
    """A field that is text; None where it is something else, or not there."""
    found = record.get(name)
    return found if isinstance(found, str) else None


def data_of(record: dict[str, Any]) -> dict[str, Any]:
    """A record's data; empty where it has none."""
    data = record.get("data")
    return data if isinstance(data, dict) else {}


def mark_of(index: int, record: dict[str, Any]) -> tuple[StreamKey, int]:
    """The stream that a mark is about, and how many chunks it had by then."""
    data = data_of(record)
    sid, stream, chunks = text_in(record, "sid"), text_in(data, "stream"), data.get("chunks")
    if sid is None or stream is None or type(chunks) is not int or chunks < 0:
        raise damaged(f"entry {index} is no mark of a recording")
    # Both name a file of the log's folder: none beside it.
    if any("/" in name or "\0" in name or name in ("", ".", "..") for name in (sid, stream)):
        raise damaged(f"entry {index} marks a recording under a name that none can have")
    return StreamKey(sid, stream), chunks


def change_of(index: int, record: dict[str, Any]) -> tuple[int, str, str]:
    """A change of keys: its index, the old and the new verifier key."""
    data = data_of(record)
    old, new = text_in(data, "old"), text_in(data, "new")
    if old is None or new is None:
        raise damaged(f"entry {index} is no change of keys")
    return index, old, new


def time_of(source: Source, index: int) -> int:
    """The time of an entry, Unix milliseconds."""
    for _, _, leaf in leaves_of(source, index, index):
        time = record_of(index, leaf).get("time")
        if type(time) is not int:
            raise damaged(f"entry {index} has no time")
        return time
    raise damaged(f"entry {index} is missing")


def first_at(source: Source, time: int, size: int) -> int:
    """The first of `size` entries that is not older than `time`; `size` where there is none. Times do not run backwards."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if time_of(source, middle) < time:
            low = middle + 1
        else:
            high = middle
    return low
