"""One package with everything in it that a package can hold: the flips have no byte left that none of them touches.

A recording, an erased payload, a review, holds; two changes of the key; a trust note of the organisation with a quorum of
witnesses; a checkpoint that they cosigned; a time-stamp; the README and the verifier.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.signing.trust import draft_trust
from tests.unit.audit.evidence.keys import W1, W2
from tests.unit.audit.packages import exported
from tests.unit.audit.tampering import honest as log
from tests.unit.audit.tampering.archives import ANCHORED, CHANGED, COSIGNED, ROOT, Honest

FILES = ("manifest.json", "README.txt", "verify.py", "leaves.jsonl", "payloads.jsonl", "checkpoint", "trust.note", "cosigned",
         f"recordings/{log.A}/sql.rec", f"anchors/{ANCHORED}.tsr", f"rotations/{CHANGED[0] + 1}.checkpoint")
"""Some of what has to be there."""


def everything(folder: Path) -> tuple[bytes, Pins]:
    """The package, and what its auditor has pinned: the root key."""
    made = Honest(log.honest(folder / "log"))
    forge, rotated = made.rotated, folder / "rotated" / "log"
    log.record(rotated, log.CHUNKS)
    (rotated / "anchors").mkdir()
    note = made.forge.sign(ANCHORED, forge.root(ANCHORED))      # the first key's, as the first change is behind it
    (rotated / "anchors" / f"{ANCHORED}.checkpoint").write_text(note)
    (rotated / "anchors" / f"{ANCHORED}.tsr").write_bytes(made.stamp(note))
    forge.signer = log.another_signer(1)
    signed = forge.sign(COSIGNED, forge.root(COSIGNED))
    text = signed.partition("\n\n")[0] + "\n"
    (rotated / "cosigned").write_text(signed + W1.cosign(text, 1_700_000_000) + W2.cosign(text, 1_700_000_000))
    certificate = folder / "tsa.pem"
    certificate.write_bytes(made.authorities[0].certificate.public_bytes(Encoding.PEM))
    policy = f"witness one {W1.vkey}\nwitness two {W2.vkey}\ngroup both all one two\nquorum both\n"
    draft = draft_trust(rotated, 1, policy, [f"acme={certificate}"])
    (rotated / "trust.note").write_text(f"{draft}\n{ROOT.line(draft)}")
    return exported(rotated), made.root
