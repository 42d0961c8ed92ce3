"""Content codings: what other programs write is read, what is written they read, and bombs come to nothing."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.govern.masking.bodies.codings import CODINGS, Bounds, decoding, encoding

WRITE = {
    b"gzip": gzip.compress, b"deflate": zlib.compress, b"br": brotli.compress, b"zstd": zstandard.ZstdCompressor().compress,
}
READ = {
    b"gzip": gzip.decompress, b"deflate": zlib.decompress, b"br": brotli.decompress,
    b"zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
ONE = st.sampled_from(CODINGS)


def read(names: list[bytes], data: bytes, step: int = 7, bounds: Bounds | None = None) -> bytes:
    coder = decoding(names) if bounds is None else decoding(names, bounds)
    return b"".join(coder.feed(data[at:at + step]) for at in range(0, len(data), step)) + coder.finish()


@given(text=st.binary(max_size=300), names=st.lists(ONE, max_size=3), step=st.integers(1, 50))
@settings(deadline=None)
def test_what_others_write_is_read(text: bytes, names: list[bytes], step: int) -> None:
    """Several codings are undone from the last to the first, in pieces of any size."""
    data = text
    for name in names:
        data = WRITE[name](data)
    assert read(names, data, step) == text


@given(parts=st.lists(st.binary(max_size=100), min_size=1, max_size=4), names=st.lists(ONE, max_size=3))
@settings(deadline=None)
def test_others_read_what_is_written(parts: list[bytes], names: list[bytes]) -> None:
    """And nothing waits in the encoder: each piece can be read when it is out."""
    coder, back = encoding(names), decoding(names)
    written = []
    for part in parts:
        written.append(coder.feed(part))
        assert back.feed(written[-1]) == part
    written.append(coder.finish())
    assert back.feed(written[-1]) + back.finish() == b""
    data, text = b"".join(written), b"".join(parts)
    for name in reversed(names if text else []):
        data = READ[name](data)
    assert data == text


def test_nothing_stays_nothing() -> None:
    """A body without bytes is none of its coding either way."""
    for name in CODINGS:
        assert decoding([name]).finish() == encoding([name]).finish() == b""


@pytest.mark.parametrize("name", CODINGS)
def test_bombs_come_to_nothing(name: bytes) -> None:
    """By their ratio and by their size; what came of one step never was more than some of it."""
    bomb = WRITE[name](bytes(16 << 20))
    coder, given_out = decoding([name], Bounds(ratio=300, free=1 << 20)), 0
    with pytest.raises(ValueError, match="more than"):
        for at in range(0, len(bomb), 256):
            given_out += len(coder.feed(bomb[at:at + 256]))
    assert given_out < 10 << 20
    with pytest.raises(ValueError, match="more than"):
        read([name], WRITE[name](b"ab" * 1000), bounds=Bounds(size=1000))
    with pytest.raises(ValueError, match="more than"):
        read([name, b"gzip"], gzip.compress(bomb), 4096, Bounds(free=1 << 20))


@pytest.mark.parametrize("name", CODINGS)
def test_what_is_damaged_cut_off_or_followed_is_refused(name: bytes) -> None:
    """Nothing is made up, nothing is left unread."""
    whole = WRITE[name](b"some text that is compressed, some text")
    for size in range(1, len(whole)):
        with pytest.raises(ValueError):
            read([name], whole[:size])
    with pytest.raises(ValueError):
        read([name], whole + b"more")
    with pytest.raises(ValueError):
        read([name], b"no such thing at all")


def test_members_and_frames_follow_each_other() -> None:
    """As gzip and zstd allow; bare deflate is read as well."""
    assert read([b"x-gzip"], gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b")) == b"ab"
    assert read([b"zstd"], WRITE[b"zstd"](b"a") + WRITE[b"zstd"](b"b")) == b"ab"
    assert read([b"identity", b"deflate"], zlib.compress(b"text")[2:-4], 1) == b"text"


def test_other_codings_are_refused() -> None:
    """Nobody can look into them; nor into what is coded over and over."""
    for names in ([b"compress"], [b"gzip", b""], [b"gzip"] * 4):
        with pytest.raises(ValueError):
            decoding([*names, b"sdch"] if b"" in names else names)
        with pytest.raises(ValueError):
            encoding([*names, b"sdch"] if b"" in names else names)


def test_a_large_window_is_refused() -> None:
    """RFC 9659: 8 MB."""
    data = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27)).compressobj()
    with pytest.raises(ValueError):
        read([b"zstd"], data.compress(b"x" * 100) + data.flush(), 1000)
