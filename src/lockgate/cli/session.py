"""`lockgate session`: who ran what, when, with which decision and for which task, from the audit log.

Everything that came from outside (statements, names, claims) is printed without control characters,
so that a recorded statement cannot drive the reader's terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockgate.audit.evidence.ledger import is_refused
from lockgate.audit.evidence.recordings import RECORDING_MARK
from lockgate.audit.reader import Payload, SessionView, StatementView, Wanted, reviewer
from lockgate.cli.exported import Format, exported, write_lines
from lockgate.cli.failing import fail
from lockgate.cli.played import Script
from lockgate.cli.player import FASTEST, SLOWEST
from lockgate.cli.reading import Key, Package, Place, Policy, Root
from lockgate.cli.recordings import coverage_of, coverage_words, moment_of, note_view, play
from lockgate.cli.shown import clean, framed, one_line, valued, width_of
from lockgate.cli.state import log_folder
from lockgate.errors import AuditError, ConfigError

app = typer.Typer(no_args_is_help=True, help="What agents did: list, show, replay and export sessions.")

State = Annotated[Path, typer.Option("--state", help="The gateway's state folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Sid = Annotated[str, typer.Argument(help="The session's id, or the beginning of it.")]
Stream = Annotated[str, typer.Option(help="`client`: what the client saw; `backend` where a rule has record_raw.")]

_SHOWN = 8      # matching entries named in a list
_SENT = "sent: "  # in front of what detectors found in a request
_COLOURS = {"allow": "green", "deny": "red", "review": "yellow"}


@app.command("list")
def list_sessions(
    state: State = Path("state"),
    verb: Annotated[str | None, typer.Option(help="Only sessions with such a request (delete).")] = None,
    touched: Annotated[
        str | None, typer.Option("--object", help="Only sessions that touched it (customers).")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Only sessions of this subject.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    as_json: Json = False, package: Package = None, key: Key = None, root: Root = None, policy: Policy = None,
) -> None:
    """List sessions, newest last."""
    try:
        with Place(state, package, key, root, policy).reader() as reader:
            found = reader.sessions(Wanted(verb, touched, subject))[-limit:]
    except AuditError as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps([_summary(view) for view in found], ensure_ascii=True))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("session", "begun (UTC)", "who", "agent", "task", "connection", "requests", "refused", "end"):
        table.add_column(title, overflow="fold")
    has_recordings = any(coverage_of(view) for view in found)
    if has_recordings:
        table.add_column("recorded")
    if verb or touched:
        table.add_column("entries", overflow="fold")
    for view in found:
        who = view.who.content
        cells = [
            view.sid[:12], _time(view.begin["time"]), _who(view.who), who.get("agent") or "–", _task(who) or "–",
            view.begin["connection"], str(view.requests), str(view.refused),
            "open" if view.end is None else view.end["cause"],
        ]
        if has_recordings:
            coverage = coverage_of(view)
            cells.append("–" if coverage is None else coverage["state"])
        if verb or touched:
            more = len(view.matching) - _SHOWN
            cells.append(" ".join(map(str, view.matching[:_SHOWN])) + (f" … {more} more" if more > 0 else ""))
        table.add_row(*(Text(clean(cell)) for cell in cells))
    _console().print(table)


@app.command()
def show(
    sid: Sid, state: State = Path("state"), as_json: Json = False,
    package: Package = None, key: Key = None, root: Root = None, policy: Policy = None,
) -> None:
    """Show one session: who, from where, for which task, and its requests in short."""
    view = _read(sid, Place(state, package, key, root, policy))
    if as_json:
        typer.echo(json.dumps(_full(view), ensure_ascii=True))
        return
    console = _console()
    _head(console, view)
    for statement in view.statements:
        record = statement.record
        line = Text(f"  {record['sseq']:>4}  ")
        line.append(f"{record['decision']:<6}", style=_COLOURS.get(record["decision"], ""))
        line.append(f"  {_text(statement)[:100]}  → {_result(statement)}{_why(statement)}".replace("\n", " "))
        console.print(line)


@app.command()
def replay(
    sid: Annotated[str, typer.Argument(help="The session's id, or the beginning of it, or a recording's file.")],
    state: State = Path("state"), as_json: Json = False,
    identity: Annotated[
        Path | None, typer.Option("--identity", help="Play the recording: the auditor's age identity file.")] = None,
    speed: Annotated[float, typer.Option(min=SLOWEST, max=FASTEST, help="Times as fast.")] = 1.0,
    at: Annotated[str, typer.Option(help="Begin there: 90s, 5m or 1:30.")] = "0s",
    search: Annotated[str, typer.Option(help="Begin where this is found; without a terminal, show only that.")] = "",
    stream: Stream = "client", package: Package = None, key: Key = None, root: Root = None, policy: Policy = None,
) -> None:
    """Replay one session: every request with its parameters, decision, reviewer and outcome. With an identity: its
    recording, in the terminal, as a player (space, + -, arrow keys, / and n, q)."""
    place = Place(state, package, key, root, policy)
    if identity is not None:
        with _script(sid, place, identity, stream, "replay") as script:
            if script is not None:
                play(script, speed=speed, at=_moment(at), search=search)
                return
        typer.echo("the session has no recording; this is what the log holds of it", err=True)
    view = _read(sid, place)
    if as_json:
        typer.echo(json.dumps(_full(view), ensure_ascii=True))
        return
    console = _console()
    _head(console, view)
    lines: list[tuple[int, Any]] = [(item.index, item) for item in view.statements]
    lines += [(index, (record, payload)) for index, record, payload in view.events if record["type"] != RECORDING_MARK]
    for index, item in sorted(lines, key=lambda line: line[0]):
        if isinstance(item, StatementView):
            _replay(console, index, item, view)
        else:
            data = json.dumps(item[0].get("data", {}))
            console.print(Text(f"\n[{index}] {_time(item[0]['time'])}  {item[0]['type']}  {clean(data)}",
                               style="dim"))
    if view.end is not None:
        console.print(Text(f"\n{_time(view.end['time'])}  session ended: {clean(view.end['cause'])}, "
                           f"{view.end['count']} records, root {view.end['root'][:16]}…"))


@app.command()
def export(
    sid: Annotated[str, typer.Argument(help="The session's id, or the beginning of it, or a recording's file.")],
    identity: Annotated[Path, typer.Option("--identity", help="The auditor's age identity file.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write, which must not exist yet; - prints.")],
    form: Annotated[Format, typer.Option("--format", help="asciicast, jsonl, sql or har.")] = Format.JSONL,
    state: State = Path("state"), stream: Stream = "client",
    package: Package = None, key: Key = None, root: Root = None, policy: Policy = None,
) -> None:
    """Write a session's recording in a format that other programs read."""
    place = Place(state, package, key, root, policy)
    with _script(sid, place, identity, stream, f"export {form.value}") as script:
        if script is None:
            fail(AuditError("the session has no recording"))
        write_lines(exported(form, script), out)


