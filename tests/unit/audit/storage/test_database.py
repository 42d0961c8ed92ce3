"""What only a database can do wrong: settings, rights, certificates, answers that never come."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from lockgate.audit.failures import Poisoned
from lockgate.audit.storage.contract import Head
from lockgate.audit.storage.database import schema
from lockgate.audit.storage.database import store as store_module
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import Place, Pointer, read_pointer, write_pointer
from lockgate.audit.storage.database.recordings import DatabaseShelf, Recorder
from lockgate.audit.storage.database.source import DatabaseSource
from lockgate.audit.storage.database.store import DatabaseStore
from lockgate.errors import AuditError
from lockgate.model import Secret
from testbed.certificates import make_certificate
from testbed.postgres import Server, debian, debian_bin
from tests.unit.audit.logs import ORIGIN, intent
from tests.unit.audit.storage.stores import DatabaseLog, place_of
from tests.unit.audit.storage.test_conformance import batch, grown, records, require_sound


@pytest.fixture
def kept(server: Server, tmp_path: Path) -> DatabaseLog:
    return DatabaseLog(tmp_path, server)


@contextmanager
def database(server: Server, name: str) -> Iterator[str]:
    """A database of its own, for what would disturb the others."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield name
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def alter(server: Server, statement: str, *, name: str = "postgres") -> None:
    with psycopg.connect(server.dsn(name), autocommit=True) as admin:
        admin.execute(statement)


# ---------------------------------------------------------------- what a server must be


def test_a_server_that_stops_to_flush_is_found_out(server: Server, tmp_path: Path) -> None:
    """What makes a commit durable may be turned off under a running gateway: the next commit is refused, and
    no log opens there any more."""
    with database(server, "torn") as name:
        place = place_of(server, tmp_path, name)
        store = DatabaseStore.open(place, shard=1, origin="o", fresh_key=bytes(32))
        head = store.head()
        store.commit(batch(0, [b"a"]), head, grown(head, 1, epoch=1))
        try:
            alter(server, "ALTER SYSTEM SET full_page_writes = off")
            alter(server, "SELECT pg_reload_conf()")
            with Connection(place) as probe:
                while probe.value("SELECT current_setting('full_page_writes')") == "on":
                    pass
            with pytest.raises(AuditError, match="no longer flushes"):
                for size in range(2, 200):      # the store's own connection hears of it between two statements
                    head = store.head()
                    store.commit(batch(size - 1, [b"b"]), head, grown(head, size))
            with pytest.raises(AuditError, match="full_page_writes is off") as caught:
                DatabaseStore.open(place, shard=1, origin="o", fresh_key=bytes(32))
            assert "set full_page_writes = on" in caught.value.advice()
        finally:
            alter(server, "ALTER SYSTEM RESET full_page_writes")
            alter(server, "SELECT pg_reload_conf()")


def test_a_role_that_commits_asynchronously_is_overruled(server: Server, tmp_path: Path) -> None:
    """Whatever a role or a database sets, a commit of the log waits for the flush."""
    with database(server, "lazy") as name:
        alter(server, f"ALTER DATABASE {name} SET synchronous_commit = off")
        place = place_of(server, tmp_path, name)
        store = DatabaseStore.open(place, shard=1, origin="o", fresh_key=bytes(32))
        assert "synchronous_commit = on" in store._begin
        head = store.head()
        store.commit(batch(0, [b"a"]), head, grown(head, 1, epoch=1))
        store._begin = "BEGIN"      # without the overruling the check in the transaction finds it
        head = store.head()
        with pytest.raises(AuditError, match="synchronous_commit off"):
            store.commit(batch(1, [b"b"]), head, grown(head, 2))
        with DatabaseSource(place, 1) as source:
            assert source.head().size == 1


