"""Bodies in parts: `multipart/form-data` (RFC 7578) and its kin (RFC 2046, section 5.1).

Each part is a body of its own, and a member by its name. What stands before the first part and behind the last is
nothing to anybody and does not go on. A line that only begins like a delimiter, headers that are said twice, folded or coded
are refused: somebody else could read other parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from lockgate.govern.masking.bodies.members import Members
from lockgate.govern.masking.bodies.seeming_body import Passing, SeemingBody
from lockgate.govern.masking.bodies.terms import BodyMask
from lockgate.govern.masking.bodies.values import Values
from lockgate.govern.masking.detector import REDACTED

Shape = Callable[[Values, bytes, bytes, Mapping[bytes, bytes], int], "BodyMask | None"]
"""`shape.shape_for`."""

_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_DELIMITER_END: Final = re.compile(rb"(--)|[ \t]*\r\n")
_UNFINISHED_END: Final = re.compile(rb"-?|[ \t]{0,200}\r?")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_PARAMETER: Final = re.compile(rb';[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^;" \t]*)[ \t]*')
_LONGEST_HEAD: Final = 16_384
_MOST_PARTS: Final = 10_000
_UNCODED: Final = (b"", b"7bit", b"8bit", b"binary")


class MultipartBody:
    """The mask over a body in parts."""

    __slots__ = ("_boundary", "_buffer", "_count", "_limit", "_members", "_part", "_shape", "_skipped", "_state",
                 "_values", "masked")

    def __init__(self, values: Values, boundary: bytes, shape: Shape) -> None:
        """ValueError for what is no boundary."""
        if _BOUNDARY.fullmatch(boundary) is None:
            raise ValueError("a body in parts says no boundary that is one")
        self.masked = values.masked
        self._values = values
        self._members = Members(values)
        self._limit = values.terms.limit
        self._shape = shape
        self._boundary = b"\r\n--" + boundary
        self._buffer = b"\r\n"                      # the first delimiter may stand at the very start
        self._state = self._before
        self._skipped = 0                           # bytes in front of the buffer that are no content
        self._part: BodyMask = _Nothing()
        self._count = 0

    def feed(self, data: bytes) -> bytes:
        """What may go on. ValueError for what is not in parts, or a part that cannot be looked into."""
        self._buffer += data
        out: list[bytes] = []
        while (step := self._state()) is not None:
            out.append(step)
        return b"".join(out)

    def finish(self) -> bytes:
        """Nothing. ValueError where the last part is not at its end."""
        if self._state != self._behind and (self._count or self._buffer != b"\r\n"):
            raise ValueError("the body in parts is not whole")
        return b""

    # Each state gives what goes on and may be asked again, or None where it needs more.

    def _before(self) -> bytes | None:
        """Up to the first delimiter."""
        return self._up_to_delimiter(is_first=True)

    def _inside(self) -> bytes | None:
        """In a part's content."""
        return self._up_to_delimiter(is_first=False)

    def _up_to_delimiter(self, *, is_first: bool) -> bytes | None:
        at = self._buffer.find(self._boundary)
        if at >= 0:
            out = self._part.feed(self._buffer[self._skipped:at]) + self._part.finish()
            self._buffer = self._buffer[at + len(self._boundary):]
            self._part = _Nothing()
            self._state = self._at_delimiter
            return out + self._boundary[2 if is_first else 0:]
        cut = len(self._buffer) - len(self._boundary) + 1
        if cut <= 0:
            return None
        out = self._part.feed(self._buffer[self._skipped:cut])
        self._buffer = self._buffer[cut:]
        self._skipped = max(0, self._skipped - cut)
        return out or None

    def _at_delimiter(self) -> bytes | None:
        """Behind a delimiter: another part, or the end."""
        found = _DELIMITER_END.match(self._buffer)
        if found is None:
            if _UNFINISHED_END.fullmatch(self._buffer) is None:
                raise ValueError("the body in parts has a line that only begins like a delimiter")
            return None
        if found[1] is not None:
            self._state = self._behind
            return b"--\r\n"
        self._buffer = self._buffer[found.end():]
        self._state = self._head
        return b"\r\n"

    def _head(self) -> bytes | None:
        """A part's headers."""
        if self._buffer.startswith(b"\r\n"):
            head, size = b"", 2
        else:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0 or end > _LONGEST_HEAD:
                if len(self._buffer) > _LONGEST_HEAD:
                    raise ValueError("a part has more headers than are read")
                return None
            head, size = self._buffer[:end], end + 4
        # The line's end before the content is that of a delimiter, if one stands right behind.
        self._buffer = self._buffer[size - 2:]
        self._skipped = 2
        self._count += 1
        if self._count > _MOST_PARTS:
            raise ValueError("the body has more parts than are looked at")
        headers = _headers(head)
        self._part = self._chosen(headers)
        self._state = self._inside
        return b"".join(
            self._values.text(name + b": " + value) + b"\r\n" for name, value in headers if name.lower() != b"content-length"
        ) + b"\r\n"

    def _behind(self) -> bytes | None:
        """Behind the last part."""
        self._buffer = b""
        return None

    def _chosen(self, headers: list[tuple[bytes, bytes]]) -> BodyMask:
        """What looks into a part. ValueError where nothing can, and where it is coded."""
        known = {name.lower(): value for name, value in headers}
        if known.get(b"content-transfer-encoding", b"").lower() not in _UNCODED:
            raise ValueError("a part is coded in a way that is not looked into")
        _, said = parameters_of(known.get(b"content-disposition", b""))
        if any(name.endswith(b"*") for name in said):
            raise ValueError("a part has a name in a form that no reader of forms takes")
        name = said.get(b"name", b"").decode("utf-8", "replace")
        at, inner = self._members.hides(name) if name else (-1, 0)
        if at >= 0:
            return _Hidden(self._values, at)
        media_type, parameters = parameters_of(known.get(b"content-type", b"text/plain"))
        if media_type == b"text/plain" and b"filename" not in said:
            return _Field(self._members, name, inner)
        shape = None if media_type.startswith(b"multipart/") else self._shape(
            self._values, media_type, parameters.get(b"charset", b""), parameters, inner)
        if shape is None:
            if not self._values.terms.passes_binary:
                raise ValueError("the body has a part that nothing can look into")
            document, passing = self._values.documents(), Passing(self.masked)
            return passing if document is None else SeemingBody(document, passing, inner, must=False)
        return shape


