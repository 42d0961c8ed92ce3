"""`lockgate tools`: what backends say of their tools, and a person's yes to it, through the control API.

What is shown comes from a backend: control characters are made visible, so that a description cannot drive the terminal.
"""

from __future__ import annotations

import difflib
import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from lockgate.cli.calling import ApiError, TokenFile, call, token_of
from lockgate.cli.review import Json, Url
from lockgate.cli.shown import clean, one_line

app = typer.Typer(name="tools", help="See and accept definitions of tools that are pinned.", no_args_is_help=True)

Connection = Annotated[str, typer.Argument(help="The connection's name.")]
_LOCAL = "http://127.0.0.1:8470"


def _listed(connection: str, url: str, token_file: Any) -> list[dict[str, Any]]:
    found = call(url, f"/v1/tools/{quote(connection, safe='')}", token_of(token_file))
    assert isinstance(found, list)
    return found


@app.command("list")
def list_tools(connection: Connection, url: Url = _LOCAL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Tools of a connection, with the digest of what the backend says they are."""
    found = _listed(connection, url, token_file)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found:
        typer.echo("no tool of this connection has been seen yet")
    width = max((len(one_line(one["tool"])) for one in found), default=0)
    for one in found:
        typer.echo(f"{one_line(one['tool']):<{width}}  {one['state']:<8}  {one['digest']}")


@app.command("accept")
def accept(
    connection: Connection,
    tool: Annotated[str | None, typer.Argument(help="One tool; without it all that are new or changed.")] = None,
    url: Url = _LOCAL, token_file: TokenFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Show what is new in a tool's definition, and accept it: it is listed and may be called from then on."""
    waiting = [one for one in _listed(connection, url, token_file)
               if one["state"] != "accepted" and tool in (None, one["tool"])]
    if not waiting:
        raise ApiError("nothing waits to be accepted" if tool is None else "this tool is accepted, or has not been seen")
    for one in waiting:
        typer.echo(f"{one_line(one['tool'])} is {one['state']}:")
        before, now = (clean(one[name]).splitlines() for name in ("accepted_definition", "definition"))
        for line in difflib.unified_diff(before, now, "accepted", "now", lineterm=""):
            typer.echo(f"  {line}")
        if not (yes or typer.confirm("Accept?")):
            continue
        call(url, f"/v1/tools/{quote(connection, safe='')}/accept", token_of(token_file),
             {"tool": one["tool"], "digest": one["digest"]})
        typer.echo(f"accepted {one_line(one['tool'])}")
