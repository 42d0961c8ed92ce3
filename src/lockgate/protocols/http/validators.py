"""Entity tags and digests of content that goes on behind masks.

Many servers make an entity tag of the content's digest. Whoever knows all of a document but one value could try values until
the tag fits, so where masks are due the client gets the tag sealed (a token, `govern.masking.tokens`): what is equal stays equal,
and in `If-Match` and `If-None-Match` it becomes the backend's again. A tag that the client did not get here would ask the
backend whether it is right, so it goes on as one that fits nothing. Fields that say a checksum of content do not go on.
Source: RFC 9110 sections 8.8.3, 13.1.1 and 13.1.2; RFC 4918 section 10.4.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.tokens import LONGEST, TokenMint, Tokens
from lockgate.protocols.http.messages import Field, Fields

_TAG: Final = re.compile(rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_LIST: Final = re.compile(rb'\*|[, \t]*(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"(?:[ \t]*,[, \t]*|[ \t]*$))*')
_OURS: Final = re.compile(rb'tok_[a-z2-7]+', re.IGNORECASE)
_CONDITIONS: Final = frozenset((b"if-match", b"if-none-match", b"if"))
_NO_TAG: Final = b'"lockgate-unknown"'
_BRACKETED: Final = re.compile(rb"\[([^\]]*)\]")
"""A tag in WebDAV's `If` (RFC 4918 section 10.4)."""
_CHECKSUM: Final = re.compile(rb"checksum|(?:^|-)(?:md5|sha-?(?:1|256|384|512)|crc-?(?:32c?|64)?|etag-?hash|hash|digest)(?:-|$)")
_LABEL: Final = "entity tag"


def is_conditional(fields: Fields) -> bool:
    """Whether a request's fields name entity tags."""
    return any(field.name in _CONDITIONS for field in fields)


def sealed(fields: Fields, keys: MaskKeys | None, scope: bytes, place: tuple[str, ...]) -> Fields:
    """The fields of an answer with its entity tag sealed, and without checksums. Without keys, or where the tag is none of
    the standard's, it is left out. `place`: the segments of the path, so that tags of two resources cannot be compared: who
    may write could store a guess at one and compare it with the other."""
    if not _are_touched(tuple([field.name for field in fields])):
        return fields
    kept: list[Field] = []
    for field in fields:
        if field.name == b"etag":
            value = None if keys is None else _seal(keys, _of(scope, place), field.value)
            if value is not None:
                kept.append(field._replace(value=value))
        elif not _is_checksum(field.name):
            kept.append(field)
    return tuple(kept)


def unsealed(
    fields: Fields, keys: MaskKeys | None, scope: bytes, place: tuple[str, ...], *, is_masked: bool,
) -> Fields:
    """The fields of a request with the entity tags that were sealed for this place as the backend gave them. Others stay, or fit
    nothing where masks are due."""
    if keys is None and not is_masked:
        return fields
    tokens = None if keys is None else _tokens(keys, _of(scope, place))

    def open_one(found: re.Match[bytes]) -> bytes:
        opened = tokens.detokenize(found[2]) if tokens is not None and _OURS.fullmatch(found[2]) else None
        if opened is not None:
            return b'%b"%b"' % (found[1] or b"", opened.value)
        return _NO_TAG if is_masked else found[0]

    def opened(value: bytes) -> bytes:
        if is_masked and _LIST.fullmatch(value) is None:
            return _NO_TAG                  # some servers take tags without quotes
        return _TAG.sub(open_one, value)

    def changed(field: Field) -> bytes:
        if field.name == b"if":
            return _BRACKETED.sub(lambda found: b"[%b]" % opened(found[1]), field.value)
        return opened(field.value)

    return tuple(field._replace(value=changed(field)) if field.name in _CONDITIONS else field for field in fields)


def _of(scope: bytes, place: tuple[str, ...]) -> bytes:
    return scope + "/".join(place).encode()     # a segment holds no slash


@lru_cache(maxsize=256)                 # servers answer with the same fields again and again
def _are_touched(names: tuple[bytes, ...]) -> bool:
    return any(name == b"etag" or _is_checksum(name) for name in names)


@lru_cache(maxsize=1024)
def _is_checksum(name: bytes) -> bool:
    return _CHECKSUM.search(name) is not None


def _seal(keys: MaskKeys, scope: bytes, value: bytes) -> bytes | None:
    found = _TAG.fullmatch(value)
    token = None if found is None or len(found[2]) > LONGEST else _token(keys, scope, found[2])
    return None if found is None or token is None else b'%b"%b"' % (found[1] or b"", token)


@lru_cache(maxsize=1024)                # resources are asked for again and again; what is kept has a length that is bounded
def _token(keys: MaskKeys, scope: bytes, tag: bytes) -> bytes | None:
    return TokenMint(keys, scope, _LABEL, "text").make(tag)


@lru_cache(maxsize=1024)
def _tokens(keys: MaskKeys, scope: bytes) -> Tokens:
    return Tokens(keys, scope, (_LABEL,))
