"""The JSON Schema of `lockgate.yaml`, for editors and for the generated reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from lockgate.config.settings import Settings


def schema(options: Mapping[str, type[BaseModel]] | None = None) -> dict[str, Any]:
    """JSON Schema 2020-12. `options` maps each protocol to the model of its connections' `options`."""
    whole = Settings.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = whole.setdefault("$defs", {})
    branches = []
    for name, model in sorted((options or {}).items()):
        own = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}_{{model}}")
        for inner, definition in own.pop("$defs", {}).items():
            definitions[f"{name}_{inner}"] = definition
        definitions[f"{name}_options"] = own
        branches.append({
            "if": {"properties": {"protocol": {"const": name}}},
            "then": {"properties": {"options": {"anyOf": [
                {"$ref": f"#/$defs/{name}_options"}, {"type": "null"}]}}},
        })
    if options:
        names = sorted(options)
        definitions["Connection"]["properties"]["protocol"]["enum"] = names
        definitions["Listener"]["properties"]["protocol"]["enum"] = names
        definitions["Connection"]["allOf"] = branches
    whole["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    whole["title"] = "lockgate.yaml"
    return whole
