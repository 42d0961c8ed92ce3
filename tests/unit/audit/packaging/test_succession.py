"""Packages of a log that changed its key, for somebody who pinned an older one: followed where each key handed on."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.audit.checkpoint import Signer
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.keys import read_key
from lockgate.audit.storage.sqlite import open_source
from tests.unit.audit.logs import ORIGIN, Driven, change_key, copied, edit
from tests.unit.audit.packages import changed, check, exported, listed, members
from tests.unit.audit.tampering.forge import Forge

A, B, C = "a" * 16, "b" * 16, "c" * 16


def work(folder: Path, session: str) -> None:
    driven = Driven(folder)
    driven.begin(session)
    driven.run(session)
    driven.log.end_session(session, "closed")
    driven.log.close()


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of three sessions with a change of keys between each two. The keys, oldest first, are in `keys`."""
    folder = tmp_path_factory.mktemp("rotated") / "log"
    keys = []
    for session in (A, B, C):
        if keys:
            change_key(folder)
        work(folder, session)
        keys.append((folder / "log.vkey").read_text())
        if len(keys) == 1:
            (folder / "first.key").write_bytes((folder / "log.key").read_bytes())
            (folder / "first.key").chmod(0o600)
    (folder / "keys").write_text("".join(keys))
    return folder


def keys_of(folder: Path) -> list[str]:
    return (folder / "keys").read_text().splitlines(keepends=True)


def rotations(package: bytes) -> list[str]:
    return [name for name in members(package) if name.startswith("rotations/") and name.endswith(".checkpoint")]


@pytest.mark.parametrize("pinned", [0, 1, 2])
@pytest.mark.parametrize("session", [None, A, B, C])
def test_any_key_of_the_log_verifies_a_package(rotated: Path, pinned: int, session: str | None) -> None:
    """Whether the changes of keys lie in the range, before or behind it."""
    package = exported(rotated, session=session)
    report = check(package, keys_of(rotated)[pinned])
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
    assert len(rotations(package)) == 2
    assert report.covered["trust"][0] == keys_of(rotated)[2].strip()
    assert any("handed on" in words for words in report.covered["trust"]) is (pinned < 2)


def test_a_change_of_keys_that_is_the_newest_entry_is_signed_by_the_old_key(tmp_path: Path) -> None:
    """The newest checkpoint is then the one that hands the log on."""
    folder = tmp_path / "log"
    work(folder, A)
    key = (folder / "log.vkey").read_text()
    change_key(folder)
    report = check(exported(folder), key)
    assert report.findings == []


def without(names: list[str]) -> Callable[[bytes], bytes]:
    def cut(package: bytes) -> bytes:
        return listed({name: data for name, data in members(package).items()
                       if not any(name.startswith(start) for start in names)})
    return cut


def first_only(package: bytes) -> bytes:
    """Without what the second key signed last."""
    return without([rotations(package)[1].removesuffix("checkpoint")])(package)


def swapped(package: bytes) -> bytes:
    """The first change of keys with the checkpoint and the proof of the second."""
    files = members(package)
    one, two = (name.removesuffix("checkpoint") for name in rotations(package))
    return listed({**files, **{one + end: files[two + end] for end in ("checkpoint", "consistency")}})


def by_another_key(package: bytes) -> bytes:
    """The checkpoint that hands the log on, with the signature of the newest key's on it."""
    newest = members(package)["checkpoint"].partition(b"\n\n")[2]
    return changed(package, rotations(package)[0], lambda data: data.partition(b"\n\n")[0] + b"\n\n" + newest)


def of_another_tree(package: bytes) -> bytes:
    return changed(package, rotations(package)[0].replace(".checkpoint", ".consistency"),
                   lambda data: base64.b64encode(bytes(32)) + data[44:])


def of_no_change(package: bytes) -> bytes:
    """A checkpoint beside those, of a size at which no key changed."""
    files = members(package)
    one = rotations(package)[0].removesuffix("checkpoint")
    more = {f"rotations/1.{end}": files[one + end] for end in ("checkpoint", "consistency")}
    place = list(files).index(one + "checkpoint")
    return listed(dict([*list(files.items())[:place], *more.items(), *list(files.items())[place:]]))


