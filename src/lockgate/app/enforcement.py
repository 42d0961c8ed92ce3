"""The enforcement table of `lockgate check`: every rule on every connection, without serving anybody."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from lockgate.app.configuration import compile_policy, rows_for
from lockgate.app.gateway import Gateway
from lockgate.config.load import Loaded
from lockgate.config.settings import Connection
from lockgate.protocols import discover
from lockgate.wire.spec import Enforcement, ProtocolSpec


def enforcement_table(loaded: Loaded, *, offline: bool) -> list[Enforcement]:
    """Every rule on every connection, for `lockgate check`.

    Offline no backend is asked, and it is not known which columns masks match. Otherwise each
    backend is asked once, as the gateway would at its start; one that cannot be reached is a row
    with a problem.
    """
    compile_policy(loaded)
    if not offline:
        return uvloop.run(_ask_backends(loaded))
    rows: list[Enforcement] = []
    plain = [replace(rule, masks=()) for rule in loaded.rules]
    for connection in loaded.settings.connections:
        rows += rows_for(plain, discover()[connection.protocol], connection, None)
        rows += [
            Enforcement(connection.name, rule.name, "mask", "not matched with columns: no backend was asked")
            for rule in loaded.rules
            if rule.masks and (not rule.connections or connection.name in rule.connections)
        ]
    return rows


async def _ask_backends(loaded: Loaded) -> list[Enforcement]:
    """Ask every backend. What is sent is recorded first, in a log of its own that is not kept."""
    rows: list[Enforcement] = []

    def check(spec: ProtocolSpec, connection: Connection, catalogue: Any) -> list[Enforcement]:
        found = rows_for(loaded.rules, spec, connection, catalogue)
        rows.extend(found)
        return found

    with tempfile.TemporaryDirectory(prefix="lockgate-check-") as folder:
        async with asyncio.TaskGroup() as tasks:
            gateway = Gateway(loaded, tasks)
            with ExitStack() as stack:
                gateway.open_state(Path(folder), stack)
                gateway.verifier = gateway.make_verifier(loaded.settings.identity)
                gateway.start_host(check)
                keepers = tuple(gateway.host.keepers.values())
                await gateway.first_looks(keepers)
                rows += [
                    Enforcement(keeper.connection.name, "*", "connect", "",
                                keeper.complaint or "its backend does not let its catalogue be read")
                    for keeper in keepers if not keeper.is_checked
                ]
                for keeper in keepers:
                    keeper.stop()
                await gateway.host.drain(5.0)
    return rows
