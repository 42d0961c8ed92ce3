"""The signer as a process: a real one, over its socket, under a real log."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import Poisoned
from lockgate.audit.log import AuditLog
from lockgate.audit.signing import wire
from lockgate.audit.signing.contract import SignerAway, SignerRefused
from lockgate.audit.signing.guard import Guard
from lockgate.audit.signing.process import listen, peer, serve
from lockgate.audit.signing.remote import SocketSigner
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from tests.unit.audit.logs import Driven, intent
from tests.unit.audit.signing.trees import ORIGIN, growth, signer_process, tree
from tests.unit.audit.test_log import records


@pytest.fixture
def key(tmp_path: Path) -> Path:
    Guard.begin(tmp_path / "s.key", tmp_path / "s.key.signed", ORIGIN)
    return tmp_path / "s.key"


@pytest.mark.parametrize("apart", [False, True])
def test_a_log_is_signed_by_a_process_that_remembers(tmp_path: Path, key: Path, apart: bool) -> None:
    """The gateway's folder holds no key; the log verifies, and is wholly signed once it is closed."""
    where, folder = tmp_path / "s.sock", tmp_path / "log"
    with signer_process(key, where):
        for session in ("a" * 16, "b" * 16):
            driven = Driven(folder, signer={"socket": str(where)}, apart=apart)
            driven.begin(session)
            for _ in range(5):
                driven.run(session)
            driven.log.close()
            report = verify_log(folder)
            assert report.verdict is Verdict.VERIFIED, report.findings
            assert report.unsigned == 0
        assert not (folder / "log.key").exists()
        assert SocketSigner.connect(where, ORIGIN).last().size == report.entries


def test_a_log_that_was_rolled_back_is_refused_by_what_the_signer_remembers(tmp_path: Path, key: Path) -> None:
    """An older copy of the whole folder opens with a key file; with a signer it does not."""
    where, folder = tmp_path / "s.sock", tmp_path / "log"
    with signer_process(key, where):
        Driven(folder, signer={"socket": str(where)}).log.close()
        older = {path.name: path.read_bytes() for path in folder.iterdir()}
        Driven(folder, signer={"socket": str(where)}).log.close()
        for name, content in older.items():
            (folder / name).write_bytes(content)
        with pytest.raises(AuditError, match="rolled back"):
            Driven(folder, signer={"socket": str(where)})


def test_a_log_whose_signer_is_away_does_not_open(tmp_path: Path, key: Path) -> None:
    """Fail closed, and say what to start; with another key the signer is refused."""
    where, folder = tmp_path / "s.sock", tmp_path / "log"
    with pytest.raises(SignerAway, match="does not answer") as caught:
        Driven(folder, signer={"socket": str(where)})
    assert "lockgate audit signer" in caught.value.advice()
    with signer_process(key, where):
        Driven(folder, signer={"socket": str(where)}).log.close()
    Guard.begin(tmp_path / "t.key", tmp_path / "t.key.signed", ORIGIN)
    with signer_process(tmp_path / "t.key", where), pytest.raises(AuditError, match="another key"):
        Driven(folder, signer={"socket": str(where)})


def test_a_signer_that_goes_away_stops_the_log_and_the_log_opens_again(
    tmp_path: Path, key: Path,
) -> None:
    """What is durable waits for its signature, then the log is poisoned; with the signer back nothing is lost."""
    where, folder = tmp_path / "s.sock", tmp_path / "log"
    with signer_process(key, where):
        driven = Driven(folder, signer={"socket": str(where), "patience": 0.4})
        driven.begin("a" * 16)
        remote = SocketSigner.connect(where, ORIGIN)
        while remote.last().size < driven.log.size:
            pass
    error: AuditError | None = None
    acknowledged = 0
    while error is None:
        error = driven.wait(lambda done: driven.log.intent(intent("a" * 16), done))
        acknowledged += error is None
    assert isinstance(error, Poisoned)
    assert "no checkpoint was signed for 0.4 s" in str(error)
    assert not driven.log.is_writable
    driven.log.close()
    report = verify_log(folder)
    assert report.verdict is Verdict.VERIFIED, report.findings
    assert report.unsigned >= acknowledged > 0
    with signer_process(key, where):
        Driven(folder, signer={"socket": str(where)}).log.close()
    report = verify_log(folder)
    assert (report.verdict, report.unsigned) == (Verdict.VERIFIED, 0)
    assert report.intents == acknowledged


def test_an_unsigned_end_is_a_finding_where_the_key_is_in_a_file(tmp_path: Path, key: Path) -> None:
    """Only a log that says its signer lags may have entries beyond its signed checkpoint."""
    where, folder = tmp_path / "s.sock", tmp_path / "log"
    with signer_process(key, where):
        Driven(folder, signer={"socket": str(where)}).log.close()
    (folder / "log.key").write_bytes(key.read_bytes())
    (folder / "log.key").chmod(0o600)
    driven = Driven(folder, signer={})
    driven.log.close()
    assert verify_log(folder).verdict is Verdict.VERIFIED


