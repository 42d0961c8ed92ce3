"""The words: frozen values that every layer shares. No behaviour, no I/O, imports only `errors`."""

from lockgate.model.activity import Activity, Exported
from lockgate.model.decision import Decision, Effect, Refusal, RefusalCode
from lockgate.model.definition import Definition
from lockgate.model.identity import Identity
from lockgate.model.operation import Operation
from lockgate.model.policy import (
    UNLIMITED,
    AuditMode,
    ColumnMask,
    CustomDetector,
    DetectMask,
    KeyScope,
    MaskMethod,
    Predicates,
    Rate,
    RequestAction,
    RequestCheck,
    ReviewMode,
    ReviewTerms,
    RowLimits,
    Rule,
    Who,
)
from lockgate.model.record import Erasure, Event, Intent, KeyChange, Outcome, OutcomeStatus, SessionStart
from lockgate.model.review import ERASURE_RULE, ErasureState, Review, ReviewState
from lockgate.model.secret import Secret

__all__ = [
    "ERASURE_RULE", "UNLIMITED", "Activity", "AuditMode", "ColumnMask", "CustomDetector", "Decision", "Definition", "DetectMask", "Effect", "Erasure",
    "ErasureState", "Event", "Exported", "Identity", "Intent", "KeyChange", "KeyScope", "MaskMethod", "Operation", "Outcome", "OutcomeStatus",
    "Predicates", "Rate", "Refusal", "RefusalCode", "RequestAction", "RequestCheck", "Review", "ReviewMode", "ReviewState",
    "ReviewTerms", "RowLimits", "Rule", "Secret", "SessionStart", "Who",
]
