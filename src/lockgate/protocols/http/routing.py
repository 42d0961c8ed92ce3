"""Which connection a request is for: the port's own, a host name, or the beginning of its path.

The connection's address is the only place that a request can go to: nothing of what a client writes names a host to dial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.protocols.http.settings import settings_of
from lockgate.wire.spec import LoginContext


@dataclass(frozen=True, slots=True)
class Destination:
    """A connection, by name, and how much of the path led there."""

    connection: str
    prefix: str = ""


class NoRoute(Exception):
    """No connection is meant. `status` is 404 for a name that leads nowhere, 421 where two names contradict each other."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def host_of(authority: bytes) -> str:
    """The host of a `Host` field or authority, without its port, in lower case."""
    text = authority.decode("ascii").lower()
    if text.startswith("["):
        return text[:text.index("]") + 1]
    return text.partition(":")[0].removesuffix(".")


def destination(context: LoginContext, host: str, path: str, server_name: str | None) -> Destination:
    """Where a request goes. `server_name` is what the client named in TLS: a host that leads elsewhere contradicts it."""
    own = context.route.connection
    if own is not None:
        return Destination(own)
    named = context.by_server_name(host)
    if named is not None and named not in context.connections:
        named = None
    if server_name:
        meant = context.by_server_name(server_name)
        if meant is not None and named is not None and meant != named:
            raise NoRoute(421, "the Host is another than the name that TLS was asked for")
        named = named or (meant if meant in context.connections else None)
    if named is not None:
        return Destination(named)
    found = _by_prefix(context.connections, path)
    if found is None:
        raise NoRoute(404, "no connection answers for this host and path here")
    return found


def destination_within(context: LoginContext, host: str, connection: str) -> Destination:
    """As `destination`, inside of a tunnel to one connection: nothing else is reached through it."""
    if context.by_server_name(host) != connection:
        raise NoRoute(421, "the Host is another than the one that the tunnel was asked for")
    return Destination(connection)


def _by_prefix(connections: Mapping[str, Any], path: str) -> Destination | None:
    """The longest prefix wins."""
    best: Destination | None = None
    for name, connection in connections.items():
        prefix = settings_of(connection.options).prefix
        if prefix is None or not (path == prefix or path.startswith(prefix + "/")):
            continue
        if best is None or len(prefix) > len(best.prefix):
            best = Destination(name, prefix)
    return best
