"""`lockgate check`: would the gateway start, and how is each rule held on each connection?

Apart from `serve` because it listens on nothing and changes nothing; what it finds is what `serve`
would find (I5).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lockgate.app import described, enforcement_table, load_configuration
from lockgate.config.doubts import secret_doubts
from lockgate.config.load import Loaded
from lockgate.errors import LockgateError
from lockgate.wire.spec import Enforcement

_COLUMNS = ("connection", "rule", "control", "how it is enforced")


def check(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")] = Path("lockgate.yaml"),
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no backend for its catalogue; masks are then not matched.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Validate the configuration and print how each rule is enforced. Exit 1 if the gateway would not start."""
    try:
        loaded = load_configuration(config)
        rows = enforcement_table(loaded, offline=offline)
    except LockgateError as error:
        _fail(error, as_json=as_json)
        raise typer.Exit(1) from None
    problems = [described(loaded, row) for row in rows if row.problem is not None]
    warnings = [*loaded.doubts, *secret_doubts(loaded.secrets), *(described(loaded, row) for row in rows if row.doubt is not None)]
    if as_json:
        typer.echo(json.dumps({
            "ok": not problems, "source": str(loaded.source), "policy": loaded.policy_hash, "offline": offline,
            "problems": problems, "warnings": warnings, "enforcement": [asdict(row) for row in rows],
        }, indent=2))
    else:
        _show(rows)
        _tell(loaded, problems, warnings, offline=offline)
    if problems:
        raise typer.Exit(1)


def _fail(error: LockgateError, *, as_json: bool) -> None:
    message = str(error.args[0])
    if as_json:
        typer.echo(json.dumps({"ok": False, "code": error.code, "problems": message.splitlines()}, indent=2))
        return
    typer.echo(message, err=True)
    if error.advice():
        typer.echo(error.advice(), err=True)
    typer.echo("the gateway would refuse to start", err=True)


def _show(rows: Sequence[Enforcement]) -> None:
    if sys.stdout.isatty():
        _show_table(rows)
    else:
        for row in rows:
            typer.echo("\t".join((row.connection, row.rule, row.control, _how(row))))


def _tell(loaded: Loaded, problems: Sequence[str], warnings: Sequence[str], *, offline: bool) -> None:
    if offline:
        typer.echo("offline: no backend was asked, so it is not known which columns the masks match")
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        typer.echo("the gateway would refuse to start", err=True)
    else:
        count = len(loaded.settings.connections)
        typer.echo(f"{loaded.source}: valid, {len(loaded.rules)} rules on {count} connections, "
                   f"policy {loaded.policy_hash[:12]}")


def _show_table(rows: Sequence[Enforcement]) -> None:
    table = Table(*_COLUMNS, header_style="bold")
    for row in rows:
        table.add_row(row.connection, row.rule, row.control, _how(row),
                      style="red" if row.problem is not None else None)
    Console(markup=False, highlight=False).print(table)


def _how(row: Enforcement) -> str:
    return row.how if row.problem is None else f"NOT ENFORCEABLE: {row.problem}"
