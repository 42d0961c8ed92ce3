"""What the taint analysis says of a statement: values only, for whoever decides what to do about it.

Apart from the analysis because `rewrite` and the record need the words and not the walk. A *source* is a
labelled column; locations are byte offsets into the statement's text, as the parser gives them, and -1
where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Source = tuple[int, int]
"""Relation OID and attribute number. Number 0 stands for a relation that is sensitive as a whole."""

Sources = frozenset[Source]

NOTHING: Final[Sources] = frozenset()


@dataclass(frozen=True, slots=True)
class Output:
    """A column of the result, or of a relation that the statement makes.

    `name` is what the server calls it. `direct` is set where the value *is* that labelled column's, unchanged
    apart from the NULLs of an outer join: a mask of the column's values may be laid over the output.
    """

    name: str
    sources: Sources
    direct: Source | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """A labelled column on which depends which rows there are, how often or in which order.

    `where` names the clause: where, join, using, having, group, order, distinct, limit, window, setop, in,
    filter, rows (a set-returning function), effect (the argument of a function that others can tell the call of),
    sample, cycle, when (of MERGE), conflict (ON CONFLICT names the column), constraint (ON CONFLICT may stand for
    any). `view` is the OID of the view inside of whose
    definition it happens, at the `location` of the view's name.
    """

    source: Source
    where: str
    location: int
    view: int | None = None


@dataclass(frozen=True, slots=True)
class Constant:
    """The other side of an equality: a literal (`text`; None for NULL) or the parameter `$number`."""

    location: int
    text: str | None
    number: int | None = None
    is_array: bool = False
    """It stands for all its elements: `= ANY ($1)`, `= ANY ('{a,b}')`."""
    is_whole: bool = True
    """It is compared as it stands there: no cast on it, or on what it is listed with, can cut it."""


@dataclass(frozen=True, slots=True)
class Equality:
    """A labelled column compared for equality with constants only, as a condition of its own (not below OR,
    NOT or CASE): `c = 'x'`, `$1 = c`, `c IN ('x', $2)`, `c = ANY ($1)`. It is not among the controls."""

    source: Source
    location: int
    constants: tuple[Constant, ...]
    column: int
    """Location of the column's name."""


@dataclass(frozen=True, slots=True)
class Write:
    """A column that is written, where it or what goes into it is labelled.

    `target` is None where the relation is not in the catalogue. `direct`: the value written is that column's or
    a constant (`c`, `coalesce($1, c)`), and nothing else is evaluated only where the column is NULL; `keeps`: that
    column is the target, so the old value may stay.
    """

    target: Source | None
    sources: Sources
    direct: Source | None = None

    @property
    def keeps(self) -> bool:
        return self.direct is not None and self.direct == self.target


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in the text that stands for labelled columns: `names` as written, a star as `*`.

    `is_target`: it means the row that DML changes, which masks at the source cannot reach. `is_output`: it is
    a whole item of a select or RETURNING list and has no alias, so that what replaces it needs the name.
    """

    location: int
    names: tuple[str, ...]
    sources: Sources
    direct: Source | None
    is_target: bool
    in_returning: bool
    is_output: bool


@dataclass(frozen=True, slots=True)
class Taint:
    """What of a statement depends on labelled columns.

    `outputs` is None where the columns or their order are not known (`*` of a relation that is not in the
    catalogue); `data` is the union over all of them, known or not. For PREPARE, DECLARE and COPY (query) they
    are those of the query; for DML those of RETURNING. `created`: the columns of the relation or view that the
    statement makes, None as with `outputs`. `computed`: what goes into an expression that is more than the
    column's name, even one whose value is dropped: its evaluation can fail. `is_top`: everything has to count
    as sensitive, for `reason`; the rest is empty then.
    """

    outputs: tuple[Output, ...] | None = ()
    data: Sources = NOTHING
    controls: tuple[Control, ...] = ()
    equalities: tuple[Equality, ...] = ()
    writes: tuple[Write, ...] = ()
    created: tuple[Output, ...] | None = ()
    stored: Sources = NOTHING
    """The union over `created`."""
    computed: Sources = NOTHING
    references: tuple[Reference, ...] = ()
    is_top: bool = False
    reason: str | None = None
    unknown: str | None = None
    """The column that is found nowhere, if that is the reason."""

    @property
    def is_clean(self) -> bool:
        """Nothing that the client sees depends on a labelled column, apart from what the package does not claim. What
        is written or stored may: see `writes`, `stored`."""
        return not (self.is_top or self.data or self.controls or self.equalities)

    def is_direct(self, source: Source) -> bool:
        """Whether the statement does nothing with the column's values but to hand them out unchanged, or to compare
        them for equality with constants: then a result can carry them until they are masked there."""
        return (
            not self.is_top and self.outputs is not None and source not in self.computed and source not in self.stored
            and all(output.direct == source for output in self.outputs if source in output.sources)
            and all(control.source != source for control in self.controls)
            and all(source not in write.sources for write in self.writes)
        )
