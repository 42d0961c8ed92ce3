"""What `lockgate audit` does for a fleet, whose logs are shards in one PostgreSQL database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lockgate.audit.evidence.report import Report, Verdict, report_json
from lockgate.audit.evidence.trust import Trust
from lockgate.audit.fleet.verification import verify_fleet
from lockgate.audit.storage.database import schema
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import KIND, Pointer, place_at, read_pointer
from lockgate.cli.packages import print_report
from lockgate.errors import AuditError


def fleet_reports(
    base: Path, only: int | None, *, key: Path | None, against: str | None, trusts: Mapping[str, Trust] | None = None,
) -> list[Report]:
    """All shards and the fleet log, checked, or `only` one of them. Raises `AuditError` for an unusable pointer."""
    pointer = read_pointer(base)
    if pointer is None:
        raise AuditError(f"{base}: points to no database")
    return verify_fleet(pointer, base, key=key, against=against, only=only, trusts=trusts)


def is_database(what: str | None) -> bool:
    """Whether a fleet is named by its database's URL."""
    return what is not None and what.startswith(f"{KIND}://")


def reports_from(
    url: str, *, key: Path | None, against: str | None, trusts: Mapping[str, Trust] | None,
) -> list[Report]:
    """The same from nothing but the database, by somebody who has the right to read it. Raises `AuditError`."""
    if key is None and trusts is None:
        raise AuditError("nothing here says which key the fleet signs with",
                         advice="give its pinned log.vkey with --key, or trust notes with --trust and --root")
    place = place_at(url)
    with Connection(place) as connection:
        found = connection.value("SELECT value FROM meta WHERE name = 'origin' AND shard > 0 ORDER BY shard LIMIT 1")
    if found is None:
        raise AuditError(f"{place.address}: holds no fleet's logs")
    origin = bytes(found).decode("utf-8", "replace").rpartition("/")[0]
    with TemporaryDirectory() as nothing:
        reports = verify_fleet(Pointer(place, origin, 0, ""), Path(nothing), key=key, against=against, trusts=trusts)
    for report in reports:
        report.source = f"{place.address}/{place.database}"
    return reports


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
    since: Annotated[
        int, typer.Option("--since", min=0, max=schema.FORMAT, help="The format that the tables have: print what is new.")
    ] = 0,
) -> None:
    """Print the SQL that makes a fleet's tables in PostgreSQL, and gives a role no more rights than it needs."""
    typer.echo(schema.statements(role, auditor=auditor, since=since), nl=False)
