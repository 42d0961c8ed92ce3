"""The enforcement table of `lockgate check`: every rule on every connection, without serving anybody."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from lockgate.app.configuration import CONNECTION, compile_policy, rows_for
from lockgate.app.gateway import Gateway
from lockgate.config.load import Loaded
from lockgate.config.settings import Connection
from lockgate.errors import ConfigError
from lockgate.protocols import discover
from lockgate.wire.spec import Enforcement, ProtocolSpec

Check = Callable[[ProtocolSpec, Connection, Any], list[Enforcement]]


def enforcement_table(loaded: Loaded, *, offline: bool) -> list[Enforcement]:
    """Every rule on every connection, for `lockgate check`.

    Offline no backend is asked, and it is not known which columns masks match. Otherwise each
    backend is asked once, as the gateway would at its start; one that cannot be reached is a row
    with a problem.
    """
    compile_policy(loaded)
    if not offline:
        return uvloop.run(_ask_backends(loaded, partial(rows_for, loaded)))
    rows: list[Enforcement] = []
    plain = replace(loaded, rules=tuple(replace(rule, masks=()) for rule in loaded.rules))
    for connection in loaded.settings.connections:
        rows += rows_for(plain, discover()[connection.protocol], connection, None)
        rows += [
            Enforcement(connection.name, rule.name, "mask", "not matched with columns: no backend was asked")
            for rule in loaded.rules
            if rule.masks and (not rule.connections or connection.name in rule.connections)
        ]
    return rows


def columns_of(loaded: Loaded, name: str) -> list[str]:
    """Every column of one connection's backend, as `schema.relation.column` in order, for `lockgate columns`.

    Raises `ConfigError` where there is no such connection, its protocol knows no columns, or the backend cannot
    be asked.
    """
    connection = next((one for one in loaded.settings.connections if one.name == name), None)
    if connection is None:
        known = ", ".join(one.name for one in loaded.settings.connections)
        raise ConfigError(f"there is no connection {name}", advice=f"Write one of: {known}")
    spec = discover()[connection.protocol]
    if spec.columns is None:
        raise ConfigError(f"connection {name} speaks {connection.protocol}, which has no columns")
    found: list[list[str]] = []

    def look(_: ProtocolSpec, asked: Connection, catalogue: Any) -> list[Enforcement]:
        if catalogue is not None and spec.columns is not None:
            found.append(spec.columns(catalogue))
        return [Enforcement(asked.name, CONNECTION, "columns", "")]

    only = replace(loaded, settings=loaded.settings.model_copy(update={"connections": (connection,)}), rules=())
    rows = uvloop.run(_ask_backends(only, look))
    if not found:
        raise ConfigError(f"connection {name}: " + next((row.problem for row in rows if row.problem), "no catalogue"))
    return found[0]


async def _ask_backends(loaded: Loaded, look: Check) -> list[Enforcement]:
    """Ask every backend. What is sent is recorded first, in a log of its own that is not kept."""
    rows: list[Enforcement] = []

    def check(spec: ProtocolSpec, connection: Connection, catalogue: Any) -> list[Enforcement]:
        found = look(spec, connection, catalogue)
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
                    Enforcement(keeper.connection.name, CONNECTION, "connect", "",
                                keeper.complaint or "its backend does not let its catalogue be read")
                    for keeper in keepers if not keeper.is_checked
                ]
                for keeper in keepers:
                    keeper.stop()
                await gateway.host.drain(5.0)
    return rows
