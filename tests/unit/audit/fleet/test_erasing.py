"""A person is erased in the whole fleet, and what is out of reach from here is told with the way there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockgate.audit.admin import AdminRefused, recorded
from lockgate.audit.erasing import Held, NothingToErase, Wish
from lockgate.audit.fleet.erasing import erase_everywhere
from lockgate.audit.storage.database.place import Place
from lockgate.cli.audit import app
from lockgate.cli.calling import ApiError
from lockgate.errors import AuditError, ConfigError
from tests.unit.audit.fleet.nodes import execute, join, opened, verified
from tests.unit.audit.logs import start

RUN = CliRunner()


@pytest.fixture
def fleet(place: Place, tmp_path: Path) -> Path:
    """Sessions of alice in shards 1 and 2, of bob in 2 and 3; every gateway has stopped. The first one's audit folder."""
    members = [join(place, tmp_path / "state" / "audit")]
    members += [join(place, tmp_path / f"n{n}", key=members[0].folder.parent) for n in (1, 2)]
    for member, subjects in zip(members, (("alice",), ("alice", "bob"), ("bob",)), strict=True):
        driven = opened(member)
        for subject in subjects:
            driven.begin(f"{subject}-{member.lease.shard}", subject)
            driven.run(f"{subject}-{member.lease.shard}")
            driven.log.end_session(f"{subject}-{member.lease.shard}", "closed")
        driven.log.close()
        member.leave()
    return tmp_path / "state"


def erase(state: Path, *words: str) -> tuple[int, str]:
    result = RUN.invoke(app, ["erase", "--reason", "request 17", "--state", str(state), *words], catch_exceptions=False)
    return result.exit_code, result.output


def kept(place: Place) -> dict[int, int]:
    """Shard → payloads that can still be opened."""
    return dict(execute(place, "SELECT shard, count(*) FROM payloads GROUP BY shard ORDER BY shard"))


def test_a_person_is_erased_in_every_shard(place: Place, fleet: Path) -> None:
    """Each shard says so in its own log; where nothing of the person is, nothing is recorded; everything verifies."""
    before = kept(place)
    status, said = erase(fleet, "--subject", "alice")
    assert (status, [line.split(":")[0] for line in said.splitlines()]) == (0, ["erased in shard-1", "erased in shard-2"])
    after = kept(place)
    assert {shard: before[shard] - after[shard] for shard in (1, 2, 3)} == {1: 1, 2: 1, 3: 0}   # +1 for each erasure's own
    reports = verified(fleet / "audit")
    assert {name: sum(reports[name].erased.values()) for name in ("shard-1", "shard-2", "shard-3")} == {
        "shard-1": 2, "shard-2": 2, "shard-3": 0}
    with pytest.raises(NothingToErase, match="any shard"):
        erase(fleet, "--subject", "alice")


def test_what_another_gateway_holds_is_left_and_named(place: Place, tmp_path: Path, fleet: Path) -> None:
    """What can be erased from here is; for the rest the shard, the reason and the command for its gateway, and status 1."""
    other = join(place, tmp_path / "n1")
    assert other.lease.shard == 2
    status, said = erase(fleet, "--subject", "alice", "--json")
    assert status == 1
    answer = json.loads(said)
    assert [part["shard"] for part in answer["shards"]] == [1]
    (left,) = answer["left"]
    assert (left["shard"], left["payloads"]) == (2, 2)
    assert left["why"] == f"the gateway {other.lease.holder} writes it"
    assert "--subject alice" in left["command"]
    assert "--state state/audit/shard-2" in left["command"]
    status, said = erase(fleet, "--subject", "alice")
    assert status == 1
    assert "NOT erased: 2 payloads in shard-2" in said
    other.leave()
    assert erase(fleet, "--subject", "alice")[0] == 0


def test_a_hold_in_one_shard_keeps_all_of_it(place: Place, fleet: Path) -> None:
    """An erasure that may not be carried out in one place is carried out in none."""
    with recorded(fleet / "audit" / "shard-3") as log:
        log.hold("case", "set", {"subject": "bob"}, "litigation")
    before = kept(place)
    with pytest.raises(Held):
        erase(fleet, "--subject", "bob")
    assert kept(place) == before


def test_one_name_of_two_issuers_in_two_shards_is_not_guessed(place: Place, tmp_path: Path, fleet: Path) -> None:
    """A name that one shard knows from here and another from there may be two people."""
    other = join(place, tmp_path / "n2")
    driven = opened(other)
    begun = replace(start("other-3", "alice"), issuer="https://elsewhere.test")
    assert driven.wait(lambda done: driven.log.begin_session(begun, done)) is None
    driven.log.close()
    other.leave()
    before = kept(place)
    with pytest.raises(AuditError, match="several issuers"):
        erase(fleet, "--subject", "alice")
    assert kept(place) == before


def test_a_shard_that_nobody_holds_waits_while_a_gateway_runs_here(
    place: Place, tmp_path: Path, fleet: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside a running gateway only its own shard can be written; for another one that is free the words say what to do."""
    def beside(folder: Path, _forget: object) -> None:
        raise AdminRefused(f"{folder} is not the log of the gateway that runs here")

    monkeypatch.setattr("lockgate.audit.fleet.erasing.recorded", beside)
    _, parts = erase_everywhere(fleet / "audit", Wish("request 17", subject="alice"), lambda _: None)
    assert [(part.shard, str(part.why)) for part in parts] == [
        (1, f"{fleet / 'audit' / 'shard-1'} is not the log of the gateway that runs here"),
        (2, "no gateway holds it, and the one that runs here has another")]


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_each_gateway_is_asked_whatever_another_one_says() -> None:
    """Over the control API: tickets, erasures, gateways without anything of the person, and those that refuse or are away."""
    answers = {"/a": (202, {"ticket": "LG-1", "payloads": 3}), "/b": (404, {"code": "audit.nothing", "detail": "nothing"}),
               "/c": (409, {"code": "audit.held", "detail": "under a hold"})}
    asked: list[Any] = []

    class Gateways(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, self.headers["Authorization"], self.rfile.read(int(self.headers["Content-Length"]))))
            status, said = answers[self.path[:2]]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            pass

    with serving(Gateways) as at:
        urls = [f"{at}/{name}" for name in "abc"]
        words = ["erase", "--subject", "alice", "--reason", "r", "--records", "1"]
        result = RUN.invoke(app, [*words[:5], *(word for url in urls for word in ("--url", url))],
                            env={"LOCKGATE_TOKEN": "t"}, catch_exceptions=False)
        assert result.exit_code == 1
        assert result.output.splitlines() == [
            f"{at}/a:", "3 payloads wait for somebody else's approval: ticket LG-1",
            "what becomes of it: lockgate audit erasures LG-1", f"{at}/b:", "nothing of it is there",
            f"NOT erased: {at}/c: under a hold"]
        assert [path for path, _, _ in asked] == [f"/{name}/v1/audit/erasures" for name in "abc"]
        with pytest.raises(ApiError, match="at any of these"):
            RUN.invoke(app, [*words[:5], "--url", urls[1], "--url", urls[1]], env={"LOCKGATE_TOKEN": "t"}, catch_exceptions=False)
        with pytest.raises(ConfigError, match="one log"):
            RUN.invoke(app, ["erase", *words[3:], "--url", urls[0], "--url", urls[1]], env={"LOCKGATE_TOKEN": "t"},
                       catch_exceptions=False)
