"""Messages one after the other, of which nobody says what they are (WebSocket): each is JSON, text, or text with JSON
behind it, as Socket.IO and STOMP write it.

Apart from `event_body`, whose events have lines. From the first brace or bracket on a message is JSON: one document or
several, in which members are masked by their names. Where it is none after all, it is text, and searched as that, unless
masks name members or it holds JSON's escapes: then it cannot be looked into. The texts of language models that come in pieces
are joined over messages (`deltas`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from lockgate.govern.masking.bodies.deltas import Deltas
from lockgate.govern.masking.bodies.text_body import require_text
from lockgate.govern.masking.bodies.values import Values
from lockgate.kernel.json_rules import JsonTooDeep

_DOCUMENT: Final = re.compile(rb"[{\[]")
_ESCAPE: Final = re.compile(rb"\\u[0-9A-Fa-f]{4}")
_ENDING: Final = b"\0\r\n"
"""What stands behind a message's text: STOMP ends its frames so."""
_SPACE: Final = re.compile(r"[ \t\r\n]*+")
_DECODER: Final = json.JSONDecoder()


class MessageBody:
    """The mask over messages in their order. `names`: members may be ones that masks name, so a message with braces has to
    be JSON."""

    __slots__ = ("_deltas", "_names", "_values", "masked", "terms")

    def __init__(self, values: Values, *, names: bool) -> None:
        self.masked = values.masked
        self.terms = values.terms
        self._values = values
        self._deltas = Deltas(values)
        self._names = names

    def message(self, text: bytes) -> list[bytes]:
        """What goes on in the place of a message (text in UTF-8): messages that come first, and what is left of it.
        ValueError where it cannot be looked into."""
        body = text.rstrip(_ENDING)
        require_text(body)
        *before, shown = self._shown(body)
        return [*before, shown + text[len(body):]]

    def finish(self) -> list[bytes]:
        """No message follows: what is held of texts in pieces."""
        return [data for _, data in self._deltas.finish()]

    def _shown(self, body: bytes) -> list[bytes]:
        brace = _DOCUMENT.search(body)
        is_string = body.lstrip(b" \t\r\n")[:1] == b'"'
        if brace is None and not is_string:
            self._values.require_names(body)
            return [self._values.text(body)]
        start = brace.start() if brace is not None and not is_string else 0
        try:
            *before, shown = self._documents(body[start:])
        except JsonTooDeep:
            raise
        except ValueError:
            if (self._names and brace is not None) or _ESCAPE.search(body):
                raise
            self._values.require_names(body)
            return [self._values.text(body)]
        words = body[:start]
        return [*before, (self._values.text(words) if words.strip() else words) + shown]

    def _documents(self, data: bytes) -> list[bytes]:
        """Messages that come first, and what is left of one or more documents. ValueError for what is no JSON."""
        if not self._values.joins:
            return [self._deltas.document(data)]
        before: list[bytes] = []
        shown: list[bytes] = []
        for piece in _pieces(data):
            came, new = self._deltas.event(piece, b"") if piece.lstrip()[:1] == b"{" else ([], self._deltas.document(piece))
            before += [made for _, made in came]
            shown.append(new)
        return [*before, b"".join(shown)]


def _pieces(data: bytes) -> Iterator[bytes]:
    """The documents in a message, each with the space behind it. ValueError for what is none."""
    text = data.decode("utf-8")
    at = _end_of_space(text, 0)
    start = 0
    while at < len(text):
        try:
            _, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise ValueError("not JSON") from None
        at = _end_of_space(text, end)
        yield text[start:at].encode("utf-8")
        start = at


def _end_of_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
