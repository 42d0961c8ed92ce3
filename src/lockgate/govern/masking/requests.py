"""What agents send, looked at with the detectors that look at results: for card numbers that a model made up, for
secrets that do not belong there, and for masks that are about to be stored in the place of data.

Apart from `detection`, which works on a stream of results: here single values of one request are looked at before it
goes on. What a find leads to is policy's: it is put on record, replaced, or the request is refused.
"""

from __future__ import annotations

from collections.abc import Callable

from lockgate.govern.masking.column_types import NUMERIC_OID
from lockgate.govern.masking.conceal import Concealer
from lockgate.govern.masking.detectors import detectors_for
from lockgate.govern.masking.search import Search
from lockgate.govern.masking.tokens import Tokens
from lockgate.govern.masking.writeback import is_mask
from lockgate.model import DetectMask, MaskMethod, RequestAction, RequestCheck


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

    def number(self, digits: str) -> str | None:
        """An integer written in a statement, as `value`."""
        new = self.value(digits.encode(), NUMERIC_OID, binary=False)
        return None if new is None else new.decode()

    def value(self, value: bytes, oid: int, *, binary: bool) -> bytes | None:
        """The value, or what goes on in its place where a find is to be masked or blocks the request."""
        if self._guards and is_mask(value, self._tokens):
            self.has_mask = True
            return value
        concealer = self._concealer
        if concealer is None:
            return value
        conceal = self._by_type.get((oid, binary))
        if conceal is None:
            conceal = concealer.for_column(oid, binary) if oid else concealer.untyped
            self._by_type[(oid, binary)] = conceal
        new = conceal(value)
        if new is value:
            return value
        strongest = RequestAction.RECORD
        for name, count in self._masked.items():
            self.found[name] = self.found.get(name, 0) + count
            strongest = max(strongest, self._actions.get(name, RequestAction.BLOCK))
        self._masked.clear()
        self.action = strongest if self.action is None else max(self.action, strongest)
        return value if strongest is RequestAction.RECORD else new
