"""The memory of a signer: what it signs, what it refuses, and when it has remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.audit.checkpoint import Checkpoint, open_note
from lockgate.audit.failures import Locked, UntrustedNote
from lockgate.audit.signing.contract import SignerRefused
from lockgate.audit.signing.guard import Guard
from lockgate.errors import AuditError
from tests.unit.audit.signing.trees import ORIGIN, growth, tree


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    key, memory = tmp_path / "log.key", tmp_path / "log.key.signed"
    Guard.begin(key, memory, ORIGIN)
    return key, memory


def test_growth_is_signed_and_outlives_the_process(place: tuple[Path, Path]) -> None:
    """Every extension is signed, from nothing on; the next process goes on from the newest one."""
    guard = Guard.open(*place, ORIGIN)
    for old, new in ((0, 1), (1, 2), (2, 7), (7, 64), (64, 65)):
        assert open_note(guard.sign(tree(new), growth(old, new)), guard.verifier) == tree(new)
    guard.close()
    again = Guard.open(*place, ORIGIN)
    assert again.last() == tree(65)
    assert open_note(again.sign(tree(66), growth(65, 66)), again.verifier).size == 66
    again.close()


@pytest.mark.parametrize(("asked", "proof", "reason"), [
    (tree(6), [], "a tree of 7 entries was signed"), (tree(0), [], "a tree of 7"),
    (tree(7, "x"), [], "another tree of 7"), (tree(9), [], "not an extension"),
    (tree(9), growth(6, 9), "not an extension"), (tree(9, "x"), growth(7, 9, "x"), "not an extension"),
    (tree(9, "x"), growth(7, 9), "not an extension"), (tree(9), [*growth(7, 9), bytes(32)], "not an extension"),
    (Checkpoint("other/log", 9, tree(9).root), growth(7, 9), "signs lockgate.test/log"),
])
def test_whatever_takes_something_back_is_refused(
    place: tuple[Path, Path], asked: Checkpoint, proof: list[bytes], reason: str,
) -> None:
    """Smaller, different at one size, without or with a wrong proof, of another log: nothing is signed or remembered."""
    guard = Guard.open(*place, ORIGIN)
    guard.sign(tree(7))
    before = place[1].read_bytes()
    with pytest.raises(SignerRefused, match=reason):
        guard.sign(asked, proof)
    assert guard.last() == tree(7)
    assert place[1].read_bytes() == before
    guard.close()


def test_the_same_tree_may_be_signed_again(place: tuple[Path, Path]) -> None:
    """An answer that was lost is given again, whatever the proof says by then."""
    guard = Guard.open(*place, ORIGIN)
    assert guard.sign(tree(7)) == guard.sign(tree(7), growth(3, 7))
    guard.close()


def test_the_memory_is_on_the_disk_before_the_signature_leaves(place: tuple[Path, Path]) -> None:
    """Where the memory cannot be written nothing is signed."""
    guard = Guard.open(*place, ORIGIN)
    place[1].with_name(place[1].name + ".new").mkdir()
    with pytest.raises(AuditError):
        guard.sign(tree(1))
    assert guard.last().size == 0
    guard.close()


def test_a_signer_without_memory_does_not_start(place: tuple[Path, Path]) -> None:
    """A memory that is gone, damaged, or another log's is no reason to sign anything; it is not begun twice."""
    key, memory = place
    with pytest.raises(AuditError, match="has a memory already"):
        Guard.begin(key, memory, ORIGIN)
    good = memory.read_bytes()
    for content in (b"", b"{}", b"[]", good.replace(b'"size":0', b'"size":-1'), good.replace(b"lockgate", b"lockgats"),
                    good.replace(b'"v":1', b'"v":2'), good[:-20], b"\xff"):
        memory.write_bytes(content)
        with pytest.raises(AuditError, match="damaged"):
            Guard.open(key, memory, ORIGIN)
    memory.unlink()
    with pytest.raises(AuditError, match="not there"):
        Guard.open(key, memory, ORIGIN)


def test_a_signer_begins_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """The folder is made, for its owner alone; before the beginning the advice is to begin, also without a key."""
    key, memory = tmp_path / "new" / "log.key", tmp_path / "new" / "log.key.signed"
    with pytest.raises(AuditError) as caught:
        Guard.open(key, tmp_path / "log.key.signed", ORIGIN)
    assert "--init" in caught.value.advice()
    Guard.begin(key, memory, ORIGIN)
    assert memory.parent.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(AuditError, match="file"):
        Guard.begin(tmp_path / "file" / "log.key", tmp_path / "file" / "log.key.signed", ORIGIN)


def test_one_memory_has_one_signer(place: tuple[Path, Path]) -> None:
    """Two processes with one memory would each sign behind the other's back."""
    guard = Guard.open(*place, ORIGIN)
    with pytest.raises(Locked):
        Guard.open(*place, ORIGIN)
    guard.close()
    Guard.open(*place, ORIGIN).close()


def test_a_log_that_exists_is_continued_from_a_checkpoint_of_this_key(place: tuple[Path, Path], tmp_path: Path) -> None:
    """A signer that takes over a key starts where that key stands, and from nobody else's checkpoint."""
    key, memory = place
    guard = Guard.open(key, memory, ORIGIN)
    note = guard.sign(tree(7))
    guard.close()
    Guard.begin(key, tmp_path / "second", ORIGIN, note)
    second = Guard.open(key, tmp_path / "second", ORIGIN)
    with pytest.raises(SignerRefused):
        second.sign(tree(6))
    second.close()
    Guard.begin(tmp_path / "other.key", tmp_path / "third", ORIGIN)
    with pytest.raises(UntrustedNote):
        Guard.begin(tmp_path / "other.key", tmp_path / "fourth", ORIGIN, note)
