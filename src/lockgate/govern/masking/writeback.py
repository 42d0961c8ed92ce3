"""Masks that come back: whether a value that an agent sends is one that it was shown instead of data.

Agents write what they have read, so a mask in a request is about to take the place of what it stands for. Apart from
the masks themselves because it looks at the words only: the forms of every method and detector, whatever column or key
they are of. They are looked for anywhere: masks of content stand inside a text, others in arrays, rows and JSON, in
text and binary. What is short and common is a mask only as a whole value or a whole string of JSON.
"""

from __future__ import annotations

import re

import re2

from lockgate.govern.masking.prefilter import options
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

# As they are, and as JSON may write those beyond ASCII.
_SEPARATORS = r"(?:[ .()/_\t-]|\xc2\xa0|\xe2\x80[\x90-\x93\xaf]|\\u(?:00[aA]0|201[0-3]|202[fF]))"
_ANYWHERE = re2.compile("|".join((
    # Four small x and no fifth: what stands for text, alone or beside what is left of it. Not the `\uxxxx` of manuals;
    # the byte before may be a length, behind a zero.
    r"(?:^|[^xX\\uU]|[^\\][uU]|^[uU]|\x00[xX\\])xxxx(?:[^xX]|$)",
    r"(?:^|[^A-Za-z0-9_])[A-Za-z0-9._%+#~!$*-]xxx@[A-Za-z0-9]",                         # an e-mail
    # Digits of which the last four are left: of 7 and more if these stand together, else of 9 and more.
    rf"(?:^|[^A-Za-z0-9])x(?:{_SEPARATORS}{{0,3}}x){{2,18}}{_SEPARATORS}{{0,3}}[0-9]{{4}}(?:[^A-Za-z0-9]|$)",
    (rf"(?:^|[^A-Za-z0-9])x(?:{_SEPARATORS}{{0,3}}x){{4,18}}{_SEPARATORS}{{0,3}}[0-9](?:{_SEPARATORS}{{0,3}}[0-9]){{1,3}}"
    r"(?:[^A-Za-z0-9]|$)"),
    r"(?:^|[^0-9.])[0-9]{1,3}\.x\.x\.x(?:[^A-Za-z0-9.]|\.[^A-Za-z0-9]|\.?$)",            # an IPv4 address
    r"(?:^|[^A-Za-z0-9_])h_[0-9a-f]{16,32}(?:[^A-Za-z0-9_]|$)",                         # hash
    # A hash that was cut off, in an array or a row.
    r"[{(,]h_[0-9a-f]{8,15} *[,)}]|\x00\x00\x00[\x0a-\x1f]h_[0-9a-f]{8,15} *(?:[\x00\xff]|$)",
)).encode(), options())
_HINTS = re2.compile(rb"xxx|h_[0-9a-f]{8}|[Tt][Oo][Kk]_|\.x|x[^A-Za-z0-9]{1,3}x|\\x", options())
_BYTES = re.compile(rb"\\{1,2}x((?:[0-9a-fA-F]{2})+)")


def is_mask(value: bytes, tokens: Tokens | None) -> bool:
    """Whether a value is a mask, or one or a token stands anywhere in it, be it as the hex of bytes."""
    if _HINTS.search(value) is None:
        return False
    if _holds_one(value, tokens):
        return True
    return any(_holds_one(bytes.fromhex(found[1].decode("ascii")), tokens) for found in _BYTES.finditer(value))


def _holds_one(value: bytes, tokens: Tokens | None) -> bool:
    if _is_one(value) or _ANYWHERE.search(value) is not None or (tokens is not None and tokens.find(value)):
        return True
    start = 1 if value[:1] == b"\1" else 0          # jsonb in binary begins with its version
    return value[start:].lstrip()[:1] in (b"{", b"[", b'"') and any(_is_one(found[1]) for found in _STRING.finditer(value))


def _is_one(value: bytes) -> bool:
    return (len(value) <= _LONGEST or b"xxx@" in value[:8]) and _WHOLE.fullmatch(value) is not None
