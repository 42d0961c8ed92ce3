"""Anchors: a real authority over HTTP, a real log, and a verifier that knows only the trust note."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.app.anchoring import Anchoring
from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.evidence.trust import TrustedAuthority, parse_trust
from lockgate.audit.signing.trust import draft_trust
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.verify import verify_log
from lockgate.config.endorsement import AnchorSettings
from lockgate.errors import AuditError, ConfigError
from testbed.timestamps import Authority
from tests.unit.audit.logs import Driven


def anchoring(url: str, folder: Path, certificates: Path) -> Anchoring:
    return Anchoring(AnchorSettings(url=url, certificates=certificates), folder, lambda: open_source(folder))


def verified(folder: Path, pinned: Path) -> Report:
    trust = parse_trust(draft_trust(folder, 1, None, [f"own={pinned}"]))
    assert trust.authorities == (TrustedAuthority("own", trust.authorities[0].fingerprint),)
    return verify_log(folder, trust=trust)


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_the_newest_checkpoint_is_time_stamped_and_verifies(tmp_path: Path, kind: str) -> None:
    """One anchor for each size that was met; both pins verify it; an altered one, or one of another log, is found."""
    authority, folder = Authority(tmp_path / "authority", kind), tmp_path / "log"
    Driven(folder).log.close()
    with authority.serving() as url:
        made = anchoring(url, folder, authority.folder / "chain.pem")
        made.run()
        made.run()
        Driven(folder).log.close()
        made.run()
        made.close()
    names = sorted(path.name for path in (folder / "anchors").iterdir())
    assert len(names) == 4
    report = verified(folder, authority.folder / "signer.pem")
    assert report.verdict is Verdict.VERIFIED, report.findings
    assert report.covered["anchors"][0].startswith("2 time-stamps, the newest by own of ")
    other = Authority(tmp_path / "other")
    assert verified(folder, other.folder / "signer.pem").verdict is Verdict.UNTRUSTED
    note = folder / "anchors" / names[0]
    note.write_bytes(note.read_bytes() + b"x")
    report = verified(folder, authority.folder / "signer.pem")
    assert (report.verdict, report.first and report.first.number) == (Verdict.TAMPERED, 11)


def test_an_answer_that_does_not_hold_is_not_kept(tmp_path: Path) -> None:
    """Another authority's answer, silence and rubbish leave no file; without a root nothing starts."""
    authority, other, folder = Authority(tmp_path / "a"), Authority(tmp_path / "b"), tmp_path / "log"
    Driven(folder).log.close()
    with other.serving() as url:
        made = anchoring(url, folder, authority.folder / "chain.pem")
        with pytest.raises(AuditError, match="does not hold"):
            made.run()
        made.close()
    made = anchoring("http://127.0.0.1:9/", folder, authority.folder / "chain.pem")
    with pytest.raises(AuditError, match="does not answer"):
        made.run()
    made.close()
    assert not (folder / "anchors").exists()
    with pytest.raises(ConfigError, match="no root"):
        anchoring("http://127.0.0.1:9/", folder, authority.folder / "signer.pem")
