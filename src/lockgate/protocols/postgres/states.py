"""What a session knows: statements and portals by name, and one entry per reply that is owed.

Apart from the two sides that read and write it, so that neither can hold state of its own that the
other contradicts. Rules:

- Names change when a message is *sent*, not when it is acknowledged. A *segment* is what lies
  between two Syncs (a simple Query is one of its own). If an extended message fails, the backend discards
  what follows, and `ReplyQueue.fail` takes its changes back.
- What is discarded reaches to the next Sync, over simple Queries too: an *epoch* lies between two Syncs.
- A name that a segment changed may be used by the same segment (both happen or neither does) and by
  a later one only after the earlier one's ReadyForQuery has come (`Names.is_settled`).
Source: PostgreSQL 18 manual, section 54.2 "Message Flow".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from lockgate.analysis.sql import SHOWS_VALUES, Catalogue, Masked, Reach, SessionNames
from lockgate.config.settings import Limits
from lockgate.govern.pipeline import ClearPlan, Grant
from lockgate.govern.policy import MayHide, hides_nothing
from lockgate.model import Decision, OutcomeStatus, Refusal
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.bounds import Bound, Cursor
from lockgate.protocols.postgres.codec import Bind, Column
from lockgate.protocols.postgres.estimate import Question
from lockgate.protocols.postgres.naming import Tag
from lockgate.protocols.postgres.operations import Problem, Seen, StatementReader
from lockgate.protocols.postgres.own import Own
from lockgate.protocols.postgres.quota import Quota
from lockgate.protocols.postgres.requests import CopyIntake
from lockgate.protocols.postgres.sessionmasks import SessionMasks
from lockgate.protocols.postgres.surroundings import Surroundings
from lockgate.wire.steps import Settle


class Owed(IntEnum):
    """What a client message is owed."""

    PARSE = 1
    BIND = 2
    DESCRIBE = 3
    EXECUTE = 4
    CLOSE = 5
    SYNC = 6
    QUERY = 7
    FAILURE = 8      # a message that the gateway sent so that the backend's transaction fails
    OWN = 9          # messages of the gateway's own: the client sees no reply to them (`own`)


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of the look at a statement's literals: they are the same at each Execute. `under` is all that it
    depends on besides the text."""

    under: tuple[object, ...]
    text: str
    refusal: Refusal | None
    noted: tuple[str, ...]


class Prepared:
    """A prepared statement: what was judged at Parse is what every Execute of it runs."""

    __slots__ = ("asked", "columns", "decision", "described", "looked", "masked", "seen", "segment", "types", "weight")

    def __init__(self, seen: Seen, masked: Masked, segment: int, decision: Decision, types: bytes = b"\0\0") -> None:
        self.seen = seen
        self.masked = masked
        self.decision = decision
        self.segment = segment
        self.types = types                         # of the parameters, as Parse declared them
        self.described: tuple[int, ...] = ()       # … and as the backend did
        self.columns: tuple[Column, ...] | None = None
        self.weight = len(seen.raw)
        self.asked = -1                            # segment of the last Describe
        self.looked: Looked | None = None          # what came of the look at its literals


class Portal:
    """A bound statement. `grant` is open from its first Execute until its last row."""

    __slots__ = ("asked", "bind", "columns", "grant", "is_doubtful", "noted", "prepared", "quota", "reading", "refusal",
                 "rows", "segment", "sent", "values", "weight")

    def __init__(
        self, prepared: Prepared, bind: Bind, values: tuple[str | None, ...], segment: int, reading: str = "",
    ) -> None:
        self.prepared = prepared
        self.bind = bind                           # as it goes on
        self.weight = max(sum(len(value) for value in given if value is not None) for given in (values, bind.values))
        self.reading = reading                     # formats and types of `values`
        self.values = values                       # … in words
        self.segment = segment
        self.columns: tuple[Column, ...] | None = None
        self.asked = -1
        self.grant: Grant | None = None
        self.refusal: Refusal | None = None        # of what its values hold; it is told when it is to run
        self.noted: tuple[str, ...] = ()           # what its values hold, for the record
        self.quota: Quota | None = None            # rows that it may still deliver, over all its Executes
        self.is_doubtful = False                   # SQL that closes it, or gives its name to a cursor, was sent
        self.rows = 0
        self.sent = 0


@dataclass(frozen=True, slots=True)
class Gone:
    """A name that was closed in `segment`."""

    segment: int


Named = TypeVar("Named", Prepared, Portal)


