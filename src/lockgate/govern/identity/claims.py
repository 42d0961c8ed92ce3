"""Reading single claims into bounded, printable values.

Apart from the verification so that the order of checks there stays readable. What is read here
ends in records, policies and terminals: every text is bounded, not blank and free of control
characters, and a claim of the wrong type is an error and never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from lockgate.govern.identity.failures import Failure, failed

SUBJECT_LIMIT = 255         # OpenID Connect Core §2 `sub`
TEXT_LIMIT = 255
GROUP_LIMIT = 512           # a directory's distinguished name fits
GROUP_COUNT = 512
AUDIENCE_COUNT = 64
_LAST_MOMENT = 253_402_300_799      # 9999-12-31T23:59:59Z
_PATH_STEPS = 8

Claims = Mapping[str, object]


def moment(claims: Claims, name: str, *, required: bool = False) -> float | None:
    """A NumericDate (RFC 7519 §2): Unix seconds, an integer or a fraction, before the year 10000."""
    if name not in claims:
        if required:
            raise failed(Failure.CLAIM, f"the token has no {name!r}")
        return None
    value = claims[name]
    # bool is an int to Python, and `true` is not a date.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_MOMENT:
        raise failed(Failure.CLAIM, f"the token's {name!r} is not a date")
    return float(value)


def text(claims: Claims, name: str) -> str | None:
    """An optional top-level text."""
    return _text(claims[name], name) if name in claims else None


def text_at(claims: Claims, path: str | None) -> str | None:
    """An optional text at a dotted path; None when the path is not configured or leads nowhere."""
    if path is None:
        return None
    value = at_path(claims, path)
    return None if value is None else _text(value, path)


def subject(claims: Claims) -> str:
    """`sub`, which is required: without it there is nobody to hold responsible."""
    value = claims.get("sub")
    if not is_plain(value, SUBJECT_LIMIT):
        raise failed(
            Failure.SUBJECT, f"the token's 'sub' is not a text of 1 to {SUBJECT_LIMIT} printable characters"
        )
    return value


def audiences(claims: Claims) -> tuple[str, ...]:
    """`aud`: one text or a list of them (RFC 7519 §4.1.3)."""
    value = claims.get("aud")
    items = value if isinstance(value, list) else [value]
    if len(items) > AUDIENCE_COUNT:
        raise failed(Failure.AUDIENCE, f"the token has more than {AUDIENCE_COUNT} audiences")
    result = tuple(item for item in items if isinstance(item, str))
    if not result or len(result) != len(items):
        raise failed(Failure.AUDIENCE, "the token's 'aud' is missing or not a text or list of texts")
    return result


def groups(claims: Claims, path: str) -> frozenset[str]:
    """The groups at a dotted path: one text or a list of texts. A token without has none."""
    value = at_path(claims, path)
    if value is None:
        return frozenset()
    items = value if isinstance(value, list) else [value]
    if len(items) > GROUP_COUNT:
        raise failed(Failure.GROUPS, f"the token has more than {GROUP_COUNT} groups")
    result = [item for item in items if is_plain(item, GROUP_LIMIT)]
    if len(result) != len(items):
        raise failed(Failure.GROUPS, "the token's groups are not printable texts")
    return frozenset(result)


def at_path(claims: Claims, path: str) -> object:
    """The value at `path`: first a claim of exactly that name (``https://example.com/groups``),
    then step by step through objects (``realm_access.roles``). None when nothing is there.
    """
    if path in claims:
        return claims[path]
    value: object = claims
    steps = path.split(".")
    if len(steps) > _PATH_STEPS:
        return None
    for step in steps:
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def is_plain(value: object, limit: int) -> TypeGuard[str]:
    """Whether it is a text of 1 to `limit` printable characters that is not blank."""
    return isinstance(value, str) and len(value) <= limit and value.isprintable() and bool(value.strip())


def _text(value: object, name: str) -> str:
    if not is_plain(value, TEXT_LIMIT):
        raise failed(
            Failure.CLAIM, f"the token's {name!r} is not a text of 1 to {TEXT_LIMIT} printable characters"
        )
    return value
