"""Base32: what the standard library writes, in small letters and without padding; both builds."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st


@given(raw=st.binary(max_size=300))
@example(raw=b"\xff" * 64)
def test_it_is_the_standard_one(kernel: Any, raw: bytes) -> None:
    """For every length."""
    assert kernel.base32.base32(raw) == base64.b32encode(raw).rstrip(b"=").lower()
