"""How fast the audit log takes records: durable (somebody waits for each) and queued (nobody does).

    python bench/audit_append.py [--here] [folder]

The writer runs in a process of its own, as in the gateway, or in a thread of this one (``--here``).
CPU is that of both processes together, benchmark included.

Durable: so many sessions each append an intent, wait until it is on the disk, append its outcome and
the next intent. Queued: intents and outcomes as fast as the queue takes them. Admission is the time
that a call takes on the caller's thread, which is what a statement pays in ``audit: async``.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from lockgate.audit.failures import Overload
from lockgate.audit.log import AuditLog
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.model import Intent, Outcome, OutcomeStatus, SessionStart

TEXT = "SELECT id, name, email FROM customers WHERE id = $1 AND region = 'emea'"
Turns = SimpleQueue[Callable[[], None]]


TICKS = os.sysconf("SC_CLK_TCK")


def processor_time() -> float:
    """Seconds that this process and its children have used."""
    total = time.process_time()
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def begin(log: AuditLog, turns: Turns, session: str) -> None:
    """Open a session and wait for it."""
    log.begin_session(
        SessionStart(session, "https://issuer", "agent-1", "planner", "model", "client", ("analysts",),
                     "ab" * 32, "crm", "postgres", "127.0.0.1:50000", "cd" * 32, {"task": "bench"}),
        lambda _: None,
    )
    turns.get()()


def intent(session: str) -> Intent:
    """A typical statement."""
    return Intent(session, "query", ("select",), "allow", ("reach",), "cd" * 32, ("public.customers",), TEXT,
                  ("12",), b"Q\0\0\0\x50" + TEXT.encode())


def durable(log: AuditLog, turns: Turns, concurrent: int, total: int) -> tuple[float, float, float]:
    """`audit: full` with so many statements in flight. Records a second, p50 and p99 in seconds."""
    waits: list[float] = []
    for number in range(concurrent):
        begin(log, turns, f"d{concurrent}-{number}")

    def statement(session: str) -> None:
        started = time.perf_counter()

        def done(error: AuditError | None) -> None:
            if error is not None:
                raise error
            waits.append(time.perf_counter() - started)
            log.outcome(Outcome(session, record, OutcomeStatus.OK, 1, 90, {}, 0.001))
            if len(waits) <= total - concurrent:
                statement(session)

        record = log.intent(intent(session), done)

    begun, used = time.perf_counter(), processor_time()
    for number in range(concurrent):
        statement(f"d{concurrent}-{number}")
    while len(waits) < total:
        turns.get()()
    seconds = time.perf_counter() - begun
    report(f"durable, {concurrent} concurrent", total, seconds, processor_time() - used, waits)
    return 2 * total / seconds, waits[len(waits) // 2], waits[int(len(waits) * 0.99)]


def queued(log: AuditLog, turns: Turns, total: int) -> None:
    """`audit: async` at saturation: the queue is always as full as it may be."""
    waits: list[float] = []
    begin(log, turns, "queued")
    begun, used = time.perf_counter(), processor_time()
    while len(waits) < total:
        started = time.perf_counter()
        try:
            record = log.intent(intent("queued"), None)
        except Overload:
            time.sleep(0.001)
            continue
        waits.append(time.perf_counter() - started)
        log.outcome(Outcome("queued", record, OutcomeStatus.OK, 1, 90, {}, 0.001))
    while log.queued:
        time.sleep(0.001)
    report("queued, admission", total, time.perf_counter() - begun, processor_time() - used, waits)


def report(name: str, statements: int, seconds: float, used: float, waits: list[float]) -> None:
    """One line: two records a statement."""
    waits.sort()
    p50, p99 = (waits[int(len(waits) * share)] * 1e6 for share in (0.5, 0.99))
    print(f"{name:<26} {2 * statements / seconds:>9,.0f} records/s   p50 {p50:>8,.1f} µs   p99 {p99:>8,.1f} µs"
          f"   CPU {used / (2 * statements) * 1e6:>6.1f} µs/record")


def main() -> None:
    """Run all, verify what was written, and remove it."""
    apart = "--here" not in sys.argv
    given = next((Path(word) for word in sys.argv[1:] if word != "--here"), None)
    folder = Path(tempfile.mkdtemp(dir=given))
    turns: Turns = SimpleQueue()
    log = AuditLog.open(folder, origin="bench/log", dispatch=turns.put, queue=100_000, apart=apart)
    try:
        durable(log, turns, 1, 2_000)
        durable(log, turns, 8, 8_000)
        durable(log, turns, 64, 30_000)
        durable(log, turns, 256, 30_000)
        queued(log, turns, 60_000)
        log.close()
        started = time.perf_counter()
        verdict = verify_log(folder)
        seconds = time.perf_counter() - started
        print(f"{'verification':<26} {verdict.entries / seconds:>9,.0f} records/s   {verdict.verdict.name}")
    finally:
        log.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
