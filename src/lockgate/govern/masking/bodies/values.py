"""What a body's shape asks about the values in it.

Apart from the shapes (JSON, forms, CSV …), which know where values lie and nothing of masks, and from `shown` and `sent`,
which are the two answers: what goes to a client, and what one sends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, Protocol

from lockgate.govern.masking.bodies.selection import Selection, selection
from lockgate.govern.masking.bodies.terms import BodyTerms, NoNames
from lockgate.govern.masking.keys import MASTER_BYTES, MaskKeys
from lockgate.govern.masking.value_masks import MaskTerms
from lockgate.model import KeyScope, MaskMethod, Secret

_KEYED: Final = frozenset(
    (MaskMethod.HASH, MaskMethod.TOKEN, MaskMethod.FPE, MaskMethod.DATE_SHIFT, MaskMethod.FAKE))
_NO_KEYS: Final = MaskKeys(Secret("00" * MASTER_BYTES))
"""Where none are given; no value is masked with them."""


class Values(ABC):
    """The single values of one body, whatever its shape: what becomes of those that a mask names, and of all others.

    `deltas` are JSON paths to strings that are pieces of longer texts; they are set before the first value is seen.
    """

    def __init__(self, terms: BodyTerms) -> None:
        self.terms = terms
        self.masked: dict[str, int] = {}
        self.deltas: tuple[str, ...] = ()
        self._selection: Selection | None = None

    @property
    def selection(self) -> Selection:
        """What the masks name."""
        made = self._selection
        if made is None:
            made = self._selection = selection(self.terms.masks, self.terms.place, self.deltas, self.terms.renamed)
        return made

    @property
    @abstractmethod
    def looks(self) -> bool:
        """Whether values that no mask names are looked at."""

    def documents(self) -> Values | None:
        """Values for the document that a body may be though it is called something else, with counts of their own; None where
        it is taken for what it is called."""
        return None

    @property
    def every(self) -> bool:
        """Whether all of them are, not only where `hits` points, and `hidden_json` is asked for every hidden value."""
        return False

    @abstractmethod
    def hits(self, data: bytes) -> list[tuple[int, int]]:
        """Where a part of a JSON document has to be looked at."""

    @abstractmethod
    def hidden_json(self, at: int, first: int, raw: bytes | None) -> bytes:
        """What stands for the JSON value that cover `at` hides. `first` is its first byte, `raw` None if it is too long."""

    @abstractmethod
    def hidden_text(self, at: int, value: bytes) -> bytes:
        """What stands for the text that cover `at` hides; an empty one where that is nothing."""

    @abstractmethod
    def token(self, raw: bytes, name: bytes | None, above: bytes | None) -> bytes | None:
        """What becomes of a JSON string or number as it is written, under these names; None where that is null."""

    @abstractmethod
    def text(self, value: bytes, name: bytes | None = None) -> bytes:
        """What becomes of a text under this name; the same object where nothing is found."""

    @abstractmethod
    def hides_below(self, name: bytes) -> bool:
        """Whether everything under this name has to be looked at with it."""

    @property
    def refuses_text(self) -> bool:
        """Whether running text may not go on."""
        return False

    def require_names(self, text: bytes) -> None:
        """`NoNames` where this running text may not go on."""
        if self.refuses_text and text.strip():
            raise NoNames("it is text, and masks are due that go by the names of members")

    @property
    def joins(self) -> bool:
        """Whether pieces of one text are looked at together."""
        return False

    @abstractmethod
    def running(self) -> Running:
        """What looks at a running text."""

    def count(self, at: int, times: int = 1) -> None:
        """What cover `at` hides was hidden."""
        label = self.selection.labels[at]
        self.masked[label] = self.masked.get(label, 0) + times

    def count_all(self, counts: dict[int, int]) -> None:
        """What a scanner has counted by cover; it begins anew."""
        for at, times in counts.items():
            self.count(at, times)
        counts.clear()


class Running(Protocol):
    """The look at one running text that comes in pieces."""

    @property
    def is_holding(self) -> bool:
        """Whether something of the text has not gone on."""
        ...

    def feed(self, data: bytes) -> bytes:
        """What may go on. ValueError where a find is longer than may be held."""
        ...

    def finish(self) -> bytes:
        """The rest; another text may follow."""
        ...


def mask_for(values: Values, at: int) -> tuple[MaskTerms, MaskKeys]:
    """The terms of cover `at` and the keys; where there are none, a mask that needs one redacts."""
    cover, terms = values.selection.covers[at], values.terms
    scope = scope_of(terms, cover.scope)
    is_possible = cover.method not in _KEYED or (terms.keys is not None and bool(scope))
    method = cover.method if is_possible else MaskMethod.REDACT
    return MaskTerms(method, scope, values.selection.labels[at]), terms.keys or _NO_KEYS


def scope_of(terms: BodyTerms, scope: KeyScope) -> bytes:
    """How far a key reaches."""
    return terms.scope if scope is KeyScope.CONNECTION else terms.task_scope
