"""A connection to a backend that carries streams of many sessions: bytes are dealt out to them and collected from them.

The mirror of `trunk`. What a stream's session writes has been taken out of a permit by its own driver; here it only gets a
frame around it. The connection is nobody's: it goes on when a session ends, and is closed when it has been idle, or is old and
the last stream has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from lockgate.net.tls import TlsError
from lockgate.proxy.endpoint import Endpoint
from lockgate.proxy.stream import StreamEndpoint
from lockgate.wire.spec import Bundle, StreamEvent
from lockgate.wire.steps import Side

IDLE: Final = 30.0
"""Seconds that a connection may be without a stream."""
AGE: Final = 600.0
"""Seconds from its connecting after which no stream is opened any more: names and certificates change."""


class Bundled:
    """Mutable; the owner of its end. `changed` is called when there may be room, or none any more."""

    def __init__(self, end: Endpoint, bundle: Bundle, changed: Callable[[Bundled], None]) -> None:
        self._end = end
        self._bundle = bundle
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, StreamEndpoint] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_used = False
        self.is_over = False
        """The connection is closed."""

    def begin(self, early: bytes) -> None:
        """Speak; `early` has come already."""
        self._end.hand_over(self)
        self._write()
        self._rest()
        if early:
            self.received(Side.SERVER, early)

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def was_ready(self) -> bool:
        """Whether the backend has ever shown that it speaks this."""
        return self._bundle.is_ready

    @property
    def is_open(self) -> bool:
        """Whether streams can be opened, now or when there is room."""
        return not self.is_over and not self._bundle.has_ended

    def open(self) -> StreamEndpoint | None:
        """A stream, None where there is no room."""
        if self.is_open and self._loop.time() - self._end.made >= AGE:
            self.retire()
        if not self.is_open or self._bundle.room <= 0:
            return None
        number = self._bundle.open()
        end = self._streams[number] = StreamEndpoint(Side.SERVER, self, number)
        end.protocol, end.is_used, self._is_used = self._end.protocol, self._is_used, True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return end

    def cut(self) -> None:
        """End it now."""
        self.ended(Side.SERVER)

    def retire(self) -> None:
        """Open no more streams, and end with the last one."""
        self._bundle.end()
        self._rest()

    # ------------------------------------------------------------ what streams tell

    def send(self, number: int, data: bytes) -> bool:
        """Bytes of a stream's session, out of its permit. True while the stream is slow."""
        if not self._bundle.send(number, data):
            self._loop.call_soon(self._tell, StreamEvent(number, ends=True))     # not while it writes
        self._write()
        return self._bundle.is_slow(number) or self._end.is_slow

    def taken(self, number: int, size: int) -> None:
        """A stream's session has taken so much content."""
        self._bundle.taken(number, size)
        self._write()

    def left(self, number: int) -> None:
        """A stream's session has left it."""
        self._bundle.closed(number)
        if self._streams.pop(number, None) is not None:
            self._write()
            self._rest()
            self._loop.call_soon(self._changed, self)

    def addresses(self) -> tuple[str, str]:
        """Of the connection."""
        return self._end.addresses()

    # ------------------------------------------------------------ what the end tells

    def connected(self, side: Side) -> None:
        """It is."""

    def secured(self, side: Side, error: TlsError | None) -> None:
        """It is."""

    def received(self, side: Side, data: bytes) -> None:
        """Bytes of the backend."""
        before = (self._bundle.room, self._bundle.is_ready)
        events = self._bundle.receive(data)
        self._write()
        for event in events:
            self._tell(event)
        if (self._bundle.room, self._bundle.is_ready) != before or self._bundle.has_ended:
            self._rest()
            self._changed(self)

    def ended(self, side: Side) -> None:
        """The backend hung up."""
        for event in self._bundle.lost():
            self._tell(event)
        self._close()

    def drained(self, side: Side) -> None:
        """The connection is not slow any more."""
        for number in tuple(self._streams):
            if not self._bundle.is_slow(number):
                self._tell(StreamEvent(number, drained=True))

    # ------------------------------------------------------------ within

    def _tell(self, event: StreamEvent) -> None:
        end = self._streams.get(event.stream)
        owner = None if end is None else end.owner
        if end is None or owner is None:
            self._bundle.taken(event.stream, event.size)
        elif event.ends:
            end.is_ended = True
            if end.reached is not None:
                end.reached.is_untouched = event.is_untouched
            owner.ended(Side.SERVER)
        elif event.drained:
            end.is_slow = self._end.is_slow
            if not end.is_slow:
                owner.drained(Side.SERVER)
        else:
            owner.received(Side.SERVER, event.data)
            end.took(event.size)

    def _write(self) -> None:
        data = self._bundle.outgoing()
        if data and not self.is_over:
            self._end.queue(data)
            self._end.flush()

    def _rest(self) -> None:
        """Without a stream: be closed after a while, or now if none can come."""
        if self._streams or self.is_over:
            return
        if self._bundle.has_ended:
            self._finish()
        elif self._timer is None:
            self._timer = self._loop.call_later(IDLE, self.retire)

    def _finish(self) -> None:
        self._bundle.goodbye()
        self._write()
        self._close()

    def _close(self) -> None:
        if not self.is_over:
            self.is_over = True
            if self._timer is not None:
                self._timer.cancel()
            self._end.close()
            self._loop.call_soon(self._changed, self)
