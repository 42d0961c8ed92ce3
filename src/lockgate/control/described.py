"""What the API's OpenAPI document says of its operations: who may call them, what they are sent, which errors there are.

Apart from `api`, which does it: bodies are read there by hand, so that they are capped before they are parsed, and
FastAPI knows nothing of them. `tests/e2e/test_control_api.py` holds that a running gateway does what stands here.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi import Depends
from fastapi.security import HTTPBearer

SIGNED_IN: Final = [Depends(HTTPBearer(auto_error=False, description="A token of a trusted provider."))]
"""For operations that want to know who calls. Only says so: `api.Door` verifies."""

_PROBLEM: Final = {
    "type": "object", "required": ["type", "status", "code", "detail"],
    "properties": {"type": {"type": "string"}, "status": {"type": "integer"}, "code": {"type": "string"}, "detail": {"type": "string"}},
}
_OF_DOORS: Final = (401, 403, 503)
VERDICT: Final = {
    "type": "object", "additionalProperties": False, "properties": {"comment": {"type": "string", "maxLength": 2000}},
}
"""The body of a decision."""
ACCEPTANCE: Final = {
    "type": "object", "required": ["tool", "digest"], "properties": {"tool": {"type": "string"}, "digest": {"type": "string"}},
}
"""The body of a yes to a tool's definition."""
ERASURE: Final = {
    "type": "object", "required": ["reason"],
    "properties": {
        "subject": {"type": "string"}, "issuer": {"type": "string"}, "reason": {"type": "string"},
        "records": {"type": "array", "items": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2}},
    },
}
"""The body of a request to erase payloads."""


def errors(*statuses: int, doors: bool = False) -> dict[int | str, dict[str, Any]]:
    """These errors, all of them problem+json. `doors`: and those of who comes in."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {"application/problem+json": {"schema": _PROBLEM}}}
        for status in (*statuses, *(_OF_DOORS if doors else ()))
    }


def content(*types: str, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """An answer that is not JSON, or one of another status than 200."""
    return {status: {"description": HTTPStatus(status).phrase, "content": {kind: {} for kind in types}}}


def sent(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """What the operation is sent."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
