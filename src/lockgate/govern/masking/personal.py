"""Personal detectors: social security numbers, e-mail addresses and telephone numbers."""

from __future__ import annotations

import re

from lockgate.govern.masking.detector import (
    BEFORE_WORD,
    BLANK,
    BLANK_OR_DASH,
    DASH,
    JSON_COLON,
    REDACTED,
    Detector,
    Pattern,
    Span,
    before,
    keep_last_digits,
    matches,
)
from lockgate.govern.masking.validators import ssn

# Nine digits without separators are any id: without a word that says what they are they are no find.
_SSN_FORM = matches(
    rf"(?<![0-9-])[0-9]{{3}}{DASH}[0-9]{{2}}{DASH}[0-9]{{4}}(?![0-9-])"
    rf"|(?<![0-9-])(?<![0-9][. ])[0-9]{{3}}(?:\.[0-9]{{2}}\.|{BLANK}[0-9]{{2}}{BLANK})[0-9]{{4}}(?![0-9-])(?![. ][0-9])",
    ssn,
)
_SSN_MARK = rf"(?:{BLANK_OR_DASH}|\.)?"
_SSN_WORD = r"(?:ssn|social[ _-]?security|soc[ _-]?sec)"
_SSN_NAMED = matches(
    rf"(?i)(?<![a-z0-9]){_SSN_WORD}(?:[ _-]?(?:no|nr|num|number))?\.?(?: is)?"
    r"[\"']?[ ]{0,4}[:=#]?[ ]{0,4}[\"']?"
    rf"([0-9]{{3}}{_SSN_MARK}[0-9]{{2}}{_SSN_MARK}[0-9]{{4}})(?![0-9])",
    ssn,
)
# In a JSON member's name the word may also begin inside (``customerSsn``); 16 letters may follow it.
_SSN_INSIDE = r"[a-z]S(?:sn|SN|ocialSecurity)"
_SSN_NAME = re.compile(
    rb"(?:(?:^|[^A-Za-z0-9])(?i:" + _SSN_WORD.encode() + rb")|" + _SSN_INSIDE.encode() + rb")[^0-9]{0,16}\Z"
)
_SSN_LIKE = re.compile(rf"(?<![0-9])[0-9]{{3}}{_SSN_MARK}[0-9]{{2}}{_SSN_MARK}[0-9]{{4}}(?![0-9])".encode())


def _ssns_in(value: bytes) -> list[Span]:
    """Numbers in the written form, and any nine digits that a word names."""
    spans = _SSN_FORM(value)
    return spans + [span for span in _SSN_NAMED(value) if span not in spans]


def _is_ssn_member(name: bytes, value: bytes) -> bool:
    return _SSN_NAME.search(name) is not None and _SSN_LIKE.fullmatch(value) is not None and ssn(value)


# Begins where a word does: tried at every letter of a long word it would read the word again each time.
_EMAIL_LIKE = re.compile(rb"(?<![^\s@\x00,;<>\"'()])[^\s@\x00,;<>\"'()]++@[^\s@\x00,;<>\"'()]+")


def _email_partial(found: bytes) -> bytes:
    """First letter and domain; a letter beyond ASCII is dropped, half of it would not decode."""
    local, mark, domain = found.rpartition(b"@")
    if not mark:
        local, mark, domain = found.rpartition(b"%40")
    if not domain.isascii():
        domain = b""
    return (local[:1] if local[0] < 128 else b"") + REDACTED + mark + domain


_GAP = r"(?:[ .()/-]|\xc2\xa0|\xe2\x80[\x90-\x93\xaf]){0,3}"
_BEFORE_PHONE = before("0-9A-Za-z+.-")
# E.164 with its plus; the same behind an international prefix; the North American form, which may stand
# behind a country code. What only a country's own plan tells from an id needs a word that names it.
_PHONE_FORM = matches(
    r"(?<![0-9A-Za-z+.-])(?:\+[1-9](?:" + _GAP + r"[0-9]){7,14}"
    r"|(?<![0-9] )(?:00|011)[ .-]?[1-9][0-9]{0,2}[ .(/-]{1,2}[0-9](?:" + _GAP + r"[0-9]){5,11}(?![0-9A-Za-z])"
    r"|(?:[0-9]{1,3}[ .-])?"
    rf"(?:\([2-9][0-9]{{2}}\){BLANK_OR_DASH}?[2-9][0-9]{{2}}(?:{BLANK_OR_DASH}|\.)"
    rf"|[2-9][0-9]{{2}}(?:{DASH}[2-9][0-9]{{2}}{DASH}|\.[2-9][0-9]{{2}}\.))"
    rf"[0-9]{{4}}|(?<![0-9] )[2-9][0-9]{{2}}{BLANK}[2-9][0-9]{{2}}{BLANK}[0-9]{{4}}(?! [0-9]))(?![0-9])"
)
# A trunk prefix 0 with digits in groups: 9 to 12 of them. Bare digits only with the 11 that mobile numbers have
# in many countries (ISBN-10 has ten, UPC-A twelve, and either may begin with 0).
_PHONE_TRUNK = matches(
    r"(?<![0-9A-Za-z+.-])(?<![0-9] )(?:0[ -]?\(?[1-9][0-9]{1,4}\)?(?:[ /-][0-9]{2,8}){1,4}"
    r"|0[1-9](?:(?:[ .][0-9]{2}){4}|-[0-9]{7}|[0-9]{9}))(?![0-9A-Za-z])",
    lambda found: 9 <= sum(48 <= byte <= 57 for byte in found) <= 12,
)
_DATE = re.compile(rb"(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9](?![0-9])")
_PHONE_WORD = r"(?:(?:tele)?phone|telefon|telefono|telepono|tel|mobile|mobil|cell|fax|whatsapp|cep|handy)"
_PHONE_NAMED = matches(
    rf"(?i)(?<![a-z0-9]){_PHONE_WORD}(?:[ _-]?(?:no|nr|num|number))?\.?(?: is)?"
    r"[\"']?[ ]{0,4}[:=#]?[ ]{0,4}[\"']?(\+?\(?[0-9](?:" + _GAP + r"[0-9]){6,14})(?![0-9])",
    lambda found: _DATE.match(found) is None,
)
_PHONE_INSIDE = r"[a-z](?:Phone|Telefon|Mobile|Fax|Tel|Cell)"
_PHONE_NAME = re.compile(
    rb"(?:(?:^|[^A-Za-z0-9])(?i:" + _PHONE_WORD.encode() + rb")|" + _PHONE_INSIDE.encode() + rb")[^0-9]{0,16}\Z"
)
_PHONE_LIKE = re.compile((r"(?<![0-9A-Za-z])\+?\(?[0-9](?:" + _GAP + r"[0-9]){6,14}(?![0-9])").encode())


