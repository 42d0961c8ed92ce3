"""The real `lockgate leaktest` against a real gateway, and against set-ups that leak.

In the suite each shape is fired in one way, in turn (`--quick`); with LOCKGATE_LEAKTEST=full in all four.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lockgate.protocols.postgres.leaktest import SUITE
from testbed.certificates import make_certificate
from testbed.gateway import Gateway, Issuer, command, gateway
from testbed.postgres import Server, debian, debian_bin
from tests.e2e.conftest import HEAD, PASSWORD, own_database

LABELS = ('"lockgate_leaktest*.*.ssn", "lockgate_leaktest.*.SSN", "lockgate_leaktest.lk_t.n",'
          ' "lockgate_leaktest.lk_contacts.email", "lockgate_leaktest.lk_kinds.secret_*"')
SOME = ("--quick", "--group", "known")
QUICK = () if os.environ.get("LOCKGATE_LEAKTEST") == "full" else ("--quick",)


def configuration(columns: str) -> str:
    return HEAD.replace("name: crm", "name: leaktest", 1) + (
        f"  - {{{{name: leaktest, connections: [leaktest], mask: [{{{{columns: [{columns}], with: redact}}}}]}}}}\n")


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str
    report: dict[str, Any]

    def shapes(self, verdict: str) -> list[str]:
        return [entry["shape"] for entry in self.report["shapes"] if entry["verdict"] == verdict]


@dataclass(frozen=True)
class Bench:
    """Where the test runs: a database of its own on the shared server."""

    backend: Server
    tokens: Issuer
    folder: Path

    @property
    def direct(self) -> str:
        return f"postgresql://app@127.0.0.1:{self.backend.port}/leaktest"

    def run(self, port: int, *words: str, secret: str | None = None) -> Done:
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        done = subprocess.run(
            command("leaktest", "--to", f"postgresql://app@127.0.0.1:{port}/leaktest", "--report", str(report), *words),
            capture_output=True, text=True, timeout=300, check=False,
            env={**os.environ, "LOCKGATE_TOKEN": secret or self.tokens.token("agent-1", "agents"),
                 "LOCKGATE_SETUP_PASSWORD": PASSWORD, "COLUMNS": "200"})
        found = json.loads(report.read_text()) if report.exists() else {}
        return Done(done.returncode, done.stdout, done.stderr, found)

    def scratch(self, port: int, *words: str, secret: str | None = None) -> Done:
        return self.run(port, "--scratch", "--setup-dsn", self.direct, *words, secret=secret)

    def query(self, text: str) -> list[Any]:
        with psycopg.connect(self.backend.dsn("leaktest"), autocommit=True) as admin:
            return admin.execute(text.encode()).fetchall()


PEOPLE = """
CREATE TABLE people (id int PRIMARY KEY, name text, email text);
INSERT INTO people SELECT g, 'n' || g, 'person' || g || '@secret.example' FROM generate_series(1, 50) g;
"""


def build(backend: Server) -> None:
    with psycopg.connect(backend.dsn("leaktest"), autocommit=True) as admin:
        admin.execute("DROP SCHEMA IF EXISTS lockgate_leaktest CASCADE; DROP SCHEMA IF EXISTS lockgate_leaktest_2 CASCADE")
        admin.execute("SET ROLE app")
        for statement in SUITE.scratch().build:
            admin.execute(statement.encode())


@pytest.fixture(scope="module")
def bench(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with own_database(backend, "leaktest", PEOPLE):
        build(backend)
        yield Bench(backend, tokens, tmp_path_factory.mktemp("leaktest"))


@pytest.fixture(autouse=True)
def made(bench: Bench) -> None:
    """The scratch ground is there before each test, as a run with --keep leaves it: a gateway refuses labels that name
    nothing."""
    build(bench.backend)


@contextmanager
def before(bench: Bench, columns: str, tmp: Path) -> Iterator[Gateway]:
    with gateway(tmp, configuration(columns), env={"CRM_PASSWORD": PASSWORD}, backend=bench.backend.port,
                 issuer=bench.tokens.url) as running:
        yield running


@pytest.fixture(scope="module")
def front(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that masks all of the scratch ground, and one real column."""
    with before(bench, LABELS + ', "public.people.email"', tmp_path_factory.mktemp("front")) as running:
        yield running


