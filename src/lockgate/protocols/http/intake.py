"""What a client sends by value: the target, the fields and the content, before any of it goes on.

Apart from `results`, the other direction. Tokens become the values that they stand for where their mask lets them return, a
mask that would be stored is refused, and what detectors find is recorded, replaced or refused, as policy's `requests` say.
A find in the path, or in the name of a parameter or field, cannot be replaced, because it says what the request is about.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import quote

from lockgate.govern.masking.bodies import (
    BodyTerms,
    check_body,
    check_field,
    check_message,
    check_text,
    decoding,
    encoding,
)
from lockgate.govern.masking.requests import ContentCheck
from lockgate.govern.masking.tokens import Tokens
from lockgate.model import Decision, MaskMethod, Refusal, RefusalCode, RequestAction
from lockgate.protocols.http.messages import Field, Fields
from lockgate.protocols.http.operations import Request
from lockgate.protocols.http.results import codings_of, media_type

_STORES: Final = frozenset((b"POST", b"PUT", b"PATCH"))
PLAIN_FIELDS: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"sec-websocket-key"))
"""Fields that the gateway writes itself, and one that is random. In any other an agent may write what it likes."""
_READ_BY: Final = frozenset((b"content-type", b"content-encoding"))
"""Fields that say how the content was judged: a find in them cannot be replaced."""


def _guards(decision: Decision, request: Request) -> bool:
    return bool(decision.masks or decision.detects) and request.head.method in _STORES


def is_looked_into(decision: Decision, request: Request, *, has_keys: bool) -> bool:
    """Whether anything of a request could not go on as it is: most have nothing to look for, and no `Intake`."""
    return _guards(decision, request) or any(check.detectors for check in decision.requests) or (has_keys and any(
        mask.method is MaskMethod.TOKEN and mask.returns for mask in decision.masks))


class Intake:
    """The look at one request under one decision. `noted` goes on record, `refusal` says why it does not go on."""

    __slots__ = ("_check", "_detects", "_terms", "refusal")

    def __init__(self, terms: BodyTerms, decision: Decision, request: Request, *, stores: bool = False) -> None:
        """`stores`: it does whatever the request's method says (a message over a WebSocket)."""
        guards = bool(decision.masks or decision.detects) if stores else _guards(decision, request)
        tokens = None if terms.keys is None else Tokens(terms.keys, terms.scope)
        self._terms = replace(terms, detects=())
        self._detects = bool(decision.requests)
        self._check = ContentCheck(decision.requests, tokens, guards=guards)
        self.refusal: Refusal | None = None

    @property
    def noted(self) -> tuple[str, ...]:
        """Of the finds, one for each."""
        return tuple(f"sent: {name}" for name, count in self._check.found.items() for _ in range(count))

    def target(self, request: Request, raw: bytes) -> bytes:
        """The target that goes on; `raw` is the one that would without a find in its query."""
        for text in request.target.path_texts:
            self._fixed(text)
        path, mark, query = raw.partition(b"?")
        if not mark:
            return raw
        changed, pieces = False, []
        for name, values in request.target.query.items():
            self._fixed(name.encode("utf-8"))
            for value in values:
                data = value.encode("utf-8")
                new = check_text(self._terms, self._check, data, name)
                changed = changed or new != data
                pieces.append(quote(name, safe="").encode() + b"=" + quote(new, safe="").encode())
        return path + mark + (b"&".join(pieces) if changed else query)

    def _fixed(self, data: bytes) -> None:
        """Look at what cannot be replaced."""
        if check_text(self._terms, self._check, data) != data:
            self.refusal = self.refusal or _NOT_DATA

    @property
    def is_clean(self) -> bool:
        """Whether nothing has been found so far."""
        return not self._check.found and not self._check.has_mask and self.refusal is None

    def fields(self, fields: Fields) -> Fields:
        """The fields that go on."""
        return tuple(field if field.name in PLAIN_FIELDS else self._field(field) for field in fields)

    def _field(self, field: Field) -> Field:
        self._fixed(field.raw)
        new = check_field(self._terms, self._check, field.value, field.name.decode("ascii"))
        if new == field.value:
            return field
        if field.name in _READ_BY:
            self.refusal = self.refusal or _NOT_DATA
        return field._replace(value=new)

    def content(self, request: Request, content: bytes, *, binary: bool) -> bytes:
        """The content that goes on. `binary`: what cannot be looked into may."""
        head = request.head
        try:
            kind, parameters = media_type(b", ".join(head.all(b"content-type")))
            codings = codings_of(head.fields)
            plain = content
            if codings:
                decoder = decoding(codings)
                plain = decoder.feed(content) + decoder.finish()
            new = check_body(self._terms, self._check, plain, kind, parameters.get(b"charset", b""), parameters)
            if new is None:
                if self._detects and not binary:        # for masks that come back there is no place in it
                    self.refusal = self.refusal or _BINARY
                return content
            if new == plain:
                return content
            encoder = encoding(codings)
            return encoder.feed(new) + encoder.finish()
        except ValueError:
            self.refusal = self.refusal or _NOT_READ
            return content

    def message(self, data: bytes) -> bytes:
        """The message that goes on, of one that is text."""
        try:
            return check_message(self._terms, self._check, data)
        except ValueError:
            self.refusal = self.refusal or _NO_TEXT
            return data

    def binary(self) -> None:
        """A message that nothing can look into: refused where a detector would have to."""
        if self._detects:
            self.refusal = self.refusal or _BINARY

    def conclude(self) -> None:
        """Sets `refusal` where something that was looked at must not go on."""
        check = self._check
        if check.has_mask:
            self.refusal = _MASK
        elif check.action is RequestAction.BLOCK:
            names = ", ".join(sorted(check.found))
            self.refusal = Refusal(
                RefusalCode.DENIED, f"the request holds what policy does not let through: {names}",
                hint="Take it out of the target, the headers or the content. Nothing was forwarded.")


_NOT_DATA: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "the request's path, content type or a name holds a value that policy replaces, and cannot be replaced there",
    hint="Nothing was forwarded. Send it in the content, or not at all.")
_BINARY: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "the request's content cannot be looked into, and policy asks for that",
    hint="Nothing was forwarded. Send text, JSON or a form.")
_NO_TEXT: Final = Refusal(
    RefusalCode.NOT_UNDERSTOOD, "the message is neither JSON nor text that can be looked into",
    hint="It was not forwarded. Send one JSON document, or text without NUL bytes and escapes.")
_NOT_READ: Final = Refusal(
    RefusalCode.NOT_UNDERSTOOD, "the request's content is not what its type and coding say",
    hint="Nothing was forwarded. Send it in the form that Content-Type and Content-Encoding name.")
_MASK: Final = Refusal(
    RefusalCode.NOT_ENFORCEABLE, "a value of this request is a mask and would be stored in the place of data",
    hint="A mask stands for data that you may not see. Leave the field out of the request, and it stays as it is.")
