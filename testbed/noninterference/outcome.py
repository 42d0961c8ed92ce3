"""What a client received for one statement: message by message, as the protocol has them.

Rows, row descriptions, tags, COPY data, errors and notices in the form in which they reach the client.
What the gateway withholds is kept apart, to be searched for values and never compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

CANCELLED: Final = "57014"


class Kind(Enum):
    """What an outcome is worth as a comparison."""

    ROWS = "with rows"
    EMPTY = "without rows"
    CHANGE = "that change something"
    ERROR = "with an error"
    REFUSED = "refused"
    TIMEOUT = "too slow"


class Message(NamedTuple):
    """One message. `kind` is the protocol's letter for it; the cells of a row are its values, None for NULL."""

    kind: str
    cells: tuple[bytes | None, ...]


@dataclass
class Outcome:
    """Everything of one statement string. `text` is what went to the server in its place."""

    refusal: str | None = None
    messages: list[Message] = field(default_factory=list)
    withheld: list[bytes] = field(default_factory=list)
    state: str = ""                                     # the last error's SQLSTATE
    constraint: str = ""                                # and the constraint that it names
    tags: list[str] = field(default_factory=list)
    touches: bool = False
    witnessed: bool = False                             # a labelled column in a RowDescription
    is_cut: bool = False                                # the rest of its rows was not fetched
    text: str = ""

    @property
    def allowed(self) -> bool:
        return self.refusal is None

    @property
    def rows(self) -> list[bytes]:
        """The values of rows and COPY data, one after the other; NULL is empty."""
        return [cell or b"" for message in self.messages if message.kind in "Dd" for cell in message.cells]

    @property
    def seen(self) -> bytes:
        """What reached the client, as one string to search in."""
        return b"\n".join(cell for message in self.messages for cell in message.cells if cell is not None)

    @property
    def everything(self) -> bytes:
        """The same with what was withheld: where nothing should be found even so."""
        return b"\n".join([self.seen, *self.withheld])

    @property
    def kind(self) -> Kind:
        if self.refusal is not None:
            return Kind.REFUSED
        if self.state:
            return Kind.TIMEOUT if self.state == CANCELLED else Kind.ERROR
        if any(message.kind in "Dd" for message in self.messages):
            return Kind.ROWS
        return Kind.CHANGE if self.changes else Kind.EMPTY

    @property
    def changes(self) -> bool:
        """Whether a tag speaks of anything but reading."""
        return any(tag.split(" ")[0] not in READING for tag in self.tags)


READING: Final = frozenset(("SELECT", "SHOW", "EXPLAIN", "COPY", "BEGIN", "DECLARE", "FETCH", "CLOSE", "MOVE", "SET",
                            "PREPARE", "DEALLOCATE", "ROLLBACK", "COMMIT", "SAVEPOINT", "RELEASE", "RESET", "LISTEN",
                            "UNLISTEN", "NOTIFY", "LOCK", "DISCARD", ""))
"""First words of command tags that leave no rows behind. COPY is here for TO; FROM STDIN gets no data."""
