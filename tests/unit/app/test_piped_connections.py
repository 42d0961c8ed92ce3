"""Connections that are programs, in the configuration: what goes together, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.app.configuration import load_configuration
from lockgate.app.enforcement import enforcement_table
from lockgate.config.load import state_of
from lockgate.config.strict import SecretReference
from lockgate.errors import ConfigError
from lockgate.protocols.mcp.settings import McpSettings, secrets_given

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
GOOD = """\
state: here
identity:
  providers: [{name: corp, issuer: "https://login.example.com", audience: lockgate}]
connections:
  - name: crm
    protocol: mcp
    options:
      command: [python, server.py]
      environment: {TOKEN: {file: token}, MODE: quiet}
policies:
  - {name: agents, who: {groups: [agents]}, allow: connect}
  - {name: hide, mask: [{columns: ["*.ssn"], with: redact}]}
"""


def problems(folder: Path, old: str, new: str) -> str:
    assert old in GOOD
    path = folder / "lockgate.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as failed:
        load_configuration(path)
    return str(failed.value)


def test_a_program_needs_no_address_and_no_listener(tmp_path: Path) -> None:
    """Files and folders are taken from the configuration's folder; `lockgate check` shows how its rules are held."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(GOOD)
    loaded = load_configuration(path)
    options = loaded.settings.connections[0].options
    assert isinstance(options, McpSettings)
    assert options.environment == {"TOKEN": SecretReference(file=tmp_path / "token"), "MODE": "quiet"}
    assert options.directory == tmp_path
    rows = enforcement_table(loaded, offline=True)
    assert {row.rule for row in rows} == {"agents", "hide"}
    assert not any(row.problem for row in rows)
    assert state_of(path) == loaded.settings.state == tmp_path / "here"


def test_sessions_with_a_program_can_be_recorded(tmp_path: Path) -> None:
    """As those with an address; the other end, before masks, cannot."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(GOOD + f"  - {{name: tape, record: true}}\naudit: {{recording: {{recipients: [{RECIPIENT}]}}}}\n")
    rows = enforcement_table(load_configuration(path), offline=True)
    assert [(row.control, row.problem) for row in rows if row.rule == "tape"] == [("record", None)]
    path.write_text(path.read_text().replace("record: true", "record_raw: true"))
    (problem,) = [row.problem for row in enforcement_table(load_configuration(path), offline=True) if row.rule == "tape"]
    assert problem == "sessions of MCP are recorded behind their masks only; write `record`"


def test_the_secrets_of_a_programs_environment_are_kept_out_of_recordings(tmp_path: Path) -> None:
    """A server may echo what it was given, and a recording is for other eyes than the configuration's."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(GOOD)
    assert secrets_given(load_configuration(path).settings.connections[0]) == (SecretReference(file=tmp_path / "token"),)


@pytest.mark.parametrize(("old", "new", "says"), [
    ("    protocol: mcp\n", "    protocol: mcp\n    address: crm.internal:443\n", "`command` is for a server that the gateway starts"),
    ("    protocol: mcp\n", "    protocol: mcp\n    tls: {mode: disable}\n", "`tls` is for a server with an address"),
    ("    protocol: mcp\n", "    protocol: mcp\n    credential: {password: {env: A}}\n", "goes into `options: environment`"),
    ("      command: [python, server.py]\n", "", "`environment` and `directory` go with `command`"),
    ("[python, server.py]", "[]", "command"), ("[python, server.py]", "python server.py", "command"),
    ("MODE: quiet", "MODE: {env: A, file: b}", "a secret has one place"), ("MODE: quiet", '"MO=DE": quiet', "must be text like ^[A-Za-z_]"),
    ("      command", "      base_path: /api\n      command", "`base_path` is for a server with an address"),
    ("protocol: mcp\n    options:\n      command: [python, server.py]\n      environment: {TOKEN: {file: token}, MODE: quiet}",
     "protocol: postgres\n    credential: {user: a}", "a backend needs an address"),
    ("identity:", "listeners: [{name: a, protocol: mcp, address: '127.0.0.1:1', plaintext_tokens: loopback, connection: crm}]\nidentity:",
     "is a program that each client starts; no port leads to it"),
    ("protocol: mcp\n    options:\n      command: [python, server.py]\n      environment: {TOKEN: {file: token}, MODE: quiet}",
     "protocol: mcp\n    address: crm.internal:443", "nobody can reach these connections"),
])
def test_what_does_not_go_together_is_told(tmp_path: Path, old: str, new: str, says: str) -> None:
    """With what to write instead."""
    assert says in problems(tmp_path, old, new)


def test_the_state_folder_of_a_file_that_is_wrong_is_still_known(tmp_path: Path) -> None:
    """Who starts a gateway needs no more; what is wrong with the rest the gateway says."""
    path = tmp_path / "lockgate.yaml"
    path.write_text("nonsense: true\n")
    assert state_of(path) == tmp_path / "state"
    path.write_text("- 1\n")
    assert state_of(path) == tmp_path / "state"
