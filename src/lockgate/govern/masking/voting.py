"""Voting: what most values of a column are, the rest of them is suspected to be.

A detector is elected in a column once at least `least` of its values were confirmed finds of it, and these
are at least `share` per cent of the rows so far. From the next row on its weaker form (`Detector.suspect`)
runs on that column too: nine bare digits among social security numbers, a card number whose check digit is
wrong among cards. An election is never taken back and only ever adds masks: whoever can add rows can make
more be hidden, never less.

Rules: counted is by row, in the order of the rows, and only what the precise halves confirm; so the result
depends on the rows alone and not on how they lie in chunks. Rows that went out before the election stay as
they went. What is kept is one count per column and detector that was ever found there. A vote is about one
result: an Execute that goes on with a suspended portal begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.govern.masking.detector import Detector


@dataclass(frozen=True, slots=True)
class Terms:
    """When a detector is elected: after `least` finds that are `share` per cent of the rows so far."""

    least: int = 20
    share: int = 80


class Ballot:
    """The count of one result. `elected` holds the detectors of each column, as `(detector, row)`: suspected
    are the rows behind that one.
    """

    __slots__ = ("_counts", "_done", "_terms", "elected")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._counts: dict[tuple[int, str], int] = {}
        self._done: set[tuple[int, str]] = set()
        self.elected: dict[int, list[tuple[Detector, int]]] = {}

    def is_open(self, column: int, detector: Detector) -> bool:
        """Whether a find of this detector in this column counts: it has a weaker form and is not elected yet."""
        return detector.suspect is not None and (column, detector.name) not in self._done

    def cast(self, row: int, column: int, detector: Detector) -> bool:
        """Count a confirmed find in row number `row` (from 0). True when it elects the detector.

        To be called once per row, column and detector, in ascending order of rows.
        """
        key = (column, detector.name)
        if detector.suspect is None or key in self._done:
            return False
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count < self._terms.least or count * 100 < self._terms.share * (row + 1):
            return False
        self.elected.setdefault(column, []).append((detector, row))
        self._done.add(key)
        del self._counts[key]
        return True

    def suspects(self, row: int, column: int) -> list[Detector]:
        """The detectors whose weaker form is due in this row and column."""
        return [detector for detector, since in self.elected.get(column, ()) if since < row]
