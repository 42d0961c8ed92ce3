"""What stands for a hidden value inside a JSON document, for every method.

Apart from `json_paths`, which finds the values. What a method makes of a text column it makes of a string, and what it
makes of a numeric column it makes of a number; where it makes nothing of them, and for objects and arrays, a constant
stands there. Of these the constant for a string, an object, an array and null is the same, so that nobody can tell
them apart; numbers become 0 and booleans false, for the sake of those who compute with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from lockgate.analysis.sql.builtin_types import REDACTED
from lockgate.govern.masking.json_paths import JsonPaths, Leaf
from lockgate.govern.masking.redaction import Replace
from lockgate.model import MaskMethod

_STRING: Final = f'"{REDACTED}"'
_WHOLE: Final = frozenset((MaskMethod.HASH, MaskMethod.TOKEN))
"""Methods that make a text of an object or array as it is written."""
_NUMBERS: Final = frozenset((MaskMethod.HASH, MaskMethod.FPE))
_DATE: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]+(?:[+-][0-9:]+|Z)?)?")


def leaf_of(method: MaskMethod, text: Replace, number: Replace) -> Leaf:
    """The leaf of a method. `text` masks the content of strings, `number` that of numbers as numeric in text."""
    if method is MaskMethod.NULL:
        return lambda _raw: "null"

    def leaf(raw: str) -> str:
        first = raw[:1]
        if first == '"':
            return _quoted(text(str(json.loads(raw, strict=False)).encode("utf-8", "surrogatepass")))
        if first in "{[":
            return _quoted(text(raw.encode("utf-8", "surrogatepass"))) if method in _WHOLE else _STRING
        if first == "n":
            return _STRING if method is MaskMethod.REDACT else raw
        if first in "tf":
            return "false"
        new = number(raw.encode()) if method in _NUMBERS else None
        return "0" if new is None else new.decode("ascii")

    return leaf


def paths_mask(paths: JsonPaths, has_version: bool, leaf: Leaf, redact: Replace) -> Replace:
    """The mask of a json or jsonb column by path; in binary a jsonb has its format's version in front."""

    def replace(value: bytes) -> bytes | None:
        try:
            if has_version and value[:1] != b"\1":
                return redact(value)
            return value[:has_version] + paths.apply(value[has_version:].decode(), leaf).encode()
        except (ValueError, RecursionError):
            return redact(value)

    return replace


def dates_only(shift: Callable[[bytes], bytes], redact: Replace) -> Replace:
    """A text mask for `date_shift`: JSON has no dates, so a string that reads as one in ISO 8601 is one."""

    def replace(value: bytes) -> bytes | None:
        try:
            return shift(value) if _DATE.fullmatch(value) else redact(value)
        except ValueError:
            return redact(value)

    return replace


def _quoted(value: bytes | None) -> str:
    return _STRING if value is None else json.dumps(value.decode(), ensure_ascii=False)
