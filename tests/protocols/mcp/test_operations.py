"""What policy and reviewers see of a message."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lockgate.protocols.mcp.jsonrpc import read
from lockgate.protocols.mcp.operations import operation_of

_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcä\n"), inner, max_size=3), max_leaves=10)


@given(arguments=st.dictionaries(st.sampled_from("xyzö\""), _VALUES, max_size=4))
def test_reviewers_read_one_value_a_line(arguments: dict[str, Any]) -> None:
    """Arguments stand under the tool's name as an indented document, names in order, nothing left out."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t", "arguments": arguments}}
    (found,), _ = read(json.dumps(message).encode())
    head, _, rest = operation_of(found).text.partition("\n")
    assert head == "tools/call t"
    assert rest == (json.dumps(arguments, ensure_ascii=False, indent=2, sort_keys=True) if arguments else "")
