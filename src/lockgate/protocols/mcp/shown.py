"""What a server says, message by message, before a client sees it: masks, lists that show only what may be used, pins.

Apart from `sent`, the other direction. A mask means data, so it is put on what holds data: the text of contents, structured
content, the data of errors and logs, prompts, whatever a schema does not name. Members that MCP itself reads (`name`, `type`,
`uri` …) pass detectors only, or a mask called `*.name` would make every result unreadable. Knows nothing of what carries a
message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from lockgate.govern.masking.bodies import BodyTerms, JsonMask, json_mask
from lockgate.kernel.json_places import elements, members
from lockgate.model import ColumnMask, Decision, Effect, Operation, Refusal
from lockgate.protocols.mcp import methods
from lockgate.protocols.mcp.jsonrpc import Id, Kind, Malformed, Message, read
from lockgate.protocols.mcp.names import is_plain
from lockgate.protocols.mcp.operations import entry_operation, server_operation
from lockgate.protocols.mcp.pins import Pins

MASKED: Final = "lockgate/masked"
"""The name in `_meta` under which a result says what is masked in it."""
_SAID: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_DEEPEST: Final = 512
_DATA: Final = frozenset(("text", "structuredContent", "data", "input", "systemPrompt", "message", "statusMessage", "arguments"))
_STRUCTURE: Final = frozenset(("content", "contents", "messages", "resource", "completion", "task"))
_WORDS: Final = frozenset("""
type uri mimeType name title description role isError model stopReason nextCursor total hasMore level logger progress
progressToken requestId reason size id toolUseId code values mode url elicitationId elicitations taskId
status createdAt lastUpdatedAt ttl pollInterval annotations maxTokens temperature stopSequences includeContext metadata
""".split())
_DESCRIBED: Final = frozenset(("requestedSchema", "icons", "modelPreferences", "tools", "toolChoice"))
"""What describes to its last member."""
_BINARY: Final = ('"image"', '"audio"')
_WITHHELD: Final = '{"type":"text","text":"[an image or sound, withheld: masks are due that cannot be put on it]"}'
_NO_DATA: Final = frozenset((
    "initialize", "ping", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "tasks/list"))
"""Methods whose results describe and hold no data."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a response may come for, and what is hidden in it."""

    method: str
    terms: BodyTerms


@dataclass(slots=True)
class Shown:
    """The look at what a server says to one client. `rest` are the terms of what answers none of the `asked`; `foresees` is
    policy's answer to something that nobody has asked yet. `hides`: masks can be due for this caller. `masked` counts what
    was hidden, `notes` are events for the record. `answered` are the requests that were answered, with the code of an error;
    `unasked` are requests of the server that the client does not get. `is_strict`: what answers none of the `asked` is not
    shown, because nothing that was asked elsewhere can be answered here."""

    asked: Mapping[tuple[type, Id], Asked]
    rest: BodyTerms
    pins: Pins
    foresees: Callable[[Operation], Decision | Refusal]
    hides: bool
    passes_binary: bool
    masked: dict[str, int] = field(default_factory=dict)
    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    answered: dict[tuple[type, Id], str] = field(default_factory=dict)
    unasked: list[Message] = field(default_factory=list)
    is_strict: bool = False

    def messages(self, data: bytes) -> list[bytes]:
        """The messages of a text as they may be seen, without those that may not. `Malformed` for what is none."""
        found, _ = read(data, deepest=_DEEPEST)
        shown = [self._one(message) for message in found]
        return [one.encode() for one in shown if one is not None]

    def _one(self, message: Message) -> str | None:
        if message.kind is not Kind.RESPONSE:
            if not self._may_say(message):
                return None
            return self._enveloped(message, Asked(message.method, self.rest))
        key = None if message.id is None else (type(message.id), message.id)
        asked = None if key is None else self.asked.get(key)
        if asked is None and self.is_strict:
            self._refused("", "answers nothing")
            return None
        if key is not None:
            self.answered[key] = str(message.body["error"].get("code", "error"))[:20] if "error" in message.body else ""
        return self._enveloped(message, asked or Asked("", self.rest))

    def _may_say(self, message: Message) -> bool:
        """Whether a request or notification of the server may reach the client."""
        is_request = message.kind is Kind.REQUEST
        known = methods.SERVER_REQUESTS if is_request else methods.SERVER_NOTIFICATIONS
        reason = "unknown method"
        if message.method in known:
            if not is_request or message.method == "ping":
                return True
            decision = self.foresees(server_operation(message.method))
            if isinstance(decision, Decision) and decision.effect is not Effect.DENY:
                return True
            reason = "denied"
        self._refused(message.method, reason)
        if is_request:
            self.unasked.append(message)
        return False

    def _refused(self, method: str, reason: str) -> None:
        self.notes.append(("server_refused", {"method": method[:200], "reason": reason}))

    # ------------------------------------------------------------ one message

    def _enveloped(self, message: Message, asked: Asked) -> str:
        text, found = message.text, dict[str, int]()
        look = _Look(asked.terms, text, found, self.passes_binary)
        out: list[str] = []
        at = 0
        for name, _, start, end in members(text, text.index("{")):
            if name == "result":
                new = self._result(text[start:end], asked, look)
            elif name in ("error", "params"):
                new = look.structure(text[start:end])
            else:
                continue
            if name == "result" and found and new.startswith("{"):
                new = _with_masked(new, found)
            out += (text[at:start], new)
            at = end
        for label, count in found.items():
            self.masked[label] = self.masked.get(label, 0) + count
        return "".join((*out, text[at:]))

    def _result(self, text: str, asked: Asked, look: _Look) -> str:
        if not text.startswith("{"):
            return look.words(text)
        listed = methods.OF_LISTS.get(asked.method)
        names = (listed,) if listed else () if asked.method else tuple(methods.LISTS)
        if names:
            text = self._filtered(text, names)
        return look.words(text) if asked.method in _NO_DATA else look.structure(text)

    def _filtered(self, text: str, names: tuple[str, ...]) -> str:
        """A result's lists without the entries that the caller may not use."""
        out: list[str] = []
        at = 0
        is_last, has_tools = True, False
        for name, _, start, end in members(text, 0):
            if name == "nextCursor" and text[start:end] != "null":
                is_last = False
            if name not in names or text[start] != "[":
                continue
            has_tools = has_tools or name == "tools"
            kept = [entry for first, last in elements(text, start)
                    if (entry := self._entry(name, text[first:last])) is not None]
            out += (text[at:start], "[", ",".join(kept), "]")
            at = end
        if has_tools and is_last:
            self.pins.seen_whole()
        self.notes += self.pins.notes
        self.pins.notes.clear()
        return "".join((*out, text[at:]))

    def _entry(self, name: str, text: str) -> str | None:
        listed, entry = methods.LISTS[name], json.loads(text)
        key = entry.get(listed.name) if isinstance(entry, dict) else None
        if not isinstance(key, str):
            raise Malformed("an entry of a list has no name")
        if name != "resources" and not is_plain(key):
            self._refused("", "a name with a second spelling")
            return None
        is_shown = name != "tools" or self.pins.shows(key, entry)     # also of what this caller may not use
        decision = self.foresees(entry_operation(listed, key))
        if not is_shown or not isinstance(decision, Decision) or decision.effect is Effect.DENY:
            return None
        return _without(text, "outputSchema") if self.hides and name == "tools" else text


