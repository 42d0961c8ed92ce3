"""What the pipeline says itself to a client whose request does not go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from lockgate.model import Decision, Identity, Operation, Refusal, RefusalCode

_GROUPS: Final = 10
_GROUP: Final = 64           # characters of a group's name
INTERNAL: Final = Refusal(
    RefusalCode.INTERNAL,
    "the gateway could not judge this request, so it was not let through",
    hint="Nothing was executed. Tell those who run the gateway; its log says which stage failed.",
)
NOT_COSIGNED: Final = Refusal(
    RefusalCode.AUDIT_UNAVAILABLE, "the audit log is not cosigned by its witnesses, so nothing new is let through",
    hint="Try again in a minute; if it lasts, tell those who run the gateway.",
)
AUDIT_UNAVAILABLE: Final = Refusal(
    RefusalCode.AUDIT_UNAVAILABLE,
    "the gateway cannot write its audit log, so nothing is let through",
    hint="Nothing was executed. Tell those who run the gateway, then try again later.",
)
LOOKUPS_SPENT: Final = Refusal(
    RefusalCode.DENIED,
    "it compares a masked column with more constants than policy leaves for this hour: as many have been looked up",
    hint="Each constant counts, and nothing of this statement was counted or executed. Send fewer, try again later, find "
         "the rows by another column, or ask those who own the policy.",
)
EXPIRED: Final = Refusal(
    RefusalCode.EXPIRED,
    "the token or certificate that this session logged in with has expired",
    hint="Get a new one and connect again.",
)


def denial(decision: Decision, operation: Operation | None = None, untold: Sequence[str] = ()) -> Refusal:
    """A policy's `deny`, worded for the client. An effect that cannot be known counts as every effect, and a rule whose
    condition cannot be told counts as met (`untold`: the facts that were missing for it): whoever reads the rule's reason for
    that is told so.
    """
    is_opaque = operation is not None and bool(operation.facts.get("is_opaque"))
    why = ""
    if is_opaque:
        why = "What this would do cannot be known beforehand, so it counts as doing everything. "
    elif untold:
        why = (f"What the rule asks about ({', '.join(f'op.{name}' for name in untold)}) is not in the request, so the rule counts as met; "
               "with that in it, it may pass. ")
    return Refusal(
        RefusalCode.DENIED,
        decision.reason,
        rule=decision.rules[0] if decision.rules else None,
        hint=f"{why}This is a decision of the gateway's policy; sending it again {'as it is ' if untold and not is_opaque else ''}does not help. "
             "Ask those who own the policy, or do the task another way.",
    )


def not_admitted(decision: Decision, identity: Identity) -> Refusal:
    """The same of a log-in. Where no rule speaks of this identity, a group is what is most often missing: it reads which
    ones it has, which its own token or certificate says, and nothing of those that it would need.
    """
    refusal = denial(decision)
    if decision.rules:
        return refusal
    named = ["".join(char for char in group[:_GROUP] if char.isprintable()) for group in sorted(identity.groups)]
    more = f" and {len(named) - _GROUPS} more" if len(named) > _GROUPS else ""
    has = f"is in the groups {', '.join(named[:_GROUPS])}{more}" if named else "is in no group"
    return replace(refusal, hint=(
        f"No rule lets this identity in, which {has}. Logging in again the same way does not help: ask those who own the "
        "policy who may connect, or those who give out identities for the group."))
