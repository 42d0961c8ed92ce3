"""Keys of masks: one for every scope, label and method, and none of them in sight."""

from __future__ import annotations

import copy
import itertools
import pickle  # noqa: TID251 - that it fails is what is tested

import pytest

from lockgate.errors import ConfigError
from lockgate.govern.masking.keys import MaskKeys
from lockgate.model import MaskMethod, Secret

KEYS = MaskKeys(Secret("00" * 32))


def test_every_part_makes_another_key() -> None:
    """Parts are told apart by their lengths, so that moving a letter from one to the next is another list."""
    scopes, labels = (b"a", b"ab", b"task"), ("", "b", "bc", "pii.ssn")
    found = [KEYS.derive(scope, label, method) for scope, label, method in itertools.product(scopes, labels, MaskMethod)]
    found += [KEYS.of_gateway(purpose) for purpose in ("", "a", "token mark")]
    found.append(MaskKeys(Secret("01" + "00" * 31)).derive(b"a", "b", MaskMethod.HASH))
    assert len(set(found)) == len(found)


def test_the_same_parts_make_the_same_key() -> None:
    """Masks outlive a restart: nothing but the master key and the parts goes in."""
    again = MaskKeys(Secret("00" * 32))
    assert KEYS.derive(b"task", "ssn", MaskMethod.HASH) == again.derive(b"task", "ssn", MaskMethod.HASH)
    assert KEYS.derive(b"task", "ssn", MaskMethod.HASH).hex().startswith("c14547368cb5b67a983ba615a4bac3e8")


def test_a_scope_is_never_empty() -> None:
    """An empty scope would be the gateway's own, the same for everybody."""
    with pytest.raises(ValueError, match="scope"):
        KEYS.derive(b"", "ssn", MaskMethod.HASH)


@pytest.mark.parametrize("size", [0, 8, 65])
def test_sizes_are_bounded(size: int) -> None:
    """No key is too short to be one, none longer than the hash gives."""
    with pytest.raises(ValueError, match="bytes"):
        KEYS.derive(b"task", "ssn", MaskMethod.HASH, size)


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "zz" * 32])
def test_a_wrong_master_key_is_said_and_not_shown(text: str) -> None:
    """The message says what to do and holds nothing of the key."""
    with pytest.raises(ConfigError) as caught:
        MaskKeys(Secret(text))
    assert caught.value.advice()
    assert not text or text[:4] not in str(caught.value)


def test_keys_are_not_shown_copied_or_stored() -> None:
    """repr, copies and pickles are how keys get into logs."""
    assert "00" not in f"{KEYS!r} {KEYS}"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(KEYS)
