"""What a program says, behind its masks: the clear plans of its two streams.

Apart from `shown`, which looks at a message whatever carries it: here are lines that may be anything. What is no message is
not shown, and goes by the id of what it seems to answer, so that nobody waits for it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from lockgate.govern.masking.bodies import BodyTerms, json_mask
from lockgate.protocols.mcp.jsonrpc import Id, Malformed
from lockgate.protocols.mcp.lines import line_of
from lockgate.protocols.mcp.shown import Shown

_ID: Final = re.compile(rb'"id"\s*:\s*(-?\d{1,19}|"[^"\\\r\n]{0,512}")')
_LONGEST: Final = 1_024


class Spoken:
    """A line of the program's standard output. `fault` says why none of it is shown."""

    __slots__ = ("_shown", "fault", "masked", "sent")

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self.masked = shown.masked
        self.fault = ""
        self.sent = 0

    def apply(self, chunk: bytes) -> bytes:
        """The messages of a line that the client gets, one a line."""
        try:
            found = self._shown.messages(chunk)
        except Malformed as error:
            self.fault = str(error)
            return b""
        out = b"".join(line_of(message.decode()) for message in found)
        self.sent = len(out)
        return out


class ErrorLine:
    """A line of the program's standard error: text, in which detectors look, and every mask where it is a document."""

    __slots__ = ("_terms", "masked")

    def __init__(self, terms: BodyTerms) -> None:
        self._terms = terms
        self.masked: dict[str, int] = {}

    def apply(self, chunk: bytes) -> bytes:
        """The line as people may read it."""
        text = chunk.decode("utf-8", "replace")
        if self._terms.is_due:
            said = json.dumps(text)
            text = json.loads(json_mask(self._terms, said, self.masked)(said))
        return _visible(text).encode() + b"\n"


def _visible(text: str) -> str:
    """Without what could drive a terminal."""
    return "".join(sign if sign.isprintable() or sign == "\t" else "\N{REPLACEMENT CHARACTER}" for sign in text.rstrip("\r"))


def seeming_id(line: bytes) -> Id | None:
    """The id that a line which is no message, or was cut, seems to have. A guess: it may end a wait, and shows nothing."""
    found = _ID.search(line[:_LONGEST])
    value: Any = None if found is None else json.loads(found[1].decode("utf-8", "replace"))
    return value if isinstance(value, str | int) else None
