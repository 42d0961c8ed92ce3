"""Bytes ↔ frames and messages of one end of a WebSocket (RFC 6455 section 5). Sans-IO.

The frames are wsproto's; here is what it leaves to its caller: fragments joined to messages, and bounds. No extension is
ever negotiated, so a reserved bit is an error, and no message is compressed: there is nothing that could grow, and no window
of an earlier message shows through the length of a later one. A failed end refuses use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed

from lockgate.errors import RemoteProtocolError

LONGEST_CONTROL: Final = 125
LONGEST_REASON: Final = LONGEST_CONTROL - 2
"""Bytes of a close frame's reason, which stands behind its code."""
FRAGMENTS: Final = 16_384
"""Of one message; an empty one costs its sender as little as nothing."""


class FrameError(RemoteProtocolError):
    """The peer sent what is no WebSocket. `close` is the code with which it is told (section 7.4.1)."""

    code = "protocol.remote.frame"

    def __init__(self, message: str, close: CloseReason) -> None:
        super().__init__(message)
        self.close = close


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message. `data` of a text one is UTF-8."""

    data: bytes
    is_text: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Wants a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """An answer to a ping, or a sign of life that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The peer says no more. `code` None: it gave none."""

    code: int | None
    reason: str


Event = Message | Ping | Pong | Closing


class Frames:
    """What one peer sends. `of_client`: the peer is a client, whose frames are masked; a server's are not."""

    __slots__ = ("_failure", "_fragments", "_frames", "_has_ended", "_held", "_limit")

    def __init__(self, *, of_client: bool, limit: int) -> None:
        """`limit`: bytes of a message."""
        self._frames = FrameProtocol(not of_client, [])
        self._limit = limit
        self._held = bytearray()
        self._fragments = 0
        self._failure: FrameError | None = None
        self._has_ended = False

    def feed(self, data: bytes) -> None:
        """Bytes of the peer. What stands behind its close frame is dropped (section 5.5.1)."""
        if not self._has_ended and self._failure is None:
            self._frames.receive_bytes(data)

    def event(self) -> Event | None:
        """The next event, None until more bytes are there. Raises FrameError, then always."""
        if self._failure is not None:
            raise FrameError(self._failure.args[0], self._failure.close)
        if self._has_ended:
            return None
        try:
            while (frame := next(self._frames.received_frames(), None)) is not None:
                found = self._event(frame)
                if found is not None:
                    return found
        except ParseFailed as error:
            is_text = error.code is CloseReason.INVALID_FRAME_PAYLOAD_DATA
            self._failure = FrameError("a text is not UTF-8" if is_text else str(error), error.code)
        except FrameError as error:
            self._failure = error
        if self._failure is not None:
            self._held = bytearray()
            raise self._failure
        return None

    def _event(self, frame: Frame) -> Event | None:
        payload, opcode = frame.payload, frame.opcode
        if opcode is Opcode.CLOSE:
            assert isinstance(payload, tuple)
            self._has_ended = True
            code, reason = payload
            return Closing(None if code is CloseReason.NO_STATUS_RCVD else int(code), reason)
        assert isinstance(payload, bytes | str)
        data = payload.encode() if isinstance(payload, str) else payload
        if opcode is Opcode.PING:
            return Ping(data)
        if opcode is Opcode.PONG:
            return Pong()
        return self._joined(data, frame)

    def _joined(self, data: bytes, frame: Frame) -> Message | None:
        """A piece of a message; the message where it is the last one."""
        self._held += data
        self._fragments += frame.frame_finished
        if len(self._held) > self._limit:
            raise FrameError(f"a message is longer than {self._limit} bytes", CloseReason.MESSAGE_TOO_BIG)
        if self._fragments > FRAGMENTS:
            raise FrameError(f"a message is in more than {FRAGMENTS} fragments", CloseReason.POLICY_VIOLATION)
        if not frame.message_finished:
            return None
        whole = Message(bytes(self._held), frame.opcode is Opcode.TEXT)
        self._held, self._fragments = bytearray(), 0
        return whole


def message_frame(data: bytes, *, is_text: bool, to_client: bool) -> bytes:
    """A message in one frame; towards a backend masked with a fresh key (section 5.3). ValueError for text that is not UTF-8."""
    return bytes(FrameProtocol(not to_client, []).send_data(data.decode("utf-8") if is_text else data))


def ping_frame(*, to_client: bool) -> bytes:
    """A ping without payload."""
    return bytes(FrameProtocol(not to_client, []).ping())


def pong_frame(payload: bytes, *, to_client: bool) -> bytes:
    """The answer to a ping."""
    return bytes(FrameProtocol(not to_client, []).pong(payload))


def close_frame(code: int | None, reason: str = "", *, to_client: bool) -> bytes:
    """A close frame; its reason is cut to what has room, between characters."""
    return bytes(FrameProtocol(not to_client, []).close(code, reason if code is not None else None))
