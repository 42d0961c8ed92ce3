"""The search finds a value in every form in which it can come back, and finds nothing where it is not."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib

import pytest

from lockgate.leaktest.traces import LEAST, Search
from lockgate.wire.leaktest import Canary, Delivery

VALUE = "29105-34-88641"
NUMBER = 291053488641
OTHER = "17550-62-90012"
SEARCH = Search([Canary("first", VALUE), Canary("second", OTHER)])


def row(*cells: bytes | None) -> tuple[bytes | None, ...]:
    return cells


def delivery(*rows: tuple[bytes | None, ...], body: bytes = b"") -> Delivery:
    """Rows as the client cut them, and their bytes as they came."""
    messages = [(ord("D"), b"".join(struct.pack("!i", len(cell or b"")) + (cell or b"") for cell in cells)) for cells in rows]
    return Delivery((*messages, (ord("N"), body)), tuple(rows))


RAW = VALUE.encode()
FORMS = {
    "as it is": delivery(row(b"id", b"x " + RAW + b" y")),
    "in an error": delivery(body=b'MKey (ssn)=(' + RAW + b") already exists\0"),
    "upper case of a text": Delivery(((ord("D"), b"ABC-XYZ-QRS"),), ()),
    "reversed": delivery(row(RAW[::-1])),
    "base64": delivery(row(base64.b64encode(RAW))),
    "base64 behind one byte": delivery(row(base64.b64encode(b"?" + RAW + b"tail"))),
    "base64 behind two bytes": delivery(row(base64.b64encode(b"??" + RAW + b"t"))),
    "hexadecimal": delivery(row(b"\\x" + RAW.hex().encode())),
    "hexadecimal with blanks": delivery(row(RAW.hex(" ").encode())),
    "octal": delivery(row("".join(f"\\{byte:03o}" for byte in RAW).encode())),
    "bits": delivery(row("".join(f"{byte:08b}" for byte in RAW).encode())),
    "md5": delivery(row(hashlib.md5(RAW).hexdigest().encode())),
    "sha256 in bytes": delivery(row(hashlib.sha256(RAW).digest())),
    "sha512 in base64": delivery(row(base64.b64encode(hashlib.sha512(RAW).digest()))),
    "crc32": delivery(row(str(zlib.crc32(RAW)).encode())),
    "percent-encoded": delivery(row("".join(f"%{byte:02X}" for byte in RAW).encode())),
    "UTF-16": delivery(row(VALUE.encode("utf-16-le"))),
    "in two columns": delivery(row(RAW[:6], RAW[6:])),
    "a character a column": delivery(row(*(bytes((byte,)) for byte in RAW))),
    "a character a row": delivery(*(row(bytes((byte,))) for byte in RAW)),
    "a character a row, backwards": delivery(*(row(bytes((byte,))) for byte in reversed(RAW))),
    "a character a row beside its place": delivery(*(row(str(at).encode(), bytes((byte,))) for at, byte in enumerate(RAW))),
    "half of it": delivery(row(RAW[:7])),
    "without its dashes": delivery(row(b"29105 34 88641")),
    "as a number": delivery(row(str(NUMBER).encode())),
    "as a number with commas": delivery(row(b"291,053,488,641")),
    "as a number near it": delivery(row(str(NUMBER + 1).encode())),
    "as a binary integer": delivery(row(struct.pack("!q", NUMBER))),
    "as a binary float": delivery(row(struct.pack("!d", float(NUMBER)))),
    "as a binary numeric": delivery(row(struct.pack("!4H", 3, 2, 0, 0) + struct.pack("!3H", 2910, 5348, 8641))),
    "in hexadecimal digits": delivery(row(f"{NUMBER:x}".encode())),
    "character codes in a text": delivery(row(",".join(str(byte) for byte in RAW).encode())),
    "character codes in rows": delivery(*(row(str(byte).encode()) for byte in RAW)),
    "character codes in binary rows": delivery(*(row(struct.pack("!i", byte)) for byte in RAW)),
    "letters for digits": delivery(row(RAW.translate(bytes.maketrans(b"0123456789", b"abcdefghij")))),
    "each digit one up": delivery(row(RAW.translate(bytes.maketrans(b"0123456789", b"1234567890")))),
    "a sum": delivery(row(str(NUMBER + int(OTHER.replace("-", ""))).encode())),
}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_each_form_is_found(form: str) -> None:
    """A value is found in this form, whatever message it comes in."""
    search = Search([Canary("word", "abc-xyz-qrs")]) if form.startswith("upper") else SEARCH
    assert search.found(FORMS[form]) != []


@pytest.mark.parametrize("clean", [
    delivery(), delivery(row(b"1", b"ann", b"xxxx", None)), delivery(row(b"xxxx8641")), delivery(row(b"219-09-9999")),
    delivery(*(row(str(number).encode(), struct.pack("!q", number)) for number in range(300))),
    delivery(body=b"C22P02\0Minvalid text representation\0"), delivery(row(b"0", struct.pack("!q", 0), b"")),
], ids=["nothing", "masks", "the last four", "another value", "small numbers", "an error", "zeros"])
def test_nothing_is_found_where_nothing_is(clean: Delivery) -> None:
    """Masks, other values, small numbers and error texts are no traces."""
    assert SEARCH.found(clean) == []


def test_a_form_of_the_backend_counts_as_a_whole_cell() -> None:
    """A cell that is what the backend makes of the canary is a trace; the same bytes inside of another cell are chance."""
    search = Search([Canary("typed", "", frozenset((b"\x00\x00\x7c\x6a", b"2087-03-14")))])
    assert search.found(delivery(row(b"\x00\x00\x7c\x6a")))
    assert search.found(delivery(row(b'"2087-03-14"')))
    assert not search.found(delivery(row(b"a\x00\x00\x7c\x6ab")))


def test_short_forms_are_not_looked_for() -> None:
    """What comes back by chance proves nothing."""
    assert all(len(form.text) >= min(LEAST, 4) for form in Search([Canary("short", "abcdef")]).forms)
    assert not Search([Canary("short", "abcdef")]).found(delivery(row(b"abc"), row(b"x"), row(b"def")))
