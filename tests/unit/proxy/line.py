"""A tiny protocol for the driver's tests: one line is one request, and one line comes back.

log-in   ``<subject> <group>`` (the token), or ``cancel <hex key>``; answered with ``ok <hex key>``
request  ``<verb> …``, judged, recorded and forwarded; the backend's line is cleared and delivered
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pydantic import BaseModel

from lockgate.govern.pipeline import Grant, Planned
from lockgate.model import Operation, OutcomeStatus, Refusal, Secret
from lockgate.wire.spec import LoginContext, ProbeContext, ProtocolSpec, RecordingSpec, Spare
from lockgate.wire.steps import (
    Admit,
    Aside,
    Authenticate,
    Clear,
    Close,
    Compose,
    Dial,
    Interrupt,
    Judge,
    Opened,
    Reach,
    Receive,
    Record,
    Settle,
    Side,
    Snapshot,
    StartTls,
    Steps,
    ToClient,
    ToServer,
)


class Options(BaseModel):
    """Nothing to say."""


@dataclass
class Pass:
    """Clears everything, or raises when told to."""

    fault: Exception | None = None
    masked: dict[str, int] = field(default_factory=dict)

    def apply(self, chunk: bytes) -> bytes:
        if self.fault is not None:
            raise self.fault
        return chunk.replace(b"canary", b"xxxxxx")


class Line:
    """The mediator."""

    def __init__(self) -> None:
        self.rest = b""
        self.back = b""
        self.open: list[Grant] = []
        self.plan = Pass()
        self.is_busy = False

    @property
    def is_idle(self) -> bool:
        return not self.open and not self.is_busy and not self.rest

    @property
    def is_stalled(self) -> bool:
        return False

    def say(self, text: str) -> Steps[None]:
        yield ToClient((yield Compose(text.encode() + b"\n")))

    def client_data(self, data: bytes) -> Steps[None]:
        self.rest += data
        while b"\n" in self.rest:
            line, self.rest = self.rest.split(b"\n", 1)
            self.is_busy = True
            yield from self.request(line)
            self.is_busy = False

    def request(self, line: bytes) -> Steps[None]:
        verb = line.split(b" ")[0].decode("latin-1")
        if verb == "boom":
            raise ValueError("the value of the canary")
        if verb == "raw":
            yield ToServer(line + b"\n")  # type: ignore[arg-type]
        if verb == "leak":
            yield ToClient(line + b"\n")  # type: ignore[arg-type]
        if verb == "look":
            found = yield Snapshot()
            yield from self.say(f"saw {found}" if not isinstance(found, Refusal) else f"no {found.code}")
            return
        text = line.decode("latin-1")
        verdict = yield Judge(
            Operation("line", "line", frozenset({verb}), text, text), lambda decision: Planned(line),
            lambda ticket: f"waiting {ticket}\n".encode(),
        )
        if isinstance(verdict, Refusal):
            yield from self.say(f"refused {verdict.code}")
            return
        permit = yield Record([verdict], line + b"\n")
        if isinstance(permit, Refusal):
            yield from self.say(f"refused {permit.code}")
            return
        self.open.append(verdict)
        yield ToServer(permit)

    def server_data(self, data: bytes) -> Steps[None]:
        self.back += data
        if b"\n" not in data and len(self.back) < 4096:
            return
        chunk, self.back = self.back, b""
        cleared = yield Clear(self.plan, chunk)
        if isinstance(cleared, Refusal):
            yield from self.say(f"refused {cleared.code}")
            yield Close("unclear")
        yield ToClient(cleared)
        for _ in range(chunk.count(b"\n")):
            if self.open:
                yield Settle(self.open.pop(0), OutcomeStatus.OK, rows=1)

    def client_closed(self) -> Steps[None]:
        while self.open:
            yield Settle(self.open.pop(0), OutcomeStatus.UNKNOWN)
        yield ToServer((yield Record((), b"bye\n")))

    def server_closed(self) -> Steps[None]:
        while self.open:
            yield Settle(self.open.pop(0), OutcomeStatus.UNKNOWN, code="gone")
        yield from self.say("backend gone")

    def end(self, refusal: Refusal) -> Steps[None]:
        yield from self.say(f"end {refusal.code}")
        yield Close(refusal.code)

    def interrupt(self) -> Steps[None]:
        yield Aside((yield Record((), b"stop\n")))


def read_line() -> Steps[tuple[bytes, bytes]]:
    """A line, and what came with it."""
    data = b""
    while b"\n" not in data:
        piece = yield Receive(Side.CLIENT)
        if not piece:
            yield Close("left")
        data += piece
        if len(data) > 10_000:
            yield Close("oversized")
    line, _, rest = data.partition(b"\n")
    return line, rest


def dial() -> Steps[Refusal | None]:
    """An end of its own, whose greeting is read."""
    answer = yield Dial()
    if answer is None:
        greeting = yield Receive(Side.SERVER)
        answer = None if greeting else Refusal("backend_unavailable", "hung up")  # type: ignore[arg-type]
    return answer


def reach() -> Steps[Refusal | None]:
    """An end that may have been another session's."""
    answer = yield Reach(("line",))
    return answer if isinstance(answer, Refusal) else None


