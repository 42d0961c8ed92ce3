"""Processes that hold a key leave no core, even after somebody has lifted the limit on cores."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lockgate.audit import keys
from lockgate.audit.checkpoint import Signer
from lockgate.audit.signing.guard import Guard
from lockgate.errors import AuditError
from lockgate.model import Event
from tests.unit.audit.logs import ORIGIN, Driven

MAIN = "from lockgate.cli.main import main; main()"
DUMPABLE = "import os, signal; print('up', flush=True); signal.pause()"


def signer(folder: Path) -> list[str]:
    """`lockgate audit signer`."""
    Guard.begin(folder / "s.key", folder / "s.key.signed", ORIGIN)
    return [MAIN, "audit", "signer", "--origin", ORIGIN, "--key", "s.key", "--socket", "s.sock"]


def witness(folder: Path) -> list[str]:
    """`lockgate witness serve`."""
    subprocess.run([sys.executable, "-c", MAIN, "witness", "init", "w.test", "--state", "w"], cwd=folder, check=True,
                   capture_output=True)
    log = Signer(ORIGIN, keys.create_key(folder / "log.key")).verifier
    (folder / "log.vkey").write_text(f"{log}\n")
    return [MAIN, "witness", "serve", "--state", "w", "--log", "log.vkey", "--listen", "127.0.0.1:0"]


def nothing(_folder: Path) -> list[str]:
    """A process that does not protect itself."""
    return [DUMPABLE]


@contextmanager
def started(folder: Path, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a folder of its own, which has said its first line."""
    process = subprocess.Popen([sys.executable, "-c", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)})
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline(), process.stderr.read().decode()
        yield process
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()
        process.stderr.close()


def abort(process: int) -> None:
    """SIGABRT without a limit on the core."""
    with suppress(PermissionError):
        resource.prlimit(process, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.kill(process, signal.SIGABRT)


@pytest.mark.parametrize(("program", "cores"), [(signer, 0), (witness, 0), (nothing, 1)])
def test_a_process_that_holds_a_key_leaves_no_core(tmp_path: Path, program: Callable[[Path], list[str]], cores: int) -> None:
    """The signer and the witness; a process that forgets to see to it leaves one, or this would prove nothing."""
    with started(tmp_path, program(tmp_path)) as process:
        abort(process.pid)
        assert process.wait(60) == -signal.SIGABRT
    if cores and (os.getuid() != 0 or Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/"))):
        pytest.skip("cores go elsewhere on this machine")
    assert len(list(tmp_path.glob("core*"))) == cores


def test_the_writer_of_the_log_leaves_no_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the log's key and what is written; the log is closed by its death."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    driven = Driven(tmp_path / "log", apart=True)
    driven.begin("a" * 16)
    driven.run("a" * 16, "SELECT 'c4n-in-the-memory'")
    abort(driven.log._writer.process)  # type: ignore[union-attr]
    try:
        error = driven.wait(lambda done: driven.log.event(Event("cancel", {}), done))
    except AuditError as known:     # the log has noticed already
        error = known
    assert isinstance(error, AuditError)
    driven.log.close()
    assert list((tmp_path / "here").iterdir()) == []
