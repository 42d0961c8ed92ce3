"""Format-preserving encryption of values: digits stay digits and letters letters, whatever stands between them stays.

Apart from `ff1`, which encrypts numbers: here a value becomes a number below the count of all values of its shape, and
the number's image becomes a value again. It can be turned back with the key. What is *not* hidden is the shape: the
length, the case of letters, and every mark between them.

- texts: ASCII digits, small and capital letters each among their own; a card number that has a valid check digit gets
  one again. A text with letters outside ASCII is redacted, for such a letter would stay.
- int2, int4, int8, oid, numeric: sign, number of digits and scale stay, the type's range is respected.
- uuid: the hexadecimal digits, but for those that hold version and variant.

A value whose shape has fewer than a million values is redacted (SP 800-38G Rev. 1), and so are other types.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from lockgate.analysis.sql.masks import TEXTUAL
from lockgate.govern.masking import typed_values as typed
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.ff1 import Permutation
from lockgate.govern.masking.redaction import Replace
from lockgate.govern.masking.typed_values import INTEGERS, Number
from lockgate.govern.masking.validators import NOT_DIGITS, luhn

LONGEST: Final = 512
"""Characters of a text that is encrypted: the work grows with the square."""

_CLASS: Final = {first + at: (first, size) for first, size in ((ord("0"), 10), (ord("A"), 26), (ord("a"), 26))
                 for at in range(size)}
_PLAIN: Final = re.compile(rb"[\t\n\r\x20-\x7e]*")
_CARD: Final = re.compile(rb"[0-9](?:[ -]?[0-9]){12,18}")

Change = Callable[[int, int], int]
"""Number and size of its domain → number: `Permutation.permute`, or `restore` to turn a mask back."""


def preserving_mask(column: ColumnType, binary: bool, key: bytes, redact: Replace, *, back: bool = False) -> Replace | None:
    """The mask for a column, None where its type has none; with `back`, what turns its masks back."""
    permutation = Permutation(key)
    change = permutation.restore if back else permutation.permute
    name = column.name
    encrypt: Callable[[bytes], bytes]
    if name in TEXTUAL:
        def encrypt(value: bytes) -> bytes:
            return preserved(value, change)
    elif name in INTEGERS:
        size, signed = INTEGERS[name]
        integers = typed.integers(size, binary, signed=signed)
        highest = (1 << 8 * size - signed) - 1

        def encrypt(value: bytes) -> bytes:
            return integers.write(_integer(integers.read(value), highest, change))
    elif name == "numeric":
        numerics = typed.numerics(binary)

        def encrypt(value: bytes) -> bytes:
            return numerics.write(numeric(numerics.read(value), change))
    elif name == "uuid":
        uuids = typed.uuids(binary)

        def encrypt(value: bytes) -> bytes:
            return uuids.write(_uuid(uuids.read(value), change))
    else:
        return None

    def replace(value: bytes) -> bytes | None:
        try:
            return encrypt(value)
        except ValueError:
            return redact(value)

    return replace


def preserved(value: bytes, change: Change) -> bytes:
    """A text of the same shape. ValueError where it is too long, too small a domain or not plain."""
    if len(value) > LONGEST or _PLAIN.fullmatch(value) is None:
        raise ValueError("not a text whose shape can be kept")
    is_card = _CARD.fullmatch(value) is not None
    checked = len(value) - 1 if is_card and _is_checked(value) else -1      # the check digit follows from the rest
    places = [(at, *_CLASS[byte]) for at, byte in enumerate(value) if byte in _CLASS and at != checked]
    out = _changed(value, places, change)
    if checked >= 0:
        digits = bytes(out).translate(None, NOT_DIGITS)[:-1]
        out[checked] = next(check for check in b"0123456789" if luhn(digits + bytes((check,))))
        return bytes(out)
    while is_card and _is_checked(out):             # keeps to the others, or two values would have one image
        out = _changed(out, places, change)
    return bytes(out)


def _changed(value: bytes | bytearray, places: list[tuple[int, int, int]], change: Change) -> bytearray:
    """The characters at the places are one number, each in the base of its class."""
    number, size = 0, 1
    for at, first, count in places:
        number = number * count + value[at] - first
        size *= count
    number = change(number, size)
    out = bytearray(value)
    for at, first, count in reversed(places):
        number, digit = divmod(number, count)
        out[at] = first + digit
    return out


def _is_checked(value: bytes | bytearray) -> bool:
    return luhn(bytes(value).translate(None, NOT_DIGITS))


def numeric(number: Number, change: Change) -> Number:
    """A number with as many digits on both sides of the point. ValueError where that domain is too small."""
    digits = number.whole + number.fraction
    kept = len(digits) - len(digits.lstrip("0"))
    length = len(digits) - kept
    image = _with_digits(int(digits[kept:] or "0"), length, 10**length - 1, change)
    digits = digits[:kept] + str(image)
    return Number(number.is_negative, digits[:len(number.whole)], digits[len(number.whole):])


def _integer(number: int, highest: int, change: Change) -> int:
    if number < 0:
        return -_with_digits(-number, len(str(-number)), highest + 1, change)
    return _with_digits(number, len(str(number)), highest, change)


def _with_digits(number: int, length: int, highest: int, change: Change) -> int:
    """The image of a number among those of `length` digits up to `highest`."""
    lowest = 10 ** (length - 1) if length else 0
    return lowest + change(number - lowest, min(10**length - 1, highest) - lowest + 1)


def _uuid(raw: bytes, change: Change) -> bytes:
    """Digit 12 is the version, digit 16 holds the variant (RFC 9562, section 4)."""
    digits = raw.hex()
    free = digits[:12] + digits[13:16] + digits[17:]
    image = f"{change(int(free, 16), 16 ** len(free)):0{len(free)}x}"
    return bytes.fromhex(image[:12] + digits[12] + image[12:15] + digits[16] + image[15:])
