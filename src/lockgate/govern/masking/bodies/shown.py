"""What of a body's values is shown to a client: what masks name is masked, what detectors find is hidden.

Apart from `sent`, the other direction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import re2

from lockgate.govern.masking.bodies.running import TextSearch
from lockgate.govern.masking.bodies.terms import BodyTerms
from lockgate.govern.masking.bodies.values import Running, Values, mask_for
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.conceal import Concealer
from lockgate.govern.masking.custom import LinearPattern
from lockgate.govern.masking.detector import REDACTED, Detector
from lockgate.govern.masking.detectors import DETECTORS, Active, detectors_for
from lockgate.govern.masking.json_paths import Leaf
from lockgate.govern.masking.prefilter import union
from lockgate.govern.masking.redaction import Replace
from lockgate.govern.masking.search import Search
from lockgate.govern.masking.value_masks import json_leaf, value_mask
from lockgate.model import DetectMask, MaskMethod

_TEXT: Final = ColumnType(25)
_JSON_REDACTED: Final = b'"' + REDACTED + b'"'
_QUOTE: Final = 34
_AS_IT_IS: Final = re.compile(rb"[ !#-\[\]-~]*+")     # what stands in a JSON string as it is
_ESCAPES: Final = r"\\[u/]"                         # what JSON may write for any character
_ANY_ESCAPE: Final = r"\\"


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """The detectors of a body: `active` in values, `in_text` in running text, and what tells where they may find
    something: in JSON, in text.
    """

    active: Active
    in_text: Active
    json: re2._Regexp
    text: re2._Regexp
    has_customs: bool


@lru_cache(maxsize=256)
def looks_of(detects: tuple[DetectMask, ...]) -> Looks | None:
    """The detectors that masks put in force, None for none."""
    active = detectors_for(detects).active(detects)
    if not active:
        return None
    prefilters = tuple(found.prefilter for found, _ in active)
    escape = _ANY_ESCAPE if any(found.takes_escapes for found, _ in active) else _ESCAPES
    return Looks(active, tuple((_unbounded(found), _shown(method)) for found, method in active),
                 union((*prefilters, escape)), union(prefilters), any(found.name not in DETECTORS for found, _ in active))


class ShownValues(Values):
    """The values of one body on its way to a client. `masked` counts what was hidden, by label and by detector."""

    def __init__(self, terms: BodyTerms, masked: dict[str, int] | None = None) -> None:
        """`masked` is where others count as well."""
        super().__init__(terms)
        if masked is not None:
            self.masked = masked
        self._looks = looks_of(terms.detects)
        self._leaves: dict[int, Leaf] = {}
        self._texts: dict[int, Replace] = {}
        self._made: Concealer | None = None

    @property
    def looks(self) -> bool:
        return self._looks is not None

    def documents(self) -> Values | None:
        return ShownValues(self.terms)

    @property
    def refuses_text(self) -> bool:
        return self.terms.refuses_text and bool(self.terms.masks)

    def hits(self, data: bytes) -> list[tuple[int, int]]:
        looks = self._looks
        return [] if looks is None else [hit.span() for hit in looks.json.finditer(data)]

    def hidden_json(self, at: int, first: int, raw: bytes | None) -> bytes:
        self.count(at)
        if raw is None:
            return _JSON_REDACTED
        # A string without escapes, which nearly all are, needs no reading and writing of JSON; dates are told from others there.
        if first == _QUOTE and b"\\" not in raw and self.selection.covers[at].method is not MaskMethod.DATE_SHIFT:
            new = self._text_mask(at)(raw[1:-1])
            if new is not None and _AS_IT_IS.fullmatch(new):
                return b'"' + new + b'"'
        leaf = self._leaves.get(at)
        if leaf is None:
            leaf = self._leaves[at] = json_leaf(*mask_for(self, at))
        try:
            return leaf(raw.decode("utf-8", "surrogatepass")).encode()
        except ValueError:                          # half of a surrogate pair, of which no method makes anything
            return _JSON_REDACTED

    def hidden_text(self, at: int, value: bytes) -> bytes:
        self.count(at)
        return self._text_mask(at)(value) or b""

    def _text_mask(self, at: int) -> Replace:
        found = self._texts.get(at)
        if found is None:
            terms, keys = mask_for(self, at)
            found = self._texts[at] = value_mask(terms, _TEXT, False, keys).replace
        return found

    def token(self, raw: bytes, name: bytes | None, above: bytes | None) -> bytes | None:
        concealer = self._concealer()
        return raw if concealer is None else concealer.json_token(raw, name, above)

    def text(self, value: bytes, name: bytes | None = None) -> bytes:
        concealer = self._concealer()
        if concealer is None or not value:
            return value
        method = None if name is None else concealer.search.hides_member(name, value)
        if method is not None:
            return b"" if method is MaskMethod.NULL else REDACTED
        new = concealer.text(value)
        return b"" if new is None else new

    def hides_below(self, name: bytes) -> bool:
        concealer = self._concealer()
        return concealer is not None and concealer.search.names(name)

    @property
    def joins(self) -> bool:
        return self._looks is not None

    def running(self) -> Running:
        looks = self._looks
        if looks is None:
            return TextSearch(None, None, self.terms.limit, has_customs=False)
        return TextSearch(looks.text, Search(looks.in_text, self.masked), self.terms.limit, has_customs=looks.has_customs)

    def _concealer(self) -> Concealer | None:
        if self._made is None and self._looks is not None:
            self._made = Concealer(Search(self._looks.active, self.masked))
        return self._made


def _unbounded(found: Detector) -> Detector:
    """A detector for running text, which is no value and has no length."""
    find = found.find
    return replace(found, find=replace(find, shortest=0, longest=None)) if isinstance(find, LinearPattern) else found


def _shown(method: MaskMethod) -> MaskMethod:
    """A find in running text cannot make all of it nothing."""
    return MaskMethod.REDACT if method is MaskMethod.NULL else method
