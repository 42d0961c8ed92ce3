"""The log's keys on the command line: the signer's process, a change of keys, and the trust note."""

from __future__ import annotations

import os
import pwd
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from lockgate.audit import keys
from lockgate.audit.admin import recorded
from lockgate.audit.apart.memory import forbid_dumps
from lockgate.audit.checkpoint import Signer
from lockgate.audit.signing.guard import Guard, own_key
from lockgate.audit.signing.process import listen, serve
from lockgate.audit.signing.trust import draft_trust, read_trust, sign_trust
from lockgate.audit.storage.database.place import shard_folder, shard_origin
from lockgate.cli.state import log_folder
from lockgate.errors import AuditError

trust = typer.Typer(no_args_is_help=True, help="The organisation's trust note: which keys and witnesses count.")
Output = Annotated[Path | None, typer.Option("--out", help="The file to write; default: print it.")]


def signer(
    origin: Annotated[str, typer.Option("--origin", help="The log's name (audit.origin).")],
    key: Annotated[Path, typer.Option("--key", help="The key file, mode 0600.")],
    socket: Annotated[Path, typer.Option("--socket", help="The Unix socket to answer on.")],
    memory: Annotated[
        Path | None, typer.Option("--memory", help="What was signed last; default: beside the key, .signed.")
    ] = None,
    user: Annotated[
        list[str] | None, typer.Option("--user", help="Who may ask, besides this process's own user; may be repeated.")
    ] = None,
    init: Annotated[bool, typer.Option("--init", help="Make the memory, and the key if there is none, and end.")] = False,
    start: Annotated[
        Path | None, typer.Option("--checkpoint", help="With --init: a checkpoint that this key signed, to continue a log.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option("--shards", min=1, max=1000, help="Sign for a fleet named --origin: so many shards and the "
                                 "fleet log. The memory is a folder then; --init adds what is missing in it.")
    ] = None,
) -> None:
    """Sign checkpoints for a gateway, and refuse whatever takes back what was signed before."""
    place = memory or key.with_name(key.name + ".signed")
    logs = {origin: place} if shards is None else {
        shard_origin(origin, shard): place / shard_folder(shard) for shard in range(shards + 1)}
    if init:
        typer.echo(_begin(key, logs, start, is_fleet=shards is not None))
        return
    forbid_dumps()
    allowed = frozenset({os.getuid(), *(_uid(name) for name in user or ())})
    with ExitStack() as stack:
        guards = {name: Guard.open(key, path, name, None if shards is None else own_key(path)) for name, path in logs.items()}
        for guard in guards.values():
            stack.callback(guard.close)
        _answer(socket, guards, allowed, origin)


def _begin(key: Path, logs: dict[str, Path], start: Path | None, *, is_fleet: bool) -> str:
    """Make the memory of each log; of a fleet's, where there is none yet. The verifier key of the first one."""
    if is_fleet and start is not None:
        raise AuditError("--checkpoint is for one log", advice="a fleet's gateway shows its signer what the fleet has signed")
    note = None if start is None else _text(start)
    made = [Guard.begin(key, path, name, note) for name, path in logs.items() if not (is_fleet and path.exists())]
    first = next(iter(logs))
    return str(made[0].named(first) if made else Signer(first, keys.read_key(key)).verifier)


def _answer(socket: Path, guards: dict[str, Guard], allowed: frozenset[int], origin: str) -> None:
    """Sign until SIGTERM or SIGINT."""
    listening = listen(socket, others=len(allowed) > 1)

    def end(*_: object) -> None:
        listening.shutdown(2)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    size = sum(guard.last().size for guard in guards.values())
    typer.echo(f"signing {origin} on {socket}, {size} entries signed so far")
    sys.stdout.flush()
    try:
        serve(listening, guards, allowed, lambda what: typer.echo(f"refused: {what}", err=True))
    finally:
        listening.close()
        socket.unlink(missing_ok=True)


def _uid(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise AuditError(f"there is no user {name}") from None


def rotate_key(
    reason: Annotated[str, typer.Option("--reason", help="Why; it becomes part of the log.")],
    state: Annotated[Path, typer.Option("--state", help="The gateway's state folder.")] = Path("state"),
) -> None:
    """Give the log a new key, while its gateway runs or is stopped. The old one signs that it does. A key service's
    next key is the newest version that was made there.
    """
    with recorded(log_folder(state)) as log:
        old, new = log.rotate(reason)
    typer.echo(f"old {old}\nnew {new}")


@trust.command("init-root")
def init_root(
    name: Annotated[str, typer.Argument(help="The organisation's name for this key, such as acme.example/audit.")],
    key: Annotated[Path, typer.Option("--key", help="The key file to make; its verifier key goes beside it.")],
) -> None:
    """Make the root key. Keep it offline; auditors pin the verifier key that is printed."""
    verifier = keys.create_root(key, name)
    typer.echo(str(verifier))


@trust.command("draft")
def draft(
    state: Annotated[Path, typer.Option("--state", help="The gateway's state folder.")] = Path("state"),
    policy: Annotated[Path | None, typer.Option("--policy", help="The witnesses' policy file.")] = None,
    tsa: Annotated[
        list[str] | None, typer.Option("--tsa", help="NAME=CERTIFICATE of a time-stamping authority; may be repeated.")
    ] = None,
    serial: Annotated[int, typer.Option("--serial", min=0, help="Higher than that of the note it replaces.")] = 1,
    output: Output = None,
) -> None:
    """Write the text of a trust note, from the log's keys as its entries name them."""
    _put(output, draft_trust(log_folder(state), serial, None if policy is None else _text(policy), tsa or ()))


@trust.command("sign")
def sign(
    text: Annotated[Path, typer.Argument(help="What `draft` wrote, read by a person since.")],
    key: Annotated[Path, typer.Option("--key", help="The root key.")],
    output: Output = None,
) -> None:
    """Sign a trust note with the root key, if its text holds together."""
    root = keys.read_verifier(key.with_name(key.name + ".vkey"))
    _put(output, sign_trust(_text(text), root.name, keys.read_key(key)))


@trust.command("show")
def show(
    note: Annotated[Path, typer.Argument(help="The trust note.")],
    root: Annotated[Path, typer.Option("--root", help="The pinned verifier key of the root.")],
) -> None:
    """Verify a trust note and print what it says."""
    found = read_trust(note, root)
    typer.echo(found.text(), nl=False)


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:65_536].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"{path}: cannot be read: {error}") from None


def _put(output: Path | None, text: str) -> None:
    if output is None:
        typer.echo(text, nl=False)
    else:
        keys.write_durably(output, text.encode(), 0o644)
