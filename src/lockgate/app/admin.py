"""The gateway's end of ``admin.sock``: questions of commands on this machine (`audit.admin`).

One question for each connection, bounded in length, number and time. Who asks is known from the kernel. What
is asked is done in a worker thread by `audit.custody`, which enters this loop for nothing but the append.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from lockgate.audit.admin import LINE, SOCKET, AdminRefused, account, at_folder, event_of, scope_of, wish_of
from lockgate.audit.custody import Custody, Person
from lockgate.errors import AuditError

log = structlog.get_logger("lockgate")
_AT_ONCE: Final = 8
_ASK: Final = 10.0          # seconds to send a question
_CREDENTIALS: Final = struct.Struct("3i")   # struct ucred: pid, uid, gid (unix(7))
Act = Callable[[Custody, Mapping[str, Any], Person], Mapping[str, Any]]


def _append(custody: Custody, words: Mapping[str, Any], who: Person) -> Mapping[str, Any]:
    return {"index": custody.append(event_of(words), who)}


def _erase(custody: Custody, words: Mapping[str, Any], who: Person) -> Mapping[str, Any]:
    return asdict(custody.erase(wish_of(words), who))


def _hold(custody: Custody, words: Mapping[str, Any], who: Person) -> Mapping[str, Any]:
    name, action, reason = (str(words.get(field, "")) for field in ("name", "action", "reason"))
    return {"index": custody.hold(name, action, scope_of(words.get("scope")), reason, who)}


def _rotate(custody: Custody, words: Mapping[str, Any], who: Person) -> Mapping[str, Any]:
    old, new = custody.rotate(str(words.get("reason", "")), who)
    return {"old": old, "new": new}


_ACTS: Final[Mapping[str, Act]] = {"append": _append, "erase": _erase, "hold": _hold, "rotate": _rotate}


class AdminServer:
    """Serves one folder's socket until it is closed."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self._path = custody.folder / SOCKET
        self._server: asyncio.Server | None = None
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def open(self) -> None:
        """Listen. Whoever holds the folder's lock owns the socket, so one that is left over is removed."""
        listening = bind(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LINE)

    async def close(self) -> None:
        """Take no more questions."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._turns:
                answer = await self._answer(reader, writer)
            writer.write(orjson.dumps(answer) + b"\n")
            with suppress(TimeoutError):
                async with asyncio.timeout(_ASK):
                    await writer.drain()
        except OSError:
            pass        # whoever asked is gone; what was recorded stands
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Mapping[str, Any]:
        uid = _uid(writer.get_extra_info("socket"))
        if uid not in (os.geteuid(), 0):
            return {"error": "only the gateway's own user and root may ask"}
        try:
            async with asyncio.timeout(_ASK):
                line = await reader.readuntil(b"\n")
            words = orjson.loads(line)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, orjson.JSONDecodeError):
            return {"error": "the question is not understood"}
        act = _ACTS.get(str(words.get("op"))) if isinstance(words, dict) else None
        if act is None:
            return {"error": "the question is not understood"}
        try:
            return await asyncio.to_thread(act, self._custody, words, account(uid))
        except AuditError as error:
            log.warning("administrative act refused", code=error.code)
            return {"error": str(error), "advice": error.advice(), "code": error.code}


def bind(path: Path) -> socket.socket:
    """A listening socket that only its owner can reach."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise AdminRefused(f"{path}: in the way, and no socket", advice="move it away")
            path.unlink()
        # The folder is the gateway's own (0700): nobody comes in between these two calls.
        with at_folder(path.parent) as place:
            listening.bind(f"{place}/{path.name}")
            path.chmod(0o600)
        listening.listen(_AT_ONCE)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise AdminRefused(f"{path}: {error.strerror}", advice="make the audit folder writable") from None
    except AuditError:
        listening.close()
        raise
    return listening


def _uid(connection: Any) -> int:
    """The user at the other end, as it was when it connected (SO_PEERCRED)."""
    stored = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(stored)[1])
