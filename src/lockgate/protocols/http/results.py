"""An answer on its way to the client: fields and content behind their masks, in a framing of the gateway's own.

    backend's content → codings undone → mask → codings done again → the client's framing

Short content of a known length is held until it is whole, so that the client gets a length, and a refusal instead of half
an answer where a mask cannot be held. Longer content and streams go on as they come; one that turns out to be something
else than it claims to be ends the connection without an end of the message (RFC 9112 section 8), so that no client takes it
for whole. A `Reply` is the clear plan of one answer: nothing of it leaves but through `apply` (I3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lockgate.govern.masking.bodies import (
    BodyMask,
    BodyTerms,
    Coder,
    NoNames,
    body_mask,
    decoding,
    encoding,
    mask_fields,
    passing_mask,
    telling_names,
)
from lockgate.protocols.http.codec import chunk, field_lines, last_chunk, response_bytes
from lockgate.protocols.http.fields import CODINGS, answer_fields
from lockgate.protocols.http.messages import Field, Fields, Framing, ResponseHead
from lockgate.protocols.http.statuses import PARTIAL_CONTENT, REASONS
from lockgate.protocols.http.validators import sealed

WHOLE: Final = 262_144
"""Bytes of content that are held until they are all there."""
_LARGE: Final = "it is binary, and larger than such content may be here"
_CHUNKED: Final = Field.of(b"Transfer-Encoding", b"chunked")
_CLOSE: Final = Field.of(b"Connection", b"close")


class Unreadable(Exception):
    """Content that a mask is due in cannot be looked into. Says what is wrong, without anything of it."""


class ShownFields:
    """Fields of answers behind their masks. A backend gives the same ones again and again: those of the last answer are known,
    as long as they are the very same and everything that decides what is hidden is equal."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: tuple[Fields, BodyTerms | None, Fields, dict[str, int]] | None = None

    def answer(self, fields: Fields, terms: BodyTerms | None) -> tuple[Fields, dict[str, int]]:
        """The fields that an answer's client gets, without framing, and what was hidden in them. `terms` None: nothing is due."""
        known = self._known
        if known is not None and known[0] is fields and known[1] == terms:
            return known[2], known[3]
        shown, masked = shown_fields(answer_fields(fields, is_masked=terms is not None), terms)
        self._known = (fields, terms, shown, masked)
        return shown, masked


def shown_fields(fields: Fields, terms: BodyTerms | None) -> tuple[Fields, dict[str, int]]:
    """Fields behind their masks, entity tags sealed, and what was hidden in them. `terms` None: nothing is due. A field whose
    name holds a find is left out."""
    if terms is None or not fields:
        return fields, {}
    telling, found = telling_names(terms.detects, tuple([field.raw for field in fields]))
    if telling:
        fields = tuple(field for at, field in enumerate(fields) if at not in telling)
    shown, masked = mask_fields(terms, [(field.name, field.value) for field in fields])
    for name, count in found:
        masked[name] = masked.get(name, 0) + count
    if shown is not None:
        fields = tuple(field._replace(value=value) for field, value in zip(fields, shown, strict=True))
    return sealed(fields, terms.keys, terms.scope, terms.place[1:]), masked


