"""Gateways of a fleet, in this process or in one of their own, as far as the audit log goes."""

from __future__ import annotations

import os
import shutil
import socket as socket_module
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg

from lockgate.audit.entry import parse
from lockgate.audit.evidence.report import Report
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.fleet.verification import verify_fleet
from lockgate.audit.signing.guard import Guard, own_key
from lockgate.audit.signing.process import listen, serve
from lockgate.audit.storage.database.place import Place, read_pointer, shard_folder, shard_origin
from lockgate.audit.storage.database.source import DatabaseSource
from tests.unit.audit.logs import Driven

ORIGIN = "fleet.test/log"


def join(
    place: Place, folder: Path, *, count: int = 4, seconds: float = 60.0, key: Path | None = None, socket: Path | None = None,
) -> Membership:
    """A member whose folder has the fleet's key already, as an operator would copy it, or that asks a signer."""
    if key is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(key / "log.key", folder / "log.key")
    return Membership.join(place, folder, ORIGIN, count=count, seconds=seconds,
                           signer={} if socket is None else {"socket": str(socket), "patience": 10.0})


@contextmanager
def signing(key: Path, where: Path, *, shards: int = 4) -> Iterator[tuple[Path, dict[str, Guard], list[str]]]:
    """A fleet's signer on one machine, in a thread: its socket, its memories, and what it refused."""
    where.mkdir(exist_ok=True)
    names = {shard_origin(ORIGIN, shard): where / shard_folder(shard) for shard in range(shards + 1)}
    for name, path in names.items():
        if not path.exists():
            Guard.begin(key, path, name)
    guards = {name: Guard.open(key, path, name, own_key(path)) for name, path in names.items()}
    refused: list[str] = []
    listening = listen(where / "s.sock", others=False)
    thread = threading.Thread(target=serve, args=(listening, guards, frozenset({os.getuid()}), refused.append))
    thread.start()
    try:
        yield where / "s.sock", guards, refused
    finally:
        listening.shutdown(socket_module.SHUT_RDWR)
        thread.join()
        listening.close()
        for guard in guards.values():
            guard.close()


def opened(member: Membership, **options: Any) -> Driven:
    """The log of the shard that a member holds."""
    options = {"signer": member.ring.signer, **options}
    return Driven(member.folder, origin=member.origin, place=member.place, shard=member.lease.shard, **options)


def execute(place: Place, statement: str, *values: object) -> list[Any]:
    with psycopg.connect(host=place.host, port=place.port, dbname=place.database, user=place.user,
                         password=place.password.reveal(), autocommit=True,
                         options="-csearch_path=lockgate_audit") as admin:
        cursor = admin.execute(statement, values)     # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def records(place: Place, shard: int) -> list[dict[str, Any]]:
    with DatabaseSource(place, shard) as source:
        return [parse(leaf) for _, _, leaf in source.leaves()]


def verified(folder: Path, **options: Any) -> dict[str, Report]:
    pointer = read_pointer(folder)
    assert pointer is not None
    return {report.origin.rpartition("/")[2]: report for report in verify_fleet(pointer, folder, **options)}


def findings(folder: Path, **options: Any) -> dict[str, list[tuple[str, str, int | None]]]:
    return {name: [(found.check, found.message, found.index) for found in report.findings]
            for name, report in verified(folder, **options).items() if report.findings}


NODE = """
import os, sys
from pathlib import Path
from lockgate.audit.storage.database.place import Place
from tests.unit.audit.fleet import nodes
from tests.unit.audit.logs import intent
import orjson
place = Place.from_terms(orjson.loads(sys.stdin.readline()))
member = nodes.join(place, Path(sys.argv[1]), seconds=float(sys.argv[2]), key=Path(sys.argv[3]))
driven = nodes.opened(member, apart=True)
sid = f"{member.lease.holder}"
driven.begin(sid)
print(member.lease.shard, driven.log._writer.process, flush=True)
def go():
    numbers = []
    def done(error):
        print("forwarded" if error is None else "poisoned", numbers[0], flush=True)
        if error is None:
            go()
    numbers.append(driven.log.intent(intent(sid, "x" * 300), done))
for _ in range(4):
    go()
while True:
    driven.turns.get()()
"""


class Node:
    """A gateway's process under load: it prints a line for each request that it would forward."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stdout is not None
        words = process.stdout.readline().split()
        self.shard, self.writer = int(words[0]), int(words[1])

    def line(self) -> tuple[str, int]:
        assert self.process.stdout is not None
        word, number = self.process.stdout.readline().split()
        return word.decode(), int(number)

    def until_poisoned(self) -> list[int]:
        """What it forwarded before it was told that it must not."""
        forwarded = []
        while True:
            word, number = self.line()
            if word == "poisoned":
                return forwarded
            forwarded.append(number)


@contextmanager
def node(place: Place, folder: Path, key: Path, *, seconds: float = 60.0) -> Iterator[Node]:

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", NODE, str(folder), str(seconds), str(key)], env=environment,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[4])
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(orjson.dumps(place.terms()) + b"\n")
        process.stdin.flush()
        yield Node(process)
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait()