def login(
    context: LoginContext, connect: Callable[[], Steps[Refusal | None]] = dial, *, shares: bool = False,
) -> Steps[Line | None]:
    line, rest = yield from read_line()
    if line == b"tls":
        info = yield StartTls(Side.CLIENT, initial=rest)
        if isinstance(info, Refusal):
            return None
        line, rest = yield from read_line()
    if line.startswith(b"cancel "):
        yield Interrupt(bytes.fromhex(line[7:].decode()))
        return None
    line, _, task = line.partition(b" @")
    identity = yield Authenticate(Secret(line.decode("latin-1")))
    answer: object = identity
    if not isinstance(identity, Refusal):
        answer = yield Admit(identity, context.route.connection or "crm", {"task": task.decode()} if task else {}, shares)
        if shares and not isinstance(answer, Refusal):
            yield Opened()
        if not isinstance(answer, Refusal):
            answer = yield from connect()
    if isinstance(answer, Refusal):
        yield ToClient((yield Compose(f"no {answer.code}\n".encode())))
        yield Close("refused")
    key = context.cancel_key(8)
    yield ToClient((yield Compose(b"ok " + key.hex().encode() + b"\n")))
    mediator = Line()
    yield from mediator.client_data(rest)
    return mediator


class Seen:
    """A catalogue: the line that the backend gave."""

    def __init__(self, version: int, text: str) -> None:
        self.version = version
        self.text = text

    def __str__(self) -> str:
        return f"{self.text} v{self.version}"


def probe(context: ProbeContext) -> Steps[object]:
    failed = yield Dial()
    if failed is not None:
        return failed
    yield Receive(Side.SERVER)
    yield ToServer((yield Record((), b"catalogue\n")))
    text = (yield Receive(Side.SERVER)).decode().strip()
    if context.previous is not None and context.previous.text == text:
        return context.previous
    return Seen(context.version, text)


def spec(
    with_probe: Callable[[ProbeContext], Steps[object]] | None = None, recording: RecordingSpec | None = None,
) -> ProtocolSpec:
    return ProtocolSpec(
        name="line", title="Lines", default_port=7, settings=Options, login=login, probe=with_probe,
        enforce=lambda name, options, rules, catalogue: [], facts={}, verbs=frozenset(), recording=recording,
    )


class Sharing(Line):
    """A mediator that says no word to the backend when its client leaves."""

    def client_closed(self) -> Steps[None]:
        yield from ()


def pooled(spare: Spare | None = Spare(30.0)) -> ProtocolSpec:  # noqa: B008 - frozen
    """The protocol with ends that are shared; whatever a session leaves between requests is `spare`."""

    def sharing(context: LoginContext) -> Steps[Line | None]:
        made = yield from login(context, reach)
        return None if made is None else Sharing()

    return replace(spec(), login=sharing, redials=True, spare=lambda mediator: spare if mediator.is_idle else None)


def joined(recording: RecordingSpec | None = None) -> ProtocolSpec:
    """The protocol with sessions that are their callers', whatever connections they come over."""
    return replace(spec(recording=recording), login=lambda context: login(context, shares=True))
