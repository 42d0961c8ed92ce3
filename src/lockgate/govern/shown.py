"""A request as records and reviewers see it: without the credentials in it (`analysis.secrets`).

Policy decides on the request itself, and the request itself goes on; what is kept of it is this. An approval is still
bound to the exact request: what is hidden goes into the binding as a keyed hash, under a key that this process made
and nobody else has, so that no record helps to guess a password. Approvals of such requests end with the process.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import replace
from hashlib import sha256

from lockgate.analysis.secrets import is_suspicious, kept, kept_lines
from lockgate.model import Operation


class Shown:
    """Makes requests showable."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, operation: Operation, forward: bytes = b"") -> tuple[Operation, bytes]:
        """The operation and the bytes that may be kept; the same ones where there is nothing to hide."""
        if not (is_suspicious(operation.text) or operation.context):
            for value in operation.parameters:
                if value is not None and is_suspicious(value):
                    break
            else:
                return operation, forward
        found = kept(operation.text, operation.parameters, forward)
        context = kept_lines(operation.context) if operation.context else ()
        if found.text == operation.text and found.parameters == operation.parameters and context == operation.context:
            return operation, forward
        exact = json.dumps([operation.text, operation.parameters, operation.context]).encode()
        mark = hmac.new(self._key, exact, sha256).hexdigest()
        return replace(
            operation, text=found.text, parameters=found.parameters, context=context,
            reading=f"{operation.reading}\nhidden {mark}",
        ), found.forwarded
