"""What becomes of single values of a body: those that a mask names, and those that are looked at with detectors.

Apart from the shapes (JSON, forms, CSV …), which know where values lie and nothing of masks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import re2

from lockgate.govern.masking.bodies.selection import Selection, selection
from lockgate.govern.masking.bodies.terms import BodyTerms
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.conceal import Concealer
from lockgate.govern.masking.custom import LinearPattern
from lockgate.govern.masking.detector import REDACTED, Detector
from lockgate.govern.masking.detectors import Active, detectors_for
from lockgate.govern.masking.json_paths import Leaf
from lockgate.govern.masking.keys import MASTER_BYTES, MaskKeys
from lockgate.govern.masking.prefilter import union
from lockgate.govern.masking.redaction import Replace
from lockgate.govern.masking.search import Search
from lockgate.govern.masking.value_masks import MaskTerms, json_leaf, value_mask
from lockgate.model import DetectMask, KeyScope, MaskMethod, Secret

_TEXT: Final = ColumnType(25)
_JSON_REDACTED: Final = b'"' + REDACTED + b'"'
_KEYED: Final = frozenset(
    (MaskMethod.HASH, MaskMethod.TOKEN, MaskMethod.FPE, MaskMethod.DATE_SHIFT, MaskMethod.FAKE))
_NO_KEYS: Final = MaskKeys(Secret("00" * MASTER_BYTES))
"""Where none are given; no value is masked with them."""
_ESCAPES: Final = r"\\[u/]"                         # what JSON may write for any character
_ANY_ESCAPE: Final = r"\\"


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """The detectors of a body, `active` in values and `in_text` in running text, and what finds where they may find
    something: in JSON, in text."""

    active: Active
    in_text: Active
    json: re2._Regexp
    text: re2._Regexp


@lru_cache(maxsize=256)
def looks_of(detects: tuple[DetectMask, ...]) -> Looks | None:
    """The detectors that masks put in force, None for none."""
    active = detectors_for(detects).active(detects)
    if not active:
        return None
    prefilters = [found.prefilter for found, _ in active]
    escapes = [_ANY_ESCAPE if any(found.takes_escapes for found, _ in active) else _ESCAPES]
    return Looks(active, tuple((_unbounded(found), _shown(method)) for found, method in active),
                 union((*prefilters, *escapes)), union(tuple(prefilters)))


class Values:
    """The values of one body. `masked` counts what was hidden, by label and by detector."""

    __slots__ = ("_concealer", "_leaves", "_selection", "_terms", "_texts", "looks", "masked", "search")

    def __init__(self, terms: BodyTerms) -> None:
        self._terms = terms
        self._selection: Selection | None = None
        self._leaves: dict[int, Leaf] = {}
        self._texts: dict[int, Replace] = {}
        self.masked: dict[str, int] = {}
        self.looks = looks_of(terms.detects)
        self._concealer: Concealer | None = None
        self.search: Search | None = None if self.looks is None else Search(self.looks.in_text, self.masked)

    @property
    def selection(self) -> Selection:
        """What the masks name."""
        made = self._selection
        if made is None:
            made = self._selection = selection(self._terms.masks, self._terms.place)
        return made

    @property
    def concealer(self) -> Concealer | None:
        """What looks at single values, None where no detector is in force."""
        if self._concealer is None and self.looks is not None:
            self._concealer = Concealer(Search(self.looks.active, self.masked))
        return self._concealer

    def hidden_json(self, at: int, first: int, raw: bytes | None) -> bytes:
        """What stands for the JSON value that cover `at` hides. `first` is its first byte, `raw` None if it is too long."""
        self.count(at, 1)
        if raw is None:
            return _JSON_REDACTED
        leaf = self._leaves.get(at)
        if leaf is None:
            leaf = self._leaves[at] = json_leaf(*self._terms_of(at))
        try:
            return leaf(raw.decode("utf-8", "surrogatepass")).encode()
        except ValueError:                          # half of a surrogate pair, of which no method makes anything
            return _JSON_REDACTED

    def hidden_text(self, at: int, value: bytes) -> bytes:
        """What stands for the text that cover `at` hides; an empty one where that is nothing."""
        self.count(at, 1)
        found = self._texts.get(at)
        if found is None:
            terms, keys = self._terms_of(at)
            found = self._texts[at] = value_mask(terms, _TEXT, False, keys).replace
        return found(value) or b""

    def text(self, value: bytes, name: bytes | None = None) -> bytes:
        """A text that no mask names, with its finds hidden; `name` is what it stands under. The same object without."""
        concealer = self.concealer
        if concealer is None or not value:
            return value
        if name is not None:
            method = concealer.search.hides_member(name, value)
            if method is not None:
                return b"" if method is MaskMethod.NULL else REDACTED
        new = concealer.text(value)
        return b"" if new is None else new

    def count(self, at: int, times: int) -> None:
        """What cover `at` hides was hidden."""
        label = self.selection.labels[at]
        self.masked[label] = self.masked.get(label, 0) + times

    def count_all(self, counts: dict[int, int]) -> None:
        """What a scanner has counted by cover; it begins anew."""
        for at, times in counts.items():
            self.count(at, times)
        counts.clear()

    def _terms_of(self, at: int) -> tuple[MaskTerms, MaskKeys]:
        """The terms of a cover's mask and the keys; where there are none, a mask that needs one redacts."""
        cover, terms = self.selection.covers[at], self._terms
        scope = terms.scope if cover.scope is KeyScope.CONNECTION else terms.task_scope
        is_possible = cover.method not in _KEYED or (terms.keys is not None and bool(scope))
        method = cover.method if is_possible else MaskMethod.REDACT
        return MaskTerms(method, scope, self.selection.labels[at]), terms.keys or _NO_KEYS


def _unbounded(found: Detector) -> Detector:
    """A detector for running text, which is no value and has no length."""
    find = found.find
    return replace(found, find=replace(find, shortest=0, longest=None)) if isinstance(find, LinearPattern) else found


def _shown(method: MaskMethod) -> MaskMethod:
    """A find in running text cannot make all of it nothing."""
    return MaskMethod.REDACT if method is MaskMethod.NULL else method
