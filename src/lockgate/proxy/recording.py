"""The recording of one session: its streams, fed at the places where bytes enter and leave the process.

The client's stream holds what the client sent after its log-in, and what went to it: taken out of a clearance, so after
every mask. A rule's `record_raw` adds the backend's stream: what went there, out of a permit, and what came from there,
before masks. Bytes are recorded as they are on the wire and read when they are played (`wire.spec.RecordingSpec`), or as a
protocol's tap makes messages of them (`Tapped`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from lockgate.audit.evidence.report import counted
from lockgate.audit.recording.events import INPUT, OUTPUT, WINDOW, Header, Tag
from lockgate.audit.recording.studio import OnCut, Studio
from lockgate.audit.recording.tape import Tape
from lockgate.model import Secret
from lockgate.wire.steps import Passed, Side
from lockgate.wire.tap import Shares, Taken, TapMaker

if TYPE_CHECKING:
    from lockgate.govern.ports import Clock

CLIENT_STREAM: Final = "client"
BACKEND_STREAM: Final = "backend"


class Recording:
    """Mutable; owned by one session. `on_end` is told why the session has to end, where the terms want that; what takes
    bytes then returns False, and they must not go on."""

    __slots__ = (
        "_backend", "_client", "_clock", "_exchanges", "_has_failed", "_is_cut", "_left", "_left_out", "_on_end", "_shortened", "_started",
        "_terms",
    )

    def __init__(
        self, studio: Studio, clock: Clock, kind: str, protocol: str, sid: str,
        credentials: Callable[[], Sequence[Secret]], *, is_raw: bool, on_end: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._terms = studio.terms
        self._left = self._terms.limit
        self._is_cut = self._has_failed = False
        self._exchanges = self._shortened = self._left_out = 0
        self._on_end = on_end
        self._started = clock.monotonic()
        begun = int(clock.now() * 1000)

        def tape(stream: str) -> Tape:
            return studio.begin(Header(kind, protocol, sid, stream, begun), credentials, self._failed)

        self._client = tape(CLIENT_STREAM)
        self._backend = tape(BACKEND_STREAM) if is_raw else None

    def heard(self, data: bytes) -> bool:
        """Bytes that came from the client."""
        return self._put(self._client, INPUT, data)

    def told(self, data: bytes) -> bool:
        """Bytes that go to the client."""
        return self._put(self._client, OUTPUT, data)

    def sent(self, data: bytes) -> bool:
        """Bytes that go to the backend."""
        return self._backend is None or self._put(self._backend, INPUT, data)

    def got(self, data: bytes) -> bool:
        """Bytes that came from the backend."""
        return self._backend is None or self._put(self._backend, OUTPUT, data)

    def passed(self, step: Passed) -> bool:
        """What the mediator says."""
        return self.heard(step.data) if step.source is Side.CLIENT else self.told(step.data)

    def number(self) -> int:
        """Of the next exchange."""
        self._exchanges += 1
        return self._exchanges

    @property
    def shares(self) -> Shares:
        """What is recorded of one content."""
        return Shares(self._terms.content, self._terms.binary)

    def take(self, piece: Taken) -> bool:
        """A piece that a tap has made."""
        if piece.left_out:
            self._shortened += 1
            self._left_out += piece.left_out
        kind = INPUT if piece.source is Side.CLIENT else OUTPUT
        return self._put(self._client, kind, piece.data, Tag(piece.exchange, piece.part, piece.more))

    def window(self, columns: int, rows: int) -> None:
        """The client's terminal has another size."""
        self._client.note(self._clock.monotonic() - self._started, WINDOW, {"columns": columns, "rows": rows})

    @property
    def is_full(self) -> bool:
        """True while whoever brings bytes has to wait."""
        return self._client.is_full or (self._backend is not None and self._backend.is_full)

    def when_room(self, call: Callable[[], None]) -> None:
        """Call once when nobody has to wait any more."""
        full = self._client if self._client.is_full or self._backend is None else self._backend
        full.when_room(lambda: self.when_room(call) if self.is_full else call())

    @property
    def has_room(self) -> bool:
        """True where another client's end may be recorded in it: it is whole, and no more than half of its limit is used."""
        return not (self._is_cut or self._has_failed) and (self._left is None or self._terms.limit is None or self._left * 2 > self._terms.limit)

    def finish(self, call: Callable[[], None]) -> None:
        """The session is over: call when all of it is recorded, or will never be."""
        if self._left_out:
            self._client.leave_out(f"{counted(self._shortened, 'content')} recorded in part", self._left_out)
        self._client.finish()
        if self._backend is not None:
            self._backend.finish()
        self._client.when_over(call if self._backend is None else lambda: self._backend.when_over(call))  # type: ignore[union-attr]

    def _put(self, tape: Tape, kind: str, data: bytes, tag: Tag | None = None) -> bool:
        if self._is_cut:
            return True                 # the session has ended because of it, or goes on without
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                return self._at_limit(tape, len(data))
        tape.put(self._clock.monotonic() - self._started, kind, data, tag)
        return True

    def _at_limit(self, tape: Tape, dropped: int) -> bool:
        self._is_cut = True
        reason = f"the limit of {self._terms.limit} bytes is reached"
        for one in (self._client, self._backend):
            if one is not None:
                one.cut(reason, dropped if one is tape else 0)
        if self._terms.on_limit is OnCut.END:
            self._on_end(reason)
            return False
        return True

    def _failed(self, reason: str) -> None:
        self._has_failed = True
        if self._terms.on_error is OnCut.END:
            self._on_end(reason)


class Tapped:
    """The part of a recording that one client's end has in it, through its protocol's tap; to a session it is what
    `Recording` is. Several streams of one connection may have theirs in one recording."""

    __slots__ = ("_recording", "_tap")

    def __init__(self, recording: Recording, make: TapMaker) -> None:
        self._recording = recording
        self._tap = make(recording.number, recording.shares)

    def heard(self, data: bytes) -> bool:
        """Bytes as they came from the client hold its token, and are not recorded."""
        return True

    def sent(self, data: bytes) -> bool:
        """Bytes as they go to the backend hold its credential, and are not recorded."""
        return True

    def got(self, data: bytes) -> bool:
        """Bytes that came from the backend are not masked, and not recorded."""
        return True

    def told(self, data: bytes) -> bool:
        """Bytes that go to the client."""
        return self._take(self._tap.told(data))

    def passed(self, step: Passed) -> bool:
        """What the mediator says."""
        return self._take(self._tap.passed(step.source, step.data, step.part, step.left_out))

    def close(self) -> None:
        """This end is over."""
        self._take(self._tap.closed())

    @property
    def is_full(self) -> bool:
        """True while whoever brings bytes has to wait."""
        return self._recording.is_full

    def when_room(self, call: Callable[[], None]) -> None:
        """Call once when nobody has to wait any more."""
        self._recording.when_room(call)

    def _take(self, pieces: Sequence[Taken]) -> bool:
        return all(self._recording.take(piece) for piece in pieces)
