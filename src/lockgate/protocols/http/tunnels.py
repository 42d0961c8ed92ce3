"""CONNECT: a client of a forward proxy asks for a connection to a host (RFC 9110 section 9.3.6).

To a host that is a connection the gateway is the host: TLS ends here, with a certificate of the installation's own
authority, and what is inside is judged like any other request; the caller is the one of the CONNECT. Bytes pass blindly only
to connections that say `tunnel`. Whatever else is asked for is refused, and on record.
"""

from __future__ import annotations

from typing import Final

from lockgate.govern.masking import PassPlan
from lockgate.govern.pipeline import Grant, Planned
from lockgate.model import Operation, OutcomeStatus, Refusal
from lockgate.protocols.http.admission import Admitted, admit, refuse_nowhere
from lockgate.protocols.http.codec import RequestReader
from lockgate.protocols.http.exchange import Tunnel
from lockgate.protocols.http.forwarding import Forwarding
from lockgate.protocols.http.messages import RequestHead
from lockgate.protocols.http.operations import TUNNEL
from lockgate.protocols.http.problems import Problem, problem_of
from lockgate.protocols.http.routing import Destination, host_of
from lockgate.wire.steps import (
    Alarm,
    Clear,
    Close,
    Compose,
    Dial,
    Judge,
    Passed,
    Receive,
    Record,
    Settle,
    Side,
    StartTls,
    Steps,
    TlsInfo,
    ToClient,
    ToServer,
)

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection Established\r\n\r\n"
_HANDSHAKE: Final = b"\x16"
_FIRST: Final = 30.0
"""Seconds that a client has to say something through a tunnel that it asked for."""
_NOT_ALLOWED: Final = Problem(
    403, "denied", "this host is no connection of the gateway, so nothing is let through to it",
    hint="Ask those who run the gateway to add it as a connection, or reach it another way that is allowed.")


class Tunnels(Forwarding):
    """The part of a conversation that opens tunnels, and carries the bytes of blind ones."""

    def _open_tunnel(self, head: RequestHead) -> Steps[None]:
        if not self._context.route.is_proxy or self._tunnel is not None:
            yield from self._answer(head, Problem(
                501, "unsupported", "this port is no forward proxy", hint="Nothing was forwarded."))
            return
        host = host_of(head.target)
        name = self._context.by_server_name(host)
        if name is None or name not in self._context.connections:
            yield from self._forget_caller()        # who asks for this is verified anew, and put on record
            yield from self._answer(head, (yield from refuse_nowhere(head, self._certificate)) or _NOT_ALLOWED)
            return
        admitted = yield from admit(self._context, head, Destination(name), self._admitted, self._certificate)
        if isinstance(admitted, Problem):
            yield from self._forget_caller()
            yield from self._answer(head, admitted.at_proxy())
            return
        self._admitted, self._link, self._asked, self._is_recorded = admitted, None, None, admitted.is_recorded
        if admitted.settings.tunnel:
            yield from self._pass_blindly(head, admitted, host)
        else:
            yield from self._stand_in(admitted, host)

    def _stand_in(self, admitted: Admitted, host: str) -> Steps[None]:
        """Be the host: TLS if the client begins it, else plain HTTP inside."""
        self._phase += 1
        yield from self._pass_connect(host)
        yield ToClient((yield Compose(_ESTABLISHED)))
        yield Alarm(_FIRST, self._nothing_came)
        early = self._reader.rest() or (yield Receive(Side.CLIENT))
        if not early:
            return
        self._tunnel = Tunnel(admitted, host, None)
        self._reader = RequestReader()
        self._is_read = True
        if early.startswith(_HANDSHAKE):
            tls: TlsInfo | Refusal = yield StartTls(Side.CLIENT, early, ("http/1.1",), as_host=host)
            if isinstance(tls, Refusal):
                yield Close("no TLS in a tunnel")
                return
        else:
            self._reader.feed(early)

    def _pass_connect(self, host: str) -> Steps[None]:
        """Say to the recording that a tunnel is opened."""
        if self._is_recorded:
            name = host.encode("ascii")
            yield Passed(Side.CLIENT, b"CONNECT %b:443 HTTP/1.1\r\nHost: %b:443\r\n\r\n" % (name, name))

    def _nothing_came(self) -> Steps[None]:
        if self._tunnel is None:
            yield Close("nothing came through a tunnel")

    # ------------------------------------------------------------ blind

    def _pass_blindly(self, head: RequestHead, admitted: Admitted, host: str) -> Steps[None]:
        authority = head.target.decode("ascii")
        operation = Operation(
            protocol="http", kind="tunnel", verbs=frozenset((TUNNEL,)), text=f"CONNECT {authority}",
            key=("connect", authority), objects=(authority,), returns=False,
            facts={"method": "CONNECT", "host": host, "path": "", "segments": [], "template": "", "operation": "", "query": {},
                   "headers": {}, "content_type": "", "size": 0, "websocket": False, "message": ""})
        verdict: Grant | Refusal = yield Judge(
            operation, lambda _decision: Planned(operation.text.encode()), patience=admitted.patience)
        if isinstance(verdict, Refusal):
            yield from self._answer(head, problem_of(verdict))
            return
        dialled: Refusal | None = yield Dial()
        permit = dialled if dialled is not None else (yield Record([verdict], b""))
        if isinstance(permit, Refusal):
            yield from self._answer(head, problem_of(permit))
            return
        self._tunnel = Tunnel(admitted, host, verdict)
        self._phase += 1
        early = self._reader.rest()
        yield from self._pass_connect(host)
        yield ToClient((yield Compose(_ESTABLISHED)))
        yield Alarm(None)
        if early:
            yield from self._up(self._tunnel, early)

    def _up(self, tunnel: Tunnel, data: bytes) -> Steps[None]:
        """Bytes of the client."""
        assert tunnel.grant is not None
        permit = yield Record((), data, tunnel.grant.record)
        if isinstance(permit, Refusal):
            yield from self._end_tunnel(tunnel, OutcomeStatus.REFUSED, permit.code.value)
            return
        tunnel.sent += len(data)
        yield ToServer(permit)

    def _down(self, tunnel: Tunnel, data: bytes) -> Steps[None]:
        """Bytes of the host."""
        cleared = yield Clear(PassPlan(), data)
        if isinstance(cleared, Refusal):
            yield from self._end_tunnel(tunnel, OutcomeStatus.REFUSED, cleared.code.value)
            return
        tunnel.received += len(data)
        if tunnel.grant is not None:
            tunnel.grant.tell(tunnel.received)
        yield ToClient(cleared)

    def _end_tunnel(self, tunnel: Tunnel, status: OutcomeStatus, code: str) -> Steps[None]:
        assert tunnel.grant is not None
        yield Settle(tunnel.grant, status, sent=tunnel.received, code=code)
        yield Close(f"the tunnel ended: {code}")

