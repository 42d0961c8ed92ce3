"""Handing an open log over to its next key, in whichever process writes it: a gateway's, or a command's own."""

from __future__ import annotations

from pathlib import Path

from lockgate.audit.leaves import Fields
from lockgate.audit.signing.opening import Settings
from lockgate.audit.signing.rotation import prepare_rotation
from lockgate.audit.writer import Writer


def hand_over(writer: Writer, folder: Path, settings: Settings, now: float, who: Fields) -> None:
    """Steps 2 and 3 of `rotation`, for the key that step 1 has prepared. `who` is the payload of the leaf.

    Raises `AuditError`: what is on the disk then is finished by the next start, and the writer not used again.
    """
    successor = prepare_rotation(folder, writer.origin, settings)
    handover = writer.rotate(now, successor.verifier, who)
    writer.go_on(successor.install(folder, handover))
