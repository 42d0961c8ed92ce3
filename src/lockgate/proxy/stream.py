"""One stream of a connection that carries many, as its session sees it.

Stands apart from `trunk` (a client's connection) and `bundled` (a backend's), which both deal bytes out to such ends and
collect them from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lockgate.wire.steps import Side

if TYPE_CHECKING:
    from lockgate.proxy.endpoint import Owner
    from lockgate.wire.steps import Reached


class Carrier(Protocol):
    """The connection."""

    def send(self, number: int, data: bytes) -> bool:
        """Bytes of a stream's session, out of its permit or clearance. True while the stream is slow."""

    def taken(self, number: int, size: int) -> None:
        """A stream's session has taken so much content."""

    def left(self, number: int) -> None:
        """A stream's session is over."""

    def addresses(self) -> tuple[str, str]:
        """Of the connection."""


class StreamEndpoint:
    """One stream's end; to its session it is what `Endpoint` is."""

    __slots__ = (
        "_held", "_is_closed", "_number", "_out", "_trunk", "is_ended", "is_held", "is_slow", "is_used", "owner", "protocol",
        "reached", "side", "tls",
    )

    def __init__(self, side: Side, trunk: Carrier, number: int) -> None:
        self.side = side
        self.tls = None
        self.is_ended = self.is_held = self.is_slow = self.is_used = False
        self.protocol = ""
        self.owner: Owner | None = None         # of a backend's end
        self.reached: Reached | None = None     # and what its mediator knows of it
        self._trunk = trunk
        self._number = number
        self._out: list[bytes] = []
        self._held = 0
        self._is_closed = False

    def queue(self, data: bytes) -> None:
        """Send with the next `flush`."""
        self._out.append(data)

    def flush(self) -> None:
        """Send what was queued."""
        if self._out and not self._is_closed:
            data = b"".join(self._out)
            self._out.clear()
            self.is_slow = self._trunk.send(self._number, data)

    def took(self, size: int) -> None:
        """Bytes of content went to the session: the client may send more, unless the session is behind."""
        if self.is_held:
            self._held += size
        else:
            self._trunk.taken(self._number, size)

    def hold(self) -> None:
        """The session is behind."""
        self.is_held = True

    def release(self) -> None:
        """And is not any more."""
        if self.is_held:
            self.is_held = False
            held, self._held = self._held, 0
            self._trunk.taken(self._number, held)

    def hand_over(self, owner: Owner) -> None:
        """Tell this one from here on."""
        self.owner = owner

    @property
    def is_fresh(self) -> bool:
        """Never: a stream is there or is not."""
        return False

    @property
    def is_connected(self) -> bool:
        """Until it is closed."""
        return not self._is_closed

    def close(self, *, linger: bool = False) -> None:
        """Send what was queued; no more follows."""
        if not self._is_closed:
            self.flush()
            self._is_closed = True
            self._trunk.left(self._number)
            if self._held:              # the connection's window counts what nobody takes any more
                self._trunk.taken(self._number, self._held)
                self._held = 0

    def abort(self) -> None:
        """Close it."""
        self.close()

    def addresses(self) -> tuple[str, str]:
        """Of the connection."""
        return self._trunk.addresses()
