"""The door for clients that are programs: a local socket in the state folder, for the gateway's own account."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lockgate.net.piping import SOCKET, listen
from lockgate.protocols import discover
from lockgate.proxy.host import Host
from lockgate.proxy.listener import Doorway
from lockgate.proxy.piped import PipedEndpoint, PipedSession


class PipeDoor:
    """Takes clients of every protocol that can be spoken over standard streams. Closed until `open`."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._server: asyncio.Server | None = None

    async def open(self, host: Host) -> None:
        """Accept from here on. `ConfigError` where the socket cannot be made."""
        spec = next((spec for spec in discover().values() if spec.piped is not None), None)
        if spec is None:
            return
        doorway = Doorway("pipes", "", spec, None, None, plaintext=True)

        def greet() -> PipedEndpoint:
            return PipedSession(host, doorway).client

        self._server = await asyncio.get_running_loop().create_unix_server(greet, sock=listen(self._state))

    def close(self) -> None:
        """Accept nothing more; sessions that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None
            (self._state / SOCKET).unlink(missing_ok=True)
