"""`lockgate audit`: check the log offline, and look at single entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockgate.audit.checkpoint import open_note
from lockgate.audit.keys import VERIFIER_FILE, read_verifier
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tiles.disk import TILES_FOLDER
from lockgate.audit.tiles.layout import CHECKPOINT, CHECKPOINT_LIMIT, COSIGNED
from lockgate.audit.tiles.proof import prove
from lockgate.audit.tiles.reader import Tiles, fetch_from
from lockgate.cli import fleet, signing
from lockgate.cli.audit_export import parquet, query
from lockgate.cli.erasing import erase, erasures, hold
from lockgate.cli.events import events
from lockgate.cli.failing import fail
from lockgate.cli.packages import export
from lockgate.cli.reading import Key, Package, Place, Policy, Root
from lockgate.cli.state import State, log_folder
from lockgate.cli.verifying import verify, verify_proof_file
from lockgate.errors import AuditError

__all__ = ["app", "fail", "log_folder"]

app = typer.Typer(no_args_is_help=True, help="The audit log: verify it, hand out evidence, ask it, erase and hold, and its keys.")

def show(
    index: Annotated[int, typer.Argument(min=0, help="The entry's number.")], state: State = Path("state"),
    package: Package = None, key: Key = None, root: Root = None, policy: Policy = None,
) -> None:
    """Print one entry: its leaf as it is hashed, and its payload if it can be opened."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        with Place(state, package, key, root, policy).reader() as reader:
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
    cosigned: Annotated[
        bool, typer.Option("--cosigned", help="Under the newest checkpoint that witnesses cosigned.")] = False,
) -> None:
    """Prove that one entry is in the published log, as a C2SP tlog-proof file. A session's last entry holds
    the root of the whole session.
    """
    folder = log_folder(state)
    try:
        verifier = read_verifier(folder / VERIFIER_FILE)
        fetch = fetch_from(folder / TILES_FOLDER)
        note = fetch(COSIGNED if cosigned else CHECKPOINT, CHECKPOINT_LIMIT).decode("utf-8", "replace")
        index = int(what) if what.isdecimal() and len(what) < 16 else _end_of(folder, what)
        made = prove(Tiles(fetch, open_note(note, verifier, cosigned=cosigned).size), index, note, verifier).text()
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


# In the order in which `--help` shows them: what is asked of a log, what is taken out of it, what is done to it.
for _name, _command in (
    ("verify", verify), ("export", export), ("show", show), ("query", query), ("events", events), ("parquet", parquet),
    ("proof", proof), ("verify-proof", verify_proof_file), ("erase", erase), ("erasures", erasures), ("rotate-key", signing.rotate_key),
    ("signer", signing.signer), ("sql", fleet.sql),
):
    app.command(_name)(_command)
app.add_typer(hold, name="hold")
app.add_typer(signing.trust, name="trust")
