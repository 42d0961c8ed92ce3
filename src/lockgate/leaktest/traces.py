"""The forms in which a value can leave and still be the value, and the search for them.

Apart from `campaign` because it is pure: canaries and a `Delivery` in, names of forms out. Four views of what
came back are searched: every message as it is; the cells of the rows put together, along the rows, down the
columns and backwards (for a value that comes in pieces); only the letters and digits (for a value with
something in between); and the numbers (for character codes). A form that is too short to be a trace of
anything is not looked for; `LEAST` is the bound.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lockgate.wire.leaktest import Canary, Delivery

LEAST: Final = 5
"""Bytes: what is shorter comes back by chance."""
_DIGESTS: Final = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_SPACERS: Final = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalnum())
_NUMBER: Final = re.compile(rb"\d+")
_LETTERS: Final = bytes.maketrans(b"0123456789", b"abcdefghij")
_SHIFTED: Final = bytes.maketrans(b"0123456789", b"1234567890")
_MOST_CELLS: Final = 20_000
_INTEGERS: Final = (2, 4, 8)     # bytes of a binary integer


@dataclass(frozen=True, slots=True)
class Form:
    """One form: looked for in the views that `where` names."""

    name: str
    text: bytes
    where: str      # "any": everywhere, letters' case aside; "bytes": as it is; "squeezed"; "cell"; "codes"


class Search:
    """All forms of some canaries."""

    def __init__(self, canaries: Sequence[Canary]) -> None:
        forms: dict[tuple[bytes, str], Form] = {}
        for canary in canaries:
            texts = (*_text_forms(canary.text), *_number_forms(canary.text)) if canary.text else ()
            for form in (*texts, *_exact_forms(canary)):
                if len(form.text) >= LEAST or (form.where == "cell" and len(form.text) >= 4):
                    forms.setdefault((form.text, form.where), form)
        for form in _sums([canary.text for canary in canaries]):
            forms.setdefault((form.text, form.where), form)
        self.forms = tuple(forms.values())
        self._cells = {form.text: form for form in self.forms if form.where == "cell"}

    def found(self, delivery: Delivery) -> list[str]:
        """Names of the forms that are in it, each once, the plainest first."""
        whole = b"\n".join(body for _, body in delivery.messages)
        pieced = b"\n".join(_pieced(delivery.rows))
        views = {
            "any": (whole + b"\n" + pieced).lower(), "bytes": whole + b"\n" + pieced,
            "squeezed": whole.translate(None, _SPACERS).lower() + b"\n" + pieced.translate(None, _SPACERS).lower(),
            "codes": _codes(whole, delivery.rows),
        }
        names = [form.name for form in self.forms if form.where in views and form.text in views[form.where]]
        for row in delivery.rows:
            names += [self._cells[cell].name for cell in row if cell in self._cells]
        return list(dict.fromkeys(names))


def _pieced(rows: Sequence[tuple[bytes | None, ...]]) -> Iterator[bytes]:
    """Cells put together: along each row, row after row, down each column, and the last two backwards."""
    rows = rows[:_MOST_CELLS]
    if not rows:
        return
    joined = [b"".join(cell or b"" for cell in row) for row in rows]
    yield b"\n".join(joined)
    if len(rows) > 1:
        yield b"".join(joined)
        yield b"".join(reversed(joined))
        for column in range(max(map(len, rows))):
            cells = [(row[column] if column < len(row) else None) or b"" for row in rows]
            yield b"".join(cells)
            yield b"".join(reversed(cells))


def _codes(whole: bytes, rows: Sequence[tuple[bytes | None, ...]]) -> bytes:
    """The numbers of the messages and of each column in their order, as the bytes whose codes they are."""
    lines = [[int(word) for word in _NUMBER.findall(whole) if len(word) <= 3]]
    for column in range(max(map(len, rows), default=0)):
        cells = [row[column] for row in rows[:_MOST_CELLS] if column < len(row)]
        lines.append([int.from_bytes(cell, "big", signed=True) for cell in cells if cell is not None and len(cell) in _INTEGERS])
        lines.append([int(cell) for cell in cells if cell is not None and len(cell) <= 3 and cell.isdigit()])
    found = [bytes(number for number in line if 0 < number < 256) for line in lines]
    return b"\n".join([*found, *(line[::-1] for line in found)])


# ---------------------------------------------------------------- forms of a text


def _text_forms(text: str) -> Iterator[Form]:
    raw = text.encode()
    lower = raw.lower()
    bare = lower.translate(None, _SPACERS)
    yield Form("as it is", lower, "any")
    yield Form("reversed", lower[::-1], "any")
    yield Form("without what is no letter or digit", bare, "squeezed")
    yield Form("reversed, without what is no letter or digit", bare[::-1], "squeezed")
    half = len(raw) // 2
    if half > LEAST:
        yield Form("its first half", lower[:half], "any")
        yield Form("its second half", lower[half:], "any")
        yield Form("a half, reversed", lower[:half][::-1], "any")
        yield Form("a half, reversed", lower[half:][::-1], "any")
    yield from _encoded(raw)
    yield from _hashed(raw)
    yield Form("character codes", raw, "codes")
    yield Form("each byte in hexadecimal", raw.hex().encode(), "squeezed")
    yield Form("each byte in octal", b"".join(b"%03o" % byte for byte in raw), "squeezed")
    yield Form("each bit", b"".join(b"%d%d%d%d%d%d%d%d" % tuple(byte >> bit & 1 for bit in range(7, -1, -1))
                                    for byte in raw), "squeezed")
    yield Form("JSON escapes", b"".join(b"u%04x" % ord(char) for char in text if ord(char) < 65536), "squeezed")
    if bare.isdigit():
        yield Form("digits as letters", bare.translate(_LETTERS), "squeezed")
        yield Form("digits shifted by one", bare.translate(_SHIFTED), "squeezed")


def _encoded(raw: bytes) -> Iterator[Form]:
    for shift in range(3):                  # of a text that stands somewhere in what was encoded
        whole = base64.b64encode(b"\0" * shift + raw)
        kept = whole[-(-8 * shift // 6):8 * (shift + len(raw)) // 6]       # the characters that depend on it alone
        if len(kept) >= 8:
            yield Form("base64", kept, "bytes")
            yield Form("base64, its first half", kept[:max(8, len(kept) // 2)], "bytes")
    text = raw.decode()
    yield Form("UTF-16", text.encode("utf-16-le"), "bytes")
    yield Form("UTF-16", text.encode("utf-16-be"), "bytes")
    yield Form("UTF-32", text.encode("utf-32-be"), "bytes")
    yield Form("percent-encoded", b"".join(b"%%%02x" % byte for byte in raw), "any")


def _hashed(raw: bytes) -> Iterator[Form]:
    for name in _DIGESTS:
        digest = hashlib.new(name, raw, usedforsecurity=False).digest()
        yield Form(name, digest.hex().encode(), "any")
        yield Form(name, digest, "bytes")
        yield Form(name, base64.b64encode(digest)[:20], "bytes")
    yield from _check_sum("crc32", zlib.crc32(raw))
    yield from _check_sum("crc32c", _crc32c(raw))


def _check_sum(name: str, value: int) -> Iterator[Form]:
    yield Form(name, b"%d" % value, "cell")
    yield Form(name, struct.pack("!q", value), "cell")
    yield Form(name, b"%08x" % value, "cell")


def _crc32c(raw: bytes) -> int:
    """Castagnoli's polynomial, reflected (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in raw:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# ---------------------------------------------------------------- forms of a number


