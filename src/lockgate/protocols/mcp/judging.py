"""What is asked about a client's message, and what of it would go on. The same whatever carries messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from lockgate.govern.masking.bodies import BodyTerms
from lockgate.govern.pipeline import Planned
from lockgate.model import Decision, Operation, Refusal, RefusalCode
from lockgate.protocols.http.admission import Admitted, digest_of
from lockgate.protocols.http.messages import Fields
from lockgate.protocols.http.targets import Target
from lockgate.protocols.mcp import methods
from lockgate.protocols.mcp.binding import FIELD
from lockgate.protocols.mcp.jsonrpc import Malformed, Message
from lockgate.protocols.mcp.operations import operation_of, refused_operation
from lockgate.protocols.mcp.pins import Pins
from lockgate.protocols.mcp.sent import Sent, looked_at, looked_at_beside
from lockgate.protocols.mcp.settings import settings_of
from lockgate.protocols.mcp.shown import anywhere
from lockgate.wire.spec import LoginContext
from lockgate.wire.steps import Judge

_OURS: Final = frozenset((b"host", FIELD))
"""Fields whose values the gateway and the server have made."""
_NAMED: Final = (methods.CALL, "prompts/get")


@dataclass(frozen=True, slots=True)
class Carried:
    """A message that was let through: what is due in its answer, and how it goes on."""

    terms: BodyTerms
    text: str


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked about one message. `refusal` is set where it is refused whatever policy says."""

    context: LoginContext
    admitted: Admitted
    message: Message
    operation: Operation
    refusal: Refusal | None
    fields: Callable[[], Fields] = tuple
    """What goes on beside it, made where it has to be looked into."""
    target: Target | None = None
    """Where it goes, over HTTP."""

    @classmethod
    def about(
        cls, message: Message, admitted: Admitted, context: LoginContext, fields: Callable[[], Fields] = tuple,
        target: Target | None = None,
    ) -> Asking:
        """The question for a message."""
        try:
            operation = operation_of(message)
        except Malformed as error:
            refusal = Refusal(RefusalCode.NOT_UNDERSTOOD, str(error), hint="Nothing was forwarded.")
            return cls(context, admitted, message, refused_operation(message.method), refusal)
        return cls(context, admitted, message, operation, _UNKNOWN if methods.UNKNOWN in operation.verbs else None, fields,
                   target)

    def step(self) -> Judge:
        """The step that asks it."""
        return Judge(self.operation, partial(self._plan), patience=self.admitted.patience)

    def _plan(self, decision: Decision) -> Planned | Refusal:
        if self.refusal is not None:
            return self.refusal
        message, admitted = self.message, self.admitted
        name = str(message.params.get("name", "")) if message.method in _NAMED else ""
        if message.method == methods.CALL:
            unpinned = pins_of(admitted, self.context).refusal(name)
            if unpinned is not None:
                return unpinned
        limit = self.context.limits.inspect
        terms = admitted.terms(decision, (name,) if name else (), limit)
        if message.method == methods.RESULT:
            masks, detects = admitted.admission.may_hide()
            terms = admitted.terms_of(anywhere(masks), detects, (), limit)
        sent = looked_at(message, terms, decision)
        if sent.refusal is not None:
            return sent.refusal
        beside = looked_beside(self.fields, self.target, terms, decision)
        if beside.refusal is not None:
            return beside.refusal
        return Planned(sent.text.encode(), digest_of(terms.masks, terms.detects), Carried(terms, sent.text), noted=sent.noted + beside.noted)


def looked_beside(fields: Callable[[], Fields], target: Target | None, terms: BodyTerms, decision: Decision) -> Sent:
    """The look at the fields and the target that go on with a message, or with the request for a stream."""
    if not any(check.detectors for check in decision.requests):
        return Sent("")
    beside = ((field.name.decode("ascii"), field.value) for field in fields() if field.name not in _OURS)
    return looked_at_beside(beside, () if target is None else target.texts, terms, decision)


def pins_of(admitted: Admitted, context: LoginContext) -> Pins:
    """The pins of a connection."""
    settings = settings_of(admitted.connection.options)
    return Pins(admitted.connection.name, context.definitions, settings.pins != "off", settings.definitions)


_UNKNOWN: Final = Refusal(
    RefusalCode.UNSUPPORTED, "the gateway does not know this method, so no policy could judge it",
    hint="Nothing was forwarded. Methods of MCP up to 2025-11-25 are known.")
