"""Where commands find a log: in the state folder that they are given, or in its `audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockgate.audit.storage.database.place import log_beside
from lockgate.audit.storage.sqlite import FILE

State = Annotated[Path, typer.Option("--state", help="The gateway's state folder.")]


def log_folder(given: Path) -> Path:
    """The log's folder, whether the log's or the state folder was given. Where the gateway's log is in a
    database, that of the shard it holds.
    """
    return log_beside(audit_folder(given))


def audit_folder(given: Path) -> Path:
    """The gateway's audit folder, whether it or the state folder was given."""
    inner = given / "audit"
    return inner if not (given / FILE).exists() and inner.is_dir() else given
