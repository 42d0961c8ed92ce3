"""Every form of mask is known again, and ordinary values are not taken for one."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest

from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.detectors import DETECTORS
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.tokens import TokenMint, Tokens
from lockgate.govern.masking.value_masks import MaskTerms, value_mask
from lockgate.govern.masking.writeback import is_mask
from lockgate.model import MaskMethod, Secret
from tests.unit.govern.masking.cases import FOUND

KEYS = MaskKeys(Secret("5a" * 32))


@pytest.mark.parametrize("value", [
    "xxxx", "xxxx9999", "xxxxé123", "axxx@example.com", "éxxx@b.c", "h_0123456789abcdef0123456789abcdef", "xxxx-xxxx-xxxx-1111",
    "xxxxxxxxxxxx1111", "AKIAxxxx", "ghp_xxxx", '{"ssn": "xxxx"}', '["a", "bxxx@c.d"]', '"xxxx"',
    "text with xxxx in the middle", '{"note": "see xxxx there"}', "(1,xxxx)", ' {"a": "h_01234567"}', "{h_01234567,NULL}",
    "call xxx-xx-9999, mail axxxx@example.com now", "pay DExxxx3000.", "from 10.x.x.x.", "xx xx xx x3 00", "\\x78787878",
])
def test_masks_are_known(value: str) -> None:
    """What masks look like, by themselves and as strings of JSON."""
    assert is_mask(value.encode(), None)


@pytest.mark.parametrize("value", [
    "", "x", "xxx", "maximum", "a@example.com", "h_is_for_hash", "4111111111111111",
    '{"size": "xxl"}', "tok_en", "xxx@", "foxxx at home",
    "XXXL shirts, 2 XXXX boxes", "h_index", "h_20240101 and h_cafe", "1.x, 2.x.x and 10.x.x", "2 x 4 x 10", "x-x-x 1",
    "for (x = 0; x < 10; x++) { xx[x] = x / 2000; }", r"escapes like \uxxxx and \x41", "-rwxr-xr-x 1 root", "0x1f 0xffff",
    "# Title\n\n- [x] done 2024\n- [ ] `x_x`\n\n| x | x | x |\n|---|---|---|\n| x | x | 12 |", "see www.xxx.example",
    "xxx is a placeholder", "in the year xx24", "a x x x x b", r"\xdeadbeef", "here xxxxx marks the spot",
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


SHOWN: dict[str, Callable[[bytes], bytes]] = {
    "by itself": lambda mask: mask,
    "in a text": lambda mask: b"see " + mask + b" now",
    "before a comma": lambda mask: b"it was " + mask + b", so",
    "in a row": lambda mask: b"(1," + mask + b",x)",
    "in an array": lambda mask: b"{" + mask + b",NULL}",
    "in a quoted array": lambda mask: b'{"' + mask + b'"}',
    "in a binary array": lambda mask: struct.pack("!iiIiii", 1, 0, 25, 1, 1, len(mask)) + mask,
    "in JSON": lambda mask: b' {"a": [1, ' + json.dumps(mask.decode()).encode() + b"]}",
    "in jsonb": lambda mask: b"\1" + json.dumps(mask.decode()).encode(),
    "as bytes": lambda mask: b"\\x" + mask.hex().encode(),
}


@pytest.mark.parametrize("place", SHOWN)
@pytest.mark.parametrize(("name", "text", "hidden"), FOUND)
def test_what_every_detector_leaves_is_known(name: str, text: str, hidden: str, place: str) -> None:
    """Partial and redacted, in the text that the find stood in, and wherever that text may stand."""
    for mask in (DETECTORS[name].partial(hidden.encode()).decode(), "xxxx"):
        assert is_mask(SHOWN[place](mask.encode()), None)
        assert is_mask(SHOWN[place](text.replace(hidden, mask, 1).encode()), None)


WITHOUT_MARK = {MaskMethod.FAKE, MaskMethod.FPE, MaskMethod.DATE_SHIFT, MaskMethod.NULL}
"""Methods whose masks are made to look like data, and the one that leaves none."""


@pytest.mark.parametrize("place", SHOWN)
@pytest.mark.parametrize("method", sorted(set(MaskMethod) - WITHOUT_MARK))
def test_what_every_method_makes_is_known(method: MaskMethod, place: str) -> None:
    """Of a text, an e-mail, bytes and JSON: a method without a form here fails."""
    terms = MaskTerms(method, b"scope", "label")
    for oid, value in ((25, b"Ann Miller"), (25, b"ann@example.com"), (1043, b"219-09-9999"), (114, b'{"a": 12345678}')):
        mask = value_mask(terms, ColumnType(oid), False, KEYS).replace(value)
        assert mask is not None
        assert is_mask(SHOWN[place](mask), Tokens(KEYS, b"other"))


def test_a_hash_that_was_cut_off_is_known() -> None:
    """A column of few characters keeps the beginning of a hash."""
    mask = value_mask(MaskTerms(MaskMethod.HASH, b"s", "l"), ColumnType(1043, 14), False, KEYS).replace(b"Ann Miller")
    assert mask is not None
    assert len(mask) == 10
    for place in ("by itself", "in a row", "in an array", "in a binary array", "in JSON", "as bytes"):
        assert is_mask(SHOWN[place](mask), None)