def test_tables_that_a_crash_empties_are_refused(server: Server, tmp_path: Path) -> None:
    """An UNLOGGED table is not the log's."""
    with database(server, "unlogged") as name:
        place = place_of(server, tmp_path, name)
        DatabaseStore.open(place, shard=1, origin="o", fresh_key=bytes(32)).close()
        alter(server, "ALTER TABLE lockgate_audit.payloads SET UNLOGGED", name=name)
        with pytest.raises(AuditError, match="not the ones that Lockgate made"):
            DatabaseStore.open(place, shard=1, origin="o", fresh_key=bytes(32))


def test_a_later_format_is_refused(server: Server, tmp_path: Path) -> None:
    """Tables of a later version are left alone."""
    with database(server, "later") as name:
        place = place_of(server, tmp_path, name)
        DatabaseStore.open(place, shard=1, origin="o", fresh_key=bytes(32)).close()
        alter(server, "UPDATE lockgate_audit.store SET format = format + 1", name=name)
        with pytest.raises(AuditError, match="later format"):
            DatabaseStore.open(place, shard=1, origin="o", fresh_key=b"")


# ---------------------------------------------------------------- rights


def test_the_printed_sql_is_enough_and_no_more(server: Server, tmp_path: Path) -> None:
    """With the rights of `lockgate audit sql` a gateway's role writes the log and cannot change what is written;
    an auditor's reads it."""
    with database(server, "least") as name:
        alter(server, "DROP ROLE IF EXISTS gate")
        alter(server, "DROP ROLE IF EXISTS auditor")
        alter(server, "CREATE ROLE gate LOGIN PASSWORD 'gate'")
        alter(server, "CREATE ROLE auditor LOGIN PASSWORD 'auditor'")
        gate = replace(place_of(server, tmp_path, name), user="gate", password=Secret("gate"))
        with pytest.raises(AuditError, match="tables of the audit log are missing") as caught:
            DatabaseStore.open(gate, shard=1, origin="o", fresh_key=bytes(32))
        assert "lockgate audit sql" in caught.value.advice()
        alter(server, schema.statements("gate", auditor="auditor"), name=name)
        store = DatabaseStore.open(gate, shard=1, origin="o", fresh_key=bytes(32))
        head = store.head()
        rows = batch(0, [b"leaf"] * 300)
        rows.keys, rows.payloads, rows.begun = [(0, b"k")], [(0, b"p")], [("s", 0)]
        store.commit(rows, head, grown(head, 300, epoch=1))
        rows = batch(300, [b"leaf"])
        rows.ended, rows.destroyed = [(300, "s")], [(0, 0)]
        head = store.head()
        store.commit(rows, head, grown(head, 301))
        store.close()
        recorder = Recorder(gate, 1)
        recorder.medium("s", "client").append([b"chunk"])
        recorder.close()
        with DatabaseShelf(gate, 1) as shelf:
            assert shelf.remove("s")
        with Connection(gate) as connection:
            for statement in ("UPDATE recordings SET chunk = ''", "DELETE FROM cursors","UPDATE entries SET leaf = ''", "DELETE FROM entries", "TRUNCATE payloads",
                              "UPDATE checkpoints SET note = ''", "DELETE FROM sessions", "DROP TABLE entries",
                              "UPDATE sessions SET first = 0", "UPDATE meta SET value = ''", "DELETE FROM head",
                              "ALTER TABLE entries DISABLE TRIGGER ALL"):
                with pytest.raises(AuditError, match="42501"):      # insufficient_privilege
                    connection.execute(statement)
        auditor = replace(gate, user="auditor", password=Secret("auditor"))
        with DatabaseSource(auditor, 1) as source:
            assert len(list(source.hashes())) == 301
        with Connection(auditor) as connection, pytest.raises(AuditError, match="42501"):
            connection.execute("INSERT INTO entries VALUES (1, 301, '', '')")


# ---------------------------------------------------------------- the way there


