"""A witness over HTTP(S): ``POST /add-checkpoint`` and nothing else, each request bounded in bytes and time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn

from lockgate.audit.witness.exchange import BODY_LIMIT, PATH, Answer
from lockgate.audit.witness.witness import Witness
from lockgate.errors import LockgateError

log = structlog.get_logger("lockgate")
_BODY_TIME: Final = 10.0    # seconds for a request's body

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class WitnessApi:
    """The ASGI application."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive)
        await send({"type": "http.response.start", "status": answer.status,
                    "headers": [(b"content-type", answer.kind.encode()),
                                (b"content-length", str(len(answer.body)).encode())]})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive) -> Answer:
        if scope["path"] != PATH:
            return Answer(404, "text/plain", b"there is only add-checkpoint\n")
        if scope["method"] != "POST":
            return Answer(405, "text/plain", b"POST only\n")
        try:
            async with asyncio.timeout(_BODY_TIME):
                body = await _body(receive)
        except TimeoutError:
            return Answer(408, "text/plain", b"too slow\n")
        if body is None:
            return Answer(413, "text/plain", b"too long\n")
        try:
            answer = await asyncio.to_thread(self._witness.add_checkpoint, body)
        except LockgateError as error:
            log.error("nothing was cosigned", error=str(error))
            return Answer(500, "text/plain", b"the witness has no memory at the moment\n")
        if answer.status != 200:
            log.warning("not cosigned", status=answer.status, said=answer.body[:200].decode("utf-8", "replace").strip())
        return answer


async def _body(receive: Receive) -> bytes | None:
    content = bytearray()
    while True:
        message = await receive()
        content += message.get("body", b"")
        if len(content) > BODY_LIMIT:
            return None
        if not message.get("more_body"):
            return bytes(content)


def witness_server(witness: Witness, certificate: Path | None, key: Path | None) -> uvicorn.Server:
    """A server for it; over TLS where a certificate is given."""
    return uvicorn.Server(uvicorn.Config(
        WitnessApi(witness), http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, limit_concurrency=64, timeout_keep_alive=30, timeout_graceful_shutdown=2,
        ssl_certfile=certificate, ssl_keyfile=key,
    ))
