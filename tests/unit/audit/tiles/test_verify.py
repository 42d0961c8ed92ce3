"""The verifier of published logs: every byte matters, and each finding has its entry."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.checkpoint import Checkpoint, Signer
from lockgate.audit.evidence.report import Report, Verdict, checklist
from lockgate.audit.evidence.trust import parse_trust
from lockgate.audit.failures import Absent, MalformedEntry
from lockgate.audit.keys import load_or_create
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tiles.layout import unbundle
from lockgate.audit.tiles.reader import fetch_from
from lockgate.audit.tiles.verify import verify_tiles
from lockgate.audit.tree import leaf_hash, tree_root
from lockgate.errors import AuditError
from tests.unit.audit.evidence.keys import W1, W2, W3, NoteSigner
from tests.unit.audit.logs import ORIGIN, Driven, sample
from tests.unit.audit.tiles.published import expected, files, publisher_of


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sample log that was published."""
    folder = tmp_path_factory.mktemp("tiles") / "audit"
    sample(folder)
    publisher_of(folder).run()
    return folder


def check(log: Path, there: dict[str, bytes], against: str | None = None) -> Report:
    def fetch(path: str, limit: int) -> bytes:
        if path not in there:
            raise Absent(path)
        if len(there[path]) > limit:
            raise MalformedEntry(path)
        return there[path]

    return verify_tiles(fetch, "memory", key=log / "log.vkey", against=against)


def signed(log: Path, *entries: bytes) -> dict[str, bytes]:
    """The publication that the log's own key makes of these entries."""
    signer = load_or_create(log, ORIGIN, may_create=False)
    note = signer.sign(Checkpoint(ORIGIN, len(entries), tree_root([leaf_hash(entry) for entry in entries])))
    return {**expected(entries), "checkpoint": note.encode()}


def test_a_published_log_verifies(log: Path) -> None:
    """Entries, tiles, sessions; the texts are withheld, and said to be."""
    report = verify_tiles(fetch_from(log / "tiles"), str(log / "tiles"), key=log / "log.vkey")
    assert report.findings == []
    assert (report.entries, report.sessions, report.open_sessions, report.intents) == (16, 2, 0, 4)
    assert report.origin == ORIGIN
    assert report.withheld == 8
    unpinned = verify_tiles(fetch_from(log / "tiles"), str(log / "tiles"))
    assert (unpinned.verdict, unpinned.is_key_pinned) == (Verdict.VERIFIED, False)


def test_every_check_says_what_it_covered(log: Path) -> None:
    """A publication has no recordings, no time-stamps and no erasure; without a kept checkpoint nothing to compare with."""
    said = {name: (status, line) for _, name, status, line in checklist(check(log, files(log / "tiles")))}
    assert {name for name, (status, _) in said.items() if status == "none"} == {
        "consistency", "recordings", "anchors", "holds"}
    assert said["uncosigned"] == ("ok", "16 of 16 entries")
    assert said["commitments"][1].endswith("withheld (a published log holds commitments only)")


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    """One bit in any byte of any published file, one at a time."""
    driven = Driven(tmp_path)
    driven.begin("s")
    driven.log.close()
    publisher_of(tmp_path).run()
    there = files(tmp_path / "tiles")
    for path, content in there.items():
        for at in range(len(content)):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            assert check(tmp_path, {**there, path: bytes(changed)}).verdict is not Verdict.VERIFIED, (path, at)


def test_the_altered_entry_is_named(log: Path) -> None:
    """In an entry, in its hash, or in a whole other history: the first index that is wrong."""
    there = files(log / "tiles")
    bundle, tile = "tile/entries/000.p/16", "tile/0/000.p/16"
    report = check(log, {**there, bundle: there[bundle].replace(b"public.customers", b"public.customerz", 1)})
    assert report.first is not None
    assert (report.verdict, report.first.index, report.first.check) == (Verdict.TAMPERED, 3, "tiles")
    report = check(log, {**there, tile: there[tile][:160] + bytes(32) + there[tile][192:]})
    assert report.first is not None
    assert (report.verdict, report.first.index) == (Verdict.TAMPERED, 5)


def test_what_the_key_signs_must_still_be_a_log(log: Path) -> None:
    """Who holds the key cannot drop a record of a session, or publish what is no record."""
    entries = _entries(log)
    for dropped, index in ((4, 4), (3, 3), (12, 12)):
        report = check(log, signed(log, *entries[:dropped], *entries[dropped + 1 :]))
        assert report.first is not None
        assert (report.verdict, report.first.index) == (Verdict.TAMPERED, index)
    report = check(log, signed(log, *entries, b"{}"))
    assert report.first is not None
    assert (report.first.index, report.first.check) == (16, "leaf grammar")