def parameters_of(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """A header's value and its parameters, by names in small letters. ValueError for what is not well formed, or twice."""
    first, _, _ = value.partition(b";")
    found: dict[bytes, bytes] = {}
    at = len(first)
    while at < len(value):
        one = _PARAMETER.match(value, at)
        if one is None:
            if value[at:].strip(b"; \t"):
                raise ValueError("a header of a part has parameters that cannot be read")
            break
        name = one[1].lower()
        if name in found:
            raise ValueError("a header of a part has two parameters of one name")
        found[name] = re.sub(rb"\\(.)", rb"\1", one[2][1:-1]) if one[2][:1] == b'"' else one[2]
        at = one.end()
    return first.strip(b" \t").lower(), found


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\r\n") if head else ():
        one = _HEADER.fullmatch(line)
        if one is None:
            raise ValueError("a part has headers that cannot be read")
        if any(one[1].lower() == name.lower() for name, _ in found):
            raise ValueError("a part has two headers of one name")
        found.append((one[1], one[2]))
    return found


class _Nothing:
    """What is dropped."""

    def __init__(self) -> None:
        self.masked: dict[str, int] = {}

    def feed(self, data: bytes) -> bytes:
        return b""

    def finish(self) -> bytes:
        return b""


class _Hidden(_Nothing):
    """A part that a mask names."""

    def __init__(self, values: Values, at: int) -> None:
        super().__init__()
        self._values = values
        self._at = at
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size <= self._values.terms.limit:
            self._pieces.append(data)
        return b""

    def finish(self) -> bytes:
        if self._size > self._values.terms.limit:
            self._values.count(self._at)
            return REDACTED
        return self._values.hidden_text(self._at, b"".join(self._pieces))


class _Field(_Nothing):
    """A field of a form, which is text."""

    def __init__(self, members: Members, name: str, inner: int) -> None:
        super().__init__()
        self._members = members
        self._name = name
        self._inner = inner
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size > self._members.values.terms.limit:
            raise ValueError("a field of the form is too long to be looked at")
        if not self._name:
            self._members.values.require_names(data)
        self._pieces.append(data)
        return b""

    def finish(self) -> bytes:
        return self._members.looked_at(b"".join(self._pieces), self._name, self._inner)
