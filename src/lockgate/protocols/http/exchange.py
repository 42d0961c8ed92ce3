"""One request and its answer: what is known of it, and what is still to come. And what a CONNECT came to."""

from __future__ import annotations

from typing import Final

from lockgate.govern.pipeline import Grant
from lockgate.model import Operation
from lockgate.protocols.http.admission import Admitted
from lockgate.protocols.http.messages import Framing
from lockgate.protocols.http.operations import Request
from lockgate.protocols.http.results import Reply
from lockgate.protocols.http.websocket.handshake import PROTOCOL, Handshake

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"QUERY", b"PROPFIND", b"REPORT", b"SEARCH"))
"""Methods that may be sent once more where nobody knows whether the backend has seen them (RFC 9110 section 9.2.2)."""


REPEATS: Final = 2
"""Times that a request goes out again at most."""


class Exchange:
    """Mutable; lives from a request's head to the end of its answer."""

    __slots__ = (
        "admitted", "content", "grant", "handshake", "is_sent", "may_stream", "operation", "others", "repeats", "reply", "request",
        "size", "streams",
    )

    def __init__(self, admitted: Admitted, request: Request, operation: Operation) -> None:
        self.admitted = admitted
        self.request = request
        self.operation = operation
        self.content: list[bytes] = []      # held until the request is judged
        self.size = 0
        self.may_stream = False             # nothing of the content is asked for: it may go on as it comes
        self.streams = False                # and does
        self.is_sent = False                # the whole request is with the backend
        self.grant: Grant | None = None
        self.others: tuple[Grant, ...] = () # of what goes to the backend in the same message (a batch)
        self.reply: Reply | None = None
        self.repeats = 0                    # times that it has gone out again
        self.handshake: Handshake | None = None     # where a WebSocket is asked for

    @property
    def upgrade(self) -> bytes:
        """The protocol that the backend is asked to switch to; empty for none."""
        return b"" if self.handshake is None else PROTOCOL

    @property
    def may_repeat(self) -> bool:
        """Whether the request may go out a second time over another connection."""
        head = self.request.head
        return self.reply is None and head.framing is Framing.NONE and head.method in IDEMPOTENT

    @property
    def can_repeat(self) -> bool:
        """Whether all of it is still here and nothing of an answer has come: for a backend that has looked at nothing."""
        return self.reply is None and not self.streams and self.repeats < REPEATS


class Tunnel:
    """What a CONNECT came to: a host that the gateway stands in for, or bytes that pass blindly under a grant."""

    __slots__ = ("admitted", "grant", "host", "received", "sent")

    def __init__(self, admitted: Admitted, host: str, grant: Grant | None) -> None:
        self.admitted = admitted
        self.host = host
        self.grant = grant
        self.sent = self.received = 0

    @property
    def is_blind(self) -> bool:
        """Whether nothing is looked into."""
        return self.grant is not None
