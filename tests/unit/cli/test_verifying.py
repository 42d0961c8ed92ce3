"""`lockgate audit verify` and `verify-proof`: what they are given has to fit what is verified, and wrong usage is no verdict."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockgate.audit.packaging.standalone import standalone
from lockgate.audit.signing.trust import draft_trust
from lockgate.cli import audit
from tests.unit.audit.evidence.keys import W1, W2, NoteSigner
from tests.unit.audit.logs import sample
from tests.unit.audit.packages import exported
from tests.unit.audit.tiles.published import publisher_of

ACME = NoteSigner("acme.test/audit")
RUN = CliRunner()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published log of which one witness cosigned all, its trust note, and a package of it."""
    place = tmp_path_factory.mktemp("verifying")
    folder = place / "state" / "audit"
    sample(folder)
    note = (folder / "checkpoint").read_text()
    (folder / "cosigned").write_text(note + W1.cosign(note.partition("\n\n")[0] + "\n"))
    publisher_of(folder).run()
    policy = f"witness one {W1.vkey}\nquorum one\n"
    (place / "policy").write_text(policy)
    (place / "other-policy").write_text(f"witness two {W2.vkey}\nquorum two\n")
    trust = draft_trust(folder, 1, policy, [])
    (place / "trust.note").write_text(f"{trust}\n{ACME.line(trust)}")
    (place / "root.vkey").write_text(f"{ACME.vkey}\n")
    (place / "evidence.tar").write_bytes(exported(folder))
    (place / "evidence.tar.gz").write_bytes(gzip.compress((place / "evidence.tar").read_bytes()))
    (place / "no.note").write_text("meeting at noon\n")
    (place / "verify.py").write_text(standalone())
    return place


def words(place: Path, *arguments: str) -> list[str]:
    names = {"key": place / "state/audit/log.vkey", "root": place / "root.vkey", "trust": place / "trust.note",
             "policy": place / "policy", "other": place / "other-policy", "state": place / "state",
             "package": place / "evidence.tar", "gz": place / "evidence.tar.gz", "none": place / "no.note",
             "proof": place / "one.tlog-proof", "cosigned": place / "two.tlog-proof", "token": place / "no.note"}
    return [argument.format(**{name: str(path) for name, path in names.items()}) for argument in arguments]


@pytest.mark.parametrize(("arguments", "said"), [
    (["{package}", "--key", "{key}", "--against", "{none}"], "no.note: is no checkpoint"),
    (["{state}", "--key", "{key}", "--against", "{none}"], "no.note: is no checkpoint"),
    (["http://127.0.0.1:9/log", "--key", "{key}", "--against", "{none}"], "no.note: is no checkpoint"),
    (["{gz}", "--key", "{key}"], "unpack it with gunzip"),
    (["{state}", "--key", "{key}", "--root", "{root}", "--trust", "{trust}"], "the trust note says which keys count"),
    (["postgresql://127.0.0.1:9/log", "--key", "{key}", "--root", "{root}"], "the trust note says which keys count"),
    (["postgresql://127.0.0.1:9/log"], "nothing here says which key the fleet signs with"),
    (["{state}", "--key", "{key}", "--token-file", "{token}"], "leave out --token-file"),
    (["{package}", "--key", "{key}", "--policy", "{state}"], "there is no such file"),
])
def test_what_cannot_be_used_is_wrong_usage(place: Path, arguments: list[str], said: str) -> None:
    """A file that is no checkpoint, a compressed package, options that nothing rests on: status 4, never a verdict."""
    result = RUN.invoke(audit.app, ["verify", *words(place, *arguments)])
    assert (result.exit_code, said in result.stderr) == (4, True), result.output
    assert "TAMPERED" not in result.output


def test_the_stand_alone_verifier_says_the_same(place: Path) -> None:
    """`verify.py` takes no file for a forgery that is no checkpoint, or a package that is only compressed."""
    for arguments, said in ((("{package}", "--against", "{none}"), "is no checkpoint"), (("{gz}",), "gunzip")):
        done = subprocess.run([sys.executable, "-I", str(place / "verify.py"), *words(place, *arguments, "--key", "{key}")],
                              capture_output=True, text=True, check=False)
        assert (done.returncode, said in done.stderr) == (4, True), done.stdout + done.stderr


def proven(place: Path, *arguments: str) -> tuple[int, str]:
    result = RUN.invoke(audit.app, ["verify-proof", *words(place, *arguments)])
    return result.exit_code, result.output


def test_a_proof_is_checked_by_the_organisations_root_as_well(place: Path) -> None:
    """Key, or root and trust note: who signed, and whether enough witnesses have cosigned what the proof leads to."""
    for name, more in (("one", []), ("two", ["--cosigned"])):
        made = RUN.invoke(audit.app, ["proof", "8", "--state", str(place / "state"), "--out", str(place / f"{name}.tlog-proof"), *more])
        assert made.exit_code == 0, made.output
    trusted = ("--root", "{root}", "--trust", "{trust}")
    status, said = proven(place, "{cosigned}", *trusted)
    assert (status, "signed, cosigned by one\n" in said) == (0, True), said
    status, said = proven(place, "{proof}", *trusted)
    assert (status, "--cosigned" in said) == (3, True), said
    assert proven(place, "{cosigned}", "--key", "{key}", "--policy", "{policy}")[0] == 0
    status, said = proven(place, "{cosigned}", "--key", "{key}")
    assert (status, "give --root or --policy" in said) == (3, True), said
    status, said = proven(place, "{cosigned}", "--key", "{key}", "--policy", "{other}")
    assert (status, "nobody here knows" in said) == (1, True), said
    text = (place / "two.tlog-proof").read_text()
    (place / "one.tlog-proof").write_text(text[:-6] + ("B" if text[-6] == "A" else "A") + text[-5:])
    assert proven(place, "{proof}", *trusted)[0] == 1
    for wrong in ((), ("--root", "{root}"), ("--key", "{key}", "--trust", "{trust}"), ("--key", "{key}", *trusted)):
        status, said = proven(place, "{cosigned}", *wrong)
        assert (status, "give --" in said) == (4, True), said
