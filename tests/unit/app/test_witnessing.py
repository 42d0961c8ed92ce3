"""The gateway's side of its witnesses: real ones over HTTP, a real log, and a clock that the test sets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.app.witnessing import Witnessing, read_policy
from lockgate.audit.evidence.notes import LOG_KEY, WITNESS_KEY, NoteKey, parse_vkey
from lockgate.audit.failures import Conflict, Tampered, Uncosigned
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.witness.memory import Memory
from lockgate.audit.witness.witness import Witness
from lockgate.config.endorsement import WitnessSettings
from lockgate.control.witness import witness_server
from lockgate.errors import ConfigError
from lockgate.net.listen import open_listeners
from tests.unit.audit.logs import Driven, Ticking, intent, start


class Served:
    """A witness behind HTTP, in a thread."""

    def __init__(self, folder: Path, name: str, logs: list[NoteKey], now: Callable[[], float]) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.key = NoteKey(name, WITNESS_KEY, self.private.public_key().public_bytes_raw())
        self.logs, self.now = logs, now
        self.memory = folder / f"{name}.db"
        self.listening = open_listeners("127.0.0.1:0")
        self.url = f"http://127.0.0.1:{self.listening[0].getsockname()[1]}/"

    @contextmanager
    def running(self) -> Iterator[None]:
        memory = Memory(self.memory)
        server = witness_server(Witness(self.key.name, self.private, self.logs, memory, self.now), None, None)
        thread = threading.Thread(target=server.run, args=(self.listening,))
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()
            memory.close()


class Set:
    """A log, two witnesses, and a policy that asks for both."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder / "log", Ticking()
        Driven(self.folder, clock=self.clock).log.close()
        log = parse_vkey((self.folder / "log.vkey").read_text().strip(), LOG_KEY)
        self.witnesses = [Served(folder, name, [log], self.clock.now) for name in ("one", "two")]
        lines = [f"witness {served.key.name} {served.key.vkey} {served.url}\n" for served in self.witnesses]
        self.policy = folder / "policy"
        self.policy.write_text("".join(lines) + "group both all one two\nquorum both\n")
        self.settings = WitnessSettings(policy=self.policy, mode="require", max_lag="10m", timeout="5s")

        self.open: list[Witnessing] = []

    def made(self) -> Witnessing:
        """One more gateway's side of them."""
        self.open.append(Witnessing(self.settings, self.folder, lambda: open_source(self.folder), self.clock.now))
        return self.open[-1]

    def close(self) -> None:
        for witnessing in self.open:
            witnessing.close()
        for served in self.witnesses:
            served.listening[0].close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Set]:
    found = Set(tmp_path)
    yield found
    found.close()


def test_one_of_two_is_not_enough(own: Set) -> None:
    """Without a quorum nothing is kept, and nothing let through."""
    one, two = own.witnesses
    witnessing = own.made()
    assert "no checkpoint was cosigned" in str(witnessing.problem())
    two.listening[0].close()
    with one.running():
        witnessing.run()
    assert witnessing.problem() is not None
    assert not (own.folder / "cosigned").exists()


def test_a_quorum_opens_and_its_age_closes(own: Set) -> None:
    """Both are enough, until the newest quorum is too old; a restart knows what is kept."""
    witnessing = own.made()
    with own.witnesses[0].running(), own.witnesses[1].running():
        witnessing.run()
        assert witnessing.problem() is None
        assert witnessing.size == 2
        own.clock.time += 601
        assert "601 s old" in str(witnessing.problem())
        assert "601 s old" in str(own.made().problem())
        witnessing.run()
        assert (witnessing.problem(), witnessing.lag) == (None, 0.0)
        Driven(own.folder, clock=own.clock).log.close()
        witnessing.run()
        assert witnessing.size == 4
    own.policy.write_text(own.policy.read_text().replace(own.witnesses[1].key.vkey, own.witnesses[0].key._replace(
        name="three", public=bytes(32)).vkey))
    assert own.made().size == 0     # kept under a policy that is not in force any more


def test_in_mode_warn_nothing_is_closed(own: Set) -> None:
    """What is late is said and shown, and does not stop anything."""
    own.settings = own.settings.model_copy(update={"mode": "warn"})
    witnessing = own.made()
    assert witnessing.problem() is None
    assert witnessing.lateness() is not None
    assert witnessing.lag == float("inf")


def test_a_log_that_was_rolled_back_is_found_by_its_witnesses_and_by_what_is_kept(own: Set) -> None:
    """An older copy of the folder is refused because of `cosigned`; without that file the witnesses tell."""
    older = {path.name: path.read_bytes() for path in own.folder.iterdir()}
    with own.witnesses[0].running(), own.witnesses[1].running():
        Driven(own.folder, clock=own.clock).log.close()
        witnessing = own.made()
        witnessing.run()
        for name, content in older.items():
            (own.folder / name).write_bytes(content)
        with pytest.raises(Tampered, match="rolled back: 4 entries were cosigned"):
            Driven(own.folder, clock=own.clock)
        (own.folder / "cosigned").unlink()
        with pytest.raises(Conflict, match="cosigned 4 entries, we have 2"):
            own.made().run()
        with pytest.raises(Conflict):
            witnessing.run()
        assert "another log" in str(witnessing.problem())


def test_a_log_that_is_withheld_takes_nothing_new_and_ends_what_runs(tmp_path: Path) -> None:
    """No session and no request begins; outcomes, ends and the heartbeat are recorded as ever."""
    driven = Driven(tmp_path)
    driven.begin("a" * 16)
    number = driven.intent("a" * 16)
    driven.log.withhold("late")
    for call in (lambda: driven.log.begin_session(start("b" * 16), lambda _: None),
                 lambda: driven.log.intent(intent("a" * 16), None)):
        with pytest.raises(Uncosigned, match="late"):
            call()
    assert driven.log.is_writable
    driven.log.heartbeat()
    driven.log.withhold(None)
    assert driven.intent("a" * 16) == number + 1
    driven.log.close()


@pytest.mark.parametrize(("text", "reason"), [
    ("quorum none\n", "asks for nobody"), ("quorum x\n", "not defined"), ("", "no quorum"),
])
def test_a_policy_that_asks_for_nobody_is_no_policy(tmp_path: Path, text: str, reason: str) -> None:
    """A file that would let everything pass, or that cannot be met, stops the start."""
    (tmp_path / "policy").write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read_policy(tmp_path / "policy")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy(tmp_path / "absent")
