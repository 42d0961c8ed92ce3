"""`lockgate audit`: check the log offline, and look at single entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from lockgate.audit.admin import recorded
from lockgate.audit.evidence.report import Report, conclusion, report_json, text_lines
from lockgate.audit.reader import Reader
from lockgate.audit.storage.sqlite import FILE
from lockgate.audit.verify import verify_log
from lockgate.errors import AuditError
from lockgate.model import Event

app = typer.Typer(no_args_is_help=True, help="Verify the audit log and look at its entries.")

USAGE = 4
State = Annotated[Path, typer.Option("--state", help="The gateway's state folder.")]


def log_folder(given: Path) -> Path:
    """The log's folder, whether the log's or the state folder was given."""
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
    place = log_folder(folder or state)
    if not place.is_dir():
        console.print(f"{place}: there is no such folder", markup=False)
        raise typer.Exit(USAGE)
    report = verify_log(place, key=key, against=kept)
    if record:
        _record_run(place, report)
    if as_json:
        typer.echo(json.dumps(report_json(report), ensure_ascii=False))
    else:
        _print(console, report)
    raise typer.Exit(int(report.verdict))


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


_COLOURS = {"ok": "green", "FAIL": "red", "note": "yellow", "none": "dim", "": "dim"}


def _print(console: Console, report: Report) -> None:
    for tag, line in text_lines(report):
        console.print(f"[{_COLOURS[tag]}]{tag:<5}[/] {escape(line)}")
    style = "bold green" if report.first is None else "bold red"
    verdict, space, rest = conclusion(report).partition(" ")
    console.print(f"[{style}]{verdict}[/]{space}{escape(rest)}")


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


def fail(error: AuditError) -> NoReturn:
    """Print what is wrong and what to do, and leave with the usage status."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(str(error), markup=False)
    if error.advice():
        console.print(error.advice(), markup=False)
    raise typer.Exit(USAGE)


