"""Cancel keys: the gateway's own, unguessable, and not to be guessed at leisure."""

from __future__ import annotations

import pytest

from lockgate.proxy.cancel import GUESSES, WINDOW, CancelRegistry


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_names_its_session_until_it_is_forgotten() -> None:
    """Exactly the bytes that were issued, and nothing shorter or longer."""
    keys: CancelRegistry[str] = CancelRegistry(Time())
    one, two = keys.issue(8, "one"), keys.issue(36, "two")
    assert (len(one), len(two)) == (8, 36)
    assert (keys.find(one, "p"), keys.find(two, "p"), keys.find(two[:8], "p")) == ("one", "two", None)
    keys.forget(one)
    assert keys.find(one, "p") is None
    assert len(keys) == 1


def test_guessing_is_limited_per_peer() -> None:
    """After some wrong keys a peer is not listened to for a while, with the right key neither."""
    time = Time()
    keys: CancelRegistry[str] = CancelRegistry(time)
    key = keys.issue(8, "one")
    for _ in range(GUESSES):
        assert keys.find(b"wrong...", "guesser") is None
    assert keys.find(key, "guesser") is None
    assert keys.find(key, "somebody else") == "one"
    time.now += WINDOW + 1
    assert keys.find(key, "guesser") == "one"


@pytest.mark.parametrize("size", [0, 3, 257])
def test_a_key_has_a_sensible_length(size: int) -> None:
    """Between 4 and 256 bytes."""
    with pytest.raises(ValueError, match="4 to 256"):
        CancelRegistry[str](Time()).issue(size, "x")
