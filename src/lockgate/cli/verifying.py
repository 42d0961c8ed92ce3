"""`lockgate audit verify` and `verify-proof`: what is verified, with what of it pinned, and by which verifier.

Apart from `audit`, whose other commands take the log at its word. What was given is looked at before anything
is verified (`require_fit`): an option that a verdict would not rest on is wrong usage and never ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from lockgate.audit.admin import recorded
from lockgate.audit.entry import parse
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.main import no_checkpoint
from lockgate.audit.evidence.merkle import leaf_hash, verify_inclusion
from lockgate.audit.evidence.notes import NOTE_LIMIT, parse_note
from lockgate.audit.evidence.policy import Policy as WitnessPolicy
from lockgate.audit.evidence.policy import parse_policy
from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.evidence.signatures import Pins, signatories
from lockgate.audit.evidence.trust import Trust
from lockgate.audit.failures import MalformedEntry, ProofFailed, UntrustedNote
from lockgate.audit.keys import VERIFIER_FILE, read_verifier
from lockgate.audit.signing.trust import TRUST_FILE, read_trust, read_trusts
from lockgate.audit.storage.database.place import fleet_folder
from lockgate.audit.storage.sqlite import FILE
from lockgate.audit.tiles.layout import CHECKPOINT, CHECKPOINT_LIMIT
from lockgate.audit.tiles.proof import PROOF_LIMIT, parse_proof
from lockgate.audit.tiles.reader import Fetch, fetch_from
from lockgate.audit.tiles.verify import verify_tiles
from lockgate.audit.verify import verify_log
from lockgate.cli import fleet
from lockgate.cli.calling import token_of
from lockgate.cli.failing import fail
from lockgate.cli.packages import answer, check_package, pinned
from lockgate.cli.state import State, audit_folder, log_folder
from lockgate.errors import AuditError
from lockgate.model import Event
from lockgate.net.published import published_at

Key = Annotated[Path | None, typer.Option("--key", help="The pinned verifier key (log.vkey).")]
Root = Annotated[
    Path | None, typer.Option("--root", help="The pinned verifier key of the root that signed the trust note.")]
Policy = Annotated[
    Path | None, typer.Option("--policy", help="The pinned witness policy (C2SP tlog-policy), besides --key.")]


class Kind(StrEnum):
    """What is verified."""

    PACKAGE = "package"
    FOLDER = "folder"
    URL = "url"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class Given:
    """The files that a verification was given."""

    key: Path | None = None
    root: Path | None = None
    trust: Path | None = None
    policy: Path | None = None
    against: Path | None = None
    token: Path | None = None


_UNFIT: Final[tuple[tuple[Callable[[Kind, Given], bool], str, str], ...]] = (
    (lambda _, given: given.trust is not None and given.root is None,
     "a trust note says something only together with the key that it is signed with", "give the pinned root with --root"),
    (lambda kind, given: given.trust is not None and kind is Kind.PACKAGE,
     "a package brings its trust note along", "leave out --trust; --root opens the package's"),
    (lambda kind, given: given.policy is not None and given.root is not None and kind in (Kind.FOLDER, Kind.URL),
     "the trust note says which witnesses count", "give --root, or --key with --policy"),
    (lambda kind, given: given.policy is not None and kind is Kind.FLEET,
     "the shards of a fleet are verified without their witnesses", "leave out --policy"),
    (lambda kind, given: given.key is not None and given.root is not None and kind is not Kind.PACKAGE,
     "the trust note says which keys count", "give --root, or --key"),
    (lambda kind, given: given.token is not None and kind is not Kind.URL,
     "nobody is asked for what is on this machine", "leave out --token-file"),
)
"""Options that do not go together, or with what is verified: the words and what to do."""


def require_fit(kind: Kind, given: Given) -> None:
    """Leave with the usage status unless a verdict can rest on everything that was given."""
    for is_unfit, words, advice in _UNFIT:
        if is_unfit(kind, given):
            fail(AuditError(words, advice=advice))
    for path in (given.key, given.root, given.trust, given.policy, given.against):
        if path is not None and not path.is_file() and not (path is given.trust and path.is_dir()):
            fail(AuditError(f"{path}: there is no such file"))
    if given.against is not None:
        _kept(given.against)


def verify(
    what: Annotated[str | None, typer.Argument(
        metavar="[PACKAGE|FOLDER|URL]",
        help="An evidence package, the log's folder, a published log, or a fleet's database (postgresql://…); default: "
             "<state>/audit.")] = None,
    key: Key = None, policy: Policy = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="A signed checkpoint that was kept elsewhere.")
    ] = None,
    trust_note: Annotated[
        Path | None, typer.Option("--trust", help="The organisation's trust note, for a fleet a folder with one for each log; "
                                    "default: trust.note in the log's folder.")
    ] = None,
    root: Root = None,
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
    given = Given(key, root, trust_note, policy, against, token_file)
    named = str(what or state)
    base, only = (None, None) if _is_url(what) else fleet_folder(audit_folder(Path(named))) or (None, None)
    kind = _kind_of(what, is_fleet=base is not None or fleet.is_database(what))
    require_fit(kind, given)
    if kind is Kind.FLEET:
        reports = _fleet_reports(named, base, only, given)
        if record:
            for one in reports:
                _record_run(log_folder(state), one)
        raise typer.Exit(fleet.fleet_verdict(console, reports, as_json=as_json))
    place = log_folder(Path(what or state))
    if kind is Kind.PACKAGE:
        report = check_package(Path(str(what)), key=key, root=root, policy=policy, against=against)
    else:
        trust = None if root is None else _trust_of(place, given, root, kind, named)
        report = _published(str(what), given, trust) if kind is Kind.URL else _on_disk(place, given, trust, what)
    if record:
        _record_run(place if (place / FILE).exists() else log_folder(state), report)
    answer(console, report, as_json=as_json)


def _kind_of(what: str | None, *, is_fleet: bool) -> Kind:
    if _is_url(what):
        return Kind.URL
    if what is not None and Path(what).is_file():
        return Kind.PACKAGE
    return Kind.FLEET if is_fleet else Kind.FOLDER


def _is_url(what: str | None) -> bool:
    """Whether a log is to be fetched."""
    return what is not None and what.startswith(("http://", "https://"))


def _kept(path: Path) -> str:
    """A checkpoint that was kept. Leaves where a file is none: whoever names another file has not found a forgery."""
    note = ""
    try:
        note = path.read_bytes()[:NOTE_LIMIT].decode()
        problem = no_checkpoint(note)
    except OSError as error:
        problem = str(error.strerror)
    except UnicodeDecodeError:
        problem = "not text"
    if problem:
        fail(AuditError(f"{path}: is no checkpoint: {problem}", advice="--against takes a signed checkpoint, such as "
                        "<state>/audit/checkpoint was when it was kept"))
    return note


def _policy_of(given: Given) -> WitnessPolicy | None:
    """The pinned witnesses."""
    if given.policy is None:
        return None
    try:
        return parse_policy(pinned(given.policy) or "")
    except (OSError, UnicodeDecodeError) as error:
        fail(AuditError(str(error)))
    except EvidenceError as error:
        fail(AuditError(f"{given.policy}: is no witness policy: {error.message}"))


def _trust_of(place: Path, given: Given, root: Path, kind: Kind, named: str) -> Callable[[str], Trust]:
    """What the pinned root signed about the log of a name: in the note that was given, or one in a folder of them,
    else in the note of the log's folder.
    """
    if given.trust is None and (kind is Kind.URL or not (place / TRUST_FILE).is_file()):
        fail(AuditError(f"{named}: there is no {TRUST_FILE} here for --root to open",
                        advice="name the organisation's trust note with --trust"))
    found = _trusts_of(given.trust or place / TRUST_FILE, root, named)
    if not found:
        fail(AuditError(f"{given.trust}: there is no trust note in this folder"))

    def of(origin: str) -> Trust:
        if origin and origin not in found and len(found) > 1:
            fail(AuditError(f"{named}: no trust note is about {origin}"))
        return found.get(origin) or next(iter(found.values()))      # one of another log is found to be that

    return of


def _trusts_of(place: Path | None, root: Path, named: str) -> dict[str, Trust]:
    """What the pinned root signed of each log: in a note, in a folder of notes, or in the logs' folders there."""
    if place is None:
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


