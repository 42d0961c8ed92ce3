"""What of MCP over standard streams is recorded: messages of the client as they went on, those of the server as the client
got them, one a line.

Apart from HTTP's tap, which has heads and codings to look at. Each message is an exchange of its own in the recording; which
answers which is told when it is read (`recorded`). What the gateway answers itself is among what the client got.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson

from lockgate.protocols.mcp.jsonrpc import Message
from lockgate.wire.steps import Side
from lockgate.wire.tap import Shares, Taken

LINE: Final = "l"
"""A message with its line's end, by which the reader knows that it is whole."""


def of_refused(message: Message) -> bytes:
    """What is recorded of a message that does not go on: its method and what it names, nothing of what it says."""
    return orjson.dumps({
        "jsonrpc": "2.0", **({} if message.id is None else {"id": message.id}), "method": message.method,
        "params": {name: value for name in ("name", "uri") if isinstance(value := message.params.get(name), str)},
    })


class LineTap:
    """`wire.tap.Tap` of one client's streams. Both sides come in whole lines, as the mediator writes them."""

    def __init__(self, number: Callable[[], int], shares: Shares) -> None:
        self._next = number
        self._share = shares.text

    def told(self, data: bytes) -> list[Taken]:
        """See `Tap`."""
        return self._lines(Side.SERVER, data)

    def passed(self, source: Side, data: bytes, _part: str, _left_out: int) -> list[Taken]:
        """See `Tap`."""
        return self._lines(source, data)

    def closed(self) -> list[Taken]:
        """See `Tap`."""
        return []

    def _lines(self, source: Side, data: bytes) -> list[Taken]:
        return [self._line(source, line) for line in data.split(b"\n") if line]

    def _line(self, source: Side, line: bytes) -> Taken:
        kept = line[:self._share]
        return Taken(source, self._next(), LINE, kept + b"\n", left_out=len(line) - len(kept))
