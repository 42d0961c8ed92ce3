"""What a client sends in a body, before it goes on.

Apart from `shown`, the other direction. To each value happens what happens to the values of a statement of SQL: a token
that stands whole in a member that a `token` mask names becomes the value that it stands for, if the mask `returns`; a mask
that would be stored is noted; and what detectors find is recorded, replaced or refused, as policy's `requests` say. The
verdict is in the check that was given (`ContentCheck`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote, unquote_to_bytes

from lockgate.govern.masking.bodies.json_body import JsonRules, quoted
from lockgate.govern.masking.bodies.json_mask import JsonMask
from lockgate.govern.masking.bodies.members import Members
from lockgate.govern.masking.bodies.message_body import MessageBody
from lockgate.govern.masking.bodies.shape import shape_for
from lockgate.govern.masking.bodies.terms import BodyTerms
from lockgate.govern.masking.bodies.values import Running, Values, scope_of
from lockgate.govern.masking.conceal import json_string
from lockgate.govern.masking.requests import ContentCheck
from lockgate.govern.masking.tokens import Tokens
from lockgate.kernel.json_scan import JsonScanner
from lockgate.model import MaskMethod


def check_body(
    terms: BodyTerms, check: ContentCheck, body: bytes, media_type: bytes, charset: bytes = b"",
    parameters: Mapping[bytes, bytes] | None = None,
) -> bytes | None:
    """A whole body with other values where some have to be replaced, the same bytes where none has; None where nothing can
    look into it. The verdict is in `check`. ValueError where it is not what it says that it is.
    """
    values = SentValues(replace(terms, limit=max(terms.limit, len(body) + 1)), check)
    shape = shape_for(values, media_type, charset, parameters or {})
    return None if shape is None else shape.feed(body) + shape.finish()


def json_check(terms: BodyTerms, check: ContentCheck, text: str) -> JsonMask:
    """The look at JSON values that stand in the message `text`, as `check_body` at one."""
    longest = 4 * len(text)                         # bytes
    return JsonMask(SentValues(terms if terms.limit > longest else replace(terms, limit=longest + 1), check), text)


def check_message(terms: BodyTerms, check: ContentCheck, text: bytes) -> bytes:
    """A message of text in UTF-8 of which nobody says what it is, as `check_body`. ValueError where it cannot be looked into."""
    body = MessageBody(SentValues(replace(terms, limit=max(terms.limit, len(text) + 1)), check), names=False)
    (shown,) = body.message(text)
    return shown


def check_text(terms: BodyTerms, check: ContentCheck, text: bytes, name: str = "") -> bytes:
    """A header's value or a part of a URL, `name` what it stands under."""
    values = SentValues(terms, check)
    return Members(values).text(text, name) if name else values.text(text)


def check_field(terms: BodyTerms, check: ContentCheck, text: bytes, name: str) -> bytes:
    """A header's value as it is written and with its escapes undone, since servers undo them in cookies and in parameters
    (RFC 8187). What is found in both is counted once."""
    before = dict(check.found)
    new = check_text(terms, check, text, name)
    if b"%" not in text and b"+" not in text:
        return new
    written = dict(check.found)
    plain = unquote_to_bytes(new.replace(b"+", b" "))
    shown = check_text(terms, check, plain, name)
    for label, count in check.found.items():
        once = written.get(label, 0)
        check.found[label] = max(once, before.get(label, 0) + count - once)
    return new if shown == plain else quote(shown, safe="").encode("ascii")


class SentValues(Values):
    """The values of one body on its way to a backend."""

    def __init__(self, terms: BodyTerms, check: ContentCheck) -> None:
        opens = terms.keys is not None and any(_returns(mask.method, returns=mask.returns) for mask in terms.masks)
        super().__init__(terms if opens or not terms.masks else replace(terms, masks=()))
        self._check = check
        self._tokens: dict[int, Tokens] = {}
        self._plain = JsonRules(SentValues(replace(terms, masks=()), check)) if opens else None

    @property
    def looks(self) -> bool:
        return not self._check.is_idle

    @property
    def every(self) -> bool:
        return True

    def hits(self, data: bytes) -> list[tuple[int, int]]:
        return []

    def hidden_json(self, at: int, first: int, raw: bytes | None) -> bytes:
        if raw is None or self._plain is None:
            raise ValueError("a value is too long to be looked at")
        inner = json_string(raw)
        value = None if inner is None else self._opened(at, inner)
        if value is not None:
            return quoted(value)
        scanner = JsonScanner(self._plain, self.terms.limit, False)
        return scanner.feed(raw, []) + scanner.finish()

    def hidden_text(self, at: int, value: bytes) -> bytes:
        opened = self._opened(at, value)
        return self.text(value) if opened is None else opened

    def token(self, raw: bytes, name: bytes | None, above: bytes | None) -> bytes | None:
        return self._check.json_token(raw, name, above)

    def text(self, value: bytes, name: bytes | None = None) -> bytes:
        check = self._check
        new = check.value(value, 0, binary=False) if name is None else check.member(name, value)
        return b"" if new is None else new

    def hides_below(self, name: bytes) -> bool:
        return self._check.names(name)

    def running(self) -> Running:
        return _Whole(self)

    def _opened(self, at: int, value: bytes) -> bytes | None:
        """The value of a token that this mask has made in this scope, None for anything else. Not one that was an object or
        array, of which a token does not tell whether it was the text of one.
        """
        cover, terms = self.selection.covers[at], self.terms
        if terms.keys is None or not _returns(cover.method, returns=cover.returns) or b"tok_" not in value[:8].lower():
            return None
        tokens = self._tokens.get(at)
        if tokens is None:
            tokens = self._tokens[at] = Tokens(terms.keys, scope_of(terms, cover.scope), (self.selection.labels[at],))
        opened = tokens.detokenize(value)
        if opened is None or opened.kind != "text" or opened.value.lstrip()[:1] in (b"{", b"["):
            return None
        self.count(at)
        return opened.value


class _Whole:
    """A running text that is looked at when it is whole."""

    def __init__(self, values: SentValues) -> None:
        self._values = values
        self._pieces: list[bytes] = []

    @property
    def is_holding(self) -> bool:
        return bool(self._pieces)

    def feed(self, data: bytes) -> bytes:
        if data:
            self._pieces.append(data)
        return b""

    def finish(self) -> bytes:
        text = b"".join(self._pieces)
        self._pieces.clear()
        return self._values.text(text) if text else b""


def _returns(method: MaskMethod, *, returns: bool) -> bool:
    return method is MaskMethod.TOKEN and returns
