"""Payment detectors: card numbers and international bank account numbers."""

from __future__ import annotations

import re
from itertools import accumulate

from lockgate.govern.masking.detector import (
    BEFORE_DIGIT,
    BEFORE_WORD,
    BLANK,
    BLANK_OR_DASH,
    REDACTED,
    Detector,
    Span,
    keep_last_digits,
)
from lockgate.govern.masking.validators import NOT_DIGITS, is_card, issued_lengths, luhn, mod97

_SEP = BLANK_OR_DASH.encode() + b"?"
_SHORTEST = 13
_RUN = re.compile(rb"[0-9](?:" + _SEP + rb"[0-9]){12,}")
_GROUP = re.compile(rb"[0-9]+")
_FRACTION = re.compile(rb"\.0*+[1-9]")
# A word that says "card" stands in for the issuer's prefix; the check digit stays due.
_NAMED_BEFORE = re.compile(
    rb"(?i)(?:card|kreditkarte|carte|tarjeta|\bpan|\bccn?)(?:[ _-]?(?:no|nr|num|number|nummer))?\.?(?: is)?"
    rb"[\"']?[ ]{0,4}[:=#]?[ ]{0,4}[\"']?\Z"
)
_CARD_NAME = re.compile(rb"(?i)card|kreditkarte|ccn|(?:^|[_.-])(?:cc|pan)(?:[_.-]|$)")
_CARD_VALUE = re.compile(rb"[0-9](?:" + _SEP + rb"[0-9]){12,18}")
_CARD_LIKE = re.compile(rb"(?<![0-9])[0-9](?:" + _SEP + rb"[0-9]){12,18}(?![0-9])")


def _cards_in(value: bytes) -> list[Span]:
    """Card numbers in digit groups joined by single blanks or dashes, and numbers that a word names.

    Groups that are no part of the number may stand beside it (``42 4111 1111 1111 1111``), so every
    window that starts and ends at a group's border is tried. A group next to a decimal
    point is a fraction, not a card.
    """
    spans: list[Span] = []
    for run in _RUN.finditer(value):
        base, stop = run.span()
        whole = run.group()
        has_left = base >= 2 and value[base - 1] == 46 and 48 <= value[base - 2] <= 57
        if has_left or _FRACTION.match(value, stop):
            base, stop = _without_fractions(value, base, stop, has_left=has_left)
            whole = value[base:stop]
        digits = whole if whole.isdigit() else whole.translate(None, NOT_DIGITS)
        if len(digits) < _SHORTEST:
            continue
        if len(digits) <= 19 and (is_card(digits) or _is_named(value, base, digits)):
            spans.append((base, stop))
        elif digits is not whole:
            spans += _windows_in(whole, digits, base)
    return spans


def _without_fractions(value: bytes, base: int, stop: int, *, has_left: bool) -> tuple[int, int]:
    """A run without the group in front or behind that is a part of a decimal fraction: ``1.1 4111 …`` is a number and a card."""
    groups = [group.span() for group in _GROUP.finditer(value, base, stop)]
    groups = groups[1:] if has_left else groups
    groups = groups[:-1] if _FRACTION.match(value, stop) else groups
    return (groups[0][0], groups[-1][1]) if groups else (base, base)


def _is_named(value: bytes, base: int, digits: bytes) -> bool:
    """Whether the check digit is right and the text right before `base` says that a card number follows."""
    return _has_issuer(digits) and luhn(digits) and _NAMED_BEFORE.search(value, max(0, base - 40), base) is not None


def _windows_in(run: bytes, digits: bytes, base: int) -> list[Span]:
    """The cards in a run at `base` whose bare digits are `digits`: the longest from a border, then on behind it."""
    groups = [group.span() for group in _GROUP.finditer(run)]
    borders = [0, *accumulate([end - start for start, end in groups])]
    place_of = {border: place for place, border in enumerate(borders)}
    spans: list[Span] = []
    index = 0
    while index < len(groups):
        first = borders[index]
        after = index + 1
        for length in reversed(issued_lengths(digits, first)):
            place = place_of.get(first + length)
            if place is not None and is_card(digits[first : first + length]):
                spans.append((base + groups[index][0], base + groups[place - 1][1]))
                after = place
                break
        index = after
    return spans


