"""A web API as a process: a FastAPI application on uvicorn, on loopback, that tells what it was sent.

python -m testbed.webapp PORT [websockets-sansio|wsproto]
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote_plus

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse

from testbed.gateway import spawn, wait_ready
from testbed.postgres import free_port

CUSTOMERS = {
    1: {"id": 1, "name": "ann", "email": "ann@example.com", "ssn": "219-09-9999", "balance": 12.50},
    2: {"id": 2, "name": "bob", "email": "bob@example.com", "ssn": "219-09-9998", "balance": -3},
}


app = FastAPI()


@app.api_route("/echo/{_:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"],
               include_in_schema=False)
async def echo(request: Request) -> Response:
    body = await request.body()
    seen = {"method": request.method, "path": request.scope["raw_path"].decode(), "query": str(request.url.query),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw],
            "size": len(body), "body": body[:4096].decode("latin-1")}
    return Response(json.dumps(seen), media_type="application/json")


@app.get("/customers")
async def customers() -> list[dict[str, object]]:
    return list(CUSTOMERS.values())


@app.get("/customers/{number}")
async def customer(number: int) -> Response:
    found = CUSTOMERS.get(number)
    if found is None:
        return Response(json.dumps({"error": "no such customer"}), 404, media_type="application/json")
    return Response(json.dumps(found), media_type="application/json")


@app.delete("/customers/{number}")
async def delete() -> Response:
    return Response(status_code=204)


@app.get("/zipped")
async def zipped() -> Response:
    return Response(gzip.compress(json.dumps(list(CUSTOMERS.values())).encode()), media_type="application/json",
                    headers={"content-encoding": "gzip"})


@app.get("/note")
async def note() -> Response:
    return PlainTextResponse("card 4111 1111 1111 1111 ok\n")


@app.get("/lies")
async def lies() -> Response:
    return Response(b"ssn 219-09-9999", media_type="application/json")


@app.get("/picture")
async def picture() -> Response:
    return Response(b"\x89PNG\r\n\x1a\n" + b"\0" * 64, media_type="image/png")


@app.get("/events")
async def events() -> StreamingResponse:
    async def stream() -> AsyncIterator[bytes]:
        for found in CUSTOMERS.values():
            yield b"data: " + json.dumps(found).encode() + b"\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.get("/large/{count}")
async def large(count: int) -> StreamingResponse:
    async def stream() -> AsyncIterator[bytes]:
        piece = b"x" * 65_536
        for _ in range(count):
            yield piece

    return StreamingResponse(stream(), media_type="text/plain")


@app.post("/sink")
async def sink(request: Request) -> dict[str, int]:
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return {"size": size}


@app.websocket("/live")
async def live(socket: WebSocket) -> None:
    """Answers each message: `people`, `headers`, `large N`, `note`, `leave`, or the message itself."""
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocol=offered[0] if offered else None)
    async for text in socket.iter_text():
        word, _, rest = text.partition(" ")
        if word == "people":
            await socket.send_text(json.dumps(list(CUSTOMERS.values())))
        elif word == "headers":
            await socket.send_text(json.dumps([[name.decode("latin-1"), value.decode("latin-1")]
                                               for name, value in socket.headers.raw]))
        elif word == "large":
            await socket.send_text("x" * int(rest))
        elif word == "note":
            await socket.send_bytes(b"card 4111 1111 1111 1111 ok")
        elif word == "leave":
            await socket.close(4001, "as you asked, 4111 1111 1111 1111")
            return
        else:
            await socket.send_text(text)


SAYS = ("card 41", "11 1111", " 1111 1111", " ok")
"""What the language models here answer, in the pieces of a stream."""


@app.post("/v1/chat/completions")
async def completions(request: Request) -> Response:
    """OpenAI's shape, whole or as a stream."""
    asked = await request.json()
    about = {"id": "c1", "created": 1, "model": asked["model"]}
    if not asked.get("stream"):
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(SAYS)}}
        return Response(json.dumps({**about, "object": "chat.completion", "choices": [choice]}), media_type="application/json")

    async def stream() -> AsyncIterator[bytes]:
        for at, piece in enumerate((*SAYS, None)):
            choice = {"index": 0, "delta": {"content": piece} if piece else {}, "finish_reason": "stop" if at == len(SAYS) else None}
            yield b"data: " + json.dumps({**about, "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.post("/v1/messages")
async def messages(request: Request) -> Response:
    """Anthropic's shape, whole or as a stream."""
    asked = await request.json()
    whole = {"id": "m1", "type": "message", "role": "assistant", "model": asked["model"], "stop_reason": "end_turn"}
    if not asked.get("stream"):
        return Response(json.dumps({**whole, "content": [{"type": "text", "text": "".join(SAYS)}]}), media_type="application/json")
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {**whole, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in SAYS),
        {"type": "content_block_stop", "index": 0}, {"type": "message_stop"},
    ]

    async def stream() -> AsyncIterator[bytes]:
        for event in events:
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    return StreamingResponse(stream(), media_type="text/event-stream")


tokens: list[str] = []
"""Access tokens that were granted; the last one is good, until `/oauth/revoke`."""
CLIENT_ID, CLIENT_SECRET = "crm gateway", "p+ss/w%rd"


@app.post("/oauth/token")
async def token(request: Request) -> Response:
    """A token server (RFC 6749 section 4.4): the client says who it is by Basic or in the content."""
    form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
    known = f"{quote_plus(CLIENT_ID)}:{quote_plus(CLIENT_SECRET)}".encode()
    basic = request.headers.get("authorization") == "Basic " + base64.b64encode(known).decode()
    if not basic and (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
        return Response(json.dumps({"error": "invalid_client"}), 401, media_type="application/json")
    if form.get("grant_type") != "client_credentials":
        return Response(json.dumps({"error": "unsupported_grant_type"}), 400, media_type="application/json")
    tokens.append(f"granted-{len(tokens)}-{form.get('scope', '')}")
    return Response(json.dumps({"access_token": tokens[-1], "token_type": "bearer", "expires_in": 3600}),
                    media_type="application/json")


@app.post("/oauth/revoke")
async def revoke() -> Response:
    tokens.append("")
    return Response(status_code=204)


@app.get("/guarded")
async def guarded(request: Request) -> Response:
    """For who bears the last token that was granted."""
    is_good = bool(tokens) and request.headers.get("authorization") == f"Bearer {tokens[-1]}"
    return Response(json.dumps({"granted": len(tokens)}), 200 if is_good else 401, media_type="application/json")


@app.get("/away")
async def away() -> Response:
    return RedirectResponse("http://169.254.169.254/latest/meta-data/")


@dataclass(frozen=True)
class WebApp:
    """A running application."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def webapp(folder: Path, websockets: str = "auto") -> Iterator[WebApp]:
    """The application until the block ends; `websockets` is the library that speaks them."""
    port, log = free_port(), folder / "webapp.log"
    process = spawn([sys.executable, "-m", "testbed.webapp", str(port), websockets], log, {})
    try:
        wait_ready(f"http://127.0.0.1:{port}/customers", process, log)
        yield WebApp(port, log)
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", timeout_keep_alive=30,
                ws=sys.argv[2] if len(sys.argv) > 2 else "auto")
