"""What hypothesis makes: values that detectors accept, and result rows around them."""

from __future__ import annotations

import json
import re
import struct

from hypothesis import strategies as st

from lockgate.govern.masking import credentials, payment, personal
from lockgate.govern.masking.detector import Pattern
from lockgate.govern.masking.detectors import DETECTORS
from lockgate.govern.masking.validators import luhn

Row = list[bytes | None]

_CARD_SHAPES = (
    ("4", 13), ("4", 16), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15),
    ("300", 14), ("36", 14), ("38", 14), ("6011", 16), ("644", 16), ("65", 16), ("3528", 16), ("3589", 16), ("62", 16),
    ("5018", 16), ("6759", 16),
)  # fmt: skip


@st.composite
def cards(draw: st.DrawFn, marks_beyond_ascii: tuple[str, ...] = ()) -> bytes:
    prefix, length = draw(st.sampled_from(_CARD_SHAPES))
    digits = prefix + draw(st.text("0123456789", min_size=length - len(prefix) - 1, max_size=length - len(prefix) - 1))
    digits += next(check for check in "0123456789" if luhn((digits + check).encode()))
    marks = draw(st.lists(st.sampled_from(["", "", "", " ", "-", *marks_beyond_ascii]), min_size=length, max_size=length))
    return "".join(
        digit + (mark if at + 1 < length else "") for at, (digit, mark) in enumerate(zip(digits, marks, strict=True))
    ).encode()


@st.composite
def ibans(draw: st.DrawFn) -> bytes:
    country = draw(st.sampled_from(sorted(payment._IBAN_LENGTHS)))
    size = payment._IBAN_LENGTHS[country] - 4
    rest = draw(st.text("0123456789ABCXYZ", min_size=size, max_size=size))
    number = int("".join(str(int(letter, 36)) for letter in rest + country + "00"))
    whole = f"{country}{98 - number % 97:02d}{rest}"
    mark = draw(st.sampled_from(["", " ", "-", "\u202f", "\u2011"]))
    whole = draw(st.sampled_from([whole, whole.lower()]))
    return mark.join(whole[at : at + 4] for at in range(0, len(whole), 4)).encode()


def _by(pattern: re.Pattern[bytes]) -> st.SearchStrategy[bytes]:
    return st.from_regex(pattern)


_ALNUM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@st.composite
def random_assignments(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from(["token", "x_key", "AppSecretSalt", "session", "v1.auth", "blob"]))
    size = draw(st.integers(20, 48))
    value = draw(st.text(_ALNUM + "-_+/", min_size=size, max_size=size))
    quote = draw(st.sampled_from(["", '"', "'"]))
    sign = draw(st.sampled_from(["=", ":", " = ", ": ", " => ", ":="]))
    return f"{name}{sign}{quote}{value}{quote}".encode()


@st.composite
def ipv6s(draw: st.DrawFn) -> bytes:
    groups = draw(st.lists(st.text("0123456789abcdefABCDEF", min_size=1, max_size=4), min_size=8, max_size=8))
    cut = draw(st.integers(0, 7))
    width = draw(st.integers(0, 8 - cut))
    whole = ":".join(groups) if width == 0 else ":".join(groups[:cut]) + "::" + ":".join(groups[cut + width :])
    return (whole + draw(st.sampled_from(["", "/64", "%eth0", "%eth0/64"]))).encode()


@st.composite
def named_numbers(draw: st.DrawFn, names: tuple[str, ...], least: int, most: int) -> bytes:
    name = draw(st.sampled_from(names))
    tail = draw(st.sampled_from(["", " number", " no.", "_number", " is", " number is"]))
    sign = draw(st.sampled_from(["", ":", "=", ": ", " = ", " #", '": "', "='", '":"']))
    digits = draw(st.text("0123456789", min_size=least, max_size=most))
    return f"{name}{tail}{sign}{digits}".encode()


_SECRET = _ALNUM + "!$%^*-_+./"


@st.composite
def passwords(draw: st.DrawFn) -> bytes:
    secret = draw(st.text(_SECRET + "é", min_size=3, max_size=20))
    form = draw(
        st.sampled_from(
            [
                "password={}",
                "DB_PASSWD: '{}'",
                '"client-secret": "{}"',
                "pwd := {}",
                "api_key=>{}",
                "x_access_token_v1 = {}",
                "ALTER ROLE a PASSWORD '{}'",
                "user a identified by '{}'",
                "x --password {}",
                "--token {}",
                "--api-key {}",
                "Authorization: Bearer {0}{0}{0}{0}{0}{0}",
                "Proxy: basic {0}{0}{0}{0}{0}{0}",
                "postgres://app:{}@db",
                "redis://:{}@h",
                "a+b://u:{}@h/x",
            ]
        )
    )
    return form.format(secret).encode()


@st.composite
def phones(draw: st.DrawFn) -> bytes:
    form = draw(
        st.sampled_from(
            [
                "+# ## #######",
                "+### (##) ### ## ##",
                "+#/#######",
                "00## ## #######",
                "011 ## ###-####",
                "###-###-####",
                "(###)###-####",
                "(###) ### ####",
                "###.###.####",
                "### ### ####",
                "#-###-###-####",
                "91 ###-###-####",
                "0## #######",
                "0 (###) #######",
                "0###/######",
                "090-####-####",
                "0##########",
                "0# ## ## ## ##",
                "0#-#######",
                "tel ### ####",
                "Phone: #######",
                "mobile number #######",
            ]
        )
    )
    return "".join(draw(st.sampled_from("0123456789")) if mark == "#" else mark for mark in form).encode()


def accepted(name: str) -> st.SearchStrategy[bytes]:
    """Values in which the precise half of the detector finds something."""
    found = DETECTORS[name]
    made = {
        "credit_card": cards(("\u00a0", "\u2013")) | named_numbers(("card", "Credit Card", "PAN", "cc"), 13, 19),
        "iban": ibans(),
        "ssn": _by(personal._SSN_FORM.compiled) | named_numbers(("ssn", "Social Security", "SSN"), 9, 9),
        "phone": phones() | named_numbers(("tel", "Phone", "mobile", "fax"), 7, 15),
        "ipv6": ipv6s(),
        "aws_key": _by(credentials._aws_ids.compiled)
        | _by(credentials._aws_secrets.compiled)
        | _by(credentials._aws_others.compiled),
        "password_assignment": passwords(),
        "high_entropy": random_assignments(),
    }
    if isinstance(found.find, Pattern) and name not in made:
        made[name] = _by(found.find.compiled)
    return made[name].filter(lambda value: bool(found.find(value)))


def as_json(text: bytes, plain: bool) -> bytes:
    """A JSON document with the text in a member, and a member that is found by its name."""
    return json.dumps({"a": text.decode("utf-8", "replace"), "phone": "5552671"}, ensure_ascii=plain).encode(
        "utf-8", "replace"
    )


def as_array(text: bytes) -> bytes:
    """A text array with the text, NULL and another."""
    return b'{"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'",NULL,a}'


def as_octal(text: bytes) -> bytes:
    """Bytes in the older text format of bytea."""
    return b"".join(bytes((byte,)) if 32 <= byte < 127 and byte != 92 else b"\\%03o" % byte for byte in text)


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
