"""The archive of an evidence package: plain ustar with no freedom left in it.

Every header is a function of name and size (mode 0644, no owner, no time), so a reader builds it again
and compares all 512 bytes; padding is zero, the end is two zero blocks and nothing behind them. Any
`tar` unpacks it, and no name leads out of the folder: no part of one begins with a dot. POSIX.1-1988 ustar, as in pax(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import BinaryIO, NamedTuple

from lockgate.audit.evidence.failures import EvidenceError

BLOCK = 512
MEMBER_LIMIT = 8**11 - 1        # bytes: eleven octal digits
_CHUNK = 1 << 17            # bytes: what is read stays in the processor's cache until it is used
_MEMBER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~-]*(/[A-Za-z0-9_][A-Za-z0-9_.~-]*)*", re.ASCII)
_OCTAL = re.compile(rb"[0-7]{11}\x00")
_ARCHIVE = "archive"


class Member(NamedTuple):
    """One file of an archive: where its bytes are, and what they are."""

    name: str
    offset: int
    size: int
    sha256: str


def member_header(name: str, size: int) -> bytes:
    """The 512 bytes before a file. Raises ValueError for a name or a size that ustar has no place for."""
    if not _MEMBER_NAME.fullmatch(name) or not 0 <= size <= MEMBER_LIMIT:
        raise ValueError("a member's name or size does not fit into a package")
    prefix, short = "", name
    if len(name) > 100:
        begun, slash, short = name[-101:].partition("/")      # as much as there is room for behind a slash
        prefix = name[:-101] + begun
        if not slash or len(prefix) > 155:
            raise ValueError("a member's name is too long for ustar")
    head = bytearray(BLOCK)
    head[0:len(short)] = short.encode()
    head[100:108] = b"0000644\0"
    head[108:116] = head[116:124] = b"0000000\0"
    head[124:136] = b"%011o\0" % size
    head[136:148] = b"%011o\0" % 0
    head[148:156] = b" " * 8
    head[156:157] = b"0"
    head[257:265] = b"ustar\0" + b"00"
    head[329:337] = head[337:345] = b"0000000\0"
    head[345:345 + len(prefix)] = prefix.encode()
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def member_padding(size: int) -> bytes:
    """The zeros behind a file."""
    return bytes(-size % BLOCK)


ARCHIVE_END = bytes(2 * BLOCK)


def archive_members(file: BinaryIO) -> Iterator[Member]:
    """Every file of an archive, read through once. Raises at the first byte that is not as it must be."""
    offset = 0
    while True:
        head = file.read(BLOCK)
        offset += BLOCK
        if len(head) < BLOCK:
            raise EvidenceError(_ARCHIVE, "the archive ends early", verdict="incomplete")
        if not any(head):
            if head + file.read(len(ARCHIVE_END)) != ARCHIVE_END:
                raise EvidenceError(_ARCHIVE, "the archive does not end with two empty blocks")
            return
        name, size = _member_named(head)
        digest, left = sha256(), size
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                raise EvidenceError(_ARCHIVE, f"the archive ends inside {name}", verdict="incomplete")
            digest.update(chunk)
            left -= len(chunk)
        yield Member(name, offset, size, digest.hexdigest())
        padding = member_padding(size)
        if file.read(len(padding)) != padding:
            raise EvidenceError(_ARCHIVE, f"something stands behind {name}")
        offset += size + len(padding)


def _member_named(head: bytes) -> tuple[str, int]:
    """Name and size in a header, which must be the only header that says so."""
    short, prefix = head[0:100].rstrip(b"\0"), head[345:].rstrip(b"\0")
    if _OCTAL.fullmatch(head[124:136]):
        size = int(head[124:135], 8)
        try:
            name = (prefix + b"/" + short if prefix else short).decode("ascii")
            if member_header(name, size) == head:
                return name, size
        except ValueError:
            pass
    raise EvidenceError(_ARCHIVE, "a header of the archive is not as it must be")
