"""Masks of single result values: the one place where method, type and format meet.

Apart from `columns`, which knows where values lie in a stream of results: here is what becomes of one. Every mask
gives a valid value of the column's own type and raises for no bytes. What a method cannot work on is redacted; where
redaction knows no valid constant, the value becomes NULL.

| method | works on | everything else |
| --- | --- | --- |
| `partial` | text, varchar, char(n), name | redacted |
| `date_shift` | date, timestamp, timestamptz | redacted |
| `fpe` | text, varchar, char(n), name, int2, int4, int8, oid, numeric, uuid | redacted |
| `token` | text, varchar, char(n), name, xml, json, jsonb, bytea; unmarked: int4, int8, oid, uuid | redacted |
| `hash` | the same as `token`, and int2, numeric, float4, float8, inet, cidr, macaddr, macaddr8 | redacted |
| `fake` | text, varchar, char(n), name | redacted |
| `redact`, `null` | every type | |

All but `partial`, `redact` and `null` go into arrays, element by element; those take an array as a whole. A domain is
masked as its base type, because its CHECK is nobody's business once it is shown; inside a statement its mask is NULL.

What the keyed methods do not hide: that two values are equal. Whoever may write into a column of the label as well as
read it can write a guess and compare; a policy that allows both should take `redact`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lockgate.govern.masking.arrays import masked_binary, masked_text
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.date_shift import date_mask, shift_of, shifted
from lockgate.govern.masking.fake import fake_mask
from lockgate.govern.masking.json_paths import JsonPaths, Leaf
from lockgate.govern.masking.json_values import dates_only, leaf_of, paths_mask
from lockgate.govern.masking.keyed_hash import hash_mask
from lockgate.govern.masking.keys import MASTER_BYTES, MaskKeys
from lockgate.govern.masking.partial import partial_mask
from lockgate.govern.masking.preserving import preserving_mask
from lockgate.govern.masking.redaction import Replace, constant, redaction
from lockgate.govern.masking.tokens import token_mask
from lockgate.model import MaskMethod, Secret

_BY_ELEMENT: Final = frozenset(
    (MaskMethod.DATE_SHIFT, MaskMethod.FPE, MaskMethod.TOKEN, MaskMethod.HASH, MaskMethod.FAKE))
_ANY_KEYS: Final = MaskKeys(Secret("00" * MASTER_BYTES))
"""For the question whether there is a mask; no value is masked with them."""
_TEXT: Final = ColumnType(25)
_NUMERIC: Final = ColumnType(1700)


@dataclass(frozen=True, slots=True)
class ValueMask:
    """How the values of one column are hidden. `replace` gives the new value, None for NULL, and never raises.

    `null` is what NULL becomes: `redact` hides that nothing is there, the other methods do not. `leaves_rest` says
    that parts of the value are left as they were (JSON paths), in which detectors still have to look.
    """

    replace: Replace
    null: bytes | None = None
    leaves_rest: bool = False


@dataclass(frozen=True, slots=True)
class MaskTerms:
    """What the mask of a column depends on besides its type. Equal terms give equal masks for equal values.

    `scope` is the key's reach: a task's id, or a connection's. `label` is the label, or the column's full name where
    it has none: columns under one label can be joined, and their dates keep their distances. `paths` are JSON paths
    to hide inside json and jsonb; other types are hidden as a whole.
    """

    method: MaskMethod
    scope: bytes = b""
    label: str = ""
    paths: frozenset[str] = frozenset()


def value_mask(terms: MaskTerms, column: ColumnType, binary: bool, keys: MaskKeys) -> ValueMask:
    """The mask for one column of a result in one format.

    ValueError for an empty scope with a method that needs a key, and for a JSON path that cannot be read.
    """
    method = terms.method
    redact = redaction(column, binary)
    inner = column.element or column
    if terms.paths and inner.name in ("json", "jsonb"):
        return ValueMask(_by_element(column, binary, redact, _by_path(terms, inner, binary, keys)), leaves_rest=True)
    if method is MaskMethod.NULL:
        return ValueMask(_nothing)
    if method is MaskMethod.REDACT:
        return ValueMask(redact, constant(column, binary))
    single = _single(terms, inner, binary, keys) if inner is column or method in _BY_ELEMENT else None
    return ValueMask(redact if single is None else _by_element(column, binary, redact, single))


@lru_cache(maxsize=1024)
def fits(method: MaskMethod, paths: frozenset[str], column: ColumnType) -> bool:
    """Whether the mask works on values of the column's type; False where they are redacted instead, or hidden as a
    whole where `paths` ask for parts."""
    inner = column.element or column
    if paths:
        return inner.name in ("json", "jsonb")
    if method in (MaskMethod.NULL, MaskMethod.REDACT):
        return True
    terms = MaskTerms(method, b"any", "any")
    return (inner is column or method in _BY_ELEMENT) and _single(terms, inner, False, _ANY_KEYS) is not None


def _nothing(_value: bytes) -> bytes | None:
    return None


def _single(terms: MaskTerms, column: ColumnType, binary: bool, keys: MaskKeys) -> Replace | None:
    """The mask of values that are no arrays, None where the method has none for their type."""
    method, scope, label = terms.method, terms.scope, terms.label
    redact = redaction(column, binary)
    match method:
        case MaskMethod.PARTIAL:
            return partial_mask(column, redact)
        case MaskMethod.DATE_SHIFT:
            return date_mask(column, binary, keys.derive(scope, label, method), redact)
        case MaskMethod.FPE:
            return preserving_mask(column, binary, keys.derive(scope, label, method), redact)
        case MaskMethod.TOKEN:
            return token_mask(column, binary, keys, scope, label, redact)
        case MaskMethod.HASH:
            return hash_mask(column, binary, keys.derive(scope, label, method), redact)
        case MaskMethod.FAKE:
            return fake_mask(column, keys.derive(scope, label, method), label, redact)
    return None


def _by_path(terms: MaskTerms, column: ColumnType, binary: bool, keys: MaskKeys) -> Replace:
    leaf = json_leaf(terms, keys)
    return paths_mask(JsonPaths(sorted(terms.paths)), column.name == "jsonb" and binary, leaf, redaction(column, binary))


def json_leaf(terms: MaskTerms, keys: MaskKeys) -> Leaf:
    """What stands for a hidden value inside a JSON document. ValueError for an empty scope with a method that needs a key."""
    shown = redaction(_TEXT, binary=False)
    text = _single(terms, _TEXT, False, keys) or shown
    if terms.method is MaskMethod.DATE_SHIFT:
        days = shift_of(keys.derive(terms.scope, terms.label, terms.method))
        text = dates_only(lambda value: shifted(value, days), shown)
    return leaf_of(terms.method, text, _single(terms, _NUMERIC, False, keys) or redaction(_NUMERIC, binary=False))


def _by_element(column: ColumnType, binary: bool, redact: Replace, single: Replace) -> Replace:
    """`single` for the elements of an array, or for the values themselves where the column holds no arrays."""
    element = column.element
    if element is None:
        return single
    oid = element.oid

    def replace(value: bytes) -> bytes | None:
        try:
            return masked_binary(value, single, oid) if binary else masked_text(value, single)
        except ValueError:
            return redact(value)

    return replace
