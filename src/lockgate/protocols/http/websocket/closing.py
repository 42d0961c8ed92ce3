"""Why a socket ends, as its peer gets to know it: a code and a reason of at most 123 bytes (RFC 6455 section 7.4).

A refused message ends its socket. What follows it was meant to follow it: to leave one out of a stream and let the next ones
through could mean something else than what anybody asked for or allowed. A client whose messages are text and who agreed on
no subprotocol, in which another shape of message would be an error, gets the whole refusal as a last message, with the members
of a problem+json; the reason of the close frame says the same in short, the ticket first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wsproto.frame_protocol import CloseReason

from lockgate.model import Refusal, RefusalCode
from lockgate.protocols.http.websocket.frames import LONGEST_REASON

_CODES: Final[Mapping[RefusalCode, CloseReason]] = {
    RefusalCode.TOO_LARGE: CloseReason.MESSAGE_TOO_BIG,
    RefusalCode.SHUTTING_DOWN: CloseReason.GOING_AWAY,
    RefusalCode.AUDIT_UNAVAILABLE: CloseReason.INTERNAL_ERROR,
    RefusalCode.BACKEND_UNAVAILABLE: CloseReason.INTERNAL_ERROR,
    RefusalCode.INTERNAL: CloseReason.INTERNAL_ERROR,
}
"""Of all others: 1008, policy."""


def close_of(refusal: Refusal) -> tuple[int, str]:
    """The code and the reason with which a socket ends."""
    what = refusal.code.value
    if refusal.ticket is not None:
        what += f", ticket {refusal.ticket}"
    elif refusal.rule is not None:
        what += f" by {refusal.rule}"
    return int(_CODES.get(refusal.code, CloseReason.POLICY_VIOLATION)), cut(f"{what}: {refusal.reason}")


def cut(reason: str) -> str:
    """As much of a reason as a close frame has room for."""
    data = reason.encode("utf-8")
    if len(data) <= LONGEST_REASON:
        return reason
    return data[:LONGEST_REASON - 3].decode("utf-8", "ignore") + "…"
