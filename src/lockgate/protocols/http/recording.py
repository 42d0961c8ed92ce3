"""What of HTTP is recorded: requests as they went on without a credential, answers as the client got them.

    request's bytes, without credential (`Passed`)  →  RequestReader   ┐
    answer's bytes, out of a clearance (the driver) →  ResponseReader  ┴→ head, content in plain, end

Content is recorded without its codings, because nobody finds a word in compressed bytes, neither who searches nor who looks for
credentials. Of each content a share is kept; what is left out stands in the end with its size and SHA-256. A head is HTTP/1.1
text in any case; `recorded` reads all of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final

import orjson

from lockgate.errors import LockgateError
from lockgate.govern.masking.bodies import Coder, decoding
from lockgate.protocols.http.codec import RequestReader, ResponseReader
from lockgate.protocols.http.framing import end_to_end
from lockgate.protocols.http.intake import PLAIN_FIELDS
from lockgate.protocols.http.messages import (
    End,
    Fields,
    Framing,
    HeadLimits,
    MessageError,
    RequestHead,
    ResponseHead,
)
from lockgate.protocols.http.results import codings_of, media_type
from lockgate.protocols.http.statuses import FIRST_REDIRECT, SWITCHING
from lockgate.wire.steps import Passed, Side
from lockgate.wire.tap import Shares, Taken

WHOLE: Final = "m"
"""A message with all of its content."""
HEAD: Final = "h"
CONTENT: Final = "c"
END: Final = "e"
"""JSON: what there was of the content, and what of it is here."""
SOCKET: Final = "s"
"""A message of the protocol that was switched to."""
BYTES: Final = "b"
"""Bytes that are no message."""
REFUSED: Final = "r"
"""A request that did not go on: its head, as far as it says what was asked for."""

_ONE_PIECE: Final = 262_144
_LIMITS: Final = HeadLimits(line=1 << 17, head=1 << 20, fields=4_096, field=1 << 17, trailers=1 << 17)
"""Every head has passed stricter ones, and fields were added to it since."""
_STREAMS: Final = frozenset((b"text/event-stream",))
"""Contents without an end: what is said in them is a message each, and no share is put on them."""
_TEXTUAL: Final = frozenset((
    b"", b"application/json", b"application/x-www-form-urlencoded", b"application/xml", b"application/graphql",
    b"application/x-ndjson", b"application/javascript", b"application/yaml", b"multipart/form-data",
))


_LENGTH: Final = re.compile(rb"\r\ncontent-length: ([0-9]{1,9})\r\n", re.IGNORECASE)
_TYPE: Final = re.compile(rb"\r\ncontent-type: ([^;\r]*)", re.IGNORECASE)
_CODED: Final = re.compile(rb"\r\n(?:content-encoding|transfer-encoding):", re.IGNORECASE)
_WITH_CONTENT: Final = re.compile(rb"HTTP/1\.[01] (?![23]04)[2-5][0-9]{2} ")


def is_text(kind: bytes) -> bool:
    """Whether content of this media type (lower case, without parameters) is for people to read."""
    return kind in _TEXTUAL or kind.startswith(b"text/") or kind.endswith((b"+json", b"+xml"))


def refused(head: RequestHead, size: int, content: bytes) -> Passed:
    """What is recorded of a request that does not go on: fields in which no data and no credential stands, the `size` of the
    content that came, and what a protocol inside of HTTP says of it in JSON, or nothing; the log holds the request itself."""
    fields = [field for field in end_to_end(head.fields) if field.name in PLAIN_FIELDS]
    lines = b"".join(b"%b: %b\r\n" % (field.raw, field.value) for field in fields)
    if content:             # the gateway's words, whatever the client has called its own
        lines += b"Content-Type: application/json\r\n"
    return Passed(Side.CLIENT, b"%b %b HTTP/1.1\r\n%b\r\n%b" % (head.method, head.target, lines, content), REFUSED, size)


def socket_message(source: Side, data: bytes) -> Passed:
    """A message behind a switch of protocols (101), in plain: what is passed is recorded as it is, with the exchange that
    switched. The wire's own bytes are not looked at from then on."""
    return Passed(source, data, SOCKET)


def _is_whole(data: bytes, shares: Shares) -> bool:
    """Whether a message of the gateway's own writing is all there and all of it is recorded, as can be seen without taking it
    apart: most are. What is not seen here is read like any other."""
    end = data.find(b"\r\n\r\n") + 2
    if end < 2 or len(data) >= _ONE_PIECE or _CODED.search(data, 0, end):
        return False
    size, length = len(data) - end - 2, _LENGTH.search(data, 0, end)
    if size != (0 if length is None else int(length[1])):
        return False
    if size <= min(shares.text, shares.binary):
        return True
    kind = _TYPE.search(data, 0, end)
    return kind is not None and size <= shares.text and is_text(kind[1].strip().lower())


