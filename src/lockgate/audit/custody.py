"""Acts of those who run the gateway, each of them on record before it counts.

Blocking, for worker threads and commands: `append` returns when the record is durable, at its index. Acts
take turns, so that a hold that was set is seen by the erasure that comes after it. Who acts is said by the
caller, who knows it from the system or from a token, never by the record that is offered.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import orjson

from lockgate.audit.entry import canonical, is_opaque
from lockgate.audit.erasing import (
    Plan,
    Wish,
    find,
    find_old,
    find_recording,
    is_recording_erased,
    issuer_of,
    require_free,
)
from lockgate.audit.evidence.erasures import HoldBook
from lockgate.audit.failures import MalformedEntry
from lockgate.audit.keys import VERIFIER_FILE, read_verifier
from lockgate.audit.leaves import principal
from lockgate.audit.log import AuditLog
from lockgate.audit.recording.shelf import shelf_of
from lockgate.audit.removal import scrub
from lockgate.audit.signing.opening import recall
from lockgate.audit.signing.rotation import prepare_rotation
from lockgate.audit.standing import Standing, read
from lockgate.audit.storage.contract import Source
from lockgate.audit.storage.sqlite import FILE, open_source
from lockgate.errors import AuditError
from lockgate.model import Erasure, Event, KeyChange

OFFERED: Final = frozenset({"export", "recording_view", "verify_run"})
"""Records that a command may ask for as they are; everything else goes with an act of its own."""
_PATIENCE: Final = 30.0     # seconds until a record is durable
REASON: Final = 2_000       # characters

GATEWAY: Final = ("lockgate", "gateway")
"""Who destroys what is older than its period."""
_RETENTION: Final = "older than the configured period"
_AT_ONCE: Final = 10_000    # payloads in one run of the retention
_NAME: Final = 64           # characters of a hold's name

Person = tuple[str, str]
"""Issuer and subject."""
Scope = Mapping[str, object]
"""``all``, ``session``, ``subject`` with ``issuer``, or ``first`` with ``last``."""


Act = Event | Erasure | KeyChange
"""What is put on the log."""
Forget = Callable[[Sequence[str]], object]
"""Deletes reviews, by ticket, that are kept beside the log."""


def nowhere(_tickets: Sequence[str]) -> None:
    """Reviews are kept nowhere else."""


class Refused(AuditError):
    """An administrative act that cannot be done as asked; nothing was."""

    code = "audit.refused"


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did: its records, how many payloads and recordings, sessions that go on and may hold more by
    now, and whether the store's files are free of the bytes already.
    """

    leaves: tuple[int, ...]
    payloads: int
    recordings: int
    unfinished: tuple[str, ...]
    is_scrubbed: bool


