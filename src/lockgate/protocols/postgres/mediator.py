"""One admitted session: the two sides put together, and how it ends.

Apart from the sides because ending, interrupting and resuming need both.
"""

from __future__ import annotations

from lockgate.model import Refusal, RefusalCode
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.client import ClientSide
from lockgate.protocols.postgres.operations import problem_of
from lockgate.protocols.postgres.server import ServerSide, cancel
from lockgate.protocols.postgres.states import SessionState
from lockgate.wire.steps import Close, Compose, Note, Record, Steps, ToClient, ToServer


class PostgresMediator:
    """`wire.spec.Mediator` for one client and its backend, after log-in."""

    def __init__(self, state: SessionState) -> None:
        self.state = state
        self._client = ClientSide(state)
        self._server = ServerSide(state)

    @property
    def is_idle(self) -> bool:
        """Nothing is owed, nothing waits, and no message of the client is half there."""
        state = self.state
        return not (state.queue or state.inbox or state.is_client_busy or state.is_server_busy
                    or state.copying is not None or state.is_mid_frame)

    @property
    def is_stalled(self) -> bool:
        """Frames of the client wait for a reply."""
        return self.state.is_stalled

    def client_data(self, data: bytes) -> Steps[None]:
        """Judge, record and forward what the client sent."""
        return self._client.data(data)

    def server_data(self, data: bytes) -> Steps[None]:
        """Match, clear and deliver what the backend sent; then go on with frames that waited for it."""
        state = self.state
        if state.is_ended:
            return
        state.is_server_busy = True
        yield from self._server.data(data)
        state.is_server_busy = False
        if state.is_stalled and not state.is_ended:
            if state.is_client_busy:
                state.is_woken = True           # it looks again before it stops
            else:
                yield from self._client.go_on()

    def client_closed(self) -> Steps[None]:
        """What runs upstream is cancelled, for nobody reads its result, and its outcome is unknown. The
        backend gets a Terminate."""
        if self.state.queue.head is not None:
            yield Note("cancel", {"reason": "client left"})
            yield from self.interrupt()
        yield from self._server.abandon("client left")
        yield from self._goodbye()
        yield Close("client closed")

    def server_closed(self) -> Steps[None]:
        """The backend hung up."""
        self.state.is_ended = True
        return (yield from self._server.closed())

    def end(self, refusal: Refusal) -> Steps[None]:
        """FATAL between two requests: 57P05 expired, 57P01 drain, 58030 broken log."""
        state = self.state
        state.is_ended = True
        if not state.is_mid_frame:
            yield ToClient((yield Compose(problem_of(refusal).encode("FATAL"))))
        if refusal.code is not RefusalCode.AUDIT_UNAVAILABLE:
            yield from self._goodbye()
        yield Close(refusal.code.value)

    def _goodbye(self) -> Steps[None]:
        permit = yield Record((), m.TERMINATE_FRAME)
        if type(permit) is not Refusal:
            yield ToServer(permit)

    def interrupt(self) -> Steps[None]:
        """Cancel what runs, with the backend's own key over a connection of its own."""
        return cancel(self.state)
