"""Whether a value that is written is the constant which a column's mask shows, in whatever way it is spelled.

Apart from `writeback`, which knows masks by their words: a zero, an epoch or an empty array is a mask only where its
column shows it. Values are compared, not texts: `0.00`, `-0` and `0e5` are one number, `1970-01-01T00:00Z` and `epoch`
one moment. Where a spelling could mean several values (a moment without a time zone), it counts as the mask.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

_ZERO: Final = re.compile(r"[-+]?+[$]?+(?:0*+\.?+0*+(?:e[-+]?+[0-9]++)?|0[xob][0_]++)")
_WORD: Final = re.compile(r"[a-z]++|[0-9]++")
_ZONE: Final = re.compile(r"[-+][0-9]{1,2}(?::?[0-9]{2}){0,2}$")
_NUMBER: Final = re.compile(r"[-+]?+[0-9]++(?:\.[0-9]*+)?")
_MONTH: Final = frozenset(("jan", "january"))
_SILENT: Final = frozenset(("t", "z", "utc", "gmt", "ad", "thu", "thursday", "am", "days", "day", "hours", "hour", "mins", "min",
                            "secs", "sec", "s", "m", "h", "d", "p", "pt", "years", "year", "y", "mons", "mon", "months", "month",
                            "seconds", "second", "minutes", "minute", "weeks", "week", "w", "ago", "allballs"))
_LONGEST: Final = 200
"""Characters of any other spelling that people use."""


def is_constant(base: str, redacted: str | None, text: str) -> bool:
    """Whether `text` is, for a column of the built-in type `base`, the value that `redacted` writes."""
    if redacted is None:
        return False
    bare = text.strip()
    if bare == redacted.strip():
        return True
    reads = _READS.get(base)
    if reads is not None:
        return reads(bare.lower().replace("_", ""))
    if base.startswith("_"):
        return _is_empty_array(bare)
    return len(bare) <= _LONGEST and _canonical(bare) == _canonical(redacted)


def _is_zero(text: str) -> bool:
    return any(character == "0" for character in text) and _ZERO.fullmatch(text) is not None


def _is_false(text: str) -> bool:
    return bool(text) and ("false".startswith(text) or "no".startswith(text) or text in ("0", "off", "of"))


def _is_epoch(text: str) -> bool:
    """1970-01-01 and no time of the day, in the forms of the manual's "Date/Time Input"."""
    if text == "epoch":
        return True
    if len(text) > _LONGEST:
        return False
    try:
        moment = datetime.fromisoformat(text.upper().replace(" +", "+"))
    except ValueError:
        pass
    else:
        return moment.timestamp() == 0 if moment.tzinfo is not None else _at_epoch(moment)
    words = [word for word in _WORD.findall(_ZONE.sub("", text) if ":" in text else text) if word not in _SILENT]
    numbers = [1 if word in _MONTH else int(word) if word.isdigit() else -1 for word in words]
    return sorted(numbers[:3]) in ([1, 1, 1970], [1, 1, 70]) and not any(numbers[3:])


def _at_epoch(moment: datetime) -> bool:
    return (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond) == (
        1970, 1, 1, 0, 0, 0, 0)


def _is_no_time(text: str) -> bool:
    """A time or an interval in which every number is zero."""
    if len(text) > _LONGEST:
        return False
    words = _WORD.findall(text)
    return bool(words) and all(int(word) == 0 if word.isdigit() else word in _SILENT for word in words) and (
        text == "allballs" or any(word.isdigit() for word in words))


def _is_no_bytes(text: str) -> bool:
    return text in ("", "\\x")


def _is_nil(text: str) -> bool:
    return len(text) <= _LONGEST and text.strip("{}").replace("-", "") == "0" * 32


def _is_no_host(text: str) -> bool:
    return text in ("0.0.0.0", "0.0.0.0/32", "0", "0/32")  # noqa: S104 - masks, not addresses to bind


def _is_empty_array(text: str) -> bool:
    return len(text) <= _LONGEST and "".join(text.split()) == "{}"


def _canonical(text: str) -> str:
    """Without blanks, and with numbers as floats, so that `(0.0, -0)` is `(0,0)`."""
    return _NUMBER.sub(lambda found: repr(float(found.group()) + 0.0), "".join(text.lower().split()))


_READS: Final[dict[str, Callable[[str], bool]]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid", "xid", "cid", "xid8", "float4", "float8", "numeric", "money"), _is_zero),
    "bool": _is_false, **dict.fromkeys(("date", "timestamp", "timestamptz"), _is_epoch),
    **dict.fromkeys(("time", "timetz", "interval"), _is_no_time), "bytea": _is_no_bytes, "uuid": _is_nil,
    **dict.fromkeys(("inet", "cidr"), _is_no_host),
}
