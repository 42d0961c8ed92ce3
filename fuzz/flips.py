"""Every byte of an evidence package, flipped, one at a time: none may go undetected.

The package has everything in it (`tests/unit/audit/tampering/everything.py`). First each byte of the archive as it
is: headers, padding, manifest, and every file with the verifier among them. Then each byte of each file again, with a
manifest that was made to fit the change, as whoever alters a package would: signatures, proofs and hashes have to say
no. README and verifier are vouched for by the manifest alone, so they have no part in that.
"""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from lockgate.audit.evidence.archive import archive_members
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.package import _PackageRun, verify_package
from lockgate.audit.evidence.report import Report, Verdict
from lockgate.audit.evidence.signatures import Pins
from tests.unit.audit.packages import listed, members
from tests.unit.audit.tampering.everything import everything

BESIDE: Final = ("README.txt", "verify.py", "manifest.json")
"""Vouched for by the manifest alone, or the manifest."""
Place = tuple[str, int]
"""A file of the package and a byte in it; without a name, a byte of the archive."""


def flipped(data: bytes, place: int, bit: int) -> bytes:
    """The data with one bit of one byte changed."""
    changed = bytearray(data)
    changed[place] ^= bit
    return bytes(changed)


def is_found(package: bytes, pins: Pins) -> bool:
    """Whether the verdict is another than verified, without the checks behind the one that says no already."""
    report = Report("flipped")
    try:
        _PackageRun(report, io.BytesIO(package), pins).archive()
    except EvidenceError:
        return True
    return bool(report.findings) or verify_package(io.BytesIO(package), pins).verdict is not Verdict.VERIFIED


def places(package: bytes) -> Iterator[Place]:
    """Each byte that is flipped as it lies in the archive."""
    return (("", place) for place in range(len(package)))


def fitted_places(package: bytes) -> Iterator[Place]:
    """Each byte that is flipped under a manifest that fits."""
    return ((name, place) for name, data in members(package).items() if name not in BESIDE for place in range(len(data)))


def small_places(package: bytes, limit: int) -> set[Place]:
    """The bytes, as they lie in the archive, of files with at most so many of them."""
    return {("", place) for one in archive_members(io.BytesIO(package)) if one.size <= limit
            for place in range(one.offset, one.offset + one.size)}


def undetected(package: bytes, pins: Pins, chosen: Iterable[Place]) -> list[Place]:
    """Those of the places whose flipped byte nobody notices."""
    files, found = members(package), []
    for name, place in chosen:
        changed = (listed({**files, name: flipped(files[name], place, 1 << place % 7)}) if name
                   else flipped(package, place, 1 << place % 8))
        if not is_found(changed, pins):
            found.append((name, place))
    return found


def main(sample: int | None, seed: int) -> int:
    """Flip every byte, or `sample` of them in each of the two ways. The exit status: 1 where one went undetected."""
    with tempfile.TemporaryDirectory(prefix="lockgate-flips-") as folder:
        package, pins = everything(Path(folder))
    if is_found(package, pins):
        print("flips: the package is not verified before a byte of it is flipped")
        return 1
    missed = 0
    for how, every in (("as it is", list(places(package))), ("manifest fits", list(fitted_places(package)))):
        chosen = every if sample is None else random.Random(seed).sample(every, min(sample, len(every)))
        found = undetected(package, pins, chosen)
        missed += len(found)
        print(f"flips, {how:14s} {len(chosen):9,d} of {len(every):,d} bytes, {len(found)} undetected", flush=True)
        for name, place in found:
            print(f"  undetected: byte {place} of {name or 'the archive'}")
    return 1 if missed else 0