class Names(Generic[Named]):
    """Statements or portals by name, bounded in number."""

    __slots__ = ("_items",)

    LIMIT = 10_000

    def __init__(self) -> None:
        self._items: dict[bytes, Named | Gone] = {}

    def get(self, name: bytes) -> Named | Gone | None:
        """What the name stands for now, as far as messages were sent."""
        return self._items.get(name)

    def set(self, name: bytes, value: Named | Gone) -> Undo:
        """Let `name` stand for `value`; the result takes it back."""
        before = self._items.get(name)
        if before is not None or not isinstance(value, Gone):      # closing what is not there takes no memory
            self._items[name] = value
        return Undo(self._items, name, before, value)  # type: ignore[arg-type]

    def holds_more_than(self, limit: int) -> bool:
        """True if texts or values of all names together are longer than `limit` bytes: the number of names alone
        does not bound the memory of a session."""
        return sum(item.weight for item in self._items.values() if not isinstance(item, Gone)) > limit

    @property
    def is_full(self) -> bool:
        """True when no further name may be made."""
        return len(self._items) >= self.LIMIT

    def prune(self, acknowledged: int) -> None:
        """When full: drop what was closed and is over, so that a long session can go on making names."""
        if self.is_full:
            for name in [name for name, item in self._items.items()
                         if isinstance(item, Gone) and item.segment < acknowledged]:
                del self._items[name]

    def named(self, name: bytes | None) -> list[Named]:
        """What bears the name; everything for None."""
        found = self._items.values() if name is None else [self._items.get(name)]
        return [item for item in found if item is not None and not isinstance(item, Gone)]

    def forget(self, name: bytes) -> None:
        """Drop a name that another way of speaking (SQL) has changed."""
        self._items.pop(name, None)

    def forget_all(self) -> None:
        """Drop every name."""
        self._items.clear()

    def forget_these(self, items: list[Named]) -> None:
        """Drop what is still there of them."""
        gone = set(map(id, items))
        for name in [name for name, item in self._items.items() if id(item) in gone]:
            del self._items[name]

    def drop_until(self, segment: int) -> list[Named]:
        """Drop what `segment` or an earlier one made; returns what was there."""
        if not self._items:
            return []
        old = [(name, item) for name, item in self._items.items() if item.segment <= segment]
        for name, _ in old:
            del self._items[name]
        return [item for _, item in old if not isinstance(item, Gone)]


class Undo:
    """Takes one change of a name back, unless a later one has replaced it."""

    __slots__ = ("_after", "_before", "_items", "_name")

    def __init__(self, items: dict[bytes, object], name: bytes, before: object, after: object) -> None:
        self._items = items
        self._name = name
        self._before = before
        self._after = after

    def __call__(self) -> None:
        if self._items.get(self._name) is not self._after:
            return
        if self._before is None:
            del self._items[self._name]
        else:
            self._items[self._name] = self._before


class Reply:
    """One client message that owes replies, and what to do with them."""

    __slots__ = (
        "affected",
        "bound",
        "changes_catalogue",
        "code",
        "columns",
        "copies",
        "copies_in",
        "epoch",
        "grant",
        "intake",
        "is_copying_out",
        "is_hidden",
        "is_noticed",
        "is_rewritten",
        "masked",
        "opens",
        "owed",
        "own",
        "plan",
        "portal",
        "prepared",
        "problem",
        "reach",
        "rolls_back",
        "rows",
        "seen",
        "segment",
        "sent",
        "undo",
    )

    def __init__(self, owed: Owed, segment: int, epoch: int) -> None:
        self.owed = owed
        self.segment = segment
        self.epoch = epoch
        self.grant: Grant | None = None
        self.seen: Seen | None = None
        self.masked: Masked | None = None
        self.prepared: Prepared | None = None
        self.portal: Portal | None = None
        self.problem: Problem | None = None          # replaces the backend's error
        self.undo: Undo | None = None
        self.opens = ""                              # the portal that Bind makes, where it has a name
        self.reach: Reach | None = None              # what that, or the cursors that it declares, touch
        self.rolls_back = False                      # the server has said ROLLBACK
        self.bound: Bound | None = None              # row limits in force for it
        self.own: Own | None = None                  # what the gateway sent of its own
        self.plan: ClearPlan | None = None           # of the result that is running
        self.columns: tuple[Column, ...] = ()
        self.is_hidden = False                       # asked by the gateway: the client sees no reply
        self.is_noticed = False                      # the client was told which columns are masks
        self.is_rewritten = False                    # positions in errors would mislead
        self.is_copying_out = False
        self.copies = 0                              # COPY … TO STDOUT begun, of those in the string
        self.copies_in = 0                           # COPY … FROM STDIN begun, of those in the string
        self.intake: CopyIntake | None = None        # looks at the data of the one that runs
        self.changes_catalogue = False
        self.rows = 0                                # delivered
        self.sent = 0                                # their bytes
        self.affected = 0                            # as command tags say
        self.code = ""

    def takes(self, kind: int) -> bool:
        """True if rows (or COPY data) may come for this message now."""
        if kind == m.COPY_DATA:
            return self.is_copying_out
        if self.own is not None:
            return self.own.takes_rows
        return not self.is_copying_out and (self.owed is Owed.EXECUTE or self.owed is Owed.QUERY)

    @property
    def is_over(self) -> bool:
        """True once it went over a row limit."""
        return self.bound is not None and self.bound.is_over

    @property
    def outcome(self) -> OutcomeStatus:
        """How it ended, for the record."""
        if self.is_over:
            return OutcomeStatus.REFUSED
        return OutcomeStatus.ERROR if self.code else OutcomeStatus.OK

    @property
    def is_labelled(self) -> bool:
        """True where the backend's own words about it may hold a protected value."""
        return self.masked is not None and self.masked.touches_labelled


