"""Listening sockets: opened before anything is served, with an error that names address and reason."""

from __future__ import annotations

import os
import socket
from typing import Final

from lockgate.errors import ConfigError
from lockgate.net.address import split_address

BACKLOG: Final = 1024
"""Clients that may wait to be accepted. Event loops have a smaller number of their own, and set it anew."""


def open_listeners(address: str, *, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets that listen on every address that the host of `address` resolves to.

    `reuse_port` lets several processes share the port (SO_REUSEPORT). Raises `ConfigError`; nothing
    is left open then.
    """
    host, port = split_address(address)
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, number, _, target in dict.fromkeys(found):
            opened.append(_listen(family, kind, number, target, reuse_port=reuse_port))
    except OSError as error:
        for listening in opened:
            listening.close()
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)
        raise ConfigError(
            f"cannot listen on {address}: {reason}",
            advice="Choose another address, or end the program that uses this one.",
        ) from None
    return opened


def _listen(
    family: int, kind: int, number: int, target: tuple[object, ...], *, reuse_port: bool
) -> socket.socket:
    listening = socket.socket(family, kind, number)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(target)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