def _fleet_reports(named: str, base: Path | None, only: int | None, given: Given) -> list[Report]:
    """On the shards of a fleet and its log: where a state folder points to, or in a database that was named."""
    kept = None if given.against is None else _kept(given.against)
    trusts = None if given.root is None else _trusts_of(given.trust or base, given.root, named)
    try:
        return (fleet.reports_from(named, key=given.key, against=kept, trusts=trusts) if base is None
                else fleet.fleet_reports(base, only, key=given.key, against=kept, trusts=trusts))
    except AuditError as error:
        fail(error)


def _on_disk(place: Path, given: Given, trusted: Callable[[str], Trust] | None, what: str | None) -> Report:
    """On the store's folder, or on a folder of tiles, which has no store."""
    if not place.is_dir():
        fail(AuditError(f"{what or place}: there is no such package or folder",
                        advice="name a package, a log's folder, a published log's URL, or the state folder with --state"))
    is_store = (place / FILE).exists()
    if not is_store and (place / "manifest.json").is_file():
        fail(AuditError(f"{place}: this is a package that was unpacked", advice="verify the file that it came in"))
    kept, policy = None if given.against is None else _kept(given.against), _policy_of(given)
    if not is_store and (place / "tile").is_dir():
        fetch = fetch_from(place)
        trust = trusted and trusted(_origin_in(fetch))
        return verify_tiles(fetch, str(place), key=given.key, against=kept, trust=trust, policy=policy)
    return verify_log(place, key=given.key, against=kept, trust=trusted and trusted(_origin_of(place)), policy=policy)


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


