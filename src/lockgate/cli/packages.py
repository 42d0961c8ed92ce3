"""`lockgate audit export`, and how packages are verified and verdicts are printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, BinaryIO, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from lockgate.audit.admin import recorded
from lockgate.audit.evidence.main import no_package, printable
from lockgate.audit.evidence.package import verify_package
from lockgate.audit.evidence.report import Report, conclusion, report_json, text_lines
from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.keys import COSIGNED_FILE, POLICY_FILE
from lockgate.audit.packaging.asking import Asked
from lockgate.audit.packaging.export import Exported, export_package
from lockgate.audit.signing.trust import TRUST_FILE
from lockgate.audit.storage.database.place import log_verifier
from lockgate.cli.failing import fail
from lockgate.cli.period import From, To, period_of
from lockgate.cli.state import log_folder
from lockgate.errors import AuditError
from lockgate.model import Event

_COLOURS = {"ok": "green", "FAIL": "red", "note": "yellow", "none": "dim", "": "dim"}
_LIMIT = 65_536     # bytes of a key, a policy or a checkpoint
_ENTRIES = re.compile(r"(\d{1,15})(?:-(\d{1,15}))?", re.ASCII)


def check_package(
    package: Path, *, key: Path | None = None, root: Path | None = None, policy: Path | None = None,
    against: Path | None = None,
) -> Report:
    """The report on a package; leaves with the usage status where a file cannot be read."""
    pins = pins_of(key, root, policy, against)
    try:
        with package.open("rb") as file:
            return check_open(file, package, pins)
    except OSError as error:
        fail(AuditError(str(error)))


def check_open(file: BinaryIO, package: Path, pins: Pins) -> Report:
    """As `check_package`, of a file that is open."""
    if problem := no_package(file):
        fail(AuditError(f"{package}: is {problem}"))
    return verify_package(file, pins, str(package))


def pins_of(*paths: Path | None) -> Pins:
    """What the files say that somebody pinned, in the order of `Pins`; leaves where one cannot be read."""
    try:
        return Pins(*map(pinned, paths))
    except (OSError, UnicodeDecodeError) as error:
        fail(AuditError(str(error)))


def pinned(path: Path | None) -> str | None:
    """The text of a file that somebody pinned, as far as one can be long. Raises OSError, UnicodeDecodeError."""
    if path is None:
        return None
    with path.open("rb") as file:
        return file.read(_LIMIT).decode()


def answer(console: Console, report: Report, *, as_json: bool) -> NoReturn:
    """Print a report and leave with its verdict as the status."""
    if as_json:
        typer.echo(json.dumps(report_json(report), ensure_ascii=False))
    else:
        print_report(console, report)
    raise typer.Exit(int(report.verdict))


def print_report(console: Console, report: Report) -> None:
    """A line for each check, then the verdict."""
    for tag, line in text_lines(report):
        console.print(f"[{_COLOURS[tag]}]{tag:<5}[/] {escape(printable(line))}")
    style = "bold green" if report.first is None else "bold red"
    verdict, space, rest = conclusion(report).partition(" ")
    console.print(f"[{style}]{verdict}[/]{space}{escape(printable(rest))}")


def export(
    out: Annotated[Path, typer.Option("--out", help="The package to write (a tar archive).")],
    state: Annotated[Path, typer.Option("--state", help="The gateway's state folder.")] = Path("state"),
    session: Annotated[str | None, typer.Option("--session", help="One session, by its id or its beginning.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="All sessions of a person or workload.")] = None,
    issuer: Annotated[str | None, typer.Option("--issuer", help="The subject's issuer, where several know the name.")] = None,
    start: From = None, end: To = None,
    withhold: Annotated[
        list[str] | None, typer.Option("--withhold", help="An entry, or first-last, whose payload stays here.")
    ] = None,
    no_payloads: Annotated[bool, typer.Option("--no-payloads", help="Disclose no payload and no recording.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    root: Annotated[
        Path | None, typer.Option("--root", help="Verify the package as who pinned this root key will.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="The witness policy, where there is no trust note; default: the gateway's own.")
    ] = None,
) -> None:
    """Write an evidence package that anybody can verify: a session, a subject's sessions, a period, or all.

    Payloads of what was asked for are disclosed, all others are withheld and named as such. The export is put
    on the log, and the package verified before the command ends.
    """
    if sum(1 for given in (session, subject, start or end) if given) > 1:
        fail(AuditError("these exclude each other: --session, --subject, and --from with --to", advice="give one of them"))
    if issuer is not None and subject is None:
        fail(AuditError("an issuer is that of a subject", advice="give --subject as well"))
    if out.exists():
        fail(AuditError(f"{out}: is there already", advice="give a file that is new"))
    period = period_of(start, end)
    asked = Asked(session, subject, issuer, period.start, period.end, not no_payloads, tuple(map(_entries, withhold or [])))
    folder = log_folder(state)
    console = Console(highlight=False, soft_wrap=True)
    try:
        pins = _pins_here(folder, root, policy)
        written = export_package(folder, asked, out, lambda made: _record(folder, made, reason))
    except AuditError as error:
        fail(error)
    with out.open("rb") as file:
        report = verify_package(file, pins, str(out))
    print_report(console, report)
    console.print(f"{written.path}: entries {written.first} to {written.last} of {written.size}, "
                  f"{written.disclosed} payloads disclosed", markup=False)
    raise typer.Exit(int(report.verdict))


def _pins_here(folder: Path, root: Path | None, policy: Path | None) -> Pins:
    """What the one who exports verifies by: the log's own key, and the witnesses that its trust note names, or the
    gateway's own policy. Only `root` says whether that note is the organisation's.
    """
    try:
        if root is not None:
            return Pins(root=pinned(root))
        witnesses = pinned(policy)
        if policy is None and (folder / TRUST_FILE).is_file():
            note = pinned(folder / TRUST_FILE) or ""
            lines = note.partition("\n\n")[0].splitlines()
            witnesses = "".join(f"{line}\n" for line in lines if line.startswith(("witness ", "group ", "quorum ")))
        elif policy is None and (folder / COSIGNED_FILE).is_file() and (folder / POLICY_FILE).is_file():
            witnesses = pinned(folder / POLICY_FILE)
        return Pins(str(log_verifier(folder)), policy=witnesses or None)
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(str(error)) from None


def _record(folder: Path, made: Exported, reason: str) -> None:
    """`export`: which entries leave the log, with how many payloads. Without it no package leaves."""
    with recorded(folder) as log:
        log.append(Event("export", {"first": made.first, "last": made.last, "size": made.size,
                                    "disclosed": made.disclosed}, None, json.dumps({"reason": reason}).encode()))


def _entries(text: str) -> tuple[int, int]:
    found = _ENTRIES.fullmatch(text)
    if found is None:
        fail(AuditError(f"{text!r} is not an entry's number", advice="write 14, or first-last like 20-31"))
    return int(found[1]), int(found[2] or found[1])