class Custody:
    """One open log, as administrative acts see it. `submit` waits until a record is durable, or raises;
    `approvals` says how many persons an erasure needs now; `forget` deletes reviews, by ticket, where statements are
    kept beside the log.
    """

    def __init__(
        self, folder: Path, submit: Callable[[Act], int], approvals: Callable[[], int] = lambda: 1,
        forget: Forget = nowhere,
    ) -> None:
        self.folder = folder
        self.submit = submit
        self.approvals = approvals
        self.forget = forget
        self.turn = threading.RLock()
        self.standing = Standing()
        self._is_swept = False
        self.is_scrubbed = True
        """False while the store's files may still hold bytes of what was destroyed."""

    def append(self, event: Event, requester: Person) -> int:
        """Put an `OFFERED` record on the log, with who asked for it. Returns its index."""
        if event.type not in OFFERED:
            raise MalformedEntry(f"{event.type} is not a record that a command may ask for")
        return self.record(event, requester)

    def record(self, event: Event, requester: Person) -> int:
        """As `append`, for acts of this process itself."""
        with self.turn:
            return self.submit(by_whom(event, requester))

    # ------------------------------------------------------------ the log's key

    def rotate(self, reason: str, requester: Person) -> tuple[str, str]:
        """Give the log another key, which the old one signs; both verifier keys, old and new.

        Nothing has happened where the next key cannot be made ready. The gateway goes on meanwhile: what it
        records waits for the moment that this takes.
        """
        _require_reason(reason)
        with self.turn:
            old = read_verifier(self.folder / VERIFIER_FILE)
            prepare_rotation(self.folder, old.name, recall(self.folder))
            self.submit(KeyChange(requester, reason))
            return str(old), str(read_verifier(self.folder / VERIFIER_FILE))

    # ------------------------------------------------------------ legal holds

    def hold(self, name: str, action: str, scope: Scope | None, reason: str, requester: Person) -> int:
        """Set or lift a legal hold, by name. Returns the record's index."""
        _require_reason(reason)
        if not is_opaque(name) or len(name) > _NAME:
            raise Refused(f"a hold's name has no spaces and at most {_NAME} characters, ASCII only")
        with self.turn, open_source(self.folder) as source:
            self.standing.advance(source)
            said: dict[str, object] = {"hold": name, "action": action}
            if action == "set":
                said["scope"] = _scope(source, scope or {})
            else:
                said["scope"] = self.standing.holds.standing.get(name)
            # Tried on a copy: what the log would find wrong with it never gets there.
            book = HoldBook()
            book.standing.update(self.standing.holds.standing)
            problem = book.take({"data": said})
            if problem is not None:
                raise Refused(problem)
            return self.record(Event("legal_hold", said, None, canonical({"reason": reason})), requester)

    # ------------------------------------------------------------ erasures

    def plan(self, wish: Wish) -> tuple[Plan, bytes]:
        """What would be erased, and the log's key for principals. Raises `erasing.Held` and its like."""
        _require_reason(wish.reason)
        with self.turn, open_source(self.folder) as source:
            self.standing.advance(source)
            return find(source, self.standing, wish), source.pseudonyms

    def erase(self, wish: Wish, requester: Person) -> Erased:
        """Find and destroy what one person asks for. Returns when it is durable and the bytes are gone."""
        if self.approvals() != 1:
            raise Refused("the policy wants two persons for an erasure; nothing was erased",
                          advice="ask through the control API: give --url and a token")
        with self.turn:
            plan, _ = self.plan(wish)
            return self.carry_out(plan, requester, wish.reason)

    def carry_out(
        self, plan: Plan, requester: Person, reason: str, reviewer: Person | None = None, ticket: str | None = None,
    ) -> Erased:
        """Destroy what a plan names, part by part; then recordings, then what the files still hold of it."""
        links = plan.links()
        with self.turn:
            with open_source(self.folder) as source:
                self.standing.advance(source)
                require_free(source, self.standing, plan)
            leaves = [
                self.submit(Erasure(plan.cause, ranges, requester, reason, reviewer, ticket, links[number + 1]))
                for number, ranges in enumerate(plan.parts)
            ]
            self.forget(plan.tickets)
            removed = 0
            if plan.sessions:
                with shelf_of(self.folder) as shelf:
                    removed = sum(shelf.remove(sid) for sid in plan.sessions)
            self.is_scrubbed = scrub(self.folder / FILE)
            return Erased(tuple(leaves), plan.payloads, removed, plan.unfinished, self.is_scrubbed)

    def refuse(self, ticket: str, error: AuditError, requester: Person, reviewer: Person | None) -> int:
        """Put on record that an erasure which was approved is not carried out, and why. Returns the record's index."""
        said: dict[str, object] = {"requester": list(requester), "reason": str(error)[:REASON]}
        if reviewer is not None:
            said["reviewer"] = list(reviewer)
        with self.turn:
            return self.submit(Event("erasure_refused", {"ticket": ticket, "code": error.code}, None, canonical(said)))

    def retain(self, payloads: float | None, recordings: float | None, now: float) -> int:
        """Destroy a bounded number of what is older than these periods (seconds); how many records that took."""
        done = 0
        self.sweep()
        with self.turn:
            if payloads is not None and (plan := self._old(now, payloads)) is not None:
                done += len(self.carry_out(plan, GATEWAY, _RETENTION).leaves)
        if recordings is not None:
            with shelf_of(self.folder) as shelf:
                old = shelf.sessions(recordings)
            for sid in old:
                with self.turn:
                    done += self._retain_recording(sid, now, recordings)
        if not self.is_scrubbed:
            self.is_scrubbed = scrub(self.folder / FILE)
        return done

    def is_due(self, payloads: float | None, recordings: float | None, now: float) -> bool:
        """Whether `retain` would find something. Reads only."""
        if payloads is not None and self._old(now, payloads) is not None:
            return True
        if recordings is None:
            return False
        with shelf_of(self.folder) as shelf:
            old = shelf.sessions(recordings)
        with open_source(self.folder) as source:
            self.standing.advance(source)
            return any(self._old_recording(source, sid, now, recordings) is not None for sid in old)

    def sweep(self) -> None:
        """Once: delete recordings that are erased in the log, where a crash came before their files were gone."""
        if self._is_swept:
            return
        with self.turn, open_source(self.folder) as source, shelf_of(self.folder) as shelf:
            self.standing.advance(source)
            for sid in shelf.sessions():
                with contextlib.suppress(AuditError):       # a folder of no session of this log
                    if is_recording_erased(source, self.standing, sid):
                        shelf.remove(sid)
        self._is_swept = True

    def _old(self, now: float, period: float) -> Plan | None:
        with open_source(self.folder) as source:
            self.standing.advance(source)
            return find_old(source, self.standing, _before(source, now, period), _AT_ONCE)

    def _retain_recording(self, sid: str, now: float, period: float) -> int:
        with open_source(self.folder) as source:
            self.standing.advance(source)
            plan = self._old_recording(source, sid, now, period)
        return 0 if plan is None else len(self.carry_out(plan, GATEWAY, _RETENTION).leaves)


    def _old_recording(self, source: Source, sid: str, now: float, period: float) -> Plan | None:
        try:
            return find_recording(source, self.standing, sid, _before(source, now, period))
        except AuditError:      # a folder of no session of this log: not the gateway's to remove
            return None


