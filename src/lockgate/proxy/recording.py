"""The recording of one session: its streams, fed at the places where bytes enter and leave the process.

The client's stream holds what the client sent after its log-in, and what went to it: taken out of a clearance, so after
every mask. A rule's `record_raw` adds the backend's stream: what went there, out of a permit, and what came from there,
before masks. Bytes are recorded as they are on the wire and read when they are played (`wire.spec.RecordingSpec`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lockgate.audit.recording.events import INPUT, OUTPUT, WINDOW, Header
from lockgate.audit.recording.studio import OnCut, Studio
from lockgate.audit.recording.tape import Tape
from lockgate.model import Secret

if TYPE_CHECKING:
    from lockgate.govern.ports import Clock

CLIENT_STREAM: Final = "client"
BACKEND_STREAM: Final = "backend"


class Recording:
    """Mutable; owned by one session. `on_end` is told why the session has to end, where the terms want that; what takes
    bytes then returns False, and they must not go on."""

    __slots__ = ("_backend", "_client", "_clock", "_is_cut", "_left", "_on_end", "_started", "_terms")

    def __init__(
        self, studio: Studio, clock: Clock, kind: str, protocol: str, sid: str, credential: Callable[[], Secret], *,
        is_raw: bool, on_end: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._terms = studio.terms
        self._left = self._terms.limit
        self._is_cut = False
        self._on_end = on_end
        self._started = clock.monotonic()
        begun = int(clock.now() * 1000)

        def tape(stream: str) -> Tape:
            return studio.begin(Header(kind, protocol, sid, stream, begun), lambda: (credential(),), self._failed)

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

    def finish(self, call: Callable[[], None]) -> None:
        """The session is over: call when all of it is recorded, or will never be."""
        self._client.finish()
        if self._backend is not None:
            self._backend.finish()
        self._client.when_over(call if self._backend is None else lambda: self._backend.when_over(call))  # type: ignore[union-attr]

    def _put(self, tape: Tape, kind: str, data: bytes) -> bool:
        if self._is_cut:
            return True                 # the session has ended because of it, or goes on without
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                return self._at_limit(tape, len(data))
        tape.put(self._clock.monotonic() - self._started, kind, data)
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
        if self._terms.on_error is OnCut.END:
            self._on_end(reason)
