"""What a ticket is bound to besides a request's target and content: the fields that go on with it.

Apart from `operations`, because it is made only where a person is asked: a reviewer who lets a request of one tenant through
has not let that of another one through. Bound is every end-to-end field that goes on but for those that are another one with
each try (`UNBOUND`); shown is what may change what the request does, behind the masks and detectors that the caller is under
and those for credentials, and nothing of a field whose name speaks of secrets. The exact fields are bound by a keyed hash, so
that no record helps to guess one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import replace
from typing import Final

from lockgate.govern.masking.bodies import BodyTerms, mask_fields
from lockgate.govern.masking.credentials import CREDENTIALS
from lockgate.govern.masking.keys import MaskKeys
from lockgate.model import Decision, DetectMask, Effect, MaskMethod
from lockgate.protocols.http.admission import Admitted
from lockgate.protocols.http.credentials import carriers
from lockgate.protocols.http.fields import request_fields
from lockgate.protocols.http.messages import Field
from lockgate.protocols.http.operations import Request

UNBOUND: Final = frozenset((
    # The gateway's own, and what frames one message.
    b"host", b"content-length", b"transfer-encoding", b"te", b"trailer", b"expect", b"sec-websocket-key", b"lockgate-task",
    # The clock's, and who the client's program is.
    b"date", b"user-agent",
    # By which a try is told from another one: traces, ids, counts of tries.
    b"traceparent", b"tracestate", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid", b"x-b3-sampled",
    b"x-b3-flags", b"uber-trace-id", b"sentry-trace", b"x-amzn-trace-id", b"x-cloud-trace-context", b"x-datadog-trace-id",
    b"x-datadog-parent-id", b"x-datadog-sampling-priority", b"x-datadog-origin", b"x-datadog-tags",
    b"x-request-id", b"request-id", b"x-correlation-id", b"correlation-id", b"x-trace-id", b"x-client-request-id",
    b"x-ms-client-request-id", b"x-ms-correlation-request-id", b"x-stainless-retry-count", b"amz-sdk-invocation-id", b"amz-sdk-request",
    # A ticket lets one request through, whichever key that one has.
    b"idempotency-key", b"x-idempotency-key",
))
"""Fields that may be others when an approved request comes again."""
_UNSHOWN: Final = frozenset((
    b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"cache-control", b"connection", b"content-encoding",
    b"content-type", b"dnt", b"if-modified-since", b"if-unmodified-since", b"origin", b"pragma", b"priority", b"referer",
    b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-user", b"sec-gpc", b"sec-websocket-version",
    b"upgrade", b"upgrade-insecure-requests",
))
"""Bound as well, and nothing for a reviewer to read."""
_SECRET: Final = re.compile(rb"auth|cookie|key|token|secret|passw|session|signature|credential|csrf|xsrf|jwt|sid\b")
_BAGGAGE: Final = b"baggage"
_MOST_SHOWN: Final = 32
_LONGEST_SHOWN: Final = 256
_PURPOSE: Final = "fields of tickets"
_OF_CREDENTIALS: Final = DetectMask(tuple(detector.name for detector in CREDENTIALS), MaskMethod.REDACT)


def beside(admitted: Admitted, request: Request, decision: Decision, limit: int) -> tuple[str, tuple[str, ...]]:
    """(What the fields that go on are bound by, the lines that a reviewer reads of them), as the client wrote them; nothing
    where nobody is asked. `limit`: bytes of a value that are looked into."""
    if decision.effect is not Effect.REVIEW or decision.wants:
        return "", ()
    settings = admitted.settings
    fields = request_fields(request.head, b"", settings.token_header, carriers(settings), is_masked=False)
    terms = admitted.terms(decision, request.target.segments, limit)
    told = (_told(field) for field in fields if field.name not in UNBOUND)
    kept = sorted((field for field in told if field.value or field.name != _BAGGAGE), key=lambda field: field.name)
    if not kept:
        return "", ()
    exact = json.dumps([[field.name.decode("latin-1"), field.value.decode("latin-1")] for field in kept]).encode()
    shown = [field for field in kept if field.name not in _UNSHOWN]
    lines = _lines(shown[:_MOST_SHOWN], decision, terms) if shown else []
    if len(shown) > _MOST_SHOWN:
        lines.append(f"and {len(shown) - _MOST_SHOWN} more header fields")
    return f"fields {_mark(exact, terms.keys)}", tuple(lines)


def _told(field: Field) -> Field:
    """A field without what is another one with each try: Sentry's members of baggage. Others are the application's own, and a
    tenant may be among them (W3C Baggage)."""
    if field.name != _BAGGAGE:
        return field
    members = (member.strip() for member in field.value.split(b","))
    return field._replace(value=b",".join(one for one in members if one and not one.startswith(b"sentry-")))


def _lines(fields: list[Field], decision: Decision, terms: BodyTerms) -> list[str]:
    checks = [DetectMask(check.detectors, MaskMethod.REDACT, check.customs) for check in decision.requests]
    looked = replace(terms, detects=(*decision.detects, *checks, _OF_CREDENTIALS))
    values, _ = mask_fields(looked, [(field.name, field.value) for field in fields])
    return [
        f"header {field.name.decode('ascii')}: {_shown(field, field.value if values is None else values[at])}"
        for at, field in enumerate(fields)]


def _shown(field: Field, value: bytes) -> str:
    if _SECRET.search(field.name) is not None:
        return f"[{len(field.value)} bytes, not shown]"
    text = value.decode("utf-8", "replace")
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}… [{len(value)} bytes]"


def _mark(exact: bytes, keys: MaskKeys | None) -> str:
    """The hash that stands for the exact fields, the same after a restart."""
    return hmac.new(b"" if keys is None else keys.of_gateway(_PURPOSE), exact, hashlib.sha256).hexdigest()
