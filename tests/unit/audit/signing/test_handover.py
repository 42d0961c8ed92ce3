"""A change of keys under a log that is open: records before it, behind it and beside it, and a signer elsewhere."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lockgate.app.admin import AdminServer
from lockgate.audit.admin import AdminRefused, recorded
from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note
from lockgate.audit.custody import Custody, submitting
from lockgate.audit.entry import canonical
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.keys import read_verifier
from lockgate.audit.leaves import encode_payload
from lockgate.audit.log import AuditLog
from lockgate.audit.opening import recover, reopening
from lockgate.audit.signing.contract import Handover, SignerAway, SignerRefused
from lockgate.audit.signing.guard import Guard
from lockgate.audit.signing.opening import remember
from lockgate.audit.signing.process import listen, serve
from lockgate.audit.signing.remote import SocketSigner
from lockgate.audit.signing.rotation import prepare_rotation
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tree import EMPTY_ROOT, Frontier, leaf_hash
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.model import Event
from tests.unit.audit.logs import ORIGIN, Driven, sample
from tests.unit.audit.signing.test_kms import TOKEN, KeyServer
from tests.unit.audit.signing.test_kms import settings as kms_settings
from tests.unit.audit.signing.trees import signer_process
from tests.unit.audit.test_log import records
from tests.unit.audit.tiles.published import publisher_of

NOW = 1_800_000_100.0


def own_signer(folder: Path, place: Path) -> dict[str, str]:
    """A signer whose key lies in a folder; its settings."""
    Guard.begin(folder / "s.key", folder / "s.key.signed", ORIGIN)
    return {"socket": str(place)}


@contextmanager
def signer_thread(key: Path, where: Path) -> Iterator[None]:
    """The signer's own loop over its socket, in a thread, which starts sooner than a process."""
    guard, listening = Guard.open(key, key.with_name(key.name + ".signed"), ORIGIN), listen(where, others=False)
    thread = threading.Thread(target=serve, args=(listening, {ORIGIN: guard}, frozenset({os.getuid()}), str))
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(2)
        thread.join()
        listening.close()
        guard.close()


async def rotate_under_load(folder: Path, apart: bool, settings: dict[str, Any] | None) -> tuple[str, str]:
    """What of a gateway answers, while records come before, during and after the change of keys."""
    loop = asyncio.get_running_loop()
    log = AuditLog.open(folder, origin=ORIGIN, dispatch=loop.call_soon_threadsafe, apart=apart, signer=settings)
    server = AdminServer(Custody(folder, submitting(log, loop.call_soon_threadsafe)))
    is_over = asyncio.Event()
    try:
        await server.open()

        async def work() -> int:
            count = 0
            while not is_over.is_set():
                if log.queued < 40 and count < 2_000:       # some behind the change, and some in front of it
                    log.event(Event("cancel", {"number": count}))
                    count += 1
                await asyncio.sleep(0)
            return count

        def command() -> tuple[str, str]:
            with recorded(folder) as acts:
                return acts.rotate("yearly change")

        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(work())
            names = await asyncio.to_thread(command)
            with pytest.raises(AdminRefused, match="a reason"):
                await asyncio.to_thread(refused, folder)
            is_over.set()
        assert working.result() > 0
        assert log.is_writable
    finally:
        await server.close()
        await asyncio.to_thread(log.close)
    return names


def refused(folder: Path) -> None:
    with recorded(folder) as acts:
        acts.rotate(" ")


@pytest.mark.parametrize("apart", [False, True])
async def test_a_running_gateway_changes_its_key(tmp_path: Path, apart: bool) -> None:
    """No record is lost or waits for a restart; the old key signs the change, the new one what comes next."""
    folder = tmp_path / "log"
    sample(folder)
    old, new = await rotate_under_load(folder, apart, None)
    await asyncio.to_thread(require_handed_over, folder, old, new)
    assert not (folder / "log.key.next").exists()


@pytest.mark.parametrize("apart", [False, True])
async def test_a_signers_key_is_changed_where_it_is(tmp_path: Path, apart: bool) -> None:
    """The same, with the key in another process, which makes the next one and takes it once the log says so."""
    folder, where = tmp_path / "log", tmp_path / "s.sock"
    settings = own_signer(tmp_path, where)
    with signer_process(tmp_path / "s.key", where):
        old, new = await rotate_under_load(folder, apart, settings)
        assert str(SocketSigner.connect(where, ORIGIN).verifier) == new
    await asyncio.to_thread(require_handed_over, folder, old, new)
    assert not (tmp_path / "s.key.next").exists()
    with signer_process(tmp_path / "s.key", where):     # a signer that is started anew goes on with it as well
        Driven(folder, signer=settings).log.close()
    assert verify_log(folder).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("apart", [False, True])
