"""`lockgate witness`: a small witness for other people's logs, and for one's own on another machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from lockgate.audit import keys
from lockgate.audit.apart.memory import forbid_dumps
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import WITNESS_KEY, NoteKey, parse_vkey, require_key_name
from lockgate.audit.witness.memory import Memory
from lockgate.audit.witness.witness import Witness
from lockgate.control.witness import witness_server
from lockgate.errors import AuditError
from lockgate.net.listen import open_listeners

app = typer.Typer(no_args_is_help=True, help="Cosign logs that have grown, and nothing else (C2SP tlog-witness).")
State = Annotated[Path, typer.Option("--state", help="Where the witness's key and memory are.")]
_KEY, _VERIFIER, _MEMORY = "witness.key", "witness.vkey", "witness.db"


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="The witness's name, such as witness.example/one.")],
    folder: State = Path("witness"),
) -> None:
    """Make the witness's key. What is printed goes into the policies of those who trust it."""
    try:
        require_key_name(name, "name")
    except EvidenceError as error:
        raise AuditError(error.message) from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / _KEY).exists():
        raise AuditError(f"{folder / _KEY}: there is a key already")
    private = keys.create_key(folder / _KEY)
    vkey = NoteKey(name, WITNESS_KEY, private.public_key().public_bytes_raw()).vkey
    keys.write_durably(folder / _VERIFIER, f"{vkey}\n".encode(), 0o644)
    typer.echo(vkey)


@app.command()
def serve(
    log: Annotated[list[Path], typer.Option("--log", help="A log's verifier key file; may be repeated.")],
    folder: State = Path("witness"),
    listen: Annotated[str, typer.Option("--listen", help="host:port.")] = "127.0.0.1:8490",
    certificate: Annotated[Path | None, typer.Option("--certificate", help="PEM chain, for HTTPS.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="PEM private key of the certificate.")] = None,
) -> None:
    """Answer until interrupted. Logs that are not named are refused."""
    forbid_dumps()
    known = [keys.read_verifier(path).key for path in log]
    try:
        own = parse_vkey((folder / _VERIFIER).read_text(encoding="utf-8").strip(), WITNESS_KEY)
    except (OSError, UnicodeDecodeError):
        raise AuditError(f"{folder}: there is no witness here", advice="lockgate witness init NAME") from None
    except EvidenceError as error:
        raise AuditError(f"{folder / _VERIFIER}: {error.message}") from None
    memory = Memory(folder / _MEMORY)
    witness = Witness(own.name, keys.read_key(folder / _KEY), known, memory, time.time)
    if witness.key != own:
        raise AuditError(f"{folder}: {_KEY} and {_VERIFIER} do not belong together")
    listening = open_listeners(listen)
    host, port = listening[0].getsockname()[:2]
    typer.echo(f"witness {own.name} for {len(known)} keys on {'http' if certificate is None else 'https'}://{host}:{port}")
    try:
        witness_server(witness, certificate, key).run(sockets=listening)
    finally:
        memory.close()
