"""A refusal as a JSON-RPC answer that a program and a model can act on.

A refused tool call is answered with a result that says `isError`, because clients show its text to the model, and of an
error often its message alone; both carry the same words. Code, rule and ticket also stand in `_meta` and in `data`.
"""

from __future__ import annotations

from typing import Final

import orjson

from lockgate.model import Refusal, RefusalCode
from lockgate.protocols.mcp.jsonrpc import INVALID_REQUEST, METHOD_NOT_FOUND, REFUSED, UNAVAILABLE, Id
from lockgate.protocols.mcp.methods import CALL

REFUSAL: Final = "lockgate/refusal"
"""The name in `_meta` under which a refusal stands."""
_CODES: Final = {
    RefusalCode.NOT_UNDERSTOOD: INVALID_REQUEST, RefusalCode.UNSUPPORTED: METHOD_NOT_FOUND,
    RefusalCode.BACKEND_UNAVAILABLE: UNAVAILABLE, RefusalCode.INTERNAL: UNAVAILABLE,
    RefusalCode.SHUTTING_DOWN: UNAVAILABLE, RefusalCode.AUDIT_UNAVAILABLE: UNAVAILABLE,
}
_NOT_ASKED: Final = Refusal(
    RefusalCode.DENIED, "policy does not let this reach the client", hint="Do without it.")
_NO_CALL: Final = frozenset((RefusalCode.NOT_UNDERSTOOD, RefusalCode.UNSUPPORTED))


def answer_of(number: Id | None, method: str, refusal: Refusal, code: int | None = None) -> bytes:
    """The JSON-RPC message that answers a refused request."""
    details = {name: value for name, value in (
        ("code", refusal.code.value), ("reason", refusal.reason), ("rule", refusal.rule), ("ticket", refusal.ticket),
        ("hint", refusal.hint),
    ) if value is not None}
    if method == CALL and refusal.code not in _NO_CALL:
        content = [{"type": "text", "text": words_of(refusal)}]
        return orjson.dumps({"jsonrpc": "2.0", "id": number, "result": {
            "content": content, "isError": True, "_meta": {REFUSAL: details}}})
    return orjson.dumps({"jsonrpc": "2.0", "id": number, "error": {
        "code": code if code is not None else _CODES.get(refusal.code, REFUSED), "message": words_of(refusal),
        "data": {"_meta": {REFUSAL: details}}}})


def answer_to_server(number: Id | None) -> bytes:
    """What a server reads whose request the client does not get. Not which rule says so: that is not the server's to know."""
    return answer_of(number, "", _NOT_ASKED)


def words_of(refusal: Refusal) -> str:
    """Everything that a model needs, in one text."""
    named = [f"rule {refusal.rule}"] if refusal.rule else []
    named += [f"ticket {refusal.ticket}"] if refusal.ticket else []
    behind = f" ({', '.join(named)})" if named else ""
    return f"refused by the gateway: {refusal.reason}{behind}." + (f" {refusal.hint}" if refusal.hint else "")
