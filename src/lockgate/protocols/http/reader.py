"""Reading what follows a head: content of a known length, in chunks, or up to the connection's end.

Apart from `codec`, which adds the heads of requests and responses, because both directions read content the
same way. Source: RFC 9112, 6 and 7.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from lockgate.errors import LocalProtocolError
from lockgate.protocols.http.framing import LARGEST, verify_trailers
from lockgate.protocols.http.grammar import read_fields
from lockgate.protocols.http.incoming import Incoming
from lockgate.protocols.http.messages import End, Event, Framing, HeadLimits, MessageError

LIMITS: Final = HeadLimits()
"""What stands where nobody says otherwise."""
# A chunk's size (7.1): no sign, no prefix, no white space, and of a request no extension. Beside each, what may
# still become one.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16}+)\r\n")
_SIZE_BEGUN = re.compile(rb"(?:[0-9A-Fa-f]{1,16}+\r?)?")
EXTENDED: Final = re.compile(rb"([0-9A-Fa-f]{1,16}+)(?:;[\t -~\x80-\xff]{0,255}+)?+\r\n")
EXTENDED_BEGUN: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,16}+(?:;[\t -~\x80-\xff]{0,255}+)?+\r?)?")
_ENOUGH: Final = 4_096                      # bytes of small chunks that make an event
_LINE_END = re.compile(rb"\r\n")
_LINE_END_BEGUN = re.compile(rb"\r?")


class At(Enum):
    """What a reader reads next."""

    NOTHING = "nothing"
    """Between messages, and after the last."""
    HEAD = "head"
    CONTENT = "content"
    SIZE = "chunk size"
    CHUNK = "chunk"
    CHUNK_END = "chunk end"
    TRAILERS = "trailers"
    END = "end"
    """Nothing: only the End is still to be told."""
    TUNNEL = "tunnel"
    """What follows is no HTTP: `rest` was called."""


class Reader:
    """One direction of a connection, without its heads: a subclass reads these in `_head` and then says `_begin`."""

    __slots__ = ("_at", "_extensions", "_failure", "_incoming", "_left", "_limits")

    _opening = re.compile(rb"")             # how a head begins, so that noise is not waited for
    _size = _SIZE
    _size_begun = _SIZE_BEGUN

    def __init__(self, limits: HeadLimits = LIMITS) -> None:
        self._limits = limits
        self._incoming = Incoming()
        self._at = At.HEAD
        self._left = 0                      # bytes of content or chunk that are still to come
        self._extensions = 0                # bytes of chunk extensions so far
        self._failure: MessageError | None = None

    @property
    def has_rest(self) -> bool:
        """Whether bytes are here that no event has told yet."""
        return bool(self._incoming)

    @property
    def in_head(self) -> bool:
        """Whether a head has begun and is not whole."""
        return self._at is At.HEAD and bool(self._incoming)

    def feed(self, data: bytes) -> None:
        """Add what has arrived. How much may wait is the caller's affair: it feeds again when `event` gave None."""
        if self._failure is not None or self._at is At.TUNNEL:
            raise LocalProtocolError("bytes for a reader that has ended")
        self._incoming.feed(data)

    def rest(self) -> bytes:
        """Take the bytes behind the message that has ended, for what follows is no HTTP. The reader has ended."""
        if self._failure is not None or self._at is not At.NOTHING:
            raise LocalProtocolError("the message before has not ended")
        self._at = At.TUNNEL
        return self._incoming.take(len(self._incoming))

    def event(self) -> Event | None:
        """The next event, or None until more bytes are there. Content is never empty. Raises MessageError, then always."""
        if self._failure is not None:
            raise MessageError(self._failure.args[0], self._failure.status)
        try:
            return self._next()
        except MessageError as failure:
            told = self._failure = self._fault(failure)
        raise told                          # out here, where it has no context that could be shown

    def _fault(self, failure: MessageError) -> MessageError:
        """The failure as this side tells it."""
        return failure

    def _next(self) -> Event | None:
        while True:
            at = self._at
            if at is At.HEAD:
                return self._head()
            if at is At.CONTENT:
                return self._content()
            if at is At.END:
                self._at = At.NOTHING
                return End()
            if at is At.NOTHING or at is At.TUNNEL:
                return None
            if at is At.TRAILERS:
                return self._trailers()
            data = self._chunks()
            if data is not None or self._at is not At.TRAILERS:
                return data

    def _head(self) -> Event | None:
        raise NotImplementedError

    def _whole_head(self) -> tuple[bytes, bytes] | None:
        """(first line without its end, field lines with theirs) of a head, once it is whole."""
        waiting = len(self._incoming)
        head = self._incoming.head()
        if head is None:
            if not waiting:
                return None
            if self._incoming.begins(self._opening) is None:
                raise MessageError("the first line does not begin like one of HTTP/1")
            if self._incoming.first_line() > self._limits.line:
                raise MessageError("the first line is too long", 414)
            if waiting > self._limits.head:
                raise MessageError("the head is too long", 431)
            return None
        line, _, section = head.partition(b"\r\n")
        if len(line) > self._limits.line:
            raise MessageError("the first line is too long", 414)
        if len(head) + 2 > self._limits.head:
            raise MessageError("the head is too long", 431)
        return line, section

    def _begin(self, framing: Framing, length: int) -> None:
        """The head is read: what follows it."""
        self._left = length
        self._extensions = 0
        if framing is Framing.CHUNKED:
            self._at = At.SIZE
        elif framing is Framing.UNTIL_CLOSE:
            self._at, self._left = At.CONTENT, -1
        else:
            self._at = At.CONTENT if length else At.END

    def _content(self) -> bytes | None:
        here = len(self._incoming)
        if not here:
            return None
        if self._left < 0:                  # until the connection closes
            return self._incoming.take(here)
        data = self._incoming.take(self._left)
        self._left -= len(data)
        if not self._left:
            self._at = At.END
        return data

    def _chunks(self) -> bytes | None:
        """Content of one large chunk or of several small ones, None without any. Thousands of tiny chunks shall not
        cost everybody behind thousands of events."""
        found: list[bytes] = []
        size = 0
        while size < _ENOUGH and self._between_chunks():
            if not self._incoming:
                break
            data = self._incoming.take(self._left)
            self._left -= len(data)
            if not self._left:
                self._at = At.CHUNK_END
            found.append(data)
            size += len(data)
        return b"".join(found) or None      # one piece is not copied

    def _between_chunks(self) -> bool:
        """Go on to where a chunk's content is next. False where more bytes are needed for that, or no chunk follows."""
        if self._at is At.CHUNK_END and not self._chunk_end():
            return False
        if self._at is At.SIZE and not self._chunk_size():
            return False
        return self._at is At.CHUNK

    def _chunk_size(self) -> bool:
        """Read a chunk's size. False while it is not whole."""
        found = self._incoming.begins(self._size)
        if found is None:
            if self._incoming.is_all(self._size_begun):
                return False
            raise MessageError("a chunk's size is no hexadecimal number that ends its line")
        self._incoming.skip(found.end() - found.start())
        self._left = int(found[1], 16)
        self._extensions += found.end() - found.end(1) - 2
        if self._left > LARGEST:
            raise MessageError("a chunk is beyond every limit", 413)
        if self._extensions > self._limits.trailers:
            raise MessageError("the extensions of chunks are too long")
        self._at = At.CHUNK if self._left else At.TRAILERS
        return True

    def _chunk_end(self) -> bool:
        """Read the line end behind a chunk. False while it is not whole."""
        if self._incoming.begins(_LINE_END) is None:
            if self._incoming.is_all(_LINE_END_BEGUN):
                return False
            raise MessageError("a chunk does not end where its size says")
        self._incoming.skip(2)
        self._at = At.SIZE
        return True

    def _trailers(self) -> End | None:
        """The trailer section (7.1.2), in most messages an empty line."""
        if self._incoming.begins(_LINE_END) is not None:
            self._incoming.skip(2)
            self._at = At.NOTHING
            return End()
        waiting = len(self._incoming)
        section = self._incoming.head()
        if (waiting if section is None else len(section) + 2) > self._limits.trailers:
            raise MessageError("the trailers are too long", 431)
        if section is None:
            return None
        trailers = read_fields(section, self._limits)
        verify_trailers(trailers)
        self._at = At.NOTHING
        return End(trailers)
