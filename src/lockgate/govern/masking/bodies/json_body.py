"""JSON bodies: one document, or documents one after the other.

Apart from the scanner, which knows bytes only: here is what its questions mean. A string that is a document itself (as
the results of tools often are) is looked into like what it lies in; one that only begins like a document is text.
"""

from __future__ import annotations

import codecs
import json
from typing import Final

from lockgate.govern.masking.bodies.values import Values
from lockgate.govern.masking.conceal import json_string
from lockgate.govern.masking.detector import REDACTED
from lockgate.kernel.json_rules import LOOK_KEY, LOOK_TEXT, JsonTooDeep, Rules
from lockgate.kernel.json_scan import JsonScanner

_BOM: Final = b"\xef\xbb\xbf"
_REDACTED: Final = b'"' + REDACTED + b'"'
_SPACE: Final = b" \t\r\n"
_WRITTEN: Final = json.JSONEncoder(ensure_ascii=False)
_DEEPEST_TEXT: Final = 4
"""Documents in strings of documents that are looked into; what lies deeper is hidden."""


class JsonBody:
    """The mask over a body of one JSON document, or with `many` of several. A byte order mark in front goes on."""

    __slots__ = ("_has_looks", "_scanner", "_start", "_utf8", "_values", "masked")

    def __init__(self, values: Values, *, many: bool = False, root: int = 0) -> None:
        self.masked = values.masked
        self._values = values
        self._has_looks = values.looks
        self._scanner = JsonScanner(JsonRules(values), values.terms.limit, many, root)
        self._utf8: codecs.IncrementalDecoder | None = None
        self._start: bytes | None = b""

    def feed(self, data: bytes) -> bytes:
        """What may go on. ValueError for what is no JSON in UTF-8."""
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return b""
            self._start = None
            if data.startswith(_BOM):
                return _BOM + self.feed(data[len(_BOM):])
        self._require_utf8(data)
        return self._scanned(self._scanner.feed(data, self._values.hits(data) if self._has_looks else []))

    def finish(self) -> bytes:
        """The rest. ValueError where a document is not whole."""
        if self._start:
            raise ValueError("not JSON")
        if self._utf8 is not None:
            self._require_utf8(b"", final=True)
        return self._scanned(self._scanner.finish())

    def _scanned(self, data: bytes) -> bytes:
        self._values.count_all(self._scanner.counts)
        return data

    def _require_utf8(self, data: bytes, *, final: bool = False) -> None:
        if self._utf8 is None:
            if data.isascii():
                return
            self._utf8 = codecs.getincrementaldecoder("utf-8")()
        try:
            self._utf8.decode(data, final)
        except UnicodeDecodeError:
            raise ValueError("not JSON: it is not UTF-8") from None


class JsonRules(Rules):
    """What the scanner asks, answered by a body's values."""

    def __init__(self, values: Values) -> None:
        super().__init__(values.selection.tables, values.looks, values.every)
        self._values = values
        self._depth = 0

    def member(self, state: int, name: bytes) -> int:
        return self._values.selection.member(state, name)

    def element(self, state: int, index: int) -> int:
        return self._values.selection.element(state, index)

    def hide(self, at: int, first: int, raw: bytes | None) -> bytes:
        return self._values.hidden_json(at, first, raw)

    def look(self, raw: bytes, state: int, kind: int, name: bytes | None, above: bytes | None) -> bytes:
        if kind == LOOK_TEXT:
            inner = json_string(raw)
            new = None if inner is None else self.documents(inner, state)
            if new is not None:
                return raw if new is inner else quoted(new)
        found = self._values.token(raw, _meant(name), _meant(above))
        if found is None:
            return _REDACTED if kind == LOOK_KEY else b"null"
        return found

    def hides_below(self, name: bytes) -> bool:
        return self._values.hides_below(_meant(name) or b"")

    def documents(self, text: bytes, state: int) -> bytes | None:
        """A text that is one document or several, with what has to be hidden in them (the same object for nothing);
        None for another text. `state` is the automaton's for a document that stands there.
        """
        if text.lstrip(_SPACE)[:1] not in (b"{", b"["):
            return None
        if self._depth >= _DEEPEST_TEXT:
            return REDACTED
        scanner = JsonScanner(self, self._values.terms.limit, True, state)
        self._depth += 1
        try:
            new = scanner.feed(text, self._values.hits(text)) + scanner.finish()
        except JsonTooDeep:
            return REDACTED
        except ValueError:
            return None
        finally:
            self._depth -= 1
        self._values.count_all(scanner.counts)
        return text if new == text else new


def quoted(text: bytes) -> bytes:
    """A text as a JSON string."""
    return _WRITTEN.encode(text.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


def _meant(name: bytes | None) -> bytes | None:
    """A name with its escapes undone."""
    if name is None or b"\\" not in name:
        return name
    return json_string(b'"' + name + b'"')
