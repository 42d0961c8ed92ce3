"""Which fields of a message go on, and with what: requests to the backend, answers to the client.

Apart from the codec, which knows only what belongs to one connection (`end_to_end`): here is what a gateway that masks
must not let a backend or a client do.
"""

from __future__ import annotations

import re
from typing import Final

from lockgate.protocols.http.callers import NEVER_ON
from lockgate.protocols.http.framing import end_to_end
from lockgate.protocols.http.messages import Field, Fields, RequestHead

CODINGS: Final = frozenset((b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"identity"))
"""Content codings that can be looked into."""
_UNUSUAL: Final = re.compile(rb"[^a-z0-9-]")
_ODD: Final = re.compile(rb"[^a-z0-9]")
"""Signs of a name that CGI and its heirs read as `-` (RFC 3875 section 4.1.18): X_Client_Cert is X-Client-Cert there."""
_PARTIAL: Final = frozenset((b"range", b"if-range", b"a-im"))
DIGESTS: Final = frozenset((b"content-md5", b"digest", b"content-digest", b"repr-digest", b"want-digest"))
"""Digests of content that is another one behind a mask."""
_FRAMING: Final = frozenset((b"content-length", b"host", b"expect", b"sec-websocket-extensions"))
"""Fields of the client's that the gateway writes itself, or does not speak."""


def request_fields(
    head: RequestHead, host: bytes, token_header: str | None, drop: frozenset[bytes], *, is_masked: bool
) -> Fields:
    """The fields for the backend, without framing: `Host` first, then what the client sent and may send on. Where masks
    can be due, parts of a document are not asked for, nor codings that nobody could look into."""
    never = _never(token_header, drop) | _FRAMING
    if is_masked:
        never |= _PARTIAL
    kept = [Field.of(b"Host", host)]
    for field in end_to_end(head.fields):
        if _stays(field, never):
            continue
        if is_masked and field.name == b"accept-encoding":
            field = Field(field.name, _known_codings(field.value), field.raw)
        kept.append(field)
    return tuple(kept)


def request_trailers(trailers: Fields, token_header: str | None, drop: frozenset[bytes]) -> Fields:
    """The fields behind the content that go on: some servers make them fields of the head."""
    never = _never(token_header, drop)
    return tuple(field for field in trailers if not _stays(field, never))


def _never(token_header: str | None, drop: frozenset[bytes]) -> frozenset[bytes]:
    return NEVER_ON | drop | ({token_header.lower().encode()} if token_header else frozenset())


def _stays(field: Field, never: frozenset[bytes]) -> bool:
    return field.name in never or (_UNUSUAL.search(field.name) is not None and _ODD.sub(b"-", field.name) in never)


def _known_codings(value: bytes) -> bytes:
    found = [one.strip() for one in value.split(b",") if one.partition(b";")[0].strip().lower() in CODINGS]
    return b", ".join(found) or b"identity"


def answer_fields(fields: Fields, *, is_masked: bool) -> Fields:
    """The fields for the client, without framing."""
    never = (b"content-length", *DIGESTS, b"accept-ranges") if is_masked else (b"content-length",)
    return tuple(field for field in end_to_end(fields) if field.name not in never)
