"""Published logs whose key was changed: published on, verified by the newest key or by a trust note."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.audit.evidence.report import Verdict
from lockgate.audit.evidence.trust import Trust, parse_trust
from lockgate.audit.failures import Tampered
from lockgate.audit.keys import read_verifier
from lockgate.audit.signing.trust import draft_trust
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tiles.disk import Disk
from lockgate.audit.tiles.publisher import Publisher
from lockgate.audit.tiles.reader import fetch_from
from lockgate.audit.tiles.verify import verify_tiles
from tests.unit.audit.logs import Driven, change_key, edit, sample
from tests.unit.audit.tiles.published import publisher_of


class Lasting(Disk):
    """A disk from which nothing may be withdrawn."""

    def withdraw(self) -> None:
        raise AssertionError("what was published counts")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log that was published, then got a new key, and went on for a session."""
    folder = tmp_path / "audit"
    sample(folder)
    publisher_of(folder).run()
    (tmp_path / "old.vkey").write_bytes((folder / "log.vkey").read_bytes())
    (tmp_path / "kept").write_bytes((folder / "tiles/checkpoint").read_bytes())
    change_key(folder)
    driven = Driven(folder)
    driven.begin("c" * 16)
    driven.log.close()
    return folder


def published(log: Path) -> Path:
    Publisher(lambda: open_source(log), read_verifier(log / "log.vkey"), Lasting(log / "tiles")).run()
    return log / "tiles"


def trust(log: Path, *replaced: tuple[str, str]) -> Trust:
    text = draft_trust(log, 1, None, ())
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return parse_trust(text)


def test_publishing_goes_on_under_the_new_key(log: Path) -> None:
    """What the old key published is continued, not made anew."""
    tiles = published(log)
    report = verify_tiles(fetch_from(tiles), str(tiles), key=log / "log.vkey",
                          against=(log.parent / "kept").read_text())
    assert report.findings == []
    assert report.entries > 16


def test_what_the_old_key_published_still_binds(log: Path) -> None:
    """A store that lost an entry of before the change is not published over it."""
    edit(log, "DELETE FROM entries WHERE idx = 3", "UPDATE entries SET idx = idx - 1 WHERE idx > 3")
    evidence = (log / "tiles/checkpoint").read_bytes()
    with pytest.raises(Tampered):
        published(log)
    assert (log / "tiles/checkpoint").read_bytes() == evidence


def test_the_old_key_alone_vouches_for_nothing_newer(log: Path) -> None:
    """Untrusted: the checkpoint is by a key that whoever pinned the old one never saw. It says what to pin."""
    tiles = published(log)
    report = verify_tiles(fetch_from(tiles), str(tiles), key=log.parent / "old.vkey")
    assert report.verdict is Verdict.UNTRUSTED
    assert "pin the newest key, or give --trust and --root" in report.findings[0].message


def test_a_trust_note_says_which_key_counts_for_which_size(log: Path) -> None:
    """With the organisation's note both keys are known; one that tells of another change is not this log's."""
    tiles = published(log)
    against = (log.parent / "kept").read_text()
    report = verify_tiles(fetch_from(tiles), str(tiles), trust=trust(log), against=against)
    assert (report.findings, report.is_key_pinned) == ([], True)
    wrong = trust(log, ("1-18", "1-17"), ("19-", "18-"))
    report = verify_tiles(fetch_from(tiles), str(tiles), trust=wrong)
    assert report.verdict is Verdict.UNTRUSTED
