"""Detectors: what card numbers, keys, tokens and the like look like, and what stays readable of them.

Each detector has two halves. `prefilter` is RE2 syntax, runs over raw wire bytes (lengths, headers
and all), and must find something inside every value that the precise half accepts: so it uses no
anchor and no word boundary, for the byte before a value is its length, which may be a letter or a
digit. `find` runs on one field's bytes and decides (pattern, then a validator). The property test
`test_detectors.py` holds the first to the second. Spans are (start, end) byte offsets.

Stands apart from `detection`, which knows frames, fields and types, and none of these shapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lockgate.errors import ConfigError

REDACTED = b"xxxx"
"""The fixed text: no regex metacharacter, no quote, no escape, valid in JSON, arrays and CSV."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of content. `partial(found)` keeps a readable rest. A JSON member whose name matches
    `key` hides its whole string value (``{"password": "…"}``, which no single token shows).
    """

    name: str
    prefilter: str
    find: Callable[[bytes], Iterable[Span]]
    partial: Callable[[bytes], bytes]
    key: re.Pattern[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A finder from a pattern (its group, where it has one, is what to hide) and a validator."""

    compiled: re.Pattern[bytes]
    verify: Callable[[bytes], bool] | None = None

    def __call__(self, value: bytes) -> list[Span]:
        """The spans in `value`."""
        group = self.compiled.groups
        verify = self.verify
        return [
            found.span(group)
            for found in self.compiled.finditer(value)
            if verify is None or verify(found.group())
        ]


def _matches(pattern: str, verify: Callable[[bytes], bool] | None = None) -> Pattern:
    return Pattern(re.compile(pattern.encode("ascii")), verify)


def _keep(count: int) -> Callable[[bytes], bytes]:
    """Keeps the first `count` bytes: a token's public prefix."""

    def partial(found: bytes) -> bytes:
        return found[:count] + REDACTED

    return partial


def _keep_last_digits(found: bytes) -> bytes:
    """Every digit but the last four becomes x; separators stay."""
    return re.sub(rb"[0-9]", b"x", found[:-4]) + found[-4:]


def _redacted(_found: bytes) -> bytes:
    return REDACTED


# Credit cards: issuer prefixes and exact lengths (ISO/IEC 7812; the networks' published ranges).
# Luhn alone accepts one in ten random numbers; with these about 2 in 100 of random 16-digit ids.
_ISSUERS = re.compile(
    rb"(?:4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"                              # Visa 13, 16, 19
    rb"|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"  # Mastercard
    rb"|3[47][0-9]{13}"                                                    # American Express
    rb"|3(?:0[0-59]|[689][0-9])[0-9]{11}"                                  # Diners Club
    rb"|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12}"                           # Discover
    rb"|35(?:2[89]|[3-8][0-9])[0-9]{12}"                                   # JCB
    rb"|62[0-9]{14}"                                                       # UnionPay
    rb"|(?:501[89]|5020|5038|5893|6304|6759|676[1-3])[0-9]{12})"              # Maestro
)
_RUN = re.compile(rb"[0-9](?:[ -]?[0-9]){12,}")
_LUHN = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn(digits: bytes) -> bool:
    """The check digit of ISO/IEC 7812-1, annex B, over ASCII digits."""
    ordinary = sum(digits[-1::-2]) - 48 * len(digits[-1::-2])
    return (ordinary + sum(_LUHN[digit - 48] for digit in digits[-2::-2])) % 10 == 0


def is_card(digits: bytes) -> bool:
    """Whether the bare digits have an issuer's prefix, its exact length and a valid check digit."""
    return _ISSUERS.fullmatch(digits) is not None and luhn(digits)


def _cards_in(value: bytes) -> list[Span]:
    """Card numbers in digit groups joined by single spaces or dashes.

    Groups that are no part of the number may stand beside it (``42 4111 1111 1111 1111``), so every
    window that starts and ends at a group's border is tried. Digits next to a decimal point are a
    fraction, not a card.
    """
    spans: list[Span] = []
    for run in _RUN.finditer(value):
        base, stop = run.span()
        if (base >= 2 and value[base - 1] == 46 and 48 <= value[base - 2] <= 57) or re.match(
            rb"\.[0-9]", value[stop : stop + 2]
        ):
            continue
        groups = [(match.start() + base, match.end() + base) for match in re.finditer(rb"[0-9]+", run.group())]
        index = 0
        while index < len(groups):
            index = _card_from(value, groups, index, spans)
    return spans


