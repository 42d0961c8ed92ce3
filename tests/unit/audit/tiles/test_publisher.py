"""Publishing: the same bytes however the log grew, valid whenever power fails, and never against the evidence."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lockgate.audit.checkpoint import Signer
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.failures import Tampered, UntrustedNote
from lockgate.audit.tiles.disk import Disk
from lockgate.audit.tiles.publisher import Publisher
from lockgate.audit.verify import verify_log
from tests.unit.audit.logs import Driven
from tests.unit.audit.tiles.published import (
    LEAVES,
    SIGNER,
    FailingDisk,
    Forgetful,
    Memory,
    PowerLoss,
    expected,
    files,
    publisher,
    publisher_of,
    require_valid,
)


def published(root: Path, *sizes: int) -> Memory:
    """Publish a log at each of these sizes, by one publisher."""
    source = Memory(())
    for size in sizes:
        source = Memory(LEAVES[:size])
        publisher(root, source).run()
    return source


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, 700])
def test_a_log_is_published_as_the_specification_says(tmp_path: Path, size: int) -> None:
    """Exactly the files that a naive reading of C2SP tlog-tiles gives, and the checkpoint as it was signed."""
    source = published(tmp_path / "tiles", size)
    assert files(tmp_path / "tiles") == {**expected(LEAVES[:size]), "checkpoint": source.note.encode()}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(1, len(LEAVES)), min_size=1, max_size=6, unique=True),
       restarts=st.lists(st.booleans(), min_size=6, max_size=6))
@example(steps=[1, 255, 256, 257, 512, 700], restarts=[False] * 6)
def test_any_growth_publishes_the_same_bytes(tmp_path: Path, steps: list[int], restarts: list[bool]) -> None:
    """Published step by step or at once, with or without restarts between: the same tiles and bundles."""
    root = tmp_path / "tiles"
    shutil.rmtree(root, ignore_errors=True)
    sources: list[Memory] = []
    made = Publisher(lambda: sources[-1], SIGNER.verifier, Disk(root))
    for size, is_new in zip(sorted(steps), restarts, strict=False):
        sources.append(Memory(LEAVES[:size]))
        if is_new:
            made = Publisher(lambda: sources[-1], SIGNER.verifier, Disk(root))
        made.run()
        assert require_valid(root, LEAVES) == size
    wanted = {**expected(LEAVES[: max(steps)]), "checkpoint": sources[-1].note.encode()}
    older = {path: content for size in steps for path, content in expected(LEAVES[:size]).items() if ".p/" in path}
    assert files(root).items() <= {**older, **wanted}.items()
    assert wanted.items() <= files(root).items()


def test_only_what_is_new_is_read_and_written(tmp_path: Path) -> None:
    """A grown log costs its growth and at most one bundle; one that did not grow costs nothing."""
    root = tmp_path / "tiles"
    sources = [Memory(LEAVES[:600])]
    made = Publisher(lambda: sources[-1], SIGNER.verifier, Disk(root))
    made.run()
    before = {path: (root / path).stat().st_mtime_ns for path in files(root)}
    sources.append(Memory(LEAVES[:610]))
    made.run()
    assert sources[-1].read == 610 - 512
    written = {path for path in files(root) if before.get(path) != (root / path).stat().st_mtime_ns}
    assert written == {"checkpoint", "tile/0/002.p/98", "tile/entries/002.p/98"}
    sources.append(Memory(LEAVES[:610]))
    made.run()
    assert sources[-1].read == 0


def test_partial_tiles_go_one_run_after_the_full_ones_came(tmp_path: Path) -> None:
    """A reader that has just fetched the older checkpoint still finds its tiles; afterwards they are gone."""
    root = tmp_path / "tiles"
    sources = [Memory(LEAVES[:250])]
    made = Publisher(lambda: sources[-1], SIGNER.verifier, Disk(root))
    for size in (250, 252, 300):
        sources.append(Memory(LEAVES[:size]))
        made.run()
    assert {"tile/0/000.p/250", "tile/entries/000.p/252", "tile/0/000"} <= files(root).keys()
    made.run()
    assert files(root).keys() == {*expected(LEAVES[:300]), "checkpoint"}
    published(root, 506, 600, 600)
    assert files(root).keys() == {*expected(LEAVES[:600]), "checkpoint", "tile/1/000.p/1"}


# ---------------------------------------------------------------- losing power


def crashes(root: Path, before: tuple[int, ...], size: int, kind: type[FailingDisk], half: bool, damage: bool) -> int:
    """Fail at every step in turn; after each, what is published must be valid, and go on to the same bytes."""
    found = 0
    for at in range(1_000):
        shutil.rmtree(root, ignore_errors=True)
        for earlier in before:
            publisher(root, Memory(LEAVES[:earlier])).run()
        if damage:
            (root / "tile/0/000").write_bytes(bytes(8192))
        disk = kind(root, at, half=half)
        try:
            publisher(root, Memory(LEAVES[:size]), disk).run()
        except PowerLoss:
            found += 1
        else:
            assert at > 3
            return found
        if not damage or disk.steps:
            assert require_valid(root, LEAVES) in (*before, size, 0)
        publisher(root, Memory(LEAVES[:size])).run()
        assert require_valid(root, LEAVES) == size
    raise AssertionError("the run never ended")


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("before", "size", "damage"), [
    ((), 300, False), ((250,), 520, False), ((100, 250, 520), 530, False), ((300,), 560, True),
])
def test_power_may_fail_between_any_two_steps(
    tmp_path: Path, before: tuple[int, ...], size: int, damage: bool, half: bool
) -> None:
    """Whatever was lost, a published checkpoint has its tiles, and the next run publishes what one run would."""
    assert crashes(tmp_path / "tiles", before, size, FailingDisk, half, damage) >= 5


def test_announcing_before_the_disk_has_it_would_be_found(tmp_path: Path) -> None:
    """The same search finds the fault in a publisher that does not wait for the disk."""
    with pytest.raises(AssertionError):
        crashes(tmp_path / "tiles", (250, 520), 530, Forgetful, half=False, damage=False)


class BadDisk(Disk):
    """Its first wait for the disk fails, as fsync does with EIO."""

    failed = False

    def settle(self) -> None:
        if not self.failed:
            self.failed = True
            raise OSError(errno.EIO, "fsync")
        super().settle()


def test_a_failed_fsync_announces_nothing_and_is_not_taken_for_done(tmp_path: Path) -> None:
    """The older checkpoint stays; the next run writes everything again instead of asking the disk again."""
    published(tmp_path, 250)
    evidence = (tmp_path / "checkpoint").read_bytes()
    made = publisher(tmp_path, Memory(LEAVES[:600]), BadDisk(tmp_path))
    with pytest.raises(OSError, match="fsync"):
        made.run()
    assert (tmp_path / "checkpoint").read_bytes() == evidence
    lost = [tmp_path / path for path in expected(LEAVES[:600]) if path not in expected(LEAVES[:250])]
    for path in lost:
        path.write_bytes(b"")
    made.run()
    assert require_valid(tmp_path, LEAVES) == 600


# ---------------------------------------------------------------- repair, and what is not repaired


@pytest.mark.parametrize("damage", [
    "tile/0/000", "tile/0/001", "tile/1/000.p/2", "tile/0/002.p/88", "checkpoint",
])
@pytest.mark.parametrize("how", ["alter", "cut", "remove"])
def test_damaged_tiles_are_made_anew(tmp_path: Path, damage: str, how: str) -> None:
    """A process that starts finds any tile that is not what the checkpoint says, and publishes again."""
    source = published(tmp_path, 600)
    path = tmp_path / damage
    content = path.read_bytes()
    path.unlink()
    if how != "remove":
        path.write_bytes(content[:-1] if how == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    publisher(tmp_path, source).run()
    assert files(tmp_path) == {**expected(LEAVES[:600]), "checkpoint": source.note.encode()}


def test_a_missing_bundle_is_made_anew(tmp_path: Path) -> None:
    """Entries that are gone are published again by the next process."""
    source = published(tmp_path, 600)
    (tmp_path / "tile/entries/001").unlink()
    publisher(tmp_path, source).run()
    assert files(tmp_path) == {**expected(LEAVES[:600]), "checkpoint": source.note.encode()}


def rewritten(entries: tuple[bytes, ...], at: int) -> Memory:
    return Memory((*entries[:at], b"forged", *entries[at + 1 :]))


@pytest.mark.parametrize("source", [
    Memory(LEAVES[:300]), rewritten(LEAVES[:600], 3), rewritten(LEAVES[:600], 599), rewritten(LEAVES[:700], 3),
    rewritten(LEAVES[:700], 599),
], ids=["rolled back", "same size", "same size, last", "grown", "grown, last"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_store_that_contradicts_what_was_published_is_not_published(
    tmp_path: Path, source: Memory, damaged: bool
) -> None:
    """Rolled back or rewritten, even by who holds the key: the evidence stays, tiles damaged or not."""
    published(tmp_path, 600)
    if damaged:
        (tmp_path / "tile/0/000").write_bytes(bytes(8192))
    evidence = (tmp_path / "checkpoint").read_bytes()
    for _ in range(2):
        with pytest.raises(Tampered):
            publisher(tmp_path, source).run()
    assert (tmp_path / "checkpoint").read_bytes() == evidence
    if not damaged:
        assert require_valid(tmp_path, LEAVES) == 600


def test_a_store_whose_entries_do_not_have_its_root_is_not_published(tmp_path: Path) -> None:
    """The root over what would be published is compared with the signed one, before anybody can see it."""
    source = Memory(LEAVES[:600])
    source.entries = (*LEAVES[:400], b"forged", *LEAVES[401:600])
    with pytest.raises(Tampered, match="root that was signed"):
        publisher(tmp_path, source).run()
    short = Memory(LEAVES[:600])
    short.entries = LEAVES[:599]
    with pytest.raises(Tampered, match="missing"):
        publisher(tmp_path, short).run()
    assert not (tmp_path / "checkpoint").exists()


def test_another_keys_log_is_not_published(tmp_path: Path) -> None:
    """The store's checkpoint must be signed by the key that the gateway shows."""
    other = Signer(SIGNER.verifier.name, Ed25519PrivateKey.generate())
    with pytest.raises(UntrustedNote):
        publisher(tmp_path, Memory(LEAVES[:10], other)).run()
    assert not (tmp_path / "checkpoint").exists()


