"""A gateway publishes its log while it serves, and others read and verify it over HTTP."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import psycopg
import pytest
from tlog_scales.backend import HttpBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tiles.reader import fetch_from
from lockgate.audit.tiles.verify import verify_tiles
from lockgate.audit.tree import leaf_hash
from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD

OPEN = HEAD.replace("audit: {{", "audit: {{publish: 1s, serve: everyone, ")


def published_size(running: Gateway, above: int = 0) -> int:
    """The size of the published checkpoint, once it is larger than `above`."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = httpx.get(f"{running.control_url}/log/checkpoint", timeout=5)
        if answer.status_code == 200 and (size := int(answer.text.split("\n")[1])) > above:
            return size
    pytest.fail(running.log.read_text())


def test_the_log_is_published_served_and_verified_from_outside(
    backend: Server, tokens: Issuer, agent: str, tmp_path: Path
) -> None:
    """Statements of a real client appear in the tiles; tlog-scales and `lockgate audit verify URL` accept them."""
    with gateway(tmp_path, OPEN, env={"CRM_PASSWORD": PASSWORD}, backend=backend.port, issuer=tokens.url) as running:
        before = published_size(running)
        with psycopg.connect(running.dsn(agent), autocommit=True) as client:
            for _ in range(20):
                client.execute("SELECT count(*) FROM customers")
        size = published_size(running, before + 40)
        key = running.state / "audit" / "log.vkey"
        reader = TilesReader(HttpBackend(f"{running.control_url}/log"))
        checkpoint = reader.get_checkpoint()
        checkpoint.verify(Vkey.from_string(key.read_text().strip()))
        assert checkpoint.size >= size
        assert reader.calculate_root_hash() == checkpoint.root_hash
        proof = reader.get_inclusion_proof(size - 1, checkpoint.size)
        proof.check(leaf_hash(reader.get_entry(size - 1)), checkpoint.root_hash)
        reader.get_consistency_proof(before, checkpoint.size).check(reader.mth(0, before), checkpoint.root_hash)
        said = run("audit", "verify", f"{running.control_url}/log", "--key", str(key))
        assert "VERIFIED" in said
        assert "withheld" in said
        assert not httpx.get(f"{running.control_url}/log/tile/../../log.key", timeout=5).is_success
    tiles = running.state / "audit" / "tiles"
    report = verify_tiles(fetch_from(tiles), str(tiles), key=key)
    with open_source(running.state / "audit") as source:
        last = source.head().size
    assert (report.verdict, report.entries, report.open_sessions) == (Verdict.VERIFIED, last, 0)


def test_by_default_the_log_is_for_reviewers(front: Gateway, agent: str, dba: str) -> None:
    """No token 401, an agent's 403; a reviewer reads it."""
    url = f"{front.control_url}/log/checkpoint"
    assert httpx.get(url, timeout=5).status_code == 401
    assert httpx.get(url, timeout=5, headers={"Authorization": f"Bearer {agent}"}).status_code == 403
    answer = httpx.get(url, timeout=5, headers={"Authorization": f"Bearer {dba}"})
    assert answer.status_code == 200
    assert answer.text.startswith("test.lockgate.example/log\n")
