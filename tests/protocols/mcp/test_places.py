"""Where values stand in a message's text, and texts that are written without the encoder of the standard library."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from lockgate.kernel.json_places import elements, members
from lockgate.protocols.http.documents import is_deeper
from lockgate.protocols.mcp.operations import _pretty

SPACES = st.text(" \t\r\n", max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=12)


def spaced(text: str, draw: st.DataObject) -> str:
    return draw.draw(SPACES) + text + draw.draw(SPACES)


@given(st.dictionaries(st.text(), VALUES, max_size=5), st.data())
def test_members_stand_where_they_are_said_to(value: dict[str, object], draw: st.DataObject) -> None:
    """Names and values cut out of the text are those that a parser reads, whatever space is between them."""
    inner = ",".join(
        f"{spaced(json.dumps(name), draw)}:{spaced(json.dumps(one), draw)}" for name, one in value.items()) or draw.draw(SPACES)
    text = "xx{" + inner + "}yy"
    found = members(text, 2)
    assert [(name, json.loads(text[start:end])) for name, _, start, end in found] == list(value.items())
    assert all(text[name_at:].startswith(json.dumps(name)) for name, name_at, _, _ in found)
    assert not any(text[end - 1].isspace() or text[start].isspace() for _, _, start, end in found)


@given(st.lists(VALUES, max_size=5), st.data())
def test_elements_stand_where_they_are_said_to(value: list[object], draw: st.DataObject) -> None:
    """The same of an array."""
    text = "x[" + (",".join(spaced(json.dumps(one), draw) for one in value) or draw.draw(SPACES)) + "]"
    assert [json.loads(text[start:end]) for start, end in elements(text, 1)] == value


@given(VALUES)
def test_what_a_reviewer_reads_is_the_encoders_text(value: object) -> None:
    """The short way writes what the long one does: tickets that were given stay good."""
    assert _pretty(value) == json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner)) if inner else 1


@given(VALUES, st.integers(0, 6))
def test_no_value_is_deeper_than_is_said(value: object, most: int) -> None:
    """Counting what opens in the text never spares a look that was needed."""
    assert is_deeper(value, json.dumps(value), most) is (depth(value) > most)
