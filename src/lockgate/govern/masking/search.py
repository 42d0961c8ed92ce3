"""Search: the detectors in force in a column, run over its values, and what is left of a value afterwards.

Only detectors whose prefilter occurs in a value run on it. Many values are searched in one go, joined by
NUL bytes, which no text of a database holds and no shipped pattern takes: a find cannot cross them.

Stands apart from `conceal`, which knows types: here a value is text.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from lockgate.govern.masking.detector import REDACTED, Detector, Span
from lockgate.govern.masking.detectors import Active
from lockgate.govern.masking.prefilter import choice
from lockgate.model import MaskMethod

Find = tuple[int, int, Detector, MaskMethod]
"""Start, end, what found it, how it is hidden."""

_NUL = b"\0"
_FEW = 2          # detectors that are run over all values rather than asking each value which it may hold


class Search:
    """The detectors of one column. `masked` counts finds by detector name; searches of a result share it."""

    __slots__ = ("_choice", "active", "masked", "members")

    def __init__(self, active: Active, masked: dict[str, int]) -> None:
        self.active = active
        self.masked = masked
        self.members = tuple(one for one in active if one[0].member is not None)
        self._choice = choice(tuple(detector.prefilter for detector, _ in active))

    def finds(self, value: bytes) -> list[Find]:
        """What the detectors find in one value, in no order."""
        found: list[Find] = []
        for place in self._choice(value):
            detector, method = self.active[place]
            found += [(start, end, detector, method) for start, end in detector.find(value)]
        return found

    def finds_in(self, values: list[bytes]) -> list[list[Find]]:
        """What `finds` gives for each of `values`."""
        joined = _NUL.join(values)
        if len(values) < 2 or joined.count(_NUL) != len(values) - 1:
            return [self.finds(value) for value in values]
        found: list[list[Find]] = [[] for _ in values]
        occurring = self._choice(joined)
        if len(occurring) <= _FEW:
            for place in occurring:
                self._find_in(place, joined, values, found)
            return found
        holding: dict[int, list[int]] = {}
        for index, value in enumerate(values):
            for place in self._choice(value):
                holding.setdefault(place, []).append(index)
        for place, indexes in holding.items():
            some = [values[index] for index in indexes]
            self._find_in(place, _NUL.join(some), some, [found[index] for index in indexes])
        return found

    def _find_in(self, place: int, joined: bytes, values: list[bytes], found: list[list[Find]]) -> None:
        """Add what one detector finds in `values`, which `joined` holds, to each one's list."""
        detector, method = self.active[place]
        if detector.joined:
            _deal_out(detector.find(joined), values, detector, method, found)
            return
        for value, finds in zip(values, found, strict=True):
            finds += [(start, end, detector, method) for start, end in detector.find(value)]

    def suspicions_in(self, values: list[bytes], suspected: Detector) -> list[list[Find]]:
        """What the weaker form of a shipped detector in force finds in each of `values`."""
        find = suspected.suspect
        found: list[list[Find]] = [[] for _ in values]
        if find is None:
            return found
        method = next(method for detector, method in self.active if detector is suspected)
        joined = _NUL.join(values)
        if joined.count(_NUL) == len(values) - 1:
            _deal_out(find(joined), values, suspected, method, found)
            return found
        return [[(start, end, suspected, method) for start, end in find(value)] for value in values]

    def concealed(self, value: bytes) -> bytes | None:
        """The value with its finds hidden; the same object when there are none."""
        found = self.finds(value)
        return self.hidden(value, found) if found else value

    def hidden(self, value: bytes, finds: list[Find]) -> bytes | None:
        """`value` with `finds` (at least one) counted and replaced, or None when one makes the whole NULL."""
        masked = self.masked
        for find in finds:
            name = find[2].name
            masked[name] = masked.get(name, 0) + 1
        if len(finds) > 1:
            return _merged(value, finds)
        start, end, detector, method = finds[0]
        if method is MaskMethod.NULL:
            return None
        shown = detector.partial(value[start:end]) if method is MaskMethod.PARTIAL else REDACTED
        return value[:start] + shown + value[end:]

    def names(self, name: bytes) -> bool:
        """Whether a JSON name alone says that everything under it goes."""
        return any(one.names and one.member is not None and one.member(name, REDACTED) for one, _ in self.members)

    def hides_member(self, name: bytes, value: bytes, *, by_name: bool = False) -> MaskMethod | None:
        """The method for the string or number under a JSON name, or None where no detector knows the two as a find.
        `by_name`: only those ask that go by the name alone.
        """
        for detector, method in self.members:
            if by_name and not detector.names:
                continue
            if detector.member is not None and detector.member(name, value):
                self.masked[detector.name] = self.masked.get(detector.name, 0) + 1
                return method
        return None


def _deal_out(
    spans: list[Span], values: list[bytes], detector: Detector, method: MaskMethod, found: list[list[Find]]
) -> None:
    """Give each span in joined values to the list of its value."""
    if not spans:
        return
    starts = [0, *accumulate([len(value) + 1 for value in values])]
    for start, end in spans:
        index = bisect_right(starts, start) - 1
        base = starts[index]
        found[index].append((start - base, end - base, detector, method))


def add_new(finds: list[Find], more: list[Find]) -> None:
    """Add those of `more` that say something new: no find of the same detector lies on them."""
    for find in more:
        if not any(find[0] < known[1] and known[0] < find[1] and known[2] is find[2] for known in finds):
            finds.append(find)


def _merged(value: bytes, finds: list[Find]) -> bytes | None:
    """The strongest mask wins; overlapping finds go as one, readable only when they agree on the extent."""
    if any(method is MaskMethod.NULL for _, _, _, method in finds):
        return None
    finds = sorted(finds, key=lambda find: (find[0], -find[1], find[2].name))
    out: list[bytes] = []
    done = 0
    index = 0
    while index < len(finds):
        start, end, detector, method = finds[index]
        is_one = True
        index += 1
        while index < len(finds) and finds[index][0] < end:
            is_one = is_one and finds[index][:2] == (start, end)
            end = max(end, finds[index][1])
            method = max(method, finds[index][3])
            index += 1
        out.append(value[done:start])
        is_partial = method is MaskMethod.PARTIAL and is_one
        out.append(detector.partial(value[start:end]) if is_partial else REDACTED)
        done = end
    out.append(value[done:])
    return b"".join(out)
