"""Policy: rules compiled once, and one decision per request, independent of the rules' order."""

from lockgate.govern.policy.compiled import CompiledRule, on_connection
from lockgate.govern.policy.composition import compose
from lockgate.govern.policy.condition import Condition, Vocabulary, compile_condition, problem
from lockgate.govern.policy.policyset import MayHide, PolicySet, SessionFacts, View, hides_nothing
from lockgate.govern.policy.tokens import comparisons, tokens_of

__all__ = [
    "CompiledRule", "Condition", "MayHide", "PolicySet", "SessionFacts", "View", "Vocabulary", "comparisons",
    "compile_condition", "compose", "hides_nothing", "on_connection", "problem", "tokens_of",
]
