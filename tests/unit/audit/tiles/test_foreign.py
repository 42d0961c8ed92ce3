"""Foreign verifiers on what the gateway's own log published: Go's checksum database code, and tlog-scales from PyPI.

Each must accept logs of every interesting size, and refuse a seeded fault; neither knows Lockgate.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tlog import ConsistencyProofInvalid, InclusionProofInvalid

from lockgate.audit.checkpoint import Checkpoint, Signer
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.keys import load_or_create, read_verifier
from lockgate.audit.tiles.proof import prove
from lockgate.audit.tiles.reader import Tiles, fetch_from
from lockgate.audit.tiles.verify import verify_tiles
from lockgate.audit.tree import leaf_hash
from tests.unit.audit.logs import ORIGIN, Driven, intent
from tests.unit.audit.tiles.published import publisher_of

SIZES = (1, 255, 256, 257, 65_536, 70_000)
PROGRAM = Path(__file__).parents[3] / "data" / "tilecheck.go"
GOPATH = Path("/usr/share/gocode")


class Published:
    """One log that grew: `folder` is the store's, `grown` the tiles published at each size on the way,
    `at(size)` those of a publication made at once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "log.vkey"
        self.grown = folder / "tiles"

    def at(self, size: int) -> Path:
        return self.folder / f"at-{size}"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """A log that `AuditLog` wrote, published whenever it had one of the sizes."""
    made = Published(tmp_path_factory.mktemp("foreign") / "audit")
    driven = Driven(made.folder, queue=100_000)
    grown = publisher_of(made.folder)
    for size in SIZES:
        if size > 1 and driven.log.size == 1:
            driven.begin("s" * 16)
        while driven.log.size + driven.log.queued < size - 1:
            driven.log.intent(intent("s" * 16, decision="deny", refusal="denied"), None)
        if driven.log.size < size:
            driven.intent("s" * 16, decision="deny", refusal="denied")
        assert driven.log.size == size
        grown.run()
        publisher_of(made.folder, made.at(size)).run()
    yield made
    driven.log.close()


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The Go reader, built from Debian's packages alone."""
    if shutil.which("go") is None or not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("Go or its x/mod is not installed: run scripts/install-test-packages")
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOPROXY": "off", "GOFLAGS": "",
                   "CGO_ENABLED": "0", "GOCACHE": str(folder / "cache")}
    subprocess.run(["go", "build", "-o", str(folder / "tilecheck"), str(PROGRAM)], check=True, env=environment, timeout=100)

    def run(tiles: Path, key: Path, *sizes: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(folder / "tilecheck"), str(tiles), str(key), *map(str, sizes)],
                              capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize("size", SIZES)
def test_go_accepts_a_log_of_any_size(
    log: Published, go: Callable[..., subprocess.CompletedProcess[str]], size: int
) -> None:
    """Note, tiles, root, entries, inclusion and consistency with every smaller size that was published."""
    done = go(log.at(size), log.key, *(older for older in SIZES if older <= size))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"ACCEPTED {size} entries, ")


