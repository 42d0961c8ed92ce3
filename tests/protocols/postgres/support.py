"""Sessions of the PostgreSQL mediator without sockets: real pipeline, real policy, a log in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockgate.config.settings import Limits
from lockgate.govern.pending import Pending
from lockgate.govern.pipeline import Governor, Pipeline
from lockgate.govern.policy import PolicySet
from lockgate.kernel.frames import frame, split_frames
from lockgate.model import AuditMode, Refusal, Rule, SessionStart
from lockgate.protocols.postgres.mediator import PostgresMediator
from lockgate.protocols.postgres.operations import StatementReader
from lockgate.protocols.postgres.states import SessionState
from lockgate.wire.playbook import Playbook
from lockgate.wire.steps import Snapshot
from tests.protocols.world import IDENTITY, Clock, Desk, Log

ALLOW = Rule(name="open", allow=True)
NO_DROP = Rule(name="never-drop", when='"drop" in op.verbs', deny="drops are not allowed")
@dataclass
class World:
    """One gateway's governance, and the faults that its stages reported."""

    rules: Sequence[Rule] = (ALLOW, NO_DROP)
    audit: AuditMode = AuditMode.ASYNC
    log: Log = field(default_factory=Log)
    desk: Desk = field(default_factory=Desk)
    faults: list[tuple[str, Exception]] = field(default_factory=list)
    snapshot: Callable[[Any], Any] = lambda step: None
    limits: Limits = field(default_factory=Limits)

    def governor(self) -> Governor:
        policy = PolicySet.compile(tuple(self.rules), "ab" * 32)
        pipeline = Pipeline(policy, self.log, self.desk, Clock(), lambda *fault: self.faults.append(fault))  # type: ignore[arg-type]
        start = SessionStart("5e55", "https://issuer", "agent-1", None, None, None, (), "00", "crm", "postgres",
                             "127.0.0.1:1", "ab" * 32)
        found: list[Any] = []
        admitted = pipeline.admit(IDENTITY, "crm", start, self.audit)
        assert isinstance(admitted, Pending)
        admitted.then(found.append)
        assert isinstance(found[0], Governor)
        return found[0]

    def session(self) -> Playbook:
        state = SessionState(StatementReader(self.limits.statement), self.limits, "app", b"\0\0\0\1secretkey")
        governor = self.governor()
        state.may_hide = governor.may_hide
        return Playbook(PostgresMediator(state), governor, {Snapshot: self.snapshot})


def state_of(book: Playbook) -> SessionState:
    mediator = book.mediator
    assert isinstance(mediator, PostgresMediator)
    return mediator.state


# ---------------------------------------------------------------- messages

SYNC = b"S\0\0\0\4"
FLUSH = b"H\0\0\0\4"
TERMINATE = b"X\0\0\0\4"
PARSED, BOUND, CLOSED = b"1\0\0\0\4", b"2\0\0\0\4", b"3\0\0\0\4"
NO_DATA, SUSPENDED, EMPTY = b"n\0\0\0\4", b"s\0\0\0\4", b"I\0\0\0\4"


def ready(status: str = "I") -> bytes:
    return b"Z\0\0\0\5" + status.encode()


def query(text: str) -> bytes:
    return frame(ord("Q"), text.encode() + b"\0")


def parse(text: str, name: str = "") -> bytes:
    return frame(ord("P"), name.encode() + b"\0" + text.encode() + b"\0\0\0")


def bind(name: str = "", portal: str = "", values: Sequence[bytes | None] = (), formats: Sequence[int] = (),
         results: Sequence[int] = ()) -> bytes:
    body = portal.encode() + b"\0" + name.encode() + b"\0" + struct.pack("!H", len(formats))
    body += b"".join(struct.pack("!H", code) for code in formats) + struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return frame(ord("B"), body + struct.pack("!H", len(results)) + b"".join(struct.pack("!H", c) for c in results))


def describe(kind: str = "P", name: str = "") -> bytes:
    return frame(ord("D"), kind.encode() + name.encode() + b"\0")


def execute(portal: str = "", limit: int = 0) -> bytes:
    return frame(ord("E"), portal.encode() + b"\0" + struct.pack("!I", limit))


def close(kind: str = "S", name: str = "") -> bytes:
    return frame(ord("C"), kind.encode() + name.encode() + b"\0")


def columns(*names: str, types: Sequence[int] | None = None, table: int = 0, formats: Sequence[int] | None = None) -> bytes:
    body = struct.pack("!H", len(names))
    for index, name in enumerate(names):
        body += name.encode() + b"\0" + struct.pack(
            "!IhIhih", table, index + 1 if table else 0, types[index] if types else 25, -1, -1,
            formats[index] if formats else 0)
    return frame(ord("T"), body)


def row(*values: bytes | None) -> bytes:
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return frame(ord("D"), body)


def complete(tag: str = "SELECT 1") -> bytes:
    return frame(ord("C"), tag.encode() + b"\0")


def error(sqlstate: str = "42601", message: str = "wrong", severity: str = "ERROR", **more: str) -> bytes:
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": message, **more}
    return frame(ord("E"), b"".join(k.encode() + v.encode() + b"\0" for k, v in fields.items()) + b"\0")


def notice(sqlstate: str = "00000", message: str = "hello", **more: str) -> bytes:
    return b"N" + error(sqlstate, message, "NOTICE", **more)[1:]


def parameter(name: str, value: str) -> bytes:
    return frame(ord("S"), name.encode() + b"\0" + value.encode() + b"\0")


def messages(data: bytes) -> list[tuple[str, bytes]]:
    """All frames of `data` as (type, body); there must be nothing else."""
    found, rest = split_frames(data, 0, 1 << 30)
    assert rest == len(data), "half a frame was sent"
    return [(chr(kind), data[start + 5:end]) for kind, start, end in found]


def kinds(data: bytes) -> str:
    return "".join(kind for kind, _ in messages(data))


def fields(body: bytes) -> dict[str, str]:
    """The fields of an error or notice."""
    return {chr(part[0]): part[1:].decode() for part in body.split(b"\0") if part}


def errors(data: bytes) -> list[dict[str, str]]:
    return [fields(body) for kind, body in messages(data) if kind == "E"]


def is_refusal(value: object) -> bool:
    return isinstance(value, Refusal)
