"""Uvicorn on the driver's own event loop, without its signal handlers: the gateway decides when it ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI


class ControlServer(uvicorn.Server):
    """Serves until `should_exit` is set."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals to the gateway."""
        yield


def control_server(api: FastAPI) -> ControlServer:
    """A server for `api`: HTTP/1.1 only, small requests, no access log (metrics count instead)."""
    return ControlServer(uvicorn.Config(
        api, http="h11", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        date_header=True, limit_concurrency=256, timeout_keep_alive=5, timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=32_768,
    ))


async def serve(server: ControlServer, listening: list[socket.socket]) -> None:
    """Run until told to exit."""
    await server.serve(sockets=listening)
