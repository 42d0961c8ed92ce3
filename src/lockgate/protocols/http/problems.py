"""A refusal as an answer that a program and a model can act on: problem+json (RFC 9457).

Apart from `operations` because it is the other direction. No answer names what its reader may not know of: it holds what
the `Refusal` holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import orjson

from lockgate.model import Refusal, RefusalCode
from lockgate.protocols.http.codec import response_bytes
from lockgate.protocols.http.messages import Field
from lockgate.protocols.http.statuses import REASONS

_STATUS: Final = {
    RefusalCode.DENIED: 403,
    RefusalCode.REVIEW_PENDING: 403,        # not 202, which reads as success, nor 409 or 503, which clients repeat unasked
    RefusalCode.REVIEW_DENIED: 403,
    RefusalCode.REVIEW_EXPIRED: 403,
    RefusalCode.UNAUTHENTICATED: 401,
    RefusalCode.EXPIRED: 401,
    RefusalCode.NOT_UNDERSTOOD: 400,
    RefusalCode.NOT_ENFORCEABLE: 403,
    RefusalCode.UNKNOWN_OBJECT: 404,
    RefusalCode.UNKNOWN_COLUMN: 404,
    RefusalCode.TOO_LARGE: 413,
    RefusalCode.UNLISTED: 403,              # not 404 or 405, which caches keep, and which are the backend's to say
    RefusalCode.LIMITED: 429,
    RefusalCode.UNSUPPORTED: 501,
    RefusalCode.AUDIT_UNAVAILABLE: 503,
    RefusalCode.BACKEND_UNAVAILABLE: 502,
    RefusalCode.SHUTTING_DOWN: 503,
    RefusalCode.INTERNAL: 500,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer of the gateway's own. `closes`: the connection cannot be used after it."""

    status: int
    code: str
    detail: str
    rule: str | None = None
    ticket: str | None = None
    hint: str | None = None
    closes: bool = False
    retry_after: int | None = None
    fields: tuple[Field, ...] = ()

    def document(self) -> bytes:
        """Its members, as JSON (RFC 9457 section 3)."""
        return orjson.dumps({name: value for name, value in (
            ("type", f"urn:lockgate:refusal:{self.code.replace('_', '-')}"), ("title", REASONS[self.status]),
            ("status", self.status), ("detail", self.detail), ("code", self.code), ("rule", self.rule),
            ("ticket", self.ticket), ("hint", self.hint),
        ) if value is not None})

    def encode(self, *, closes: bool = False, is_head: bool = False, minor: int = 1) -> bytes:
        """The whole response; without its content for HEAD (RFC 9110 section 9.3.2)."""
        ends = closes or self.closes
        body = self.document()
        fields = [
            Field.of(b"Content-Type", b"application/problem+json"), Field.of(b"Content-Length", b"%d" % len(body)),
            Field.of(b"Cache-Control", b"no-store"), *self.fields,
        ]
        if self.retry_after is not None:
            fields.append(Field.of(b"Retry-After", b"%d" % self.retry_after))
        if self.status == 401:
            fields.append(Field.of(b"WWW-Authenticate", b'Bearer realm="lockgate"'))
        elif self.status == 407:
            fields.append(Field.of(b"Proxy-Authenticate", b'Basic realm="lockgate"'))
        if ends:
            fields.append(Field.of(b"Connection", b"close"))
        head = response_bytes(self.status, REASONS[self.status].encode(), tuple(fields), minor)
        return head if is_head else head + body

    def at_proxy(self) -> Problem:
        """The same to a client that uses the gateway as its proxy: it is the proxy that wants to know who asks."""
        return replace(self, status=407) if self.status == 401 else self


def problem_of(refusal: Refusal) -> Problem:
    """The answer that a refusal is."""
    return Problem(
        _STATUS[refusal.code], refusal.code.value, refusal.reason, refusal.rule, refusal.ticket, refusal.hint,
        retry_after=refusal.retry_after)


def bad_request(status: int, detail: str) -> Problem:
    """What cannot be read as a request; nothing behind it on the connection can be either."""
    return Problem(
        status if status in REASONS else 400, "not_understood", detail,
        hint="Nothing was forwarded. Send the request in the form of RFC 9112.", closes=True)

