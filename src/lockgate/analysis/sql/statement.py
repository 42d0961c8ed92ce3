"""What a statement says about itself: the value that policy, record and protocol share.

No database is needed for it; what depends on a catalogue is `rewrite`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from lockgate.analysis.sql.copying import CopyOptions
    from lockgate.analysis.sql.placement import Placed
    from lockgate.analysis.sql.predicates import Lookup, ResultMask, ShownColumn
    from lockgate.analysis.sql.reading import Reading
    from lockgate.analysis.sql.shape import Shape

VERBS: Final = frozenset({
    "select", "insert", "update", "delete", "merge", "truncate", "drop", "create", "alter", "copy",
    "grant", "revoke", "call", "do", "execute", "prepare", "deallocate", "explain", "set", "show",
    "begin", "commit", "rollback", "savepoint", "declare", "fetch", "close", "listen", "notify",
    "unlisten", "lock", "vacuum", "analyze", "comment", "refresh", "cluster", "reindex", "discard",
    "checkpoint", "load", "import", "security", "empty", "other",
})
CATALOGUE_VERBS: Final = frozenset(("create", "alter", "drop", "import"))
"""Those that may change what the catalogue says."""
"""Every verb that a statement can have. A statement whose effect is unknown has all of them."""

_ROWS: Final = frozenset(("select", "insert", "update", "delete", "merge"))

FACTS: Final[Mapping[str, str]] = {
    "relations": "list of the relations named, as written (`schema.name` or `name`), CTEs excluded",
    "tables": "list of every relation touched, by the catalogue, as `schema.name`: through views, partitions and "
              "inheritance, and all of a name without schema (missing where it cannot be told)",
    "tables_written": "those of `tables` that may change, foreign keys' cascades included (missing as `tables`)",
    "columns": "list of every column of `tables` that may be read or set, as `schema.relation.column` (missing as "
               "`tables`)",
    "columns_read": "list of the columns named in expressions, as written (`t.c` or `c`; `*` for a star)",
    "columns_written": "list of the columns that INSERT, UPDATE, MERGE or COPY set (`relation.column`)",
    "has_where": "true if every UPDATE and DELETE has a WHERE that depends on the row (false if unknown)",
    "tautology": "true if the WHERE of an UPDATE, DELETE or MERGE is always true, as `1=1` or `id=id`",
    "functions": "list of the functions called, as written",
    "is_opaque": "true if the effect is unknown (code that cannot be read, as dynamic SQL or C): all verbs are reported then",
    "statements": "number of statements in the string",
    "copies_program": "true if COPY runs a program on the server",
    "touches_files": "true if COPY or a function may read or write files of the server",
    "sets": "list of the session parameters that are set or reset, in lower case",
    "creates": "list of the relations that are created",
    "changes_catalogue": "true for DDL and other statements that change definitions or rights",
    "estimated_rows": "rows that the planner expects to be returned or changed, whichever is more (int; 0 where none "
                      "can be; missing where it cannot tell: COPY, TRUNCATE, opaque ones, strings of several statements)",
    "estimated_cost": "the planner's total cost, in its own units (missing as `estimated_rows`)",
    "text_length": "length of the statement in bytes, without comments",
}
"""Fact name → one line of documentation. Verbs are added by the policy engine."""

QUALIFIED: Final[Mapping[str, str]] = {
    "tables": "public.customers", "tables_written": "public.customers", "columns": "public.customers.email",
}
"""Facts that hold names from the catalogue, with an example of one."""

RESOLVED: Final = ("tables", "tables_written", "columns")
"""Facts that need a catalogue, but where no relation is named at all."""


class Naming(NamedTuple):
    """A statement sets `application_name`. `value` is None where it is not a constant, or where the
    string does something else too: then the statement cannot be written anew."""

    value: str | None
    is_local: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement string (it may hold several statements) as read by PostgreSQL's own grammar.

    `text` is free of comments and otherwise byte for byte what came; it is what is judged,
    recorded and, where nothing is masked, forwarded. Statements with an equal `key` have equal verbs and
    facts; they may differ in literals on which nothing depends. `forbidden` is a reason to refuse it whatever
    the policy says: it would change what this analysis depends on, or the identity of the session.
    """

    text: str
    key: bytes
    verbs: frozenset[str]
    facts: Mapping[str, object]
    objects: tuple[str, ...]
    count: int
    is_empty: bool
    is_opaque: bool
    changes_catalogue: bool
    runs_code: bool = False
    """It runs routines whose effects are known from the catalogue and counted in."""
    prepares: tuple[tuple[str, Statement], ...] = ()
    executes: tuple[str, ...] = ()
    deallocates: tuple[str | None, ...] = ()
    cursors_declared: tuple[str, ...] = ()
    cursors_fetched: tuple[str, ...] = ()
    cursors_closed: tuple[str | None, ...] = ()
    cursors_left: tuple[tuple[str, bool], ...] = ()
    """Those of `cursors_declared` that are open at its end, and whether WITH HOLD."""
    cursors_before: tuple[str, ...] = ()
    """Those of `cursors_fetched` that were opened before this string …"""
    cursors_lost: tuple[str, ...] = ()
    """… or are gone where it fetches from them, unless somebody else has opened one of that name meanwhile."""
    sets: tuple[str, ...] = ()
    search_path: tuple[str, ...] | None = None
    """What it sets the search path to, for as long as the session lasts; None where it does not or one cannot tell."""
    copy: str | None = None
    copies_out: tuple[CopyOptions, ...] = ()
    """One for each COPY … TO STDOUT of the string, in its order."""
    copies_in: tuple[CopyOptions, ...] = ()
    """The same of COPY … FROM STDIN."""
    application: Naming | None = None
    transaction: tuple[str, ...] = ()
    returns_rows_maybe: bool = False
    created: tuple[str, ...] = ()
    forbidden: str | None = None
    reading: Reading | None = field(default=None, repr=False, compare=False)
    """What `rewrite` works on: positions and names, in the order of the text."""
    shape: Shape | None = field(default=None, repr=False, compare=False)
    """Set where the statement was known by its shape; its masks are planned on `shape.statement`."""
    literals: list[str] = field(default_factory=list, repr=False, compare=False)
    weight: int = field(default=0, repr=False, compare=False)
    """Bytes of memory that it holds, about: for caches."""

    @property
    def is_plain(self) -> bool:
        """Whether all that it does is to read and change rows of relations."""
        return not (self.is_opaque or self.runs_code or self.sets or self.created) and self.verbs <= _ROWS

    @property
    def changes_names(self) -> bool:
        """Whether prepared statements or cursors are others after it."""
        return bool(self.prepares or self.deallocates or self.cursors_declared or self.cursors_closed or self.transaction)

    @property
    def whole(self) -> Statement:
        """The one that has a `reading`: itself, or that of its shape."""
        return self if self.shape is None else self.shape.statement


@dataclass(frozen=True, slots=True)
class Masked:
    """A statement that may go on under the masks in force.

    `labelled` holds the (relation OID, attribute number) pairs that must not show up in a
    RowDescription: the second, independent witness.
    """

    text: str
    touches_labelled: bool
    digest: str
    labelled: frozenset[tuple[int, int]]
    masks_digest: str = ""
    """Of the labels in force, whether or not the statement touches one: what `SessionNames` keeps with
    prepared statements and cursors, so that they are refused once the labels have changed."""
    results: tuple[ResultMask, ...] = ()
    """Columns of the result that hold real values and are masked on their way out, by their position."""
    lookups: tuple[Lookup, ...] = ()
    """Comparisons with protected columns that the policy counts."""
    placed: tuple[Placed, ...] = ()
    """Constants that go straight into a comparison with a protected column, or into one."""
    shown: tuple[ShownColumn, ...] = ()
    """Columns of the result that are not what they seem."""
