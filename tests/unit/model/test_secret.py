"""A secret shows itself to nobody who does not ask for it by name."""

from __future__ import annotations

import copy
import json
import traceback

import pytest

from lockgate.model import Secret

CANARY = "hunter2-canary"


def test_no_rendering_shows_the_content() -> None:
    """Printing, formatting, containers and tracebacks show a placeholder (I6)."""
    secret = Secret(CANARY)
    try:
        raise ValueError(secret)
    except ValueError:
        trace = traceback.format_exc()
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret, str([secret]), trace):  # noqa: UP031
        assert CANARY not in shown
    assert secret.reveal() == CANARY


def test_no_serialiser_takes_it() -> None:
    """Copying (and with it everything that goes by `__reduce__`) and JSON refuse it."""
    secret = Secret(CANARY)
    for attempt in (lambda: copy.deepcopy(secret), lambda: json.dumps(secret), lambda: hash(secret)):
        with pytest.raises(TypeError):
            attempt()


def test_comparison_is_by_content() -> None:
    """Equal content is equal; other types are not."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
