"""Texts of language models that come in pieces, one an event: what detectors see of them is the whole text.

Apart from `event_body`, which knows events and nothing of what is in them. The streams of OpenAI (chat completions, the older
completions, responses) and Anthropic (messages) are known by their members. The pieces of one text (of a choice, an item, a
content block, the arguments of a call) go through one `Running` search: what may still become a find is held, and comes
with the next piece, or in an event of its own, made like the last one, before the event that ends the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from lockgate.govern.masking.bodies.json_body import JsonRules, quoted
from lockgate.govern.masking.bodies.values import Running, Values
from lockgate.govern.masking.conceal import json_string
from lockgate.kernel.json_rules import LOOK_TEXT
from lockgate.kernel.json_scan import JsonScanner

Event = tuple[bytes, bytes]
"""An event's name and its data."""

_MOST_TEXTS: Final = 256
_CHOICE: Final = ("content", "refusal", "reasoning", "reasoning_content")
_BLOCK: Final = ("text", "partial_json", "thinking")
_ENDS: Final = frozenset((
    "message_stop", "message_delta", "response.completed", "response.failed", "response.incomplete", "error"))
_QUOTE: Final = 34
_NO_TEXTS: Final = ("audio.delta", "partial_image")  # base64 in pieces that are read one by one
PATHS: Final = (
    *(f"$.choices[*].delta.{name}" for name in _CHOICE), "$.choices[*].text",
    "$.choices[*].delta.tool_calls[*].function.arguments", "$.choices[*].delta.function_call.arguments",
    "$.delta", *(f"$.delta.{name}" for name in _BLOCK),
)
"""Where the pieces are."""

_Key = tuple[str | int | None, ...]


@dataclass(slots=True)
class _Piece:
    """One piece in an event: which text it belongs to, and the members and indexes that lead to it."""

    key: _Key
    path: tuple[str | int, ...]
    text: str


@dataclass(slots=True)
class _Text:
    """A text that is not at its end: the search in it, and the last event that had a piece of it, as it was shown."""

    search: Running
    name: bytes = b""
    data: bytes = b""
    path: tuple[str | int, ...] = ()


class Deltas:
    """The JSON documents of one stream of events."""

    __slots__ = ("_joins", "_rules", "_texts", "_values")

    def __init__(self, values: Values) -> None:
        self._values = values
        self._joins = values.joins
        if self._joins:
            values.deltas = PATHS
        self._rules = _DeltaRules(values)
        self._texts: dict[_Key, _Text] = {}

    def document(self, data: bytes) -> bytes:
        """What is left of a document with no pieces of texts. ValueError for what is no JSON."""
        return self._scanned(data)

    def event(self, data: bytes, name: bytes) -> tuple[list[Event], bytes]:
        """Events that come first, and what is left of this one's data. ValueError for what is no JSON, and for a document
        that says two things at once.
        """
        if not self._joins:
            return [], self._scanned(data)
        document = _document(data)
        chosen = self._values.selection
        pieces = [piece for piece in _pieces(document) if chosen.hides_at(piece.path) == chosen.delta]
        ended = list(_ended(document))
        keys = {piece.key for piece in pieces}
        before = self._flushed([key for key in self._texts if key not in keys and _is_within(key, ended)])
        self._rules.pieces = [self._fed(piece, is_last=_is_within(piece.key, ended)) for piece in pieces]
        shown = self._scanned(data)
        if self._rules.pieces:
            raise ValueError("a JSON document has two members of one name")
        for piece in pieces:
            self._note(piece, name, shown)
        return before, shown

    def finish(self) -> list[Event]:
        """The stream is at its end: what is held of its texts."""
        return self._flushed(list(self._texts))

    def _scanned(self, data: bytes) -> bytes:
        scanner = JsonScanner(self._rules, self._values.terms.limit, True)
        shown = scanner.feed(data, self._values.hits(data)) + scanner.finish()
        self._values.count_all(scanner.counts)
        return data if shown == data else shown

    def _fed(self, piece: _Piece, *, is_last: bool) -> tuple[bytes, bytes]:
        """A piece, and what takes its place."""
        text = self._texts.get(piece.key)
        if text is None:
            if len(self._texts) >= _MOST_TEXTS:
                raise ValueError("a stream has more texts at a time than are looked at")
            text = self._texts[piece.key] = _Text(self._values.running())
        raw = piece.text.encode("utf-8", "surrogatepass")
        shown = text.search.feed(raw)
        return raw, shown + text.search.finish() if is_last else shown

    def _note(self, piece: _Piece, name: bytes, shown: bytes) -> None:
        text = self._texts[piece.key]
        is_holding = text.search.is_holding
        text.name, text.data, text.path = name, shown if is_holding else b"", piece.path

    def _flushed(self, keys: list[_Key]) -> list[Event]:
        """Events with what is held of some texts, which are at their ends."""
        found = []
        for key in keys:
            text = self._texts.pop(key)
            rest = text.search.finish()
            if rest:
                made = _pruned(_document(text.data), text.path, rest.decode("utf-8", "surrogatepass"))
                found.append((text.name, json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode(
                    "utf-8", "surrogatepass")))
        return found


