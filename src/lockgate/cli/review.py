"""`lockgate review`: what waits for a person, and the person's answer, through the control API.

What is shown comes from an agent: control characters are made visible, so that a statement cannot
drive the reviewer's terminal or hide a part of itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockgate.cli.shown import clean, framed, one_line, valued, width_of
from lockgate.errors import ConfigError, LockgateError
from lockgate.model import Secret

app = typer.Typer(name="review", help="See and decide requests that wait for a person.", no_args_is_help=True)

Url = Annotated[str, typer.Option("--url", envvar="LOCKGATE_URL", help="The gateway's control address.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="A file with your token; default: LOCKGATE_TOKEN.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; the requester reads it with a denial.")]
Ticket = Annotated[str, typer.Argument(help="The ticket, like LG-7F3K-92QD.")]
_LOCAL = "http://127.0.0.1:8470"


class ApiError(LockgateError):
    """The control API said no, or could not be reached."""

    code = "api"


def token_of(file: Path | None) -> Secret:
    """The reviewer's token, from a file or from LOCKGATE_TOKEN."""
    if file is not None:
        try:
            text = file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {file}: {type(error).__name__}") from None
    else:
        text = os.environ.get("LOCKGATE_TOKEN", "").strip()
    if not text:
        raise ConfigError("no token", advice="Set LOCKGATE_TOKEN, or use --token-file.")
    return Secret(text)


def call(url: str, path: str, token: Secret, body: Mapping[str, Any] | None = None) -> Any:
    """One request to the control API; `ApiError` with its words."""
    try:
        with httpx.Client(base_url=url, timeout=20.0, trust_env=False) as client:
            answer = client.request(
                "GET" if body is None else "POST", path, json=body,
                headers={"Authorization": f"Bearer {token.reveal()}"},
            )
    except httpx.HTTPError as error:
        raise ApiError(
            f"cannot reach the gateway at {url}: {type(error).__name__}",
            advice="Give its control address with --url or LOCKGATE_URL.",
        ) from None
    try:
        content = answer.json()
    except ValueError:
        raise ApiError(f"{url} is not a gateway's control address (HTTP {answer.status_code})") from None
    if answer.is_error:
        raise ApiError(clean(content.get("detail", f"HTTP {answer.status_code}")))
    return content


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
    lines += [("before it", one_line(line)) for line in entry.get("context", ())]
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
    """Let the request through, once."""
    entry = call(url, f"{_path(ticket)}/approve", token_of(token_file), {"comment": comment})
    typer.echo(f"{entry['ticket']} approved" + ("; the waiting request goes on" if entry["state"] == "used" else ""))


@app.command("deny")
def deny(ticket: Ticket, url: Url = _LOCAL, token_file: TokenFile = None, comment: Comment = "") -> None:
    """Refuse the request."""
    entry = call(url, f"{_path(ticket)}/deny", token_of(token_file), {"comment": comment})
    typer.echo(f"{entry['ticket']} denied")
