"""How fast evidence is verified: a package without payloads, one with them, published tiles, the log's folder, and the
start of a log, per core.

    python -m bench.audit_verify [statements]

Two records a statement. Seconds are those of the processor that this process used, so other work on the machine counts
little; what is compared takes turns, and the best round of each counts. Beside the figures stands their ratio to two
floors: what the leaves' hashes cost alone (each leaf, its node in the log's tree and in its session's, one sum over
all), and that with parsing each leaf and writing it again, which shows in the simplest way that it is canonical.
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
ROUNDS = 5
FLOORS = ("floor: hash", "floor: hash, parse, write")


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


def measure(works: dict[str, Callable[[], int]]) -> None:
    """The best of some rounds in which they take turns, in records a second."""
    best = dict.fromkeys(works, 0.0)
    for _ in range(ROUNDS):
        for name, work in works.items():
            started = time.process_time()
            records = work()
            best[name] = max(best[name], records / (time.process_time() - started))
    for name, found in best.items():
        ratios = "".join(f"{found / best[other]:>9.2f}" for other in FLOORS)
        print(f"{name:<30} {found:>9,.0f} records/s{ratios}")


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


def hashed(leaves: list[bytes]) -> int:
    """Hash each leaf, an inner node of the log's tree and one of the session's for it, and all that an archive holds."""
    archive = sha256()
    for leaf in leaves:
        digest = sha256(b"\0%b" % leaf).digest()
        sha256(b"\1%b%b" % (digest, digest)).digest()
        sha256(b"\1%b%b" % (digest, digest)).digest()
    for at in range(0, len(leaves), 256):
        archive.update(b"\n".join(leaves[at:at + 256]))
        archive.update(bytes(32 * len(leaves[at:at + 256])))
    return len(leaves)


def parsed(leaves: list[bytes]) -> int:
    """The same but for the archive, and parse each leaf and write it again."""
    for leaf in leaves:
        digest = sha256(b"\0%b" % leaf).digest()
        sha256(b"\1%b%b" % (digest, digest)).digest()
        sha256(b"\1%b%b" % (digest, digest)).digest()
        orjson.dumps(orjson.loads(leaf), option=orjson.OPT_SORT_KEYS)
    return len(leaves)


def started(folder: Path) -> int:
    """Open the log, which reads and checks all of it, and close it. Leaves two records more."""
    turns: Turns = SimpleQueue()
    log = AuditLog.open(folder, origin="bench/log", dispatch=turns.put)
    size = log.size
    log.close()
    return size


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
            sealed = [(secret, text) for _, _, _, secret, text in source.rows() if secret is not None and text is not None]
        bare = package(folder / "audit", folder / "bare.tar", key, payloads=False)
        whole = package(folder / "audit", folder / "whole.tar", key, payloads=True)
        publish(folder / "audit")
        measure({
            FLOORS[0]: lambda: hashed(leaves), FLOORS[1]: lambda: parsed(leaves),
            "package, payloads withheld": bare, "package, payloads opened": whole,
            "published tiles": lambda: sound(published(folder / "audit")),
            "folder, payloads opened": lambda: sound(verify_log(folder / "audit")),
            "of that, decrypting alone": lambda: opened(sealed, len(leaves)),
            "start of the log": lambda: started(folder / "audit"),
        })
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
