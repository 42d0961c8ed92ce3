"""From a message that a client sends to the `Operation` that policy, reviewer and record see.

Apart from the operations of requests: a message has no head and no type of its own, so what it is is found out from what it
holds, in text and binary frames alike, because backends read JSON from both.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Final

from lockgate.govern.masking.bodies import Renamed
from lockgate.model import Operation
from lockgate.protocols.http.documents import is_deeper, read_document
from lockgate.protocols.http.graphql import BadDocument, operations_of, queries_in, renamed_by, renamed_in
from lockgate.protocols.http.operations import (
    DEEPEST,
    ONE_GRAPHQL,
    ONE_JSON,
    SEND,
    BadContent,
    Request,
    headers_of,
    shown_content,
)
from lockgate.protocols.http.websocket.frames import Message

_LATER: Final = frozenset(("json", "message", "headers"))
_GRAPHQL: Final = frozenset(("graphql",))
_ASKING: Final = frozenset(("subscribe", "start"))
_QUIET: Final = frozenset((
    "connection_init", "connection_terminate", "complete", "stop", "ping", "pong"))
"""Types of graphql-transport-ws and of the older graphql-ws that ask for nothing."""
_NAMED: Final = re.compile(r"query|\\u", re.IGNORECASE)
_JSON: Final = "application/json"
_MISSING: Final = object()


def text_of(message: Message) -> str | None:
    """What a message says, in a text frame or a binary one; None for bytes that are no text."""
    try:
        text = message.data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if message.is_text or "\0" not in text.rstrip("\0\r\n") else None     # STOMP ends its frames so


def message_operation(request: Request, message: Message) -> Operation:
    """A message over the socket that `request` has opened. Facts that cost something are lacking."""
    text = text_of(message)
    media_type = "application/octet-stream" if text is None else _JSON if text.lstrip()[:1] in ("{", "[") else "text/plain"
    digest = hashlib.sha256(message.data).hexdigest()
    line = f"{SEND.upper()} {request.line().partition(' ')[2]}"
    facts: dict[str, object] = {
        "method": SEND.upper(), "host": request.host, "path": request.target.path, "segments": list(request.target.segments),
        "template": request.template, "query": request.target.query, "content_type": media_type, "size": len(message.data),
        "websocket": True, "parts": [],
    }
    lacks = _LATER
    if request.is_graphql:
        lacks |= _GRAPHQL
    else:
        facts["graphql"] = []
    return Operation(
        protocol="http", kind="message", verbs=frozenset((SEND,)),
        text=f"{line}\n\n{shown_content(media_type, message.data, digest)}",
        key=("message", request.host, line, message.is_text, digest), facts=facts, objects=(f"{request.host}{request.template}",),
        lacks=lacks)


def with_facts(request: Request, operation: Operation, message: Message, wanted: frozenset[str]) -> Operation:
    """The same message with every fact that was left out. `BadContent` where one cannot be read; GraphQL has to be readable
    where it is `wanted` only."""
    facts, text = dict(operation.facts), text_of(message)
    value = _MISSING if text is None else _document(text)
    if value is not _MISSING:
        facts["json"] = value
    if text is not None:
        facts["message"] = text
    headers = facts["headers"] = headers_of(request.head)
    if wanted >= _GRAPHQL:
        facts["graphql"] = _graphql(value)
    named = tuple(sorted((name, *values) for name, values in headers.items()))
    return replace(operation, key=("facts", operation.key, named), facts=facts, lacks=operation.lacks & _GRAPHQL - wanted)


def _document(text: str) -> object:
    """The JSON of a message, `_MISSING` for one that does not look like a document."""
    begins = text.lstrip(" \t\r\n")[:1] in ("{", "[")
    try:
        value: object = read_document(text)
    except (ValueError, RecursionError):
        if begins:
            raise BadContent("the message is no JSON of one reading, and a rule depends on it", ONE_JSON) from None
        return _MISSING
    if is_deeper(value, text, DEEPEST):
        raise BadContent(f"the message's JSON is nested deeper than {DEEPEST}, and a rule depends on it")
    return value


def _graphql(value: object) -> list[dict[str, object]]:
    """The operations of a message of graphql-transport-ws or graphql-ws."""
    try:
        payload = _asked(value)
        return [] if payload is None else operations_of({}, payload)
    except BadDocument as error:
        raise BadContent(f"what the message does cannot be told, and a rule depends on it: {error}", ONE_GRAPHQL) from None


def _asked(value: object) -> object:
    """The GraphQL request in a message of those, None for one that asks for nothing. `BadDocument` for other messages."""
    kind, payload = (value.get("type"), value.get("payload")) if isinstance(value, dict) else (None, None)
    if not isinstance(kind, str) or kind not in _QUIET | _ASKING:
        raise BadDocument("it is no message of graphql-transport-ws or graphql-ws")
    if kind in _QUIET:
        return None
    if not isinstance(payload, dict):
        raise BadDocument("its payload is no GraphQL request")
    return payload


def names_in(request: Request, message: Message) -> Renamed | None:
    """Names in what comes back that stand for others because the message says so, as `renamed_fields`; None where nobody can
    tell. On a path of `graphql` every message is one of GraphQL; elsewhere each document that can be read as such counts."""
    text = text_of(message)
    if request.is_graphql:
        try:
            payload = None if text is None else _asked(_document(text))
            return None if text is None else () if payload is None else renamed_by({}, payload)
        except (BadContent, BadDocument):
            return None
    if text is None or not _NAMED.search(text):
        return ()
    try:
        return renamed_in(queries_in(text))
    except BadDocument:
        return None
