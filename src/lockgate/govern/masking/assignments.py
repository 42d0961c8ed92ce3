"""Assignment detectors: secrets known by the name they are assigned to, or by looking drawn at random.

Stands apart from `credentials`, whose tokens have a form of their own. A JSON member counts as an
assignment: its name and its value are two tokens, so these detectors have a `member` check.
"""

from __future__ import annotations

import re

from lockgate.govern.masking.detector import Detector, Span, redacted
from lockgate.govern.masking.validators import entropy_of

_NAMES = (
    r"(?:passw(?:or)?d{0}|passphrase|pwd|secret{1}|api[_-]?key|(?:access|auth|refresh|session|bearer)[_-]?token"
    r"|private[_-]?key|account[_-]?key|sharedaccess(?:key|signature)|credential"
    r"|(?:db|database|user|admin|root|mysql|pg|mongo|redis|smtp|mail|ftp|ssh|ldap|proxy|app)_pass{2})"
)
_ANY_NAME = _NAMES.format("", "", "")
_NAME = _NAMES.format(r"(?!less)", r"(?!ar[yi]|[ _-]?santa)", r"(?![a-z])").encode()
# Names that speak of a credential and hold none, and words that say how it stands with it.
_ABOUT = (
    rb"at|on|url|uri|link|type|policy|rules?|length|count|required|enabled|disabled|expire[sd]|expiry|age|days|attempts|hint"
    rb"|status|strength|reset|changed|updated"
)
_ABOUT_NAME = re.compile(
    rb"(?i:(?:^|[_.-])(?:has|is|needs?|requires?|min|max|num)[_.-])|(?:^|[_.-])(?:has|is|needs?|requires?)(?=[A-Z])"
    rb"|(?i:[_.-](?:" + _ABOUT + rb"))\Z|(?<=[a-z])(?:At|On|Url|URL|Uri|URI|Link|Type|Policy|Rules?|Length|Count|Required"
    rb"|Enabled|Disabled|Expire[sd]|Expiry|Age|Days|Attempts|Hint|Status|Strength|Reset|Changed|Updated)\Z"
)
_STATES = frozenset((
    b"required", b"optional", b"true", b"false", b"yes", b"none", b"null", b"unset", b"changed", b"expired", b"reset",
    b"enabled", b"disabled", b"unknown", b"invalid", b"incorrect", b"wrong", b"missing", b"undefined",
))
_NO_VALUES = _STATES | {b""}
_SIGNS = b"\"' \t\n\r\v\f:=>"
_NAME_BEFORE = re.compile(rb"[A-Za-z0-9_.-]{0,24}\Z")
_TO_NAME = re.compile(rb"(?i)" + _NAME + rb"[a-z0-9_.-]{0,40}[\"']?\s{0,4}(?::=|=>?|:)\s{0,4}")
_VALUE = re.compile(
    rb"\"([^\"\\\s\x00]{3,}+)\"|'([^'\\\s\x00]{3,}+)'|([^\s\"'\\,;&|{}()<>\x00]{3,}+)"
)
_SQL_PASSWORD = re.compile(rb"(?i)(?:password|identified by)\s{1,4}'([^'\x00]{1,200})'")
_OPTION = re.compile(
    rb"(?i)--(?:password|passwd|passphrase|token|api-?key|secret)[ ]{1,2}"
    rb"([^\s\"'\\,;&|{}()<>\x00-][^\s\"'\\,;&|{}()<>\x00]{2,})"
)
_AUTHORIZATION = re.compile(rb"(?i)(?:basic|bearer)[ ]{1,2}([a-z0-9._~+/=-]{16,4000})")
_URL_PASSWORD = re.compile(
    rb"(?i)[a-z][a-z0-9+.-]{1,20}://[^\s:/?#\[\]@\"'\\,{}\x00]{0,200}:([^\s/\"'\\,{}\x00]{1,200})@"
)
_MEMBER = re.compile(rb"(?i)" + _NAME)


def _passwords_in(value: bytes) -> list[Span]:
    """What is assigned to a credential's name, given to an option or a header, and the password of a URI."""
    return _assigned_in(value) + [
        found.span(found.lastindex or 0)
        for pattern in (_SQL_PASSWORD, _OPTION, _AUTHORIZATION, _URL_PASSWORD)
        for found in pattern.finditer(value)
    ]


