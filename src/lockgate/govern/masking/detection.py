"""Detection: content masks over a chunk of result frames, by one search of its raw bytes.

1. One RE2 search over the whole chunk, headers and lengths included. Nothing found: the chunk goes
   on as the same object. (The prefilters hold no anchor, so a length byte beside a value cannot
   hide it; the property test holds them to the precise detectors.)
2. Otherwise the frames and fields that a hit shares a byte with are looked up, and each such field
   is searched precisely and rewritten as its type allows (`conceal`). A find never crosses a field.
3. Columns whose encoding hides digits from a byte search (binary int8, numeric and inet) are read
   value by value, but only when a detector for them is in force.

Stands apart from `copying`, which finds the rows of a COPY stream. Anything that is structurally
unexpected raises RemoteProtocolError: the pipeline turns it into a refusal, never into a pass.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Protocol

import re2

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking.column_types import BYTEA_OID, JSON_OID, Shape, shape_of
from lockgate.govern.masking.conceal import Conceal, Concealer
from lockgate.govern.masking.copying import CopyFormat, CopyMask, Hits
from lockgate.govern.masking.detectors import detector
from lockgate.kernel.rows import Edit, apply_edits, column_values, touched_fields
from lockgate.model import DetectMask

Kind = Literal["rows", "copy-text", "copy-csv", "copy-binary"]

_HEX_BYTES = r"\\x[0-9a-fA-F]{2}"           # bytea in text format: content is invisible until decoded
_JSON_ESCAPES = r"\\u00[2-7]|\\/"           # json keeps escapes as they were written; jsonb does not
_DFA_MEMORY = 64 << 20                      # bytes; RE2 falls back to a slow engine when it runs out
_ROW_LIMIT = 64 << 20


class ClearPlan(Protocol):
    """What both plans are (`govern.pipeline.ClearPlan`)."""

    masked: dict[str, int]

    def apply(self, chunk: bytes) -> bytes:
        """The chunk with every due mask applied."""
        ...


class PassPlan:
    """No mask is due: a chunk goes on as it came."""

    __slots__ = ("masked",)

    def __init__(self) -> None:
        self.masked: dict[str, int] = {}

    def apply(self, chunk: bytes) -> bytes:
        """The chunk itself."""
        return chunk


class DetectPlan:
    """Content masks for one result. A chunk holds complete frames; those not of type `bulk` pass.

    `types` and `formats` describe the columns in order. For COPY `types` may be empty (a COPY stream
    names none): every column then is text. `masked` counts finds by detector name. After an
    exception the plan must not be used again.
    """

    __slots__ = ("_bulk", "_columns", "_copy", "_prefilter", "_read", "_width", "masked")

    def __init__(
        self,
        detects: tuple[DetectMask, ...],
        types: tuple[int, ...],
        formats: tuple[int, ...],
        kind: Kind,
        bulk: int,
        copy: CopyFormat | None = None,
        limit: int = _ROW_LIMIT,
    ) -> None:
        concealer = Concealer(detects)
        is_rows = kind == "rows"
        binary = kind == "copy-binary"
        if is_rows and len(types) != len(formats):
            raise RemoteProtocolError("a result has more or fewer formats than columns")
        codes = formats if is_rows else (int(binary),) * len(types)
        if any(code not in (0, 1) for code in codes):
            raise RemoteProtocolError("a result has an unknown format")
        self.masked = concealer.masked
        self._bulk = bulk
        self._width = len(types)
        self._columns: list[Conceal] = [
            concealer.for_column(oid, code == 1) for oid, code in zip(types, codes, strict=True)
        ]
        self._read = [
            index for index, (oid, code) in enumerate(zip(types, codes, strict=True))
            if code == 1 and _is_hidden(oid, concealer)
        ]
        self._prefilter = prefilter(
            tuple(found.name for found, _ in concealer.active),
            hexadecimal=not binary and (not types or any(
                code == 0 and oid in (BYTEA_OID, 1001) for oid, code in zip(types, codes, strict=True))),
            escapes=any(oid in (JSON_OID, 199) for oid in types),
        )
        default = concealer.for_column(FIRST_UNKNOWN, binary=True) if binary else concealer.untyped
        self._copy = None if is_rows else CopyMask(
            kind, copy or CopyFormat.of(kind), self._columns, default, bulk, limit, bool(self._read)
        )

    def apply(self, chunk: bytes) -> bytes:
        """The chunk with every find masked; the same object when there is none.

        Raises RemoteProtocolError for what does not add up.
        """
        clean = self._prefilter.search(chunk) is None
        if self._copy is not None:
            if clean and self._copy.may_pass(chunk):
                return chunk
            return self._copy.apply(chunk, [] if clean else self._hits(chunk))
        if clean and not self._read:
            return chunk
        touched = [] if clean else touched_fields(chunk, self._bulk, self._width, self._hits(chunk))
        if self._read:
            touched += column_values(chunk, self._bulk, self._width, self._read)
            touched = sorted(set(touched))
        edits: list[Edit] = []
        for first, last, column, begin, end in touched:
            value = chunk[begin:end]
            new = self._columns[column](value)
            if new is not value:
                edits.append((first, last, begin, end, new))
        return apply_edits(chunk, edits) if edits else chunk

    def _hits(self, chunk: bytes) -> Hits:
        return [hit.span() for hit in self._prefilter.finditer(chunk)]


FIRST_UNKNOWN = 16384
"""Stands for "some type": text if it is text, else NULL on a find."""


def _is_hidden(oid: int, concealer: Concealer) -> bool:
    shape = shape_of(oid)
    is_number = shape is Shape.NUMBER or oid in (1016, 1231)
    is_address = shape is Shape.NET or oid in (651, 1041)
    return (is_number and concealer.has_card()) or (is_address and concealer.has_address())


@lru_cache(maxsize=256)
def prefilter(names: tuple[str, ...], hexadecimal: bool = False, escapes: bool = False) -> re2._Regexp:
    """The combined RE2 pattern of the named detectors, over bytes. Finds something inside whatever
    the precise detectors accept; `hexadecimal` and `escapes` add what has to be decoded first.
    """
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _DFA_MEMORY
    parts = [detector(name).prefilter for name in names]
    parts += [_HEX_BYTES] * hexadecimal + [_JSON_ESCAPES] * escapes
    pattern = "|".join(f"(?:{part})" for part in parts) or r"[^\x00-\xff]"
    return re2.compile(pattern.encode("ascii"), options)


def plan_for(
    detects: tuple[DetectMask, ...],
    types: tuple[int, ...],
    formats: tuple[int, ...],
    kind: Kind,
    bulk: int,
    copy: CopyFormat | None = None,
) -> ClearPlan:
    """A DetectPlan, or a PassPlan when no detector is in force or no column can hold a find."""
    if not any(mask.detectors for mask in detects):
        return PassPlan()
    if types and all(shape_of(oid) is Shape.FREE for oid in types):
        return PassPlan()
    return DetectPlan(detects, types, formats, kind, bulk, copy)