class Served:
    """A signer in a thread, for what needs its bytes looked at."""

    def __init__(self, key: Path, path: Path, allowed: frozenset[int]) -> None:
        self.refused: list[str] = []
        self.path = path
        self.listening = listen(path, others=False)
        self.guard = Guard.open(key, key.with_name(key.name + ".signed"), ORIGIN)
        self.thread = threading.Thread(
            target=serve, args=(self.listening, {ORIGIN: self.guard}, allowed, self.refused.append))
        self.thread.start()

    def end(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listening.close()
        self.guard.close()


def test_only_users_that_were_named_may_ask(tmp_path: Path, key: Path) -> None:
    """The kernel says who is at the other end; nobody else gets a signature, whatever they send."""
    served = Served(key, tmp_path / "s.sock", frozenset({os.getuid() + 1}))
    try:
        with pytest.raises(SignerRefused, match=f"user {os.getuid()} may not ask"):
            SocketSigner.connect(served.path, ORIGIN)
        assert served.guard.last().size == 0
        here, there = socket.socketpair()
        with here, there:
            assert peer(here) == os.getuid()
    finally:
        served.end()


@pytest.mark.parametrize("sent", [
    b"\n", b"[]\n", b"{}\n", b'{"v":2,"do":"last"}\n', b'{"v":1,"origin":"lockgate.test/log","do":"x"}\n', b'{"v":1,"do":"sign"}\n', b"{" * 9000 + b"\n",
    b'{"v":1,"origin":"lockgate.test/log","do":"sign","size":1.0,"root":"","proof":[]}\n', b"x" * 20_000, b"",
    b'{"v":1,"origin":"lockgate.test/log","do":"sign","size":1,"root":"' + b"zz" * 32 + b'","proof":[]}\n',
    b'{"v":1,"origin":"lockgate.test/log","do":"sign","size":' + str(2**63).encode() + b',"root":"' + b"00" * 32 + b'","proof":[]}\n',
    b'{"v":1,"origin":"lockgate.test/log","do":"sign","size":1,"root":"' + b"00" * 32 + b'","proof":[' + b'"",' * 63 + b'""]}\n',
])
def test_malformed_requests_sign_nothing_and_end_nothing(tmp_path: Path, key: Path, sent: bytes) -> None:
    """Whatever a client sends, the next one is served."""
    served = Served(key, tmp_path / "s.sock", frozenset({os.getuid()}))
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(served.path))
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(wire.LIMIT)
        assert b"note" not in answer
        assert len(served.refused) == 1
        asked = SocketSigner.connect(served.path, ORIGIN)
        assert asked.last().size == 0
        asked.sign(tree(3))
        asked.sign(tree(8), growth(3, 8))
        with pytest.raises(SignerRefused, match="refuses: a tree of 8"):
            asked.sign(tree(3))
    finally:
        served.end()


def test_a_socket_in_use_or_a_file_in_its_place_is_left_alone(tmp_path: Path, key: Path) -> None:
    """Only a socket that nobody serves is replaced."""
    where = tmp_path / "s.sock"
    served = Served(key, where, frozenset({os.getuid()}))
    with pytest.raises(AuditError, match="another signer"):
        listen(where, others=False)
    assert where.stat().st_mode & 0o777 == 0o600
    served.end()
    listen(where, others=True).close()
    assert where.stat().st_mode & 0o777 == 0o666
    (tmp_path / "file").touch()
    with pytest.raises(AuditError, match="not a socket"):
        listen(tmp_path / "file", others=False)


def test_an_answer_that_is_no_signature_of_this_is_refused(tmp_path: Path, key: Path) -> None:
    """The gateway verifies what it gets: a signer with another key, or of another tree, signs nothing for it."""
    served = Served(key, tmp_path / "s.sock", frozenset({os.getuid()}))
    try:
        other = Guard.begin(tmp_path / "t.key", tmp_path / "t", ORIGIN)
        with pytest.raises(SignerRefused):
            SocketSigner(served.path, other).sign(tree(3))
        with pytest.raises(SignerRefused, match="another key"):
            SocketSigner(served.path, other).last()
        with pytest.raises(SignerRefused, match="signs lockgate"):
            SocketSigner.connect(served.path, "other/log")
    finally:
        served.end()


def test_a_log_opened_by_a_file_key_says_nothing_of_a_signer(tmp_path: Path) -> None:
    """The default writes the same start as before."""
    log = AuditLog.open(tmp_path, origin=ORIGIN, dispatch=lambda _: None)
    log.close()
    assert all("signer" not in record.get("data", {}) for record in records(tmp_path))


def test_a_log_that_exists_moves_to_a_signer_with_its_key(tmp_path: Path) -> None:
    """The key goes to the signer, which begins from the newest checkpoint; the log goes on under the same key."""
    folder, key, where = tmp_path / "log", tmp_path / "s.key", tmp_path / "s.sock"
    Driven(folder).log.close()
    before = (folder / "log.vkey").read_bytes()
    (folder / "log.key").rename(key)
    Guard.begin(key, tmp_path / "s.key.signed", ORIGIN, (folder / "checkpoint").read_text())
    with signer_process(key, where):
        Driven(folder, signer={"socket": str(where)}).log.close()
    assert (folder / "log.vkey").read_bytes() == before
    assert verify_log(folder).verdict is Verdict.VERIFIED


def test_a_line_that_comes_byte_by_byte_has_one_time_limit() -> None:
    """Whoever may ask cannot keep the signer from everybody else by asking slowly."""
    ours, theirs = socket.socketpair()
    over = threading.Event()

    def drip() -> None:
        for _ in range(400):            # then it hangs up, which is another end than that of the time
            if over.wait(0.05):
                return
            theirs.send(b" ")
        theirs.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=drip)
    thread.start()
    ours.settimeout(0.3)
    try:
        with pytest.raises(TimeoutError):
            wire.receive_line(ours)
    finally:
        over.set()
        thread.join()
        ours.close()
        theirs.close()
