"""`lockgate audit`: check the log offline, and look at single entries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lockgate.audit.admin import recorded
from lockgate.audit.checkpoint import open_note
from lockgate.audit.entry import parse
from lockgate.audit.evidence.notes import NOTE_LIMIT
from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.evidence.trust import Trust
from lockgate.audit.failures import BrokenNote, MalformedEntry, ProofFailed, UntrustedNote
from lockgate.audit.keys import VERIFIER_FILE, read_verifier
from lockgate.audit.reader import Reader
from lockgate.audit.signing.trust import TRUST_FILE, read_trust, read_trusts
from lockgate.audit.storage.database.place import fleet_folder
from lockgate.audit.storage.sqlite import FILE, open_source
from lockgate.audit.tiles.disk import TILES_FOLDER
from lockgate.audit.tiles.layout import CHECKPOINT, CHECKPOINT_LIMIT
from lockgate.audit.tiles.proof import PROOF_LIMIT, parse_proof, prove, verify_proof
from lockgate.audit.tiles.reader import Fetch, Tiles, fetch_from
from lockgate.audit.tiles.verify import verify_tiles
from lockgate.audit.verify import verify_log
from lockgate.cli import fleet, signing
from lockgate.cli.audit_export import events, parquet, query
from lockgate.cli.erasing import erase, hold
from lockgate.cli.failing import fail
from lockgate.cli.packages import answer, check_package, export
from lockgate.cli.review import token_of
from lockgate.cli.state import State, audit_folder, log_folder
from lockgate.errors import AuditError
from lockgate.model import Event
from lockgate.net.published import published_at

__all__ = ["app", "fail", "log_folder"]

app = typer.Typer(no_args_is_help=True, help="The audit log: verify it, hand out evidence, ask it, erase and hold, and its keys.")

def verify(
    what: Annotated[str | None, typer.Argument(
        metavar="[PACKAGE|FOLDER|URL]",
        help="An evidence package, the log's folder, a published log, or a fleet's database (postgresql://…); default: "
             "<state>/audit.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="The pinned verifier key (log.vkey).")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="A witness policy (C2SP tlog-policy), for a package and --key.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="A signed checkpoint that was kept elsewhere.")
    ] = None,
    trust_note: Annotated[
        Path | None, typer.Option("--trust", help="The organisation's trust note, for a fleet a folder with one for each log; default: "
                                    "trust.note in the log's folder.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="The pinned verifier key of the root that signed the trust note.")
    ] = None,
    state: State = Path("state"),
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="A file with the token that the URL's server asks for.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Put on the log (of --state, where something else was verified) that it was verified.")
    ] = False,
) -> None:
    """Check an evidence package, or every entry of the log, offline. Exit status: 0 verified, 1 tampered,
    2 incomplete, 3 untrusted, 4 usage.
    """
    console = Console(highlight=False, soft_wrap=True)
    if root is None and trust_note is not None:
        fail(AuditError("a trust note says something only together with the key that it is signed with",
                        advice="give the pinned root with --root"))
    if what is not None and Path(what).is_file():
        if trust_note is not None:
            fail(AuditError("a package brings its trust note along", advice="leave out --trust; --root opens the package's"))
        package = check_package(Path(what), key=key, root=root, policy=policy, against=against)
        if record:
            _record_run(log_folder(state), package)
        answer(console, package, as_json=as_json)
    if policy is not None:
        fail(AuditError("--policy is for packages", advice="a log's witnesses are those of its trust note: give --root"))
    for pinned in (key, root):
        if pinned is not None and not pinned.is_file():
            fail(AuditError(f"{pinned}: there is no such key", advice="name a file with the pinned verifier key"))
    try:
        kept = None if against is None else against.read_bytes()[:NOTE_LIMIT].decode()
    except (OSError, UnicodeDecodeError) as error:
        fail(AuditError(f"{against}: cannot be read: {error}"))
    base, only = (None, None) if is_url(what) else fleet_folder(audit_folder(Path(what or state))) or (None, None)
    if base is not None or fleet.is_database(what):
        trusts = None if root is None else _trusts_of(trust_note or base, root, str(what or state))
        reports = _fleet_reports(str(what), base, only, key, kept, trusts)
        if record:
            for report in reports:
                _record_run(log_folder(state), report)
        raise typer.Exit(fleet.fleet_verdict(console, reports, as_json=as_json))
    place = log_folder(Path(what or state))
    if (place / "manifest.json").is_file() and not (place / FILE).exists():
        fail(AuditError(f"{place}: this is a package that was unpacked", advice="verify the file that it came in"))
    trusted = None if root is None else _trust_of(what, place, trust_note, root, str(what or state))
    checked = (_published_report(str(what), token_file, key, kept, trusted) if is_url(what)
               else _report_on(place, key, kept, trusted))
    if checked is None:
        fail(AuditError(f"{what or place}: there is no such package or folder",
                        advice="name a package, a log's folder, a published log's URL, or the state folder with --state"))
    if record:
        _record_run(place if (place / FILE).exists() else log_folder(state), checked)
    answer(console, checked, as_json=as_json)


def _trust_of(what: str | None, place: Path, note: Path | None, root: Path, named: str) -> Callable[[str], Trust]:
    """What the pinned root signed about the log of a name: in the note that was given, or one in a folder of them,
    else in the note of the log's folder.
    """
    if note is None and (is_url(what) or not (place / TRUST_FILE).is_file()):
        fail(AuditError(f"{named}: there is no {TRUST_FILE} here for --root to open",
                        advice="name the organisation's trust note with --trust"))
    found = _trusts_of(note or place / TRUST_FILE, root, named)
    if not found:
        fail(AuditError(f"{note}: there is no trust note in this folder"))

    def of(origin: str) -> Trust:
        if origin and origin not in found and len(found) > 1:
            fail(AuditError(f"{named}: no trust note is about {origin}"))
        return found.get(origin) or next(iter(found.values()))      # one of another log is found to be that

    return of


def _trusts_of(place: Path | None, root: Path, named: str) -> dict[str, Trust]:
    """What the pinned root signed of each log: in a note, in a folder of notes, or in the logs' folders there."""
    if place is None or not place.exists():
        fail(AuditError(f"{named}: there are no trust notes here for --root to open",
                        advice="name the note, or the folder with a fleet's notes, with --trust"))
    try:
        if place.is_dir():
            return read_trusts(place, root)
        trust = read_trust(place, root)
    except UntrustedNote as error:
        Console(highlight=False, soft_wrap=True).print(f"[bold red]UNTRUSTED[/] (trust): {escape(str(error))}")
        raise typer.Exit(int(Verdict.UNTRUSTED)) from None
    return {trust.origin: trust}


