"""Whatever a token is changed into: the same identity by the same claims, or an `IdentityError`."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import IdentityError
from lockgate.govern.identity import KeySet
from lockgate.govern.identity.strictjson import parse_object
from tests.unit.govern.identity.material import NOW, check, claims, decode, encode, mint, raw

TOKEN = mint()
GOOD = check(TOKEN)
CHARACTERS = string.ascii_letters + string.digits + "-_.=+/ \n\0\u00e9"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def identity_or_refusal(token: str) -> object:
    try:
        return check(token)
    except IdentityError as error:
        assert error.code.startswith("identity.")
        return None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_edited_token_never_verifies(data: st.DataObject) -> None:
    """Characters exchanged, removed, put in or moved make the token fail, as there is one spelling only."""
    start = data.draw(st.integers(0, len(TOKEN)))
    end = data.draw(st.integers(start, min(len(TOKEN), start + 8)))
    edited = TOKEN[:start] + data.draw(st.text(CHARACTERS, max_size=8)) + TOKEN[end:]
    if edited != TOKEN:
        assert identity_or_refusal(edited) is None


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2), st.data())
def test_flipped_bit_never_verifies(segment: int, data: st.DataObject) -> None:
    """One bit of header, claims or signature decides."""
    parts = TOKEN.split(".")
    content = bytearray(decode(parts[segment]))
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    parts[segment] = encode(bytes(content))
    assert identity_or_refusal(".".join(parts)) is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(
    lambda parts: ".".join(map(encode, parts))))
def test_any_text_ends_in_a_refusal(text: str) -> None:
    """Random text and random segments are refused, and nothing but `IdentityError` comes out."""
    assert identity_or_refusal(text) is None


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(claims())), JSON)
def test_any_signed_claim_is_read_or_refused(name: str, value: object) -> None:
    """Also a provider's own signature over any claim ends in an identity or an `IdentityError`."""
    text = json.dumps({**claims(), name: value})
    identity_or_refusal(raw(b'{"alg":"ES256","kid":"P256-1"}', text.encode()))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["alg", "kid", "typ", "crit", "x5t", "other"]), JSON)
def test_any_signed_header_is_read_or_refused(name: str, value: object) -> None:
    """The same for every header parameter."""
    text = json.dumps({"alg": "ES256", "kid": "P256-1", name: value})
    identity_or_refusal(raw(text.encode(), json.dumps(claims()).encode()))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps({"keys": [value]}).encode()))
def test_any_key_set_is_read_or_refused(data: bytes) -> None:
    """A hostile or broken key set is an `IdentityError`."""
    with pytest.raises(IdentityError):
        KeySet.parse(data)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.integers(-10**9, 10**9) | st.text(max_size=20) | st.lists(
    st.booleans(), max_size=3), max_size=6))
def test_strict_reading_agrees_with_json(value: dict[str, object]) -> None:
    """What is accepted means the same as it does to everyone else."""
    assert parse_object(json.dumps(value).encode(), depth=3) == value


def test_good_token_is_good() -> None:
    """The fuzzing starts from a token that passes."""
    assert check(TOKEN, NOW) == GOOD
