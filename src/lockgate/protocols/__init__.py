"""One folder per protocol, sans-IO. A protocol is whatever exports a `SPEC` here; nothing lists them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from lockgate.errors import ConfigError
from lockgate.wire.spec import ProtocolSpec


@cache
def discover() -> Mapping[str, ProtocolSpec]:
    """Every protocol of this installation by its name, in the order of names.

    A folder that cannot be imported is an error: a protocol is never quietly absent.
    """
    found: dict[str, ProtocolSpec] = {}
    for module in iter_modules(__path__, f"{__name__}."):
        if not module.ispkg:
            continue
        spec = getattr(import_module(module.name), "SPEC", None)
        if not isinstance(spec, ProtocolSpec):
            raise ConfigError(f"{module.name} exports no SPEC")
        if spec.name in found:
            raise ConfigError(f"two protocols call themselves {spec.name}")
        found[spec.name] = spec
    return dict(sorted(found.items()))
