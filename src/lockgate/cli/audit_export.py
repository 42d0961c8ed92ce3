"""`lockgate audit events`, `query` and `parquet`: getting the record out, once and by hand.

Apart from `audit` because that proves the log and this reads it for other programs. What is printed is
made safe for a terminal: names of tables come from clients.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockgate.audit.admin import recorded
from lockgate.audit.export.cursor import Cursor, require_same_log
from lockgate.audit.export.told import Teller
from lockgate.audit.ocsf import Mapper
from lockgate.audit.storage.sqlite import open_source
from lockgate.cli.failing import fail
from lockgate.cli.period import First, From, Last, Period, To, period_of
from lockgate.cli.shown import one_line
from lockgate.cli.state import State, log_folder
from lockgate.errors import AuditError
from lockgate.model import Event

if TYPE_CHECKING:
    from lockgate.audit.query.engine import Answer

Payloads = Annotated[bool, typer.Option(
    "--payloads", help="With the texts and names that are kept beside the log, decrypted.")]
_BATCH = 1_000      # entries that are read from one snapshot
_POLL = 1.0         # seconds
_ENDLESS = 100_000  # columns of a screen that is none


def events(
    state: State = Path("state"), start: From = None, end: To = None, first: First = None, last: Last = None,
    names: Annotated[bool, typer.Option("--names", help="With names, groups, agents and addresses.")] = False,
    statements: Annotated[bool, typer.Option("--statements", help="With the texts of statements.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="With the entry itself in `raw_data`.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is written later, until Ctrl-C.")] = False,
) -> None:
    """Print the log as OCSF 1.6 events, one JSON object a line, in order. ASCII only.

    That names or statements were asked for is put on record.
    """
    folder, period = log_folder(state), period_of(start, end, first, last)
    if follow and end is not None:
        fail(AuditError("what is followed has no end in time", advice="leave out --to, or --follow"))
    with open_source(folder) as source:
        begin, stop = period.entries(source, waits=follow)
    if names or statements:
        _record(folder, "events", begin, stop)
    teller = Teller(names=names, statements=statements)
    try:
        for line in _events(folder, teller, begin, stop, raw=raw, follow=follow):
            sys.stdout.write(line + "\n")
            if follow:
                sys.stdout.flush()
    except (BrokenPipeError, KeyboardInterrupt):
        raise typer.Exit(0) from None


def _events(
    folder: Path, teller: Teller, first: int, last: int | None, *, raw: bool, follow: bool
) -> Iterator[str]:
    """A snapshot is open for one batch only, however slowly the lines are read."""
    from lockgate.app.targets import protocols, version  # only here: it knows the whole gateway

    cursor: Cursor | None = None
    while True:
        with open_source(folder) as source:
            if cursor is not None:
                require_same_log(cursor, source)
            mapper = Mapper(source.origin, version(), protocols(), raw=raw)
            end = first + _BATCH - 1 if last is None else min(last, first + _BATCH - 1)
            batch = list(teller.tell(source, first, end))
            if batch:
                first = batch[-1].leaf.index + 1
                cursor = Cursor(source.origin, first, batch[-1].leaf.hash.hex())
        for told in batch:
            for event in mapper.events(told):
                yield json.dumps(event, separators=(",", ":"))
        if last is not None and first > last:
            return
        if not batch:
            if not follow:
                return
            _pause(_POLL)


def _pause(seconds: float) -> None:
    """Wait for the log to grow."""
    threading.Event().wait(seconds)


def query(
    question: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT over leaves, sessions, requests, masked, "
                                                                "reviews, acts, nodes.")],
    state: State = Path("state"), start: From = None, end: To = None, first: First = None, last: Last = None,
    form: Annotated[Literal["table", "json", "csv", "parquet"], typer.Option("--format", help="How rows come out.")] = "table",
    out: Annotated[Path | None, typer.Option("--out", help="A new file instead of the screen; needed for parquet.")] = None,
    payloads: Payloads = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows that are shown as a table.")] = 1_000,
) -> None:
    """Ask the log a question in SQL (DuckDB). The engine sees a copy of the log and nothing else.

    A question with --payloads is put on record before it is answered.
    """
    from lockgate.audit.query.engine import asked  # only here: the engine is large

    if form == "parquet" and out is None:
        raise AuditError("parquet goes into a file", advice="give one with --out")
    if out is not None and out.exists():
        raise AuditError(f"{out}: is there already", advice="give a file that is new")
    begin, stop = _span(state, period_of(start, end, first, last))
    if payloads:
        _record(log_folder(state), "query", begin, stop, question)
    saved = out.resolve() if out is not None and form == "parquet" else None
    try:
        with open_source(log_folder(state)) as source, asked(
            source, question, first=begin, last=stop, payloads=payloads, out=saved,
        ) as answer:
            if saved is not None:
                _private(saved)
                answer.save(saved)
            elif out is not None:
                _private(out)
                with out.open("w", encoding="utf-8", newline="") as file:
                    file.writelines(_written(answer, form, is_screen=False, limit=limit))
            else:
                for text in _written(answer, form, is_screen=sys.stdout.isatty(), limit=limit):
                    sys.stdout.write(text)
    except BrokenPipeError:
        raise typer.Exit(0) from None
    except AuditError:
        if out is not None:
            out.unlink(missing_ok=True)     # it was new: nothing but a part of an answer is in it
        raise
    except OSError as error:
        raise AuditError(f"{out}: {error.strerror}") from None


def _span(state: Path, period: Period) -> tuple[int, int | None]:
    """The entries that a question is about: found before it is put on record, which is an entry itself."""
    if period == Period():
        return 0, None
    with open_source(log_folder(state)) as source:
        return period.entries(source)


def _record(folder: Path, how: str, first: int, last: int | None, question: str = "") -> None:
    """`export`: what was kept beside the log is opened for somebody. Without it nothing is opened."""
    fields = {"by": how, "first": first} | ({} if last is None else {"last": last})
    payload = json.dumps({"question": question}).encode() if question else b""
    with recorded(folder) as log:
        log.append(Event("export", fields, None, payload))


def _private(path: Path) -> None:
    """The file that is written to is there before, and nobody else may read it."""
    path.touch(mode=0o600, exist_ok=False)


def _written(answer: Answer, form: str, *, is_screen: bool, limit: int) -> Iterator[str]:
    """The answer as text, piece by piece."""
    if form == "table":
        yield _table(answer, limit)
        return
    for number, batch in enumerate(answer.rows()):
        if form == "json":
            yield "".join(json.dumps(dict(zip(answer.columns, map(_plain, row), strict=True))) + "\n" for row in batch)
            continue
        if number == 0:
            yield _csv(answer.columns)
        rows = ([_text(value) for value in row] for row in batch)
        yield "".join(_csv(map(one_line, cells) if is_screen else cells) for cells in rows)


def _table(answer: Answer, limit: int) -> str:
    rows: list[tuple[Any, ...]] = []
    for batch in answer.rows():
        rows += batch
        if len(rows) > limit:
            break
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in answer.columns:
        table.add_column(Text(one_line(name)), overflow="fold")
    for row in rows[:limit]:
        table.add_row(*(Text(one_line(_text(value))) for value in row))
    screen = io.StringIO()
    Console(file=screen, highlight=False, width=None if sys.stdout.isatty() else _ENDLESS).print(table)
    more = f"… more than {limit} rows; --limit shows more, --format json all\n" if len(rows) > limit else ""
    return "".join(f"{line.rstrip()}\n" for line in screen.getvalue().splitlines()) + more


def _csv(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _text(value: object) -> str:
    """A cell: NULL is empty, lists and structures are JSON."""
    plain = _plain(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else json.dumps(plain)


def _plain(value: object) -> Any:
    """What JSON can say of a value; times in ISO 8601."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else str(value)


def parquet(
    out: Annotated[Path, typer.Option("--out", help="A new folder.")], state: State = Path("state"),
    start: From = None, end: To = None, first: First = None, last: Last = None, payloads: Payloads = False,
) -> None:
    """Write the log as Parquet files, one for each 65,536 entries. With --payloads that is put on record."""
    from lockgate.audit.query.parquet import write_parquet  # only here: the engine is large

    begin, stop = _span(state, period_of(start, end, first, last))
    if payloads:
        _record(log_folder(state), "parquet", begin, stop)
    begun = time.monotonic()
    with open_source(log_folder(state)) as source:
        stop = min(source.head().size - 1, source.head().size - 1 if stop is None else stop)
        files = write_parquet(source, out, begin, stop, payloads=payloads)
    typer.echo(f"{stop - begin + 1} entries in {len(files)} files, {time.monotonic() - begun:.1f} s")
