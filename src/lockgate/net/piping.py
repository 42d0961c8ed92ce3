"""The way between a client's standard streams and the gateway: one local socket for each session.

`lockgate NAME run` is what a client starts as its server. It connects to the gateway's socket in the state folder, says in
one line who asks for what (`Hello`), and from there on copies: its standard input as it is, and out of frames its standard
output, its standard error and its exit status. Only the gateway's own account and root reach the socket.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lockgate.errors import ConfigError
from lockgate.model import Secret

SOCKET: Final = "pipes.sock"
LONGEST: Final = 1_048_576
"""Bytes of a `Hello`."""
READY: Final = b"r"
OUT: Final = b"o"
ERROR: Final = b"e"
EXIT: Final = b"x"
"""Kinds of frames: the gateway has taken the session; for standard output, standard error; how it ended."""
_HEAD: Final = struct.Struct("!cI")
_CREDENTIALS: Final = struct.Struct("3i")   # struct ucred: pid, uid, gid (unix(7))
_BACKLOG: Final = 64


@dataclass(frozen=True, slots=True)
class Hello:
    """Who asks for what: a token, a connection's name (None: the only one), and the program that the command line names."""

    protocol: str
    token: Secret
    connection: str | None = None
    command: tuple[str, ...] | None = None
    environment: dict[str, Secret] = field(default_factory=dict)
    directory: str | None = None

    def encode(self) -> bytes:
        """As one line."""
        return json.dumps({
            "protocol": self.protocol, "token": self.token.reveal(), "connection": self.connection, "command": self.command,
            "environment": {name: value.reveal() for name, value in self.environment.items()}, "directory": self.directory,
        }).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Hello:
        """Out of a line; ValueError for anything else."""
        try:
            value: Any = json.loads(line)
            command, environment = value["command"], value["environment"]
            made = cls(
                _text(value["protocol"]), Secret(_text(value["token"])),
                None if value["connection"] is None else _text(value["connection"]),
                None if command is None else tuple(_text(word) for word in command),
                {_text(name): Secret(_text(one)) for name, one in environment.items()},
                None if value["directory"] is None else _text(value["directory"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError("this is no greeting") from None
        if made.command == ():
            raise ValueError("a program has a name")
        return made


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("this is no text")
    return value


def framed(kind: bytes, data: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(kind, len(data)) + data


class FrameReader:
    """Bytes to frames: (kind, data)."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The frames that `data` ends."""
        self._rest += data
        at = 0
        while len(self._rest) - at >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._rest, at)
            if len(self._rest) - at - _HEAD.size < length:
                break
            at += _HEAD.size
            yield kind, bytes(self._rest[at:at + length])
            at += length
        del self._rest[:at]


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """The process and the account at the other end, as it was when it connected (SO_PEERCRED)."""
    stored = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(stored)
    return int(pid), int(uid)


def listen(state: Path) -> socket.socket:
    """The socket of a state folder, for its owner alone. Whoever holds the folder's lock owns it, so one that is left over
    is removed. `ConfigError` where that cannot be."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            (state / SOCKET).unlink()
        mask = os.umask(0o177)
        try:
            with _short(state) as place:
                listening.bind(f"{place}/{SOCKET}")
        finally:
            os.umask(mask)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ConfigError(f"{state / SOCKET}: {error.strerror}", advice="make the state folder writable") from None
    return listening


def connect(state: Path) -> socket.socket | None:
    """A connection to the gateway that runs on a state folder, None where none does. OSError where it cannot be asked."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _short(state) as place:
            connection.connect(f"{place}/{SOCKET}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A name of a folder that fits into a socket's address, which holds 107 bytes (unix(7))."""
    number = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
