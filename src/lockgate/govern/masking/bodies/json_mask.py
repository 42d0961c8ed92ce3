"""JSON values that stand in one message, each looked into by itself.

Apart from `json_body`, whose document comes in pieces and is one: here a protocol has taken a message to pieces, and most of
its values hold nothing to be hidden. So the message is searched once, and what all values need is made once.
"""

from __future__ import annotations

from lockgate.govern.masking.bodies.json_body import JsonRules
from lockgate.govern.masking.bodies.values import Values
from lockgate.kernel.json_scan import JsonScanner


class JsonMask:
    """The look at the values of the message `text`."""

    __slots__ = ("_passes", "_rules", "_values", "is_quiet")

    def __init__(self, values: Values, text: str) -> None:
        self._values = values
        self._rules = JsonRules(values)
        # A find in a value is one in the message, as nothing but space, commas and the like stands beside a value.
        self.is_quiet = not values.every and not values.hits(text.encode())
        """Whether detectors find nothing in any of them."""
        self._passes = self.is_quiet and values.selection.is_idle

    def __call__(self, value: str) -> str:
        """What becomes of a value; the same object where nothing does. ValueError for what cannot be looked into."""
        if self._passes:
            return value
        values, data = self._values, value.encode()
        scanner = JsonScanner(self._rules, values.terms.limit, False)
        new = scanner.feed(data, [] if self.is_quiet else values.hits(data)) + scanner.finish()
        values.count_all(scanner.counts)
        return value if new == data else new.decode("utf-8", "surrogatepass")
