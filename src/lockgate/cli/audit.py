"""`lockgate audit`: check the log offline, and look at single entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from lockgate.audit.admin import recorded
from lockgate.audit.fleet.verification import verify_fleet
from lockgate.audit.reader import Reader
from lockgate.audit.report import Finding, Report, Verdict, uncosigned
from lockgate.audit.storage.database import schema
from lockgate.audit.storage.database.place import fleet_folder, log_beside, read_pointer
from lockgate.audit.storage.sqlite import FILE
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.model import Event

app = typer.Typer(no_args_is_help=True, help="Verify the audit log and look at its entries.")

USAGE = 4
State = Annotated[Path, typer.Option("--state", help="The gateway's state folder.")]


def log_folder(given: Path) -> Path:
    """The log's folder, whether the log's or the state folder was given. Where the gateway's log is in a
    database, that of the shard it holds.
    """
    return log_beside(_audit_folder(given))


def _audit_folder(given: Path) -> Path:
    inner = given / "audit"
    return inner if not (given / FILE).exists() and inner.is_dir() else given


@app.command()
def verify(
    folder: Annotated[Path | None, typer.Argument(help="The log's folder; default: <state>/audit.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="The pinned verifier key (log.vkey).")] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="A signed checkpoint that was kept elsewhere.")
    ] = None,
    state: State = Path("state"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Put on the log that it was verified, and the verdict.")
    ] = False,
) -> None:
    """Check every entry of the log, offline. Exit status: 0 verified, 1 tampered, 2 incomplete,
    3 untrusted, 4 usage.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        kept = None if against is None else against.read_bytes()[:4096].decode()
    except (OSError, UnicodeDecodeError) as error:
        console.print(f"{against}: cannot be read: {error}", markup=False)
        raise typer.Exit(USAGE) from None
    place = _audit_folder(folder or state)
    fleet = fleet_folder(place)
    if fleet is not None:
        raise typer.Exit(verify_a_fleet(console, *fleet, key=key, against=kept, as_json=as_json, record=record))
    if not place.is_dir():
        console.print(f"{place}: there is no such folder", markup=False)
        raise typer.Exit(USAGE)
    report = verify_log(place, key=key, against=kept)
    if record:
        _record_run(place, report)
    if as_json:
        typer.echo(json.dumps(_report(report), ensure_ascii=False))
    else:
        _print(console, report)
    raise typer.Exit(int(report.verdict))


def verify_a_fleet(
    console: Console, base: Path, only: int | None, *, key: Path | None, against: str | None, as_json: bool, record: bool,
) -> int:
    """Check all shards and the fleet log, or `only` one of them; the exit status of the worst."""
    try:
        pointer = read_pointer(base)
    except AuditError as error:
        fail(error)
    if pointer is None:
        raise typer.Exit(USAGE)
    reports = verify_fleet(pointer, base, key=key, against=against, only=only)
    worst = next((verdict for verdict in (Verdict.UNTRUSTED, Verdict.TAMPERED, Verdict.INCOMPLETE)
                  if any(report.verdict is verdict for report in reports)), Verdict.VERIFIED)
    if record:
        for report in reports:
            _record_run(log_beside(base), report)
    if as_json:
        typer.echo(json.dumps({"verdict": worst.name.lower(), "logs": [_report(report) for report in reports]},
                              ensure_ascii=False))
        return int(worst)
    for report in reports:
        console.print(f"[bold]{escape(report.origin)}[/]")
        _print(console, report)
    console.print(f"{worst.name}  {len(reports)} logs")
    return int(worst)


def _record_run(place: Path, report: Report) -> None:
    """`verify_run`: what was verified, and the verdict, by whom."""
    first = report.first
    try:
        with recorded(place) as log:
            log.append(Event("verify_run", {
                "verdict": report.verdict.name.lower(), "entries": report.entries, "key_pinned": report.is_key_pinned,
                "check": None if first is None else first.check, "first": None if first is None else first.index,
            }))
    except AuditError as error:
        fail(error)


def _print(console: Console, report: Report) -> None:
    failed = {finding.check for finding in report.findings}
    for check, detail in report.covered.items():
        if check not in failed:
            console.print(f"[green]ok[/]    {check}: {escape(detail)}")
    for finding in report.findings[:20]:
        console.print(f"[red]FAIL[/]  {finding.check}: {_where(finding)}{escape(finding.message)}")
    if len(report.findings) > 20:
        console.print(f"      … and {len(report.findings) - 20} more")
    for line in uncosigned(report):
        console.print(f"[yellow]note[/]  {escape(line)}")
    first = report.first
    if first is None:
        console.print(f"[bold green]VERIFIED[/]  {report.entries} entries, {report.sessions} sessions, "
                      f"{report.intents} requests")
        return
    place = "" if first.index is None else f" at {_where(first)[:-2]}"
    console.print(f"[bold red]{report.verdict.name}[/]{place} ({first.check}): {escape(first.message)}")


def _where(finding: Finding) -> str:
    if finding.index is None:
        return ""
    if finding.last is not None and finding.last > finding.index:
        return f"index {finding.index} to {finding.last}: "
    return f"index {finding.index}: "


def _report(report: Report) -> dict[str, object]:
    first = report.first
    return {
        "verdict": report.verdict.name.lower(), "origin": report.origin, "entries": report.entries,
        "sessions": report.sessions, "open_sessions": report.open_sessions, "requests": report.intents,
        "key_pinned": report.is_key_pinned, "uncosigned": report.entries,
        "index": None if first is None else first.index, "check": None if first is None else first.check,
        "covered": report.covered,
        "findings": [
            {"check": finding.check, "verdict": finding.verdict.name.lower(), "index": finding.index,
             "last": finding.last, "message": finding.message} for finding in report.findings
        ],
    }


@app.command()
def show(
    index: Annotated[int, typer.Argument(min=0, help="The entry's number.")], state: State = Path("state"),
) -> None:
    """Print one entry: its leaf as it is hashed, and its payload if it can be opened."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        with Reader(log_folder(state)) as reader:
            entry, payload = reader.entry(index)
    except AuditError as error:
        fail(error)
    console.print(f"entry {entry.index}  leaf hash {entry.hash}")
    console.print_json(json.dumps(entry.record))
    console.print(f"payload: {payload.state}")
    if payload.state == "open":
        console.print_json(json.dumps(payload.content))


@app.command()
def sql(
    role: Annotated[str, typer.Option("--role", help="The role that the gateways log in with.")],
    auditor: Annotated[str | None, typer.Option("--auditor", help="A role that may read the log.")] = None,
) -> None:
    """Print the SQL that makes a fleet's tables in PostgreSQL, and gives a role no more rights than it needs."""
    typer.echo(schema.statements(role, auditor=auditor), nl=False)


def fail(error: AuditError) -> NoReturn:
    """Print what is wrong and what to do, and leave with the usage status."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(str(error), markup=False)
    if error.advice():
        console.print(error.advice(), markup=False)
    raise typer.Exit(USAGE)


