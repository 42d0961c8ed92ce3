"""Masks that come back: whether a value that an agent sends is one that it was shown instead of data.

Agents write what they have read, so a mask in a request is about to take the place of what it stands for. Apart from
the masks themselves because it looks at the words only: the forms of every method, whatever column or key they are of.
The value as a whole has to look like one; inside JSON each string; a token is found anywhere in a value.
"""

from __future__ import annotations

import re

from lockgate.govern.masking.tokens import Tokens

_WHOLE = re.compile(
    rb"(?:"
    rb"xxxx(?:.{1,16})?"                        # redact; partial: the last four characters
    rb"|.{1,4}xxx@\S+"                          # partial of an e-mail: one character and the domain
    rb"|h_[0-9a-f]{8,32} *"                     # hash
    rb"|x[x -]{6,22}[0-9]{4}"                   # partial of a card number
    rb"|[\x21-\x7e]{2,12}xxxx"                  # partial of a key or token: its public prefix
    rb")", re.DOTALL)
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
_LONGEST = 64
"""Bytes of the longest of these forms, but for e-mails."""


def is_mask(value: bytes, tokens: Tokens | None) -> bool:
    """Whether a value is a mask, is JSON that holds one as a string, or holds a token anywhere."""
    if b"xxx" not in value and b"h_" not in value and b"tok_" not in value.lower():
        return False
    if _is_one(value) or (tokens is not None and tokens.find(value)):
        return True
    start = 1 if value[:1] == b"\1" else 0          # jsonb in binary begins with its version
    return value[start:start + 1] in (b"{", b"[", b'"') and any(_is_one(found[1]) for found in _STRING.finditer(value))


def _is_one(value: bytes) -> bool:
    return (len(value) <= _LONGEST or b"xxx@" in value[:8]) and _WHOLE.fullmatch(value) is not None
