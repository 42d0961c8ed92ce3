"""The methods of MCP: who may send each, and what of it policy sees. Any other is refused.

Source: the schemas of MCP 2024-11-05, 2025-03-26, 2025-06-18 and 2025-11-25.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REQUESTS: Final = frozenset((
    "initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/templates/list", "resources/read",
    "resources/subscribe", "resources/unsubscribe", "prompts/list", "prompts/get", "completion/complete",
    "logging/setLevel", "tasks/get", "tasks/result", "tasks/list", "tasks/cancel",
))
"""What clients ask of servers."""
NOTIFICATIONS: Final = frozenset((
    "notifications/initialized", "notifications/cancelled", "notifications/progress", "notifications/roots/list_changed",
    "notifications/tasks/status",
))
"""What clients tell servers."""
SERVER_REQUESTS: Final = frozenset((
    "ping", "sampling/createMessage", "elicitation/create", "roots/list", "tasks/get", "tasks/result", "tasks/list",
    "tasks/cancel",
))
"""What servers ask of clients."""
SERVER_NOTIFICATIONS: Final = frozenset((
    "notifications/cancelled", "notifications/progress", "notifications/message", "notifications/resources/updated",
    "notifications/resources/list_changed", "notifications/tools/list_changed", "notifications/prompts/list_changed",
    "notifications/elicitation/complete", "notifications/tasks/status",
))
"""What servers tell clients."""

CALL: Final = "tools/call"
RESULT: Final = "tasks/result"
"""Asks for the result of a request that was made before: of which tool, the message does not say."""
LISTEN: Final = "listen"
"""The verb of a stream that a client opens to hear its server."""
LEAVE: Final = "leave"
"""The verb of the end of a session that a client asks for."""
ANSWER: Final = "answer"
"""The verb of a client's response to a request of the server."""
UNKNOWN: Final = "unknown"
"""The verb of what is refused without policy being asked: unknown methods, and what is no JSON-RPC."""
VERBS: Final = REQUESTS | NOTIFICATIONS | SERVER_REQUESTS | {LISTEN, LEAVE, ANSWER, UNKNOWN}


@dataclass(frozen=True, slots=True)
class Listed:
    """Entries of a list that are shown only where `method` may be used on them: `name` is the member that tells them
    apart, `fact` what conditions call it."""

    method: str
    name: str
    fact: str


LISTS: Final = {
    "tools": Listed(CALL, "name", "tool"),
    "prompts": Listed("prompts/get", "name", "prompt"),
    "resources": Listed("resources/read", "uri", "uri"),
}
"""By the member of a result that holds the list."""
OF_LISTS: Final = {"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources"}