def _fleet_reports(
    what: str, base: Path | None, only: int | None, key: Path | None, kept: str | None, trusts: dict[str, Trust] | None,
) -> list[Report]:
    """On the shards of a fleet and its log: where a state folder points to, or in a database that was named."""
    try:
        return (fleet.reports_from(what, key=key, against=kept, trusts=trusts) if base is None
                else fleet.fleet_reports(base, only, key=key, against=kept, trusts=trusts))
    except AuditError as error:
        fail(error)


def is_url(what: str | None) -> bool:
    """Whether a log is to be fetched."""
    return what is not None and what.startswith(("http://", "https://"))


def _report_on(place: Path, key: Path | None, kept: str | None, trusted: Callable[[str], Trust] | None) -> Report | None:
    """On the store's folder, or on a folder of tiles, which has no store; None where there is no folder."""
    if not place.is_dir():
        return None
    if (place / "tile").is_dir() and not (place / FILE).exists():
        fetch = fetch_from(place)
        return verify_tiles(fetch, str(place), key=key, against=kept, trust=trusted and trusted(_origin_in(fetch)))
    return verify_log(place, key=key, against=kept, trust=trusted and trusted(_origin_of(place)))


def _origin_in(fetch: Fetch) -> str:
    """What a published log says it is called; nothing where it cannot be read, which its verification will tell."""
    try:
        return fetch(CHECKPOINT, CHECKPOINT_LIMIT).partition(b"\n")[0].decode("utf-8", "replace")
    except AuditError:
        return ""