def _card_from(value: bytes, groups: list[Span], index: int, spans: list[Span]) -> int:
    """Adds the longest card that starts at group `index`; returns the group to go on with."""
    digits = b""
    best = -1
    for after in range(index, len(groups)):
        digits += value[groups[after][0] : groups[after][1]]
        if len(digits) > 19:
            break
        if len(digits) >= 13 and is_card(digits):
            best = after
    if best < 0:
        return index + 1
    spans.append((groups[index][0], groups[best][1]))
    return best + 1


def _ssn_is_valid(found: bytes) -> bool:
    """Areas 000, 666 and 900-999, group 00 and serial 0000 were never issued (SSA, POMS RM 10201)."""
    area, group, serial = found.split(b"-")
    return area not in (b"000", b"666") and area < b"900" and group != b"00" and serial != b"0000"


def _email_partial(found: bytes) -> bytes:
    """First letter and domain; a letter beyond ASCII is dropped, half of it would not decode."""
    local, _, domain = found.rpartition(b"@")
    return (local[:1] if local[0] < 128 else b"") + REDACTED + b"@" + domain


_IBAN_LENGTHS = {  # SWIFT IBAN registry
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25,
    "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
_IBAN = re.compile(rb"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}")


def _ibans_in(value: bytes) -> list[Span]:
    """IBANs: the country's exact length and the mod-97 check (ISO 13616, ISO 7064)."""
    spans: list[Span] = []
    at = 0
    while (match := _IBAN.search(value, at)) is not None:
        start = match.start()
        at = start + 1
        due = _IBAN_LENGTHS.get(value[start : start + 2].decode("ascii"), 0)
        bare = bytearray()
        end = start
        while end < match.end() and len(bare) < due:
            if value[end] not in b" -":
                bare.append(value[end])
            end += 1
        if len(bare) != due or due == 0 or re.match(rb"[A-Za-z0-9]", value[end : end + 1]):
            continue
        turned = (bare[4:] + bare[:4]).decode("ascii")
        if int("".join(str(int(letter, 36)) for letter in turned)) % 97 == 1:
            spans.append((start, end))
            at = end
    return spans


def _iban_partial(found: bytes) -> bytes:
    return found[:2] + REDACTED + found[-4:]


def _ipv4_is_valid(found: bytes) -> bool:
    return all(int(part) <= 255 for part in found.split(b"."))


_PASSWORD_NAMES = (
    r"(?i:[a-z0-9_.-]{0,40}(?:passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|access[_-]?token|"
    r"auth[_-]?token|client[_-]?secret)[a-z0-9_.-]{0,40})"
)
_PASSWORD = re.compile(
    rb"(?i)(?:passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|(?:access|auth)[_-]?token)[a-z0-9_.-]{0,40}"
    rb"[\"']?\s{0,4}(?:=>?|:)\s{0,4}(?:\"([^\"\\\s]{3,})\"|'([^'\\\s]{3,})'|([^\s\"'\\,;&|{}()<>]{3,}))"
)
_URL_PASSWORD = re.compile(
    rb"(?i)[a-z][a-z0-9+.-]{1,20}://[^\s:/?#\[\]@\"'\\,{}\x00]{0,200}:([^\s@/\"'\\,{}\x00]{1,200})@"
)


def _passwords_in(value: bytes) -> list[Span]:
    """What is assigned to a credential's name, and the password of a connection URI."""
    spans = [match.span(match.lastindex or 0) for match in _PASSWORD.finditer(value)]
    spans.extend(match.span(1) for match in _URL_PASSWORD.finditer(value))
    return sorted(spans)


_AWS_SECRET = (
    r"(?i:secret_?(?:access_?)?key)[\"']?\s{0,4}(?:=>?|:)\s{0,4}[\"']?"
    r"([A-Za-z0-9/+=]{40})(?![A-Za-z0-9/+=])"
)
_aws_ids = _matches(r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])")
_aws_secrets = _matches(_AWS_SECRET)


def _aws_in(value: bytes) -> list[Span]:
    return sorted([*_aws_ids(value), *_aws_secrets(value)])


def _aws_partial(found: bytes) -> bytes:
    return found[:4] + REDACTED if len(found) == 20 else REDACTED


