"""SQLite's checkpoints on a connection and a thread of their own, so that no commit waits for them.

Under constant load a passive checkpoint never catches up with the writer, and the write-ahead log
would grow without bound: beyond `FORCE` pages this one takes the writer's lock for a moment.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import apsw

PASSIVE: Final = 1_000     # pages in the write-ahead log
FORCE: Final = 16_000
_BUSY_MS: Final = 2_000


class Checkpointer:
    """Runs until `stop`. A failure here loses nothing: the write-ahead log keeps what it could not copy."""

    def __init__(self, path: Path, writer: apsw.Connection, vfs: str | None = None) -> None:
        self._path = path
        self._vfs = vfs
        self._pages = 0
        self._due = threading.Event()
        self._stopped = False
        writer.set_wal_hook(self._committed)
        self._thread = threading.Thread(target=self._run, name="audit-checkpointer", daemon=True)
        self._thread.start()

    def _committed(self, connection: apsw.Connection, database: str, pages: int) -> int:
        """SQLite tells the writer after each commit how many pages wait."""
        self._pages = pages
        if pages >= PASSIVE:
            self._due.set()
        return apsw.SQLITE_OK

    def _run(self) -> None:
        try:
            connection = apsw.Connection(str(self._path), vfs=self._vfs)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.set_busy_timeout(_BUSY_MS)
            connection.execute("PRAGMA synchronous=FULL").fetchall()
        except apsw.Error:
            return
        while True:
            self._due.wait()
            if self._stopped:
                break
            self._due.clear()
            mode = apsw.SQLITE_CHECKPOINT_RESTART if self._pages >= FORCE else apsw.SQLITE_CHECKPOINT_PASSIVE
            try:
                connection.wal_checkpoint(mode=mode)
            except apsw.BusyError:
                continue        # a reader holds an old snapshot; the next commit asks again
            except apsw.Error:
                break           # a bad disk: the writer's next commit says so
        connection.close(True)

    def stop(self) -> None:
        """Wait for the thread to end. Idempotent."""
        self._stopped = True
        self._due.set()
        self._thread.join()
