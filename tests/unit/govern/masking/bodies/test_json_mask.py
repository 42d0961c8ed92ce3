"""Values of one message, each looked into by itself: nothing is shown or sent that a body of JSON would have hidden."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking.bodies import BodyTerms, body_mask, check_body, json_check, json_mask
from lockgate.govern.masking.requests import ContentCheck
from lockgate.model import DetectMask, MaskMethod, RequestAction, RequestCheck
from tests.unit.govern.masking.bodies.documents import CANARY, NAME, mask, run, written

CARD = "4111 1111 1111 1111"
DETECTS = (DetectMask(("credit_card", "password_assignment"), MaskMethod.REDACT),)
TERMS = [BodyTerms((mask(f"*.{NAME}"),), DETECTS), BodyTerms((), DETECTS), BodyTerms((mask(NAME), mask("a.n", method=MaskMethod.NULL)))]
_TEXTS = st.sampled_from([
    CARD, f"x {CARD}", "password=hunter2hunter2", json.dumps({NAME: CANARY}), json.dumps({"a": CARD}), "plain", "", "[1", "{"])


@st.composite
def values(draw: st.DrawFn) -> str:
    """A value as it is written."""
    name = draw(st.sampled_from([NAME, "n", "password", "a"]))
    text = draw(_TEXTS.flatmap(written))
    return draw(st.sampled_from([
        text, "411111111111111", "4111111111111111", "true", "null", "[]", f"[{text}, 4111111111111111]", f'{{"{name}": {text}}}',
        f'{{ "{name}":{{"n": [{text},{text}]}} }}']))


@pytest.mark.parametrize("terms", TERMS)
@given(pieces=st.lists(values(), min_size=1, max_size=5))
def test_values_are_masked_as_bodies_are(terms: BodyTerms, pieces: list[str]) -> None:
    """Each value of a message becomes what it would as a body of its own, and counts as much."""
    masked: dict[str, int] = {}
    counted: dict[str, int] = {}
    one = json_mask(terms, "[" + ",".join(pieces) + "]", masked)
    for piece in pieces:
        body = body_mask(terms, b"application/json")
        assert body is not None
        assert one(piece).encode() == run(body, piece.encode())
        for name, count in body.masked.items():
            counted[name] = counted.get(name, 0) + count
    assert masked == counted


@given(pieces=st.lists(values(), min_size=1, max_size=5))
def test_values_are_checked_as_bodies_are(pieces: list[str]) -> None:
    """The same goes on of each value that a client sends, with the same finds."""
    checks = [ContentCheck((RequestCheck(("credit_card", "password_assignment"), RequestAction.MASK),), None, guards=True) for _ in range(2)]
    one = json_check(TERMS[0], checks[0], "[" + ",".join(pieces) + "]")
    for piece in pieces:
        assert one(piece).encode() == check_body(TERMS[0], checks[1], piece.encode(), b"application/json")
    assert (checks[0].found, checks[0].action, checks[0].has_mask) == (checks[1].found, checks[1].action, checks[1].has_mask)


def test_a_quiet_message_says_so() -> None:
    """Only where detectors find nothing in any value, whatever escapes hide it."""
    assert json_mask(TERMS[0], '{"a": "plain", "n": 1}', {}).is_quiet
    assert not json_mask(TERMS[0], f'{{"a": "{CARD}"}}', {}).is_quiet
    assert not json_mask(TERMS[0], '{"a": "\\u0034111 1111 1111 1111"}', {}).is_quiet


def test_what_is_no_value_is_refused() -> None:
    """ValueError where masks cannot look into it."""
    for piece in ('{"a"', "[1,]", '"'):
        with pytest.raises(ValueError, match="JSON"):
            json_mask(TERMS[0], piece, {})(piece)