class _DeltaRules(JsonRules):
    """The rules of a body of JSON; `pieces` of texts are replaced in their order, each by what comes with it."""

    def __init__(self, values: Values) -> None:
        super().__init__(values)
        self.pieces: list[tuple[bytes, bytes]] = []

    def hide(self, at: int, first: int, raw: bytes | None) -> bytes:
        if at != self._values.selection.delta:
            return super().hide(at, first, raw)
        if raw is None:
            raise ValueError("a piece of a text is too long to be looked at")
        inner = json_string(raw) if first == _QUOTE else None
        if inner is not None and not self._depth and self.pieces and self.pieces[0][0] == inner:
            new = self.pieces.pop(0)[1]
            return raw if new == inner else quoted(new)
        return self.look(raw, 0, LOOK_TEXT if inner is not None else 0, None, None)


def _document(data: bytes) -> Any:
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None


def _pieces(document: Any) -> Iterator[_Piece]:
    """The pieces of texts in an event, in the order in which they stand there."""
    if not isinstance(document, dict):
        return
    kind = document.get("type")
    for name, value in document.items():
        if name == "choices" and isinstance(value, list):
            for place, choice in enumerate(value):
                yield from _of_choice(choice, place)
        elif name == "delta" and isinstance(value, str) and isinstance(kind, str) and not kind.endswith(_NO_TEXTS):
            yield _Piece((*_item(document), kind), ("delta",), value)
        elif name == "delta" and isinstance(value, dict) and kind == "content_block_delta":
            for part, text in value.items():
                if part in _BLOCK and isinstance(text, str):
                    yield _Piece(("block", _plain(document.get("index")), part), ("delta", part), text)


def _of_choice(choice: Any, place: int) -> Iterator[_Piece]:
    if not isinstance(choice, dict):
        return
    index = _plain(choice.get("index", place))
    for name, value in choice.items():
        if name == "text" and isinstance(value, str):
            yield _Piece(("choice", index, "text"), ("choices", place, "text"), value)
        elif name == "delta" and isinstance(value, dict):
            for part, text in value.items():
                path = ("choices", place, "delta", part)
                if part in _CHOICE and isinstance(text, str):
                    yield _Piece(("choice", index, part), path, text)
                elif part == "function_call":
                    yield from _of_call(text, ("choice", index, part), path)
                elif part == "tool_calls" and isinstance(text, list):
                    for at, call in enumerate(text):
                        if isinstance(call, dict):
                            number = _plain(call.get("index", at))
                            yield from _of_call(
                                call.get("function"), ("choice", index, part, number), (*path, at, "function"))


def _of_call(call: Any, key: _Key, path: tuple[str | int, ...]) -> Iterator[_Piece]:
    if isinstance(call, dict) and isinstance(call.get("arguments"), str):
        yield _Piece(key, (*path, "arguments"), call["arguments"])


def _ended(document: Any) -> Iterator[_Key]:
    """The beginnings of the keys of texts that are at their ends."""
    if not isinstance(document, dict):
        return
    kind = document.get("type")
    choices = document.get("choices")
    if isinstance(choices, list):
        for place, choice in enumerate(choices):
            if isinstance(choice, dict) and choice.get("finish_reason") is not None:
                yield "choice", _plain(choice.get("index", place))
    if kind == "content_block_stop":
        yield "block", _plain(document.get("index"))
    elif kind in _ENDS:
        yield ()
    elif isinstance(kind, str) and kind.endswith(".done"):
        yield _item(document)[:2]


def _item(document: dict[str, Any]) -> _Key:
    return ("item", *(_plain(document.get(name)) for name in ("output_index", "item_id", "content_index", "summary_index")))


def _plain(value: Any) -> str | int | None:
    """An index or id as it is; what is neither belongs to none."""
    return value if isinstance(value, str | int) else None


def _is_within(key: _Key, ended: list[_Key]) -> bool:
    return any(key[:len(one)] == one for one in ended)


def _pruned(node: Any, path: tuple[str | int, ...], text: str, *, is_inner: bool = False) -> Any:
    """An event like the last one, with nothing but one piece in it."""
    if not path:
        return text
    first, rest = path[0], path[1:]
    if isinstance(node, list):
        return [_pruned(node[int(first)], rest, text, is_inner=True)]
    inner = _pruned(node[first], rest, text, is_inner=is_inner or first in ("choices", "delta"))
    if is_inner:
        return {name: value for name, value in node.items() if name in ("index", "type", "finish_reason")} | {first: inner}
    return {name: inner if name == first else value for name, value in node.items() if name != "usage"}
