"""The four ways in which a shot is fired. Apart from `client`, which knows messages but not their order.

- ``simple``: one Query with all statements, text results;
- ``extended``: Parse, Bind, Describe, Execute, Sync for each statement, text results;
- ``binary``: the same with binary results;
- ``pieces``: a named statement, described, bound to a named portal and fetched row by row, every step flushed
  and awaited before the next (a gateway that ties masks to one step loses them in another).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.leaktest.client import COPY_FAIL, Client
from lockgate.wire.leaktest import Shot

_PLACE: Final = re.compile(r"\$(\d+)")
_ROWS: Final = 24
"""Rows that are fetched one by one; the rest comes in one piece."""
_STATEMENT: Final = b"lockgate_statement"
_PORTAL: Final = b"lockgate_portal"


def simple(client: Client, shot: Shot) -> None:
    """All statements in one Query; parameters are written into it as literals."""
    texts = [_filled(statement, shot.parameters_of(index)) for index, statement in enumerate(shot.statements)]
    client.ask("; ".join(texts))


def _filled(statement: str, values: tuple[str, ...]) -> str:
    def literal(found: re.Match[str]) -> str:
        number = int(found[1])
        if not 1 <= number <= len(values):
            return found[0]
        quoted = values[number - 1].replace("'", "''")
        return f"'{quoted}'"

    return _PLACE.sub(literal, statement) if values else statement


def _extended(client: Client, shot: Shot, result_format: int) -> None:
    for index, statement in enumerate(shot.statements):
        values = tuple(value.encode() for value in shot.parameters_of(index))
        client.send(codec.parse(b"", statement), codec.bind(codec.Bind(b"", b"", (), tuple(values), (result_format,))),
                    codec.describe_portal(b""), codec.execute(b""), m.SYNC_FRAME)
        client.until(m.READY, decline=COPY_FAIL + m.SYNC_FRAME)


def extended(client: Client, shot: Shot) -> None:
    """Extended protocol, text results."""
    _extended(client, shot, 0)


def binary(client: Client, shot: Shot) -> None:
    """Extended protocol, binary results."""
    _extended(client, shot, 1)


def pieces(client: Client, shot: Shot) -> None:
    """Named statement and portal, one step at a time."""
    for index, statement in enumerate(shot.statements):
        _in_pieces(client, statement, tuple(value.encode() for value in shot.parameters_of(index)), index % 2)
        client.send(m.SYNC_FRAME)
        client.until(m.READY)


def _in_pieces(client: Client, statement: str, values: tuple[bytes, ...], result_format: int) -> None:
    """Until the first error; what follows it is skipped by the server until Sync."""
    def step(data: bytes, *kinds: int) -> int:
        client.send(data, m.FLUSH_FRAME)
        return client.until(m.ERROR_RESPONSE, *kinds)

    steps = (
        (codec.target(m.CLOSE, b"P", _PORTAL), (m.CLOSE_COMPLETE,)),
        (codec.target(m.CLOSE, b"S", _STATEMENT), (m.CLOSE_COMPLETE,)),
        (codec.parse(_STATEMENT, statement), (m.PARSE_COMPLETE,)),
        (codec.target(m.DESCRIBE, b"S", _STATEMENT), (m.ROW_DESCRIPTION, m.NO_DATA)),
        (codec.bind(codec.Bind(_PORTAL, _STATEMENT, (), tuple(values), (result_format,))), (m.BIND_COMPLETE,)),
        (codec.target(m.DESCRIBE, b"P", _PORTAL), (m.ROW_DESCRIPTION, m.NO_DATA)),
    )
    for data, kinds in steps:
        if step(data, *kinds) == m.ERROR_RESPONSE:
            return
    for number in range(_ROWS + 1):
        limit = 1 if number < _ROWS else 0
        if step(codec.execute(_PORTAL, limit), m.PORTAL_SUSPENDED, m.COMMAND_COMPLETE, m.EMPTY_QUERY) != m.PORTAL_SUSPENDED:
            return


WAYS: Final[Mapping[str, Callable[[Client, Shot], None]]] = {
    "simple": simple, "extended": extended, "binary": binary, "pieces": pieces,
}
