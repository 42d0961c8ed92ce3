"""How rules that record are held on connections of every protocol."""

from __future__ import annotations

import pytest

from lockgate.app.configuration import rows_for
from lockgate.config.settings import Connection
from lockgate.model import Rule
from lockgate.protocols import discover
from tests.unit.proxy import line


def connection(protocol: str) -> Connection:
    return Connection.model_validate({"name": "crm", "protocol": protocol, "address": "127.0.0.1:1", "tls": {"mode": "disable"}})


@pytest.mark.parametrize("name", sorted(discover()))
def test_every_protocol_can_be_recorded(name: str) -> None:
    """Behind the masks; only where the wire's own bytes are recorded, before them too."""
    spec = discover()[name]
    assert spec.recording is not None
    (row,) = rows_for([Rule("one", record=True)], spec, connection(name), None)[-1:]
    assert (row.control, row.problem) == ("record", None)
    (row,) = rows_for([Rule("two", record=True, record_raw=True)], spec, connection(name), None)[-1:]
    assert row.control == "record raw"
    assert (row.problem is None) is spec.recording.is_wire
    if row.problem is not None:
        assert "behind their masks only; write `record`" in row.problem


def test_a_protocol_that_says_nothing_of_recordings_is_not_recorded() -> None:
    """The gateway refuses to start with such a rule (I5)."""
    (row,) = rows_for([Rule("one", record=True)], line.spec(), connection("line"), None)[-1:]
    assert row.problem is not None
    assert "cannot be recorded" in row.problem
