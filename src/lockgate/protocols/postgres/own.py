"""Messages that the gateway sends on a session's connection by itself, and whose replies the client does not see.

Apart from the replies to them (`bounded`, `estimate`): here is what they say. They end transactions that
the gateway began, make a block or a segment of the client's fail, or ask the planner.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m

if TYPE_CHECKING:
    from lockgate.protocols.postgres.estimate import Question
    from lockgate.protocols.postgres.states import Reply

# A syntax error is found before any name is looked up: no name that the client has made can let it run.
FAILING_QUERY: Final = codec.query("lockgate refused a statement")
FAILING_PARSE: Final = codec.parse(b"lockgate", "lockgate refused a statement")


class Purpose(Enum):
    """What a message of the gateway's own is for."""

    COMMIT = codec.query("COMMIT")
    ROLLBACK = codec.query("ROLLBACK")
    FAIL = FAILING_PARSE + m.SYNC_FRAME         # the client's block: its ReadyForQuery is the client's
    FAIL_SEGMENT = FAILING_PARSE                # … or what came since the last Sync, which the client still sends
    ASK = b""                                   # the planner, in words of their own (`estimate`)


class Own:
    """One of them. `of` is the client's message on whose behalf it is."""

    __slots__ = ("of", "purpose", "question")

    def __init__(self, purpose: Purpose, of: Reply, question: Question | None = None) -> None:
        self.purpose = purpose
        self.of = of
        self.question = question

    @property
    def takes_rows(self) -> bool:
        """Whether rows may come for it."""
        return self.question is not None
