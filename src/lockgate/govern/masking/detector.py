"""Detector: one kind of content in two halves, and what stays readable of it.

`prefilter` is RE2 syntax and runs over raw wire bytes (lengths, headers and all). It must find
something inside every value that the precise half accepts, so it holds no word boundary (the byte before
a value is its length, which may be a letter or a digit; `before` allows for that)
and nothing that an escape of JSON, arrays, COPY text or CSV could write in another way. `find` runs on
the content of one field and decides: a pattern, then a validator. The property tests hold the first
half to the second.

Stands apart from `detectors` (which of them ship) and `conceal` (what becomes of a find).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lockgate.govern.masking.column_types import FIRST_USER_OID

REDACTED = b"xxxx"
"""The fixed text: no regex metacharacter, no quote, no escape, valid in JSON, arrays and CSV."""

def before(excluded: str) -> str:
    r"""For a prefilter whose precise half allows none of these characters (a set's inside) before its find.

    A value of up to 255 bytes begins behind three zero bytes and its length, which may be such a character;
    longer ones whose length ends in one are looked at in any case (`kernel.rows.long_values`). The letter of
    an escape like ``\n`` is a letter only in raw.
    """
    return rf"(?:^|[^{excluded}]|\x00[{excluded}]|\\[a-z])"


JSON_COLON = r'(?:"[ \t\r\n]*:[ \t\r\n"\\]*)?'
"""For a prefilter of a name and a value with no tab or line feed between: what JSON may have there all the same."""

BEFORE_DIGIT = before("0-9")
BEFORE_WORD = before("A-Za-z0-9")

BLANK = r"(?: |\xc2\xa0|\xe2\x80\xaf)"
DASH = r"(?:-|\xe2\x80[\x90-\x93])"
BLANK_OR_DASH = r"(?:[ -]|\xc2\xa0|\xe2\x80[\x90-\x93\xaf])"
"""What word processors put in the place of a blank and a dash counts as one: no-break blanks, hyphens, the en dash."""

Span = tuple[int, int]
"""(start, end) byte offsets of what has to go."""

Find = Callable[[bytes], list[Span]]


Origin = tuple[str, str, str]
"""Schema, relation and column that a result column comes from."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a detector of a policy looks; the empty scope is everywhere.

    `columns` are globs in parts, compared with an origin from the right; `oids` are column types. What is
    not known (an expression, a COPY stream, a type made at run time) counts as inside: an alias must not
    switch a detector off.
    """

    columns: tuple[tuple[str, ...], ...] = ()
    oids: frozenset[int] = frozenset()

    def covers(self, oid: int | None, origin: Origin | None) -> bool:
        """Whether the column may hold what the detector looks for."""
        if self.columns and origin is not None and not any(
            all(map(fnmatchcase, origin[-len(parts) :], parts)) for parts in self.columns
        ):
            return False
        return not self.oids or oid is None or oid >= FIRST_USER_OID or oid in self.oids


EVERYWHERE = Scope()


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """One kind of content; no two are equal.

    `partial(found)` keeps a readable rest. `member(name, value)` hides the whole value of a JSON member
    (``{"password": "…"}``, which no single token shows); with `names` the name alone says so, and everything in an
    array or object under it goes as well. `number(digits)` says whether a whole
    number is a find. `suspect` is the weaker form for a column in which most values were finds.
    `joined`: values separated by NUL bytes may be searched in one call, because no pattern takes a NUL.
    `takes_escapes`: a find may hold bytes that JSON, arrays or COPY write as escapes, so whatever holds
    an escape has to be decoded first.
    """

    name: str
    prefilter: str
    find: Find
    partial: Callable[[bytes], bytes]
    member: Callable[[bytes, bytes], bool] | None = None
    names: bool = False
    number: Callable[[bytes], bool] | None = None
    suspect: Find | None = None
    joined: bool = True
    takes_escapes: bool = False
    scope: Scope = EVERYWHERE


@dataclass(frozen=True, slots=True)
class Pattern:
    """A finder from a pattern (its last group that took part is what to hide) and a validator."""

    compiled: re.Pattern[bytes]
    verify: Callable[[bytes], bool] | None = None

    def __call__(self, value: bytes) -> list[Span]:
        """The spans in `value`."""
        verify = self.verify
        return [
            found.span(found.lastindex or 0)
            for found in self.compiled.finditer(value)
            if verify is None or verify(found[found.lastindex or 0])
        ]


def matches(pattern: str, verify: Callable[[bytes], bool] | None = None) -> Pattern:
    """A Pattern from regular expression text over bytes."""
    return Pattern(re.compile(pattern.encode("ascii")), verify)


_CONTINUED = bytes(range(0x80, 0xC0))


def redacted(_found: bytes) -> bytes:
    """Nothing stays readable."""
    return REDACTED


def keep_first(count: int) -> Callable[[bytes], bytes]:
    """Keeps the first `count` bytes: a token's public prefix."""

    def partial(found: bytes) -> bytes:
        return found[:count] + REDACTED

    return partial


def keep_last_digits(found: bytes) -> bytes:
    """Every digit but the last four becomes x; separators stay. Of four bytes that begin inside a character, less."""
    kept = found[-4:].lstrip(_CONTINUED)
    hidden = found[: len(found) - len(kept)]
    return re.sub(rb"[0-9]", b"x", hidden) + kept
