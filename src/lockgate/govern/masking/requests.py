"""What agents send, looked at with the detectors that look at results: for card numbers that a model made up, for
secrets that do not belong there, and for masks that are about to be stored in the place of data.

Apart from `detection`, which works on a stream of results: here single values of one request are looked at before it
goes on. What a find leads to is policy's: it is put on record, replaced, or the request is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import orjson

from lockgate.govern.masking import typed_values as typed
from lockgate.govern.masking.column_types import NUMERIC_OID
from lockgate.govern.masking.conceal import Concealer, json_string
from lockgate.govern.masking.detector import REDACTED
from lockgate.govern.masking.detectors import detectors_for
from lockgate.govern.masking.search import Search
from lockgate.govern.masking.tokens import Tokens
from lockgate.govern.masking.writeback import is_mask
from lockgate.model import DetectMask, MaskMethod, RequestAction, RequestCheck

_JSON: Final = 114
_JSONB: Final = 3802
_INT8: Final = 20
_LARGE: Final = 8
_NUMERICS: Final = typed.numerics(binary=True)


class ContentCheck:
    """The look at one request. `found` counts finds by detector, `action` is the strongest that policy asks for."""

    __slots__ = ("_actions", "_by_type", "_concealer", "_guards", "_masked", "_tokens", "action", "found", "has_mask")

    def __init__(self, checks: tuple[RequestCheck, ...], tokens: Tokens | None, *, guards: bool) -> None:
        """`guards`: the request stores values, so none of them may be a mask."""
        self._actions = {name: check.action for check in checks for name in check.detectors}
        names = tuple(self._actions)
        active = detectors_for(checks).active((DetectMask(names, MaskMethod.REDACT),))
        self._masked: dict[str, int] = {}
        self._concealer = Concealer(Search(active, self._masked)) if active else None
        self._by_type: dict[tuple[int, bool], Callable[[bytes], bytes | None]] = {}
        self._tokens = tokens
        self._guards = guards
        self.found: dict[str, int] = {}
        self.action: RequestAction | None = None
        self.has_mask = False

    @property
    def is_idle(self) -> bool:
        """Whether every value passes, whatever it is."""
        return self._concealer is None and not self._guards

    def value(self, value: bytes, oid: int, *, binary: bool) -> bytes | None:
        """The value, or what goes on in its place where a find is to be masked or blocks the request."""
        if self._guards and is_mask(value, self._tokens):
            self.has_mask = True
        concealer = self._concealer
        if concealer is None:
            return value
        new: bytes | None = value
        for kind, in_binary in ((oid, binary),) if oid else _forms(value, binary=binary):
            new = self._conceal(concealer, kind, in_binary)(value)
            if new is not value:
                break
        else:
            return value
        return self._judged(value, new)

    def member(self, name: bytes, value: bytes) -> bytes | None:
        """A text under a name (a form's field, a header), or what goes on in its place."""
        concealer = self._concealer
        if concealer is None or concealer.search.hides_member(name, value) is None:
            return self.value(value, 0, binary=False)
        return self._judged(value, REDACTED)

    def json_token(self, raw: bytes, name: bytes | None, above: bytes | None) -> bytes | None:
        """A string or number of a JSON document as it is written, or what goes on in its place (None: null). `name` is
        written before it, everything up to the end of an outer container stands under `above`.
        """
        if self._guards and is_mask(json_string(raw) or raw, self._tokens):
            self.has_mask = True
        concealer = self._concealer
        if concealer is None:
            return raw
        new = concealer.json_token(raw, name, above)
        return raw if new is raw else self._judged(raw, new)

    def names(self, name: bytes) -> bool:
        """Whether everything under this name in a JSON document has to be looked at with it."""
        return self._concealer is not None and self._concealer.search.names(name)

    def _judged(self, value: bytes, new: bytes | None) -> bytes | None:
        """What goes on of a value in which something was found: it is counted, and what policy asks for is done."""
        strongest = RequestAction.RECORD
        for name, count in self._masked.items():
            self.found[name] = self.found.get(name, 0) + count
            strongest = max(strongest, self._actions.get(name, RequestAction.BLOCK))
        self._masked.clear()
        self.action = strongest if self.action is None else max(self.action, strongest)
        return value if strongest is RequestAction.RECORD else new

    def _conceal(self, concealer: Concealer, oid: int, binary: bool) -> Callable[[bytes], bytes | None]:
        found = self._by_type.get((oid, binary))
        if found is None:
            found = self._by_type[(oid, binary)] = concealer.for_column(oid, binary) if oid else concealer.untyped
        return found


def _forms(value: bytes, *, binary: bool) -> Iterator[tuple[int, bool]]:
    """The types that a value may be of where nobody has said it, as (OID, whether in binary): text always (0), or JSON,
    in which escapes hide characters; of binary ones also those in which no text can be read."""
    bare = value[1:] if binary and value[:1] == b"\1" else value
    is_document = bare.lstrip(b" \t\n\r")[:1] in (b"{", b"[", b'"') and is_json(bare)
    if not is_document:
        yield 0, False
    elif bare is value:
        yield _JSON, False
    else:
        yield _JSONB, True
    if binary and len(value) == _LARGE:
        yield _INT8, True
    if binary and _is_numeric(value):
        yield NUMERIC_OID, True


def is_json(value: bytes) -> bool:
    """Whether a value is one JSON document."""
    try:
        orjson.loads(value)
    except ValueError:
        return False
    return True


def _is_numeric(value: bytes) -> bool:
    try:
        _NUMERICS.read(value)
    except ValueError:
        return False
    return True