class _Look:
    """The masks on the values of one message."""

    def __init__(self, terms: BodyTerms, text: str, found: dict[str, int], passes_binary: bool) -> None:
        self._terms = terms
        self._text = text
        self._found = found
        self._passes_binary = passes_binary
        self._data = json_mask(terms, text, found) if terms.is_due else None
        self._may_be_binary = not passes_binary and any(kind in text for kind in _BINARY)
        self._words: JsonMask | None = None         # made for the first one that may hold something

    def data(self, text: str) -> str:
        """A value that holds data."""
        return text if self._data is None else self._data(text)

    def words(self, text: str) -> str:
        """A value that MCP itself reads: detectors only."""
        if self._data is None or self._data.is_quiet:
            return text
        if self._words is None:
            self._words = json_mask(replace(self._terms, masks=()), self._text, self._found)
        return self._words(text)

    def _named(self, member: str, length: int) -> str:
        """A member that no schema names: `length` characters of it are its name. What masks its name, masks it."""
        new = self.data("{" + member + "}")
        if not new.startswith("{" + member[:length]):
            raise ValueError("a member's name holds what is hidden")
        return new[length + 1:-1]

    def structure(self, text: str) -> str:
        """A value of which the schema says what its members are."""
        if not self._terms.is_due:
            return text
        if text.startswith("["):
            return _spliced(text, [(first, last, self.structure(text[first:last])) for first, last in elements(text, 0)])
        if not text.startswith("{"):
            return self.words(text)
        found = members(text, 0)
        if self._may_be_binary and any(name == "type" and text[start:end] in _BINARY for name, _, start, end in found):
            self._count("binary")
            return _WITHHELD
        return _spliced(text, [(member[2], member[3], self._member(text, *member)) for member in found])

    def _member(self, text: str, name: str, name_at: int, start: int, end: int) -> str:
        value = text[start:end]
        if name == "blob":
            if self._passes_binary:
                return value
            self._count("binary")
            return '""'
        if name in _DATA:
            return self.data(value)
        if name in _STRUCTURE:
            return self.structure(value)
        if name in _DESCRIBED:
            return self.words(value)
        if name in _WORDS:
            return self.structure(value)    # an object is no word, and may hold anything
        return self._named(text[name_at:end], start - name_at)

    def _count(self, name: str) -> None:
        self._found[name] = self._found.get(name, 0) + 1


def _spliced(text: str, pieces: list[tuple[int, int, str]]) -> str:
    out: list[str] = []
    at = 0
    for start, end, new in pieces:
        out += (text[at:start], new)
        at = end
    return "".join((*out, text[at:]))


def _without(text: str, name: str) -> str:
    """An object without one member."""
    kept = [text[name_at:end] for one, name_at, _, end in members(text, 0) if one != name]
    return "{" + ",".join(kept) + "}"


def _with_masked(text: str, found: dict[str, int]) -> str:
    """A result that says in `_meta` what is masked in it."""
    said = f'"{MASKED}":{_SAID.encode(found)}'
    for name, _, start, end in members(text, 0):
        if name == "_meta" and text[start] == "{":
            inner = _without(text[start:end], MASKED)[1:-1]
            return text[:start] + "{" + said + ("," if inner else "") + inner + "}" + text[end:]
    rest = text[1:].lstrip()
    return '{"_meta":{' + said + "}" + ("" if rest == "}" else ",") + rest


@lru_cache(maxsize=256)
def anywhere(masks: tuple[ColumnMask, ...]) -> tuple[ColumnMask, ...]:
    """Masks of what no request is known for (a stream that is resumed, the result of a task): each hides its names wherever they
    stand."""
    return tuple(dict.fromkeys(
        replace(mask, columns=tuple("*." + glob.rpartition(".")[2] for glob in mask.columns)) for mask in masks))
