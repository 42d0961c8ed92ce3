"""What stored payloads disclose."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.audit.commitment import KEY_SIZE, all_opened, fresh_secrets, opened, seal

PAYLOAD = b'{"statement":"SELECT 1"}'


def test_rows_disclose_their_payloads_in_their_places() -> None:
    """A row without key and blob discloses nothing; every other one its own payload with its own salt."""
    first, second = fresh_secrets(2)
    rows: list[tuple[Any, ...]] = [
        (0, b"", b"", first, seal(first[:KEY_SIZE], PAYLOAD)), (1, b"", b"", None, None),
        (2, b"", b"", second, seal(second[:KEY_SIZE], b"{}")),
    ]
    found = [None if one is None else (one.salt, one.payload) for one in all_opened(rows)]
    assert found == [(first[KEY_SIZE:], PAYLOAD), None, (second[KEY_SIZE:], b"{}")]


@pytest.mark.parametrize("kept", ["secret", "blob", "other key", "altered blob", "short key", "number", "text"])
def test_what_does_not_open_discloses_nothing_that_was_committed_to(kept: str) -> None:
    """Half a payload, one that was altered and one of another type are no payload, and raise nothing."""
    secret, other = fresh_secrets(2)
    blob = seal(secret[:KEY_SIZE], PAYLOAD)
    halves: tuple[Any, Any] = {
        "secret": (secret, None), "blob": (None, blob), "other key": (other, blob),
        "altered blob": (secret, bytes((blob[0] ^ 1,)) + blob[1:]), "short key": (secret[:5], blob), "number": (7, blob),
        "text": (secret.hex(), blob),
    }[kept]
    row: tuple[Any, ...] = (0, b"", b"", *halves)
    assert [(one.salt, one.payload) for one in all_opened([row]) if one is not None] == [(b"", b"")]
    assert (opened(*halves).salt, opened(*halves).payload) == (b"", b"")
