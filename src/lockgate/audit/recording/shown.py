"""One thing that a recording shows, in words that protocols share: what is replayed, searched and exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Shown:
    """`at` seconds since the session began. `kind` and its fields:

    ``prepare``       name, text
    ``statement``     text, parameters (values as text or None), number, and name where it was prepared under one
    ``columns``       names, of
    ``row``           values (text or None), of
    ``done``          tag, of
    ``error`` ``notice``  severity, code, message, and detail, hint, where there are some; ``error`` has of
    ``copy_in`` ``copy_out``  text (data of COPY)
    ``notification``  channel, payload
    ``setting``       name, value
    ``request``       number, method, target, fields (pairs of name and value), text or base64 where it has content, more
    ``response``      of, status, reason, fields, text or base64, seconds since the request (or None), more
    ``content``       of, from (``request`` or ``response``), text or base64: of one that has ``more``
    ``end``           of, from, seconds, text, size, kept; sha256 and left_out of what is not all here; refused
    ``message``       of, from, what it is in words, message (a document): what requests and answers carry, or alone
    ``socket``        of, from, text or base64: a message behind a switch of protocols, or a line that is none
    ``cut``           reason: nothing more is recorded
    ``unreadable``    text: bytes that do not add up

    ``of`` is the number of the statement that it came of, None where it came of none; or of the request.
    """

    at: float
    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
