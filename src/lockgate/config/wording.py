"""pydantic's findings in words that say what to write instead.

Apart from `load` because it walks the settings' types: to name the closest key it has to know which
keys the place that was wrong could have.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lockgate.config.document import Location

_EXPECTED = {
    "string_type": "text", "int_type": "a whole number", "bool_type": "true or false",
    "tuple_type": "a list, like [a, b]", "list_type": "a list, like [a, b]", "path_type": "a path",
    "model_type": "keys and values", "model_attributes_type": "keys and values", "dict_type": "keys and values",
    "float_type": "a number", "int_parsing": "a whole number", "bool_parsing": "true or false",
}
_KINDS = {str: "text", int: "a number", float: "a number", bool: "true or false", list: "a list",
          dict: "keys and values", type(None): "nothing"}
_ADDRESS = "host:port, like 127.0.0.1:5432"
_PATTERNS = {
    r"^\d+(ms|s|m|h|d)$": "a duration: a number and ms, s, m, h or d, like 30s or 15m",
    r"^[1-9]\d{0,5}/h$": "a number an hour, like 60/h",
    r"^[a-z0-9][a-z0-9_-]{0,62}$": "a name: up to 63 of a–z, 0–9, _ and -, beginning with a letter or digit",
    r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$": _ADDRESS,
    r"^((\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5})?$": _ADDRESS,
    r"^(/[A-Za-z0-9._~!$&'()*+,=:@%-]*)+$": "a path that begins with a slash, like /crm",
    r"^$|^(/[A-Za-z0-9._~!$&'()*+,=:@%-]*)+$": "a path that begins with a slash, like /crm",
}


def explain(error: Mapping[str, Any], model: type[BaseModel], location: Location) -> str:
    """One sentence for one entry of `ValidationError.errors()`; `location` is inside `model`."""
    kind = str(error["type"])
    context: Mapping[str, Any] = error.get("ctx", {})
    key = location[-1] if location else "the file"
    if kind == "extra_forbidden":
        keys = keys_at(model, location[:-1])
        return f"unknown key `{key}`; {closest(str(key), keys)}"
    if kind == "missing":
        return f"`{key}` is missing; add it"
    value = error.get("input")
    if kind in _EXPECTED:
        wanted = _PATTERNS.get(_pattern_at(model, location), _EXPECTED[kind])
        got = "" if isinstance(value, float) else f", not {_KINDS.get(type(value), 'this')}"
        return f"`{_name(location)}` must be {wanted}{got}"
    if kind == "too_short":
        return f"`{_name(location)}` is empty; write at least one entry"
    if kind == "string_too_short":
        return f"`{_name(location)}` is empty; write something"
    if kind == "string_pattern_mismatch":
        wanted = _PATTERNS.get(str(context.get("pattern")), f"text like {context.get('pattern')}")
        is_url = wanted is _ADDRESS and "://" in str(value)
        return f"`{_name(location)}` must be {wanted}" + ", not a URL; `tls` says whether it is https" * is_url
    if kind == "literal_error":
        return f"`{_name(location)}` must be {context.get('expected')}"
    return f"`{_name(location)}`: {str(error['msg'])[:1].lower()}{str(error['msg'])[1:]}"


def closest(name: str, known: Iterable[str]) -> str:
    """``write `x``` for the likeliest of the known names, or all of them."""
    names = sorted(set(known))
    if not names:
        return "there are none to choose from"
    near = difflib.get_close_matches(name, names, 1, 0.6)
    return f"write `{near[0]}`" if near else "known are " + ", ".join(f"`{item}`" for item in names)


def keys_at(model: type[BaseModel], location: Location) -> list[str]:
    """The keys that a place inside `model` may have."""
    found: Any = model
    for step in location:
        found = _element(found) if isinstance(step, int) else _field(found, step)
        if found is None:
            return []
    found = _unwrapped(found)
    if isinstance(found, type) and issubclass(found, BaseModel):
        return [field.alias or name for name, field in found.model_fields.items()]
    return []


def _pattern_at(model: type[BaseModel], location: Location) -> str:
    """The pattern of the text that belongs there; "" for none."""
    found: Any = model
    for step in location[:-1]:
        found = _element(found) if isinstance(step, int) else _field(found, step)
    field = _field_info(found, str(location[-1])) if location else None
    return next((str(part.pattern) for part in (field.metadata if field else ()) if getattr(part, "pattern", None)), "")


def _field(kind: Any, key: str) -> Any:
    field = _field_info(kind, key)
    return None if field is None else field.annotation


def _field_info(kind: Any, key: str) -> FieldInfo | None:
    kind = _unwrapped(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return next((field for name, field in kind.model_fields.items() if key in (field.alias, name)), None)
    return None


def _element(kind: Any) -> Any:
    arguments = typing.get_args(_unwrapped(kind))
    return arguments[0] if arguments else None


def _unwrapped(kind: Any) -> Any:
    """`X` of `X | None` and of `Annotated[X, …]`."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next((part for part in typing.get_args(kind) if part is not type(None)), None)
    if typing.get_origin(kind) is typing.Annotated:
        return typing.get_args(kind)[0]
    return kind


def _name(location: Location) -> str:
    """The nearest key, without indexes: ``mask`` for ``policies.3.mask.0``."""
    return next((step for step in reversed(location) if isinstance(step, str)), "the file")
