"""Canonical leaves against an independent RFC 8785, and a parser that takes nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.audit import leaves
from lockgate.audit.entry import LEAF_LIMIT, MAX_INTEGER, canonical, parse
from lockgate.audit.failures import MalformedEntry
from lockgate.model import Event, Intent, Outcome, OutcomeStatus, SessionStart
from tests.unit.audit.logs import intent, start

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
KEY = b"k" * 32
KEYS = st.text(st.characters(max_codepoint=127), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20,
)
WILD = st.text(st.characters(), max_size=400)        # lone surrogates and control characters as well

HEARTBEAT: dict[str, Any] = {
    "v": 1, "type": "heartbeat", "time": 5, "index": 3, "node": "n1", "size": 3, "root": "0" * 64, "sessions": 0,
}


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_canonical_is_rfc_8785(value: dict[str, Any]) -> None:
    """Within the subset our canonical bytes are those of an independent implementation."""
    assert canonical(value) == rfc8785.dumps(value)


def test_a_leaf_is_read_back() -> None:
    """What is written is what is read."""
    assert parse(canonical(HEARTBEAT)) == HEARTBEAT


@pytest.mark.parametrize("leaf", [
    b"", b"null", b"[]", b"{", b"\xff", b"{}",
    canonical(HEARTBEAT) + b" ",
    b'{"v":1,"v":1,' + canonical(HEARTBEAT)[1:],
    canonical(HEARTBEAT).replace(b'"v":1', b'"v":1.0'),
    canonical(HEARTBEAT).replace(b'"v":1', b'"v":true'),
    json.dumps(HEARTBEAT, sort_keys=True).encode(),
    canonical({**HEARTBEAT, "v": 2}),
    canonical({**HEARTBEAT, "type": "Heartbeat"}),
    canonical({**HEARTBEAT, "time": -1}),
    canonical({**HEARTBEAT, "time": 2**53}),
    canonical({**HEARTBEAT, "time": "5"}),
    canonical({**HEARTBEAT, "x": 0.5}),
    canonical({**HEARTBEAT, "é": 1}),
    canonical({**HEARTBEAT, "root": "F" * 64}),
    canonical({**HEARTBEAT, "node": "a b"}),
    canonical({**HEARTBEAT, "sid": "s"}),
    canonical({**HEARTBEAT, "payload": {"commitment": "0" * 64}}),
    canonical({**HEARTBEAT, "payload": {"commitment": "0" * 64, "size": 1, "kept": True}}),
    canonical({**HEARTBEAT, "x": "y" * LEAF_LIMIT}),
    canonical({**HEARTBEAT, "type": "intent"}),
    canonical({key: value for key, value in HEARTBEAT.items() if key != "sessions"}),
    canonical({**HEARTBEAT, "x": [[[[[[[[1]]]]]]]]}),
    b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
])
def test_what_is_not_a_leaf_is_refused(leaf: bytes) -> None:
    """Duplicate keys, floats, spaces, unknown versions, missing fields and other shapes are no leaves."""
    with pytest.raises(MalformedEntry):
        parse(leaf)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(leaf: bytes) -> None:
    """The parser knows one failure only."""
    with pytest.raises(MalformedEntry):
        parse(leaf)


def _leaf(draft: leaves.Draft) -> dict[str, Any]:
    common = {"v": 1, "time": MAX_INTEGER, "index": MAX_INTEGER, "node": "f" * 16, "sid": "s" * 128,
              "sseq": MAX_INTEGER, "prev": "0" * 64, "payload": {"commitment": "0" * 64, "size": MAX_INTEGER},
              "clock": MAX_INTEGER}
    leaf = leaves.encode_leaf({**common, **draft.fields})
    if leaf is None:
        draft = leaves.cut(draft)
        leaf = leaves.encode_leaf({**common, **draft.fields})
    assert leaf is not None
    leaves.encode_payload(draft.payload or {})
    return parse(leaf)


@settings(max_examples=200, deadline=None)
@given(st.lists(WILD, max_size=60), st.lists(WILD, max_size=20), WILD, WILD)
def test_every_intent_fits_into_a_leaf(objects: list[str], rules: list[str], kind: str, text: str) -> None:
    """Whatever a request names, its leaf is at most 4 KiB and nothing is cut without a count."""
    record = _leaf(leaves.intent(intent(
        "s", text, objects=tuple(objects), rules=tuple(rules), kind=kind, ticket=kind, parameters=(text, None)), KEY))
    assert len(record["objects"]) + record.get("objects_more", 0) == len(objects)
    assert len(record["rules"]) + record.get("rules_more", 0) == len(rules)


def test_what_a_leaf_drops_is_in_the_payload() -> None:
    """A cut list of objects is whole in the payload that the leaf commits to."""
    names = tuple(f"public.table_{n}" for n in range(500))
    draft = leaves.cut(leaves.intent(intent("s", objects=names), KEY))
    assert draft.fields["objects_more"] == 500 - len(draft.fields["objects"]) > 0
    assert draft.payload is not None
    assert draft.payload["whole"]["objects"] == list(names)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(WILD, VALUES | st.floats() | st.sets(st.integers()) | st.binary(), max_size=30),
       st.binary(max_size=300))
def test_every_event_fits_into_a_leaf(fields: dict[str, Any], payload: bytes) -> None:
    """Fields of any shape become a leaf of the subset, with floats as text."""
    _leaf(leaves.event(Event("review", fields, "s", payload), b"k" * 32))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(WILD, st.integers(), max_size=40), st.floats(0, 1e12), st.integers(), WILD)
def test_every_outcome_fits_into_a_leaf(masked: dict[str, int], duration: float, rows: int, code: str) -> None:
    """Counts are clamped into the integers that JSON can carry; a duration becomes microseconds."""
    record = _leaf(leaves.outcome(Outcome("s", 1, OutcomeStatus.OK, rows, 0, masked, duration, code)))
    assert record["duration"] == min(int(duration * 1_000_000), MAX_INTEGER)


def test_leaves_hold_no_names_and_no_statements() -> None:
    """People, statements, parameters and claims are payload; a leaf has opaque ids only."""
    who: SessionStart = start("s", "alice@example.com")
    what: Intent = intent("s", "SELECT 'confidential'", parameters=("confidential",))
    for draft in (leaves.begin(who, KEY), leaves.intent(what, KEY)):
        leaf = leaves.encode_leaf(draft.fields)
        assert leaf is not None
        for word in (b"alice", b"planner", b"4711", b"confidential", b"127.0.0.1", b"analysts"):
            assert word not in leaf
            assert word in leaves.encode_payload(draft.payload or {}) or word != b"confidential" or draft.payload


def test_principals_tell_people_apart_and_need_the_key() -> None:
    """The same person has one principal per log; issuer and subject cannot be shifted into each other."""
    key = KEY
    assert leaves.principal(key, "iss", "sub") == leaves.principal(key, "iss", "sub")
    assert leaves.principal(key, "iss", "sub") != leaves.principal(key, "iss\0sub", "")
    assert leaves.principal(key, "iss", "sub") != leaves.principal(b"l" * 32, "iss", "sub")