@contextmanager
def _script(sid: str, place: Place, identity: Path, stream: str, purpose: str) -> Iterator[Script | None]:
    """A recording that may be seen: of the log's own folder only once that is on record."""
    try:
        with place.script(sid, identity, stream) as script:
            if script is not None:
                note_view(log_folder(place.state), script, purpose)
            yield script
    except AuditError as error:
        fail(error)


def _moment(text: str) -> float:
    try:
        return moment_of(text)
    except ConfigError as error:
        fail(AuditError(str(error)))


def _read(sid: str, place: Place) -> SessionView:
    try:
        with place.reader() as reader:
            return reader.session(sid)
    except AuditError as error:
        fail(error)


# ---------------------------------------------------------------- words


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 200
    return console


def _head(console: Console, view: SessionView) -> None:
    who = view.who.content
    coverage = coverage_of(view)
    rows = [
        ("session", view.sid), ("who", _who(view.who)), ("issuer", who.get("issuer")),
        ("agent", who.get("agent")), ("model", who.get("model")), ("client", who.get("client")),
        ("groups", ", ".join(who.get("groups", []))), ("from", who.get("peer")),
        ("certificate", view.begin.get("certificate", "")[:16]),
        ("claims", ", ".join(f"{name}: {value}" for name, value in who.get("claims", []))),
        ("connection", f"{view.begin['connection']} ({view.begin['protocol']})"),
        ("begun", _time(view.begin["time"])),
        ("ended", "still open" if view.end is None else f"{_time(view.end['time'])}, {view.end['cause']}"),
        ("policy", view.begin["policy"][:16]),
        ("recorded", "" if coverage is None else coverage_words(coverage)),
    ]
    for name, value in rows:
        if value:
            console.print(Text.assemble((f"{name:>11}  ", "bold"), one_line(value)))