def _before(source: Source, now: float, period: float) -> int:
    """Unix milliseconds before which something is older than the period.

    By the log's own time where that is earlier: a clock that went back must not make a retention look too early.
    """
    size = source.head().size
    newest = next((record["time"] for _, record in read(source, size - 1, None)), 0)
    return int(min(now * 1000, newest) - period * 1000)


def _require_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > REASON:
        raise Refused(f"a reason is given in up to {REASON} characters")


def _scope(source: Source, scope: Scope) -> dict[str, object]:
    """A hold's scope as the log has it: people as principals, a session by its whole id."""
    if "subject" in scope:
        who = (str(scope.get("issuer") or issuer_of(source, str(scope["subject"]))), str(scope["subject"]))
        return {"principal": principal(source.pseudonyms, *who)}
    if "session" in scope:
        return {"session": source.session(str(scope["session"]))[2]}
    return dict(scope)


def by_whom(event: Event, requester: Person) -> Event:
    """The event with its requester in the payload, whatever it said there before."""
    said: Mapping[str, Any] = {}
    if event.payload:
        try:
            said = orjson.loads(event.payload)
        except orjson.JSONDecodeError:
            raise MalformedEntry("what an act says of itself is a JSON object") from None
        if not isinstance(said, dict):
            raise MalformedEntry("what an act says of itself is a JSON object")
    payload = {name: value for name, value in said.items() if name not in ("requester", "reviewer")}
    return replace(event, payload=canonical({**payload, "requester": list(requester)}))


def submitting(log: AuditLog, enter: Callable[[Callable[[], None]], object]) -> Callable[[Act], int]:
    """A `submit` for a log that is driven by another thread: `enter` runs a call there."""

    def submit(record: Act) -> int:
        answer: SimpleQueue[int | AuditError] = SimpleQueue()

        def start() -> None:
            index = -1

            def done(error: AuditError | None) -> None:
                answer.put(index if error is None else error)

            try:
                index = log.append(record, done)
            except AuditError as error:
                answer.put(error)

        try:
            enter(start)
            found = answer.get(timeout=_PATIENCE)
        except (Empty, RuntimeError):       # RuntimeError: the driver's loop is closed
            raise AuditError("the record is not durable in time, so it does not count") from None
        if isinstance(found, AuditError):
            raise found
        return found

    return submit
