"""The `lockgate` command: one file per verb, put together here.

Only the verb that is called is imported, because `lockgate review list` should not wait for what
`lockgate serve` needs. An error that Lockgate raises on purpose is one line and what to do about
it, never a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Final

import typer

from lockgate.errors import LockgateError

_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "serve": ("serve", "serve"), "check": ("check", "check"), "columns": ("columns", "columns"),
    "leaktest": ("leaktest", "leaktest"),
    "ca": ("ca", "ca"), "version": ("version", "show_version"),
}
"""Verb → its module and function."""
_GROUPS: Final = ("config", "review", "tools", "session", "audit", "issuer", "witness")
"""Verbs with verbs of their own: the module's `app`."""


def root() -> None:
    """A gateway between AI agents and the systems they reach: identity, policy, review, record, masking."""


def assemble(verb: str | None = None) -> typer.Typer:
    """The command line: of `verb` alone where there is such a verb, else all of it."""
    made = typer.Typer(
        name="lockgate", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    )
    made.callback()(root)
    protocols = _protocols(verb)
    known = verb in _COMMANDS or verb in _GROUPS or verb in protocols
    for name, (module, function) in _COMMANDS.items():
        if not known or name == verb:
            made.command(name)(_imported(module, function))
    for name in _GROUPS:
        if not known or name == verb:
            made.add_typer(_imported(name, "app"), name=name)
    for name in protocols:
        made.add_typer(_imported("piped", "group")(name), name=name)
    return made


def _protocols(verb: str | None) -> list[str]:
    """Protocols that are verbs too, because their backends can be programs. Of one that is named it is enough here that it
    is there: asking it would import what only the gateway needs."""
    if verb in _COMMANDS or verb in _GROUPS:
        return []
    folder = Path(__file__).parent.parent / "protocols"
    if any(module.name == verb for module in iter_modules([str(folder)])):
        return [str(verb)]
    found = import_module("lockgate.protocols").discover()
    return [name for name, spec in found.items() if spec.piped is not None]


def _imported(module: str, name: str) -> Any:
    return getattr(import_module(f"lockgate.cli.{module}"), name)


def __getattr__(name: str) -> Any:
    """`app`, the whole command line, for documentation and tests."""
    if name == "app":
        return assemble()
    raise AttributeError(name)


def main() -> None:
    """Run the command line."""
    try:
        assemble(sys.argv[1] if len(sys.argv) > 1 else None)()
    except LockgateError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.advice():
            print(f" hint: {error.advice()}", file=sys.stderr)
        sys.exit(1)
