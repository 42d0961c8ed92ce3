"""`lockgate issuer`: run the development issuer, or get a token from it.

Never part of a production set-up: `run` asks for a flag that says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import httpx
import typer

from lockgate.control.issuer import (
    DEFAULT_AUDIENCE,
    DEFAULT_LIFETIME,
    UnsafeDevelopmentIssuer,
    bind_loopback,
    unsafe_server,
)
from lockgate.errors import LockgateError

app = typer.Typer(
    name="issuer",
    help="A development OpenID Connect issuer that gives anyone any identity (loopback only).",
    no_args_is_help=True,
)


@app.command()
def run(
    address: Annotated[str, typer.Option(help="Loopback address to listen on, host:port.")] = "127.0.0.1:8480",
    state: Annotated[Path | None, typer.Option(help="Folder that keeps the keys over restarts.")] = None,
    unsafe_development_only: Annotated[
        bool, typer.Option("--unsafe-development-only", help="Say that you know what this is.")
    ] = False,
) -> None:
    """Serve discovery, keys and tokens until interrupted."""
    try:
        if not unsafe_development_only:
            # Asked before the port is taken; the issuer itself insists once more.
            raise typer.BadParameter(
                "the development issuer gives anyone any identity; add --unsafe-development-only"
            )
        listening, url = bind_loopback(address)
        with listening:
            issuer = UnsafeDevelopmentIssuer(
                url, unsafe_development_only=unsafe_development_only, state=state
            )
            typer.echo(f"development issuer (UNSAFE) on {url}")
            unsafe_server(issuer).run(sockets=[listening])
    except LockgateError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def token(
    subject: Annotated[str, typer.Option(help="Who the token is for.")],
    url: Annotated[str, typer.Option(help="The issuer's URL.")] = "http://127.0.0.1:8480",
    group: Annotated[list[str] | None, typer.Option(help="A group; may be given several times.")] = None,
    agent: Annotated[str | None, typer.Option(help="The agent's name.")] = None,
    model: Annotated[str | None, typer.Option(help="The model's name.")] = None,
    audience: Annotated[str, typer.Option(help="Whom the token is meant for.")] = DEFAULT_AUDIENCE,
    lifetime: Annotated[float, typer.Option(help="Seconds until it expires.")] = DEFAULT_LIFETIME,
) -> None:
    """Print a token."""
    form: dict[str, str | list[str]] = {
        "subject": subject, "group": group or [], "audience": audience, "lifetime": f"{lifetime:g}",
    }
    if agent is not None:
        form["agent"] = agent
    if model is not None:
        form["model"] = model
    try:
        answer = httpx.post(f"{url.rstrip('/')}/token", data=form, timeout=10.0, trust_env=False)
        if answer.status_code != httpx.codes.OK:
            said = answer.text[:200]
            typer.echo(f"error: the issuer answered with status {answer.status_code}: {said}", err=True)
            raise typer.Exit(1)
        typer.echo(answer.json()["access_token"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        typer.echo(f"error: no token from {url} ({type(error).__name__}); is the issuer running?", err=True)
        raise typer.Exit(1) from None