def _origin_of(place: Path) -> str:
    """What the verifier key in a log's folder is called after; nothing where there is none."""
    try:
        return read_verifier(place / VERIFIER_FILE).name
    except UntrustedNote:
        return ""


def _published_report(
    what: str, token_file: Path | None, key: Path | None, kept: str | None, trusted: Callable[[str], Trust] | None,
) -> Report:
    token = None if token_file is None else token_of(token_file)
    try:
        with published_at(what, token) as fetch:
            return verify_tiles(fetch, what, key=key, against=kept, trust=trusted and trusted(_origin_in(fetch)))
    except AuditError as error:
        fail(error)


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


def proof(
    what: Annotated[str, typer.Argument(
        metavar="INDEX|SESSION", help="An entry's number, or the id of a session that has ended.")],
    state: State = Path("state"),
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; default: print it.")] = None,
) -> None:
    """Prove that one entry is in the published log, as a C2SP tlog-proof file. A session's last entry holds
    the root of the whole session.
    """
    folder = log_folder(state)
    try:
        verifier = read_verifier(folder / VERIFIER_FILE)
        fetch = fetch_from(folder / TILES_FOLDER)
        note = fetch(CHECKPOINT, CHECKPOINT_LIMIT).decode("utf-8", "replace")
        index = int(what) if what.isdecimal() and len(what) < 16 else _end_of(folder, what)
        made = prove(Tiles(fetch, open_note(note, verifier).size), index, note, verifier).text()
        if out is not None:
            out.write_text(made)
    except AuditError as error:
        fail(error)
    except OSError as error:
        fail(AuditError(f"{out}: {error.strerror}"))
    typer.echo(made if out is None else f"{out}: proof of entry {index}", nl=out is not None)


def _end_of(folder: Path, session: str) -> int:
    """The index of a session's `session_end`."""
    with open_source(folder) as source:
        _, last, sid = source.session(session)
    if last is None:
        raise AuditError(f"session {sid} is still open", advice="its last entry is written when it ends")
    return last


def verify_proof_file(
    file: Annotated[Path, typer.Argument(help="A proof that `lockgate audit proof` wrote.")],
    key: Annotated[Path, typer.Option("--key", help="The pinned verifier key (log.vkey).")],
) -> None:
    """Check a proof file with nothing but the log's key, and print its entry. Exit status as `verify`."""
    try:
        made = parse_proof(file.read_bytes()[: PROOF_LIMIT + 1].decode("utf-8", "replace"))
        checkpoint = verify_proof(made, read_verifier(key))
        record = parse(made.leaf)
    except OSError as error:
        fail(AuditError(f"{file}: {error.strerror}"))
    except (ProofFailed, BrokenNote, MalformedEntry) as error:
        fail(error, Verdict.TAMPERED)
    except UntrustedNote as error:
        fail(error, Verdict.UNTRUSTED)
    Console(highlight=False, soft_wrap=True).print_json(json.dumps(record))
    typer.echo(f"VERIFIED  entry {made.index} of the {checkpoint.size} that {checkpoint.origin} signed")


# In the order in which `--help` shows them: what is asked of a log, what is taken out of it, what is done to it.
for _name, _command in (
    ("verify", verify), ("export", export), ("show", show), ("query", query), ("events", events), ("parquet", parquet),
    ("proof", proof), ("verify-proof", verify_proof_file), ("erase", erase), ("rotate-key", signing.rotate_key),
    ("signer", signing.signer), ("sql", fleet.sql),
):
    app.command(_name)(_command)
app.add_typer(hold, name="hold")
app.add_typer(signing.trust, name="trust")
