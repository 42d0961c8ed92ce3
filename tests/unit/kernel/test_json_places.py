"""Where values stand in a JSON text; both builds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_SPACE = st.sampled_from(["", " ", "\n", "\t\r\n  "])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=12)


def _written(parts: list[str], space: str, begin: str, end: str) -> str:
    return begin + space + f"{space},{space}".join(parts) + space + end


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(st.text(max_size=6), _VALUES), max_size=5), space=_SPACE, before=st.sampled_from(["", " ", '[1, "{"']))
def test_members_stand_where_they_are_written(kernel: Any, pairs: list[tuple[str, Any]], space: str, before: str) -> None:
    """Each name as often as it occurs, from its quote to its value's end, whatever space is around."""
    parts = [f"{json.dumps(name)}{space}:{space}{json.dumps(value)}" for name, value in pairs]
    text = before + _written(parts, space, "{", "}")
    found = kernel.json_places.members(text, len(before))
    assert [name for name, *_ in found] == [name for name, _ in pairs]
    assert [text[name_at:end] for _, name_at, _, end in found] == parts
    assert [text[start:end] for *_, start, end in found] == [json.dumps(value) for _, value in pairs]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(_VALUES, max_size=5), space=_SPACE, before=st.sampled_from(["", "\n", '{"a":']))
def test_elements_stand_where_they_are_written(kernel: Any, values: list[Any], space: str, before: str) -> None:
    """Each element from its first character to its last."""
    parts = [json.dumps(value) for value in values]
    text = before + _written(parts, space, "[", "]")
    assert [text[start:end] for start, end in kernel.json_places.elements(text, len(before))] == parts


@pytest.mark.parametrize("text", ["{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":x}', '{"a":1]', '{"', ""])
def test_what_is_no_object_has_no_members(kernel: Any, text: str) -> None:
    """ValueError, so that nothing of it is taken for whole."""
    with pytest.raises(ValueError, match=r"JSON|Unterminated"):
        kernel.json_places.members(text, 0)


@pytest.mark.parametrize("text", ["[", "[1", "[1,", "[x]", "[1}", '["', ""])
def test_what_is_no_array_has_no_elements(kernel: Any, text: str) -> None:
    """ValueError, so that nothing of it is taken for whole."""
    with pytest.raises(ValueError, match=r"JSON|Unterminated"):
        kernel.json_places.elements(text, 0)