def _entries(log: Path) -> list[bytes]:
    return unbundle((log / "tiles/tile/entries/000.p/16").read_bytes(), 16)


def test_missing_files_are_incomplete(log: Path) -> None:
    """It cannot be told: no checkpoint, no bundle, no tile."""
    there = files(log / "tiles")
    for path in there:
        report = check(log, {other: content for other, content in there.items() if other != path})
        assert report.verdict is Verdict.INCOMPLETE, path
    assert check(log, {}).verdict is Verdict.INCOMPLETE


def test_what_cannot_be_fetched_is_incomplete(log: Path) -> None:
    """A server that stops answering is no proof of tampering, and no traceback."""
    there = files(log / "tiles")

    def fetch(path: str, _: int) -> bytes:
        if path != "checkpoint":
            raise AuditError("no answer in time")
        return there[path]

    report = verify_tiles(fetch, "https://log.test", key=log / "log.vkey")
    assert report.verdict is Verdict.INCOMPLETE


def test_the_quorum_that_a_trust_note_asks_for_has_cosigned(tmp_path: Path) -> None:
    """A log that is published without it is untrusted, whoever signed it; with it, only what was cosigned is vouched for."""
    folder = tmp_path / "audit"
    sample(folder)
    publisher_of(folder).run()
    text = (f"lockgate/trust/v1\nserial 1\nlog {(folder / 'log.vkey').read_text().strip()} 1-\n"
            f"witness w1 {W1.vkey}\nwitness w2 {W2.vkey}\ngroup both all w1 w2\nquorum both\n")

    def report(against: str | None = None) -> Report:
        return verify_tiles(fetch_from(folder / "tiles"), "tiles", trust=parse_trust(text), against=against)

    def cosigned(size: int, *witnesses: NoteSigner, root: bytes | None = None) -> str:
        entries = [leaf_hash(leaf) for _, _, leaf in leaves]
        note = load_or_create(folder, ORIGIN, may_create=False).sign(Checkpoint(ORIGIN, size, root or tree_root(entries[:size])))
        return note + "".join(witness.cosign(note.partition("\n\n")[0] + "\n") for witness in witnesses)

    with open_source(folder) as source:
        leaves = list(source.leaves())
    assert (report().verdict, report().first and report().first.check) == (Verdict.UNTRUSTED, "quorum")
    assert report(cosigned(9, W1, W2)).findings == []       # kept by whoever asks
    for note, verdict, check in ((cosigned(9, W1), Verdict.UNTRUSTED, "quorum"),
                                 (cosigned(9, W1, W2, W3), Verdict.UNTRUSTED, "quorum"),
                                 (cosigned(9, W1, W2, root=bytes(32)), Verdict.UNTRUSTED, "quorum"),
                                 (cosigned(99, W1, W2, root=bytes(32)), Verdict.UNTRUSTED, "quorum")):
        (folder / "tiles/cosigned").write_text(note)
        found = report()
        assert (found.verdict, found.first and found.first.check) == (verdict, check)
    (folder / "cosigned").write_text(cosigned(12, W1, W2))
    publisher_of(folder).run()
    assert (report().findings, report().cosigned) == ([], 12)
    (folder / "cosigned").write_text(cosigned(99, W1, W2, root=bytes(32)))      # not published yet
    publisher_of(folder).run()
    assert (report().findings, report().cosigned) == ([], 12)


def test_another_key_is_untrusted(log: Path, tmp_path: Path) -> None:
    """A note by a key that nobody pinned, and a URL without a pinned key."""
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    (tmp_path / "other.vkey").write_text(f"{other.verifier}\n")
    report = verify_tiles(fetch_from(log / "tiles"), str(log / "tiles"), key=tmp_path / "other.vkey")
    assert report.verdict is Verdict.UNTRUSTED
    assert verify_tiles(fetch_from(log / "tiles"), "https://log.test/").verdict is Verdict.UNTRUSTED


def test_a_kept_checkpoint_contradicts_a_rewritten_or_rolled_back_log(log: Path) -> None:
    """The key signs both; only what was kept elsewhere tells them apart."""
    entries = _entries(log)
    kept = signed(log, *entries[:12])["checkpoint"].decode()
    assert check(log, files(log / "tiles"), kept).covered["consistency"] == ["12 entries, still the first ones"]
    forged = signed(log, *entries[:11], entries[12])["checkpoint"].decode()
    report = check(log, files(log / "tiles"), forged)
    assert report.verdict is Verdict.TAMPERED
    longer = signed(log, *entries, b"{}")["checkpoint"].decode()
    report = check(log, files(log / "tiles"), longer)
    assert report.first is not None
    assert (report.verdict, report.first.index, report.first.check) == (Verdict.TAMPERED, 16, "kept checkpoint")
