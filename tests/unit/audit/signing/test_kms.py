"""A key in a key service: a small one that speaks the transit API over HTTP, and whatever can go wrong with it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.checkpoint import Verifier, open_note
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.keys import publish, read_verifier
from lockgate.audit.opening import recover, reopening
from lockgate.audit.signing.contract import SignerAway, SignerRefused
from lockgate.audit.signing.kms import KmsSigner, Transit
from lockgate.audit.signing.opening import open_kms
from lockgate.audit.signing.rotation import prepare_rotation
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from tests.unit.audit.logs import Driven, change_key
from tests.unit.audit.signing.trees import ORIGIN, tree

NOW = 1_800_000_100.0
WHO = {"actor": ["local", "root"], "reason": "x"}
TOKEN = "hvs.canary-of-the-key-service"


class KeyServer:
    """The two calls of the engine that are used, and a key of two versions, the first of which is archived. `spoil` may
    turn an answer into another one, once each."""

    def __init__(self) -> None:
        self.versions = {2: Ed25519PrivateKey.generate()}
        self.spoil: list[Callable[[int, Any], tuple[int, Any]]] = []
        self.signed = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(None)

            def do_POST(self) -> None:
                self.answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def answer(self, body: Any) -> None:
                status, said = outer.answer(self.headers["x-vault-token"], self.path, body)
                if outer.spoil:
                    status, said = outer.spoil.pop(0)(status, said)
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/transit"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, token: str, path: str, body: Any) -> tuple[int, Any]:
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        if path == "/v1/transit/keys/log":
            said = {str(number): {"public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode()}
                    for number, key in self.versions.items()}
            return 200, {"data": {"type": "ed25519", "keys": said}}
        if path == "/v1/transit/sign/log" and (version := body["key_version"]) in self.versions:
            self.signed += 1
            signature = self.versions[version].sign(base64.b64decode(body["input"]))
            return 200, {"data": {"signature": f"vault:v{version}:{base64.b64encode(signature).decode()}"}}
        return 404, {"errors": []}

    def rotate(self) -> None:
        """What an operator does: a new version, beside those that are there."""
        self.versions[max(self.versions) + 1] = Ed25519PrivateKey.generate()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def service() -> Iterator[KeyServer]:
    made = KeyServer()
    yield made
    made.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def settings(service: KeyServer, token: Path, **other: Any) -> dict[str, Any]:
    return {"kms": {"url": service.url, "key": "log", "version": 2, "timeout": 5.0, "token": str(token), **other}}


def test_the_service_signs_a_checkpoint_by_key_id(service: KeyServer, token: Path) -> None:
    """The note is by the service's key, and opens with the key that the service names."""
    signer = KmsSigner.connect(Transit(service.url, token), "log", ORIGIN, 2)
    assert open_note(signer.sign(tree(5)), signer.verifier) == tree(5)


@pytest.mark.parametrize(("spoil", "expected"), [
    (lambda _, said: (503, said), SignerAway), (lambda _, said: (429, said), SignerAway),
    (lambda _, said: (500, b"<html>"), SignerAway), (lambda _, said: (403, said), SignerRefused),
    (lambda _, said: (302, said), SignerRefused), (lambda _, said: (200, b"{}"), SignerRefused),
    (lambda _, said: (200, b"\xff"), SignerRefused), (lambda _, said: (200, b'{"data":[]}'), SignerRefused),
    (lambda _, said: (200, b" " * 70_000), SignerRefused), (lambda _, said: (200, {"data": {}}), SignerRefused),
    (lambda _, said: (200, {"data": {"signature": said["data"]["signature"].replace(":v2:", ":v3:")}}), SignerRefused),
    (lambda _, said: (200, {"data": {"signature": "vault:v2:" + "A" * 88}}), SignerRefused),
    (lambda _, said: (200, {"data": {"signature": "vault:v2:%%"}}), SignerRefused),
    (lambda _, said: (200, {"data": {"signature": 7}}), SignerRefused),
])
def test_every_answer_but_a_valid_signature_signs_nothing(
    service: KeyServer, token: Path, spoil: Callable[[int, Any], tuple[int, Any]], expected: type[AuditError],
) -> None:
    """What may pass by itself is tried again by the caller; what will not is a refusal. No token in either."""
    signer = KmsSigner.connect(Transit(service.url, token), "log", ORIGIN, 2)
    service.spoil.append(spoil)
    with pytest.raises(expected) as caught:
        signer.sign(tree(5))
    assert TOKEN not in f"{caught.value}{caught.value.advice()}"
    assert open_note(signer.sign(tree(5)), signer.verifier) == tree(5)


def test_a_service_that_is_away_slow_or_another_one_is_told_apart(service: KeyServer, token: Path) -> None:
    """No listener, no token and silence may pass; a wrong token, key or version will not."""
    with pytest.raises(SignerAway):
        KmsSigner.connect(Transit("http://127.0.0.1:9/v1/transit", token), "log", ORIGIN, 2)
    with pytest.raises(SignerAway, match="no token"):
        KmsSigner.connect(Transit(service.url, token.with_name("absent")), "log", ORIGIN, 2)
    for key, version in (("log", 1), ("other", 2), ("../log", 2)):
        with pytest.raises(SignerRefused):
            KmsSigner.connect(Transit(service.url, token), key, ORIGIN, version)
    token.write_text("another")
    with pytest.raises(SignerRefused, match="403"):
        KmsSigner.connect(Transit(service.url, token), "log", ORIGIN, 2)
    silent = threading.Event()
    service.spoil.append(lambda status, said: ((silent.wait(5) and status) or status, said))
    try:
        with pytest.raises(SignerAway, match="Timeout"):
            Transit(service.url, token, timeout=0.1).public_keys("log")
    finally:
        silent.set()