class _Message:
    """One message on its way: what has come of it and is not recorded yet."""

    __slots__ = ("_decoder", "_digest", "_head", "_is_begun", "_is_full", "_kept", "_left_out", "_number", "_pieces", "_share",
                 "_size", "_source", "coding", "fault")

    def __init__(self, source: Side, number: int, head: bytes, fields: Fields, shares: Shares) -> None:
        self._source = source
        self._number = number
        self._head = head
        kind = media_type(b", ".join([field.value for field in fields if field.name == b"content-type"]))[0]
        self._share = None if kind in _STREAMS else shares.text if is_text(kind) else shares.binary
        self._pieces: list[bytes] = []
        self._size = self._kept = self._left_out = 0
        self._is_begun = self._is_full = False
        self._digest = hashlib.sha256()
        self._decoder: Coder | None = None
        self.coding = ""
        self.fault = ""
        codings = codings_of(fields)
        if codings:
            try:
                self._decoder, self.coding = decoding(codings), b", ".join(codings).decode("latin-1")
            except ValueError as error:
                self._share, self.fault = shares.binary, str(error)

    def content(self, data: bytes) -> None:
        """A piece of the content, in its codings."""
        self._size += len(data)
        self._digest.update(data)
        if self._is_full:
            self._left_out += len(data)
            return
        plain = self._plain(data)
        room = len(plain) if self._share is None else self._share - self._kept
        if len(plain) > room:
            self._is_full = True
            self._left_out += len(plain) - room if self._decoder is None else max(1, len(data))
            plain = plain[:room]
        if plain:
            self._kept += len(plain)
            self._pieces.append(plain)

    def _plain(self, data: bytes) -> bytes:
        if self._decoder is None:
            return data
        try:
            return self._decoder.feed(data)
        except ValueError as error:
            self.fault, self._is_full = str(error), True
            self._left_out += len(data)
            return b""

    def taken(self) -> list[Taken]:
        """What can be recorded now, with more to follow."""
        found: list[Taken] = []
        if not self._is_begun:
            self._is_begun = True
            found.append(self._piece(HEAD, self._head))
        if self._pieces:
            found.append(self._piece(CONTENT, b"".join(self._pieces), more=True))
            self._pieces.clear()
        return found

    def ended(self, trailers: Fields = (), *, cut: str = "") -> list[Taken]:
        """The rest of it. `cut`: why it has no end of its own."""
        self._finish(is_cut=bool(cut))
        is_whole = not (self._left_out or self.fault or cut)
        if is_whole and not (self._is_begun or trailers) and self._kept < _ONE_PIECE:
            return [self._piece(WHOLE, b"".join((self._head, *self._pieces)))]
        found = self.taken()
        found.append(self._piece(CONTENT, b""))
        said: dict[str, object] = {"size": self._size, "kept": self._kept}
        if self.coding:
            said["coding"] = self.coding
        if trailers:
            said["trailers"] = [[field.raw.decode("latin-1"), field.value.decode("latin-1")] for field in trailers]
        if self._left_out or self.fault:
            said |= {"left_out": self._left_out, "sha256": self._digest.hexdigest()}
        for name, value in (("fault", self.fault), ("cut", cut)):
            if value:
                said[name] = value
        found.append(Taken(self._source, self._number, END, orjson.dumps(said), left_out=self._left_out))
        return found

    def _finish(self, *, is_cut: bool) -> None:
        if self._decoder is None or self._is_full or is_cut:
            return
        try:
            self._decoder.finish()
        except ValueError as error:
            self.fault = str(error)

    def _piece(self, part: str, data: bytes, *, more: bool = False) -> Taken:
        return Taken(self._source, self._number, part, data, more)