def _assigned_in(value: bytes) -> list[Span]:
    """What is assigned to a credential's name; ``password: required`` and ``has_password = 1`` only speak of it."""
    spans: list[Span] = []
    done = 0
    for found in _TO_NAME.finditer(value):
        if found.start() < done:
            continue
        before = _NAME_BEFORE.search(value, max(0, found.start() - 24), found.start())
        name = ((before[0] if before else b"") + found[0]).rstrip(_SIGNS)
        if _ABOUT_NAME.search(name) is not None:
            continue
        held = _VALUE.match(value, found.end())
        if held is None:
            continue
        if held[held.lastindex or 0].rstrip(b".!?").lower() not in _STATES:
            spans.append(held.span(held.lastindex or 0))
        done = held.end()
    return spans


def _is_password_member(name: bytes, value: bytes) -> bool:
    return value.lower() not in _NO_VALUES and _MEMBER.search(name) is not None and _ABOUT_NAME.search(name) is None


# What is assigned must be one word of letters and digits, long enough to be no word of a language.
_ASSIGNED = re.compile(
    rb"(?<![A-Za-z0-9_.-])([A-Za-z][A-Za-z0-9_.-]{0,63})[\"']?[ ]{0,4}(?::=|=>?|:)[ ]{0,4}[\"']?"
    rb"([A-Za-z0-9+/_-]{20,512}={0,2})(?![A-Za-z0-9+/_=.@-])"
)
_RANDOM = re.compile(rb"[A-Za-z0-9+/_-]{20,512}={0,2}")
_HEX = re.compile(rb"[0-9a-fA-F]+")
_HINT = re.compile(rb"(?i)key|token|secret|auth|cred|pass|pwd|signature|salt|session|cookie|bearer|jwt|private|sid$")
_PUBLIC = re.compile(rb"(?i)public|finger|digest|hash|checksum|sha|md5|etag|commit|revision|uuid|guid|integrity|nonce$")
_LOWER_RUN = re.compile(rb"[a-z]{7,}")
_CHANGES = re.compile(rb"(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[a-z0-9]|(?<=[0-9])[A-Za-z]")


def _is_random(name: bytes, value: bytes) -> bool:
    """Whether `value` looks drawn at random rather than written.

    UUIDs and values whose name says that they are digests or public are not secret. Hex needs a name that
    hints at a secret and 32 digits. Other values need upper case, lower case and digits that change about
    as often as chance would have it (0.62 per letter; words and CamelCase stay below 0.45), no long run of
    lower case, and 3.5 bits per byte; with a hint digits and letters are enough.
    """
    bare = value.rstrip(b"=")
    if _PUBLIC.search(name) or (bare[8:9] == b"-" and bare[13:14] == b"-"):
        return False
    hinted = _HINT.search(name) is not None
    if _HEX.fullmatch(bare):
        return hinted and len(bare) >= 32 and entropy_of(bare) >= 3.0
    if bare.isalpha() or bare.isdigit() or _LOWER_RUN.search(bare) or entropy_of(bare) < 3.5:
        return False
    changes = len(_CHANGES.findall(bare)) / len(bare)
    mixed = bare.lower() != bare and bare.upper() != bare
    return changes >= (0.25 if hinted else 0.45) and (hinted or mixed)


def _random_in(value: bytes) -> list[Span]:
    return [found.span(2) for found in _ASSIGNED.finditer(value) if _is_random(found[1], found[2])]


def _is_random_member(name: bytes, value: bytes) -> bool:
    return _RANDOM.fullmatch(value) is not None and _is_random(name, value)


ASSIGNMENTS = (
    Detector(
        "password_assignment",
        r"(?i:" + _ANY_NAME + r"|identified by|--(?:token|api-?key)|(?:basic|bearer) |://[^\s@/\"',{}\x00]*@)",
        _passwords_in,
        redacted,
        member=_is_password_member,
        names=True,
    ),
    Detector(
        "high_entropy",
        # Not what has the hyphens of a UUID: they are in every other JSON document.
        r"[:=]>?[\s\"'\\]*[A-Za-z0-9+/_-]{8}"
        r"(?:[A-Za-z0-9+/_][A-Za-z0-9+/_-]{11}|-[A-Za-z0-9+/_-]{4}[A-Za-z0-9+/_][A-Za-z0-9+/_-]{6})",
        _random_in,
        redacted,
        member=_is_random_member,
    ),
)
