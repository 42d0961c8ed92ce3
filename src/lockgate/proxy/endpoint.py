"""One end of a session: an asyncio `Protocol` with TLS, buffered writes and back-pressure.

Stands apart from the driver because it knows sockets and no steps. It hands plaintext to its owner
and writes what it is told to; what may be written is decided by the driver, which takes the bytes
out of a permit or a clearance.

Rules: bytes of one run of a generator leave in one write; above `HIGH` unsent bytes the end counts
as slow and whoever feeds it waits; an end that was closed drops what still arrives.
"""

from __future__ import annotations

import asyncio
import enum
import select
from collections.abc import Callable
from typing import Protocol, cast

from lockgate.net.dial import tune
from lockgate.net.tls import TlsError, TlsStream, TlsWithin
from lockgate.wire.steps import Side

HIGH = 262_144
"""Unsent bytes above which an end is slow, and queued bytes above which they are written at once."""
LOW = 65_536
LINGER = 2.0
"""Seconds in which a client may still read what it was told last, after which its end is cut."""


class Owner(Protocol):
    """What an endpoint tells: the driver."""

    def connected(self, side: Side) -> None: ...

    def received(self, side: Side, data: bytes) -> None: ...

    def ended(self, side: Side) -> None:
        """No more bytes will come (end of stream, reset, or broken TLS). Called once."""

    def drained(self, side: Side) -> None:
        """The end is not slow any more."""

    def secured(self, side: Side, error: TlsError | None) -> None:
        """A handshake is done, or has failed."""


class _State(enum.Enum):
    OPEN = enum.auto()
    CLOSING = enum.auto()       # what was sent is on its way; what arrives is dropped
    CLOSED = enum.auto()


