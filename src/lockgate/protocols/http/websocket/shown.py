"""What a backend says over a socket, on its way to the client: a message in, frames out, behind its masks (I3).

A message that is text is looked into, in a text frame or a binary one. Bytes that are no text pass where the connection says
`binary: allow`, or where nothing is due.
"""

from __future__ import annotations

from typing import Final

from lockgate.govern.masking.bodies import BodyTerms, MessageBody, NoNames, message_mask
from lockgate.protocols.http.websocket.frames import (
    LONGEST_REASON,
    Closing,
    Message,
    close_frame,
    message_frame,
)
from lockgate.protocols.http.websocket.operations import text_of

_BINARY: Final = "it is binary, and masks are due that cannot be put on it"
_UNREADABLE: Final = "it is neither JSON nor text that can be looked into"


class ShownMessages:
    """The clear plan of one socket. `take` says what is cleared next, `fault` why it could not be; `sent` counts content,
    `told` are the messages that were cleared last."""

    __slots__ = ("_body", "_next", "_passes_binary", "_terms", "fault", "masked", "sent", "told")

    def __init__(self, masked: dict[str, int], *, passes_binary: bool) -> None:
        self.masked = masked
        self.sent = 0
        self.fault = ""
        self.told: list[bytes] = []
        self._passes_binary = passes_binary
        self._terms: BodyTerms | None = None
        self._body: MessageBody | None = None
        self._next: Message | Closing | None = None

    def take(self, item: Message | Closing, terms: BodyTerms) -> bytes:
        """This is cleared next, under these terms; returns the bytes to hand over. Those of texts that are held from other
        terms come out by them first."""
        self._next = item
        self._terms = terms
        return item.data if isinstance(item, Message) else item.reason.encode("utf-8")

    def apply(self, chunk: bytes) -> bytes:
        """Frames for the client. ValueError where a mask cannot be held."""
        item, terms = self._next, self._terms
        assert item is not None
        assert terms is not None
        self.told = []
        held = self._changed(terms)
        try:
            if isinstance(item, Closing):
                held += self._finished()
                frames = self._frames(held) + close_frame(item.code, self._reason(chunk, terms), to_client=True)
            else:
                frames = self._frames(held) + self._message(chunk, item)
        except ValueError as error:
            self.fault = self.fault or (str(error) if isinstance(error, NoNames) else _UNREADABLE)
            raise
        self._count()
        return frames

    def _changed(self, terms: BodyTerms) -> list[bytes]:
        """What is held under other terms than these, which are in force from now on."""
        body = self._body
        if body is not None and body.terms == terms:
            return []
        held = self._finished()
        self._body = message_mask(terms) if terms.is_due else None
        return held

    def _finished(self) -> list[bytes]:
        return [] if self._body is None else self._body.finish()

    def _message(self, data: bytes, message: Message) -> bytes:
        if self._body is None:
            return self._frames([data], is_text=message.is_text)
        if text_of(message) is None:
            if not self._passes_binary:
                self.fault = _BINARY
                raise ValueError(_BINARY)
            return self._frames([data], is_text=False)
        return self._frames(self._body.message(data), is_text=message.is_text)

    def _frames(self, messages: list[bytes], *, is_text: bool = True) -> bytes:
        self.sent += sum(map(len, messages))
        self.told += messages
        return b"".join(message_frame(one, is_text=is_text, to_client=True) for one in messages)

    def _reason(self, reason: bytes, terms: BodyTerms) -> str:
        """A close frame's reason, or none where it cannot be shown, or not whole."""
        if not terms.is_due or not reason:
            return reason.decode("utf-8")
        try:
            body = message_mask(terms)
            shown = b"".join((*body.message(reason), *body.finish()))
            text = shown.decode("utf-8")
        except ValueError:
            return ""
        return text if len(shown) <= LONGEST_REASON else ""

    def _count(self) -> None:
        if self._body is None:
            return
        for name, count in self._body.masked.items():
            self.masked[name] = self.masked.get(name, 0) + count
        self._body.masked.clear()