@pytest.mark.parametrize("apart", [False, True])
def test_a_log_signed_by_a_key_service_does_not_wait_for_it(service: KeyServer, token: Path, apart: bool, tmp_path: Path) -> None:
    """Failures that pass are tried again behind the commits; the closed log is wholly signed, with few calls."""
    service.spoil += [lambda status, said: (status, said)] * (2 if not apart else 3)
    service.spoil += [lambda _, said: (503, said)] * 2
    driven = Driven(tmp_path / "log", signer=settings(service, token), apart=apart)
    driven.begin("a" * 16)
    for _ in range(50):
        driven.run("a" * 16)
    driven.log.close()
    report = verify_log(tmp_path / "log")
    assert (report.verdict, report.unsigned, report.intents) == (Verdict.VERIFIED, 0, 50)
    assert 0 < service.signed < 10


def test_another_key_at_the_service_is_refused_from_then_on(service: KeyServer, token: Path, tmp_path: Path) -> None:
    """The verifier key is pinned in the folder when the log is made."""
    Driven(tmp_path / "log", signer=settings(service, token)).log.close()
    service.versions[2] = Ed25519PrivateKey.generate()
    with pytest.raises(AuditError, match="another key"):
        Driven(tmp_path / "log", signer=settings(service, token))
    (tmp_path / "log" / "log.vkey").unlink()
    with pytest.raises(AuditError, match="verifier key is gone"):
        Driven(tmp_path / "log", signer=settings(service, token))


# ---------------------------------------------------------------- a change of keys


def worked(folder: Path, signer: dict[str, Any], sid: str, *, apart: bool = False) -> str:
    """A start, a session and an end; the key that is pinned then."""
    driven = Driven(folder, signer=signer, apart=apart)
    driven.begin(sid)
    driven.run(sid)
    driven.log.close()
    return str(read_verifier(folder / "log.vkey"))


def require_verified(folder: Path, *pinned: str) -> None:
    """By each of these keys, wholly."""
    for key in pinned:
        (folder.parent / "pinned").write_text(f"{key}\n")
        report = verify_log(folder, key=folder.parent / "pinned")
        assert (report.verdict, report.unsigned) == (Verdict.VERIFIED, 0), report.findings


def test_the_log_goes_on_with_the_newest_version_of_the_key(service: KeyServer, token: Path, tmp_path: Path) -> None:
    """The old version signs the change and nothing after it; what it signed still verifies, once it is gone from the
    service too. The version in the settings is that of a new log, and needs no change."""
    folder, signer = tmp_path / "log", settings(service, token)
    first = worked(folder, signer, "a" * 16)
    with pytest.raises(SignerRefused, match="no version after 2"):
        change_key(folder)
    service.rotate()
    assert worked(folder, signer, "b" * 16, apart=True) == first    # a version that nobody has handed the log to signs nothing
    service.rotate()
    old, new = change_key(folder)
    assert (old, new) == (first, str(Verifier(ORIGIN, service.versions[4].public_key().public_bytes_raw())))
    del service.versions[2]
    assert worked(folder, signer, "c" * 16, apart=True) == new
    with open_source(folder) as source:
        (changed,) = (index for index, _, _ in source.leaves(containing=(b'"type":"key_rotate"',)))
        handed, newest = source.note(changed + 1), source.head().note
    assert handed is not None
    assert open_note(handed, Verifier.parse(old)).size == changed + 1
    assert open_note(newest, Verifier.parse(new)).size > changed + 1
    require_verified(folder, old, new)


@pytest.mark.parametrize("step", ["prepared", "committed", "signed", "published"])
def test_the_next_start_finishes_what_a_crash_cut_short(service: KeyServer, token: Path, tmp_path: Path, step: str) -> None:
    """Before the leaf the old version goes on, behind it the new one."""
    folder, signer = tmp_path / "log", settings(service, token)
    old = worked(folder, signer, "a" * 16)
    service.rotate()
    successor = prepare_rotation(folder, ORIGIN, signer).verifier
    if step != "prepared":
        recovered = recover(folder, ORIGIN, signer=signer)
        recovered.writer.commit(reopening(recovered, NOW, {}))
        recovered.writer.settle()
        if step == "committed":
            service.spoil.append(lambda _, __: (403, {}))
            with pytest.raises(SignerRefused):      # after the leaf is durable, and before the old key has signed it
                recovered.writer.rotate(NOW, successor, WHO)
        else:
            recovered.writer.rotate(NOW, successor, WHO)
        recovered.close()
    if step == "published":
        publish(folder, successor)
    new = worked(folder, signer, "b" * 16)
    assert new == (old if step == "prepared" else str(successor))
    require_verified(folder, old, new)


def test_a_leaf_that_names_no_version_of_the_key_is_not_followed(service: KeyServer, token: Path, tmp_path: Path) -> None:
    """Nor is one behind a tree that the old version has not signed: nothing is signed or pinned for it."""
    folder, signer = tmp_path / "log", settings(service, token)
    old = worked(folder, signer, "a" * 16)
    recovered = recover(folder, ORIGIN, signer=signer)
    recovered.writer.commit(reopening(recovered, NOW, {}))
    recovered.writer.rotate(NOW, Verifier(ORIGIN, bytes([7]) * 32), WHO)
    recovered.close()
    with pytest.raises(AuditError, match="goes on with another key"):
        worked(folder, signer, "b" * 16)
    assert str(read_verifier(folder / "log.vkey")) == old
    assert str(open_kms(folder, ORIGIN, signer).verifier) == old
