"""Where values stand in a JSON text that somebody has read already.

Apart from `json_scan`, which reads what nobody has: here the text is known to be JSON, and is gone over again and again. The
standard library's scanner says where a value ends. Plain typed Python that mypyc compiles.
"""

from __future__ import annotations

import json
from typing import Any, Final

_decoder: Final[Any] = json.JSONDecoder()
_scan: Final[Any] = _decoder.scan_once             # (text, where) → (value, its end); StopIteration for none


def members(text: str, at: int) -> list[tuple[str, int, int, int]]:
    """Of the object that begins at `at`: each name, where it begins, and where its value begins and ends. ValueError where
    a value is none, or the text ends too early; nothing else is found out about it."""
    found: list[tuple[str, int, int, int]] = []
    try:
        at = skipped(text, at + 1)
        while text[at] != "}":
            name_at = at
            name, colon = _scan(text, at)
            start = skipped(text, skipped(text, colon) + 1)
            end: int = _scan(text, start)[1]
            found.append((name, name_at, start, end))
            at = _behind(text, end)
    except (StopIteration, IndexError):
        raise ValueError("not JSON") from None
    return found


def elements(text: str, at: int) -> list[tuple[int, int]]:
    """Of the array that begins at `at`: where each value begins and ends. ValueError as for members."""
    found: list[tuple[int, int]] = []
    try:
        at = skipped(text, at + 1)
        while text[at] != "]":
            end: int = _scan(text, at)[1]
            found.append((at, end))
            at = _behind(text, end)
    except (StopIteration, IndexError):
        raise ValueError("not JSON") from None
    return found


def _behind(text: str, end: int) -> int:
    """Where the next one begins behind the one that ends at `end`, or the container ends. IndexError where the text does."""
    at = skipped(text, end)
    return skipped(text, at + 1) if text[at] == "," else at


def skipped(text: str, at: int) -> int:
    """Behind the white space at `at`."""
    size = len(text)
    while at < size:
        sign = text[at]
        if sign != " " and sign != "\n" and sign != "\t" and sign != "\r":
            break
        at += 1
    return at