def _is_card_member(name: bytes, value: bytes) -> bool:
    if _CARD_NAME.search(name) is None or _CARD_VALUE.fullmatch(value) is None:
        return False
    return _has_issuer(value.translate(None, NOT_DIGITS)) and luhn(value)


def _has_issuer(digits: bytes) -> bool:
    """Leading 0 and 7 are no issuers; 1 is the airlines' UATP, always of 15 digits (epochs have 13 or 16)."""
    return digits[:1] in b"2345689" or (digits[:1] == b"1" and len(digits) == 15)


def _card_like(value: bytes) -> list[Span]:
    """Any 13 to 19 digits: for columns in which most values were cards."""
    return [found.span() for found in _CARD_LIKE.finditer(value)]


_IBAN_LENGTHS = {  # SWIFT IBAN registry
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28,
    "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19,
    "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20, "YE": 30,
}  # fmt: skip
_COUNTRIES = "|".join(
    f"{first}[{''.join(sorted(name[1] for name in _IBAN_LENGTHS if name[0] == first))}]"
    for first in sorted({name[0] for name in _IBAN_LENGTHS})
)
_IBAN = re.compile(
    rb"(?<![A-Za-z0-9])(?:[A-Z]{2}[0-9]{2}(?:" + _SEP + rb"[A-Z0-9]){11,31}|[a-z]{2}[0-9]{2}(?:" + BLANK.encode()
    + rb"?[a-z0-9]){11,31})"         # in small letters without dashes: UUIDs have them
)
_IBAN_LIKE = re.compile(rb"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:" + _SEP + rb"[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
_MARKS = frozenset(range(256)) - frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_NO_LETTERS = bytes(sorted(_MARKS))


def _ibans_in(value: bytes) -> list[Span]:
    """IBANs: the country's exact length and the mod-97 check (ISO 13616, ISO 7064)."""
    spans: list[Span] = []
    at = 0
    while (match := _IBAN.search(value, at)) is not None:
        start = match.start()
        at = start + 1
        due = _IBAN_LENGTHS.get(value[start : start + 2].decode("ascii").upper(), 0)
        seen = 0
        end = start
        while end < match.end() and seen < due:
            seen += value[end] not in _MARKS
            end += 1
        if due and seen == due and not value[end : end + 1].isalnum() and mod97(value[start:end].translate(None, _NO_LETTERS)):
            spans.append((start, end))
            at = end
    return spans


def _iban_like(value: bytes) -> list[Span]:
    """The form of an IBAN whatever its check digits: for columns in which most values were IBANs."""
    return [found.span() for found in _IBAN_LIKE.finditer(value)]


def _iban_partial(found: bytes) -> bytes:
    return found[:2] + REDACTED + found[-4:]


PAYMENT = (
    Detector(
        "credit_card", BEFORE_DIGIT + rf"(?:[2-689](?:{BLANK_OR_DASH}?[0-9]){{12}}"
        rf"|1(?:{BLANK_OR_DASH}?[0-9]){{14}}(?:[^0-9]|$))",
        _cards_in, keep_last_digits, member=_is_card_member, number=is_card,
        suspect=_card_like,
    ),
    Detector(
        "iban",
        BEFORE_WORD + rf"(?:(?:{_COUNTRIES})[0-9]{{2}}(?:{BLANK_OR_DASH}?[A-Z0-9]){{11}}"
        rf"|(?:{_COUNTRIES.lower()})[0-9]{{2}}(?:{BLANK}?[a-z0-9]){{11}})",
        _ibans_in, _iban_partial, suspect=_iban_like,
    ),
)
