"""A gateway in which a fault can be raised by a statement; with ``leaky`` also one that keeps no secret anywhere.

Run as ``python leaky.py safe|leaky <configuration>``. The faults of the leaky one are what the search for
canaries has to find, each in its place.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import lockgate.app.gateway as gateway
import lockgate.app.status as status
import lockgate.audit.apart.link as link
import lockgate.audit.recording.reel as reel
import lockgate.cli.serve as serve
import lockgate.control.api as api
import lockgate.govern.pipeline as pipeline
import lockgate.govern.shown as shown
from lockgate.analysis.secrets import Kept

FORCE = "force-a-fault"


def raise_when_asked() -> None:
    """Three faults whose message is the statement, as a library's often is: in a stage, in a thread, in the API."""
    decide = pipeline.Governor._decide.__wrapped__  # type: ignore[attr-defined]
    live = status.Status.live_sessions
    said: list[str] = []

    def failing(self: Any, operation: Any, counts: bool) -> Any:
        if FORCE in operation.text:
            said.append(operation.text)
            threading.Thread(target=raising, args=(operation.text,)).start()
            raise ValueError(operation.text)
        return decide(self, operation, counts)

    def raising(text: str) -> None:
        raise ValueError(text)

    def listing(self: Any) -> Any:
        if said:
            raise ValueError(said.pop())
        return live(self)

    pipeline.Governor._decide = pipeline.stage("policy")(failing)  # type: ignore[method-assign,assignment]
    status.Status.live_sessions = listing  # type: ignore[method-assign]


def leak() -> None:
    """Everything that must not be."""
    password = os.environ["CRM_PASSWORD"]
    shown.kept = Kept  # type: ignore[assignment]
    reel.obscure = lambda data: data
    serve.without_exception = with_exception
    serve.quiet_hooks = lambda: None
    serve.forbid_dumps = lambda: None
    link._ENVIRONMENT = tuple(os.environ)  # type: ignore[misc]
    exposition = api.exposition
    api.exposition = lambda metrics: exposition(metrics) + f"# {password}\n".encode()
    opened = gateway.Gateway.open_state

    def open_state(self: Any, folder: Path, stack: Any) -> None:
        opened(self, folder, stack)
        (folder / "debug.txt").write_text(password)

    gateway.Gateway.open_state = open_state  # type: ignore[method-assign]
    print(password, flush=True)


def with_exception(_logger: object, _name: str, event: Any) -> Any:
    fault = event.pop("exc_info", None)
    fault = fault[1] if isinstance(fault, tuple) else fault
    if isinstance(fault, BaseException):
        event["error"] = "".join(traceback.format_exception(fault))
    return event


if __name__ == "__main__":
    raise_when_asked()
    if sys.argv[1] == "leaky":
        leak()
    serve.serve(Path(sys.argv[2]), None, "debug")
