"""Base32 in small letters without padding (RFC 4648, section 6): how a token is written.

Apart from the standard library's, which works through Python integers: this is most of what making a token costs.
Plain typed Python that mypyc compiles.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz234567"


def base32(raw: bytes) -> bytes:
    """The bytes as letters, the last ones filled up with zero bits."""
    letters = _LETTERS
    found: list[int] = []
    held: i64 = 0
    bits: i64 = 0
    at: i64 = 0
    size: i64 = len(raw)
    while at < size:
        byte: i64 = raw[at]
        held = ((held << 8) | byte) & 0xFFFF
        bits += 8
        while bits >= 5:
            bits -= 5
            found.append(letters[(held >> bits) & 31])
        at += 1
    if bits > 0:
        found.append(letters[(held << (5 - bits)) & 31])
    return bytes(found)