def _published(what: str, given: Given, trusted: Callable[[str], Trust] | None) -> Report:
    token = None if given.token is None else token_of(given.token)
    kept, policy = None if given.against is None else _kept(given.against), _policy_of(given)
    try:
        with published_at(what, token) as fetch:
            trust = trusted and trusted(_origin_in(fetch))
            return verify_tiles(fetch, what, key=given.key, against=kept, trust=trust, policy=policy)
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


# ---------------------------------------------------------------- one entry


def verify_proof_file(
    file: Annotated[Path, typer.Argument(help="A proof that `lockgate audit proof` wrote.")],
    key: Key = None,
    trust_note: Annotated[Path | None, typer.Option("--trust", help="The organisation's trust note, for --root.")] = None,
    root: Root = None,
    policy: Policy = None,
) -> None:
    """Check a proof file with nothing but what was pinned, and print its entry. Exit status as `verify`."""
    if (key is None) == (root is None):
        fail(AuditError("a proof is checked with a pinned key", advice="give --key, or --root with --trust"))
    if (trust_note is None) != (root is None):
        fail(AuditError("a trust note and the root that signed it go together",
                        advice="a proof brings no trust note along: give --root with --trust"))
    try:
        texts = [pinned(path) for path in (key, root, policy, trust_note)]
        content = file.read_bytes()[: PROOF_LIMIT + 1].decode("utf-8", "replace")
    except (OSError, UnicodeDecodeError) as error:
        fail(AuditError(str(error)))
    try:
        size, origin, names, index, leaf = _proven(content, Pins(*texts[:3]), texts[3])
        record = parse(leaf)
    except EvidenceError as error:
        fail(AuditError(error.message), Verdict[error.verdict.upper()])
    except (ProofFailed, MalformedEntry) as error:
        fail(error, Verdict.TAMPERED)
    Console(highlight=False, soft_wrap=True).print_json(json.dumps(record))
    seen = f", cosigned by {', '.join(names)}" if names else ""
    typer.echo(f"VERIFIED  entry {index} of the {size} that {origin} signed{seen}")


def _proven(content: str, pins: Pins, trust: str | None) -> tuple[int, str, list[str], int, bytes]:
    """Size and name of the log, who cosigned it, and number and leaf of the entry."""
    who = signatories(pins, trust)
    made = parse_proof(content)
    note = parse_note(made.note)
    tree = who.open(note, "checkpoint")
    cosigners = who.witnessed(note)
    verify_inclusion(made.index, tree.size, leaf_hash(made.leaf), made.path, tree.root)
    if who.is_quorum_needed and who.vouched_at(cosigners) is None:
        raise EvidenceError("quorum", "the checkpoint of this proof is not cosigned by the quorum of witnesses; `lockgate "
                            "audit proof --cosigned` makes one that is", verdict="untrusted")
    return tree.size, tree.origin, [name for name, _ in cosigners], made.index, made.leaf
