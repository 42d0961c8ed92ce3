"""The writer in a process of its own: the same log, the same promises, whichever of the two dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.audit.apart.link import Link
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import Locked, Poisoned
from lockgate.audit.log import AuditLog
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.model import Event, Outcome, OutcomeStatus
from tests.unit.audit.logs import Driven, binding, edit, intent, review_events
from tests.unit.audit.test_log import records


class Apart(Driven):
    """A log with a writer of its own."""

    def __init__(self, folder: Path, **options: object) -> None:
        super().__init__(folder, apart=True, **options)

    @property
    def child(self) -> int:
        link = self.log._writer
        assert isinstance(link, Link)
        return link.process


def shapes(folder: Path) -> list[dict[str, object]]:
    """The records without what differs from log to log; of a payload its size, and whether it was kept."""
    own = ("node", "time", "prev", "root", "principal", "requester", "reviewer", "binding")
    found = [{name: value for name, value in record.items() if name not in own} for record in records(folder)]
    for record in found:
        payload = record.get("payload")
        if isinstance(payload, dict):
            record["payload"] = {name: payload[name] for name in payload if name != "commitment"}
        data = record.get("data")
        if isinstance(data, dict):
            record["data"] = {name: data[name] for name in data if name != "binding"}
    return found


def work(driven: Driven) -> None:
    """Every kind of record once."""
    driven.begin("a" * 16)
    driven.begin("b" * 16, "bob")
    driven.run("a" * 16, objects=tuple(f"table_{n}" for n in range(400)))
    driven.intent("b" * 16, "DROP TABLE customers", decision="deny", refusal="denied", verbs=("drop",))
    for event in review_events("T1", "alice", "carol", "a" * 16):
        driven.log.event(event)
    driven.run("a" * 16, "DELETE FROM customers", decision="review", ticket="T1", binding=binding("alice", "DELETE FROM customers"), verbs=("delete",))
    driven.log.heartbeat({"refusals": 1})
    driven.run("b" * 16, "SELECT '\ud800\0\x1b[2J'", objects=("\udfff" * 300,))
    driven.log.event(Event("cancel", {"\ud800": float("nan"), "b": {1: {2, 3}}, "c": 2**70}, "b" * 16, b"\xff"))
    driven.run("b" * 16, "x" * 5_000, parameters=("ü", None, "\udc80"), forwarded=bytes(range(256)))
    driven.log.close()


def test_both_writers_write_the_same_log(tmp_path: Path) -> None:
    """What a record says does not depend on the process that writes it, hostile text included."""
    for name, log in (("here", Driven), ("apart", Apart)):
        work(log(tmp_path / name, payload_limit=1_000))
        report = verify_log(tmp_path / name, key=tmp_path / name / "log.vkey")
        assert report.findings == []
    assert shapes(tmp_path / "apart") == shapes(tmp_path / "here")


def test_a_log_passes_from_one_writer_to_the_other(tmp_path: Path) -> None:
    """The format is one: a log may be continued by either, and `close` drains what is queued."""
    for log in (Driven, Apart, Driven, Apart):
        driven = log(tmp_path)
        session = f"s{driven.log.size}"
        driven.begin(session)
        for _ in range(3_000):
            driven.log.intent(intent(session), None)
        driven.log.close()
        driven.log.close()
    found = records(tmp_path)
    assert sum(record["type"] == "intent" for record in found) == 12_000
    assert found[-1]["type"] == "node_stop"
    assert verify_log(tmp_path).findings == []
    assert (tmp_path / "checkpoint").read_text().split("\n")[1] == str(len(found))


def test_a_killed_writer_poisons(tmp_path: Path) -> None:
    """Death of the writer's process is a failed write: all who wait hear of it, a restart recovers."""
    driven = Apart(tmp_path)
    driven.begin("s")
    kept = driven.intent("s")
    os.kill(driven.child, signal.SIGKILL)
    error = driven.wait(lambda done: driven.log.intent(intent("s"), done))
    assert isinstance(error, Poisoned)
    assert not driven.log.is_writable
    with pytest.raises(Poisoned):
        driven.log.outcome(Outcome("s", kept, OutcomeStatus.OK))
    driven.log.close()
    Apart(tmp_path).log.close()
    assert any(r.get("record") == kept and r.get("reason") == "crash" for r in records(tmp_path))
    assert verify_log(tmp_path).findings == []


