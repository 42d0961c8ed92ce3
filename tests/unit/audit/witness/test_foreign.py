"""What our witness signs, judged by another implementation."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.tlog import Checkpoint

from lockgate.audit.witness.memory import Memory
from lockgate.audit.witness.witness import Witness
from tests.unit.audit.evidence.keys import LOG
from tests.unit.audit.witness.test_witness import NOW, ask, note


def test_tlog_scales_accepts_the_log_and_its_witness(tmp_path: Path) -> None:
    """A cosigned note has two valid signatures for a foreign verifier, and none over another tree."""
    memory = Memory(tmp_path / "w")
    witness = Witness("witness.test/own", Ed25519PrivateKey.generate(), [LOG.key], memory, lambda: NOW)
    answer = witness.add_checkpoint(ask(0, 9))
    keys = VkeySet(Vkey.from_string(LOG.vkey), Vkey.from_string(witness.key.vkey))
    signatures = note(9).partition("\n\n")[2] + answer.body.decode()
    for size, valid in ((9, 2), (8, 0)):
        text = f"{note(size).partition(chr(10) * 2)[0]}\n\n{signatures}"
        checkpoint = Checkpoint.from_text(text)
        assert len(keys.verify(checkpoint.signatures, checkpoint)) == valid
    memory.close()