def test_go_accepts_a_log_that_was_published_as_it_grew(
    log: Published, go: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Six publications into one folder are as good as one."""
    done = go(log.grown, log.key, *SIZES)
    assert done.returncode == 0, done.stdout + done.stderr


def alter(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def forge(tiles: Path, note: str) -> None:
    (tiles / "checkpoint").write_text(note)


@pytest.fixture
def copy(log: Published, tmp_path: Path) -> Path:
    return Path(shutil.copytree(log.at(257), tmp_path / "tiles"))


def faults(log: Published, copy: Path) -> dict[str, Callable[[], None]]:
    """What is done to a publication of 257 entries, by name."""
    ours = load_or_create(log.folder, ORIGIN, may_create=False)
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    return {
        "leaf tile": lambda: alter(copy / "tile/0/000", 32 * 100 + 5),
        "upper tile": lambda: alter(copy / "tile/1/000.p/1", 0),
        "bundle": lambda: alter(copy / "tile/entries/000", 40),
        "forged root": lambda: forge(copy, ours.sign(Checkpoint(ORIGIN, 257, bytes(32)))),
        "another key": lambda: forge(copy, other.sign(Checkpoint(ORIGIN, 257, bytes(32)))),
        "signature": lambda: alter(copy / "checkpoint", len((copy / "checkpoint").read_bytes()) - 20),
    }


FAULTS = ("leaf tile", "upper tile", "bundle", "forged root", "another key", "signature")


@pytest.mark.parametrize("fault", FAULTS)
def test_go_refuses_a_seeded_fault(
    log: Published, go: Callable[..., subprocess.CompletedProcess[str]], copy: Path, fault: str
) -> None:
    """One changed byte, a forged root, another key: so its acceptance means something."""
    faults(log, copy)[fault]()
    done = go(copy, log.key, 255)
    assert done.returncode == 1
    assert done.stdout.startswith("REFUSED")


class Refused(Exception):
    """tlog-scales did not accept the log."""


def scales(tiles: Path, key: Path) -> int:
    """Everything that tlog-scales checks: note, root, entries against proofs, consistency. Returns the size."""
    try:
        reader = TilesReader(LocalBackend(tiles))
        checkpoint = reader.get_checkpoint()
        checkpoint.verify(Vkey.from_string(key.read_text().strip()))
        if reader.calculate_root_hash() != checkpoint.root_hash:
            raise Refused
        step = checkpoint.size // 40 + 1
        for index in sorted({*range(0, checkpoint.size, step), checkpoint.size - 1}):
            proof = reader.get_inclusion_proof(index, checkpoint.size)
            proof.check(leaf_hash(reader.get_entry(index)), checkpoint.root_hash)
        for older in {*range(1, checkpoint.size, step), *(size for size in SIZES if size <= checkpoint.size)}:
            proof = reader.get_consistency_proof(older, checkpoint.size)
            proof.check(reader.mth(0, older), checkpoint.root_hash)
        return int(checkpoint.size)
    except (RuntimeError, ValueError, InvalidSignature, InclusionProofInvalid, ConsistencyProofInvalid) as error:
        raise Refused from error


@pytest.mark.parametrize("size", SIZES)
def test_tlog_scales_accepts_a_log_of_any_size(log: Published, size: int) -> None:
    """The same logs, read by another implementation."""
    assert scales(log.at(size), log.key) == size


def test_tlog_scales_makes_the_same_proofs(log: Published) -> None:
    """A proof file of ours holds, hash by hash, what another implementation finds in the same tiles."""
    reader = TilesReader(LocalBackend(log.grown))
    note = (log.grown / "checkpoint").read_text()
    size = reader.get_checkpoint().size
    tiles = Tiles(fetch_from(log.grown), size)
    for index in (0, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999):
        made = prove(tiles, index, note, read_verifier(log.key))
        assert list(made.path) == reader.get_inclusion_proof(index, size).node_hashes
        assert made.leaf == reader.get_entry(index)
    for older in SIZES:
        assert tiles.consistency(older, size) == reader.get_consistency_proof(older, size).node_hashes


@pytest.mark.parametrize("fault", FAULTS)
def test_tlog_scales_refuses_a_seeded_fault(log: Published, copy: Path, fault: str) -> None:
    """As with Go: each fault is one that it looks for."""
    faults(log, copy)[fault]()
    if fault == "bundle":       # it reads the bytes of the entries that it samples only
        alter(copy / "tile/entries/000", 40)
        alter(copy / "tile/entries/000", 2)
    with pytest.raises(Refused):
        scales(copy, log.key)


@pytest.mark.parametrize("size", SIZES)
def test_our_own_verifier_agrees(log: Published, size: int) -> None:
    """And reads more: the grammar of every record."""
    report = verify_tiles(fetch_from(log.at(size)), str(log.at(size)), key=log.key)
    assert (report.verdict, report.entries) == (Verdict.VERIFIED, size)
