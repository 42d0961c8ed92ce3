"""Every byte of a package, flipped one at a time: none goes undetected, whoever makes the manifest fit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fuzz.flips import fitted_places, flipped, is_found, places, small_places, undetected
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.packaging import export
from tests.unit.audit.logs import Driven, review_events, sample
from tests.unit.audit.logs import binding as bound
from tests.unit.audit.packages import check, exported, members
from tests.unit.audit.tampering.everything import FILES, everything

DAY = 86_400
SMALL = 1_024       # bytes of a file that counts as small


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


def test_every_byte_flipped_is_detected(small: tuple[bytes, str]) -> None:
    """One flipped bit in any byte of the archive: headers, padding, manifest and every file."""
    package, key = small
    assert check(package, key).verdict is Verdict.VERIFIED
    assert undetected(package, Pins(key), places(package)) == []


def test_every_byte_flipped_is_detected_though_the_manifest_fits(small: tuple[bytes, str]) -> None:
    """The manifest is not what holds: with one that fits the change, signatures, proofs and hashes say no."""
    package, key = small
    assert undetected(package, Pins(key), fitted_places(package)) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Pins]:
    """A package with everything that there is, as it is exported."""
    return everything(tmp_path_factory.mktemp("whole"))


def test_a_flip_is_detected_in_a_package_with_everything(whole: tuple[bytes, Pins]) -> None:
    """Recordings, trust note, cosignatures, time-stamps, changes of keys, README and verifier: each byte of the small files,
    and of the rest others every day. `make fuzz ARGS=flips` takes all."""
    package, pins = whole
    assert set(FILES) <= set(members(package))
    assert not is_found(package, pins)
    today = int(time.time()) // DAY
    chosen = small_places(package, SMALL) | set(list(places(package))[today % 251::251])
    assert undetected(package, pins, sorted(chosen)) == []
    assert undetected(package, pins, list(fitted_places(package))[today % 29::29]) == []


def test_a_byte_that_nobody_vouches_for_is_named(whole: tuple[bytes, Pins]) -> None:
    """A search that cannot fail proves nothing: under a manifest that fits, nothing else speaks for the README."""
    package, pins = whole
    assert undetected(package, pins, [("README.txt", 5), ("checkpoint", 5)]) == [("README.txt", 5)]


def test_bytes_of_a_real_package_flipped_are_detected(tmp_path: Path) -> None:
    """A package with the whole verifier in it: a byte in every 500."""
    sample(tmp_path / "log")
    package, key = exported(tmp_path / "log"), (tmp_path / "log" / "log.vkey").read_text()
    assert all(is_found(flipped(package, place, 0x20), Pins(key)) for place in range(7, len(package), 499))


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
