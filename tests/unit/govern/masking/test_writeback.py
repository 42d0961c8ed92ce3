"""Every form of mask is known again, and ordinary values are not taken for one."""

from __future__ import annotations

import pytest

from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.tokens import TokenMint, Tokens
from lockgate.govern.masking.writeback import is_mask
from lockgate.model import Secret

KEYS = MaskKeys(Secret("5a" * 32))


@pytest.mark.parametrize("value", [
    "xxxx", "xxxx9999", "xxxxé123", "axxx@example.com", "éxxx@b.c", "h_0123456789abcdef0123456789abcdef", "xxxx-xxxx-xxxx-1111",
    "xxxxxxxxxxxx1111", "AKIAxxxx", "ghp_xxxx", '{"ssn": "xxxx"}', '["a", "bxxx@c.d"]', '"xxxx"',
])
def test_masks_are_known(value: str) -> None:
    """What masks look like, by themselves and as strings of JSON."""
    assert is_mask(value.encode(), None)


@pytest.mark.parametrize("value", [
    "", "x", "xxx", "maximum", "text with xxxx in the middle", "a@example.com", "h_is_for_hash", "4111111111111111",
    '{"size": "xxl"}', '{"note": "see xxxx there"}', "tok_en", "xxx@", "foxxx at home",
])
def test_ordinary_values_are_not(value: str) -> None:
    """Words that only look a little like it."""
    assert not is_mask(value.encode(), Tokens(KEYS, b"t"))


def test_tokens_are_found_anywhere() -> None:
    """Those of this gateway, in any scope; what merely looks like one is none."""
    token = TokenMint(KEYS, b"other scope", "pii", "text").make(b"secret")
    assert token is not None
    tokens = Tokens(KEYS, b"t")
    assert is_mask(b"mail to " + token + b" please", tokens)
    assert not is_mask(b"mail to " + token[:-8] + b"aaaaaaaa please", tokens)