class Endpoint(asyncio.Protocol):
    """The client's or the backend's end."""

    __slots__ = (
        "_handshaking", "_loop", "_on_gone", "_out", "_out_size", "_owner", "_state", "_timer", "_transport",
        "_unsent", "is_ended", "is_held", "is_slow", "is_used", "made", "protocol", "side", "tls",
    )

    def __init__(self, side: Side, owner: Owner, on_gone: Callable[[Endpoint], None]) -> None:
        self.side = side
        self.tls: TlsStream | None = None
        self.is_ended = False       # no more bytes will come
        self.is_held = False        # reading is paused
        self.is_slow = False        # writing is paused
        self.is_used = False        # it has been another session's before
        self.made = 0.0             # when it was connected, on the loop's clock
        self.protocol = ""          # what is spoken over it, where its owner was told so
        self._owner = owner
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._handshaking = False
        self._out: list[bytes] = []
        self._out_size = 0
        self._state = _State.OPEN
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)    # uvloop's own class is not asyncio's
        if self._state is not _State.OPEN:
            stream.abort()
            return
        self._transport = stream
        self.made = self._loop.time()
        stream.set_write_buffer_limits(HIGH, LOW)
        tune(transport)
        self._owner.connected(self.side)

    def data_received(self, data: bytes) -> None:
        if self._state is not _State.OPEN:
            return
        if self.tls is None:
            self._owner.received(self.side, data)
        elif self._handshaking:
            self._go_on(data)
        else:
            self._unseal(data)

    def eof_received(self) -> bool:
        self._end()
        return True     # the session closes this end itself, after its last words

    def connection_lost(self, exc: Exception | None) -> None:
        state, self._state = self._state, _State.CLOSED
        self._transport = None
        self._out.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._on_gone(self)
        if state is _State.OPEN:
            if self._handshaking:
                self._handshaking = False
                self._owner.secured(self.side, TlsError("the connection was lost during the handshake"))
            self._end()

    def pause_writing(self) -> None:
        self.is_slow = True

    def resume_writing(self) -> None:
        self.is_slow = False
        if self._state is _State.OPEN:
            self._owner.drained(self.side)

    def _end(self) -> None:
        if self.is_ended:
            return
        self.is_ended = True
        if self._state is _State.CLOSING:
            self._finish()
        elif self._handshaking:
            self._handshaking = False
            self._owner.secured(self.side, TlsError("the connection ended during the handshake"))
            self._owner.ended(self.side)
        else:
            self._owner.ended(self.side)

    # ------------------------------------------------------------ TLS

    def secure(self, stream: TlsStream, data: bytes) -> None:
        """Speak TLS from here on; `data` arrived already. The owner is told by `secured`."""
        self.flush()
        outer = self.tls
        if outer is not None:
            stream, data = TlsWithin(outer, stream, data), b""
        self.tls = stream
        self._handshaking = True
        self._go_on(data)

    def _go_on(self, data: bytes) -> None:
        tls = self.tls
        assert tls is not None
        try:
            is_done = tls.handshake(data)
        except TlsError as error:
            self._handshaking = False
            self._write(tls.outgoing())     # the alert
            self._owner.secured(self.side, error)
            return
        self._write(tls.outgoing())
        if is_done:
            self._handshaking = False
            self._owner.secured(self.side, None)
            if self._state is _State.OPEN:
                self._unseal(b"")

    def _unseal(self, data: bytes) -> None:
        tls = self.tls
        assert tls is not None
        try:
            plain = tls.unseal(data)
        except TlsError:
            self._write(tls.outgoing())
            self._end()
            return
        self._write(tls.outgoing())
        if plain:
            self._owner.received(self.side, plain)
        if tls.is_closed:
            self._end()

    # ------------------------------------------------------------ writing

    def queue(self, data: bytes) -> None:
        """Send with the next `flush`; much at once is sent now."""
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size > HIGH:
            self.flush()

    def flush(self) -> None:
        """Send what was queued, in one write."""
        out = self._out
        if not out:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_size = 0
        if self.tls is None:
            self._write(data)
            return
        try:
            self._write(self.tls.seal(data))
        except TlsError:
            self._end()

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    # ------------------------------------------------------------ reading

    def hold(self) -> None:
        """Stop reading: whoever should take the bytes is behind."""
        if not self.is_held and self._transport is not None:
            self.is_held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Read again."""
        if self.is_held and self._transport is not None:
            self.is_held = False
            self._transport.resume_reading()

    # ------------------------------------------------------------ ending

    @property
    def is_connected(self) -> bool:
        """True while there is a transport."""
        return self._transport is not None

    @property
    def is_fresh(self) -> bool:
        """True until it has had a transport or was closed."""
        return self._transport is None and self._state is _State.OPEN

    @property
    def is_quiet(self) -> bool:
        """True where nothing is under way in either direction, not even unread in the system's buffer: an end of the
        stream that the loop has not come to yet, or an answer that nobody asked for."""
        transport = self._transport
        if (
            self._state is not _State.OPEN or transport is None or transport.is_closing() or self.is_ended
            or self._handshaking or self._out or transport.get_write_buffer_size()
        ):
            return False
        waiting = select.poll()
        waiting.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not waiting.poll(0)

    def hand_over(self, owner: Owner) -> None:
        """Tell somebody else from here on."""
        self._owner = owner
        self.release()

    def close(self, *, linger: bool = False) -> None:
        """Send what was queued and close.

        With `linger` only this direction is closed, and what still arrives is read and dropped until
        the peer closes or `LINGER` seconds are over: a plain close with unread bytes would reset the
        connection and could destroy the last error on its way (RFC 1122 section 4.2.2.13).
        """
        if self._state is not _State.OPEN:
            return
        self.flush()
        self._state = _State.CLOSING
        transport = self._transport
        if transport is None:
            self._state = _State.CLOSED
            return
        if self.tls is not None and not self._handshaking:
            self._write(self.tls.close())
        self._unsent = transport.get_write_buffer_size()
        self._timer = self._loop.call_later(LINGER, self._cut)
        if not linger or self.is_ended or not transport.can_write_eof():
            transport.close()
            return
        self.release()
        try:
            transport.write_eof()
        except OSError:     # the peer has reset the connection, and asyncio has not heard of it yet
            transport.abort()

    def _finish(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _cut(self) -> None:
        """Time is up, unless the peer is still taking what was sent."""
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if 0 < unsent < self._unsent:
            self._unsent = unsent
            self._timer = self._loop.call_later(LINGER, self._cut)
        else:
            self.abort()

    def addresses(self) -> tuple[str, str]:
        """``ip:port`` of the peer, and this machine's address that it reached."""
        if self._transport is None:
            return ("unknown", "unknown")
        peer = self._transport.get_extra_info("peername") or ("unknown", 0)
        here = self._transport.get_extra_info("sockname") or ("unknown", 0)
        host = f"[{peer[0]}]" if ":" in str(peer[0]) else peer[0]
        return (f"{host}:{peer[1]}", str(here[0]))

    def abort(self) -> None:
        """Cut the connection now."""
        if self._state is _State.OPEN:
            self._state = _State.CLOSING
        if self._transport is not None:
            self._transport.abort()