def _digits(text: str) -> int | None:
    """The number in a value that is written with digits only, separators aside; None for others."""
    bare = text.encode().translate(None, _SPACERS)
    return int(bare) if bare.isdigit() and 8 <= len(bare) <= 18 else None


def _number_forms(text: str) -> Iterator[Form]:
    number = _digits(text)
    if number is None:
        return
    word = str(number)
    yield Form("as a number", word.encode(), "squeezed")
    yield Form("as a number, reversed", word[::-1].encode(), "squeezed")
    yield Form("the number's first digits", word[:max(8, len(word) - 3)].encode(), "squeezed")
    for near in (number - 1, number + 1, number * 2, number * 10, number // 2):
        yield Form("the number, changed a little", str(near).encode(), "squeezed")
    yield Form("the number in hexadecimal", b"%x" % number, "squeezed")
    yield Form("the number in octal", b"%o" % number, "squeezed")
    yield Form("the number in binary digits", f"{number:b}".encode(), "squeezed")
    yield Form("int8", struct.pack("!q", number), "bytes")
    yield Form("int8", struct.pack("!q", -number), "bytes")
    yield Form("float8", struct.pack("!d", float(number)), "bytes")
    yield Form("numeric", _base_10000(number), "bytes")
    for root in (math.sqrt(number), math.log(number), math.log10(number), number ** (1 / 3)):
        yield Form("a function of the number", f"{root:.12g}"[:12].encode(), "any")
    yield Form("its low half", b"%d" % (number & 0xFFFFFFFF), "cell")


def _base_10000(number: int) -> bytes:
    """The digits of PostgreSQL's binary numeric and of others that store four decimal digits in two bytes."""
    digits = []
    while number:
        number, digit = divmod(number, 10_000)
        digits.append(struct.pack("!H", digit))
    return b"".join(reversed(digits))


def _sums(texts: Iterable[str]) -> Iterator[Form]:
    numbers = [number for number in map(_digits, texts) if number is not None]
    for at, one in enumerate(numbers):
        for other in numbers[at + 1:]:
            if one != other:
                for name, value in (("sum", one + other), ("mean", (one + other) // 2), ("difference", abs(one - other))):
                    if value > 10_000_000:
                        yield Form(f"a {name} of two", str(value).encode(), "squeezed")
                        yield Form(f"a {name} of two", _base_10000(value), "bytes")


def _exact_forms(canary: Canary) -> Iterator[Form]:
    for cell in sorted(canary.exact):
        yield Form("as the backend writes it", cell, "cell")
        if len(cell) >= 8:
            yield Form("as the backend writes it", cell, "bytes")
