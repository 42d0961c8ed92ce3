"""Making sure that bytes are gone: recordings from their folder, destroyed rows from SQLite's files.

`secure_delete` overwrites what is deleted in the pages (sqlite.org/pragma.html#pragma_secure_delete), but the
old pages stay in the write-ahead log until it is copied into the file and cut to nothing. What lies below the
file system (journals, snapshots, worn flash) and in copies elsewhere is out of reach; the key of a payload is
32 bytes, and whoever wants to be sure keeps the folder on an encrypted disk.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from pathlib import Path
from typing import Final

import apsw

RECORDINGS: Final = "recordings"
_SID = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)
_PATIENCE: Final = 3.0      # seconds to wait for readers of older snapshots
_BUSY_MS: Final = 20        # a writer waits so long at most; it is what a reader may cost the commit path
_RETRY: Final = 0.1


def recorded_sessions(folder: Path) -> list[str]:
    """Sessions that have recordings in the log's folder."""
    try:
        return sorted(path.name for path in (folder / RECORDINGS).iterdir() if _SID.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove_recording(folder: Path, sid: str) -> bool:
    """Delete a session's recordings; False where there are none."""
    place = folder / RECORDINGS / sid
    if not _SID.fullmatch(sid) or place.is_symlink() or not place.is_dir():
        return False
    shutil.rmtree(place)
    return True


def scrub(path: Path, patience: float = _PATIENCE) -> bool:
    """Copy the write-ahead log into the file and cut it to nothing. False where a reader kept it from that.

    Most of it is copied without holding anybody up; the cut takes the writer's lock for a moment.
    """
    if not path.exists():
        return True     # a store that is no file
    deadline = time.monotonic() + patience
    pause = threading.Event()
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.set_busy_timeout(_BUSY_MS)
            connection.execute("PRAGMA synchronous=FULL").fetchall()
            while not _cut(connection):
                if time.monotonic() >= deadline:
                    return False
                pause.wait(_RETRY)
        finally:
            connection.close(True)
    except apsw.Error:
        return False
    return True


def _cut(connection: apsw.Connection) -> bool:
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return False
    return True
