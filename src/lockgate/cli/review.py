"""`lockgate review`: what waits for a person, and the person's answer, through the control API.

What is shown comes from an agent: control characters are made visible, so that a statement cannot
drive the reviewer's terminal or hide a part of itself.
"""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockgate.cli.calling import ApiError, TokenFile, call, token_of
from lockgate.cli.requests import ERASED, is_erasure, outcome, status_of, words_of
from lockgate.cli.shown import clean, framed, one_line, valued, width_of

app = typer.Typer(name="review", help="See and decide requests that wait for a person.", no_args_is_help=True)

Url = Annotated[str, typer.Option("--url", envvar="LOCKGATE_URL", help="The gateway's control address.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; the requester reads it with a denial.")]
Ticket = Annotated[str, typer.Argument(help="The ticket, like LG-7F3K-92QD.")]
_LOCAL = "http://127.0.0.1:8470"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _path(ticket: str) -> str:
    if not ticket.replace("-", "").isalnum():
        raise ApiError("this is not a ticket")
    return f"/v1/reviews/{ticket}"


@app.command("list")
def list_reviews(
    url: Url = _LOCAL, token_file: TokenFile = None, as_json: Json = False,
    state: Annotated[str, typer.Option(help="pending, approved, denied, expired, withdrawn, used or all.")] = "pending",
) -> None:
    """Requests that you may decide, newest first."""
    found = call(url, f"/v1/reviews?state={quote(state, safe='')}", token_of(token_file))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found:
        typer.echo("nothing waits" if state == "pending" else f"nothing is {state}")
        return
    table = Table(box=None, header_style="bold")
    for column in ("ticket", "state", "who", "connection", "age", "left"):
        table.add_column(column, no_wrap=True)
    # The one column that gives way on a narrow terminal: a ticket that is cut off cannot be typed.
    table.add_column("statement")
    for entry in found:
        statement = clean(entry["statement"]).replace("\n", " ")
        table.add_row(*map(Text, (
            entry["ticket"], entry["state"], clean(entry["requester"]["subject"]), entry["connection"],
            _span(entry["age"]), _span(entry["expires_in"]) if entry["state"] == "pending" else "",
        )), Text(statement, no_wrap=True, overflow="ellipsis"))
    Console(highlight=False).print(table)


@app.command("show")
def show_review(ticket: Ticket, url: Url = _LOCAL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Everything that a decision needs, on one screen."""
    entry = call(url, _path(ticket), token_of(token_file))
    if as_json:
        typer.echo(json.dumps(entry, indent=2))
        return
    show(Console(highlight=False), entry)


def show(console: Console, entry: dict[str, Any]) -> None:
    """Print one ticket."""
    requester = entry["requester"]
    who = one_line(requester["subject"]) + (f" (agent {one_line(requester['agent'])})" if requester["agent"] else "")
    groups = " and ".join(" or ".join(names) for names in entry["reviewer_groups"])
    lines = [
        ("ticket", f"{entry['ticket']}  {entry['state']}"), ("who", f"{who}  {one_line(requester['issuer'])}"),
        ("connection", entry["connection"]), ("rules", ", ".join(entry["rules"])), ("may decide", one_line(groups)),
        ("asked", f"{_span(entry['age'])} ago" + (
            f", expires in {_span(entry['expires_in'])}" if entry["state"] == "pending" else "")),
    ]
    if entry["reviewer"]:
        lines.append(("decided by", one_line(entry["reviewer"])))
    if entry["comment"]:
        lines.append(("comment", one_line(entry["comment"])))
    lines += [("besides", one_line(line)) for line in entry.get("context", ())]
    for name, value in lines:
        console.print(Text.assemble((f"{name:<11}", "bold"), value), soft_wrap=True)
    console.print()
    width = width_of(console)
    for row in framed(entry["statement"], width):
        console.print(Text(row, style="yellow"), soft_wrap=True)
    for number, value in enumerate(entry["parameters"], 1):
        for row in valued(f"${number} ", value, width):
            console.print(Text(row), soft_wrap=True)


@app.command("approve")
def approve(ticket: Ticket, url: Url = _LOCAL, token_file: TokenFile = None, comment: Comment = "") -> None:
    """Let the request through, once. Of an erasure the exit status says whether it was carried out: 1, it was not."""
    token = token_of(token_file)
    entry = call(url, f"{_path(ticket)}/approve", token, {"comment": comment})
    typer.echo(f"{entry['ticket']} approved" + ("; the waiting request goes on" if entry["state"] == "used" else ""))
    request = outcome(url, token, entry["ticket"]) if is_erasure(entry) else None
    if request is not None:
        typer.echo(words_of(request))
        if status_of(request) != ERASED:
            raise typer.Exit(status_of(request))


@app.command("deny")
def deny(ticket: Ticket, url: Url = _LOCAL, token_file: TokenFile = None, comment: Comment = "") -> None:
    """Refuse the request."""
    entry = call(url, f"{_path(ticket)}/deny", token_of(token_file), {"comment": comment})
    typer.echo(f"{entry['ticket']} denied")
