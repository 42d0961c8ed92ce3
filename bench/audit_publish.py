"""What publishing the log costs: tiles from a store, proofs from tiles, and verifying them.

    python bench/audit_publish.py [records] [folder]

First the whole log at once, then its growth as the gateway publishes it (a run for every 5,000
records), then a run with nothing new. CPU is that of this process, in the thread that publishes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from bench.audit_append import begin, intent
from lockgate.audit.checkpoint import open_note
from lockgate.audit.failures import Overload
from lockgate.audit.keys import VERIFIER_FILE, read_verifier
from lockgate.audit.log import AuditLog
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tiles.disk import Disk
from lockgate.audit.tiles.proof import prove
from lockgate.audit.tiles.publisher import Publisher
from lockgate.audit.tiles.reader import Tiles, fetch_from
from lockgate.audit.tiles.verify import verify_tiles
from lockgate.model import Outcome, OutcomeStatus

STEP = 5_000
PROOFS = 1_000


def measured(name: str, records: int, work: Callable[[], object]) -> None:
    """Run it once and print what it took."""
    started, used = time.perf_counter(), time.thread_time()
    work()
    seconds, processor = time.perf_counter() - started, time.thread_time() - used
    rate = f"{records / seconds:>9,.0f} records/s" if records else f"{seconds * 1e3:>9,.2f} ms       "
    print(f"{name:<30} {rate}   CPU {processor / max(records, 1) * 1e6:>8,.1f} µs{' each' if records else ''}")


def grow(log: AuditLog, records: int) -> None:
    """Append pairs of intent and outcome until the log has so many entries."""
    while log.size + log.queued < records:
        try:
            record = log.intent(intent("bench"), None)
        except Overload:
            time.sleep(0.001)
            continue
        log.outcome(Outcome("bench", record, OutcomeStatus.OK, 1, 90, {}, 0.001))
    while log.queued:
        time.sleep(0.001)


def main() -> None:
    """Write a log, publish it in both ways, prove from it, verify it, and remove it."""
    words = sys.argv[1:]
    records = int(words[0]) if words and words[0].isdigit() else 100_000
    folder = Path(tempfile.mkdtemp(dir=next((word for word in words if not word.isdigit()), None)))
    turns: SimpleQueue[Callable[[], None]] = SimpleQueue()
    log = AuditLog.open(folder, origin="bench/log", dispatch=turns.put, queue=100_000, apart=True)
    verifier = read_verifier(folder / VERIFIER_FILE)
    try:
        begin(log, turns, "bench")
        grow(log, records)
        at_once = Publisher(lambda: open_source(folder), verifier, Disk(folder / "at-once"))
        measured("the whole log at once", records, at_once.run)
        measured("nothing new", 0, at_once.run)
        spent = 0.0
        for _ in range(5):
            grow(log, log.size + STEP)
            started = time.perf_counter()
            at_once.run()
            spent += time.perf_counter() - started
        print(f"{f'growth by {STEP:,} records':<30} {5 * STEP / spent:>9,.0f} records/s")
        note = (folder / "at-once" / "checkpoint").read_text()
        size = open_note(note, verifier).size
        fetch = fetch_from(folder / "at-once")
        measured("proofs of single entries", PROOFS, lambda: [
            prove(Tiles(fetch, size), size * at // PROOFS, note, verifier) for at in range(PROOFS)])
        measured("verification of tiles", size, lambda: verify_tiles(
            fetch, str(folder / "at-once"), key=folder / VERIFIER_FILE))
    finally:
        log.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
