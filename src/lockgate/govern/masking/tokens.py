"""Tokens: masks that the gateway can turn back, and knows again wherever they stand.

Apart from `keyed_hash`, whose masks lead nowhere. A token is deterministic authenticated encryption (AES-SIV,
RFC 5297) of the value, written so that it is a plain word to JSON, CSV, URLs and regular expressions, in any case:

    tok_ base32( blocks:1  column:2  mark:2  SIV:16  ciphertext: 8 × blocks )

- *blocks*: the value's length, filled up to whole blocks of eight bytes, so that a token tells a length roughly.
- *column*: a keyed hash of label and kind, to find what it was made for; SIV binds both as associated data, so that
  a token of one label or kind is never turned back as another's.
- *mark*: a keyed hash of the rest, the same in every scope: the gateway recognises tokens that it gave to others, or
  long ago, though it does not turn them back. By chance one text in 65,536 of a token's shape would be taken for one.

Only types that hold a word have tokens. int4, int8, oid and uuid have a permutation of the whole type instead, which
has no mark: it can be turned back by who knows the column, and is not recognised. The rest, values above
`LONGEST` bytes, and tokens that a varchar(n) would cut off, are redacted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from lockgate.govern.masking import typed_values as typed
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.keyed_hash import WORDS
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.redaction import Replace, padded
from lockgate.govern.masking.whole_type import PERMUTED, WholeType
from lockgate.kernel.base32 import base32
from lockgate.model import MaskMethod

Kind = Literal["text", "json", "bytes"]
"""What a token was made of: words, a JSON document, the content of a bytea."""

LONGEST: Final = 1_024
"""Bytes of a value that gets a token."""

_PREFIX: Final = b"tok_"
_BLOCK: Final = 8
_HEAD: Final = 5
_SIV: Final = 16
_PAD: Final = b"\x80"                               # then zeros (ISO/IEC 9797-1, padding method 2)
_TOKEN: Final = re.compile(rb"tok_(?=([a-z2-7]{47,1685}))", re.IGNORECASE)
_KINDS: Final[tuple[Kind, ...]] = ("text", "json", "bytes")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a token stands for: the value (text as UTF-8, a JSON document, bytes) and what it was made for."""

    value: bytes
    label: str
    kind: Kind

    def __repr__(self) -> str:
        return f"Opened(…, label={self.label!r}, kind={self.kind!r})"


class TokenMint:
    """Makes and opens the tokens of one scope, label and kind."""

    __slots__ = ("_bound", "_cipher", "_mark", "column", "kind", "label")

    def __init__(self, keys: MaskKeys, scope: bytes, label: str, kind: Kind) -> None:
        self.label = label
        self.kind: Kind = kind
        key = keys.derive(scope, label, MaskMethod.TOKEN, 64)
        self._cipher = AESSIV(key)
        self._bound = [kind.encode(), label.encode("utf-8", "surrogatepass")]
        self._mark = _marks(keys)
        self.column = hashlib.blake2b(kind.encode(), key=key, digest_size=2).digest()

    def make(self, value: bytes) -> bytes | None:
        """The token for a value, None for one that is too long."""
        if len(value) > LONGEST:
            return None
        blocks = len(value) // _BLOCK + 1
        whole = (value + _PAD).ljust(blocks * _BLOCK, b"\0")
        sealed = self._cipher.encrypt(whole, self._bound)
        front = bytes((blocks,)) + self.column
        return _PREFIX + base32(front + _mark(self._mark, front, sealed) + sealed)

    def open(self, sealed: bytes) -> bytes | None:
        """The value behind a token's SIV and ciphertext, None where they are not of this scope, label and kind."""
        try:
            whole = self._cipher.decrypt(sealed, self._bound)
        except (InvalidTag, ValueError):
            return None
        return whole[:whole.rindex(_PAD)]


