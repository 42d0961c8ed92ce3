"""JSON that every program reads in the same way, or not at all.

Apart from what is read: facts of a request's content here, messages in a protocol inside of HTTP. The standard library keeps
the last of two equal names and knows NaN; a backend may keep the first, and then policy has judged another request.
"""

from __future__ import annotations

import json
from typing import Any, Final


class NamedTwice(ValueError):
    """A name occurs twice in an object."""


def read_document(text: str) -> Any:
    """The value of a document. `NamedTwice`, another ValueError for what is no JSON, RecursionError for what is nested
    deeper than the parser goes."""
    return _DECODER.decode(text)


def is_deeper(value: object, text: str, most: int) -> bool:
    """Whether a value has more than `most` levels, 1 being a value that is no container. `text` is how it is written: where it
    opens less than that many, nobody has to look."""
    return text.count("{") + text.count("[") >= most and _depth_of(value) > most


def _depth_of(value: object) -> int:
    deepest, todo = 0, [(value, 1)]
    while todo:
        one, depth = todo.pop()
        deepest = max(deepest, depth)
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        todo += [(item, depth + 1) for item in inner]
    return deepest


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NamedTwice("a name occurs twice in an object")
    return found


def _no_constant(_name: str) -> object:
    raise ValueError("not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