class HttpTap:
    """`wire.tap.Tap` of one client's connection, or of one stream of it: exchanges follow one another."""

    def __init__(self, number: Callable[[], int], shares: Shares) -> None:
        self._next = number
        self._shares = shares
        self._number = 0                            # of the exchange at hand
        self._reader = RequestReader(_LIMITS)
        self._replies: ResponseReader | None = None
        self._request: _Message | None = None
        self._reply: _Message | None = None
        self._method = b""
        self._is_open_ended = False                 # the answer's content ends with the connection
        self._is_fresh = False                      # nothing of the answer has come
        self._is_reply_first = False                # an answer has begun before its request was let on
        self._switched = False                      # what goes to the client is another protocol
        self._is_spoken = False                     # the mediator says what it is
        self._unread = 0                            # bytes of it, where it does not

    # ------------------------------------------------------------ requests

    def passed(self, source: Side, data: bytes, part: str, left_out: int) -> list[Taken]:
        """See `Tap`: HTTP/1.1 bytes of a request, what is recorded of a refused one, or a message of another protocol."""
        if part == SOCKET:
            self._is_spoken, self._unread = True, 0
            return [Taken(source, self._number, SOCKET, data)]
        if part == REFUSED:
            return self._refused(data, left_out)
        if part == WHOLE and self._request is None and _is_whole(data, self._shares):
            return [*self._begin(data[:data.index(b" ")]), Taken(Side.CLIENT, self._number, WHOLE, data)]
        try:
            return self._requests(data)
        except LockgateError:
            self._reader, self._request = RequestReader(_LIMITS), None
            return [Taken(Side.CLIENT, self._number, BYTES, data)]

    def _refused(self, data: bytes, size: int) -> list[Taken]:
        found = self._begin(data.partition(b" ")[0])
        head, _, content = data.partition(b"\r\n\r\n")
        said = orjson.dumps({"refused": True, "left_out": size})
        parts = [(HEAD, head + b"\r\n\r\n"), (CONTENT, content), (END, said)]
        return [*found, *(Taken(Side.CLIENT, self._number, part, of) for part, of in parts if of)]

    def _requests(self, data: bytes) -> list[Taken]:
        found: list[Taken] = []
        self._reader.feed(data)
        while (event := self._reader.event()) is not None:
            if isinstance(event, RequestHead):
                found += self._begin(event.method)
                head = b"%b %b HTTP/1.1\r\n%b\r\n" % (event.method, event.target, _lines(event.fields))
                self._request = _Message(Side.CLIENT, self._number, head, event.fields, self._shares)
            elif self._request is None:
                break
            elif isinstance(event, bytes):
                self._request.content(event)
            elif isinstance(event, End):
                found += self._request.ended(event.trailers)
                self._request = None
                self._reader.next_message()
        if self._request is not None:
            found += self._request.taken()
        return found

    def _begin(self, method: bytes) -> list[Taken]:
        """The next exchange; of an answer that has begun already, this is the request."""
        if self._is_reply_first and self._replies is not None:
            self._is_reply_first = False
            return []
        found = self._end_exchange("the next request came")
        self._number = self._next()
        self._expect(method)
        return found

    def _expect(self, method: bytes) -> None:
        self._replies = ResponseReader(_LIMITS)
        self._replies.expect(method, b"websocket")
        self._method = method
        self._reply = None
        self._switched = False
        self._is_fresh = True

    # ------------------------------------------------------------ answers

    def told(self, data: bytes) -> list[Taken]:
        """See `Tap`."""
        if self._switched:
            self._unread += 0 if self._is_spoken else len(data)
            return []
        if self._replies is None:                   # an answer to what was no request, or is not let on yet
            self._number = self._next()
            self._expect(b"GET")
            self._is_reply_first = True
        if self._reply is None and self._is_fresh and self._method != b"HEAD" and _WITH_CONTENT.match(data) and (
                _LENGTH.search(data) and _is_whole(data, self._shares)):
            self._replies, self._is_reply_first = None, False
            return [Taken(Side.SERVER, self._number, WHOLE, data)]
        self._is_fresh = False
        try:
            return self._answers(data)
        except MessageError:
            return [*self._end_exchange("what follows is no message"), Taken(Side.SERVER, self._number, BYTES, data)]

    def _answers(self, data: bytes) -> list[Taken]:
        reader = self._replies
        assert reader is not None
        found: list[Taken] = []
        reader.feed(data)
        while (event := reader.event()) is not None:
            if isinstance(event, ResponseHead):
                if event.is_interim:
                    continue
                head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (event.status, event.reason, _lines(event.fields))
                self._reply = _Message(Side.SERVER, self._number, head, event.fields, self._shares)
                self._switched = event.status == SWITCHING or (self._method == b"CONNECT" and event.status < FIRST_REDIRECT)
                self._is_open_ended = event.framing is Framing.UNTIL_CLOSE
            elif self._reply is None:
                break
            elif isinstance(event, bytes):
                self._reply.content(event)
            elif isinstance(event, End):
                found += self._reply.ended(event.trailers)
                self._reply = None
                self._is_reply_first = False
                if not self._switched:
                    self._replies = None
                    break
        if self._reply is not None:
            found += self._reply.taken()
        return found

    # ------------------------------------------------------------ the end

    def closed(self) -> list[Taken]:
        """See `Tap`."""
        return self._end_exchange("the session ended")

    def _end_exchange(self, why: str) -> list[Taken]:
        """What is open ends here."""
        found: list[Taken] = []
        if self._request is not None:
            found += self._request.ended(cut=why)
        if self._reply is not None:
            found += self._reply.ended(cut="" if self._is_open_ended else why)
        if self._unread:
            found.append(Taken(Side.SERVER, self._number, END, orjson.dumps({"size": self._unread, "left_out": self._unread}),
                               left_out=self._unread))
        self._request = self._reply = self._replies = None
        self._switched, self._is_spoken, self._unread = False, False, 0
        return found


def _lines(fields: Fields) -> bytes:
    return b"".join([b"%b: %b\r\n" % (field.raw, field.value) for field in fields])
