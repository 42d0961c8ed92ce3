"""The frames of a backend's HTTP/2 connection, before h2 reads them: GOAWAY, and floods.

Apart from `bundle` because h2 ends a connection with the first GOAWAY, whereas a backend that says it lets the streams come to
their end that it has begun (RFC 9113 section 6.8). And h2 answers whatever a peer sends, however often; here frames that bring
nothing cost credit, which content and streams give back. No clock is needed: a connection has an age.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

_HEAD: Final = 9
_LARGEST: Final = 16_384
"""Bytes of a frame; the gateway's SETTINGS_MAX_FRAME_SIZE is the least that there is."""
_DATA, _HEADERS, _PUSH_PROMISE, _GOAWAY, _CONTINUATION = 0, 1, 5, 7, 9
_END_HEADERS: Final = 4
CREDIT: Final = 1_000
"""Frames that bring nothing, beyond what content and streams account for."""
_MOST: Final = 10_000
"""And with what they have earned."""
PER_STREAM: Final = 20
"""Such frames that a stream accounts for."""
_SENT: Final = 512
"""Bytes of a request's content that account for one (a WINDOW_UPDATE)."""
_WINDOWS: Final = 2


class FrameError(ProtocolError):
    """The backend sends what no backend may send."""


class FloodError(FrameError):
    """Or what brings nothing, and does not stop."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


@dataclass(frozen=True, slots=True)
class GoAway:
    """The backend opens no more streams, and has looked at none above `last`."""

    last: int
    code: int


class Frames:
    """Deals out what a backend sends. Raises `FrameError` for what no backend may send."""

    __slots__ = ("_credit", "_is_open", "_left", "_rest")

    def __init__(self) -> None:
        self._rest = b""            # of a frame's head, or of a GOAWAY
        self._left = 0              # bytes that are still to come of a frame that is on its way to h2
        self._credit = CREDIT
        self._is_open = False       # a header block has begun and is not whole

    def earn(self, frames: int) -> None:
        """So many frames more may bring nothing."""
        self._credit = min(self._credit + frames, _MOST)

    def sent(self, size: int, *, is_cut: bool) -> None:
        """Content was sent, for which the backend opens its windows: one of the stream and one of the connection. `is_cut`:
        it was as little as they allowed."""
        self.earn(size // _SENT + (0 if is_cut else _WINDOWS))

    def feed(self, data: bytes) -> list[bytes | GoAway]:
        """What has come, in its order: bytes for h2, and GOAWAYs, which are not for it."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        found: list[bytes | GoAway] = []
        start, size = 0, len(data)
        at = min(self._left, size)
        self._left -= at
        while size - at >= _HEAD and not self._left:
            length, kind = int.from_bytes(data[at:at + 3], "big"), data[at + 3]
            if length > _LARGEST:
                raise FrameError("a frame is too large")
            end = at + _HEAD + length
            if kind == _GOAWAY:
                if end > size:
                    break
                if at > start:
                    found.append(data[start:at])
                found.append(self._goaway(data[at:end]))
                start = end
            else:
                self._look(kind, data[at + 4], length)
            self._left = max(end - size, 0)
            at = min(end, size)
        if at > start:
            found.append(data[start:at])
        self._rest = data[at:]
        return found

    def _goaway(self, frame: bytes) -> GoAway:
        if len(frame) < _HEAD + 8 or any(frame[5:9]) or self._is_open:
            raise FrameError("a GOAWAY is none, or not where one may be")
        self._spend()
        return GoAway(int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF, int.from_bytes(frame[13:17], "big"))

    def _look(self, kind: int, flags: int, length: int) -> None:
        if kind == _DATA and length:
            self.earn(1)
        elif kind in (_HEADERS, _PUSH_PROMISE, _CONTINUATION):
            self._is_open = not flags & _END_HEADERS
            self._spend()           # an answer's, which its stream has paid for
        else:
            self._spend()

    def _spend(self) -> None:
        self._credit -= 1
        if self._credit < 0:
            raise FloodError("too many frames that bring nothing")
