"""How fast evidence is verified: a package without payloads, one with them, published tiles, the log's folder, per core.

    python bench/audit_verify.py [statements]

Two records a statement. Seconds are those of the processor that this process used, so other work on the
machine counts little. What the same leaves cost at least (hash, parse, write again) is printed beside: it is
the floor for anything that parses and re-serialises what it verifies.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue

import orjson

from bench.audit_append import Turns, begin, intent
from lockgate.audit.commitment import KEY_SIZE, unseal
from lockgate.audit.evidence.package import verify_package
from lockgate.audit.evidence.report import Report
from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.failures import Overload
from lockgate.audit.keys import read_verifier
from lockgate.audit.log import AuditLog
from lockgate.audit.packaging.asking import Asked
from lockgate.audit.packaging.export import export_package
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tiles.disk import Disk
from lockgate.audit.tiles.publisher import Publisher
from lockgate.audit.tiles.reader import fetch_from
from lockgate.audit.tiles.verify import verify_tiles
from lockgate.audit.verify import verify_log
from lockgate.cli.version import kernel_mode
from lockgate.model import Outcome, OutcomeStatus

SESSIONS = 20
RELATIONS = 30
ROUNDS = 3


def write(folder: Path, statements: int) -> None:
    """A log of sessions that take turns, on relations that do, with results of every size."""
    turns: Turns = SimpleQueue()
    log = AuditLog.open(folder, origin="bench/log", dispatch=turns.put, queue=4 * statements)
    for number in range(SESSIONS):
        begin(log, turns, f"{number:016}")
    for number in range(statements):
        session = f"{number % SESSIONS:016}"
        while True:
            try:
                record = log.intent(replace(intent(session), objects=(f"public.relation_{number % RELATIONS}",)), None)
                break
            except Overload:
                time.sleep(0.01)
        rows = number % 97
        log.outcome(Outcome(session, record, OutcomeStatus.OK, rows, 90 * rows, {}, 0.0002 + number % 1009 / 10_000))
    log.close()


def measure(name: str, work: Callable[[], int]) -> float:
    """The best of some rounds, in records a second."""
    best = 0.0
    for _ in range(ROUNDS):
        started = time.process_time()
        records = work()
        best = max(best, records / (time.process_time() - started))
    print(f"{name:<28} {best:>9,.0f} records/s")
    return best


def package(folder: Path, target: Path, key: str, *, payloads: bool) -> Callable[[], int]:
    """The verification of a package of the whole log."""
    export_package(folder, Asked(payloads=payloads), target)

    def work() -> int:
        with target.open("rb") as file:
            return sound(verify_package(file, Pins(key)))

    return work


def sound(report: Report) -> int:
    """How many entries a report covers; it must find nothing."""
    if report.findings:
        raise SystemExit(f"{report.findings[0]}")
    return report.entries


def floor(leaves: list[bytes]) -> int:
    """Hash, parse and write again: once each, with the tree's and the sessions' inner nodes."""
    for leaf in leaves:
        digest = sha256(b"\0" + leaf).digest()
        sha256(b"\1" + digest + digest).digest()
        sha256(b"\1" + digest + digest).digest()
        orjson.dumps(orjson.loads(leaf), option=orjson.OPT_SORT_KEYS)
    return len(leaves)


def publish(folder: Path) -> None:
    """Tiles of the whole log."""
    Publisher(lambda: open_source(folder), read_verifier(folder / "log.vkey"), Disk(folder / "tiles")).run()


def published(folder: Path) -> Report:
    """The verdict on its tiles."""
    tiles = folder / "tiles"
    return verify_tiles(fetch_from(tiles), str(tiles), key=folder / "log.vkey")


def opened(sealed: list[tuple[bytes, bytes]], records: int) -> int:
    """Decrypt every payload and compare it with nothing."""
    for secret, text in sealed:
        unseal(secret[:KEY_SIZE], text)
    return records


def main() -> None:
    """Write a log, measure, remove it."""
    statements = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    folder = Path(tempfile.mkdtemp())
    try:
        write(folder / "audit", statements)
        key = (folder / "audit" / "log.vkey").read_text()
        print(f"{2 * statements:,} records, kernel {kernel_mode()}")
        with open_source(folder / "audit") as source:
            leaves = [leaf for _, _, leaf in source.leaves()]
        least = measure("floor: hash, parse, write", lambda: floor(leaves))
        bare = package(folder / "audit", folder / "bare.tar", key, payloads=False)
        whole = package(folder / "audit", folder / "whole.tar", key, payloads=True)
        reached = measure("package, payloads withheld", bare)
        measure("package, payloads opened", whole)
        publish(folder / "audit")
        measure("published tiles", lambda: sound(published(folder / "audit")))
        measure("folder, payloads opened", lambda: sound(verify_log(folder / "audit")))
        with open_source(folder / "audit") as source:
            sealed = [(secret, text) for _, _, _, secret, text in source.rows() if secret is not None and text is not None]
        measure("of that, opening alone", lambda: opened(sealed, len(leaves)))
        print(f"{'share of the floor':<28} {reached / least:>9.0%}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
