"""Bodies of running text, in an encoding that writes ASCII as ASCII; HTML is one."""

from __future__ import annotations

from typing import Final

from lockgate.govern.masking.bodies.values import Values

_BARE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")     # of UTF-16 and UTF-32, which browsers believe more than a header


class TextBody:
    """The mask over a body of running text, in an encoding that writes ASCII as ASCII."""

    __slots__ = ("_search", "_start", "_values", "masked")

    def __init__(self, values: Values) -> None:
        self._values = values
        self._search = values.running()
        self._start: bytes | None = b""
        self.masked = values.masked

    def feed(self, data: bytes) -> bytes:
        """What may go on. ValueError for what is no text in such an encoding, or may not go on as such."""
        self._values.require_names(data)
        if not self._values.looks:
            return data
        require_text(data)
        if self._start is not None:
            self._start += data[:2]
            if self._start[:2] in _BARE_MARKS:
                raise ValueError("the text is in UTF-16, which is not looked into")
            if len(self._start) >= 2:
                self._start = None
        return self._search.feed(data)

    def finish(self) -> bytes:
        """The rest."""
        return self._search.finish()


def require_text(data: bytes) -> None:
    """ValueError for NUL bytes: nothing that is written as ASCII has them, and detectors would see other characters."""
    if b"\0" in data:
        raise ValueError("not text: it holds NUL bytes")
