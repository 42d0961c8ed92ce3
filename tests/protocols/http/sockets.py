"""WebSockets without sockets: frames written and read by hand, and conversations behind a 101."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from lockgate.govern.policy import PolicySet
from lockgate.model import Rule
from lockgate.protocols.http.websocket.frames import Event, FrameError, Frames
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from tests.protocols.http import scene as s
from tests.protocols.http.support import cuts

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = base64.b64encode(bytes(range(16))).decode()
ACCEPT = base64.b64encode(hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()


@dataclass(frozen=True)
class Frame:
    """A frame as it stood on the wire, its payload unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    key: bytes | None = None

    @property
    def code(self) -> int:
        """Of a close frame."""
        return int.from_bytes(self.payload[:2], "big")

    @property
    def reason(self) -> str:
        return self.payload[2:].decode()


def frame(opcode: int, payload: bytes | str = b"", *, fin: bool = True, key: bytes | None = b"\x0f\xf0\x5a\xa5", rsv: int = 0) -> bytes:
    """A frame's bytes; a client's, unless `key` is None."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data)
    short, more = (size, b"") if size < 126 else (126, size.to_bytes(2, "big")) if size < 65_536 else (127, size.to_bytes(8, "big"))
    head = bytes([fin << 7 | rsv << 4 | opcode, (key is not None) << 7 | short]) + more
    return head + data if key is None else head + key + bytes(one ^ key[at % 4] for at, one in enumerate(data))


def told(opcode: int, payload: bytes | str = b"", *, fin: bool = True) -> bytes:
    """A frame of a backend."""
    return frame(opcode, payload, fin=fin, key=None)


def closing(code: int | None, reason: str = "", *, of_client: bool = True) -> bytes:
    """A close frame."""
    payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
    return frame(CLOSE, payload) if of_client else told(CLOSE, payload)


def frames_in(data: bytes) -> list[Frame]:
    """All frames in bytes that hold nothing else."""
    found = []
    while data:
        size, at = data[1] & 127, 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2:2 + wide], "big"), 2 + wide
        key = None
        if data[1] & 128:
            key, at = data[at:at + 4], at + 4
        payload = data[at:at + size]
        assert len(payload) == size, "a frame is cut"
        if key is not None:
            payload = bytes(one ^ key[place % 4] for place, one in enumerate(payload))
        found.append(Frame(data[0] & 15, payload, bool(data[0] & 128), key))
        data = data[at + size:]
    return found


def opening(target: str = "/live", **fields: str) -> bytes:
    """A client's handshake."""
    return s.request("GET", target, **{
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": KEY, "Sec_WebSocket_Version": "13", **fields})


def switching(accept: str = ACCEPT, **fields: str) -> bytes:
    """A backend's answer to it."""
    lines = ["HTTP/1.1 101 Fine", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}",
             *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def opened(world: s.World, target: str = "/live", **fields: str) -> Playbook:
    """A conversation that has become a WebSocket."""
    book = world.book() >> Bytes(CLIENT, opening(target, **fields)) >> Bytes(SERVER, switching())
    assert b"101 Switching Protocols" in book.sent(CLIENT)
    return book


def to_client(book: Playbook) -> list[Frame]:
    """The frames that a client got behind its 101."""
    return frames_in(book.sent(CLIENT).partition(b"\r\n\r\n")[2])


def to_server(book: Playbook) -> list[Frame]:
    """The frames that a backend got behind the handshake."""
    return frames_in(book.sent(SERVER).partition(b"\r\n\r\n")[2])


def said(frames: list[Frame]) -> list[bytes]:
    """The messages among frames."""
    return [one.payload for one in frames if one.opcode in (TEXT, BINARY)]


def last(book: Playbook) -> Frame:
    """The close frame that a client got, as the last one of all."""
    found = to_client(book)[-1]
    assert found.opcode == CLOSE
    return found


def problem(book: Playbook) -> dict[str, Any]:
    """The gateway's own last message to a client."""
    found = json.loads(said(to_client(book))[-1])
    assert isinstance(found, dict)
    return found


def read(*pieces: bytes, of_client: bool = True, limit: int = 1 << 20) -> list[Event | int]:
    """What one peer's bytes come to; the close code of an error as the last."""
    frames, found = Frames(of_client=of_client, limit=limit), list[Event | int]()
    try:
        for piece in pieces:
            frames.feed(piece)
            while (event := frames.event()) is not None:
                found.append(event)
    except FrameError as error:
        found.append(int(error.close))
    return found


def verify_frames(data: bytes, *, of_client: bool) -> None:
    """Any split gives the same events, or the same error."""
    whole = read(data, of_client=of_client)
    for parts in (*([data[:at], data[at:]] for at in cuts(data)), [bytes([one]) for one in data]):
        assert read(*parts, of_client=of_client) == whole, f"other events in pieces: {parts!r}"


def tighten(book: Playbook, *rules: Rule) -> None:
    """Another policy is in force from now on."""
    book.governor._pipeline.replace(PolicySet.compile((s.ALLOW, *rules), "cd" * 32))
