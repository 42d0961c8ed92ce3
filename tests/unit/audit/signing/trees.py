"""Small logs as trees, and signers in processes and threads of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from lockgate.audit.checkpoint import Checkpoint
from lockgate.audit.tree import consistency_proof, tree_root

ORIGIN = "lockgate.test/log"


def leaves(count: int, seed: str = "") -> list[bytes]:
    """Leaf hashes."""
    return [sha256(f"{seed}{index}".encode()).digest() for index in range(count)]


def tree(size: int, seed: str = "") -> Checkpoint:
    """A log of this many entries."""
    return Checkpoint(ORIGIN, size, tree_root(leaves(size, seed)))


def growth(old: int, new: int, seed: str = "") -> list[bytes]:
    """That it grew so."""
    return consistency_proof(old, leaves(new, seed)) if 0 < old < new else []


@contextmanager
def signer_process(key: Path, socket: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`lockgate audit signer`, ready to sign."""
    child = subprocess.Popen(
        [sys.executable, "-c", "from lockgate.cli.main import main; main()", "audit", "signer", "--origin", ORIGIN,
         "--key", str(key), "--socket", str(socket), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("signing "), child.stderr.read() if child.stderr else ""
        yield child
    finally:
        child.terminate()
        child.wait(10)
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
