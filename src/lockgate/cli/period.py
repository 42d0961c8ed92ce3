"""Which part of a log a command is about: `--from` and `--to` are times, `--first` and `--last` entries' numbers.

The same words mean the same in every command that reads the log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from lockgate.audit.packaging.reading import first_at
from lockgate.audit.storage.contract import Source
from lockgate.cli.failing import fail
from lockgate.errors import AuditError

From = Annotated[str | None, typer.Option(
    "--from", metavar="TIME", help="From this time on: RFC 3339, like 2026-01-31T12:00:00+01:00; or a day, in UTC.")]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Up to this time, which is included; or this whole day, in UTC.")]
First = Annotated[int | None, typer.Option("--first", metavar="INDEX", min=0, help="The first entry, by its number; default: 0.")]
Last = Annotated[int | None, typer.Option("--last", metavar="INDEX", min=0, help="The last entry; default: the newest.")]

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.]\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_NUMBER = re.compile(r"\d+", re.ASCII)
_MILLISECOND: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """A part of the log. Times are Unix milliseconds, both ends are included, and None is no bound."""

    start: int | None = None
    end: int | None = None
    first: int | None = None
    last: int | None = None

    def entries(self, source: Source, *, waits: bool = False) -> tuple[int, int | None]:
        """The numbers of the first and the last entry; None: up to the newest. Leaves where there is none, unless
        somebody `waits` for what is written later.
        """
        first, last = self._bounds(source)
        if not waits and not self._has_any(source, first, last):
            fail(AuditError(f"the log has no entry there: it has {source.head().size}, the first of number 0"))
        return first, last

    def maybe_entries(self, source: Source) -> tuple[int, int | None] | None:
        """The same of one log among several, which may have no entry there: None."""
        first, last = self._bounds(source)
        return (first, last) if self._has_any(source, first, last) else None

    def _has_any(self, source: Source, first: int, last: int | None) -> bool:
        return (last is None or first <= last) and first < source.head().size

    def _bounds(self, source: Source) -> tuple[int, int | None]:
        size = source.head().size
        first, last = self.first or 0, self.last
        if self.start is not None:
            first = max(first, first_at(source, self.start, size))
        if self.end is not None:
            found = first_at(source, self.end + 1, size) - 1
            last = found if last is None else min(last, found)
        return first, last


def period_of(start: str | None, end: str | None, first: int | None = None, last: int | None = None) -> Period:
    """What was asked for. Leaves with the usage status for what is no time."""
    return Period(_milliseconds(start, "--from", "--first"), _milliseconds(end, "--to", "--last", is_end=True), first, last)


def _milliseconds(text: str | None, option: str, number: str, *, is_end: bool = False) -> int | None:
    """Unix milliseconds of a time; of a day its first, or for an end its last."""
    if text is None:
        return None
    if _NUMBER.fullmatch(text):
        fail(AuditError(f"{option} {text}: is no time", advice=f"entries are given by number with {number}: {number} {text}"))
    try:
        if _DAY.fullmatch(text):
            moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
            moment = moment + timedelta(days=1) - _MILLISECOND if is_end else moment
        elif _TIME.fullmatch(text):
            moment = datetime.fromisoformat(text.upper())
        else:
            raise ValueError
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        fail(AuditError(f"{option} {text!r}: is no time", advice="write it like 2026-01-31T12:00:00+01:00 or 2026-01-31"))
