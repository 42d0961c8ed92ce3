"""JSON as RFC 8725 wants it for tokens: one reading only, within bounds.

Apart from `json` because that module is lenient where two readers could disagree: it keeps the
last of duplicate names, reads NaN, infinities and lone surrogates, and recurses as deep as the
input says. Everything of that kind is refused here, before and while parsing.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

# An unclosed string reaches to the end: starting again inside of it would cost quadratic time.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_LONGEST_NUMBER = 32
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_object(data: bytes, *, depth: int) -> dict[str, object]:
    """The JSON object in `data`; `depth` bounds nesting (1 = no nested containers).

    Raises `ValueError` for anything else. The message names the rule and never quotes the input.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    _require_depth(text, depth)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_real,
        )
    except json.JSONDecodeError:
        # The decoder's own message carries the document along (`JSONDecodeError.doc`).
        raise ValueError("it is not valid JSON") from None
    if isinstance(value, dict):
        _require_scalar_values(value)
        return value
    raise ValueError("it is not a JSON object")


def _require_depth(text: str, limit: int) -> None:
    """Count brackets outside of strings first: the parser itself recurses in C."""
    level = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            level += 1
            if level > limit:
                raise ValueError("it is nested too deeply")
        elif character in "]}":
            level -= 1


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return result


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and infinities are not JSON")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("a number is too long")
    return int(text)


def _real(text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("a number is too long")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _require_scalar_values(value: object) -> None:
    """Refuse lone surrogates (U+D800 to U+DFFF): they are no characters and cannot be stored.

    Recursion is bounded by the depth that was checked before.
    """
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise ValueError("a string holds half a surrogate pair")
    elif isinstance(value, list):
        for item in value:
            _require_scalar_values(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            _require_scalar_values(name)
            _require_scalar_values(item)