def test_another_machine_takes_tls(tmp_path: Path) -> None:
    """A database that is not on loopback is not spoken to without a verified certificate."""
    for host, mode in (("db.example", "disable"), ("10.0.0.5", "disable"), ("127.0.0.1", "require")):
        with pytest.raises(AuditError, match=r"TLS|tls is"):
            Connection(Place(host, 5432, "d", "u", tls=mode))


@pytest.mark.skipif(debian_bin() is None, reason="needs Debian's PostgreSQL: scripts/install-test-packages")
def test_certificates_are_verified(tmp_path: Path) -> None:
    """With the right authority and name the log opens over TLS; with another of either it does not."""
    good = make_certificate(tmp_path / "good", "127.0.0.1")
    bad = make_certificate(tmp_path / "bad", "127.0.0.1")
    hba = "hostssl all all 127.0.0.1/32 scram-sha-256\n"
    with debian(good.certificate, good.key, {"fsync": "on"}, hba) as server:
        place = place_of(server, tmp_path, "postgres", tls="verify-full", ca=str(good.authority))
        DatabaseStore.open(place, shard=1, origin="o", fresh_key=bytes(32)).close()
        with Connection(place) as connection:
            assert connection.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
        with pytest.raises(AuditError, match=r"certificate|SSL"):
            Connection(replace(place, ca=str(bad.authority)))
        with pytest.raises(AuditError, match=r"certificate|SSL|[Hh]ostname"):
            Connection(replace(place, host="localhost"))
        Connection(replace(place, host="localhost", tls="verify-ca")).close()
        with pytest.raises(AuditError, match="28000"):      # the server takes TLS only
            Connection(replace(place, tls="disable"))


def test_the_password_is_nowhere_to_be_seen(server: Server, tmp_path: Path) -> None:
    """The pointer file names where the password is, and neither errors nor reprs show it."""
    place = replace(place_of(server, tmp_path), password=Secret("hunter2-canary"))
    write_pointer(tmp_path, Pointer(place, ORIGIN, 1, "h"))
    assert b"hunter2" not in (tmp_path / "store.json").read_bytes()
    assert (tmp_path / "store.json").stat().st_mode & 0o077 == 0
    assert "hunter2" not in repr(place)
    with pytest.raises(AuditError) as caught:
        Connection(place)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
    pointer = read_pointer(tmp_path)
    assert pointer is not None
    assert pointer.place.password == Secret(server.password)


@pytest.mark.parametrize("content", ["", "{}", '{"v":2,"kind":"postgresql"}', '{"v":1,"kind":"x"}', "[1]", "\0",
                                     '{"v":1,"kind":"postgresql","origin":"o","shard":1,"holder":"h","evil":1}'])
def test_a_pointer_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    """What cannot be followed is an error, not an empty log."""
    (tmp_path / "store.json").write_text(content)
    with pytest.raises(AuditError):
        read_pointer(tmp_path)


# ---------------------------------------------------------------- answers that never come


