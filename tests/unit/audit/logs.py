"""A real log in a folder, driven from a test as the gateway drives it: dispatched calls run on the test's thread."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue

import apsw
import orjson

from lockgate.audit.admin import recorded
from lockgate.audit.log import AuditLog
from lockgate.audit.tree import leaf_hash, tree_root
from lockgate.errors import AuditError
from lockgate.govern.review import bound_hash
from lockgate.model import Event, Identity, Intent, Operation, Outcome, OutcomeStatus, SessionStart

ORIGIN = "lockgate.test/log"


class Ticking:
    """A clock that a test sets."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


class Driven:
    """An open log and the queue of what it dispatched."""

    def __init__(self, folder: Path, *, origin: str = ORIGIN, **options: object) -> None:
        self.turns: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.log = AuditLog.open(folder, origin=origin, dispatch=self.turns.put, **options)  # type: ignore[arg-type]

    def wait(self, start: Callable[[Callable[[AuditError | None], None]], object]) -> AuditError | None:
        """Call `start(done)` and run what the log dispatches until `done` was called."""
        answers: list[AuditError | None] = []
        start(answers.append)
        while not answers:
            self.turns.get(timeout=20)()
        return answers[0]

    def begin(self, session: str, subject: str = "alice") -> None:
        assert self.wait(lambda done: self.log.begin_session(start(session, subject), done)) is None

    def run(self, session: str, text: str = "SELECT 1", **fields: object) -> int:
        """An intent that is waited for, and its outcome."""
        number = self.intent(session, text, **fields)
        self.log.outcome(Outcome(session, number, OutcomeStatus.OK, 1, 20, {"email": 2}, 0.0015))
        return number

    def intent(self, session: str, text: str = "SELECT 1", **fields: object) -> int:
        numbers: list[int] = []
        error = self.wait(lambda done: numbers.append(self.log.intent(intent(session, text, **fields), done)))
        assert error is None
        return numbers[0]


def start(session: str, subject: str = "alice") -> SessionStart:
    return SessionStart(
        session, "https://issuer.test", subject, "planner", "model-1", "client-1", ("analysts",), "ab" * 32,
        "crm", "postgres", "127.0.0.1:50000", "cd" * 32, {"task": "ticket 4711"},
    )


def intent(session: str, text: str = "SELECT 1", **fields: object) -> Intent:
    values: dict[str, object] = {
        "session": session, "kind": "query", "verbs": ("select",), "decision": "allow", "rules": ("reach",),
        "policy_hash": "cd" * 32, "objects": ("public.customers",), "text": text, "parameters": ("7", None),
        "forwarded": text.encode("utf-8", "replace"),
    }
    return Intent(**{**values, **fields})  # type: ignore[arg-type]


def binding(subject: str, text: str, parameters: tuple[str | None, ...] = ("7", None)) -> str:
    """What a statement of `intent` binds to in a session of `start`."""
    who = Identity("https://issuer.test", subject, "", frozenset(), 0.0, "")
    statement = Operation("", "query", frozenset(), text, None, parameters=parameters)
    return bound_hash(who, "crm", "cd" * 32, statement)


def review_events(
    ticket: str, requester: str, reviewer: str, session: str | None = None, text: str = "DELETE FROM customers"
) -> list[Event]:
    """What the review desk records for a ticket that was approved."""
    def people(reviewed: list[str | None]) -> bytes:
        return orjson.dumps({"requester": ["https://issuer.test", requester], "reviewer": reviewed, "text": text,
                             "parameters": ["7", None], "session": session, "comment": None})

    fields: dict[str, object] = {"ticket": ticket, "binding": binding(requester, text), "connection": "crm"}
    return [
        Event("review_request", fields, session, people([None, None])),
        Event("review", {**fields, "verdict": "approved"}, None, people(["https://issuer.test", reviewer])),
    ]


def chunk_root(chunks: Iterable[bytes]) -> bytes:
    """What a mark says of a recording's chunks: RFC 6962, as for the log's own leaves."""
    return tree_root([leaf_hash(chunk) for chunk in chunks])


def sample(folder: Path) -> None:
    """A closed log: two sessions, with a refusal, a reviewed delete, and a heartbeat.

    0 start · 1 begin a · 2 begin b · 3/4 a select · 5 b denied · 6 a request · 7 review · 8/9 a delete ·
    10 heartbeat · 11/12 b select · 13 end a · 14 end b · 15 stop
    """
    driven = Driven(folder)
    log = driven.log
    driven.begin("a" * 16)
    driven.begin("b" * 16, "bob")
    driven.run("a" * 16)
    driven.intent("b" * 16, "DROP TABLE customers", decision="deny", refusal="denied", verbs=("drop",))
    for event in review_events("T1", "alice", "carol", "a" * 16):
        log.event(event)
    driven.run("a" * 16, "DELETE FROM customers", decision="review", ticket="T1", verbs=("delete",),
               binding=binding("alice", "DELETE FROM customers"))
    log.heartbeat()
    driven.run("b" * 16, "SELECT 'bob'")
    log.end_session("a" * 16, "closed")
    log.end_session("b" * 16, "closed")
    log.close()


def change_key(folder: Path) -> tuple[str, str]:
    """A new key for a closed log, as the command gives it one; both verifier keys."""
    with recorded(folder) as log:
        return log.rotate("yearly")


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def edit(folder: Path, *statements: str | tuple[str, tuple[object, ...]]) -> None:
    """What somebody with write access to the file does to it."""
    connection = apsw.Connection(str(folder / "log.db"))
    for statement in statements:
        sql, bindings = (statement, ()) if isinstance(statement, str) else statement
        connection.execute(sql, bindings)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def stored(folder: Path) -> list[bytes]:
    """All leaves of a closed log."""
    connection = apsw.Connection(str(folder / "log.db"))
    found = [leaf for (leaf,) in connection.execute("SELECT leaf FROM entries ORDER BY idx")]
    connection.close()
    return found
