"""What an HTTP message is between the reader and the mediator: a head, pieces of content, an end.

Apart from the codec because everything that judges messages needs these values and none of the bytes.
Whatever the version on the wire (HTTP/1.0, 1.1, or 2 at an edge), a message has this shape; a head that
exists has passed every check of `grammar` and `framing`, so nobody checks it twice.
Source: RFC 9110 (semantics), RFC 9112 (HTTP/1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from lockgate.errors import RemoteProtocolError


class MessageError(RemoteProtocolError):
    """The peer sent what is not one well-formed message. `status` is the answer that a client deserves.

    The sentence never holds the peer's bytes. On requests the status is 400, 413, 414, 417, 431, 501 or
    505; on responses it is 502 always, since the fault is the backend's.
    """

    code = "protocol.remote.message"

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Field(NamedTuple):
    """One field line. Fields are compared by `name`; `raw` is for forwarding it as it was written."""

    name: bytes
    """In lower case."""
    value: bytes
    """Without white space around it; printable ASCII, spaces, tabs and 0x80 to 0xff inside."""
    raw: bytes
    """The name as it was written."""

    @classmethod
    def of(cls, raw: bytes, value: bytes) -> Field:
        """A field of our own, by its name as it shall be written. Writers check it."""
        return cls(raw.lower(), value, raw)


Fields = tuple[Field, ...]


class Framing(Enum):
    """Where the content of a message ends (RFC 9112, 6.3)."""

    NONE = "none"
    """There is no content; the message ends with its head."""
    LENGTH = "length"
    """After so many bytes as Content-Length says."""
    CHUNKED = "chunked"
    """With the last chunk and its trailer section."""
    UNTIL_CLOSE = "until close"
    """With the connection. Responses only."""


def all_of(fields: Fields, name: bytes) -> list[bytes]:
    """The values of every field of this name (lower case), in their order."""
    return [field.value for field in fields if field.name == name]


def one_of(fields: Fields, name: bytes, status: int) -> bytes | None:
    """The value of the field of this name (lower case), None without one. Raises MessageError for several:
    whoever asks for one value would otherwise read another one than the peer behind reads."""
    found = all_of(fields, name)
    if len(found) > 1:
        raise MessageError("a field that may stand once is there several times", status)
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's line and fields, checked, and what they mean for this connection."""

    method: bytes
    """A token without lower-case letters; what it does is for the policy to say."""
    target: bytes
    """As written, its form right for the method; an absolute one names the same host as Host."""
    fields: Fields
    """As they came, hop-by-hop ones too: `end_to_end` removes them."""
    minor: int
    """The 1 of HTTP/1.1."""
    framing: Framing
    length: int
    """Bytes of content where the framing is LENGTH, else 0."""
    keep_alive: bool
    """Whether the client may send another request. Never with HTTP/1.0 (RFC 9112, 9.3)."""
    expects_continue: bool
    """Whether the client waits for 100 (Continue) before it sends the content."""
    upgrade: bytes
    """The one protocol that the client offers to switch to, in lower case; empty for none. An offer of
    several, with content, or not named by Connection is none: a server may ignore any (RFC 9110, 7.8)."""

    def get(self, name: bytes) -> bytes | None:
        """The value of the field of this name (lower case), or None. Raises MessageError for several."""
        return one_of(self.fields, name, 400)

    def all(self, name: bytes) -> list[bytes]:
        """The values of every field of this name (lower case), in their order."""
        return all_of(self.fields, name)


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response's status line and fields, checked, and what they mean for this connection."""

    status: int
    """100 to 599."""
    reason: bytes
    fields: Fields
    """As they came, hop-by-hop ones too: `end_to_end` removes them."""
    minor: int
    framing: Framing
    length: int
    """Bytes of content where the framing is LENGTH, else 0."""
    keep_alive: bool
    """Whether another request may go to this backend on this connection."""
    upgrade: bytes
    """With 101, the protocol that is switched to; the one that was asked for, else empty."""

    @property
    def is_interim(self) -> bool:
        """Whether another response follows to the same request; an interim one has no End of its own."""
        return self.status < 200 and self.status != 101

    def get(self, name: bytes) -> bytes | None:
        """The value of the field of this name (lower case), or None. Raises MessageError for several."""
        return one_of(self.fields, name, 502)

    def all(self, name: bytes) -> list[bytes]:
        """The values of every field of this name (lower case), in their order."""
        return all_of(self.fields, name)


@dataclass(frozen=True, slots=True)
class End:
    """The message is whole. Trailers carry nothing that frames, routes or authenticates."""

    trailers: Fields = ()


Event = RequestHead | ResponseHead | bytes | End


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """What a peer may make us hold. Everything beyond is refused, never cut."""

    line: int = 8_192
    """Bytes of the request line or status line."""
    head: int = 65_536
    """Bytes of a whole head."""
    fields: int = 100
    """Field lines of a head, and of a trailer section."""
    field: int = 16_384
    """Bytes of one field line."""
    trailers: int = 16_384
    """Bytes of a trailer section; of all chunk extensions of a response together as well."""
    interim: int = 8
    """Interim responses before the final one."""