async def test_a_key_services_next_version_takes_over_meanwhile(tmp_path: Path, apart: bool) -> None:
    """The same, with the key in a key service, where an operator has made a new version of it."""
    folder, service = tmp_path / "log", KeyServer()
    try:
        (tmp_path / "token").write_text(TOKEN)
        settings = kms_settings(service, tmp_path / "token")
        Driven(folder, signer=settings).log.close()
        service.rotate()
        old, new = await rotate_under_load(folder, apart, settings)
        assert new == str(Verifier(ORIGIN, service.versions[3].public_key().public_bytes_raw()))
        del service.versions[2]
    finally:
        await asyncio.to_thread(service.close)
    await asyncio.to_thread(require_handed_over, folder, old, new)


def require_handed_over(folder: Path, old: str, new: str) -> None:
    """The log verifies by either key, names the change once, and has its checkpoint by the old one."""
    assert str(read_verifier(folder / "log.vkey")) == new != old
    found = [record for record in records(folder) if record["type"] == "key_rotate"]
    assert [record["data"] for record in found] == [{"old": old, "new": new}]
    behind = records(folder)[found[0]["index"] + 1]
    assert behind["type"] == "heartbeat"
    with open_source(folder) as source:
        note = source.note(found[0]["index"] + 1)
    assert note is not None
    assert open_note(note, Verifier.parse(old)).size == found[0]["index"] + 1
    for pinned in (old, new):
        (folder.parent / "pinned").write_text(f"{pinned}\n")
        report = verify_log(folder, key=folder.parent / "pinned")
        assert report.verdict is Verdict.VERIFIED, report.findings


def test_the_published_log_follows_the_key(tmp_path: Path) -> None:
    """Whoever publishes goes on by what the log says, without being told."""
    folder = tmp_path / "log"
    sample(folder)
    made = publisher_of(folder)
    made.run()
    with recorded(folder) as acts:
        acts.rotate("yearly change")
    made.run()
    note = (folder / "tiles/checkpoint").read_text()
    assert open_note(note, read_verifier(folder / "log.vkey")).size == len(records(folder))


def test_what_cannot_be_made_ready_changes_nothing(tmp_path: Path) -> None:
    """A key service or a signer that is away, a next key that others can read: refused in words, and the log goes on as it
    was."""
    folder = tmp_path / "log"
    sample(folder)
    before = (folder / "log.vkey").read_text()
    log = AuditLog.open(folder, origin=ORIGIN, dispatch=lambda call: call())
    acts = Custody(folder, submitting(log, lambda call: call()))
    try:
        remember(folder, {"kms": {"url": "http://127.0.0.1:9/v1/transit", "key": "log", "version": 1, "timeout": 1.0,
                                  "token": str(folder / "log.vkey")}})
        with pytest.raises(SignerAway, match="key service does not answer"):
            acts.rotate("why", ("local", "ann"))
        remember(folder, {"socket": "nowhere"})
        with pytest.raises(SignerAway, match="signer at nowhere does not answer"):
            acts.rotate("why", ("local", "ann"))
        remember(folder, {})
        (folder / "log.key.next").write_text("no key")
        (folder / "log.key.next").chmod(0o644)
        with pytest.raises(AuditError, match="lets others read"):
            acts.rotate("why", ("local", "ann"))
        (folder / "log.key.next").unlink()
        assert acts.append(Event("export", {}), ("local", "ann")) > 0
    finally:
        log.close()
    assert (folder / "log.vkey").read_text() == before
    assert verify_log(folder).verdict is Verdict.VERIFIED


# ---------------------------------------------------------------- a crash at any step


def committed(folder: Path, settings: dict[str, str]) -> None:
    """The leaf is durable; nobody has signed it for good, and nothing was installed."""
    recovered = recover(folder, ORIGIN, signer=settings)
    recovered.writer.commit(reopening(recovered, NOW, {}))
    successor = prepare_rotation(folder, ORIGIN, settings)
    data = {"old": str(recovered.signer.verifier), "new": str(successor.verifier)}
    recovered.writer.settle()
    recovered.writer.commit_rows([
        (None, 0, NOW, {"type": "key_rotate", "data": data}, encode_payload({"actor": ["local", "root"], "reason": "x"}))])
    recovered.close()


def signed(folder: Path, settings: dict[str, str]) -> Handover:
    """The old key has signed, and that checkpoint is kept."""
    recovered = recover(folder, ORIGIN, signer=settings)
    recovered.writer.commit(reopening(recovered, NOW, {}))
    successor = prepare_rotation(folder, ORIGIN, settings)
    handover = recovered.writer.rotate(NOW, successor.verifier, {"actor": ["local", "root"], "reason": "x"})
    recovered.close()
    return handover


def switched(folder: Path, settings: dict[str, str]) -> None:
    """The signer has the new key; the gateway's folder does not know it."""
    handover = signed(folder, settings)
    signer = SocketSigner.connect(Path(settings["socket"]), ORIGIN)
    assert signer.successor is not None
    signer.switch(handover.leaf, handover.path, signer.successor)


def prepared(folder: Path, settings: dict[str, str]) -> None:
    """The signer has made a next key, and that is all."""
    prepare_rotation(folder, ORIGIN, settings)


