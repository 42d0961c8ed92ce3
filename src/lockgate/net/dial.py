"""Connecting to a backend: a deadline, no Nagle delay, keepalive that finds a dead peer in minutes."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from lockgate.errors import BackendError

_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))


def tune(transport: asyncio.BaseTransport) -> None:
    """TCP_NODELAY and keepalive on a connected socket; options that the system lacks are left out."""
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)


async def dial(
    host: str, port: int, factory: Callable[[], asyncio.BaseProtocol], deadline: float,
    secured: tuple[ssl.SSLContext, str] | None = None,
) -> asyncio.Transport:
    """A connected transport for what `factory` makes, within `deadline` seconds. `BackendError` with the system's reason, without
    the address: what a client reads must not tell where a backend is. `secured`: over TLS, with this context and name.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadline):
            context, name = (None, None) if secured is None else secured
            transport, _ = await loop.create_connection(factory, host, port, ssl=context, server_hostname=name)
    except TimeoutError:
        raise BackendError("no answer in time") from None
    except ssl.SSLError:
        raise BackendError("no TLS that is trusted") from None
    except socket.gaierror:
        raise BackendError("its name cannot be resolved") from None
    except OSError as error:
        # Not `strerror`: asyncio writes the address into it.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "no connection"
        raise BackendError(reason.lower()) from None
    return transport
