"""Erasure, holds and retention with a real gateway: over its socket, over the control API, and after its end."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from lockgate.audit.reader import Reader, SessionView, Wanted
from lockgate.audit.verify import verify_log
from lockgate.cli.main import assemble
from lockgate.errors import AuditError, LockgateError
from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, POLICIES
from tests.e2e.test_review import Held, call, wait_pending

TWO = "audit: {{mode: full, origin: test.lockgate.example/log, erasure: {{by: [privacy], approve: [dpo], approvals: 2}}}}"


@pytest.fixture(scope="module")
def guarded(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway where an erasure takes two persons."""
    config = HEAD.replace("audit: {{mode: full, origin: test.lockgate.example/log}}", TWO) + POLICIES
    with gateway(tmp_path_factory.mktemp("guarded"), config, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running


app = assemble()


def cli(*words: str, **env: str) -> str:
    """A command in this process, which is quicker; what it refuses is raised."""
    done = CliRunner().invoke(app, words, env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def until(found: Callable[[], object]) -> object:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if answer := found():
            return answer
    raise AssertionError("it did not happen in time")


def records(front: Gateway, kind: str) -> list[dict[str, object]]:
    """All records of a type, each with what its payload says under ``said``."""
    found = []
    with Reader(front.state / "audit") as reader:
        for entry in reader._entries(0, None, f'"type":"{kind}"'.encode()):
            payload = reader.payload(entry)
            found.append({**entry.record, "said": json.loads(payload.content.get("body", "{}"))})
    return found


def payloads(front: Gateway, needle: bytes) -> bool:
    """Whether some payload that can still be opened holds this."""
    with Reader(front.state / "audit") as reader:
        return any(needle in json.dumps(reader.payload(entry).content).encode() for entry in reader._entries())


def test_two_persons_erase_a_subject(guarded: Gateway, tokens: Issuer, dba: str) -> None:
    """Asked for by one, approved by another, carried out once, gone from every file, and proven by the log."""
    agent = tokens.token("erika", "agents", agent="analyst")
    privacy, officer = tokens.token("paul", "privacy", "dpo"), tokens.token("olga", "dpo")
    words = ("audit", "erase", "--subject", "erika", "--reason", "request 17 of the person", "--state", str(guarded.state))

    def work() -> None:
        with psycopg.connect(guarded.dsn(agent), autocommit=True) as connection:
            connection.execute("SELECT 'erika-canary-1'")
            connection.execute("DELETE FROM notes WHERE body = 'erika-canary-2'")

    held = Held(work)
    ticket = wait_pending(guarded, dba, "erika-canary-2")["ticket"]
    cli("review", "approve", ticket, "--url", guarded.control_url, LOCKGATE_TOKEN=dba)
    assert held.finish().error is None
    until(lambda: all(view.end is not None for view in _views(guarded, "erika")))
    sid = _views(guarded, "erika")[0].sid
    assert payloads(guarded, b"erika-canary-1")
    assert b"erika-canary-2" in _tickets(guarded)

    with pytest.raises(AuditError, match="two persons"):
        cli(*words)
    url = ("--url", guarded.control_url)
    with pytest.raises(LockgateError, match="nobody of your groups"):
        cli(*words, *url, LOCKGATE_TOKEN=officer)
    asked = json.loads(cli(*words, *url, "--json", LOCKGATE_TOKEN=privacy))
    entry = call(guarded, f"/v1/reviews/{asked['ticket']}", officer)[1]
    assert "subject erika of" in entry["statement"]
    assert "request 17 of the person" in entry["statement"]
    assert call(guarded, f"/v1/reviews/{asked['ticket']}/approve", privacy, {})[1]["code"] == "review.self"
    assert call(guarded, f"/v1/reviews/{asked['ticket']}/approve", dba, {})[1]["code"] == "review.groups"
    def erasures() -> list[dict[str, object]]:
        return [one for one in records(guarded, "erasure") if one["data"].get("ticket") == asked["ticket"]]  # type: ignore[attr-defined]

    assert erasures() == []
    cli("review", "approve", asked["ticket"], *url, LOCKGATE_TOKEN=officer)
    until(erasures)
    erasure = erasures()[0]
    assert erasure["said"] == {"reason": "request 17 of the person", "requester": [tokens.url, "paul"],
                               "reviewer": [tokens.url, "olga"]}
    until(lambda: b"erika-canary-2" not in _tickets(guarded))
    assert not payloads(guarded, b"erika-canary-1")
    shown = cli("session", "show", sid, "--state", str(guarded.state))
    assert f"(statement erased by record {erasure['index']})" in shown
    report = verify_log(guarded.state / "audit")
    assert report.findings == []
    assert report.erased[int(str(erasure["index"]))] == asked["payloads"]


def _views(front: Gateway, subject: str) -> list[SessionView]:
    with Reader(front.state / "audit") as reader:
        return reader.sessions(Wanted(subject=subject))


def _tickets(front: Gateway) -> bytes:
    return b"".join(path.read_bytes() for path in front.state.glob("lockgate.db*"))


def test_holds_and_verdicts_are_on_record_while_it_runs(guarded: Gateway, tokens: Issuer) -> None:
    """Commands on the machine reach the running gateway, act in the name of the account, and a hold refuses."""
    privacy = tokens.token("paul", "privacy")
    state = ("--state", str(guarded.state))
    with psycopg.connect(guarded.dsn(tokens.token("harry", "agents")), autocommit=True) as connection:
        connection.execute("SELECT 'harry-canary'")
    assert "is set" in run("audit", "hold", "set", "case-9", "--subject", "harry", "--reason", "litigation", *state)
    listed = json.loads(cli("audit", "hold", "list", "--json", *state))
    assert [(entry["hold"], entry["by"], entry["reason"]) for entry in listed] == [
        ("case-9", getpass.getuser(), "litigation")]
    status, answer = call(guarded, "/v1/audit/erasures", privacy, {"subject": "harry", "reason": "why"})
    assert (status, answer["code"]) == (409, "audit.held")
    assert "case-9" in answer["detail"]
    cli("audit", "hold", "lift", "case-9", "--reason", "settled", *state)
    assert "nothing is held" in cli("audit", "hold", "list", *state)
    assert "VERIFIED" in cli("audit", "verify", "--record", *state)
    (run_,) = records(guarded, "verify_run")
    assert run_["data"]["verdict"] == "verified"  # type: ignore[index]
    assert run_["said"] == {"requester": ["local", getpass.getuser()]}
    for body, expected in (({}, 422), ({"subject": "nobody-here", "reason": "why"}, 404), ({"records": [[1]], "reason": "x"}, 422),
                           ({"subject": "harry", "reason": ""}, 409)):
        assert call(guarded, "/v1/audit/erasures", privacy, body)[0] == expected
    assert call(guarded, "/v1/audit/erasures", tokens.token("eve", "agents"), {"subject": "x", "reason": "y"})[0] == 403
    assert call(guarded, "/v1/audit/erasures", "no-token", {"subject": "x", "reason": "y"})[0] == 401


def test_a_stopped_gateways_rule_still_holds(backend: Server, tokens: Issuer, tmp_path: Path) -> None:
    """How many persons are needed is read from the log, so stopping the gateway is no way round; with one the
    command does it alone, old statements of reviewers included; a changed file is on record with its owner."""
    config = HEAD.replace("audit: {{mode: full, origin: test.lockgate.example/log}}", TWO) + POLICIES
    agent = tokens.token("erika", "agents")
    with gateway(tmp_path, config, env={"CRM_PASSWORD": PASSWORD}, backend=backend.port, issuer=tokens.url) as front:
        with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
            connection.execute("SELECT 1")
            with pytest.raises(psycopg.Error, match="LG-"):
                connection.execute("TRUNCATE notes -- by ticket")
    words = ("audit", "erase", "--subject", "erika", "--reason", "why", "--state", str(front.state))
    with pytest.raises(AuditError, match="two persons"):
        cli(*words)
    assert verify_log(front.state / "audit").erased == {}
    one = config.replace("approvals: 2", "approvals: 1")
    with gateway(tmp_path, one, env={"CRM_PASSWORD": PASSWORD}, backend=backend.port, issuer=tokens.url) as front:
        path = tmp_path / "lockgate.yaml"
        path.write_text(path.read_text().replace("never-drop", "never-ever-drop"))
        until(lambda: records(front, "config_change"))
        (change,) = records(front, "config_change")
        assert change["said"]["requester"] == ["local", getpass.getuser()]  # type: ignore[index]
        assert change["data"]["approvals"] == 1  # type: ignore[index]
    assert b"TRUNCATE notes" in _tickets(front)
    assert "erased" in cli(*words)
    assert b"TRUNCATE notes" not in _tickets(front)
    report = verify_log(front.state / "audit")
    assert (report.findings, sum(report.erased.values()) > 2) == ([], True)


def test_periods_are_kept_by_the_running_gateway(backend: Server, tokens: Issuer, tmp_path: Path) -> None:
    """What is older than the period goes while the gateway serves; the records stay and verify."""
    config = HEAD.replace("origin: test.lockgate.example/log}}",
                          "origin: test.lockgate.example/log, retention: {{payloads: 1s}}}}") + POLICIES
    values = {"env": {"CRM_PASSWORD": PASSWORD}, "backend": backend.port, "issuer": tokens.url}
    with gateway(tmp_path, config, **values) as front:  # type: ignore[arg-type]
        with psycopg.connect(front.dsn(tokens.token("erika", "agents")), autocommit=True) as connection:
            connection.execute("SELECT 'retention-canary'")
    assert payloads(front, b"retention-canary")
    until(lambda: time.time() - records(front, "node_stop")[0]["time"] / 1000 > 1.1)  # type: ignore[operator]
    with gateway(tmp_path, config, **values) as front:  # type: ignore[arg-type]
        until(lambda: records(front, "erasure"))
    assert not payloads(front, b"retention-canary")
    (erasure,) = records(front, "erasure")
    assert erasure["said"] == {"requester": ["lockgate", "gateway"], "reason": "older than the configured period"}
    assert verify_log(front.state / "audit").findings == []


def status(*words: str, **env: str) -> tuple[int, str]:
    """A command's exit status and what it prints."""
    done = CliRunner().invoke(app, words, env=env)
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, done.output


def test_an_approved_erasure_that_meets_a_new_hold_is_seen_by_both(guarded: Gateway, tokens: Issuer) -> None:
    """The reviewer's command says so and fails, the requester's does, the log has it, and after the lift it is asked anew."""
    privacy, officer = tokens.token("paul", "privacy"), tokens.token("olga", "dpo")
    state, url = ("--state", str(guarded.state)), ("--url", guarded.control_url)
    with psycopg.connect(guarded.dsn(tokens.token("heidi", "agents")), autocommit=True) as connection:
        connection.execute("SELECT 'heidi-canary'")
    wish = ("audit", "erase", "--subject", "heidi", "--reason", "request 18", *url)

    def ask() -> str:
        said = cli(*wish, "--json", LOCKGATE_TOKEN=privacy)
        return str(json.loads(said)["ticket"])

    ticket = ask()
    waiting = status("audit", "erasures", ticket, *url, LOCKGATE_TOKEN=privacy)
    assert (waiting[0], f"{ticket}  pending" in waiting[1]) == (2, True), waiting
    cli("audit", "hold", "set", "case-10", "--subject", "heidi", "--reason", "litigation", *state)
    code, said = status("review", "approve", ticket, *url, LOCKGATE_TOKEN=officer)
    assert (code, "under the legal hold 'case-10'" in said) == (1, True), said
    for words, token in ((url, privacy), (url, officer), (state, "")):
        code, said = status("audit", "erasures", ticket, *words, LOCKGATE_TOKEN=token)
        assert code == 1, said
        assert f"{ticket}  refused: entry" in said
        assert "by paul, decided by olga: ERASE" in said
    refused = records(guarded, "erasure_refused")[-1]
    assert refused["data"] == {"ticket": ticket, "code": "audit.held"}
    assert refused["said"]["requester"] == [tokens.url, "paul"]  # type: ignore[index]
    assert refused["said"]["reviewer"] == [tokens.url, "olga"]  # type: ignore[index]
    assert payloads(guarded, b"heidi-canary")
    cli("audit", "hold", "lift", "case-10", "--reason", "settled", *state)
    again = ask()
    code, said = status("review", "approve", again, *url, LOCKGATE_TOKEN=officer)
    assert (code, f"{again}  erased: on record as" in said) == (0, True), said
    assert status("audit", "erasures", again, *url, LOCKGATE_TOKEN=privacy)[0] == 0
    assert not payloads(guarded, b"heidi-canary")
    listed = json.loads(cli("audit", "erasures", "--json", *state))
    assert [(one["ticket"], one["state"]) for one in listed][-2:] == [(ticket, "refused"), (again, "erased")]
    assert call(guarded, "/v1/audit/erasures", tokens.token("eve", "agents"))[0] == 403
    assert call(guarded, "/v1/audit/erasures", tokens.token("pia", "privacy"))[1] == []
    assert verify_log(guarded.state / "audit").findings == []


def test_the_key_of_a_running_gateway_is_changed(guarded: Gateway, tokens: Issuer, tmp_path: Path) -> None:
    """Sessions go on, the change is on record by who asked, and old and new key verify log, package and published tiles."""
    state, folder = ("--state", str(guarded.state)), guarded.state / "audit"
    (tmp_path / "old.vkey").write_bytes((folder / "log.vkey").read_bytes())
    with psycopg.connect(guarded.dsn(tokens.token("rita", "agents")), autocommit=True) as connection:
        connection.execute("SELECT 1")
        said = cli("audit", "rotate-key", "--reason", "yearly change", *state)
        connection.execute("SELECT 2")
    new = (folder / "log.vkey").read_text().strip()
    assert said == f"old {(tmp_path / 'old.vkey').read_text().strip()}\nnew {new}\n"
    change = records(guarded, "key_rotate")[-1]
    with Reader(folder) as reader:
        content = reader.entry(change["index"])[1].content  # type: ignore[arg-type]
    assert content == {"actor": ["local", getpass.getuser()], "reason": "yearly change"}
    for key in (tmp_path / "old.vkey", folder / "log.vkey"):
        assert "VERIFIED" in cli("audit", "verify", *state, "--key", str(key))
    out = tmp_path / "evidence.tar"
    assert "VERIFIED" in cli("audit", "export", *state, "--out", str(out))
    assert "handed on from the pinned key" in cli("audit", "verify", str(out), "--key", str(tmp_path / "old.vkey"))
    tiles = ("audit", "verify", str(folder / "tiles"), "--key", str(folder / "log.vkey"))
    until(lambda: status(*tiles)[0] == 0)
