"""A development issuer and gateways as processes, started as a user starts them.

Everything listens on loopback, on ports that nobody uses, and ends with its `with` block, by
its own process id.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testbed.postgres import free_port

_OK = 200


def command(*words: str) -> list[str]:
    """The command line of the `lockgate` that is installed beside this Python."""
    return [sys.executable, "-m", "lockgate", *words]


def run(*words: str, env: Mapping[str, str] | None = None, expect: Sequence[int] = (0,)) -> str:
    """Run a `lockgate` command to its end; returns what it printed, raises with it when it failed."""
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=60,
                          env={**os.environ, "COLUMNS": "110", **(env or {})})
    if done.returncode not in expect:
        raise RuntimeError(f"lockgate {' '.join(words)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Issuer:
    """A running development issuer; its keys are in `folder`."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, subject: str, *groups: str, **claims: str) -> str:
        """A token for `subject` in `groups`; `claims` are `agent`, `model`, `lifetime` (seconds)."""
        form = [("subject", subject), *(("groups", group) for group in groups), *claims.items()]
        request = urllib.request.Request(f"{self.url}/token", data=urllib.parse.urlencode(form).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(json.load(answer)["access_token"])


@dataclass
class Gateway:
    """A running gateway: its ports, its folder, its process."""

    port: int
    control_port: int
    folder: Path
    process: subprocess.Popen[bytes]
    log: Path
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.control_port}"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def dsn(self, token: str, database: str = "crm", **more: str) -> str:
        words = {"host": "127.0.0.1", "port": str(self.port), "user": "agent", "password": token,
                 "dbname": database, "sslmode": "disable", **more}
        return " ".join(f"{key}={value}" for key, value in words.items())

    def environment(self, token: str, database: str = "crm") -> dict[str, str]:
        """What an unchanged program needs to reach its database through the gateway."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "agent", "PGPASSWORD": token,
                "PGDATABASE": database, "PGSSLMODE": "disable"}

    def stop(self) -> None:
        """SIGTERM and wait: the drain."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the URL answers 200; raises with the log's end when the process died or time ran out."""
    deadline = time.monotonic() + 60            # it takes two seconds, and thirty on a machine that is busy
    pause = 0.02
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == _OK:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(pause)
    raise RuntimeError(f"{url} did not become ready:\n{log.read_text(errors='replace')[-6000:]}")


def spawn(words: list[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that writes to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(words, stdout=output, stderr=output, env={**os.environ, **env})


@contextmanager
def issuer(folder: Path) -> Iterator[Issuer]:
    """A development issuer until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = folder / "issuer.log"
    process = spawn(command("issuer", "run", "--unsafe-development-only", "--address", f"127.0.0.1:{port}",
                            "--state", str(folder)), log, {})
    try:
        wait_ready(f"http://127.0.0.1:{port}/.well-known/openid-configuration", process, log)
        yield Issuer(port, folder)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def gateway(
    folder: Path, config: str, *, env: Mapping[str, str] | None = None, more_ports: Sequence[str] = (),
    ready: str = "/readyz", **values: object,
) -> Iterator[Gateway]:
    """`lockgate serve` with `config` as its file, until the block ends.

    In `config`, ``{port}``, ``{control}``, ``{folder}``, those of `more_ports` and `values` are
    filled in (`str.format`). Waits until the control address answers 200 at `ready`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ports = {name: free_port() for name in ("port", "control", *more_ports)}
    path = folder / "lockgate.yaml"
    path.write_text(config.format(folder=folder, **ports, **values))
    log = folder / "gateway.log"
    running = Gateway(ports["port"], ports["control"], folder,
                      spawn(command("serve", "-c", str(path)), log, env or {}), log, ports)
    try:
        wait_ready(f"{running.control_url}{ready}", running.process, log)
        yield running
    finally:
        running.stop()