@contextmanager
def relay(port: int) -> Iterator[int]:
    """A plain TCP relay: what somebody has who forgot the gateway."""
    def pump(source: socket.socket, target: socket.socket) -> None:
        with closing(source), closing(target):
            try:
                while data := source.recv(65_536):
                    target.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for ends in ((client, server), (server, client)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.timeout(300)
def test_nothing_leaks_through_the_gateway_and_most_does_directly(
    bench: Bench, front: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 leaks of all shapes, few over-refusals; the same shapes, fired directly, do leak."""
    done = bench.scratch(front.port, "--prove", *QUICK)
    with capsys.disabled():
        print("\n" + done.out)
    assert done.shapes("leak") == []
    assert done.status == 0, done.err
    assert done.out.startswith(f"leaks: 0 of {done.report['fired']}\n")
    assert done.report["fired"] >= 800
    assert done.shapes("unknown") == []
    assert set(done.shapes("stated")) <= {"unique key oracle", "foreign key oracle", "on conflict do nothing oracle"}
    assert done.report["over_refusals"] <= 0.03 * done.report["benign"]
    leaking = sum(entry["verdict"] in ("leak", "stated") for entry in done.report["control"])
    assert leaking >= 0.85 * done.report["fired"]


def test_the_ground_is_gone_afterwards_and_no_shape_spoiled_it(bench: Bench, front: Gateway) -> None:
    """What was made is dropped; until then every shape found it as it was made."""
    done = bench.scratch(front.port, *SOME, "--way", "simple")
    assert "it was made again" not in done.err
    assert bench.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'lockgate!_leaktest%' ESCAPE '!'") == []
    kept = bench.scratch(front.port, *SOME, "--way", "binary", "--keep")
    assert kept.status == 0
    assert len(bench.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'lockgate!_leaktest%' ESCAPE '!'")) == 2


def test_a_relay_without_a_gateway_is_found_out(bench: Bench) -> None:
    """Straight to the database most shapes leak, and the status says so."""
    with relay(bench.backend.port) as port:
        done = bench.scratch(port, *SOME, "--no-wait", "--keep", secret=PASSWORD)
    assert done.status == 1
    assert done.report["leaks"] > 50
    assert "not masked: lk_t.ssn" in done.err
    assert "LEAK  " in done.out
    values = [value for (value,) in bench.query("SELECT ssn FROM lockgate_leaktest.lk_t")]
    written = (bench.folder / "report.json").read_text() + (bench.folder / "report.md").read_text() + done.out + done.err
    assert not any(value in written for value in values)


@pytest.mark.parametrize(("missing", "shown", "group"), [
    ("lockgate_leaktest.lk_t.n", "lk_t.n", "numbers"),
    ("lockgate_leaktest.lk_contacts.email", "lk_contacts.email", "against masks at the source"),
])
def test_one_column_without_a_label_is_found_out(bench: Bench, tmp_path: Path, missing: str, shown: str, group: str) -> None:
    """A policy that leaves one column out leaks through shapes of that column, and through no other."""
    with before(bench, LABELS.replace(f'"{missing}"', '"public.people.email"'), tmp_path / "gateway") as running:
        done = bench.scratch(running.port, "--quick", "--group", group, "--group", "known", "--wait", "0.1", "--keep")
    assert done.status == 1
    assert done.report["unmasked"] == [shown]
    assert f"not masked: {shown}" in done.err
    assert 0 < done.report["leaks"] < 100
    assert "plain" not in done.shapes("leak")


@pytest.mark.parametrize(("column", "where", "says"), [
    ("public.people.emial", "id < 20", "public.people.emial cannot be read: "),
    ("public.poeple.email", "id < 20", "public.poeple.email cannot be read: "),
    ("public.people.email", "idd < 20", "public.people.email cannot be read: "),
    ("public.people.email", "id < 0", "public.people.email has no rows to read"),
])
def test_columns_that_cannot_be_read_are_no_success(
    bench: Bench, front: Gateway, tmp_path: Path, column: str, where: str, says: str
) -> None:
    """What answers every shape with an error, or with nothing, was not tested."""
    (tmp_path / "canaries").write_text("person7@secret.example\n")
    done = bench.run(front.port, "--columns", column, "--canary-file", str(tmp_path / "canaries"), "--where", where, *QUICK)
    assert (done.status, says in done.err) == (4, True), done.err


def test_real_columns_are_tested_without_a_change(bench: Bench, front: Gateway, tmp_path: Path) -> None:
    """With values that stand there, read only: no leak through the gateway, many through a relay, nothing changed."""
    (tmp_path / "canaries").write_text("person7@secret.example\nperson8@secret.example\n\n")
    words = ("--columns", "public.people.email", "--canary-file", str(tmp_path / "canaries"), "--where", "id < 20", *QUICK)
    before_it = bench.query("SELECT md5(string_agg(p::text || xmin, ',' ORDER BY id)) FROM people p")
    done = bench.run(front.port, *words)
    assert done.shapes("leak") == []
    assert done.status == 0, done.err
    assert done.report["fired"] > 150
    assert done.report["mode"] == "columns, read-only"
    with relay(bench.backend.port) as port:
        open_one = bench.run(port, *words, "--no-wait", secret=PASSWORD)
    assert open_one.status == 1
    assert open_one.report["leaks"] > 100
    assert bench.query("SELECT md5(string_agg(p::text || xmin, ',' ORDER BY id)) FROM people p") == before_it
    assert "secret.example" not in (bench.folder / "report.json").read_text() + open_one.out


def test_what_keeps_it_from_running_is_told(bench: Bench, front: Gateway, tmp_path: Path) -> None:
    """A wrong port, a wrong token, nothing labelled, a schema of somebody else: a line and a hint, status 4."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nowhere = bench.scratch(port)
    assert (nowhere.status, "cannot connect to 127.0.0.1" in nowhere.err) == (4, True)
    stranger = bench.scratch(front.port, secret="no-token")
    assert (stranger.status, "refused the log-in" in stranger.err) == (4, True)
    assert "no-token" not in stranger.err
    with relay(bench.backend.port) as straight:
        unlabelled = bench.scratch(straight, "--wait", "0.1", secret=PASSWORD)
    assert (unlabelled.status, "nothing is labelled" in unlabelled.err) == (4, True)
    assert "- name: leaktest" in unlabelled.err            # the policy that would
    none = bench.run(front.port)
    assert (none.status, "--scratch, or --columns" in none.err) == (4, True)
    missing = bench.run(front.port, "--scratch")
    assert (missing.status, "direct connection" in missing.err) == (4, True)
    with psycopg.connect(bench.backend.dsn("leaktest"), autocommit=True) as admin:
        admin.execute("DROP SCHEMA IF EXISTS lockgate_leaktest CASCADE; SET ROLE app")      # whose owner may drop it
        admin.execute("CREATE SCHEMA lockgate_leaktest; CREATE TABLE lockgate_leaktest.precious (id int)")
        taken = bench.scratch(front.port)
        assert (taken.status, "did not make" in taken.err) == (4, True), taken.err
        assert bench.query("SELECT count(*) FROM lockgate_leaktest.precious") == [(0,)]


@pytest.mark.skipif(debian_bin() is None, reason="Debian's PostgreSQL is not installed: run scripts/install-test-packages")
def test_tls_is_verified_and_nothing_goes_out_without_it(tmp_path: Path) -> None:
    """Over TLS with SCRAM and channel binding; a certificate of an unknown authority is refused before any secret."""
    made = make_certificate(tmp_path / "tls", "127.0.0.1", "localhost")
    with debian(made.certificate, made.key) as server:
        environment = {**os.environ, "LOCKGATE_TOKEN": server.password, "LOCKGATE_SETUP_PASSWORD": server.password}

        def run(parameters: str) -> subprocess.CompletedProcess[str]:
            url = f"postgresql://postgres@127.0.0.1:{server.port}/postgres?{parameters}"
            return subprocess.run(command("leaktest", "--to", url, "--scratch", "--setup-dsn", url, "--no-wait", *SOME), capture_output=True, text=True, timeout=120, env=environment, check=False)

        verified = run(f"sslmode=verify-full&sslrootcert={made.authority}")
        assert verified.returncode == 1, verified.stderr
        assert "leaks: " in verified.stdout
        unknown = run("sslmode=verify-full")
        assert unknown.returncode == 4
        assert "is not accepted" in unknown.stderr
