"""What is asked: one request in words that policy, reviewer and record share across protocols."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Operation:
    """One request, as read from the wire and before anything is decided.

    `verbs` holds every effect that the request has or may have, in lower case (a multi-statement
    string or a CTE has several; what cannot be analysed has all that its protocol knows).
    `facts` are plain values (str, int, bool, None, list, dict) that conditions see as `op.<name>`;
    `op.verb` and `op.verbs` are added by the policy engine. `text` is what a reviewer reads and
    what a ticket is bound to, without comments. `parameters` are bound values as text (None for
    NULL, a hex form for bytes of an unknown type). `objects` are the names touched, for the record.
    `reading` says how the parameters are to be read where their text alone does not (formats and
    types): a ticket is bound to it too. `context` are the things that the session did before and that may
    change what the text means (a search path, temporary relations), in words for the reviewer: a ticket
    is bound to them as well.
    `lacks` names facts that the protocol can find out, and has not because that costs something (a
    question to the backend): a decision that hangs on one says so (`Decision.wants`). `returns` is False
    where it is sure that no rows come back.
    Two operations with an equal `key` have equal verbs and facts and lack the same ones (the key does not
    cover parameters), so a decision may be cached by it.
    """

    protocol: str
    kind: str
    verbs: frozenset[str]
    text: str
    key: Hashable
    facts: Mapping[str, object] = field(default_factory=dict)
    parameters: tuple[str | None, ...] = ()
    objects: tuple[str, ...] = ()
    reading: str = ""
    context: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()
    returns: bool = True