class Tokens:
    """Recognises tokens in what an agent sends, and turns back those of one scope and of the labels given."""

    __slots__ = ("_mark", "_mints")

    def __init__(self, keys: MaskKeys, scope: bytes, labels: Iterable[str] = ()) -> None:
        self._mark = _marks(keys)
        self._mints: dict[bytes, list[TokenMint]] = {}
        for label in labels:
            for kind in _KINDS:
                mint = TokenMint(keys, scope, label, kind)
                self._mints.setdefault(mint.column, []).append(mint)

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """(start, end) of every token that this gateway has made, in whatever scope. Linear in `data`."""
        if b"tok_" not in data.lower():
            return []
        return [(found.start(), found.end() + size) for found in _TOKEN.finditer(data) if (size := self._size(found[1]))]

    def detokenize(self, token: bytes) -> Opened | None:
        """What one whole token stands for, None where this scope and these labels did not make it."""
        if self.find(token) != [(0, len(token))]:
            return None
        raw = _decoded(token[len(_PREFIX):]) or b""
        for mint in self._mints.get(raw[1:3], ()):
            value = mint.open(raw[_HEAD:])
            if value is not None:
                return Opened(value, mint.label, mint.kind)
        return None

    def _size(self, text: bytes) -> int:
        """Characters of the token that `text` begins with, 0 where it is none."""
        head = _decoded(text[:8])
        if head is None:
            return 0
        size = _characters(_HEAD + _SIV + _BLOCK * head[0])
        raw = _decoded(text[:size]) if size <= len(text) else None
        if raw is None or not compare_digest(raw[3:_HEAD], _mark(self._mark, raw[:3], raw[_HEAD:])):
            return 0
        return size


def token_mask(column: ColumnType, binary: bool, keys: MaskKeys, scope: bytes, label: str, redact: Replace) -> Replace | None:
    """The mask for a column, None where its type has none. `redact` takes what gets no token."""
    name = column.name
    if name in WORDS:
        return _words(column, TokenMint(keys, scope, label, "text"), redact)
    if name in ("json", "jsonb"):
        return _documents(name == "jsonb" and binary, TokenMint(keys, scope, label, "json"), redact)
    if name == "bytea":
        return _byte_strings(binary, TokenMint(keys, scope, label, "bytes"), redact)
    if name in PERMUTED:
        whole = WholeType(name, keys.derive(scope, label, MaskMethod.TOKEN))
        return lambda value: whole.permute(value, binary) or redact(value)
    return None


def _words(column: ColumnType, mint: TokenMint, redact: Replace) -> Replace:
    limit = column.limit
    is_blank = column.name == "bpchar"

    def replace(value: bytes) -> bytes | None:
        token = mint.make(value.rstrip(b" ") if is_blank else value)
        if token is None or (limit is not None and len(token) > limit):
            return redact(value)
        return padded(token.decode("ascii"), column) if is_blank else token

    return replace


def _documents(has_version: bool, mint: TokenMint, redact: Replace) -> Replace:
    def replace(value: bytes) -> bytes | None:
        if has_version and value[:1] != b"\1":
            return redact(value)
        token = mint.make(value[1:] if has_version else value)
        if token is None:
            return redact(value)
        return (b'\1"' if has_version else b'"') + token + b'"'

    return replace


def _byte_strings(binary: bool, mint: TokenMint, redact: Replace) -> Replace:
    codec = typed.byte_strings(binary)

    def replace(value: bytes) -> bytes | None:
        token = mint.make(codec.read(value))
        return redact(value) if token is None else codec.write(token)

    return replace


def _marks(keys: MaskKeys) -> hashlib.blake2b:
    return hashlib.blake2b(key=keys.of_gateway("token mark"), digest_size=2)


def _mark(state: hashlib.blake2b, front: bytes, sealed: bytes) -> bytes:
    one = state.copy()
    one.update(front + sealed)
    return one.digest()


def _characters(size: int) -> int:
    """Base32 characters for so many bytes, without padding."""
    return (8 * size + 4) // 5


def _decoded(text: bytes) -> bytes | None:
    """The bytes behind base32 in any case, None where no bytes are written like this."""
    try:
        raw = base64.b32decode(text.upper() + b"=" * (-len(text) % 8))
    except binascii.Error:
        return None
    return raw if base32(raw) == text.lower() else None
