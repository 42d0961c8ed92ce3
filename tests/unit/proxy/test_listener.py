"""What a listener takes at once."""

from __future__ import annotations

import socket
import struct

from tests.unit.proxy.rig import rig

_BACKLOG_AT = 28            # in tcp_info (linux/tcp.h): `tcpi_sacked`, which of a socket that listens is its backlog


async def test_many_clients_may_come_at_once() -> None:
    """The event loop's own backlog (100) does not take the place of the listener's: a client above it takes itself for connected,
    and waits a second until its system sends again."""
    async with rig() as r:
        for listening in r.door._sockets:
            told = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            assert struct.unpack_from("I", told, _BACKLOG_AT) == (1024,)
