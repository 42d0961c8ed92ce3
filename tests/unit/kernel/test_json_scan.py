"""The JSON scanner by itself: what its tables say is hidden, what is hit is looked at, the rest is copied; both builds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st


def rules_of(kernel: Any, *, looks: bool = False, every: bool = False) -> Any:
    """Hides members `a` (state 1) of objects; what is looked at becomes `"?"`."""
    tables = kernel.json_rules.JsonTables()
    tables.known = [{b"a": 1, b"b": 0}, {}]
    tables.others, tables.elements, tables.inside, tables.alive = [0, 0], [0, 0], [0, 0], [1, 1]
    tables.arrays, tables.objects, tables.scalars = [-1, 0], [-1, 0], [-1, 0]
    tables.fixed = [b"", b"0", b"false", b"null"]
    tables.lengths = 1 << 1

    class Rules(kernel.json_rules.Rules):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(tables, looks, every)
            self.seen: list[Any] = []

        def member(self, state: int, name: bytes) -> int:
            self.seen.append(name)
            return 1 if json.loads(b'"' + name + b'"') == "a" else 0

        def hide(self, at: int, first: int, raw: bytes | None) -> bytes:
            self.seen.append((at, chr(first), raw))
            return b'"!"'

        def look(self, raw: bytes, state: int, kind: int, name: bytes | None, above: bytes | None) -> bytes:
            self.seen.append((raw, kind, name, above))
            return raw if kind else b'"?"'

        def hides_below(self, name: bytes) -> bool:
            return name == b"p"

    return Rules()


def scanned(kernel: Any, rules: Any, *parts: bytes, hits: bytes = b"", limit: int = 100) -> bytes:
    scanner = kernel.json_scan.JsonScanner(rules, limit, False)
    out = []
    for part in parts:
        at = part.find(hits) if hits else -1
        out.append(scanner.feed(part, [(at, at + len(hits))] if at >= 0 else []))
    return b"".join(out) + bytes(scanner.finish())


def test_tables_say_what_is_hidden(kernel: Any) -> None:
    """What is fixed is not asked for; what no length and no escape speaks for is not either."""
    rules = rules_of(kernel)
    assert scanned(kernel, rules, b'{"a":"x","b":1,"cc":2,"\\u0061":[3],"d":{"a":-4,"a":true},"e":0}') == (
        b'{"a":"!","b":1,"cc":2,"\\u0061":"!","d":{"a":0,"a":false},"e":0}')
    assert rules.seen == [(0, '"', b'"x"'), b"\\u0061", (0, "[", b"[3]"), b"d", b"e"]


def test_what_is_hit_is_looked_at_with_its_names(kernel: Any) -> None:
    """The string that shares a byte with a hit, with the name before it; everything under a name that says so."""
    rules = rules_of(kernel, looks=True)
    assert scanned(kernel, rules, b'{"m":"xhity","n":[5, true]}', hits=b"hit") == b'{"m":"?","n":[5, true]}'
    assert (b'"xhity"', 0, b"m", None) in rules.seen
    assert scanned(kernel, rules, b'{"m":"xhity"}', hits=b'm":') == b'{"m":"?"}'
    assert scanned(kernel, rules, b'{"p":{"q":[5,{},"z"],"s":7},"r":6}', hits=b"p") == b'{"p":{"q":["?",{},"?"],"s":"?"},"r":6}'
    assert (b'"z"', 0, None, b"p") in rules.seen


def test_what_a_border_tears_is_looked_at(kernel: Any) -> None:
    """No search has seen it whole: a string, a number, a name and its value."""
    for cut in range(2, 11):
        rules = rules_of(kernel, looks=True)
        body = b'{"m" : "xy" }'
        assert scanned(kernel, rules, body[:cut], body[cut:]) == b'{"m" : "?" }', cut
    rules = rules_of(kernel, looks=True)
    assert scanned(kernel, rules, b"[12", b"34]") == b'["?"]'
    assert scanned(kernel, rules_of(kernel, looks=True, every=True), b'["x",1,true]') == b'["?","?",true]'


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=20), number=st.integers(),
       cut=st.integers(0, 60))
def test_what_is_not_hidden_is_copied(kernel: Any, text: str, number: int, cut: int) -> None:
    """Byte for byte; the very object, where nothing is hidden and nothing held."""
    body = json.dumps({"b": [text, number, None], "t": {"b": text}}, ensure_ascii=False).encode()
    assert scanned(kernel, rules_of(kernel), body[:cut], body[cut:]) == body
    assert kernel.json_scan.JsonScanner(rules_of(kernel), 100, False).feed(body, []) is body


def test_a_hidden_value_that_is_too_long_is_not_held(kernel: Any) -> None:
    """It is told by its first byte, and that it is lost."""
    rules = rules_of(kernel)
    assert scanned(kernel, rules, b'{"a":["', b"x" * 80, b"x" * 80, b'"]}') == b'{"a":"!"}'
    assert rules.seen == [(0, "[", None)]


def test_an_end_in_the_middle_is_an_error(kernel: Any) -> None:
    """And a scanner that has failed, or is at its end, takes nothing more."""
    for body in (b"[", b'{"a"', b'"', b"-", b"tru", b'{"a":1', b"[1,"):
        with pytest.raises(ValueError):
            scanned(kernel, rules_of(kernel), body)
    scanner = kernel.json_scan.JsonScanner(rules_of(kernel), 100, False)
    scanner.feed(b"1", [])
    assert scanner.finish() == b""
    with pytest.raises(ValueError):
        scanner.feed(b" ", [])
