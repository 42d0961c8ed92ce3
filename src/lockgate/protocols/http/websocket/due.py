"""What is due over one socket: for the request that opened it, and since then for each message.

Apart from `socket`, which asks: nobody can tell which message of a backend answers which of the client's, so what was due
once is due for all that comes behind it. It only grows.
"""

from __future__ import annotations

from typing import Final

from lockgate.govern.masking.bodies import BodyTerms, Renamed
from lockgate.govern.policy.composition import detect_masks
from lockgate.model import ColumnMask, Decision, DetectMask, Refusal, RefusalCode, Rule
from lockgate.protocols.http.admission import Admitted

NAMES: Final = 4_096
"""Names that the messages of one socket may give to fields."""
_UNREAD: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "what comes back over this WebSocket may have names that nobody has read, and masks go by names",
    hint="Open another one, and send GraphQL in the form of graphql-transport-ws.")
_TOO_MANY: Final = Refusal(
    RefusalCode.TOO_LARGE, f"the messages of this WebSocket have given fields more than {NAMES} names",
    hint="Open another one, or use fewer aliases.")


class Due:
    """Mutable. `place` are the segments of the path, `limit` bytes of a message."""

    __slots__ = ("_admitted", "_bound", "_detects", "_is_unread", "_known", "_limit", "_masks", "_place", "_renamed")

    def __init__(self, admitted: Admitted, place: tuple[str, ...], limit: int) -> None:
        self._admitted = admitted
        self._place = place
        self._limit = limit
        self._masks: tuple[ColumnMask, ...] = ()            # of the messages so far
        self._detects: tuple[DetectMask, ...] = ()
        self._bound: tuple[int, str] | None = None          # bytes, and the rule that says so
        self._renamed: Renamed = ()
        self._is_unread = False
        self._known: BodyTerms | None = None                # the last ones

    def terms(self, standing: Decision, message: Decision | None = None, names: Renamed | None = ()) -> BodyTerms | Refusal:
        """What is hidden under the decision on the request that opened the socket, with that on a message in the balance, which
        has given fields these names (None: nobody knows). A refusal where masks by name cannot be held."""
        masks, detects = _both(standing.masks, self._masks), _strongest(standing.detects, self._detects)
        if message is not None:
            masks, detects = _both(masks, message.masks), _strongest(detects, message.detects)
        renamed = _joined(self._renamed, names or ())
        if masks and (names is None or self._is_unread):
            return _UNREAD
        if len(renamed) > NAMES:
            return _TOO_MANY
        known = self._known
        if known is None or (known.masks, known.detects, known.renamed) != (masks, detects, renamed):
            known = self._known = self._admitted.terms_of(masks, detects, self._place, self._limit, renamed)
        return known

    def widen(self, message: Decision, names: Renamed | None) -> None:
        """A message goes on."""
        self._masks = _both(self._masks, message.masks)
        self._detects = _strongest(self._detects, message.detects)
        self._bound = _least(self._bound, message)
        self._renamed = _joined(self._renamed, names or ())
        self._is_unread = self._is_unread or names is None

    def spent(self, standing: Decision, used: int) -> Refusal | None:
        """Why no more comes back, to a caller whose task has got so many bytes."""
        bound = _least(self._bound, standing)
        if bound is None or used < bound[0]:
            return None
        return Refusal(RefusalCode.LIMITED, f"this task has got the {bound[0]} bytes that it may get", rule=bound[1])


def _both(some: tuple[ColumnMask, ...], more: tuple[ColumnMask, ...]) -> tuple[ColumnMask, ...]:
    """Every mask of either once, in an order that does not depend on theirs."""
    if not more or some == more:
        return some
    return tuple(sorted({*some, *more}, key=repr)) if some else more


def _strongest(some: tuple[DetectMask, ...], more: tuple[DetectMask, ...]) -> tuple[DetectMask, ...]:
    """Every detector of either once, with its strongest method."""
    if not more or some == more:
        return some
    return detect_masks((Rule("", detects=some), Rule("", detects=more))) if some else more


def _least(bound: tuple[int, str] | None, decision: Decision) -> tuple[int, str] | None:
    """The smaller bound of bytes."""
    other = decision.limits.bytes
    if other is None:
        return bound
    named = other, dict(decision.limit_rules).get("bytes", "")
    return named if bound is None else min(bound, named)


def _joined(some: Renamed, more: Renamed) -> Renamed:
    """What a name may stand for by either."""
    if not more or some == more:
        return some
    found = {name: set(meant) for name, meant in some}
    for name, meant in more:
        found.setdefault(name, set()).update(meant)
    return tuple(sorted((name, tuple(sorted(meant))) for name, meant in found.items()))
