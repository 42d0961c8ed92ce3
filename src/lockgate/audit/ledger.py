"""The grammar of a log for start-up: `evidence.ledger`, with this package's errors."""

from __future__ import annotations

from typing import Any

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.ledger import LogLedger as Ledger
from lockgate.audit.evidence.ledger import Session
from lockgate.audit.failures import Tampered

__all__ = ["Ledger", "Session", "take", "take_session"]


def take(ledger: Ledger, index: int, record: dict[str, Any], leaf_hash: bytes) -> None:
    """Check one parsed leaf against everything before it (`Ledger.take`). Raises `Tampered`."""
    try:
        ledger.take(index, record, leaf_hash)
    except EvidenceError as error:
        raise _tampered(error, index) from None


def take_session(ledger: Ledger, index: int, record: dict[str, Any], leaf_hash: bytes) -> None:
    """As `Ledger.take_session`. Raises `Tampered`."""
    try:
        ledger.take_session(index, record, leaf_hash)
    except EvidenceError as error:
        raise _tampered(error, index) from None


def _tampered(error: EvidenceError, index: int) -> Tampered:
    at = index if error.index is None else error.index
    return Tampered(error.message, index=at, check=error.check, last=error.last)
