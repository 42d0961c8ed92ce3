"""A gateway whose log a real witness cosigns, and a signer in a process of its own, over their real sockets."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.evidence.trust import parse_trust
from lockgate.audit.signing.guard import Guard
from lockgate.audit.signing.trust import draft_trust
from lockgate.audit.verify import verify_log
from lockgate.cli import witness
from lockgate.cli.audit import app as audit_commands
from testbed.gateway import Gateway, Issuer, command, gateway, spawn
from testbed.postgres import Server, free_port
from tests.e2e.conftest import HEAD, PASSWORD, POLICIES

ORIGIN = "test.lockgate.example/log"


@contextmanager
def process(log: Path, ready: str, *words: str) -> Iterator[None]:
    """A `lockgate` process that has said `ready`, until the block ends."""
    child = spawn(command(*words), log, {})
    deadline = time.monotonic() + 20
    try:
        while ready not in log.read_text():
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < deadline
        yield
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def parts(front: Gateway) -> dict[str, str]:
    """What readiness says."""
    try:
        with urllib.request.urlopen(f"{front.control_url}/readyz", timeout=5) as answer:
            said = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            said = json.load(error)
    found: dict[str, str] = said.get("parts", said)
    return found


def until(front: Gateway, name: str, words: str) -> None:
    deadline = time.monotonic() + 30
    while words not in str(parts(front).get(name)):
        assert time.monotonic() < deadline, (parts(front), front.log.read_text())


def test_nothing_is_let_through_before_the_witness_cosigned_and_a_roll_back_is_refused(
    backend: Server, tokens: Issuer, agent: str, tmp_path: Path,
) -> None:
    """`require` refuses with its reason, opens with the first quorum; an older copy of the log does not start."""
    port = free_port()
    vkey = CliRunner().invoke(witness.app, ["init", "witness.test/one", "--state", str(tmp_path / "w")]).output.strip()
    policy = tmp_path / "policy"
    policy.write_text(f"witness one {vkey} http://127.0.0.1:{port}/\nquorum one\n")
    signer = tmp_path / "signer"
    signer.mkdir()
    key, sock = str(signer / "log.key"), str(signer / "sock")
    Guard.begin(Path(key), Path(key + ".signed"), ORIGIN)
    audit = (f"audit: {{{{mode: full, origin: {ORIGIN}, signer: {{{{socket: '{sock}'}}}}, witness: {{{{policy: '{policy}', "
             "mode: require, every: 1s, max_lag: 1m}}}}")
    config = HEAD.replace("audit: {{mode: full, origin: test.lockgate.example/log}}", audit) + POLICIES
    assert audit in config

    def start() -> object:
        return gateway(tmp_path / "own", config, env={"CRM_PASSWORD": PASSWORD}, ready="/healthz",
                       backend=backend.port, issuer=tokens.url)

    folder = tmp_path / "own" / "state" / "audit"
    with process(tmp_path / "signer.log", "signing ", "audit", "signer", "--origin", ORIGIN, "--key", key, "--socket", sock):
        with start() as front:  # type: ignore[attr-defined]
            with pytest.raises(psycopg.OperationalError, match="not cosigned by its witnesses"):
                psycopg.connect(front.dsn(agent))
            assert "no checkpoint was cosigned" in parts(front)["witnesses"]
            serving = ("witness", "serve", "--state", str(tmp_path / "w"), "--listen", f"127.0.0.1:{port}",
                       "--log", str(folder / "log.vkey"))
            with process(tmp_path / "witness.log", "witness ", *serving):
                until(front, "witnesses", "ok")
                until(front, "connection crm", "ok")
                with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
                    assert connection.execute("SELECT 1").fetchone() == (1,)
        older = shutil.copytree(folder, tmp_path / "older")
        with process(tmp_path / "witness2.log", "witness ", *serving), start() as front:  # type: ignore[attr-defined]
            until(front, "witnesses", "ok")
            until(front, "connection crm", "ok")
        shutil.rmtree(folder)
        shutil.copytree(older, folder)
        with pytest.raises(RuntimeError, match="rolled back"), start():  # type: ignore[attr-defined]
            pass    # the signer remembers
    shutil.copy(key, folder / "log.key")
    (folder / "log.key").chmod(0o600)
    config = config.replace(f"signer: {{{{socket: '{sock}'}}}}, ", "")
    with process(tmp_path / "witness3.log", "witness ", *serving):
        with pytest.raises(RuntimeError, match="a witness has seen another log"), start():  # type: ignore[attr-defined]
            pass    # and so does the witness
    trust = parse_trust(draft_trust(folder, 1, policy.read_text(), ()))
    report = verify_log(folder, trust=trust)
    assert report.verdict is Verdict.VERIFIED, report.findings
    assert 0 < report.cosigned <= report.size
    assert report.uncosigned_seconds is not None
    own = verify_log(folder)        # the gateway's own word on its witnesses, who sign for nobody who has not pinned them
    assert own.cosigned == report.cosigned
    made = CliRunner().invoke(audit_commands, ["export", "--state", str(folder.parent), "--out", str(tmp_path / "e.tar")])
    assert (made.exit_code, "cosigned by one" in made.output) == (0, True), made.output