def _replay(console: Console, index: int, statement: StatementView, view: SessionView) -> None:
    record = statement.record
    decision = record["decision"]
    line = Text(f"\n[{index}] {_time(record['time'])}  ")
    line.append(decision, style=f"bold {_COLOURS.get(decision, '')}")
    line.append(clean(f"  {' '.join(record['verbs'])}  by {_who(view.who)}"))
    console.print(line)
    width = width_of(console)
    for row in framed(_text(statement), width - 4):
        console.print(Text(f"    {row}", style="cyan"))
    parameters = statement.payload.content.get("parameters") or []
    for number, value in enumerate(parameters, 1):
        for row in valued(f"    ${number} = ", None if value is None else repr(value), width):
            console.print(Text(row))
    for name, value in (
        ("rules", ", ".join(record["rules"])), ("objects", _objects(record)),
        ("from", statement.payload.content.get("peer")), ("refused", record.get("refusal")), ("review", _review(statement)), ("result", _result(statement)),
    ):
        if value:
            console.print(Text(f"    {name:<8} {one_line(value)}"))


def _text(statement: StatementView) -> str:
    if statement.payload.state != "open":
        return f"(statement {statement.payload.state})"
    return clean(statement.payload.content.get("text", ""))


def _objects(record: Mapping[str, Any]) -> str:
    more = record.get("objects_more")
    return ", ".join(record["objects"]) + (f" and {more} more" if more else "")


def _review(statement: StatementView) -> str:
    ticket = statement.record.get("ticket")
    if ticket is None:
        return ""
    said = reviewer(statement.reviews)
    if said is None:
        return f"ticket {ticket}, not decided"
    verdict, who, comment = said
    return f"ticket {ticket}, {verdict} by {who}" + (f": {comment}" if comment else "")


def _why(statement: StatementView) -> str:
    """Of what was not forwarded: why, by which rules, and the ticket with which it may be asked again."""
    record = statement.record
    if statement.outcome is not None or not is_refused(record):
        return ""
    by = f" by {', '.join(record['rules'])}" if record["rules"] else ""
    ticket = f", ticket {record['ticket']}" if "ticket" in record else ""
    return one_line(f": {record.get('refusal', 'denied')}{by}{ticket}")


def _result(statement: StatementView) -> str:
    outcome = statement.outcome
    if outcome is None:
        return "not forwarded" if is_refused(statement.record) else "no outcome on record"
    parts = [outcome["status"], f"{outcome['rows']} rows", f"{outcome['duration'] / 1000:.1f} ms"]
    if outcome.get("code"):
        parts.insert(1, outcome["code"])
    if outcome.get("reason"):
        parts.append(outcome["reason"])
    # What was found on its way in may have been replaced or not (`do: record`): the record says that it was there.
    masked = {name: count for name, count in outcome["masked"].items() if not name.startswith(_SENT)}
    found = {name: count for name, count in outcome["masked"].items() if name.startswith(_SENT)}
    for word, counts in (("masked", masked), ("found", found)):
        if counts:
            parts.append(f"{word} " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return ", ".join(parts)


def _who(who: Payload) -> str:
    return str(who.content.get("subject")) if who.state == "open" else f"({who.state})"


def _task(who: Mapping[str, Any]) -> str:
    return next((str(value) for name, value in who.get("claims", []) if name == "task"), "")


def _time(milliseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{milliseconds % 1000:03d}"


# ---------------------------------------------------------------- JSON


def _summary(view: SessionView) -> dict[str, object]:
    return {
        "session": view.sid, "index": view.index, "begun": view.begin["time"],
        "ended": None if view.end is None else view.end["time"],
        "cause": None if view.end is None else view.end["cause"], "connection": view.begin["connection"],
        "protocol": view.begin["protocol"], "who": view.who.state, **view.who.content,
        "certificate": view.begin.get("certificate"), "requests": view.requests, "refused": view.refused, "rows": view.rows, "matching": view.matching,
        "recorded": coverage_of(view),
    }


def _full(view: SessionView) -> dict[str, object]:
    statements = []
    for statement in view.statements:
        said = reviewer(statement.reviews)
        statements.append({
            "index": statement.index, **statement.record, "payload_state": statement.payload.state,
            "text": statement.payload.content.get("text"),
            "parameters": statement.payload.content.get("parameters"),
            "peer": statement.payload.content.get("peer") or view.who.content.get("peer"), "outcome": statement.outcome,
            "review": None if said is None else dict(zip(("verdict", "reviewer", "comment"), said, strict=True)),
        })
    events = [{"index": index, **record} for index, record, _ in view.events]
    return {**_summary(view), "statements": statements, "events": events}
