"""How far an exporter has come: a few bytes, beside the log or with it in a database, that name the log, the next entry and the hash of the last one.

The hash is what makes a cursor more than a number: a log that was rolled back or replaced under it does not
hold that entry any more, and the exporter stops instead of going on in another history.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import orjson

from lockgate.audit.keys import write_durably
from lockgate.audit.storage.contract import Source
from lockgate.errors import AuditError

_LIMIT: Final = 4096
_HASH: Final = re.compile(r"[0-9a-f]{64}|", re.ASCII)


class Diverged(AuditError):
    """The log does not hold what was exported from it: it was rolled back or replaced."""

    code = "audit.export.diverged"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything before `next` has reached the target. `hash` is the hex leaf hash of ``next - 1``, or empty."""

    origin: str
    next: int = 0
    hash: str = ""


class Bookmark(Protocol):
    """Where a cursor is kept. Both may raise `AuditError`."""

    def load(self, origin: str) -> Cursor:
        """The cursor as stored; a fresh one where there is none."""

    def save(self, cursor: Cursor) -> None:
        """Store it durably before this returns."""


class CursorFile:
    """A cursor beside the log."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, origin: str) -> Cursor:
        """As the file has it."""
        return load_cursor(self._path, origin)

    def save(self, cursor: Cursor) -> None:
        """In place of the file."""
        save_cursor(self._path, cursor)


def load_cursor(path: Path, origin: str) -> Cursor:
    """The cursor in a file; a fresh one where there is no file. Raises `AuditError` for a damaged file:
    starting anew by itself would send everything twice, or hide a replaced log.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT)
    except FileNotFoundError:
        return Cursor(origin)
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}") from None
    return read_cursor(data, str(path))


def read_cursor(data: bytes, where: str) -> Cursor:
    """The reverse of `cursor_bytes`. Raises `AuditError`, which names the place."""
    cursor, sound = Cursor(""), False
    try:
        stored = orjson.loads(data)
        cursor = Cursor(stored["origin"], stored["next"], stored["hash"])
        sound = (stored["v"] == 1 and type(cursor.origin) is str and type(cursor.next) is int and cursor.next >= 0
                 and bool(_HASH.fullmatch(cursor.hash)) and bool(cursor.hash) == (cursor.next > 0))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    if not sound:
        raise AuditError(f"{where}: the cursor is damaged",
                         advice="remove it to export the log again from its beginning")
    return cursor


def cursor_bytes(cursor: Cursor) -> bytes:
    """A cursor as it is stored."""
    return orjson.dumps({"v": 1, "origin": cursor.origin, "next": cursor.next, "hash": cursor.hash})


def save_cursor(path: Path, cursor: Cursor) -> None:
    """Put the cursor on the disk, whole, before this returns."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise AuditError(f"{path.parent}: {error.strerror}") from None
    write_durably(path, cursor_bytes(cursor), 0o600)


def require_same_log(cursor: Cursor, source: Source) -> None:
    """Raise `Diverged` unless the snapshot still holds what was exported up to the cursor."""
    if cursor.origin != source.origin:
        raise Diverged(f"the cursor belongs to the log {cursor.origin}, this is {source.origin}")
    if cursor.next == 0:
        return
    size = source.head().size
    if size < cursor.next:
        raise Diverged(f"entries up to {cursor.next - 1} were exported, the log ends before {size}: it was rolled back",
                       advice="run `lockgate audit verify`, and compare with what the target holds")
    for digest in source.hashes(cursor.next - 1, cursor.next - 1):
        if bytes(digest).hex() == cursor.hash:
            return
    raise Diverged(f"entry {cursor.next - 1} is not the one that was exported: the log was replaced",
                   advice="run `lockgate audit verify`, and compare with what the target holds")
