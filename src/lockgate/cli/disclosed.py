"""The record that something was opened for somebody: without it nothing is opened."""

from __future__ import annotations

import json

from lockgate.audit.admin import recorded
from lockgate.audit.query.portion import Portion
from lockgate.model import Event


def record(how: str, portion: Portion, question: str = "") -> None:
    """Put `export` on the log whose payloads will be read, or beside it where another gateway writes it. Raises
    `AuditError`.
    """
    fields = {"by": how, "first": portion.first} | ({} if portion.last is None else {"last": portion.last})
    payload = json.dumps({"question": question}).encode() if question else b""
    with recorded(portion.folder) as log:
        log.append(Event("export", fields, None, payload))
