"""Chunks sealed for recipients and opened with identities."""

from __future__ import annotations

import os
from pathlib import Path

import pyrage
import pytest
import zstandard

from lockgate.audit.evidence.recordings import CHUNK_LIMIT
from lockgate.audit.recording.sealing import PLAIN_LIMIT, Opener, Sealer, recipient_problem
from lockgate.errors import AuditError, ConfigError

ONE, TWO, OTHER = (pyrage.x25519.Identity.generate() for _ in range(3))
SEALER = Sealer([str(ONE.to_public()), str(TWO.to_public())])


def test_every_recipient_can_open_a_chunk_and_nobody_else() -> None:
    """What was sealed comes back with each identity; another one is told that it is another one."""
    chunk = SEALER.seal(b"what passed")
    assert b"what passed" not in chunk
    assert Opener([ONE]).open(chunk, 0) == Opener([OTHER, TWO]).open(chunk, 0) == b"what passed"
    with pytest.raises(AuditError, match="this identity does not open the recording") as caught:
        Opener([OTHER]).open(chunk, 0)
    assert "recipients" in caught.value.advice()


def test_a_chunk_that_cannot_be_compressed_stays_below_the_limit() -> None:
    """The container's limit has room for age's own bytes, with as many recipients as the configuration takes."""
    sealer = Sealer([str(pyrage.x25519.Identity.generate().to_public()) for _ in range(16)])
    assert len(sealer.seal(os.urandom(PLAIN_LIMIT))) < CHUNK_LIMIT


def test_every_flipped_byte_of_a_chunk_is_damage() -> None:
    """age authenticates all of it."""
    chunk = SEALER.seal(b"what passed" * 9)
    opener = Opener([ONE])
    for at in range(len(chunk)):
        damaged = bytearray(chunk)
        damaged[at] ^= 1
        with pytest.raises(AuditError):
            opener.open(bytes(damaged), 3)


def test_a_chunk_that_would_burst_is_refused() -> None:
    """Whoever knows the recipients can seal anything: what it holds is bounded before it is unpacked."""
    bomb = zstandard.ZstdCompressor().compress(bytes(PLAIN_LIMIT + 1))
    with pytest.raises(AuditError, match="more than a chunk may"):
        Opener([ONE]).open(pyrage.encrypt(bomb, [ONE.to_public()]), 0)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(PLAIN_LIMIT + 1))
    with pytest.raises(AuditError):
        Opener([ONE]).open(pyrage.encrypt(unsized, [ONE.to_public()]), 0)
    with pytest.raises(AuditError, match="damaged"):
        Opener([ONE]).open(pyrage.encrypt(b"no zstandard", [ONE.to_public()]), 0)


def test_recipients_are_age_public_keys() -> None:
    """Anything else is a configuration error, an identity above all."""
    assert recipient_problem(str(ONE.to_public())) is None
    for text in ("", "age1nonsense", "ssh-ed25519 AAAA", str(ONE)):
        assert "age public key" in str(recipient_problem(text))
    with pytest.raises(ConfigError):
        Sealer(["age1nonsense"])


def test_identities_are_read_from_a_key_file(tmp_path: Path) -> None:
    """As age-keygen writes it, with comments; what is none is said without showing any of it."""
    path = tmp_path / "key.txt"
    path.write_text(f"# created: today\n# public key: {ONE.to_public()}\n{ONE}\n\n")
    assert Opener.of_file(path).open(SEALER.seal(b"x"), 0) == b"x"
    for content in (b"", b"# only a comment\n", f"{ONE}x\n".encode(), b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(AuditError, match="not an age identity file") as caught:
            Opener.of_file(path)
        assert str(ONE)[:30] not in str(caught.value)
    with pytest.raises(AuditError, match="No such file"):
        Opener.of_file(tmp_path / "missing")
