"""Content codings (RFC 9110, 8.4.1): what is compressed is read before it is looked into, and compressed again.

Apart from the masks, which see plain bytes. Everything is bounded: what comes of one call, how much there is in all, and
how many times more than what came in; a body that is made to grow beyond that raises ValueError, as does one that is
damaged, cut off or followed by something. gzip may have several members (RFC 1952, 2.2), zstd several frames (RFC 8878,
3.1) with windows of at most 8 MB (RFC 9659). `deflate` is zlib's format; the bare one that some send instead is read too.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import brotli
import zstandard

CODINGS: Final = (b"gzip", b"deflate", b"br", b"zstd")
"""What can be read and written, besides `identity`."""

_MOST: Final = 3
_PIECE: Final = 65_536
_ZSTD_PIECE: Final = 1_024                          # comes to 32 MB at most: blocks of 128 kB in four bytes each
_ZSTD_WINDOW: Final = 8 << 20
_SAME: Final = {b"x-gzip": b"gzip", b"identity": b""}
_GZIP: Final = 31                                   # zlib's window bits: of gzip, of its own format, of bare deflate
_ZLIB: Final = 15
_BARE: Final = -15


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may come of a body: `size` bytes in all, and of each coding `ratio` bytes for one, once it is more than
    `free` bytes. Repetitive JSON and logs come to 50 or 100, what is made to be a bomb to 1,000 and more.
    """

    size: int = 4 << 30
    ratio: int = 300
    free: int = 8 << 20


BOUNDS: Final = Bounds()


class Coder(Protocol):
    """Turns one body into another, in pieces. After an exception it must not be used again."""

    def feed(self, data: bytes) -> bytes:
        """What the data comes to, so far. ValueError for what is not of the coding, or too much."""
        ...

    def finish(self) -> bytes:
        """The rest. ValueError where the body is not whole; one without any bytes stays empty."""
        ...


def decoding(names: Sequence[bytes], bounds: Bounds = BOUNDS) -> Coder:
    """What reads a body of these codings (small letters, in the order of Content-Encoding, which is that of applying them).
    ValueError for an unknown coding, and for more than three.
    """
    return _Chain([_Reader(_READERS[name](), bounds) for name in reversed(_known(names))])


def encoding(names: Sequence[bytes]) -> Coder:
    """What writes a body in these codings. Whatever is fed can be read at the other end at once: nothing is kept back."""
    return _Chain([_WRITERS[name]() for name in _known(names)])


def _known(names: Sequence[bytes]) -> list[bytes]:
    found = [name for name in (_SAME.get(name, name) for name in names) if name]
    if len(found) > _MOST:
        raise ValueError("a body is coded more often than is undone")
    if any(name not in _READERS for name in found):
        raise ValueError("the body has a content coding that is not known: gzip, deflate, br and zstd are")
    return found


class _Chain:
    """One coder after the other."""

    def __init__(self, coders: Sequence[Coder]) -> None:
        self._coders = coders

    def feed(self, data: bytes) -> bytes:
        for coder in self._coders:
            data = coder.feed(data)
        return data

    def finish(self) -> bytes:
        rest = b""
        for coder in self._coders:
            rest = coder.feed(rest) + coder.finish()
        return rest


# ------------------------------------------------------------ reading


class _Source(Protocol):
    """One coding: pieces of what comes of the data, each of bounded size; whether the data may end here."""

    @property
    def is_whole(self) -> bool: ...

    def read(self, data: bytes) -> Iterator[bytes]: ...


