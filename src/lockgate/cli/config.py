"""`lockgate config schema`: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import json

import typer

from lockgate.config.schema import schema
from lockgate.protocols import discover

app = typer.Typer(name="config", help="About the configuration file.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """About the configuration file."""


@app.command("schema")
def show_schema() -> None:
    """Print the JSON Schema of lockgate.yaml.

    Editors take it from a first line like `# yaml-language-server: $schema=lockgate.schema.json`.
    """
    found = schema({spec.name: spec.settings for spec in discover().values()})
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
