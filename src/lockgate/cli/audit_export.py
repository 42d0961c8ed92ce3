"""`lockgate audit query` and `parquet`: getting the record out, once and by hand; of a fleet all shards.

Apart from `audit` because that proves the log and this reads it for other programs. What is printed is
made safe for a terminal: names of tables come from clients.
"""

from __future__ import annotations

import csv
import io
import json
import sys
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

from lockgate.cli.disclosed import record
from lockgate.cli.period import First, From, Last, To, period_of
from lockgate.cli.portions import portions_of
from lockgate.cli.shown import one_line
from lockgate.cli.state import State
from lockgate.errors import AuditError

if TYPE_CHECKING:
    from lockgate.audit.query.engine import Answer

Payloads = Annotated[bool, typer.Option(
    "--payloads", help="With the texts and names that are kept beside the log, decrypted.")]
_ENDLESS = 100_000  # columns of a screen that is none


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
    portions = portions_of(state, period_of(start, end, first, last))    # before the record, which is an entry itself
    for portion in portions if payloads else ():
        record("query", portion, question)
    saved = out.resolve() if out is not None and form == "parquet" else None
    try:
        with asked(portions, question, payloads=payloads, out=saved) as answer:
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
    """Write the log as Parquet files, one for each 65,536 entries, of a fleet for each shard. With --payloads that is put on record."""
    from lockgate.audit.query.parquet import write_parquet  # only here: the engine is large

    portions = portions_of(state, period_of(start, end, first, last))
    for portion in portions if payloads else ():
        record("parquet", portion)
    begun = time.monotonic()
    files = write_parquet(portions, out, payloads=payloads)
    typer.echo(f"{sum(files.values())} entries in {len(files)} files, {time.monotonic() - begun:.1f} s")