class _Reader:
    """A source within its bounds."""

    def __init__(self, source: _Source, bounds: Bounds) -> None:
        self._source = source
        self._bounds = bounds
        self._taken = 0
        self._given = 0

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        self._taken += len(data)
        pieces = []
        try:
            for piece in self._source.read(data):
                self._given += len(piece)
                self._require_bounds()
                pieces.append(piece)
        except (zlib.error, brotli.error, zstandard.ZstdError):
            raise ValueError("the body is not of the content coding that it says") from None
        return b"".join(pieces)

    def finish(self) -> bytes:
        if self._taken and not self._source.is_whole:
            raise ValueError("the compressed body is not whole")
        return b""

    def _require_bounds(self) -> None:
        bounds = self._bounds
        if self._given > bounds.size or (self._given > bounds.free and self._given > bounds.ratio * self._taken):
            raise ValueError("the compressed body comes to more than is let through")


class _ZlibSource:
    """gzip, member after member, and deflate."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._start = b""
        self._stream = None if bits == _ZLIB else zlib.decompressobj(bits)
        self.is_whole = False

    def read(self, data: bytes) -> Iterator[bytes]:
        stream = self._stream
        if stream is None:
            self._start += data
            if len(self._start) < 2:
                return
            data = self._start
            stream = self._stream = zlib.decompressobj(_ZLIB if _has_zlib_header(data) else _BARE)
        while data:
            if stream.eof:
                if self._bits != _GZIP:
                    raise ValueError("something follows the compressed body")
                stream = self._stream = zlib.decompressobj(_GZIP)
            yield stream.decompress(data, _PIECE)
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
        while not stream.eof and (piece := stream.decompress(b"", _PIECE)):
            yield piece
        self.is_whole = stream.eof


def _has_zlib_header(data: bytes) -> bool:
    """RFC 1950, 2.2: the method is 8, and the two bytes are a multiple of 31."""
    return data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0


class _BrotliSource:
    """br (RFC 7932)."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    @property
    def is_whole(self) -> bool:
        return bool(self._stream.is_finished())

    def read(self, data: bytes) -> Iterator[bytes]:
        stream = self._stream
        while True:
            piece = stream.process(data, output_buffer_limit=_PIECE)
            data = b""
            if not piece and (stream.is_finished() or stream.can_accept_more_data()):
                return
            yield piece


class _ZstdSource:
    """zstd, frame after frame."""

    def __init__(self) -> None:
        self._stream = self._new()
        self.is_whole = False

    @staticmethod
    def _new() -> zstandard.ZstdDecompressionObj:
        return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()

    def read(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _ZSTD_PIECE):
            piece = data[at:at + _ZSTD_PIECE]
            while piece:
                if self._stream.eof:
                    self._stream = self._new()
                yield self._stream.decompress(piece)
                piece = self._stream.unused_data if self._stream.eof else b""
        self.is_whole = self._stream.eof


# ------------------------------------------------------------ writing


class _ZlibWriter:
    """gzip and deflate."""

    def __init__(self, bits: int) -> None:
        self._stream = zlib.compressobj(4, zlib.DEFLATED, bits)
        self._has_fed = False

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        self._has_fed = True
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush() if self._has_fed else b""


class _BrotliWriter:
    def __init__(self) -> None:
        self._stream = brotli.Compressor(quality=4)
        self._has_fed = False

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        self._has_fed = True
        return bytes(self._stream.process(data) + self._stream.flush())

    def finish(self) -> bytes:
        return bytes(self._stream.finish()) if self._has_fed else b""


class _ZstdWriter:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=3).compressobj()
        self._has_fed = False

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        self._has_fed = True
        return self._stream.compress(data) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._stream.flush() if self._has_fed else b""


_READERS: Final[Mapping[bytes, Callable[[], _Source]]] = {
    b"gzip": lambda: _ZlibSource(_GZIP), b"deflate": lambda: _ZlibSource(_ZLIB), b"br": _BrotliSource, b"zstd": _ZstdSource,
}
_WRITERS: Final[Mapping[bytes, Callable[[], Coder]]] = {
    b"gzip": lambda: _ZlibWriter(_GZIP), b"deflate": lambda: _ZlibWriter(_ZLIB), b"br": _BrotliWriter, b"zstd": _ZstdWriter,
}
