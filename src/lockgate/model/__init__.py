"""The words: frozen values that every layer shares. No behaviour, no I/O, imports only `errors`."""

from lockgate.model.decision import Decision, Effect, Refusal, RefusalCode
from lockgate.model.identity import Identity
from lockgate.model.operation import Operation
from lockgate.model.policy import (
    AuditMode,
    ColumnMask,
    CustomDetector,
    DetectMask,
    MaskMethod,
    ReviewMode,
    ReviewTerms,
    Rule,
    Who,
)
from lockgate.model.record import Event, Intent, Outcome, OutcomeStatus, SessionStart
from lockgate.model.review import Review, ReviewState
from lockgate.model.secret import Secret

__all__ = [
    "AuditMode", "ColumnMask", "CustomDetector", "Decision", "DetectMask", "Effect", "Event", "Identity", "Intent",
    "MaskMethod", "Operation", "Outcome", "OutcomeStatus", "Refusal", "RefusalCode", "Review",
    "ReviewMode", "ReviewState", "ReviewTerms", "Rule", "Secret", "SessionStart", "Who",
]
