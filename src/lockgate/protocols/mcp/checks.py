"""What no single key of a connection shows: keys of servers that are reached, and of servers that are started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lockgate.config.settings import Connection
from lockgate.protocols.http import checks as of_http
from lockgate.protocols.http.settings import HttpSettings
from lockgate.protocols.mcp.settings import settings_of

Found = tuple[tuple[str, ...], str]
_BOTH: Final = ("patience", "binary", "timeout")


def mismatches(connection: Connection) -> Iterator[Found]:
    """What does not go together: (keys that lead to it, what to write)."""
    settings = settings_of(connection.options)
    given = settings.model_fields_set
    if connection.address:
        if settings.command is not None:
            yield ("options", "command"), "`command` is for a server that the gateway starts; take `address` away, or this"
        yield from of_http.mismatches(connection)
        return
    for key in sorted(given & set(HttpSettings.model_fields) - set(_BOTH)):
        yield ("options", key), f"`{key}` is for a server with an address; this one is started"
    for name, value in settings.environment.items():
        if not isinstance(value, str) and (value.env is None) == (value.file is None):
            yield ("options", "environment", name), "a secret has one place; write `{env: NAME}` or `{file: path}`"
    for name in ("tls", "server_names", "credential"):
        if name in connection.model_fields_set:
            yield (name,), f"`{name}` is for a server with an address; what this one needs goes into `options: environment`"
