"""What hypothesis makes: values that detectors accept, and result rows around them."""

from __future__ import annotations

import re
import struct

from hypothesis import strategies as st

from lockgate.govern.masking import detectors
from lockgate.govern.masking.detectors import DETECTORS, Pattern, luhn

Row = list[bytes | None]

_CARD_SHAPES = (
    ("4", 13), ("4", 16), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15),
    ("300", 14), ("36", 14), ("38", 14), ("6011", 16), ("644", 16), ("65", 16), ("3528", 16), ("3589", 16), ("62", 16),
    ("5018", 16), ("6759", 16),
)  # fmt: skip


@st.composite
def cards(draw: st.DrawFn) -> bytes:
    prefix, length = draw(st.sampled_from(_CARD_SHAPES))
    digits = prefix + draw(st.text("0123456789", min_size=length - len(prefix) - 1, max_size=length - len(prefix) - 1))
    digits += next(check for check in "0123456789" if luhn((digits + check).encode()))
    marks = draw(st.lists(st.sampled_from(["", "", "", " ", "-"]), min_size=length, max_size=length))
    return "".join(digit + (mark if at + 1 < length else "") for at, (digit, mark) in
                   enumerate(zip(digits, marks, strict=True))).encode()


@st.composite
def ibans(draw: st.DrawFn) -> bytes:
    country = draw(st.sampled_from(sorted(detectors._IBAN_LENGTHS)))
    size = detectors._IBAN_LENGTHS[country] - 4
    rest = draw(st.text("0123456789ABCXYZ", min_size=size, max_size=size))
    number = int("".join(str(int(letter, 36)) for letter in rest + country + "00"))
    whole = f"{country}{98 - number % 97:02d}{rest}"
    mark = draw(st.sampled_from(["", " ", "-"]))
    return mark.join(whole[at : at + 4] for at in range(0, len(whole), 4)).encode()


def _by(pattern: re.Pattern[bytes]) -> st.SearchStrategy[bytes]:
    return st.from_regex(pattern)


def accepted(name: str) -> st.SearchStrategy[bytes]:
    """Values in which the precise half of the detector finds something."""
    found = DETECTORS[name]
    made = {
        "credit_card": cards(),
        "iban": ibans(),
        "aws_key": _by(detectors._aws_ids.compiled) | _by(detectors._aws_secrets.compiled),
        "password_assignment": _by(detectors._PASSWORD) | _by(detectors._URL_PASSWORD),
    }
    if isinstance(found.find, Pattern):
        made[name] = _by(found.find.compiled)
    return made[name].filter(lambda value: bool(found.find(value)))


def row_body(row: Row) -> bytes:
    parts = [b"\xff\xff\xff\xff" if item is None else struct.pack("!I", len(item)) + item for item in row]
    return struct.pack("!H", len(row)) + b"".join(parts)


def framed(data: bytes, kind: str = "D") -> bytes:
    return kind.encode() + struct.pack("!I", len(data) + 4) + data


def stream(rows: list[Row]) -> bytes:
    return b"".join(framed(row_body(row)) for row in rows)


def read_rows(data: bytes) -> list[Row]:
    """A second, plain reading of row frames: everything must add up."""
    rows: list[Row] = []
    while data:
        (length,) = struct.unpack_from("!I", data, 1)
        body, data = data[5 : 1 + length], data[1 + length :]
        assert len(body) == length - 4
        (count,) = struct.unpack_from("!H", body)
        body = body[2:]
        row: Row = []
        for _ in range(count):
            (size,) = struct.unpack_from("!i", body)
            assert -1 <= size <= len(body) - 4
            row.append(None if size < 0 else body[4 : 4 + size])
            body = body[4 + max(size, 0) :]
        assert body == b""
        rows.append(row)
    return rows
