"""A log verified through a snapshot of its store: the same findings for a file and for a database."""

from __future__ import annotations

import apsw
import pytest

from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.keys import read_verifier
from lockgate.audit.recording.shelf import FolderShelf
from lockgate.audit.storage.contract import Source
from lockgate.audit.verify import verify_source
from tests.unit.audit.storage.stores import DatabaseLog, FileLog
from tests.unit.audit.storage.test_conformance import work


def report_on(kept: FileLog) -> Report:
    source: Source
    with kept.source() as source:
        return verify_source(source, FolderShelf(kept.folder), read_verifier(kept.folder / "log.vkey"), kept.folder)


def alter(kept: FileLog, statement: str) -> None:
    """One statement by somebody with every right. ``{here}`` is what names this log's rows."""
    if isinstance(kept, DatabaseLog):
        kept.execute(statement.format(here=f"shard = {kept.shard}", shard=f"{kept.shard},", blob="'\\x00'::bytea"))
        return
    connection = apsw.Connection(str(kept.folder / "log.db"))
    connection.execute(statement.format(here="1 = 1", shard="", blob="x'00'"))
    connection.close()


ALTERATIONS = {
    "UPDATE entries SET leaf = {blob} WHERE {here} AND idx = 4": ("leaf hash", 4),
    "DELETE FROM entries WHERE {here} AND idx = 5": ("entries", 5),
    "DELETE FROM payload_keys WHERE {here} AND idx = 3": ("payloads", 3),
    "DELETE FROM payloads WHERE {here} AND idx = 3": ("payloads", 3),
    "UPDATE payloads SET sealed = {blob} WHERE {here} AND idx = 3": ("payloads", 3),
    "UPDATE payload_keys SET secret = {blob} WHERE {here} AND idx = 3": ("payloads", 3),
    "INSERT INTO payloads VALUES ({shard} 0, {blob})": ("payloads", 0),
    "INSERT INTO payload_keys VALUES ({shard} 900, {blob})": ("payloads", None),
    "UPDATE sessions SET last = last + 1 WHERE {here} AND last IS NOT NULL": ("sessions", None),
    "DELETE FROM sessions WHERE {here}": ("sessions", None),
    "INSERT INTO sessions VALUES ({shard} 'ghost', 2, 3)": ("sessions", None),
    "UPDATE head SET size = size - 1 WHERE {here}": ("checkpoint", None),
    "UPDATE head SET epoch = epoch + 1 WHERE {here}": ("tree", None),
    "UPDATE head SET frontier = {blob} WHERE {here}": ("tree", None),
    "UPDATE head SET note = note || 'x' WHERE {here}": ("checkpoint", None),
    "UPDATE meta SET value = {blob} WHERE {here} AND name = 'origin'": ("schema", None),
    "UPDATE meta SET value = {blob} WHERE {here} AND name = 'pseudonyms'": ("payloads", 1),
    "DELETE FROM head WHERE {here}": ("checkpoint", None),
}




def test_an_untouched_log_verifies(kept: FileLog) -> None:
    """Every kind of record, hostile text included."""
    work(kept.open())
    report = report_on(kept)
    assert report.findings == []
    assert (report.verdict, report.sessions, report.open_sessions) == (Verdict.VERIFIED, 2, 0)
    assert report.entries == report.size > 15
    assert report.payloads > 5


@pytest.mark.parametrize("statement", list(ALTERATIONS))
def test_what_was_altered_is_found(kept: FileLog, statement: str) -> None:
    """Each table is covered by a check, which names the first entry concerned."""
    check, index = ALTERATIONS[statement]
    work(kept.open())
    alter(kept, statement)
    report = report_on(kept)
    assert report.verdict is not Verdict.VERIFIED
    found = [(finding.check, finding.index) for finding in report.findings]
    assert any(name == check and (index is None or at == index) for name, at in found), found