_ALL = (
    Detector("credit_card", r"[0-9](?:[ -]?[0-9]){12}", _cards_in, _keep_last_digits),
    Detector(
        "ssn",
        r"[0-9]{3}-[0-9]{2}-[0-9]{4}",
        _matches(r"(?<![0-9-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![0-9-])", _ssn_is_valid),
        _keep_last_digits,
    ),
    Detector(
        "email",
        r"@[A-Za-z0-9-]{1,63}\.[A-Za-z0-9-]",
        _matches(
            r"(?<![A-Za-z0-9._%+#~!$*\x80-\xff-])[A-Za-z0-9._%+#~!$*\x80-\xff-]+"
            r"@(?:[A-Za-z0-9-]{1,63}\.){1,8}(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24})"
        ),
        _email_partial,
    ),
    Detector(
        "jwt",
        r"eyJ[A-Za-z0-9_-]{5}",
        _matches(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"),
        _keep(3),
    ),
    Detector(
        "aws_key",
        r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}|(?i:secret_?(?:access_?)?key)",
        _aws_in,
        _aws_partial,
        re.compile(rb"(?i).{0,40}secret_?(?:access_?)?key"),
    ),
    Detector(
        "github_token",
        r"gh[pousr]_[A-Za-z0-9]{8}|github_pat_[A-Za-z0-9_]",
        _matches(r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"),
        lambda found: (found[:11] if found.startswith(b"github_pat_") else found[:4]) + REDACTED,
    ),
    Detector(
        "phone",
        r"\+[1-9](?:[ .()-]{0,2}[0-9]){7}|[0-9]{3}\)? ?[.-]?[0-9]{3}[ .-][0-9]{4}",
        _matches(
            r"(?<![0-9A-Za-z+.-])(?:\+[1-9](?:[ .()-]{0,2}[0-9]){7,14}"
            r"|(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.-])[2-9][0-9]{2}[.-][0-9]{4})(?![0-9])"
        ),
        _keep_last_digits,
    ),
    Detector("iban", r"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11}", _ibans_in, _iban_partial),
    Detector(
        "ipv4",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        _matches(
            r"(?<![0-9.])[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9])(?!\.[0-9])", _ipv4_is_valid
        ),
        lambda found: found[: found.index(b".") + 1] + b"x.x.x",
    ),
    Detector(
        "pem_private_key",
        r"PRIVATE KEY(?: BLOCK)?-----",
        _matches(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[A-Za-z0-9+/=\s\\:.,()_]|-(?!----))*"
            r"(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
        ),
        _redacted,
    ),
    Detector("gcp_key", r"AIza[A-Za-z0-9_-]{8}", _matches(r"(?<![A-Za-z0-9_-])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"), _keep(4)),
    Detector(
        "slack_token",
        r"xox[abeoprs]-[0-9A-Za-z]|xapp-[0-9]|hooks\.slack\.com/",
        _matches(
            r"(?<![A-Za-z0-9])(?:xox[abeoprs]-[0-9A-Za-z][0-9A-Za-z-]{9,250}|xapp-[0-9]-[0-9A-Za-z-]{10,250}"
            r"|hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{20,100})"
        ),
        _keep(5),
    ),
    Detector(
        "stripe_key",
        r"(?:[srp]k_(?:live|test)|whsec)_[A-Za-z0-9]{8}",
        _matches(r"(?<![A-Za-z0-9])(?:[sr]k_(?:live|test)_[A-Za-z0-9]{10,250}|whsec_[A-Za-z0-9]{24,250})"),
        lambda found: found[: found.rindex(b"_") + 1] + REDACTED,
    ),
    Detector(
        "anthropic_key",
        r"sk-ant-[A-Za-z0-9]",
        _matches(r"(?<![A-Za-z0-9])sk-ant-[A-Za-z0-9]{3,12}-[A-Za-z0-9_-]{20,250}"),
        _keep(7),
    ),
    Detector(
        "openai_key",
        r"sk-[A-Za-z0-9]{3}",
        _matches(
            r"(?<![A-Za-z0-9])sk-(?!ant-)(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,250}|[A-Za-z0-9]{40,64}(?![A-Za-z0-9]))"
        ),
        _keep(3),
    ),
    Detector(
        "password_assignment",
        r"(?i:passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|(?:access|auth)[_-]?token|://[^\s@/\"'\\,{}\x00]*@)",
        _passwords_in,
        _redacted,
        re.compile(_PASSWORD_NAMES.encode("ascii")),
    ),
)

DETECTORS: Mapping[str, Detector] = {detector.name: detector for detector in _ALL}


def detector(name: str) -> Detector:
    """The detector of that name; ConfigError lists the known ones."""
    if name not in DETECTORS:
        raise ConfigError(f"no detector is named {name!r}", advice="known: " + ", ".join(sorted(DETECTORS)))
    return DETECTORS[name]
