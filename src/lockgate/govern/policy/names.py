"""The names that a condition may use, with one line of documentation each.

Kept apart from the engine because the generated reference and the editor's schema read it too.
What `op` holds beyond these comes from each protocol's `ProtocolSpec.facts`.
"""

from __future__ import annotations

from collections.abc import Mapping

OPERATION: Mapping[str, str] = {
    "verb": "one effect of the request; a rule that restricts matches if any of its effects does, "
            "an `allow` only if all of them do",
    "verbs": "every effect that the request has or may have (list of strings, sorted)",
    "kind": "which message of the protocol asked",
    "protocol": "the protocol's name",
    "text": "the request without comments",
    "parameters": "bound values as text, null for NULL (list)",
}
IDENTITY: Mapping[str, str] = {
    "issuer": "who vouched for the caller",
    "subject": "the caller's id at that issuer",
    "provider": "the provider's name in this configuration",
    "groups": "the caller's groups (list of strings, sorted)",
    "client_id": "the OAuth client, or null",
    "agent": "the agent's name from the token, or null",
    "model": "the model's name from the token, or null",
}
CONNECTION: Mapping[str, str] = {
    "name": "the connection's name",
}
SESSION: Mapping[str, str] = {
    "id": "the session's opaque id",
    "statements": "requests judged in this session so far, this one included (int)",
    "rows": "rows returned in this session so far (int)",
    "started": "when it began, Unix seconds (int)",
    "connection": "the connection's name",
    "peer": "the client's address as ip:port",
}
TIME: Mapping[str, str] = {
    "hour": "0 to 23, UTC (int)",
    "minute": "0 to 59, UTC (int)",
    "weekday": "1 is Monday, 7 is Sunday, UTC (int)",
    "iso": "like 2026-01-31T23:59:59Z; timestamp(time.iso) makes it comparable",
    "local_hour": "0 to 23, by the clocks of `timezone` in the configuration (int)",
    "local_minute": "0 to 59, by those clocks (int)",
    "local_weekday": "1 is Monday, 7 is Sunday, by those clocks (int)",
    "local_date": "like 2026-01-31, by those clocks; compare with ==",
}
FUNCTIONS = frozenset({
    "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bytes",
    "timestamp", "duration", "dyn", "getFullYear", "getMonth", "getDayOfMonth", "getDayOfWeek",
    "getDayOfYear", "getDate", "getHours", "getMinutes", "getSeconds", "getMilliseconds",
})
"""What the CEL library has built in. Another name would fail at run time only, so it is refused."""

ROOTS: Mapping[str, Mapping[str, str]] = {
    "op": OPERATION, "identity": IDENTITY, "connection": CONNECTION, "session": SESSION, "time": TIME,
}
UNCACHED_OPERATION = frozenset({"text", "parameters"})
"""Names of `op` that two operations with an equal key may differ in (see `model.Operation`)."""