def test_a_failed_commit_over_there_poisons_here(tmp_path: Path) -> None:
    """The writer says what failed, ends, and nothing is accepted afterwards."""
    driven = Apart(tmp_path)
    driven.begin("s")
    edit(tmp_path, "UPDATE head SET epoch = epoch + 1")
    error = driven.wait(lambda done: driven.log.intent(intent("s"), done))
    assert isinstance(error, Poisoned)
    assert "another process wrote to this log" in str(error)
    driven.log.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_for_the_group_are_the_gateways_affair(tmp_path: Path, number: signal.Signals) -> None:
    """A supervisor's SIGTERM reaches the writer too, which goes on until the gateway has drained."""
    driven = Apart(tmp_path)
    driven.begin("s")
    os.kill(driven.child, number)
    driven.run("s")
    driven.log.close()
    assert verify_log(tmp_path).findings == []


def test_a_writer_takes_over_only_the_log_that_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that moved on between the check and the hand-over is refused, and lets go of the folder."""
    Driven(tmp_path).log.close()
    start = Link.start

    def meanwhile(*given: object) -> Link:
        edit(tmp_path, "UPDATE head SET size = size + 1")
        return start(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Link, "start", meanwhile)
    with pytest.raises(AuditError, match="another process wrote"):
        Apart(tmp_path)
    monkeypatch.undo()
    edit(tmp_path, "UPDATE head SET size = size - 1")
    Apart(tmp_path).log.close()


def test_no_secret_of_the_gateways_environment_reaches_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer needs a path to its code and nothing else."""
    monkeypatch.setenv("CRM_PASSWORD", "hunter2")
    driven = Apart(tmp_path)
    assert b"hunter2" not in Path(f"/proc/{driven.child}/environ").read_bytes()
    driven.log.close()


GATEWAY = """
import sys
from pathlib import Path
from tests.unit.audit.logs import intent
from tests.unit.audit.test_apart import Apart
driven = Apart(Path(sys.argv[1]))
driven.begin("s" * 16)
sys.stdout.write(f"{driven.child}\\n")
def more():
    numbers = []
    def done(error):
        sys.stdout.write(f"{numbers[0]}\\n"); sys.stdout.flush()
        more()
    numbers.append(driven.log.intent(intent("s" * 16, "x" * 300), done))
for _ in range(8):
    more()
while True:
    driven.turns.get()()
"""


@pytest.mark.parametrize("lines", [1, 150, 700])
def test_a_killed_gateway_loses_nothing_acknowledged(tmp_path: Path, lines: int) -> None:
    """kill -9 of the gateway: the writer commits what reached it and ends, the next start settles it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", GATEWAY, str(tmp_path)], stdout=subprocess.PIPE,
                               env=environment, cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    child = int(process.stdout.readline())
    acknowledged = [int(process.stdout.readline()) for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
    process.stdout.close()
    process.wait()
    Apart(tmp_path).log.close()     # waits for the old writer's lock, so it has ended by now
    assert not Path(f"/proc/{child}").exists() or b"Z" in Path(f"/proc/{child}/stat").read_bytes()
    found = records(tmp_path)
    intents = {record["sseq"] for record in found if record["type"] == "intent"}
    assert intents >= set(acknowledged)
    assert {record["record"] for record in found if record["type"] == "outcome"} == intents
    report = verify_log(tmp_path)
    assert (report.findings, report.verdict) == ([], Verdict.VERIFIED)


def test_the_folder_is_locked_by_the_writer_too(tmp_path: Path) -> None:
    """While a writer lives no second gateway opens its log, whatever became of the first one's lock."""
    driven = Apart(tmp_path)
    os.close(driven.log._lock)
    with pytest.raises(Locked):
        AuditLog.open(tmp_path, origin="lockgate.test/log", dispatch=lambda _: None)
    driven.log._lock = os.open(os.devnull, os.O_RDONLY)
    driven.log.close()