def _phones_in(value: bytes) -> list[Span]:
    """Numbers in an international, a national or the North American form, and numbers that a word names."""
    spans = _PHONE_FORM(value)
    for pattern in (_PHONE_TRUNK, _PHONE_NAMED):
        for start, end in pattern(value):
            if not any(start < known[1] and known[0] < end for known in spans):
                spans.append((start, end))
    return spans


def _is_phone_member(name: bytes, value: bytes) -> bool:
    return _PHONE_NAME.search(name) is not None and _PHONE_LIKE.fullmatch(value) is not None


PERSONAL = (
    Detector(
        "ssn",
        rf"[0-9]{{3}}(?:{DASH}[0-9]{{2}}{DASH}|\.[0-9]{{2}}\.|{BLANK}[0-9]{{2}}{BLANK})[0-9]{{4}}|(?:" + BEFORE_WORD
        + r"(?i:" + _SSN_WORD + r")|" + _SSN_INSIDE + r")[^0-9\x00\t\n]*" + JSON_COLON + r"[0-9]{3}",
        _ssns_in, keep_last_digits, member=_is_ssn_member, suspect=Pattern(_SSN_LIKE),
    ),
    Detector(
        "email",
        r"(?:@|%40)[A-Za-z0-9\x80-\xff-]+\.[A-Za-z0-9\x80-\xff-]",
        matches(
            # The user of a repository's address is no mailbox.
            r"(?<![A-Za-z0-9._%+#~!$*\x80-\xff-])(?!git@[A-Za-z0-9.-]{1,253}[:/][A-Za-z0-9~_.-])"
            r"[A-Za-z0-9._%+#~!$*\x80-\xff-]+"
            r"(?:@|%40)(?:[A-Za-z0-9\x80-\xff-]{1,63}\.){1,8}"
            r"(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24}|(?:[\xc2-\xf4][\x80-\xbf]{1,3}){2,24})"
        ),
        _email_partial, suspect=Pattern(_EMAIL_LIKE),
    ),
    Detector(
        "phone",
        r"\+[1-9](?:" + _GAP + r"[0-9]){7}"
        r"|" + _BEFORE_PHONE + r"(?:00|011)[ .-]?[1-9][0-9]{0,2}[ .(/-]{1,2}[0-9](?:" + _GAP + r"[0-9]){5}"
        r"|" + _BEFORE_PHONE + r"0(?:[ -]?\(?[1-9][0-9]{1,4}\)?[ /-][0-9]{2}"
        r"|[1-9](?:(?:[ .][0-9]{2}){4}|-[0-9]{7}|[0-9]{9}))"
        rf"|\){BLANK_OR_DASH}?[2-9][0-9]{{2}}(?:{BLANK_OR_DASH}|\.)[0-9]{{4}}"
        rf"|[2-9][0-9]{{2}}(?:{DASH}[2-9][0-9]{{2}}{DASH}|\.[2-9][0-9]{{2}}\.|{BLANK}[2-9][0-9]{{2}}{BLANK})[0-9]{{4}}"
        r"|(?:" + BEFORE_WORD + r"(?i:" + _PHONE_WORD + r")|" + _PHONE_INSIDE + r")"
        r"[^0-9\x00\t\n]*" + JSON_COLON + r"[+(]*[0-9](?:" + _GAP + r"[0-9]){6}",
        _phones_in, keep_last_digits, member=_is_phone_member, suspect=Pattern(_PHONE_LIKE),
    ),
)
