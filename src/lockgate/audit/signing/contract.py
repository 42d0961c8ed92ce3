"""What a signer of checkpoints is, wherever its key lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from lockgate.audit.checkpoint import Checkpoint, Verifier
from lockgate.errors import AuditError


class SignerAway(AuditError):
    """The signer cannot be reached or has not answered. The same request may be made again."""

    code = "audit.signer_away"


class SignerRefused(AuditError):
    """The signer answered that it will not sign this. Asking again is of no use."""

    code = "audit.signer_refused"


class Handover(NamedTuple):
    """The leaf of a change of keys, which is the last entry of the tree that the old key signed last, and its
    audit path there (RFC 6962 §2.1.1).
    """

    leaf: bytes
    path: tuple[bytes, ...]


class CheckpointSigner(Protocol):
    """Signs checkpoints of one log. Used by one thread at a time."""

    @property
    def verifier(self) -> Verifier:
        """The key that it signs with."""

    @property
    def lags(self) -> bool:
        """Whether it signs behind the commit instead of in it."""

    def last(self) -> Checkpoint | None:
        """The newest tree that it remembers having signed; None where it keeps no memory, or none yet.

        Raises `SignerAway`.
        """

    def sign(self, checkpoint: Checkpoint, proof: Sequence[bytes] = ()) -> str:
        """The signed note. `proof` leads from the tree that was signed last (RFC 6962 §2.1.2).

        Raises `SignerAway` or `SignerRefused`. A checkpoint that was signed before may be signed again.
        """
