"""`lockgate check` and `lockgate config schema`, run as commands on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockgate.cli.main import app
from lockgate.protocols import discover

PROTOCOL = next(name for name, spec in discover().items() if spec.probe is not None)    # one that has columns to ask for
FILE = f"""\
listeners:
  - {{name: agents, protocol: {PROTOCOL}, address: "127.0.0.1:0", plaintext_tokens: loopback}}
identity:
  providers:
    - {{name: corp, issuer: https://login.example.com, audience: lockgate}}
connections:
  - name: crm
    protocol: {PROTOCOL}
    address: 127.0.0.1:1
    credential: {{user: app, password: {{env: LOCKGATE_TEST_UNSET}}}}
    tls: {{mode: disable}}
policies:
  - name: in
    allow: connect
  - name: hide
    mask:
      - {{columns: ["*.ssn"], with: redact}}
  - name: never
    when: op.verb == "drop"
    deny: not here
"""


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


def test_a_sound_file_shows_how_each_rule_is_held(tmp_path: Path) -> None:
    """One row per rule and connection; offline says what is not known."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(FILE)
    code, out, _ = run("check", "-c", str(path), "--offline")
    assert code == 0
    assert {tuple(line.split("\t")[:2]) for line in out.splitlines() if "\t" in line} == {
        ("crm", "in"), ("crm", "hide"), ("crm", "never")}
    assert "offline" in out


def test_json_holds_the_same_table(tmp_path: Path) -> None:
    """For scripts: ok, hash and rows."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(FILE)
    code, out, _ = run("check", "-c", str(path), "--offline", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["ok"] is True
    assert {row["rule"] for row in found["enforcement"]} == {"in", "hide", "never"}


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_is_probably_a_mistake_is_a_warning_and_an_exit_of_0(tmp_path: Path, form: tuple[str, ...]) -> None:
    """The file is valid and the gateway would start."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(FILE + "  - name: only-notice\n    notice: true\n")
    code, out, err = run("check", "-c", str(path), "--offline", *form)
    assert code == 0
    said = json.loads(out)["warnings"] if form else [line.removeprefix("warning: ") for line in err.splitlines()]
    assert said == [
        f"{path}:22: rule `only-notice` only gives notice of what other rules mask; it hides nothing itself",
        f"{path}:10: the environment variable LOCKGATE_TEST_UNSET is not set, here at least; the gateway needs it where it runs"]


def test_secrets_that_can_be_read_are_no_warning_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read to see that it is there, files too; what is in it is nobody's business."""
    monkeypatch.setenv("LOCKGATE_TEST_UNSET", "canary-7f3a")
    path = tmp_path / "lockgate.yaml"
    path.write_text(FILE)
    code, out, err = run("check", "-c", str(path), "--offline")
    assert (code, err, "canary" in out) == (0, "", False)
    path.write_text(FILE.replace("{env: LOCKGATE_TEST_UNSET}", "{file: secret}"))
    assert run("check", "-c", str(path), "--offline")[2] == (
        f"warning: {path}:10: cannot read the file {tmp_path}/secret: No such file or directory, here at least; the gateway "
        "needs it where it runs\n")
    (tmp_path / "secret").write_text("canary-7f3a\n")
    assert run("check", "-c", str(path), "--offline")[2] == ""


@pytest.mark.parametrize(("old", "new", "says"), [
    ('"drop"', '"dorp"', ':19: unknown verb "dorp"; write `drop`'),
    ("op.verb", "op.verbb", ":19: unknown name `op.verbb`; write `op.verb`"),
    ("deny:", "denny:", ":20: unknown key `denny`; write `deny`"),
])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_file_with_a_mistake_is_an_exit_of_1_with_the_reason(
    tmp_path: Path, old: str, new: str, says: str, form: tuple[str, ...]
) -> None:
    """What `serve` would refuse, `check` refuses in the same words."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(FILE.replace(old, new))
    code, out, err = run("check", "-c", str(path), "--offline", *form)
    assert code == 1
    assert says in ("\n".join(json.loads(out)["problems"]) if form else err)


def test_a_backend_that_cannot_be_asked_is_a_reason_not_to_start(tmp_path: Path) -> None:
    """Without `--offline` a mask that cannot be matched with columns is a problem (I5)."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(FILE)
    code, out, err = run("check", "-c", str(path))
    assert code == 1
    assert "refuse to start" in out + err


def test_the_schema_is_json_and_names_the_protocols() -> None:
    """What editors get."""
    code, out, _ = run("config", "schema")
    assert code == 0
    assert json.loads(out)["$defs"]["Connection"]["properties"]["protocol"]["enum"] == list(discover())
