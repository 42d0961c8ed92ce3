"""The key file of the masks: made once, private, and refused where somebody could have read or changed it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lockgate.govern.masking.keys import MaskKeys
from lockgate.store import StoreError
from lockgate.store.mask_key import KEY_FILE, load_or_create_mask_key


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """The first start makes a key that only the owner reads; later ones find it."""
    folder = tmp_path / "state"
    first = load_or_create_mask_key(folder)
    path = folder / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_mask_key(folder) == first
    assert load_or_create_mask_key(tmp_path / "other") != first
    assert [item.name for item in folder.iterdir()] == [KEY_FILE]
    MaskKeys(first)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_key_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever could read it can turn masks back."""
    load_or_create_mask_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(StoreError, match="lets others") as caught:
        load_or_create_mask_key(tmp_path)
    assert "chmod 600" in caught.value.advice()


@pytest.mark.parametrize("content", [b"", b"zz" * 32, b"5a" * 31, b"5a" * 33, b"5a " * 32, b"\xff" * 64, b"5a" * 4_000])
def test_a_damaged_key_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    """No key is guessed from half of one, and none is replaced silently."""
    path = tmp_path / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StoreError) as caught:
        load_or_create_mask_key(tmp_path)
    assert "5a5a" not in str(caught.value) + caught.value.advice()
    assert path.read_bytes() == content


def test_a_link_or_folder_is_no_key(tmp_path: Path) -> None:
    """A name that leads elsewhere is not followed."""
    load_or_create_mask_key(tmp_path / "real")
    (tmp_path / KEY_FILE).symlink_to(tmp_path / "real" / KEY_FILE)
    with pytest.raises(StoreError):
        load_or_create_mask_key(tmp_path)
    (tmp_path / "folder" / KEY_FILE).mkdir(parents=True)
    with pytest.raises(StoreError):
        load_or_create_mask_key(tmp_path / "folder")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """The reason and the path are in the error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        load_or_create_mask_key(tmp_path / "file" / "state")