class ReplyQueue:
    """Replies in the order in which the backend will give them."""

    __slots__ = ("_replies", "failed_epoch")

    def __init__(self) -> None:
        self._replies: deque[Reply] = deque()
        self.failed_epoch = -1

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def head(self) -> Reply | None:
        """The message whose replies come next."""
        return self._replies[0] if self._replies else None

    def pop(self) -> Reply:
        """The head is answered."""
        return self._replies.popleft()

    def push(self, reply: Reply) -> None:
        """A message of the gateway's own is about to be sent; nothing of the client's is on its way behind it."""
        self._replies.append(reply)

    def extend(self, replies: list[Reply]) -> list[Settle]:
        """Messages are about to be sent. What the backend will discard is taken back at once."""
        settled: list[Settle] = []
        if self.failed_epoch < 0:
            self._replies.extend(replies)
            return settled
        for reply in replies:
            if reply.epoch == self.failed_epoch and reply.owed is not Owed.SYNC:
                settled += take_back(reply, "25P02")
            else:
                self._replies.append(reply)
        return settled

    def fail(self, code: str) -> list[Settle]:
        """The head failed in the extended protocol: everything up to its Sync is discarded."""
        dropped: list[Reply] = []
        self.failed_epoch = self._replies[0].epoch
        while self._replies and self._replies[0].owed is not Owed.SYNC:
            dropped.append(self._replies.popleft())
        settled: list[Settle] = []
        for reply in reversed(dropped):
            settled += take_back(reply, code)
        return settled

    def drop_syncs(self) -> int:
        """COPY IN began at the head: Syncs behind it were read, and ignored, by the copying backend."""
        count = 0
        while len(self._replies) > 1 and self._replies[1].owed is Owed.SYNC:
            del self._replies[1]
            count += 1
        return count

    def drain(self) -> list[Reply]:
        """Take out everything (the session ends)."""
        left = list(self._replies)
        self._replies.clear()
        return left

    def has_copy_in(self) -> bool:
        """True while a statement that may start a COPY IN is on its way."""
        return any(
            reply.seen is not None and reply.seen.statement is not None and reply.seen.statement.copy == "in"
            for reply in self._replies
        )


def digest_of(masked: Masked) -> str:
    """Under which masks a name was made by message."""
    return SHOWS_VALUES if masked.results else masked.masks_digest


def take_back(reply: Reply, code: str) -> list[Settle]:
    """Undo what a message that did not happen changed; its grant, if recorded, ended in an error."""
    if reply.undo is not None:
        reply.undo()
    reply.bound = None              # what waited for it need not any more
    if reply.own is not None and reply.own.question is not None:
        reply.own.question.dropped()
    grant = reply.grant
    if grant is None or grant.record < 0:
        return []
    return [Settle(grant, OutcomeStatus.ERROR, reply.rows, reply.sent, code)]


