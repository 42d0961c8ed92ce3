"""`lockgate audit signer`: the process that has the log's key, and answers over a Unix socket.

One request per connection, one connection at a time, each bounded in bytes and seconds: there is one
gateway, and it waits for nobody else. A fleet's signer answers for every log of it, each with a memory of
its own, and all with one key until that of a log is changed: then this log has its own. Who may ask is decided by the
kernel's word on the peer (SO_PEERCRED), not by what it says.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lockgate.audit.signing import wire
from lockgate.audit.signing.contract import SignerRefused
from lockgate.audit.signing.guard import Guard
from lockgate.errors import AuditError

_TIMEOUT: Final = 2.0       # seconds for a whole request
_BACKLOG: Final = 16


def listen(path: Path, *, others: bool) -> socket.socket:
    """A listening socket at `path`. With `others` every user may connect, and the peer check decides.

    A socket that nobody serves any more is replaced. Raises `AuditError`.
    """
    _clear(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177 if not others else 0o111)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise AuditError(f"{path}: cannot listen: {error.strerror or error}") from None
    return listening


def _clear(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise AuditError(f"{path}: exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_TIMEOUT)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise AuditError(f"{path}: cannot be replaced: {error}") from None
        else:
            raise AuditError(f"{path}: another signer listens there")


def serve(
    listening: socket.socket, guards: Mapping[str, Guard], allowed: frozenset[int], observe: Callable[[str], None],
) -> None:
    """Answer until the listening socket is closed. `guards` are by the names of their logs; `observe` hears of
    everything that was refused.

    Raises `AuditError` where the memory cannot be written: the signer ends then, and nothing is signed.
    """
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(_TIMEOUT)
            try:
                answer = _answer(connection, guards, allowed)
                if "refused" in answer:
                    observe(answer["refused"])
                wire.send_line(connection, answer)
            except (OSError, ValueError) as error:
                observe(f"a connection was dropped: {error}")


def _answer(connection: socket.socket, guards: Mapping[str, Guard], allowed: frozenset[int]) -> dict[str, Any]:
    user = peer(connection)
    if user not in allowed:
        return {"refused": f"user {user} may not ask this signer"}
    request = wire.receive_line(connection)
    try:
        if request.get("v") != 1:
            raise SignerRefused("the request is of an unknown version")
        origin = request.get("origin")
        guard = guards.get(origin) if isinstance(origin, str) else None
        if guard is None:
            raise SignerRefused(f"this signer signs {_first(guards)}, not {str(origin)[:200]}")
        if request.get("do") == "last":
            last = guard.last()
            waiting = guard.successor
            return {"vkey": str(guard.verifier), "size": last.size, "root": last.root.hex(),
                    "next": None if waiting is None else str(waiting)}
        if request.get("do") == "sign":
            return {"note": guard.sign(*wire.read_sign_request(request, guard.verifier.name))}
        if request.get("do") == "prepare":
            return {"vkey": str(guard.prepare())}
        if request.get("do") == "switch":
            return {"vkey": str(guard.switch(*wire.read_switch_request(request)))}
        raise SignerRefused("the request is unknown")
    except SignerRefused as error:
        return {"refused": str(error)}


def _first(guards: Mapping[str, Guard]) -> str:
    names = list(guards)
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def peer(connection: socket.socket) -> int:
    """The user id at the other end of a Unix socket, as the kernel knows it (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
