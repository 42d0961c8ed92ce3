"""DER (X.690) as far as time-stamps and certificates need it: one way to write each value, and a reader that
takes nothing else. Definite, minimal lengths; single-byte tags; nesting is bounded by who reads.
"""

from __future__ import annotations

from typing import NamedTuple

from lockgate.audit.evidence.failures import EvidenceError

DER_INTEGER, DER_BITS, DER_OCTETS, DER_OID = 0x02, 0x03, 0x04, 0x06
DER_SEQUENCE, DER_SET = 0x30, 0x31


class Der(NamedTuple):
    """One value: its tag, its contents, and all of its bytes."""

    tag: int
    content: bytes
    raw: bytes

    def items(self, tag: int) -> list[Der]:
        """The values inside a constructed one. Raises unless this one has the tag."""
        self.require(tag)
        found = []
        rest = self.content
        while rest:
            value, rest = _next_der(rest)
            found.append(value)
        return found

    def require(self, tag: int) -> bytes:
        """The contents, if this value has the tag."""
        if self.tag != tag:
            raise _not_der(f"tag {tag:#04x} is not where it belongs")
        return self.content

    def number(self) -> int:
        """A non-negative INTEGER in its shortest form."""
        content = self.require(DER_INTEGER)
        if not content or content[0] & 0x80 or (len(content) > 1 and content[0] == 0 and not content[1] & 0x80):
            raise _not_der("an integer is negative or padded")
        return int.from_bytes(content, "big")


def parse_der(data: bytes) -> Der:
    """The one value that the bytes are. Raises (check ``anchor``) for anything around it."""
    value, rest = _next_der(data)
    if rest:
        raise _not_der("bytes behind the end")
    return value


def write_der(tag: int, *parts: bytes) -> bytes:
    """A value of these contents."""
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def write_der_number(value: int) -> bytes:
    """A non-negative INTEGER."""
    return write_der(DER_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def der_oid(dotted: str) -> bytes:
    """The contents of an OBJECT IDENTIFIER."""
    numbers = [int(part) for part in dotted.split(".")]
    found = bytearray()
    for number in (40 * numbers[0] + numbers[1], *numbers[2:]):
        part = [number & 0x7F]
        while number > 0x7F:
            number >>= 7
            part.append(0x80 | number & 0x7F)
        found += bytes(reversed(part))
    return bytes(found)


def _next_der(data: bytes) -> tuple[Der, bytes]:
    if len(data) < 2 or data[0] & 0x1F == 0x1F:
        raise _not_der("a value is cut off, or has a long tag")
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
        if size < 128 or data[2] == 0:
            raise _not_der("a length is not in its shortest form")
    end = start + size
    if end > len(data):
        raise _not_der("a value is cut off")
    return Der(data[0], data[start:end], data[:end]), data[end:]


def _not_der(message: str) -> EvidenceError:
    return EvidenceError("anchor", f"not DER: {message}")
