"""`lockgate columns`: every column of a connection's database, as a list for its `known_columns`.

Apart from `check` because it prints configuration: somebody reads the list, classifies what is in it, and
keeps it under version control beside the policies.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lockgate.app import columns_of, load_configuration


def columns(
    connection: Annotated[str, typer.Argument(help="The connection's name.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")] = Path("lockgate.yaml"),
) -> None:
    """Print every column of a connection's database as YAML, for `known_columns` of its options."""
    typer.echo("known_columns:")
    for name in columns_of(load_configuration(config), connection):
        typer.echo(f"  - {json.dumps(name, ensure_ascii=False)}")
