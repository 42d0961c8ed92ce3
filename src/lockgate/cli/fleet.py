"""What `lockgate audit` does for a fleet, whose logs are shards in one PostgreSQL database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lockgate.audit.evidence.report import Report, Verdict, report_json
from lockgate.audit.fleet.verification import verify_fleet
from lockgate.audit.storage.database import schema
from lockgate.audit.storage.database.place import read_pointer
from lockgate.cli.packages import print_report
from lockgate.errors import AuditError


def fleet_reports(base: Path, only: int | None, *, key: Path | None, against: str | None) -> list[Report]:
    """All shards and the fleet log, checked, or `only` one of them. Raises `AuditError` for an unusable pointer."""
    pointer = read_pointer(base)
    if pointer is None:
        raise AuditError(f"{base}: points to no database")
    return verify_fleet(pointer, base, key=key, against=against, only=only)


def fleet_verdict(console: Console, reports: list[Report], *, as_json: bool) -> int:
    """Print the reports; the exit status is the worst of them."""
    worst = next((verdict for verdict in (Verdict.UNTRUSTED, Verdict.TAMPERED, Verdict.INCOMPLETE)
                  if any(report.verdict is verdict for report in reports)), Verdict.VERIFIED)
    if as_json:
        typer.echo(json.dumps({"verdict": worst.name.lower(), "logs": [report_json(report) for report in reports]},
                              ensure_ascii=False))
        return int(worst)
    for report in reports:
        console.print(f"[bold]{escape(report.origin)}[/]")
        print_report(console, report)
    console.print(f"{worst.name}  {len(reports)} logs")
    return int(worst)


def sql(
    role: Annotated[str, typer.Option("--role", help="The role that the gateways log in with.")],
    auditor: Annotated[str | None, typer.Option("--auditor", help="A role that may read the log.")] = None,
) -> None:
    """Print the SQL that makes a fleet's tables in PostgreSQL, and gives a role no more rights than it needs."""
    typer.echo(schema.statements(role, auditor=auditor), nl=False)
