"""What getting the record out costs: OCSF lines into a file, spans, a question in SQL, Parquet.

    python bench/audit_export.py [records] [folder]

A backlog, as after a target was away; CPU is that of this process. At last the other side: how many
durable records a second the log takes while one exporter follows it, and while none does.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

from bench.audit_append import begin, intent
from bench.audit_publish import grow, measured
from lockgate.app.targets import lines, protocols
from lockgate.audit.export.cursor import CursorFile
from lockgate.audit.export.exporter import Exporter
from lockgate.audit.export.files import JsonLinesFile
from lockgate.audit.export.told import Teller, Told
from lockgate.audit.log import AuditLog
from lockgate.audit.ocsf import Mapper
from lockgate.audit.query.engine import asked
from lockgate.audit.query.parquet import write_parquet
from lockgate.audit.query.portion import Portion
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.telemetry.spans import Tracer, encoded
from lockgate.errors import AuditError
from lockgate.model import Outcome, OutcomeStatus

SECONDS = 5.0
CONCURRENT = 64


def exporter(folder: Path, name: str) -> Exporter:
    """OCSF lines into a file beside the log."""
    mapper = Mapper("bench/log", "bench", protocols())
    file = JsonLinesFile(folder / f"{name}.jsonl")

    def deliver(batch: Sequence[Told]) -> None:
        file.write(lines(mapper, batch))

    return Exporter(name, lambda: open_source(folder), deliver, CursorFile(folder / "export" / f"{name}.cursor"), Teller())


def drained(running: Exporter) -> None:
    """Run until nothing is left."""
    running.run()
    while running.progress.behind:
        running.run()


def spans(folder: Path) -> None:
    """Every span of the log, encoded by batches."""
    tracer = Tracer("bench/log", "bench", protocols())
    batch = []
    with open_source(folder) as source:
        for told in Teller().tell(source, 0):
            batch += tracer.spans(told)
            if len(batch) >= 500:
                encoded(batch)
                batch = []


def question(folder: Path) -> None:
    """One that reads every request."""
    with asked(
        [Portion(folder)], "SELECT decision, status, count(*), sum(rows) FROM requests GROUP BY ALL") as answer:
        list(answer.rows())


def parquet(folder: Path) -> None:
    """The whole log."""
    write_parquet([Portion(folder)], folder / "parquet")


def appended(log: AuditLog, turns: SimpleQueue[Callable[[], None]]) -> float:
    """Durable records a second, with so many statements at a time."""
    waiting = 0
    count = 0
    end = time.perf_counter() + SECONDS

    def done(error: AuditError | None) -> None:
        nonlocal waiting, count
        if error is not None:
            raise error
        waiting -= 1
        count += 2

    while time.perf_counter() < end:
        while waiting < CONCURRENT:
            waiting += 1
            record = log.intent(intent("bench"), done)
            log.outcome(Outcome("bench", record, OutcomeStatus.OK, 1, 90, {}, 0.001))
        turns.get()()
    while waiting:
        turns.get()()
    return count / SECONDS


def main() -> None:
    """Write a log, get it out in every way, then measure both at once."""
    words = sys.argv[1:]
    records = int(words[0]) if words and words[0].isdigit() else 50_000
    folder = Path(tempfile.mkdtemp(dir=next((word for word in words if not word.isdigit()), None)))
    turns: SimpleQueue[Callable[[], None]] = SimpleQueue()
    log = AuditLog.open(folder, origin="bench/log", dispatch=turns.put, queue=100_000, apart=True)
    try:
        begin(log, turns, "bench")
        grow(log, records)
        running = exporter(folder, "lines")
        measured("OCSF lines to a file", records, lambda: drained(running))
        measured("spans, encoded", records, lambda: spans(folder))
        measured("a question over all requests", records, lambda: question(folder))
        measured("Parquet", records, lambda: parquet(folder))
        print(f"{'append, no exporter':<30} {appended(log, turns):>9,.0f} records/s")
        stop = threading.Event()
        drained(running)

        def follow() -> None:
            while not stop.wait(1.0):
                running.run()

        thread = threading.Thread(target=follow)
        thread.start()
        print(f"{'append, one exporter':<30} {appended(log, turns):>9,.0f} records/s")
        stop.set()
        thread.join()
        print(f"{'':<30} it delivered {running.progress.sent - records:,} meanwhile and is behind by "
              f"{running.progress.behind:,}")
    finally:
        log.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
