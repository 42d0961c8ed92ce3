"""What only a file has to be checked for: its schema, its pages, and commits that SQLite leaves out without a word.

Apart from `audit.verify`, which reads any store through a snapshot and sees neither tables nor pages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.storage import wal
from lockgate.audit.storage.sqlite import DESTROYED, FILE, FORMAT, SCHEMA
from lockgate.errors import AuditError

_WAL_TRIES: Final = 4


def check_schema(report: Report, connection: apsw.Connection, origin: str) -> None:
    """Tables exactly as this version makes them, the log's name, one head, and no row at an impossible place."""
    try:
        if dict(connection.execute("SELECT name, sql FROM sqlite_schema")) != SCHEMA:
            report.find("schema", Verdict.TAMPERED, "the tables are not those of a log of this version")
        meta = dict(connection.execute("SELECT CAST(name AS BLOB), CAST(value AS BLOB) FROM meta"))
        meta.pop(b"pseudonyms", None)
        if meta != {b"format": FORMAT.encode(), b"origin": origin.encode()}:
            report.find("schema", Verdict.TAMPERED, "the log has another name or format than its key says")
        if connection.execute("SELECT 1 FROM entries WHERE idx < 0 LIMIT 1").fetchall():
            report.find("schema", Verdict.TAMPERED, "there is an entry before the first one", 0)
    except (apsw.Error, ValueError) as error:
        raise AuditError(f"the file is damaged: {error}") from None


def check_destroyed(report: Report, connection: apsw.Connection, erased_by: Callable[[int], int | None]) -> None:
    """Keys that were overwritten: an erasure names each of them. (What reads a snapshot sees no key there.)"""
    try:
        for (index,) in connection.execute("SELECT idx FROM payload_keys WHERE secret = ? ORDER BY idx", (DESTROYED,)):
            if erased_by(index) is None:
                report.find("payloads", Verdict.TAMPERED, "a key was destroyed, and no erasure says so", index)
                return
    except (apsw.Error, ValueError) as error:
        raise AuditError(f"the file is damaged: {error}") from None


def check_integrity(report: Report, connection: apsw.Connection) -> None:
    """SQLite's own check of the file's structure: pages, order of keys, types of columns."""
    try:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    except (apsw.Error, ValueError) as error:
        raise AuditError(f"the file is damaged: {error}") from None
    if problems != ["ok"]:
        report.find("store", Verdict.TAMPERED, f"the file is damaged: {'; '.join(map(str, problems))[:300]}")
    report.cover("store", "file structure, schema, no page outside it")


def check_write_ahead_log(report: Report, folder: Path) -> None:
    """Commits that SQLite leaves out because their frames are damaged. A gateway may be writing."""
    path = folder / f"{FILE}-wal"
    problem: str | None = None
    for attempt in range(_WAL_TRIES):
        if attempt:
            threading.Event().wait(0.05)
        problem = wal.damage(path)
        if problem is None:
            report.cover("write-ahead log", "no damaged frame")
            return
    report.find("write-ahead log", Verdict.INCOMPLETE, problem or "")