class Reply:
    """One answer. `ends` and `trailers` are set before the last `apply`; `fault` says why one raised."""

    __slots__ = (
        "_body", "_decoder", "_encoder", "_head", "_held", "_is_chunked", "_is_out", "_is_unseen", "_lines", "_passes", "_room", "_shown_fields", "_terms", "closes",
        "ends", "fault", "has_content", "is_whole", "masked", "sent", "trailers",
    )

    def __init__(
        self, head: ResponseHead, terms: BodyTerms | None, masked: dict[str, int], *, minor: int, closes: bool, binary: bool,
        binary_size: int | None = None, lines: Callable[[Iterable[Field]], bytes] = field_lines,
        shown: ShownFields | None = None,
    ) -> None:
        """`terms` None: nothing is due. `masked` counts what is hidden. `closes`: the connection ends behind this answer.
        `binary`: content that cannot be looked into may go on, up to `binary_size` bytes (None: any number). `lines` writes
        fields, and checks them. `shown` knows the fields of the answers before it on the client's connection."""
        self.masked = masked
        self.ends = False
        self.trailers: Fields = ()
        self.fault = ""
        self.sent = 0
        self.closes = closes
        self.has_content = head.framing is not Framing.NONE
        self._head = head
        self._terms = terms
        self._held: list[bytes] = []
        self._is_out = False
        self._is_unseen = False             # nothing can look into the content, and it may pass
        self._body: BodyMask | None = None
        self._decoder: Coder | None = None
        self._encoder: Coder | None = None
        self._passes = binary
        self._room = binary_size
        self._lines = lines
        self._shown_fields = ShownFields() if shown is None else shown
        self.is_whole = head.framing is Framing.LENGTH and head.length <= WHOLE
        self._is_chunked = self.has_content and not self.is_whole and minor > 0 and not (
            terms is None and head.framing is Framing.LENGTH)
        if self.has_content and not self.is_whole and minor == 0:
            self.closes = True

    @property
    def is_open(self) -> bool:
        """Whether something of it has left."""
        return self._is_out

    @property
    def status(self) -> int:
        """The backend's status."""
        return self._head.status

    @property
    def keeps_backend(self) -> bool:
        """Whether the backend takes another request behind this answer."""
        return self._head.keep_alive

    def apply(self, data: bytes) -> bytes:
        """What may leave, with `data` of the content having arrived. `Unreadable` where a mask cannot be held."""
        try:
            return self._apply(data)
        except (ValueError, Unreadable) as error:
            self.fault = str(error) if isinstance(error, Unreadable | NoNames) else "it is not what its type says"
            raise

    def _apply(self, data: bytes) -> bytes:
        if self.is_whole:
            self._held.append(data)
            if not self.ends:
                return b""
            data = b"".join(self._held)
            self._held.clear()
        out: list[bytes] = []
        if not self._is_out and not self.is_whole:
            self._begin()
            out.append(self._opening(None))
        elif self.is_whole:
            self._begin()
        content = self._content(data) if self.has_content else b""
        if self.is_whole:
            out.append(self._opening(len(content)))
        if self._is_chunked:
            if content:
                out.append(chunk(content))
            if self.ends:
                out.append(last_chunk(self._masked_fields(self.trailers)))
        else:
            out.append(content)
        self._is_out = True
        self.sent += len(content)
        return b"".join(out)

    def _begin(self) -> None:
        """Find out how the content can be looked into."""
        terms, head = self._terms, self._head
        if terms is None or not self.has_content:
            return
        if head.status == PARTIAL_CONTENT:
            raise Unreadable("it is a part of a document, in which fields cannot be found")
        kind, parameters = media_type(b", ".join(head.all(b"content-type")))
        body = self._mask_of(terms, kind, parameters)
        if body is None:
            if head.framing is Framing.LENGTH and head.length == 0:
                return                      # where nothing is, its type says nothing
            if not self._passes:
                raise Unreadable("it is binary, and masks are due that cannot be put on it")
            self._is_unseen = True
            if head.framing is Framing.LENGTH and self._room is not None and head.length > self._room:
                raise Unreadable(_LARGE)    # before anything of it has left
            if any(coding not in CODINGS for coding in codings_of(head.fields)):
                return
            body = passing_mask(terms)
        codings = codings_of(head.fields)
        if codings:
            self._decoder, self._encoder = decoding(codings), encoding(codings)
        self._body = body

    def _mask_of(self, terms: BodyTerms, kind: bytes, parameters: dict[bytes, bytes]) -> BodyMask | None:
        """What looks into the content; None for what nothing can. A protocol inside of HTTP knows better what it is."""
        return body_mask(terms, kind, parameters.get(b"charset", b""), parameters)

    def _content(self, data: bytes) -> bytes:
        if self._is_unseen and self._room is not None:
            self._room -= len(data)
            if self._room < 0:
                raise Unreadable(_LARGE)
        body = self._body
        if body is None:
            return data
        decoder, encoder = self._decoder, self._encoder
        if decoder is not None:
            data = decoder.feed(data)
            if self.ends:
                data += decoder.finish()
        out = body.feed(data) if data else b""
        if self.ends:
            out += body.finish()
        if body.masked:
            self._count(body.masked)
            body.masked.clear()
        if encoder is not None:
            out = encoder.feed(out)
            if self.ends:
                out += encoder.finish()
        return out

    def _opening(self, length: int | None) -> bytes:
        """The status line and the fields."""
        head, terms = self._head, self._terms
        shown, masked = self._shown_fields.answer(head.fields, terms)
        self._count(masked)
        fields = list(shown)
        if length is not None:
            fields.append(Field.of(b"Content-Length", b"%d" % length))
        elif self._is_chunked:
            fields.append(_CHUNKED)
        elif terms is None:
            fields += [field for field in head.fields if field.name == b"content-length"]
        if self.closes:
            fields.append(_CLOSE)
        reason = head.reason if terms is None else REASONS.get(head.status, "").encode()    # its own words may hold anything
        return response_bytes(head.status, reason, fields, lines=self._lines)

    def _masked_fields(self, fields: Fields) -> Fields:
        fields, masked = shown_fields(fields, self._terms)
        self._count(masked)
        return fields

    def _count(self, masked: dict[str, int]) -> None:
        for name, count in masked.items():
            self.masked[name] = self.masked.get(name, 0) + count


def codings_of(fields: Fields) -> tuple[bytes, ...]:
    """The content codings of a message in the order in which they were applied (RFC 9110 section 8.4)."""
    return tuple(
        name for field in fields if field.name == b"content-encoding" for part in field.value.lower().split(b",")
        if (name := part.strip()) not in (b"", b"identity"))


def media_type(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """A media type in small letters, and its parameters (RFC 9110 section 8.3.1). ValueError for a parameter that is there
    twice: readers differ in which of them they take."""
    kind, *rest = value.split(b";")
    parameters = {}
    for piece in rest:
        name, _, text = piece.partition(b"=")
        name = name.strip().lower()
        if name in parameters:
            raise ValueError("a media type has a parameter twice")
        parameters[name] = text.strip().strip(b'"')
    return kind.strip().lower(), parameters
