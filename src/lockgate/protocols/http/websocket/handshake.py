"""The opening handshake (RFC 6455 section 4): what a client asks for, and whether the backend's answer fits.

Apart from `socket`, which begins behind it. The client's key goes to the backend as it is, so that what is on record is what
was sent; extensions are never asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from lockgate.protocols.http.codec import response_bytes
from lockgate.protocols.http.fields import answer_fields
from lockgate.protocols.http.grammar import is_token
from lockgate.protocols.http.messages import Field, MessageError, RequestHead, ResponseHead
from lockgate.protocols.http.problems import Problem
from lockgate.protocols.http.results import Reply
from lockgate.protocols.http.statuses import REASONS, SWITCHING

PROTOCOL: Final = b"websocket"
"""As it stands in Upgrade, in small letters."""
UPGRADE: Final = (Field.of(b"Upgrade", PROTOCOL), Field.of(b"Connection", b"Upgrade"))
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = 16
_OWN: Final = (b"sec-websocket-accept", b"sec-websocket-protocol", b"sec-websocket-extensions")
_MOST_PROTOCOLS: Final = 32


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a client asks for: the key that the answer has to fit, and the subprotocols from which the backend may choose."""

    key: bytes
    protocols: tuple[bytes, ...]

    @property
    def accept(self) -> bytes:
        """What the answer to the key is (section 4.2.2)."""
        return base64.b64encode(hashlib.sha1(self.key + _GUID, usedforsecurity=False).digest())


def is_asked_for(head: RequestHead) -> bool:
    """Whether a request wants to become a WebSocket. Other protocols of `Upgrade` are ignored, as RFC 9110 section 7.8 allows."""
    return head.upgrade == PROTOCOL and head.method == b"GET"


def read_handshake(head: RequestHead) -> Handshake | Problem:
    """The handshake of a request that `is_asked_for`."""
    versions, keys = head.all(b"sec-websocket-version"), head.all(b"sec-websocket-key")
    if versions != [b"13"]:
        return Problem(
            426, "unsupported", "the gateway speaks version 13 of WebSocket", fields=(Field.of(b"Sec-WebSocket-Version", b"13"),),
            hint="Nothing was forwarded. Ask for version 13 (RFC 6455).")
    protocols = [one.strip() for value in head.all(b"sec-websocket-protocol") for one in value.split(b",")]
    if len(keys) != 1 or not _is_key(keys[0]):
        return _bad("Sec-WebSocket-Key is not one of 16 bytes in base64")
    if len(protocols) > _MOST_PROTOCOLS or len(set(protocols)) != len(protocols) or not all(map(is_token, protocols)):
        return _bad("Sec-WebSocket-Protocol is no list of a few different names")
    return Handshake(keys[0], tuple(protocols))


def verify_answer(head: ResponseHead, handshake: Handshake) -> bytes | None:
    """The subprotocol that the backend has chosen with its 101, None for none. `MessageError` where the answer does not fit
    the handshake (section 4.1)."""
    if not hmac.compare_digest(head.get(b"sec-websocket-accept") or b"", handshake.accept):
        raise MessageError("it switches to a WebSocket without the right Sec-WebSocket-Accept", 502)
    if head.all(b"sec-websocket-extensions"):
        raise MessageError("it switches to a WebSocket with an extension that nobody asked for", 502)
    chosen = head.get(b"sec-websocket-protocol")
    if chosen is not None and chosen not in handshake.protocols:
        raise MessageError("it switches to a WebSocket with a subprotocol that nobody asked for", 502)
    return chosen


class SwitchReply(Reply):
    """The 101 on its way to the client, its fields masked as any answer's."""

    __slots__ = ("_switched",)

    def switch(self, handshake: Handshake, chosen: bytes | None) -> None:
        """Say what was agreed on; before `apply`."""
        own = [*UPGRADE, Field.of(b"Sec-WebSocket-Accept", handshake.accept)]
        if chosen is not None:
            own.append(Field.of(b"Sec-WebSocket-Protocol", chosen))
        self._switched = tuple(own)
        self.ends = True

    def _opening(self, length: int | None) -> bytes:
        kept = (field for field in answer_fields(self._head.fields, is_masked=self._terms is not None) if field.name not in _OWN)
        return response_bytes(
            SWITCHING, REASONS[SWITCHING].encode(), (*self._switched, *self._masked_fields(tuple(kept))), lines=self._lines)


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY
    except binascii.Error:
        return False


def _bad(detail: str) -> Problem:
    return Problem(400, "not_understood", detail, hint="Nothing was forwarded. Open the WebSocket as RFC 6455 section 4.1 says.")
