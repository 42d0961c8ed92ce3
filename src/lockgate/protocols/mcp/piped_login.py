"""From the start of a client's program to a mediator: who asks, may it, and the server that is started for it.

Apart from HTTP's log-in, where each request says who asks: over standard streams one token is for the whole session.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lockgate.config.duration import seconds
from lockgate.config.settings import Connection
from lockgate.govern.masking.scopes import Scopes
from lockgate.model import Identity, Refusal, RefusalCode
from lockgate.protocols.http.admission import Admitted
from lockgate.protocols.http.listing import Listing
from lockgate.protocols.mcp.jsonrpc import Kind, Malformed, read
from lockgate.protocols.mcp.lines import Line, LineReader
from lockgate.protocols.mcp.piped import PipedMediator
from lockgate.protocols.mcp.refusals import answer_of, words_of
from lockgate.protocols.mcp.settings import settings_of
from lockgate.wire.spec import LoginContext, Mediator
from lockgate.wire.steps import (
    Admission,
    Admit,
    Authenticate,
    Close,
    Compose,
    Dial,
    Opened,
    Program,
    Receive,
    Side,
    Steps,
    Tell,
    ToClient,
)

_FIRST: Final = 65_536
"""Bytes of the first message of a client that is refused."""


def login(context: LoginContext) -> Steps[Mediator | None]:
    """The `ProtocolSpec.piped` of MCP. None where it was refused, and the client knows why."""
    found = yield from _admitted(context)
    if isinstance(found, Refusal):
        yield from _refuse(found)
        return None
    return found


def _admitted(context: LoginContext) -> Steps[PipedMediator | Refusal]:
    piped, name = context.piped, context.route.connection
    if piped is None or name is None:
        return _NO_CONNECTION
    identity: Identity | Refusal = yield Authenticate(piped.token)
    if isinstance(identity, Refusal):
        return replace(identity, hint=_NO_TOKEN)
    admission: Admission | Refusal = yield Admit(identity, name, dict(piped.claims))
    if isinstance(admission, Refusal):
        return admission
    connection: Connection = admission.connection
    program = _program(connection, piped.program)
    if isinstance(program, Refusal):
        return program
    is_recorded: bool = yield Opened()
    refusal: Refusal | None = yield Dial(program)
    if refusal is not None:
        return refusal
    settings = settings_of(connection.options)
    return PipedMediator(context, Admitted(
        b"", connection, settings, Listing.of(settings), frozenset(),
        Scopes(connection.name, identity, admission.session, piped.claims.get("task")), context.keys, admission, identity,
        seconds(settings.timeout), seconds(settings.patience), is_recorded=is_recorded,
    ))


def _program(connection: Connection, offered: Program | None) -> Program | Refusal:
    """What is started: the configuration's program, or where it names none the client's. Never both: what the configuration
    gives its program, a client's could tell."""
    settings = settings_of(connection.options)
    if settings.command is None:
        return _NO_PROGRAM if offered is None else offered
    return Program(settings.command, settings.environment, settings.directory) if offered is None else _TWO_PROGRAMS


def _refuse(refusal: Refusal) -> Steps[None]:
    """Tell people at once, and the client as the answer to its first message, or it would only see a stream that ends."""
    yield Tell((yield Compose(f"lockgate: {words_of(refusal)}\n".encode())))
    reader, size, lines = LineReader(_FIRST), 0, list[Line]()
    while not lines and size <= _FIRST:
        data: bytes = yield Receive(Side.CLIENT)
        if not data:
            break
        size += len(data)
        lines = reader.feed(data)
    for line in lines[:1]:
        try:
            messages, _ = read(line.data)
        except Malformed:
            break
        asked = [answer_of(one.id, one.method, refusal) + b"\n" for one in messages if one.kind is Kind.REQUEST]
        yield ToClient((yield Compose(b"".join(asked))))
    yield Close(f"refused: {refusal.code}")


_NO_TOKEN: Final = "Start it with a valid token of a trusted provider in LOCKGATE_TOKEN."
_NO_CONNECTION: Final = Refusal(RefusalCode.DENIED, "no connection was named")
_NO_PROGRAM: Final = Refusal(
    RefusalCode.NOT_UNDERSTOOD, "nothing says which program the server is",
    hint="Write it behind `--`, or as `options: {command: [...]}` of the connection.")
_TWO_PROGRAMS: Final = Refusal(
    RefusalCode.DENIED, "the configuration says which program the server of this connection is",
    hint="Leave out what stands behind `--`.")
