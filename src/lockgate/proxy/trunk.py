"""A client's connection that carries many streams, each of them a session of its own.

Stands apart from `session`, which is one conversation: here bytes are dealt out to sessions and collected from them. What a
stream's session writes has been taken out of a clearance by its own driver; here it only gets a frame around it. Which of
them share one session in the log is for `callers` to know.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from lockgate.proxy.stream import StreamEndpoint
from lockgate.wire.steps import Side

if TYPE_CHECKING:
    from lockgate.proxy.callers import Joint
    from lockgate.proxy.session import Session
    from lockgate.wire.spec import Multiplexer

_IDLE: Final = 75.0
"""Seconds that a connection may be without a stream."""


class Trunk:
    """The streams of one client's connection. Mutable; owned by its session."""

    def __init__(self, session: Session, multiplexer: Multiplexer) -> None:
        self._session = session
        self._mux = multiplexer
        self._streams: dict[int, Session] = {}
        self._ends: dict[int, StreamEndpoint] = {}
        self._is_finishing = False
        self._idle: asyncio.TimerHandle | None = None
        self.joints: set[Joint] = set()
        """Sessions that its streams have been in: they wait for the next one while the connection is there."""
        self._rest()

    def receive(self, data: bytes) -> None:
        """Bytes of the client."""
        for event in self._mux.receive(data):
            stream = self._streams.get(event.stream)
            if event.opens:
                self._open(event.stream)
            elif stream is None:
                self._mux.taken(event.stream, event.size)
            elif event.ends:
                stream.close("the client gave up a stream")
            elif event.drained:
                stream.client.is_slow = False
                stream.drained(Side.CLIENT)
            else:
                stream.received(Side.CLIENT, event.data)
                end = self._ends.get(event.stream)
                if end is not None:
                    end.took(event.size)
        self._write()
        if self._mux.has_ended:
            self._finished()

    def _open(self, number: int) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        end = StreamEndpoint(Side.CLIENT, self, number)
        stream = self._session.branch(self, end, self._mux.mediator())
        if stream is None:
            self._mux.closed(number)
        else:
            self._streams[number], self._ends[number] = stream, end

    def send(self, number: int, data: bytes) -> bool:
        """Bytes of a stream's session, out of its clearance. True while the stream is slow."""
        is_whole = self._mux.send(number, data)
        self._write()
        stream = self._streams.get(number)
        if is_whole and stream is not None:
            self._session.loop.call_soon(stream.close, "a stream came to its end")
        return self._mux.is_slow(number) or self._session.client.is_slow

    def taken(self, number: int, size: int) -> None:
        """A stream's session has taken so much content."""
        self._mux.taken(number, size)
        self._write()

    def left(self, number: int) -> None:
        """A stream's session is over."""
        self._streams.pop(number, None)
        self._ends.pop(number, None)
        self._mux.closed(number)
        self._write()
        self._finished() if self._is_finishing or self._mux.has_ended else self._rest()

    def drained(self) -> None:
        """The connection is not slow any more."""
        for number, stream in tuple(self._streams.items()):
            if not self._mux.is_slow(number):
                stream.client.is_slow = False
                stream.drained(Side.CLIENT)

    def finish(self) -> None:
        """Take no more streams, and end with the last one."""
        self._is_finishing = True
        self._mux.end()
        self._write()
        self._finished()

    def addresses(self) -> tuple[str, str]:
        """Of the connection."""
        return self._session.client.addresses()

    def end(self, cause: str) -> None:
        """The connection is gone, and with it all streams."""
        if self._idle is not None:
            self._idle.cancel()
        for stream in tuple(self._streams.values()):
            stream.close(cause)
        self._session.host.callers.left(self, cause)

    def _write(self) -> None:
        data = self._mux.outgoing()
        if data:
            self._session.client.queue(data)
            self._session.client.flush()

    def _rest(self) -> None:
        if not self._streams and self._idle is None:
            self._idle = self._session.loop.call_later(_IDLE, self.finish)

    def _finished(self) -> None:
        if not self._streams and not self._session.is_closed:
            self._session.loop.call_soon(self._session.close, "its streams have ended")