def test_an_empty_store_publishes_nothing(tmp_path: Path) -> None:
    """There is no checkpoint before the first commit."""
    publisher(tmp_path / "tiles", Memory(())).run()
    assert not (tmp_path / "tiles").exists()


def test_a_log_is_published_while_it_is_written(tmp_path: Path) -> None:
    """Beside the writer, from a snapshot: the size is one that was committed, and nothing is missing."""
    driven = Driven(tmp_path / "audit")
    made = publisher_of(tmp_path / "audit")
    driven.begin("s")
    sizes = []
    for _ in range(5):
        for _ in range(60):
            driven.run("s")
        made.run()
        sizes.append(int((tmp_path / "audit/tiles/checkpoint").read_text().split("\n")[1]))
    driven.log.close()
    made.run()
    assert sizes == sorted(set(sizes))
    assert int((tmp_path / "audit/tiles/checkpoint").read_text().split("\n")[1]) == driven.log.size == 604


def test_a_store_that_was_rolled_back_below_what_was_published_is_not_opened(tmp_path: Path) -> None:
    """An older copy of the store with its older checkpoint: the tiles know better, before anything is appended."""
    folder = tmp_path / "audit"
    Driven(folder).log.close()
    shutil.copytree(folder, tmp_path / "older")
    driven = Driven(folder)
    driven.begin("s")
    driven.log.close()
    publisher_of(folder).run()
    for name in ("log.db", "checkpoint"):
        shutil.copy(tmp_path / "older" / name, folder / name)
    before = (folder / "log.db").read_bytes()
    with pytest.raises(Tampered, match="6 entries were published as tiles") as found:
        Driven(folder)
    assert (found.value.index, found.value.check) == (2, "published tiles")
    assert (folder / "log.db").read_bytes() == before
    report = verify_log(folder, key=folder / "log.vkey")
    assert (report.verdict, report.first and report.first.check) == (Verdict.TAMPERED, "published checkpoint")


def test_damaged_tiles_do_not_stop_a_start(tmp_path: Path) -> None:
    """They are derived: the publisher makes them anew."""
    Driven(tmp_path).log.close()
    publisher_of(tmp_path).run()
    for content in (b"\xff", b"", (tmp_path / "checkpoint").read_bytes().replace(b"\n2\n", b"\n9\n")):
        (tmp_path / "tiles/checkpoint").write_bytes(content)
        Driven(tmp_path).log.close()
    publisher_of(tmp_path).run()
    assert verify_log(tmp_path).verdict is Verdict.VERIFIED