class SessionState:
    """One admitted session, as both sides see it."""

    __slots__ = (
        "acknowledged",
        "ahead",
        "backend_key",
        "barrier",
        "bounded",
        "catalogue",
        "copying",
        "cursors",
        "discarding",
        "epoch",
        "has_changed_catalogue",
        "has_failed",
        "has_labelled_run",
        "has_local_sync",
        "has_shown_masks",
        "inbox",
        "is_client_busy",
        "is_ended",
        "is_flush_due",
        "is_flush_due_for_rows",
        "is_full",
        "is_mid_frame",
        "is_segment_open",
        "is_server_busy",
        "is_stale",
        "is_stalled",
        "is_transaction_labelled",
        "is_unconfirmed",
        "is_woken",
        "labelled",
        "limits",
        "masks",
        "may_hide",
        "names",
        "opaque_segment",
        "portals",
        "prepared",
        "question",
        "queue",
        "reader",
        "segment",
        "segment_controls",
        "segment_writes",
        "status",
        "surroundings",
        "tag",
        "user",
        "version",
    )

    def __init__(self, reader: StatementReader, limits: Limits, application: str, backend_key: bytes,
                 tag: str = "", start_up: Mapping[str, str] | None = None) -> None:
        self.reader = reader
        self.surroundings = Surroundings(start_up or {})
        self.limits = limits
        self.tag = None if not tag else Tag(tag, application)
        self.backend_key = backend_key
        self.masks: SessionMasks | None = None     # keys of result masks
        self.user = ""                             # the account behind the session
        self.names = SessionNames()
        self.catalogue: Catalogue | None = None
        self.has_changed_catalogue = False         # own DDL ran in the open transaction
        self.has_failed = False                    # an error came in the open transaction
        self.has_shown_masks = False               # a statement that touches a labelled relation has run
        self.is_stale = False                      # … and is committed: the catalogue is old
        self.is_unconfirmed = False                # … and `names` has yet to hear what the new one knows
        self.labelled: frozenset[tuple[int, int]] = frozenset()     # columns masked for this session, as last planned
        self.version: int | None = None            # of the newest catalogue seen
        self.is_transaction_labelled = False       # a labelled relation was touched in it
        self.queue = ReplyQueue()
        self.prepared: Names[Prepared] = Names()
        self.portals: Names[Portal] = Names()
        self.status = m.IDLE
        self.segment = 0                           # of the client's next message
        self.acknowledged = 0                      # segments below this one are over
        self.is_segment_open = False               # an extended message of this segment was sent
        self.epoch = 0                             # Syncs sent before the client's next message
        self.discarding = -1                       # epoch whose messages are dropped until its Sync
        self.has_local_sync = False                # that Sync is answered here: nothing was sent
        self.copying: Reply | None = None
        self.barrier = False                       # own DDL or code is on its way: judge nothing behind it
        self.is_flush_due = False                  # … in an open segment: its replies have to be asked for
        self.bounded: Reply | None = None          # what is sent behind it waits until its rows are through
        self.is_flush_due_for_rows = False         # … in an open segment: its replies have to be asked for
        self.ahead: Grant | None = None            # of the Query at hand, which waits until nothing is owed
        self.question: Question | None = None      # about the statement at hand; what is behind it waits
        self.cursors: dict[str, Cursor] = {}       # those under row limits
        self.segment_writes = False                # the open segment has an effect
        self.segment_controls = False              # … and begins or ends a transaction
        self.opaque_segment = -1                   # the last one in which code of unknown effect ran
        self.is_full = False                       # too many replies are owed: frames wait
        self.is_woken = False                      # replies came while the client's side could not go on
        self.inbox = b""
        self.is_stalled = False
        self.is_client_busy = False
        self.is_server_busy = False
        self.is_mid_frame = False                  # the client has a part of a frame only
        self.may_hide: Callable[[], MayHide] = hides_nothing     # by some rule, whatever its condition says now
        self.has_labelled_run = False              # since the last ReadyForQuery a labelled relation was touched
        self.is_ended = False

    @property
    def is_guarded(self) -> bool:
        """Masks or detectors can be due on this session."""
        return any(self.may_hide())

    def reply(self, owed: Owed) -> Reply:
        """An entry for the client's next message."""
        return Reply(owed, self.segment, self.epoch)

    def knows_columns(self, portal: Portal) -> bool:
        """True if the columns of the portal's rows are known by the time that rows come."""
        prepared = portal.prepared
        return (portal.columns is not None or prepared.columns is not None
                or self.segment in (portal.asked, prepared.asked))

    def has_settled(self, item: Prepared | Portal | Gone) -> bool:
        """True if a message of the current segment may rely on `item`."""
        return item.segment == self.segment or item.segment < self.acknowledged

    @property
    def knows_status(self) -> bool:
        """True if `status` is what the open segment began with: every earlier one is over."""
        return self.acknowledged >= self.segment

    @property
    def is_quiet(self) -> bool:
        """True if an answer written now is in order: nothing is owed and nothing half sent."""
        return not self.queue and not self.is_server_busy and not self.is_mid_frame
