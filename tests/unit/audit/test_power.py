"""Loss of power while the log is written, and that the disk which simulates it has teeth."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fuzz import crash
from fuzz.power import FOLDER, Disk, PowerVfs, UndoesFolder
from lockgate.audit import durable
from lockgate.audit.log import AuditLog
from lockgate.errors import AuditError
from tests.unit.audit.logs import ORIGIN, Driven


def test_nothing_acknowledged_is_lost_when_the_power_fails() -> None:
    """A short run of `make fuzz ARGS=crash`, another one each time; the message has the seed."""
    tally = crash.run(60, seed=time.time_ns() & 0xFFFFFFFF)
    assert tally.broken == []
    assert tally.acknowledged > 60


@pytest.mark.parametrize("name", crash.TEETH)
def test_a_disk_that_lies_is_found_out(name: str) -> None:
    """With syncs that do nothing, most machines lose what was acknowledged, or their files are damaged."""
    tally = crash.run(24, seed=7, ignores=crash.TEETH[name])
    assert len(tally.broken) > tally.machines / 2, tally


def test_a_run_follows_from_its_seed() -> None:
    """The same seed gives the same operations, records and losses, so that a failure can be run again."""
    for seed in (11, 12, 13, 14):       # every fifth runs the checkpointer's thread, which is the scheduler's
        for lies in ((), crash.TEETH["every sync ignored"]):
            first, second = (crash.run(3, seed=seed, ignores=lies) for _ in range(2))
            assert [line.split(":")[0] for line in first.broken] == [line.split(":")[0] for line in second.broken]
            assert first.acknowledged == second.acknowledged


@pytest.mark.parametrize("ignores", [(), (FOLDER,)])
def test_a_rollback_journal_does_not_come_back(tmp_path: Path, ignores: tuple[str, ...],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """The power fails at any operation of the first start, and again after a record was acknowledged: the journal
    of the switch to a write-ahead log must not be there again to undo it. Without a sync of the folder it is."""
    outcomes = []
    for fails_at in range(1, 25):
        folders = [tmp_path / f"{fails_at}-{life}" for life in range(3)]
        for folder in folders:
            folder.mkdir()
        for life, fails in enumerate((fails_at, None)):
            disk = Disk(folders[life], fails_at=fails, ignores=ignores)
            vfs = PowerVfs(disk)
            monkeypatch.setattr(durable, "sync_folder", disk.sync_folder)
            try:
                driven = Driven(folders[life], vfs=vfs.name)
                driven.begin("s")
                disk.cut()
                driven.log.close()
            except AuditError:
                disk.cut()
            vfs.unregister()
            disk.write_remains(folders[life + 1], UndoesFolder())
            for name in ("log.key", "log.vkey"):
                if (folders[life] / name).exists():
                    (folders[life + 1] / name).write_bytes((folders[life] / name).read_bytes())
                    (folders[life + 1] / name).chmod(0o600)
        monkeypatch.undo()
        log = AuditLog.open(folders[2], origin=ORIGIN, dispatch=lambda turn: turn())
        log.close()
        leaves = crash._hashes(folders[2])
        outcomes.append(len(leaves) >= 5)     # start, begin, start, its end, stop; twice where both lives got there
    assert all(outcomes) is not bool(ignores), outcomes
