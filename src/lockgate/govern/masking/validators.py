"""Validators: arithmetic and rules that tell a number of a kind from any number.

A detector runs one on what its pattern found; a policy's own detectors name them (`VALIDATORS`).
All take the found bytes, separators included, and never raise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
NOT_DIGITS = bytes(byte for byte in range(256) if not 48 <= byte <= 57)
_SEPARATORS = b" -./"
_LONGEST_CHECKED = 256
"""Characters of what `mod97` takes: an IBAN has at most 34, and Python reads no number of some thousand digits."""

# Issuer prefixes and exact lengths (ISO/IEC 7812; the networks' published ranges).
_ISSUERS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("4", (13, 16, 19)),                                                                      # Visa
    ("5[1-5]|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)", (16,)),                  # Mastercard
    ("3[47]", (15,)),                                                                         # American Express
    ("3(?:0[0-59]|[689])", (14,)),                                                            # Diners Club
    ("35(?:2[89]|[3-8])", (16,)),                                                             # JCB
    ("6(?:011|4[4-9]|5)", (16,)),                                                             # Discover
    ("62", (16, 17, 18, 19)),                                                                 # UnionPay
    ("501[89]|5020|5038|5893|6304|6759|676[1-3]", (13, 14, 15, 16, 17, 18, 19)),              # Maestro, Dankort
    ("220[0-4]|9792|508|60|8[12]", (16,)),                                                    # Mir, Troy, RuPay
)
_PREFIX = re.compile("|".join(f"({prefix})" for prefix, _ in _ISSUERS).encode("ascii"))
_LENGTHS = ((), *(lengths for _, lengths in _ISSUERS))


def luhn(found: bytes) -> bool:
    """The check digit of ISO/IEC 7812-1, annex B, over the ASCII digits of `found`."""
    digits = found if found.isdigit() else found.translate(None, NOT_DIGITS)
    ordinary = digits[-1::-2]
    doubled = digits[-2::-2].translate(_DOUBLED)
    return len(digits) > 1 and (sum(ordinary) - 48 * len(ordinary) + sum(doubled)) % 10 == 0


def issued_lengths(digits: bytes, at: int = 0) -> tuple[int, ...]:
    """The lengths that a card number which begins at `at` may have by its issuer; none for no issuer."""
    found = _PREFIX.match(digits, at)
    return () if found is None else _LENGTHS[found.lastindex or 0]


def is_card(digits: bytes) -> bool:
    """Whether the bare digits have an issuer's prefix, its exact length and a valid check digit.

    Luhn alone accepts one in ten random numbers; with prefix and length about 2 in 100 of random
    16-digit ids. A 13-digit number that is a valid EAN is taken for an article: German and Japanese
    articles begin with 4 like Visa's old numbers.
    """
    if len(digits) not in issued_lengths(digits) or not luhn(digits):
        return False
    return len(digits) != 13 or (sum(digits[-1::-2]) - 48 * 7 + 3 * (sum(digits[-2::-2]) - 48 * 6)) % 10 != 0


def card(found: bytes) -> bool:
    """`is_card` over the digits of `found`."""
    return is_card(found.translate(None, NOT_DIGITS))


def mod97(found: bytes) -> bool:
    """ISO 7064 MOD 97-10 as ISO 13616 uses it: the first four characters moved to the end, letters as 10 to 35."""
    bare = found.translate(None, _SEPARATORS)
    if not 5 <= len(bare) <= _LONGEST_CHECKED or not bare.isalnum() or not bare.isascii():
        return False
    turned = (bare[4:] + bare[:4]).decode("ascii")
    return int("".join(str(int(letter, 36)) for letter in turned)) % 97 == 1


def ssn(found: bytes) -> bool:
    """Areas 000, 666 and 900-999, group 00 and serial 0000 were never issued (SSA, POMS RM 10201)."""
    digits = found.translate(None, NOT_DIGITS)
    return (
        len(digits) == 9 and digits[:3] not in (b"000", b"666") and digits[:1] != b"9"
        and digits[3:5] != b"00" and digits[5:] != b"0000"
    )


def entropy_of(found: bytes) -> float:
    """Shannon entropy in bits per byte of the bytes' own distribution; 0 for nothing."""
    size = len(found)
    counts = [found.count(byte) for byte in set(found)]
    return math.log2(size) - sum(count * math.log2(count) for count in counts) / size if size else 0.0


def entropy(found: bytes) -> bool:
    """At least 16 bytes that look drawn at random: 3.5 bits per byte, or 3 where there are only hex digits."""
    least = 3.0 if _HEX.fullmatch(found) else 3.5
    return len(found) >= 16 and entropy_of(found) >= least


_HEX = re.compile(rb"[0-9a-fA-F]+")

VALIDATORS: Mapping[str, Callable[[bytes], bool]] = {
    "card": card, "entropy": entropy, "luhn": luhn, "mod97": mod97, "ssn": ssn,
}
"""What a policy's detector may name."""
