"""The fleet log before real witnesses and a real authority, by whichever gateway writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from lockgate.app.fleet_endorsement import fleet_endorsement
from lockgate.audit.evidence.notes import LOG_KEY, parse_note, parse_tree, parse_vkey
from lockgate.audit.failures import Conflict
from lockgate.audit.fleet.membership import Membership
from lockgate.audit.fleet.witness import FleetLog
from lockgate.audit.storage.database.place import FLEET, Place
from lockgate.audit.storage.database.source import DatabaseSource
from lockgate.audit.tree import Frontier
from lockgate.config.endorsement import AnchorSettings, WitnessSettings
from lockgate.config.settings import AuditSettings
from testbed.postgres import embedded
from testbed.timestamps import Authority
from tests.unit.app.test_unheld import session
from tests.unit.app.test_witnessing import Served
from tests.unit.audit.fleet.nodes import execute, join, verified
from tests.unit.audit.logs import Ticking
from tests.unit.audit.storage.stores import DURABLE, place_of


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with embedded(DURABLE) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE fleet")
        yield place_of(server, tmp_path, "fleet")


class Gateway:
    """What of a gateway writes the fleet log and has it endorsed."""

    def __init__(self, member: Membership, audit: AuditSettings, clock: Ticking, stack: ExitStack) -> None:
        self.member, self.log, self.time = member, FleetLog(member), 0.0
        self.folder = member.ring.lend(FLEET)
        self.chores = fleet_endorsement(
            audit, self.folder, lambda: DatabaseSource(member.place, FLEET), lambda: self.log.is_held, 60.0,
            (clock.now, lambda: self.time), stack)

    def look(self) -> list[str]:
        """Every chore once; which it did something for."""
        before = self.kept()
        for chore in self.chores:
            chore.run()
        return sorted(self.kept() - before)

    def kept(self) -> set[str]:
        """What is in the folder of a checkpoint of some size."""
        cosigned = self.folder / "cosigned"
        sizes = {f"cosigned {parse_tree(parse_note(cosigned.read_text()).text).size}"} if cosigned.exists() else set()
        return sizes | {path.name for path in self.folder.glob("anchors/*.tsr")}


def written(place: Place) -> int:
    with DatabaseSource(place, FLEET) as source:
        return source.head().size


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Callable[[Membership, Ticking], AuditSettings]]:
    """Settings that ask for a witness and an authority, both of which run."""
    with ExitStack() as stack:
        def made(member: Membership, clock: Ticking) -> AuditSettings:
            known = parse_vkey(str(member.ring.first(FLEET)), LOG_KEY)
            witness, authority = Served(tmp_path, "one", [known], clock.now), Authority(tmp_path / "authority", "p256")
            stack.callback(witness.listening[0].close)
            stack.enter_context(witness.running())
            policy = tmp_path / "policy"
            policy.write_text(f"witness one {witness.key.vkey} {witness.url}\nquorum one\n")
            return AuditSettings(
                witness=WitnessSettings(policy=policy, mode="require", every="30s"),
                anchor=AnchorSettings(url=stack.enter_context(authority.serving()), certificates=authority.folder / "chain.pem"))

        yield made


def test_who_writes_the_fleet_log_has_it_cosigned_and_stamped(
    place: Place, tmp_path: Path, audit: Callable[[Membership, Ticking], AuditSettings],
) -> None:
    """Nobody else does; who takes it over goes on where the witness is; a fleet log that was rolled back is refused."""
    clock = Ticking()
    first = join(place, tmp_path / "n1", count=2)
    second = join(place, tmp_path / "n2", count=2, key=tmp_path / "n1")
    with ExitStack() as stack:
        asked = audit(first, clock)
        one, two = (Gateway(member, asked, clock, stack) for member in (first, second))
        assert [(chore.name, chore.every) for chore in one.chores] == [("fleet_witness", 30.0), ("fleet_anchor", 60.0)]
        session(first, "a" * 16)
        assert one.log.tick() == 1
        size = written(place)
        assert (one.look(), two.look()) == ([f"{size}.tsr", f"cosigned {size}"], [])
        report = verified(tmp_path / "n1")["fleet"]
        assert (report.findings, report.cosigned) == ([], size)
        session(second, "b" * 16)
        assert one.log.tick() == 1
        assert one.look() == []                 # neither of them is due again
        one.time = 31.0
        assert one.look() == [f"cosigned {size + 1}"]
        one.log.end()
        session(second, "c" * 16)
        assert two.log.tick() == 1
        one.time = 10_000.0
        assert one.look() == []
        now = written(place)
        assert now > size + 1
        assert two.look() == [f"{now}.tsr", f"cosigned {now}"]
        two.log.end()
        execute(place, "DELETE FROM entries WHERE shard = 0")
        for table in ("checkpoints", "payloads", "payload_keys", "sessions"):
            execute(place, f"DELETE FROM {table} WHERE shard = 0")
        execute(place, "UPDATE head SET size = 0, note = '', frontier = %s, epoch = 0 WHERE shard = 0", Frontier().to_bytes())
        for path in (one.folder / "cosigned", one.folder / "checkpoint"):
            path.unlink()                       # a machine that has forgotten what it saw
        again = Gateway(first, asked, clock, stack)
        assert again.log.tick() == 2
        with pytest.raises(Conflict, match="another log under this name"):
            again.look()
        again.log.end()
        first.leave()
        second.leave()
