"""Every byte of a package, flipped one at a time: none goes undetected, whoever makes the manifest fit."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.package import _PackageRun
from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.packaging import export
from tests.unit.audit.logs import Driven, review_events, sample
from tests.unit.audit.logs import binding as bound
from tests.unit.audit.packages import check, exported, listed, members

BESIDE = ("README.txt", "verify.py", "manifest.json")   # vouched for by the manifest alone, or the manifest


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """A package with every kind of file, as small as one gets: a session in the middle of a log, with a review
    before it."""
    folder = tmp_path_factory.mktemp("flips") / "log"
    driven = Driven(folder)
    for event in review_events("T1", "alice", "carol"):
        driven.log.event(event)
    driven.begin("a")
    driven.run("a", "DELETE FROM customers", decision="review", ticket="T1",
               binding=bound("alice", "DELETE FROM customers"))
    driven.log.end_session("a", "closed")
    driven.log.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "standalone", lambda: "")
        patch.setattr(export, "_README", "")
        return exported(folder, session="a"), (folder / "log.vkey").read_text()


def is_found(package: bytes, key: str) -> bool:
    """As the verdict, without the checks behind the one that says no already."""
    report = Report("flipped")
    try:
        _PackageRun(report, io.BytesIO(package), Pins(key)).archive()
    except EvidenceError:
        return True
    return bool(report.findings) or check(package, key).verdict is not Verdict.VERIFIED


def flipped(data: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= bit
    return bytes(changed)


def test_every_byte_flipped_is_detected(small: tuple[bytes, str]) -> None:
    """One flipped bit in any byte of the archive: headers, padding, manifest and every file."""
    package, key = small
    assert check(package, key).verdict is Verdict.VERIFIED
    missed = [place for place in range(len(package)) if is_found(flipped(package, place, 1 << place % 8), key) is False]
    assert missed == []


def test_every_byte_flipped_is_detected_though_the_manifest_fits(small: tuple[bytes, str]) -> None:
    """The manifest is not what holds: with one that fits the change, signatures, proofs and hashes say no."""
    package, key = small
    files = members(package)
    missed = []
    for name, data in files.items():
        for place in range(len(data) if name not in BESIDE else 0):
            changed = listed({**files, name: flipped(data, place, 1 << place % 7)})
            if check(changed, key).verdict is Verdict.VERIFIED:
                missed.append((name, place))
    assert missed == []


def test_bytes_of_a_real_package_flipped_are_detected(tmp_path: Path) -> None:
    """A package with the whole verifier in it: a byte in every 500."""
    sample(tmp_path / "log")
    package, key = exported(tmp_path / "log"), (tmp_path / "log" / "log.vkey").read_text()
    assert all(is_found(flipped(package, place, 0x20), key) for place in range(7, len(package), 499))


@pytest.mark.parametrize("end", [0, 1, 511, 512, 5000, -1, -512, -1024])
def test_a_package_that_ends_early_is_not_verified(small: tuple[bytes, str], end: int) -> None:
    """Whatever is cut off is missed."""
    package, key = small
    assert check(package[:end], key).verdict is not Verdict.VERIFIED


@pytest.mark.parametrize("more", [b"\0", b"\0" * 512, b"x", b"\0" * 9216])
def test_nothing_may_stand_behind_a_package(small: tuple[bytes, str], more: bytes) -> None:
    """Not even the zeros with which tar fills a record."""
    package, key = small
    assert check(package + more, key).verdict is Verdict.TAMPERED
