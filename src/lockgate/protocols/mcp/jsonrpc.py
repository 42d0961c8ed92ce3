"""JSON-RPC 2.0 messages, read so that nobody else can read them otherwise.

Whatever carries them (HTTP, a pipe) hands over bytes and gets messages. A name that occurs twice, or that differs from a
known one in its case only, is refused, because servers that take the last, the first or any case would carry out another
request than the one that policy saw. What is not changed goes on byte for byte (`kernel.json_places`).

Source: JSON-RPC 2.0 specification; RFC 8259; MCP 2025-11-25, "Base protocol" (ids are strings or integers).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from lockgate.kernel.json_places import elements, skipped
from lockgate.protocols.http.documents import NamedTwice, is_deeper, read_document

DEEPEST: Final = 64
"""Objects and arrays within each other in a client's message."""
_MOST: Final = 64
"""Messages in one batch."""
_LONGEST_ID: Final = 512
_LONGEST_NAME: Final = 512
_MEMBERS: Final = frozenset(("jsonrpc", "id", "method", "params", "result", "error"))

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
REFUSED: Final = -32001
"""The gateway's own code for what policy, a reviewer or a pin refuses."""
UNAVAILABLE: Final = -32002
"""The gateway's own code for a server that cannot be asked, or whose answer cannot be shown."""

Id = str | int


class Kind(Enum):
    """What a message is."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


class Malformed(ValueError):
    """No JSON-RPC of one reading. `code` is JSON-RPC's; the words hold nothing of the message."""

    def __init__(self, reason: str, code: int = INVALID_REQUEST) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `text` is how it was written; `params` are a request's, `body` is all of it."""

    kind: Kind
    id: Id | None
    method: str
    params: dict[str, Any]
    body: dict[str, Any]
    text: str


def read(data: bytes, *, deepest: int = DEEPEST) -> tuple[list[Message], bool]:
    """The messages of a text, and whether it is a batch. `Malformed` where one of them can be read in two ways."""
    text, value = _parsed(data, deepest)
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise Malformed("it holds half of a surrogate pair") from None
    if isinstance(value, dict):
        return [_message(value, text)], False
    if not isinstance(value, list):
        raise Malformed("it is neither an object nor an array")
    if not value or len(value) > _MOST:
        raise Malformed(f"a batch holds from 1 to {_MOST} messages")
    found = [_message(one, text[start:end])
             for one, (start, end) in zip(value, elements(text, skipped(text, 0)), strict=True)]
    ids = [(type(one.id), one.id) for one in found if one.kind is Kind.REQUEST]
    if len(set(ids)) != len(ids):
        raise Malformed("an id occurs twice in the batch")
    return found, True


def _parsed(data: bytes, deepest: int) -> tuple[str, Any]:
    try:
        text = data.decode("utf-8")
        value = read_document(text)
    except NamedTwice as error:
        raise Malformed(str(error)) from None
    except (ValueError, RecursionError):
        raise Malformed("it is no JSON in UTF-8", PARSE_ERROR) from None
    if is_deeper(value, text, deepest):
        raise Malformed(f"it is nested deeper than {deepest}")
    return text, value


def require_one_reading(value: dict[str, Any]) -> None:
    """`Malformed` where two names differ in their case only: some readers take one for the other."""
    if len({name.casefold() for name in value}) != len(value):
        raise Malformed("two names differ in their case only")


def _message(value: object, text: str) -> Message:
    if not isinstance(value, dict):
        raise Malformed("a message is no object")
    if value.get("jsonrpc") != "2.0":
        raise Malformed("jsonrpc is not 2.0")
    if not _MEMBERS.issuperset(value):
        raise Malformed("a message has a member that JSON-RPC does not know")
    method, number = value.get("method"), value.get("id")
    is_answer = "result" in value or "error" in value
    if is_answer:
        if "method" in value or "params" in value or ("result" in value and "error" in value):
            raise Malformed("a message is a request and a response at once")
        if "error" in value and not isinstance(value["error"], dict):
            raise Malformed("an error is no object")
        if number is not None:
            _require_id(number)
        return Message(Kind.RESPONSE, number, "", {}, value, text)
    if not isinstance(method, str) or not 0 < len(method) <= _LONGEST_NAME:
        raise Malformed("a message has no method")
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise Malformed("params is no object")
    require_one_reading(params)
    if "id" not in value:
        return Message(Kind.NOTIFICATION, None, method, params, value, text)
    _require_id(number)
    return Message(Kind.REQUEST, number, method, params, value, text)


def _require_id(number: object) -> None:
    is_fine = (isinstance(number, str) and len(number) <= _LONGEST_ID) or (
        isinstance(number, int) and not isinstance(number, bool) and abs(number) < 1 << 63)
    if not is_fine:
        raise Malformed("an id is neither a string nor an integer")
