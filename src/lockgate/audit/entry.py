"""Leaves as the log's side makes them: canonical bytes, and the names that may stand in them.

What a leaf may look like is read by `evidence.leaf`, which is what verifies; here orjson takes the place
of the standard library's JSON in it. What a leaf says is made in `leaves`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

import orjson

from lockgate.audit.evidence import leaf as evidence
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.leaf import LEAF_LIMIT, MAX_INTEGER, NO_PREVIOUS, VERSION
from lockgate.audit.failures import MalformedEntry

__all__ = [
    "LEAF_LIMIT", "MAX_INTEGER", "NO_PREVIOUS", "VERSION", "canonical", "is_opaque", "parse", "require_type",
]

_OPTIONS: Final = (orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
                   | orjson.OPT_PASSTHROUGH_SUBCLASS)
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_OPAQUE = re.compile(r"[!-~]{1,128}", re.ASCII)


evidence.use_json(orjson.loads, partial(orjson.dumps, option=orjson.OPT_SORT_KEYS))


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of a value of the subset. Raises `MalformedEntry` for what lies outside it.

    Strings that are not Unicode (lone surrogates) are outside it: see `leaves.text`.
    """
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise MalformedEntry(f"a record holds what canonical JSON cannot: {error}") from None


def is_opaque(name: str) -> bool:
    """Whether a string may be an id in a leaf: printable ASCII without spaces, at most 128."""
    return _OPAQUE.fullmatch(name) is not None


def require_type(kind: str) -> None:
    """Raise `MalformedEntry` unless `kind` may name a type of record."""
    if not _TYPE.fullmatch(kind):
        raise MalformedEntry("a record's type is a lower-case name")


def parse(leaf: bytes) -> dict[str, Any]:
    """As `evidence.leaf.parse_leaf`; raises `MalformedEntry`."""
    try:
        return evidence.parse_leaf(leaf)
    except EvidenceError as error:
        raise MalformedEntry(error.message) from None
