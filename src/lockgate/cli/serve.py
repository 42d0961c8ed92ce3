"""`lockgate serve`: run the gateway. What is printed is where it listens; logs go to stderr."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path
from typing import Annotated, Literal

import structlog
import typer

from lockgate.app import serve as run_gateway
from lockgate.audit.apart.memory import forbid_dumps
from lockgate.config.duration import seconds
from lockgate.proxy.driver import place


def configure_logs(form: str, level: str) -> None:
    """structlog and the standard library's loggers, as one stream on stderr.

    Tracebacks are never rendered: their last line is an exception's message, which may hold data.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    stamps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True), without_exception,
    ]
    renderer: structlog.typing.Processor
    if form == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    else:
        renderer = structlog.processors.JSONRenderer(sort_keys=True)
    structlog.configure(
        processors=[*stamps, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=stamps,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    ))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))     # libraries tell of problems only
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def quiet_hooks() -> None:
    """What nobody caught is told by its type and place, in threads and finalisers as well: Python's own words would
    hold the exception's message.
    """
    log = structlog.get_logger("lockgate")

    def told(fault: BaseException | None, where: str) -> None:
        if fault is not None and not isinstance(fault, KeyboardInterrupt):
            log.critical("uncaught", where=where, error=type(fault).__name__, place=place(fault))

    sys.excepthook = lambda _kind, fault, _trace: told(fault, "main")
    threading.excepthook = lambda found: told(found.exc_value, "thread")
    sys.unraisablehook = lambda found: told(found.exc_value, "finaliser")


def without_exception(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Replace a traceback by the exception's type."""
    fault = event.pop("exc_info", None)
    if isinstance(fault, tuple):
        fault = fault[1]
    if isinstance(fault, BaseException):
        event["error"] = type(fault).__name__
    return event


def serve(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")] = Path("lockgate.yaml"),
    log_form: Annotated[
        Literal["json", "console"] | None,
        typer.Option("--log", help="How logs are written; a terminal gets console, anything else JSON."),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option("--log-level", help="The least that is logged.")
    ] = "info",
    while_used: Annotated[
        str | None, typer.Option("--while-used", metavar="DURATION", help="End when there has been no session for so long, "
                                 "like 30s. A client that is started without a gateway starts one like this.")
    ] = None,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    forbid_dumps()      # a core would hold tokens and credentials
    configure_logs(log_form or ("console" if sys.stderr.isatty() else "json"), log_level)
    quiet_hooks()
    run_gateway(config, typer.echo, unused=None if while_used is None else seconds(while_used))
