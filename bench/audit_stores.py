"""Durable records a second in a file and in PostgreSQL, each with its writer here and in a process of its own.

    python bench/audit_stores.py [rounds]

All in one run, the stores taking turns, so that what else the machine does meets all of them; the best of
the rounds is shown with its p50 and p99, and the ratio to the file with a writer of its own, which is what
one gateway has. A record counts when it is on the disk; two for each statement, see `audit_append`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psycopg

from bench.audit_append import Turns, durable
from lockgate.audit.log import AuditLog
from lockgate.audit.storage.database.place import Place
from lockgate.model import Secret
from testbed.postgres import Server, embedded

CONCURRENT = {1: 1_500, 64: 20_000, 256: 20_000}
STORES = ("file, apart", "file, here", "database, apart", "database, here")
Figures = tuple[float, float, float]


@contextmanager
def opened(store: str, server: Server, shard: int) -> Iterator[tuple[AuditLog, Turns]]:
    """A fresh log."""
    folder = Path(tempfile.mkdtemp())
    turns: Turns = SimpleQueue()
    more: dict[str, Any] = {}
    if store.startswith("database"):
        more = {"place": Place("127.0.0.1", server.port, "postgres", "postgres", Secret(server.password), tls="disable"),
                "shard": shard}
    log = AuditLog.open(folder, origin=f"bench/shard-{shard}", dispatch=turns.put, queue=100_000,
                        apart=store.endswith("apart"), **more)
    try:
        yield log, turns
    finally:
        log.close()
        shutil.rmtree(folder)


def main() -> None:
    """Run all and print the best of the rounds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    best: dict[tuple[str, int], Figures] = {}
    with embedded({"fsync": "on", "wal_sync_method": "fdatasync", "synchronous_commit": "on",
                   "shared_buffers": "256MB", "max_wal_size": "4GB"}) as server:
        with psycopg.connect(server.dsn()) as connection:
            version = connection.execute("SHOW server_version").fetchone()
        for turn in range(rounds):
            for number, store in enumerate(STORES):
                with opened(store, server, 1 + turn * len(STORES) + number) as (log, turns):
                    for concurrent, total in CONCURRENT.items():
                        figures = durable(log, turns, concurrent, total)
                        best[store, concurrent] = max(best.get((store, concurrent), figures), figures)
    print(f"\nbest of {rounds} rounds; PostgreSQL {version and version[0]} on loopback, fsync on\n")
    print(f"{'store':<18}{'at a time':>10}{'records/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>8}")
    for concurrent in CONCURRENT:
        for store in STORES:
            rate, p50, p99 = best[store, concurrent]
            ratio = rate / best[STORES[0], concurrent][0]
            print(f"{store:<18}{concurrent:>10}{rate:>12,.0f}{p50 * 1e3:>9.2f}{p99 * 1e3:>9.2f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
