"""JSON by path: what a path names is hidden, what it does not name stays byte for byte, and doubt hides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.json_paths import DEEPEST, MOST_STEPS, JsonPaths, parse_path
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.value_masks import MaskTerms, value_mask
from lockgate.model import MaskMethod, Secret

KEYS = MaskKeys(Secret("5a" * 32))


def hidden(text: str, *paths: str) -> str:
    return JsonPaths(paths).apply(text, lambda _raw: "#")


@pytest.mark.parametrize(("path", "text", "due"), [
    ("$.a", '{"a": 1, "b": 2}', '{"a": #, "b": 2}'),
    ("$.a", '{"b": {"a": 1}}', '{"b": {"a": 1}}'),
    ("$.a", '{"a": {"x": [1, {"a": 2}]}, "b": 1}', '{"a": #, "b": 1}'),
    ("$.a.b", '{"a": {"b": 1, "c": 2}, "b": 3}', '{"a": {"b": #, "c": 2}, "b": 3}'),
    ("$.a.b", '{"a": [{"b": 1}, [{"b": 2}]]}', '{"a": [{"b": #}, [{"b": #}]]}'),
    ("$.a.b", '{"a": "{\\"b\\": 1}"}', '{"a": #}'),
    ("$.a.b", '{"a": [1, {"c": 2}]}', '{"a": [#, {"c": 2}]}'),
    ("$.a", '[{"a": 1}, {"b": 2}]', '[{"a": #}, {"b": 2}]'),
    ("$..a", '{"b": [{"a": 1}, {"c": {"a": {"a": 2}}}], "a": 3, "d": "x"}', '{"b": [{"a": #}, {"c": {"a": #}}], "a": #, "d": "x"}'),
    ("$..a.b", '{"x": {"a": {"b": 1, "c": 2}}, "b": 3}', '{"x": {"a": {"b": #, "c": 2}}, "b": 3}'),
    ("$.*", '{"a": 1, "b": [2]}', '{"a": #, "b": #}'),
    ("$.*.b", '{"a": {"b": 1, "c": 2}, "d": {"b": 3}}', '{"a": {"b": #, "c": 2}, "d": {"b": #}}'),
    ("$..*", '{"a": {"b": 1}}', '{"a": #}'),
    ("$[*]", '[1, "a", {}]', '[#, #, #]'),
    ("$[1]", '[1, "a", {}]', '[1, #, {}]'),
    ("$.a[*].b", '{"a": [{"b": 1, "c": 2}, {"b": 3}]}', '{"a": [{"b": #, "c": 2}, {"b": #}]}'),
    ("$.a[0]", '{"a": [1, 2]}', '{"a": [#, 2]}'),
    ("$.a[*]", '{"a": 7, "b": 8}', '{"a": #, "b": 8}'),
    ("$.a[3].b", '{"a": {"b": 1}}', '{"a": {"b": #}}'),
    ("$.a[*][*]", '{"a": [[1, 2], 3]}', '{"a": [[#, #], #]}'),
    ('$["a b"]', '{"a b": 1}', '{"a b": #}'),
    ('$["$x.y[*]"].z', '{"$x.y[*]": {"z": 1}}', '{"$x.y[*]": {"z": #}}'),
    ("$.ssn", '{"s\\u0073n": 1}', '{"s\\u0073n": #}'),
    ("$.a", '{"a": 1, "a": 2}', '{"a": #, "a": #}'),
    ("$.a", ' {\t"a" :\n1 , "b":1.0e400 } ', ' {\t"a" :\n# , "b":1.0e400 } '),
    ("$.a", '{"A": 1}', '{"A": 1}'),
    ("$.a", '"scalar"', "#"),
    ("$.a", "null", "#"),
    ("$..a", "12", "#"),
    ("$.a", "{}", "{}"),
    ("$.a", "[]", "[]"),
    ("$.a", '{"b": null, "a": null, "c": true}', '{"b": null, "a": #, "c": true}'),
])
def test_a_path_hides_what_it_names(path: str, text: str, due: str) -> None:
    """Keys, any key, indexes, any depth; lax about arrays; scalars in the way are hidden; the rest stays."""
    assert hidden(text, path) == due


def test_several_paths_hide_together() -> None:
    """One reading for all of them; the one that ends higher wins."""
    assert hidden('{"a": {"b": 1, "c": 2}, "d": {"e": 3}}', "$.a.b", "$.d", "$.d.e", "$.a.c.x") == '{"a": {"b": #, "c": #}, "d": #}'


@pytest.mark.parametrize("text", ["", " ", "{", "}", "[1,]", "[,1]", "{,}", '{"a":1,}', '{"a" 1}', '{a: 1}', "{'a': 1}", '{"a": 1} x',
                                  '{"a": 01}', '{"a": +1}', '{"a": .5}', '{"a": 1.}', '{"a": nul}', '{"a": NaN}', '{"a": "\x01"}',
                                  '{"a": "\\x"}', '{"a": "\\u12"}', '{"a": 1]', '["a": 1]', '[1 2]', '{"a": 1 "b": 2}', "1 2", "tru",
                                  '{1: 2}', '{null: 2}', '"open', '[' * (DEEPEST + 1) + "]" * (DEEPEST + 1), "[[1]", "[1]]"])
def test_what_is_no_json_is_refused(text: str) -> None:
    """A reading that the server would not make could miss a value."""
    with pytest.raises(ValueError):
        hidden(text, "$..a")


@pytest.mark.parametrize("path", ["", "a", "$", "$.", "$a", "$.a.", "$.a b", "$[]", "$[-1]", "$[a]", "$['a']", "$[1234567]", "$...a",
                                  "$.a[?(@.b)]", '$["a\\"b"]', '$[""]', "$.a" * 3, "$" + ".a" * (MOST_STEPS + 1), "$.1a", "$.ä"])
def test_what_is_no_path_is_refused(path: str) -> None:
    """A path that is read in part would hide in part."""
    with pytest.raises(ValueError, match="JSON path"):
        parse_path(path)


def test_no_path_is_an_error() -> None:
    """None at all would hide nothing."""
    with pytest.raises(ValueError, match="no JSON path"):
        JsonPaths([])


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "ssn", "ü", ""]), inner, max_size=4),
    max_leaves=25)


def without_key(document: Any, key: str) -> Any:
    """A second, plain reading of ``$..key``."""
    if isinstance(document, list):
        return [without_key(item, key) for item in document]
    if isinstance(document, dict):
        return {name: "#" if name == key else without_key(item, key) for name, item in document.items()}
    return document


@given(document=documents, indent=st.sampled_from([None, 1]), is_ascii=st.booleans())
def test_any_depth_equals_a_plain_reading(document: Any, indent: int | None, is_ascii: bool) -> None:
    """``$..ssn`` on any document, however it is written."""
    text = json.dumps(document, indent=indent, ensure_ascii=is_ascii)
    found = json.loads(JsonPaths(["$..ssn"]).apply(text, lambda _raw: '"#"'))
    assert found == (without_key(document, "ssn") if isinstance(document, list | dict) else "#")


@given(text=st.text(max_size=60) | documents.map(json.dumps).flatmap(
    lambda text: st.integers(0, len(text)).map(lambda at: text[:at])))
def test_random_text_is_read_as_python_reads_it(text: str) -> None:
    """What is read is JSON to another reader too; what it refuses is refused (but for words that are no JSON)."""
    try:
        hidden(text, "$..ssn")
    except ValueError:
        try:
            json.loads(text, parse_constant=lambda _word: 1 / 0)
        except (ValueError, ZeroDivisionError, RecursionError):
            return
        raise
    json.loads(text)


def masked(method: MaskMethod, document: str, *paths: str, oid: int = 3802, binary: bool = False) -> bytes | None:
    mask = value_mask(MaskTerms(method, b"task", "pii", frozenset(paths)), ColumnType(oid), binary, KEYS)
    assert mask.leaves_rest
    return mask.replace(b"\1" * (binary and oid == 3802) + document.encode())


@pytest.mark.parametrize(("method", "due"), [
    (MaskMethod.REDACT, ["xxxx", 0, False, "xxxx", "xxxx", "xxxx"]),
    (MaskMethod.NULL, [None] * 6),
    (MaskMethod.PARTIAL, ["axxx@example.com", 0, False, None, "xxxx", "xxxx"]),
])
def test_hidden_values_are_of_a_fitting_kind(method: MaskMethod, due: list[object]) -> None:
    """A string for strings, objects and arrays, zero for numbers, false for booleans; redaction hides null as well."""
    document = '{"v": ["ann@example.com", 12, true, null, {"a": 1}, [1]]}'
    assert json.loads(masked(method, document, "$.v[*]") or b"") == {"v": due}


def test_keyed_methods_work_on_strings_and_numbers() -> None:
    """A string gets what a text column would get under the same label; so values join over both."""
    document = '{"v": "219-09-9999", "n": 12345678, "d": "1984-02-29", "t": "1984-02-29T01:02:03Z"}'
    paths = ("$.v", "$.n", "$.d", "$.t")
    for method in (MaskMethod.HASH, MaskMethod.TOKEN, MaskMethod.FPE, MaskMethod.FAKE):
        found = json.loads(masked(method, document, *paths) or b"")
        column = value_mask(MaskTerms(method, b"task", "pii"), ColumnType(25), False, KEYS)
        assert found["v"].encode() == column.replace(b"219-09-9999")
        assert isinstance(found["n"], int)
        assert found["n"] != 12345678
        assert (found["n"] == 0) == (method in (MaskMethod.TOKEN, MaskMethod.FAKE))
    moved = json.loads(masked(MaskMethod.DATE_SHIFT, document, *paths) or b"")
    day = value_mask(MaskTerms(MaskMethod.DATE_SHIFT, b"task", "pii"), ColumnType(1082), False, KEYS)
    assert moved["d"].encode() == day.replace(b"1984-02-29")
    assert moved["t"] == moved["d"] + "T01:02:03Z"
    assert (moved["v"], moved["n"]) == ("xxxx", 0)


def test_a_document_that_cannot_be_read_is_redacted_as_a_whole() -> None:
    """Not JSON, not UTF-8, another version of the binary format."""
    assert masked(MaskMethod.HASH, "{", "$.a") == b'"xxxx"'
    assert masked(MaskMethod.HASH, "{", "$.a", binary=True) == b'\1"xxxx"'
    mask = value_mask(MaskTerms(MaskMethod.NULL, b"task", "pii", frozenset(("$.a",))), ColumnType(3802), True, KEYS)
    for value in (b"", b"\2{}", b"{}", b"\1\xff"):
        assert mask.replace(value) == b'\1"xxxx"'


def test_documents_in_arrays_are_masked_one_by_one() -> None:
    """A jsonb[] by path keeps its elements."""
    new = masked(MaskMethod.REDACT, '{"{\\"a\\": 1, \\"b\\": 2}",NULL,"7"}', "$.a", oid=3807)
    assert new == b'{"{\\"a\\": 0, \\"b\\": 2}",NULL,0}'


def test_paths_are_nothing_to_other_types() -> None:
    """A text that holds JSON is hidden as a whole."""
    mask = value_mask(MaskTerms(MaskMethod.REDACT, b"task", "pii", frozenset(("$.a",))), ColumnType(25), False, KEYS)
    assert mask.replace(b'{"a": 1}') == b"xxxx"
    assert not mask.leaves_rest


def test_a_wrong_path_is_said_before_any_value_comes() -> None:
    """The plan is not made."""
    with pytest.raises(ValueError, match="JSON path"):
        value_mask(MaskTerms(MaskMethod.REDACT, b"task", "pii", frozenset(("a",))), ColumnType(114), False, KEYS)
