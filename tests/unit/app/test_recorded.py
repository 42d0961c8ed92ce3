"""Where sessions cannot be recorded though something wants them to be: `lockgate check` says so, and the gateway does not start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyrage
import pytest
from typer.testing import CliRunner

from lockgate.app.configuration import described, load_configuration, refuse_problems, rows_for
from lockgate.cli.main import app
from lockgate.config.settings import Connection
from lockgate.errors import ConfigError
from lockgate.model import Rule
from lockgate.protocols import discover
from tests.unit.cli.test_check import FILE, PROTOCOL

RECIPIENT = str(pyrage.x25519.Identity.generate().to_public())


def written(folder: Path, every: str, own: str, rule: str) -> Path:
    """A configuration that asks for recordings in these of the three places."""
    text = FILE.replace("connections:\n", f"audit: {{recording: {{recipients: [{RECIPIENT}], record: {every}}}}}\nconnections:\n")
    path = folder / "lockgate.yaml"
    path.write_text(text.replace("    tls:", f"{own}    tls:").replace("    allow: connect", f"    allow: connect{rule}"))
    return path


ASKED = [
    ("false", "", "", None, None), ("true", "", "", "*", "connection crm: {} `audit.recording.record` wants"),
    ("true", "    record: false\n", "", None, None), ("false", "    record: true\n", "", "*", "connection crm: {} `record` wants"),
    ("false", "", "\n    record: true", "in", ":14: rule in on connection crm: {} rule `in` wants"),
]


@pytest.mark.parametrize(("every", "own", "rule", "row", "said"), ASKED)
def test_a_recording_that_cannot_be_made_stops_the_start(
    tmp_path: Path, every: str, own: str, rule: str, row: str | None, said: str | None,
) -> None:
    """Whichever of the three places wants it, with its name; the connection's own word goes before the general one."""
    path = written(tmp_path, every, own, rule)
    loaded, able = load_configuration(path), discover()[PROTOCOL]
    (connection,) = loaded.settings.connections
    held = [found for found in rows_for(loaded, able, connection, None) if found.control == "record"]
    assert [(found.rule, found.problem) for found in held] == ([] if row is None else [(row, None)])
    refuse_problems(loaded, held)
    unable = rows_for(loaded, replace(able, recording=None), connection, None)
    if said is None:
        assert [found for found in unable if found.control == "record"] == []
        return
    with pytest.raises(ConfigError) as caught:
        refuse_problems(loaded, [found for found in unable if found.control == "record"])
    message = str(caught.value.args[0])
    assert message.endswith(said.format(f"sessions of {able.title} cannot be recorded, as"))
    assert described(loaded, next(found for found in unable if found.control == "record")) == message


def test_check_shows_what_is_recorded_because_of_the_connection(tmp_path: Path) -> None:
    """A row of its own, about the connection."""
    done = CliRunner().invoke(app, ["check", "-c", str(written(tmp_path, "true", "", "")), "--offline"])
    assert done.exit_code == 0, done.output
    assert [line.split("\t")[:3] for line in done.stdout.splitlines() if "\trecord\t" in line] == [["crm", "*", "record"]]


@pytest.mark.parametrize("name", sorted(discover()))
def test_every_protocol_can_be_recorded(tmp_path: Path, name: str) -> None:
    """Behind the masks; only where the wire's own bytes are recorded, before them too."""
    spec, loaded = discover()[name], load_configuration(written(tmp_path, "false", "", ""))
    connection = Connection.model_validate({"name": "crm", "protocol": name, "address": "127.0.0.1:1", "tls": {"mode": "disable"}})
    assert spec.recording is not None
    (row,) = rows_for(replace(loaded, rules=(Rule("one", record=True),)), spec, connection, None)[-1:]
    assert (row.control, row.problem) == ("record", None)
    (row,) = rows_for(replace(loaded, rules=(Rule("two", record=True, record_raw=True),)), spec, connection, None)[-1:]
    assert row.control == "record raw"
    assert (row.problem is None) is spec.recording.is_wire
    if row.problem is not None:
        assert "behind their masks only; write `record`" in row.problem