@pytest.mark.parametrize(("step", "changes"), [(prepared, False), (committed, True), (signed, True), (switched, True)])
def test_the_next_start_finishes_what_a_crash_cut_short(
    tmp_path: Path, step: Callable[[Path, dict[str, str]], object], changes: bool,
) -> None:
    """Before the leaf the old key goes on, behind it the new one, in the signer and in the folder."""
    folder, where = tmp_path / "log", tmp_path / "s.sock"
    settings = own_signer(tmp_path, where)
    with signer_thread(tmp_path / "s.key", where):
        Driven(folder, signer=settings).log.close()
        old = str(read_verifier(folder / "log.vkey"))
        step(folder, settings)
        Driven(folder, signer=settings).log.close()
        new = str(read_verifier(folder / "log.vkey"))
        assert (new != old) is changes
        assert str(SocketSigner.connect(where, ORIGIN).verifier) == new
        Driven(folder, signer=settings).log.close()
        (tmp_path / "pinned").write_text(f"{old}\n")
        report = verify_log(folder, key=tmp_path / "pinned")
        assert report.verdict is Verdict.VERIFIED, report.findings
        assert report.unsigned == 0


def test_a_log_that_is_handed_to_another_signer_does_not_open(tmp_path: Path) -> None:
    """A leaf that names a key which the signer has not made ready is no reason to go on with it."""
    folder, where = tmp_path / "log", tmp_path / "s.sock"
    settings = own_signer(tmp_path, where)
    with signer_thread(tmp_path / "s.key", where):
        Driven(folder, signer=settings).log.close()
        committed(folder, settings)
        (tmp_path / "s.key.next").unlink()
        with pytest.raises(AuditError, match="goes on with another key"):
            Driven(folder, signer=settings)


# ---------------------------------------------------------------- the signer's own view


def test_a_signer_switches_only_on_what_it_has_signed(tmp_path: Path) -> None:
    """Without a next key, for another entry, another key, or another tree: refused, and the old key goes on."""
    guard, old = guarded(tmp_path)
    with pytest.raises(SignerRefused, match="no next key"):
        guard.switch(b"{}", [])
    new = str(guard.prepare())
    assert str(guard.prepare()) == str(guard.successor) == new != old
    good = leaf_of(1, {"old": old, "new": new})
    wrong = [
        (leaf_of(1, {"old": new, "new": old}), "does not hand over"), (leaf_of(1, {"old": old, "new": old}), "does not hand over"),
        (leaf_of(1, {"old": old, "new": new}, "export"), "does not hand over"), (b"{}", "not the last entry"),
    ]
    for leaf, said in wrong:
        sign(guard, tmp_path, leaf)
        with pytest.raises(SignerRefused, match=said):
            guard.switch(leaf, [leaf_hash(b"before")])
        guard, _ = again(guard, tmp_path)
    sign(guard, tmp_path, good)
    for leaf, path in ((good, []), (good, [leaf_hash(b"other")]), (leaf_of(2, {"old": old, "new": new}), [leaf_hash(b"before")])):
        with pytest.raises(SignerRefused, match="not the last entry"):
            guard.switch(leaf, path)
    waiting = (tmp_path / "s.key.next").read_bytes()
    (tmp_path / "s.key.next").write_text("no key")
    for refused_ in (guard.prepare, lambda: guard.successor, lambda: guard.switch(good, [leaf_hash(b"before")])):
        with pytest.raises(SignerRefused, match="not an unencrypted PEM"):
            refused_()
    (tmp_path / "s.key.next").write_bytes(waiting)
    assert str(guard.verifier) == old
    assert str(guard.switch(good, [leaf_hash(b"before")])) == new == str(guard.verifier)
    assert guard.successor is None
    guard.close()
    opened = Guard.open(tmp_path / "s.key", tmp_path / "s.key.signed", ORIGIN)
    assert str(opened.verifier) == new
    opened.close()


def leaf_of(index: int, data: dict[str, str], kind: str = "key_rotate") -> bytes:
    said = {"v": 1, "type": kind, "node": "ab", "index": index, "time": 1, "data": data,
            "payload": {"commitment": "ab" * 32, "size": 2}}
    return canonical(said)


def guarded(folder: Path) -> tuple[Guard, str]:
    Guard.begin(folder / "s.key", folder / "s.key.signed", ORIGIN)
    guard = Guard.open(folder / "s.key", folder / "s.key.signed", ORIGIN)
    return guard, str(guard.verifier)


def sign(guard: Guard, folder: Path, leaf: bytes) -> None:
    """Two entries, the second of which is the leaf."""
    tree = Frontier()
    for digest in (leaf_hash(b"before"), leaf_hash(leaf)):
        tree.append(digest)
    guard.sign(Checkpoint(ORIGIN, 2, tree.root()), [])


def again(guard: Guard, folder: Path) -> tuple[Guard, str]:
    """The same key with a memory of nothing, as in a test only."""
    guard.close()
    state = folder / "s.key.signed"
    state.write_bytes(b'{"v":1,"origin":"%s","size":0,"root":"%s"}' % (ORIGIN.encode(), EMPTY_ROOT.hex().encode()))
    opened = Guard.open(folder / "s.key", state, ORIGIN)
    return opened, str(opened.verifier)
