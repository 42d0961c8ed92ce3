"""Two real gateways on one trail, with everything switched on: what leaves them, what is recorded, erased, held and kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyrage
import pytest

from lockgate.audit.reader import Reader
from lockgate.errors import AuditError
from testbed.gateway import Gateway, Issuer, command, gateway, run
from testbed.postgres import Server, embedded
from tests.e2e.conftest import HEAD, PASSWORD
from tests.e2e.test_custody import cli
from tests.e2e.test_export import spans
from tests.e2e.test_fleet import CANARY, STORE
from tests.e2e.test_review import call
from tests.unit.audit.export.receivers import Posted, http_server

IDENTITY = pyrage.x25519.Identity.generate()
DUTIES = f"""\
  signer: {{{{socket: "{{folder}}/signer.sock"}}}}
  recording: {{{{recipients: [{IDENTITY.to_public()}], record: true}}}}
  erasure: {{{{by: [privacy], approve: [dpo], approvals: 2}}}}
  export:
    - {{{{name: siem, to: https, url: "{{siem}}", unsafe_http: true}}}}
    - {{{{name: lines, to: file, path: "{{folder}}/out.jsonl"}}}}
telemetry: {{{{otlp: "{{collector}}", unsafe_http: true, metrics: 1s}}}}
"""
ENVIRONMENT = {"CRM_PASSWORD": PASSWORD, "TRAIL_PASSWORD": CANARY}
AUDIT = "audit: {{mode: full, origin: test.lockgate.example/log}}\n"
ORIGIN = "fleet.lockgate.example/log"


def eventually(is_true: Callable[[], Any]) -> Any:
    """What `is_true` gives once it is something."""
    end = time.monotonic() + 30
    while not (found := is_true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Server]:
    """The fleet's database, made by an administrator with the SQL that the command prints."""
    with embedded({"fsync": "on", "wal_sync_method": "fdatasync"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE gate LOGIN PASSWORD '{CANARY}'")
            admin.execute("CREATE DATABASE trail")
        subprocess.run([server.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", server.dsn("trail")], check=True,
                       input=run("audit", "sql", "--role", "gate"), text=True)
        yield server


@contextmanager
def signer(folder: Path, key: Path | None = None) -> Iterator[None]:
    """The signer of one machine, as a process; with the fleet's key where another machine has made it."""
    folder.mkdir()
    if key is not None:
        shutil.copy(key, folder / "signer.key")
    words = ["audit", "signer", "--origin", ORIGIN, "--shards", "2", "--key", str(folder / "signer.key"),
             "--socket", str(folder / "signer.sock")]
    cli(*words, "--init")
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith(b"signing")
        yield
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def ask(front: Gateway, token: str, *statements: str) -> None:
    with psycopg.connect(front.dsn(token), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def posted(siem: Posted) -> list[dict[str, Any]]:
    return [json.loads(line) for path, _, body in siem.requests if path == "/events" for line in body.splitlines()]


def records(state: Path, kind: str) -> list[dict[str, Any]]:
    """All records of a type in a shard, each with what its payload says under ``said``."""
    os.environ["TRAIL_PASSWORD"] = CANARY
    found = []
    with Reader(state) as reader:
        for entry in reader._entries(0, None, f'"type":"{kind}"'.encode()):
            payload = reader.payload(entry)
            found.append({**entry.record, "said": json.loads(payload.content.get("body", "{}"))})
    return found


def statement_texts(shard: Path) -> str:
    with Reader(shard) as reader:
        return json.dumps([reader.payload(entry).content for entry in reader._entries()])


def test_a_fleet_does_its_duties_and_another_gateway_goes_on_with_them(
    backend: Server, trail: Server, tokens: Issuer, agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Signers, exports, traces and recordings of two gateways; one is killed, and the one that takes its shard exports
    what was left, replays what it had recorded, and erases what two persons agree on. All of it verifies."""
    monkeypatch.setenv("TRAIL_PASSWORD", CANARY)
    config = HEAD.replace(AUDIT, STORE + DUTIES)
    identity = tmp_path / "identity"
    identity.write_text(str(IDENTITY))
    with ExitStack() as stack:
        siem = stack.enter_context(http_server())
        values: dict[str, Any] = {
            "env": ENVIRONMENT, "backend": backend.port, "issuer": tokens.url, "database": trail.port, "siem": siem.url,
            "collector": siem.url.removesuffix("/events")}
        stack.enter_context(signer(tmp_path / "a"))
        stack.enter_context(signer(tmp_path / "b", tmp_path / "a" / "signer.key"))
        first = stack.enter_context(gateway(tmp_path / "a", config, **values))
        erika = tokens.token("erika", "agents", agent="analyst")
        with gateway(tmp_path / "b", config, **values) as second:
            ask(first, agent, "SELECT 'first-canary'")
            ask(second, erika, "SELECT 'second-canary'", "SELECT count(*) FROM notes")
            logs = eventually(lambda: found if len(found := {
                event["metadata"]["log_name"] for event in posted(siem) if event["activity_name"] == "Logoff"}) == 2 else None)
            assert logs == {f"{ORIGIN}/shard-1", f"{ORIGIN}/shard-2"}
            eventually(lambda: len({span.name for span in spans(siem)}) > 1 and len([
                span for span in spans(siem) if span.name == "session crm"]) == 2)
            eventually(lambda: sum(path == "/v1/metrics" for path, _, _ in siem.requests) > 2)
            held = psycopg.connect(second.dsn(erika), autocommit=True)
            held.execute("SELECT 'third-canary'")
            eventually(lambda: [mark for mark in records(first.state / "audit" / "shard-2", "rec_mark")
                                if mark["data"]["chunks"] and mark["index"] > 12])
            os.kill(second.process.pid, signal.SIGKILL)
            second.process.wait()
            held.close()
        eventually(lambda: any(end["cause"] == "crash" for end in records(first.state / "audit" / "shard-2", "session_end")))
        assert not list(tmp_path.rglob("*.rec"))
        replay_from_elsewhere(first, identity)
        before = len(posted(siem))
        (tmp_path / "b" / "state" / "audit" / "store.json").unlink()        # as if on another machine
        shutil.rmtree(tmp_path / "b" / "state" / "audit" / "shard-2")
        with gateway(tmp_path / "b", config, **values) as third:
            check_exports(siem, before)
            erase(third, tokens, agent)
        rotate(first, agent, tmp_path / "a")
        told = cli("audit", "verify", "--state", str(first.state), "--key", str(first.state / "audit" / "log.vkey"))
        assert told.count("VERIFIED") == 4, told


def rotate(front: Gateway, agent: str, machine: Path) -> None:
    """The shard's key is changed while its gateway runs: the signer has one of its own for it then, and goes on with it."""
    old, new = (line.split()[1] for line in cli("audit", "rotate-key", "--state", str(front.state), "--reason", "yearly").splitlines())
    shard = front.state / "audit" / "shard-1"
    assert (shard / "log.vkey").read_text().strip() == new != old
    assert [path.name for path in (machine / "signer.key.signed").glob("*.key")] == ["shard-1.key"]
    ask(front, agent, "SELECT 'behind the change'")
    eventually(lambda: any(found["data"]["key"] == new for found in records(front.state / "audit" / "fleet", "shard_checkpoint")))


def replay_from_elsewhere(first: Gateway, identity: Path) -> None:
    """The first gateway's machine plays what the second one recorded; that it did is on the first one's log."""
    other = str(first.state / "audit" / "shard-2")
    sessions = json.loads(cli("session", "list", "--state", other, "--subject", "erika", "--json"))
    assert [view["recorded"]["state"] for view in sessions] == ["whole", "cut"]
    played = cli("session", "replay", sessions[0]["session"], "--state", other, "--identity", str(identity))
    assert "second-canary" in played
    (seen,) = records(first.state / "audit" / "shard-1", "recording_view")
    assert (seen["data"]["log"], seen["data"]["session"]) == (f"{ORIGIN}/shard-2", sessions[0]["session"])
    out = first.folder / "evidence.tar"
    told = cli("audit", "export", "--session", sessions[0]["session"], "--state", other, "--out", str(out))
    assert "VERIFIED" in told
    assert "1 streams" in told
    for words in (("hold", "set", "case", "--all"), ("rotate-key",)):
        with pytest.raises(AuditError, match="is not the log of the gateway that runs here"):
            cli("audit", *words, "--reason", "x", "--state", other)


def check_exports(siem: Posted, before: int) -> None:
    """What the killed gateway had not sent is sent by the next one; what it had sent is not sent once more."""
    shard = f"{ORIGIN}/shard-2"

    def ours(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [event for event in events if event["metadata"]["log_name"] == shard]

    eventually(lambda: any("crash" in json.dumps(event) for event in ours(posted(siem)[before:])))
    again = [event["metadata"]["uid"] for event in ours(posted(siem)[before:])]
    sent = [event["metadata"]["uid"] for event in ours(posted(siem)[:before])]
    assert len(set(again) & set(sent)) <= 4     # a batch whose cursor a kill was quicker than
    sequence = sorted({int(uid.removeprefix(f"{shard}/").partition("/")[0]) for uid in {*sent, *again}})
    assert sequence[0] == 0


def erase(third: Gateway, tokens: Issuer, agent: str) -> None:
    """Two persons erase what the killed gateway wrote; a hold on the shard stands in the way until it is lifted."""
    shard = third.state / "audit" / "shard-2"
    assert "second-canary" in statement_texts(shard)
    privacy, officer = tokens.token("paul", "privacy", "dpo"), tokens.token("olga", "dpo")
    state = ("--state", str(third.state))
    cli("audit", "hold", "set", "case", "--subject", "erika", "--reason", "litigation", *state)
    body: dict[str, object] = {"subject": "erika", "reason": "request 17"}
    assert call(third, "/v1/audit/erasures", privacy, body)[1]["code"] == "audit.held"
    cli("audit", "hold", "lift", "case", "--reason", "settled", *state)
    status, asked = call(third, "/v1/audit/erasures", privacy, body)
    assert status < 300, asked
    assert call(third, f"/v1/reviews/{asked['ticket']}/approve", privacy, {})[1]["code"] == "review.self"
    assert call(third, f"/v1/reviews/{asked['ticket']}/approve", officer, {})[0] < 300
    (erasure,) = eventually(lambda: records(shard, "erasure"))
    assert erasure["said"]["reviewer"] == [tokens.url, "olga"]
    eventually(lambda: "second-canary" not in statement_texts(shard))
    other = str(third.state / "audit" / "shard-2")
    eventually(lambda: {view["recorded"]["state"] for view in json.loads(cli(
        "session", "list", "--state", other, "--json")) if view["recorded"]} == {"erased"})


def test_each_gateway_keeps_the_periods_of_its_shard(
    backend: Server, trail: Server, tokens: Issuer, agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is older than its period is destroyed on both shards while both gateways run, and both verify."""
    monkeypatch.setenv("TRAIL_PASSWORD", CANARY)
    config = HEAD.replace(AUDIT, STORE + "  retention: {{payloads: 1s}}\n")
    values: dict[str, Any] = {"env": ENVIRONMENT, "backend": backend.port, "issuer": tokens.url, "database": trail.port}
    shards = [tmp_path / "a" / "state" / "audit" / f"shard-{number}" for number in (1, 2)]
    for turn in range(2):
        with gateway(tmp_path / "a", config, **values) as first:
            if not turn:
                (tmp_path / "b" / "state" / "audit").mkdir(parents=True)
                shutil.copy(first.state / "audit" / "log.key", tmp_path / "b" / "state" / "audit" / "log.key")
            with gateway(tmp_path / "b", config, **values) as second:
                if not turn:
                    for front in (first, second):
                        ask(front, agent, "SELECT 'kept-for-a-second'")
                else:
                    for shard in shards:
                        eventually(lambda shard=shard: records(shard, "erasure"))  # type: ignore[misc]
        eventually(lambda: all(time.time() - records(shard, "node_stop")[0]["time"] / 1000 > 1.1 for shard in shards))
    for shard in shards:
        assert "kept-for-a-second" not in statement_texts(shard)
        assert records(shard, "erasure")[0]["said"]["requester"] == ["lockgate", "gateway"]
    told = cli("audit", "verify", "--state", str(first.state))
    assert told.count("VERIFIED") == 4, told
