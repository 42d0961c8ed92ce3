"""The grammar of a log for start-up and the folder's verifier: `evidence.ledger` with this package's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lockgate.audit.evidence import ledger
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.ledger import Session
from lockgate.audit.failures import Tampered

__all__ = ["Ledger", "Session"]


class Ledger(ledger.LogLedger):
    """As `evidence.ledger.LogLedger`; `take` raises `Tampered`."""

    def take(self, index: int, record: Mapping[str, Any], leaf_hash: bytes) -> None:
        """Check one parsed leaf against everything before it."""
        try:
            super().take(index, record, leaf_hash)
        except EvidenceError as error:
            at = index if error.index is None else error.index
            raise Tampered(error.message, index=at, check=error.check, last=error.last) from None
