"""Signed notes, key files and commitments."""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.audit.checkpoint import Checkpoint, Signer, Verifier, open_note
from lockgate.audit.commitment import commit, fresh_secrets, seal, unseal, verify_commitment
from lockgate.audit.failures import Undisclosed, UntrustedNote
from lockgate.audit.keys import KEY_FILE, VERIFIER_FILE, load_or_create, read_verifier
from lockgate.errors import AuditError

SIGNER = Signer("lockgate.test/log", Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))
POINT = Checkpoint("lockgate.test/log", 42, sha256(b"x").digest())
NOTE = SIGNER.sign(POINT)


def test_a_note_opens_with_its_key() -> None:
    """What was signed is read back, also through the text form of the verifier key."""
    assert open_note(NOTE, Verifier.parse(str(SIGNER.verifier))) == POINT


def test_the_format_is_the_published_one() -> None:
    """A verifier key of another implementation (Go's checksum database) is read and written the same."""
    vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(Verifier.parse(vkey)) == vkey
    lines = NOTE.split("\n")
    assert lines[:2] == ["lockgate.test/log", "42"]
    assert lines[3] == ""
    assert lines[4].startswith("— lockgate.test/log ")
    assert base64.b64decode(lines[4].split(" ")[2])[:4] == SIGNER.verifier.id


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(NOTE) - 1), st.characters())
def test_no_altered_note_opens(at: int, char: str) -> None:
    """Any other character anywhere makes the note unacceptable."""
    altered = NOTE[:at] + char + NOTE[at + 1 :]
    if altered != NOTE:
        with pytest.raises(UntrustedNote):
            open_note(altered, SIGNER.verifier)


@pytest.mark.parametrize("note", [
    "", "\n\n", NOTE + NOTE, NOTE[:-1], NOTE + "— other AAAA\n", NOTE.replace("\n42\n", "\n042\n"),
    NOTE.replace("\n42\n", "\n42\nextension\n"),
])
def test_what_is_not_exactly_a_checkpoint_is_refused(note: str) -> None:
    """Missing ends, further signatures, extension lines and padded numbers are refused."""
    with pytest.raises(UntrustedNote):
        open_note(note, SIGNER.verifier)


def test_a_note_by_another_key_is_untrusted() -> None:
    """The same name with another key is another signer."""
    other = Signer("lockgate.test/log", Ed25519PrivateKey.generate())
    with pytest.raises(UntrustedNote) as caught:
        open_note(other.sign(POINT), SIGNER.verifier)
    assert caught.value.code == "audit.untrusted"


@pytest.mark.parametrize("text", ["", "a+b", "a+00000000+AAAA", "a+00000000+" + "A" * 44, "a b+1+A"])
def test_a_verifier_key_must_agree_with_itself(text: str) -> None:
    """A key line whose id is not that of its key is refused."""
    with pytest.raises(UntrustedNote):
        Verifier.parse(text)


def test_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """First start makes a 0600 key and the verifier key beside it; the next one reads the same."""
    first = load_or_create(tmp_path, "o", may_create=True)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    second = load_or_create(tmp_path, "o", may_create=False)
    assert str(first.verifier) == str(second.verifier) == str(read_verifier(tmp_path / VERIFIER_FILE))
    with pytest.raises(AuditError, match="another log name"):
        load_or_create(tmp_path, "p", may_create=False)


def test_unacceptable_key_files_stop_the_start(tmp_path: Path) -> None:
    """Loose permissions, rubbish, a link, a folder, or a missing key of an existing log are refused."""
    key = tmp_path / KEY_FILE
    with pytest.raises(AuditError, match="key is gone"):
        load_or_create(tmp_path, "o", may_create=False)
    load_or_create(tmp_path, "o", may_create=True)
    key.chmod(0o640)
    with pytest.raises(AuditError, match="0640") as caught:
        load_or_create(tmp_path, "o", may_create=True)
    assert "chmod 600" in caught.value.advice()
    key.chmod(0o600)
    key.write_bytes(b"-----BEGIN nonsense")
    with pytest.raises(AuditError, match="not an unencrypted PEM"):
        load_or_create(tmp_path, "o", may_create=True)
    key.rename(tmp_path / "elsewhere")
    key.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditError):
        load_or_create(tmp_path, "o", may_create=True)
    key.unlink()
    key.mkdir()
    with pytest.raises(AuditError):
        load_or_create(tmp_path, "o", may_create=True)


def test_commitments_are_the_documented_hash() -> None:
    """The commitment is the formula of the design, and only the same payload and salt satisfy it."""
    salt = b"s" * 32
    expected = sha256(b"lockgate/commit/v1\0" + salt + b"\0" * 7 + b"\x03" + b"abc").hexdigest()
    assert commit(salt, b"abc") == expected
    verify_commitment(expected, salt, b"abc")
    for other_salt, payload in ((salt, b"abd"), (b"t" * 32, b"abc"), (salt, b"")):
        with pytest.raises(Undisclosed):
            verify_commitment(expected, other_salt, payload)


def test_sealed_payloads_open_with_their_key_only() -> None:
    """Each payload has a key of its own; an altered blob or another key opens nothing."""
    one, two = fresh_secrets(2)
    assert one != two
    assert len(one) == 64
    sealed = seal(one[:32], b"payload")
    assert unseal(one[:32], sealed) == b"payload"
    for key, blob in ((two[:32], sealed), (one[:32], sealed[:-1] + b"\0"), (one[:32], b""), (b"", sealed)):
        with pytest.raises(Undisclosed):
            unseal(key, blob)
