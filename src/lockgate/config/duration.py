"""Durations as people write them: a number and a unit, ``250ms``, ``30s``, ``15m``, ``2h``, ``7d``."""

from __future__ import annotations

import re

from lockgate.errors import ConfigError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_FORM = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


def seconds(text: str) -> float:
    """Seconds of ``15m``; `ConfigError` for anything else."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text!r} is not a duration; write a number and ms, s, m, h or d, like 30s or 15m")
    return int(found[1]) * _UNITS[found[2]]
