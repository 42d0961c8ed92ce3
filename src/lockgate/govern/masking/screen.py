"""Screen: what is looked for in a result and where, worked out once for each shape of a result.

Results are many and mostly clean, their shapes are few: so everything that depends on masks, types and
formats alone is kept, and what counts or votes is made by the plan of each result (`detection`) when there
is something to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import re2

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking.column_types import (
    BYTEA_OID,
    ELEMENTS,
    FIRST_USER_OID,
    Shape,
    hides_numbers,
    is_container,
    shape_of,
)
from lockgate.govern.masking.conceal import Conceal, Concealer
from lockgate.govern.masking.detector import Origin
from lockgate.govern.masking.detectors import Active, DetectorSet
from lockgate.govern.masking.prefilter import union
from lockgate.govern.masking.search import Search
from lockgate.model import DetectMask

Kind = Literal["rows", "copy-text", "copy-csv", "copy-binary"]

# What has to be decoded before it can be searched is touched whenever it occurs.
_BYTEA_ESCAPES = r"\\(?:x[0-9a-fA-F]{2}|[0-3][0-7]{2})"
_JSON_ESCAPES = r"\\[u/]"                    # json keeps escapes as they were written, jsonb makes some itself
_ANY_ESCAPE = r"\\"
_DOUBLED_QUOTE = r'""'

"""Stands for "some type": text if it is text, else NULL on a find."""


@dataclass(frozen=True, slots=True)
class Columns:
    """How values are concealed: by column, or all alike where a stream names no types.

    `searches` holds what searches a column of text, None for another: those vote.
    """

    concealed: Sequence[Conceal]
    searches: Sequence[Search | None]
    default: Conceal
    default_search: Search | None


@dataclass(frozen=True, slots=True)
class Screen:
    """The detectors that look into each column, the prefilter of all of them, the columns of which every value
    must be read, and those whose binary values hold values with lengths of their own. `active` without columns
    is for a stream that names no types.
    """

    types: tuple[int, ...]
    binary: tuple[bool, ...]
    covering: tuple[Active, ...]
    active: Active
    is_binary: bool
    prefilter: re2._Regexp
    read: tuple[int, ...]
    containers: list[int]
    must_read: bool
    votes: bool

    def columns(self, masked: dict[str, int]) -> Columns:
        """What conceals the values, counting finds in `masked`."""
        made: dict[Active, Concealer] = {}
        for active in (*self.covering, self.active):
            if active not in made:
                made[active] = Concealer(Search(active, masked))
        columns = list(zip(self.covering, self.types, self.binary, strict=True))
        default = made[self.active]
        return Columns(
            [made[active].for_column(oid, binary) for active, oid, binary in columns],
            [made[active].search if _is_text(oid, binary) else None for active, oid, binary in columns],
            default.for_column(FIRST_USER_OID, binary=True) if self.is_binary else default.untyped,
            None if self.is_binary else default.search,
        )


@lru_cache(maxsize=512)
def screen(
    detects: tuple[DetectMask, ...],
    detectors: DetectorSet,
    types: tuple[int, ...],
    formats: tuple[int, ...],
    origins: tuple[Origin | None, ...],
    kind: Kind,
) -> Screen:
    """The Screen of results of this shape. RemoteProtocolError when the description does not add up."""
    is_binary = kind == "copy-binary"
    if kind == "rows" and len(types) != len(formats):
        raise RemoteProtocolError("a result has more or fewer formats than columns")
    if origins and len(origins) != len(types):
        raise RemoteProtocolError("a result has more or fewer origins than columns")
    codes = formats if kind == "rows" else (int(is_binary),) * len(types)
    if any(code not in (0, 1) for code in codes):
        raise RemoteProtocolError("a result has an unknown format")
    active = detectors.active(detects)
    covering = tuple(
        tuple(one for one in active if one[0].scope.covers(ELEMENTS.get(oid, oid), origin))
        for oid, origin in zip(types, origins or (None,) * len(types), strict=True)
    )
    read = tuple(
        index for index, (looking, oid, code) in enumerate(zip(covering, types, codes, strict=True))
        if code == 1 and hides_numbers(oid) and _reads_numbers(looking)
    )
    described = enumerate(zip(types, codes, strict=True))
    containers = [index for index, (oid, code) in described if code == 1 and is_container(oid)]
    return Screen(
        types, tuple(code == 1 for code in codes), covering, active, is_binary,
        union((*(found.prefilter for found, _ in active), *_escapes(active, kind, types, codes))),
        read, containers, bool(read) or (is_binary and not types and _reads_numbers(active)),
        any(found.suspect is not None for found, _ in active),
    )


def needs_types(detects: tuple[DetectMask, ...], detectors: DetectorSet) -> bool:
    """Whether something is looked for that binary values show only to who knows their types: eight bytes are a number,
    a moment or a fraction.
    """
    return _reads_numbers(detectors.active(detects))


def _reads_numbers(active: Active) -> bool:
    """Whether numbers or addresses are looked for: then binary ones must be read one by one."""
    return any(found.number is not None or found.name in ("ipv4", "ipv6") for found, _ in active)


def _is_text(oid: int, binary: bool) -> bool:
    shape = shape_of(oid)
    return shape is Shape.TEXT or (binary and shape is Shape.BYTES)


def _escapes(active: Active, kind: Kind, types: tuple[int, ...], codes: Sequence[int]) -> list[str]:
    """Patterns for what has to be decoded before it can be searched, in the formats of this result."""
    texts = {ELEMENTS.get(oid, oid) for oid, code in zip(types, codes, strict=True) if code == 0}
    wanted: list[str] = []
    if BYTEA_OID in texts or (not types and kind != "copy-binary"):
        wanted.append(_BYTEA_ESCAPES)
    if any(shape_of(ELEMENTS.get(oid, oid)) in (Shape.JSON, Shape.JSONB) for oid in types):
        wanted.append(_JSON_ESCAPES)
    if any(found.takes_escapes for found, _ in active):
        is_escaped = kind in ("copy-text", "copy-csv") or any(
            shape_of(oid) in (Shape.JSON, Shape.JSONB, Shape.BYTES, Shape.ARRAY) for oid in types
        )
        wanted += [_ANY_ESCAPE] * is_escaped + [_DOUBLED_QUOTE] * (kind == "copy-csv")
    return wanted
