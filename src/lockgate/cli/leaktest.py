"""`lockgate leaktest`: fire every known way out at a gateway, and look for values that must not come back.

Apart from the other verbs because it reads no configuration and no state: it is a client like any other, and may run
on another machine. Secrets come from files and environment variables; command lines are seen by everybody.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from lockgate.cli.shown import clean
from lockgate.cli.version import package_version
from lockgate.config.secrets import read_secret
from lockgate.config.strict import SecretReference
from lockgate.errors import ConfigError, LockgateError
from lockgate.leaktest.address import parse_address
from lockgate.leaktest.campaign import Options
from lockgate.leaktest.report import Header, as_json, as_markdown, leaks, summary
from lockgate.leaktest.run import Plan, Side, run_columns, run_scratch
from lockgate.leaktest.verdict import Outcome, Verdict
from lockgate.model import Secret
from lockgate.protocols import discover
from lockgate.wire.leaktest import LeakSuite

LEAKS: Final = 1
INCOMPLETE: Final = 2
NOT_RUN: Final = 4
_SHOWN: Final = 20          # leaks that are printed; the report has all
_CANARY_BYTES: Final = 1 << 20


def leaktest(
    to: Annotated[str, typer.Option("--to", help="The gateway: postgresql://user@host:port/database?sslmode=…")],
    token_file: Annotated[Path | None, typer.Option(help="A file with the token for the gateway.")] = None,
    token_env: Annotated[str, typer.Option(help="Else the environment variable with it.")] = "LOCKGATE_TOKEN",
    scratch: Annotated[bool, typer.Option("--scratch", help="Make a schema with canaries, fire at it, drop it.")] = False,
    setup_dsn: Annotated[
        str | None, typer.Option(help="The database without the gateway, for an account that may create schemas.")
    ] = None,
    setup_password_file: Annotated[Path | None, typer.Option(help="A file with that account's password.")] = None,
    setup_password_env: Annotated[
        str, typer.Option(help="Else the environment variable with it.")
    ] = "LOCKGATE_SETUP_PASSWORD",
    columns: Annotated[
        list[str] | None, typer.Option("--columns", help="A labelled column, schema.table.column: only read. May be repeated.")
    ] = None,
    canary_file: Annotated[
        Path | None, typer.Option(help="Values that stand in these columns, one a line; the first one is guessed with.")
    ] = None,
    where: Annotated[str, typer.Option(help="A condition that keeps reads of a large table short.")] = "",
    prove: Annotated[
        bool, typer.Option("--prove", help="Fire at the database directly as well: how many of the shapes do leak there.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fire each shape in one way only, in turn.")] = False,
    way: Annotated[list[str] | None, typer.Option(help="Only this way of firing. May be repeated.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only this group of shapes. May be repeated.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="For one shape, fired one way.")] = 10.0,
    wait: Annotated[float, typer.Option(min=0, help="Seconds for the gateway to mask what is to be masked.")] = 30.0,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Fire at once, even where nothing is masked.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the scratch schema; the next run replaces it.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write everything to this .json file, and to a .md file beside it.")
    ] = None,
) -> None:
    """Fire leak shapes at a gateway and print `leaks: N of M`. Exit status: 0 no leak, 1 leaks, 2 a part could not be
    told, 4 not run.
    """
    begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        suite, port = _suite(to)
        options = Options(_ways(suite, way), seconds, quick, tuple(group or ()))
        gateway = Side(parse_address(to, suite.scheme, port), _secret(token_file, token_env))
        direct = None
        if setup_dsn is not None:
            direct = Side(parse_address(setup_dsn, suite.scheme, port), _secret(setup_password_file, setup_password_env))
        plan = Plan(suite, gateway, direct, options, None if no_wait else wait, prove, keep)
        if scratch == bool(columns):
            raise ConfigError("say what to fire at: --scratch, or --columns", advice="One of the two, not both.")
        if columns:
            outcome = run_columns(plan, columns, _canaries(canary_file), where, _tell)
        else:
            outcome = run_scratch(plan, _tell)
        header = Header(str(gateway.address), "columns, read-only" if columns else "scratch schema", begun, options.ways,
                        suite.notes, package_version())
        if report is not None:
            _write(report, header, outcome)
    except LockgateError as error:
        _fail(error)
    _print(outcome, report)
    raise typer.Exit(_status(outcome))


def _suite(url: str) -> tuple[LeakSuite, int]:
    """The suite and default port of the protocol that the URL names."""
    scheme = url.partition("://")[0]
    known = [(spec.leaktest, spec.default_port) for spec in discover().values() if spec.leaktest is not None]
    for suite, port in known:
        if suite.scheme == scheme:
            return suite, port
    raise ConfigError(f"there is no leak test for {scheme}:// addresses",
                      advice="Known are " + ", ".join(f"{suite.scheme}://" for suite, _ in known) + ".")


def _ways(suite: LeakSuite, chosen: list[str] | None) -> tuple[str, ...]:
    for way in chosen or ():
        if way not in suite.ways:
            raise ConfigError(f"{way} is no way of firing", advice="There are " + ", ".join(suite.ways) + ".")
    return tuple(way for way in suite.ways if not chosen or way in chosen)


def _secret(file: Path | None, variable: str) -> Secret:
    """The secret; none where the variable is not set, for servers that ask for none."""
    try:
        return read_secret(SecretReference(file=file) if file is not None else SecretReference(env=variable))
    except LockgateError:
        if file is not None:
            raise
        return Secret("")


def _canaries(path: Path | None) -> list[str]:
    if path is None:
        raise ConfigError("--columns needs values that stand there", advice="Give them in a file with --canary-file.")
    try:
        with path.open("rb") as stream:
            text = stream.read(_CANARY_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {type(error).__name__}", advice="It has to be UTF-8 text.") from None
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


# ---------------------------------------------------------------- words


def _tell(line: str) -> None:
    typer.echo(clean(line), err=True)


def _fail(error: LockgateError) -> NoReturn:
    typer.echo(f"error: {clean(error)}", err=True)
    if error.advice():
        typer.echo(f" hint: {clean(error.advice())}", err=True)
    raise typer.Exit(NOT_RUN)


def _print(outcome: Outcome, report: Path | None) -> None:
    found = leaks(outcome)
    for line in found[:_SHOWN]:
        typer.echo(f"LEAK  {clean(line)}")
    if len(found) > _SHOWN:
        typer.echo(f"… and {len(found) - _SHOWN} more" + ("" if report else "; --report writes all"))
    for line in summary(outcome):
        typer.echo(line)
    if report is not None:
        typer.echo(f"report: {report} and {report.with_suffix('.md')}")


def _write(path: Path, header: Header, outcome: Outcome) -> None:
    try:
        path.write_text(as_json(header, outcome), encoding="utf-8")
        path.with_suffix(".md").write_text(as_markdown(header, outcome), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", advice="Name a file in a folder that exists.") from None


def _status(outcome: Outcome) -> int:
    if outcome.leaks:
        return LEAKS
    return INCOMPLETE if outcome.count(Verdict.UNKNOWN) else 0
