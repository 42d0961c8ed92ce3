"""How each rule is held on a connection: the protocol's rows of the enforcement table (I5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lockgate.model import Rule
from lockgate.protocols.http import enforcement as of_http
from lockgate.protocols.mcp.settings import settings_of
from lockgate.wire.spec import Enforcement

_WORDS = (
    ("refused with 403 before anything is forwarded", "answered as refused before anything is forwarded, and not listed"),
    ("held for ", "held, with progress, for "),
    ("a find is refused with 403", "a find is refused"),
    ("of members, form fields, CSV columns and XML elements of these names in answers, arrays looked through",
     "of members of these names in results, errors, logs and requests of the server, documents in texts looked through"),
    ("detector on fields and content of answers, in any form that is text", "detector on every text that the server sends"),
    ("detector on target, fields and content of requests", "detector on arguments and on answers to the server"),
)


def enforce(connection: str, settings: Any, rules: Sequence[Rule], catalogue: Any) -> list[Enforcement]:
    """Rows for `lockgate check`; a row with a problem stops the connection. What HTTP holds is held in messages here."""
    rows = of_http.enforce(connection, settings_of(settings), rules, catalogue)
    return [_worded(row) for row in rows if row.control != of_http.WEBSOCKET]       # which MCP does not speak


def _worded(row: Enforcement) -> Enforcement:
    how = row.how
    for theirs, ours in _WORDS:
        how = how.replace(theirs, ours)
    return replace(row, how=how, problem=row.problem and row.problem.replace("HTTP", "MCP"))
