"""How commands over the log end when they cannot do what was asked."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console

from lockgate.audit.evidence.main import USAGE
from lockgate.errors import AuditError

__all__ = ["USAGE", "fail"]


def fail(error: AuditError, status: int = USAGE) -> NoReturn:
    """Print what is wrong and what to do, and leave with the status, by default that of wrong usage."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"error: {error}", markup=False)
    if error.advice():
        console.print(f" hint: {error.advice()}", markup=False)
    raise typer.Exit(int(status)) from None
