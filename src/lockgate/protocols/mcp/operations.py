"""From a JSON-RPC message to the `Operation` that policy, reviewer and record see. Knows nothing of what carries it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from lockgate.model import Operation
from lockgate.protocols.mcp import methods
from lockgate.protocols.mcp.jsonrpc import Kind, Malformed, Message, require_one_reading
from lockgate.protocols.mcp.names import verify_name
from lockgate.protocols.mcp.uris import verify_uri

FACTS: Final[Mapping[str, str]] = {
    "method": "the JSON-RPC method: tools/call, resources/read; `listen` and `leave` of a stream and of a session's end",
    "tool": "the tool that is called; empty for other methods",
    "arguments": "the arguments of the tool or prompt, as an object: op.arguments.amount > 100",
    "uri": "the URI of the resource that is read or subscribed to; empty for other methods",
    "prompt": "the prompt that is asked for; empty for other methods",
}
_LONGEST_TEXT: Final = 65_536
_NAMES: Final = {"tools/call": ("tool", "name"), "prompts/get": ("prompt", "name"), "resources/read": ("uri", "uri"),
                 "resources/subscribe": ("uri", "uri"), "resources/unsubscribe": ("uri", "uri")}
_CALLS: Final = frozenset(("tools/call", "prompts/get"))
_EXACT: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def operation_of(message: Message) -> Operation:
    """A client's message. `Malformed` where what policy has to see is missing, or of another type."""
    if message.kind is Kind.RESPONSE:
        return _made(methods.ANSWER, {}, message.body)
    known = methods.REQUESTS if message.kind is Kind.REQUEST else methods.NOTIFICATIONS
    if message.method not in known:
        return refused_operation(message.method)
    facts: dict[str, object] = {}
    if message.method in _NAMES:
        fact, member = _NAMES[message.method]
        value = message.params.get(member)
        if not isinstance(value, str) or not value:
            raise Malformed(f"params.{member} is no text")
        (verify_uri if fact == "uri" else verify_name)(value)
        facts[fact] = value
    if message.method in _CALLS:
        arguments = message.params.get("arguments", {})
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict):
            raise Malformed("params.arguments is no object")
        require_one_reading(arguments)
        facts["arguments"] = arguments
    elif message.method == "completion/complete":
        facts |= _completed(message.params)
    return _made(message.method, facts, message.params)


def _completed(params: dict[str, Any]) -> dict[str, object]:
    """A completion is for an argument of a prompt, or of a resource template."""
    ref = params.get("ref")
    if not isinstance(ref, dict):
        raise Malformed("params.ref is no object")
    found = {"prompt": ref.get("name", ""), "uri": ref.get("uri", "")}
    if not all(isinstance(value, str) for value in found.values()):
        raise Malformed("params.ref names no prompt and no resource")
    verify_name(found["prompt"])
    return dict(found)


@lru_cache(maxsize=8)
def stream_operation(method: str) -> Operation:
    """A stream that is opened (`methods.LISTEN`), or a session that is ended (`methods.LEAVE`)."""
    return _made(method, {}, {})


@lru_cache(maxsize=128)
def refused_operation(method: str = "") -> Operation:
    """What is put on record of a message that is refused whatever policy says."""
    return _made(methods.UNKNOWN, {"method": method[:200]}, {})


def entry_operation(listed: methods.Listed, name: str) -> Operation:
    """The use of an entry of a list, with arguments that nobody knows yet."""
    return _made(listed.method, {listed.fact: name}, {}, lacks=frozenset(("arguments",)))


@lru_cache(maxsize=32)
def server_operation(method: str) -> Operation:
    """A request of the server, of which policy is asked whether the client may get it."""
    return _made(method, {}, {})


def _made(method: str, facts: Mapping[str, object], params: object, lacks: frozenset[str] = frozenset()) -> Operation:
    values: dict[str, object] = {"method": method, "tool": "", "arguments": {}, "uri": "", "prompt": "", **facts}
    if lacks:
        del values["arguments"]
    shown = _shown(params)
    exact = _EXACT.encode(shown)
    digest = hashlib.sha256(exact.encode()).hexdigest()
    name = str(values["tool"] or values["prompt"] or values["uri"])
    return Operation(
        protocol="mcp", kind="request", verbs=frozenset((method,)), text=_text(str(values["method"]), shown, digest),
        key=(method, name, values["method"], digest, bool(lacks)), facts=values,
        objects=(name,) if values["tool"] or values["prompt"] else (), lacks=lacks,
    )


def _shown(params: object) -> object:
    """Without the token of progress, which is another one with each attempt: no ticket may hang on it."""
    if not isinstance(params, dict) or not isinstance(params.get("_meta"), dict):
        return params
    meta = {name: value for name, value in params["_meta"].items() if name != "progressToken"}
    rest = {name: value for name, value in params.items() if name != "_meta"}
    return {**rest, "_meta": meta} if meta else rest


def _text(method: str, shown: object, digest: str) -> str:
    """What a reviewer reads: the method, and what is named and given, one value a line."""
    if not shown:
        return method
    if isinstance(shown, dict) and method in _CALLS:
        head, rest = f"{method} {shown.get('name', '')}", {
            name: value for name, value in shown.items() if name not in ("name", "arguments")}
        arguments = shown.get("arguments") or {}
        parts = [head, *([_pretty(arguments)] if arguments else []), *([_pretty(rest)] if rest else [])]
        text = "\n".join(parts)
    else:
        text = f"{method}\n{_pretty(shown)}"
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT]}\n[cut: {len(text)} characters, SHA-256 of all {digest}]"


def _pretty(value: object, end: str = "\n") -> str:
    """As `json.dumps` with an indent of two and names in order, which is no C in the standard library. `end` is a line's."""
    inner = end + "  "
    if isinstance(value, dict) and value:
        return "{" + inner + f",{inner}".join(
            [f"{_EXACT.encode(name)}: {_pretty(value[name], inner)}" for name in sorted(value)]) + end + "}"
    if isinstance(value, list) and value:
        return "[" + inner + f",{inner}".join([_pretty(one, inner) for one in value]) + end + "]"
    return _EXACT.encode(value)