@pytest.mark.parametrize(("forge", "words"), [
    (first_only, "has not signed the change of keys"),
    (swapped, "is of"),
    (by_another_key, "is not the trusted key"),
    (of_another_tree, "consistency"),
    (of_no_change, "no change of keys"),
])
def test_a_chain_that_is_not_whole_is_refused_and_named(
    rotated: Path, forge: Callable[[bytes], bytes], words: str
) -> None:
    """A checkpoint that is missing, of another change, by another key, of another tree, of no change."""
    report = check(forge(exported(rotated, session=A)), keys_of(rotated)[0])
    assert report.verdict is not Verdict.VERIFIED
    assert [found for found in report.findings if found.check == "rotation" and words in found.message], report.findings


def test_a_package_without_any_of_it_is_for_the_newest_key(rotated: Path) -> None:
    """Untrusted by an older one, which says what to pin; the newest key needs none of it, the second one the last."""
    bare = without(["rotations/"])(exported(rotated))
    report = check(bare, keys_of(rotated)[0])
    assert (report.verdict, report.first and report.first.check) == (Verdict.UNTRUSTED, "key")
    assert "newest key" in report.findings[0].message
    assert check(bare, keys_of(rotated)[2]).findings == []
    one = exported(rotated)
    last = without([rotations(one)[0].removesuffix("checkpoint")])(one)
    assert check(last, keys_of(rotated)[1]).findings == []
    assert check(last, keys_of(rotated)[0]).verdict is Verdict.UNTRUSTED


def test_a_leaf_that_the_old_key_never_signed_hands_nothing_over(rotated: Path, tmp_path: Path) -> None:
    """The thief of the newest key cannot claim an older one: no tree of that size is by it."""
    folder = copied(rotated, tmp_path / "log")
    size = int(rotations(exported(folder))[0].split("/")[1].split(".")[0])
    edit(folder, f"DELETE FROM checkpoints WHERE size = {size}")
    report = check(exported(folder), keys_of(rotated)[0])
    assert [(found.check, found.index, found.verdict) for found in report.findings] == [
        ("rotation", size - 1, Verdict.UNTRUSTED)]
    edit(folder, "DELETE FROM checkpoints")
    assert check(exported(folder), keys_of(rotated)[0]).verdict is Verdict.UNTRUSTED


def test_no_key_is_skipped(rotated: Path, tmp_path: Path) -> None:
    """The log's second change, said to be by its first key: that one has signed no such tree."""
    forge = Forge(rotated)
    second = forge.of("key_rotate", 1)
    forge[second].fields["data"]["old"] = keys_of(rotated)[0].strip()
    del forge.rows[forge.of("key_rotate", 0)]
    forge.notes[second] = forge.sign(second, forge.root(second))
    report = check(exported(forge.write(tmp_path / "log")), keys_of(rotated)[0])
    assert report.verdict is Verdict.UNTRUSTED
    assert [found.check for found in report.findings if "not the trusted key" in found.message] == ["rotation"]


@pytest.mark.parametrize("is_named", [False, True])
def test_a_key_signs_nothing_behind_its_change(rotated: Path, tmp_path: Path, is_named: bool) -> None:
    """Whoever has the old key still cannot sign what is newer, whichever key the package names."""
    forge = Forge(rotated)
    forge.signer = Signer(ORIGIN, read_key(rotated / "first.key"))
    with open_source(rotated) as source:
        forge.notes = dict(source.notes())
    package = exported(forge.write(tmp_path / "log"))
    if is_named:
        package = changed(package, "log.vkey", lambda _: keys_of(rotated)[0].encode())
    report = check(package, keys_of(rotated)[0])
    assert (report.verdict, report.first and report.first.check) == (Verdict.UNTRUSTED, "checkpoint")


def test_a_stranger_with_a_log_of_its_own_is_not_followed(rotated: Path, tmp_path: Path) -> None:
    """A log of the same name under other keys: its changes of keys lead to none that was pinned."""
    folder = tmp_path / "log"
    work(folder, A)
    change_key(folder)
    work(folder, B)
    report = check(exported(folder), keys_of(rotated)[0])
    assert report.verdict is Verdict.UNTRUSTED
    assert [found.message for found in report.findings if "none of the log's keys" in found.message]