class Cutting:
    """A way to the server that ends both sides when a COMMIT passes, before or after the server has it."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.armed: str | None = None
        self.swallow = False
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listening.getsockname()[1])
        self.pairs: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self.pairs += [client, server]
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        try:
            while data := source.recv(65_536):
                if asking and self.armed and b"COMMIT\0" in data:
                    if self.armed == "before":
                        break
                    self.swallow = True
                elif self.swallow and not asking:
                    break       # the server has answered, so it has committed
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        for end in (self.listening, *self.pairs):
            end.close()


@pytest.mark.parametrize("apart", [False, True], ids=["here", "apart"])
@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_commit_without_an_answer_is_never_repeated(kept: DatabaseLog, lost: str, apart: bool) -> None:
    """Where the answer to COMMIT is lost, nobody knows: the log is poisoned, and the next start finds out. Here
    the record is there once, or not at all, as the server had it, and is settled as unknown."""
    way = Cutting(kept.server.port)
    driven = kept.open(place=replace(kept.place, port=way.port), apart=apart)
    driven.begin("s")
    driven.run("s")
    while driven.log.queued:
        driven.log._thread.join(0.01)
    size = driven.log.size
    way.armed = lost
    error = driven.wait(lambda done: driven.log.intent(intent("s", "SELECT 'lost'"), done))
    assert isinstance(error, Poisoned)
    driven.log.close()
    way.close()
    kept.open().log.close()
    stored = records(kept)
    intents = [record for record in stored if record["type"] == "intent"]
    assert len(intents) == (2 if lost == "after" else 1)
    assert (stored[size]["type"] == "intent") == (lost == "after")
    assert sum(record.get("reason") == "crash" for record in stored) == (1 if lost == "after" else 0)
    require_sound(kept)


SERVED = """
import sys
from pathlib import Path
from lockgate.audit.storage.database.place import read_pointer
from tests.unit.audit.logs import Driven, intent
folder, origin = Path(sys.argv[1]), sys.argv[2]
pointer = read_pointer(folder)
driven = Driven(folder, origin=origin, place=pointer.place, shard=pointer.shard)
driven.begin("s" * 16)
print("ready", flush=True)
def go():
    numbers = []
    def done(error):
        print(numbers[0] if error is None else "poisoned", flush=True)
        if error is None:
            go()
    numbers.append(driven.log.intent(intent("s" * 16, "x" * 300), done))
for _ in range(8):
    go()
while True:
    driven.turns.get()()
"""


def test_a_server_killed_in_the_middle_of_commits_loses_nothing_acknowledged(kept: DatabaseLog) -> None:
    """All of PostgreSQL's processes die at once under load: after its own recovery every acknowledged record is
    there, under a signed root."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", SERVED, str(kept.folder), kept.origin], env=environment,
                               stdout=subprocess.PIPE, cwd=Path(__file__).parents[4])
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    acknowledged = {int(process.stdout.readline()) for _ in range(200)}
    with psycopg.connect(kept.server.dsn(), autocommit=True) as admin:
        # The postmaster sees a backend die and throws all others and the shared memory away.
        victim = admin.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'lockgate-audit'"
                               " AND datname = 'audit'").fetchone()
        assert victim is not None
        os.kill(victim[0], signal.SIGKILL)
    for line in process.stdout:
        if line == b"poisoned\n":
            break
        acknowledged.add(int(line))
    process.kill()
    process.stdout.close()
    process.wait()
    require_up(kept.server)
    kept.open().log.close()
    intents = {record["sseq"] for record in records(kept) if record["type"] == "intent"}
    assert intents >= acknowledged
    require_sound(kept)


def require_up(server: Server) -> None:
    for _ in range(600):
        try:
            psycopg.connect(server.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            threading.Event().wait(0.05)
        else:
            return
    raise AssertionError("the server did not recover")


def test_a_writer_that_stops_inside_a_transaction_does_not_block_the_next(
    kept: DatabaseLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends a transaction that nobody continues, so that the shard can be taken over."""
    monkeypatch.setattr(store_module, "_IDLE", 0.3)
    stopped, store = kept.store(), kept.store()
    assert isinstance(stopped, DatabaseStore)
    stopped._connection.execute("BEGIN")
    stopped._connection.execute("UPDATE head SET size = size WHERE shard = $1", kept.shard)
    head = store.head()
    store.commit(batch(0, [b"a"]), head, grown(head, 1, epoch=1))
    assert store.head().size == 1
    with pytest.raises(AuditError):
        stopped.commit(batch(0, [b"b"]), head, grown(head, 1, epoch=1))
    store.close()
    stopped.close()


def test_a_closed_store_says_so(kept: DatabaseLog) -> None:
    """After a failed commit nothing more is tried."""
    store = kept.store()
    head = store.head()
    with pytest.raises(Poisoned):
        store.commit(batch(0, [b"a"]), Head(9, 9, b"", ""), grown(head, 1))
    with pytest.raises(AuditError, match="closed"):
        store.commit(batch(0, [b"a"]), head, grown(head, 1))
