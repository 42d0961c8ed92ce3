"""Proof files: whole, canonical, and refused after any change."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.checkpoint import Checkpoint, Signer
from lockgate.audit.failures import ProofFailed, UntrustedNote
from lockgate.audit.tiles.proof import LogProof, parse_proof, prove, verify_proof
from lockgate.audit.tiles.reader import Tiles
from lockgate.errors import AuditError
from tests.unit.audit.tiles.published import LEAVES, SIGNER, Memory, expected

SOURCE = Memory(LEAVES)
FILES = expected(LEAVES)


def proof(index: int, files: dict[str, bytes] = FILES, size: int = 700) -> LogProof:
    return prove(Tiles(lambda path, _: files[path], size), index, SOURCE.note, SIGNER.verifier)


@pytest.mark.parametrize("index", [0, 1, 255, 256, 511, 512, 699])
def test_a_proof_file_says_all_that_is_needed(index: int) -> None:
    """Written, read and verified with nothing but the key; the layout is C2SP tlog-proof's."""
    text = proof(index).text()
    lines = text.split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert base64.b64decode(lines[1].removeprefix("extra ")) == LEAVES[index]
    assert lines[2] == f"index {index}"
    assert text.endswith(f"\n\n{SOURCE.note}")
    read = parse_proof(text)
    assert (read, read.text()) == (proof(index), text)
    assert verify_proof(read, SIGNER.verifier).size == 700


def test_the_only_entry_of_a_log_needs_no_hashes() -> None:
    """A tree of one leaf is its root."""
    source = Memory(LEAVES[:1])
    made = prove(Tiles(lambda path, _: expected(LEAVES[:1])[path], 1), 0, source.note, SIGNER.verifier)
    assert made.path == ()
    assert verify_proof(parse_proof(made.text()), SIGNER.verifier).size == 1


def test_every_changed_character_is_refused() -> None:
    """Any character of the file replaced, dropped or doubled: no proof, or not this key's."""
    text = proof(300).text()
    for at, character in enumerate(text):
        for changed in (
            text[:at] + ("B" if character != "B" else "C") + text[at + 1 :],
            text[:at] + text[at + 1 :], text[:at] + character * 2 + text[at + 1 :],
        ):
            if changed != text:
                with pytest.raises(AuditError):
                    verify_proof(parse_proof(changed), SIGNER.verifier)


def test_what_is_no_proof_is_refused() -> None:
    """Foreign versions, a proof without its entry, too many hashes, an endless file."""
    text = proof(3).text()
    digest = base64.b64encode(bytes(32)).decode()
    for wrong in ("", "\n\n", text.replace("@v1", "@v2"), text.replace("index 3", "index 03"), text + "x" * 100_000,
                  "\n".join(line for line in text.split("\n") if not line.startswith("extra ")),
                  text.replace("index 3\n", "index 3\n" + f"{digest}\n" * 64), text.replace("index 3\n", "index 3\nAAAA\n")):
        with pytest.raises(ProofFailed):
            parse_proof(wrong)
    with pytest.raises(ProofFailed):
        verify_proof(parse_proof(text.replace("index 3\n", f"index 3\n{digest}\n")), SIGNER.verifier)


def test_a_forged_root_and_another_key_are_refused() -> None:
    """The proof leads to what the trusted key signed, not to what somebody signed."""
    other = Signer(SIGNER.verifier.name, Ed25519PrivateKey.generate())
    made = proof(3)
    for note in (Memory(LEAVES, other).note, other.sign(Checkpoint(other.verifier.name, 700, bytes(32)))):
        with pytest.raises(UntrustedNote):
            verify_proof(LogProof(made.leaf, 3, made.path, note), SIGNER.verifier)
    with pytest.raises(ProofFailed):
        verify_proof(LogProof(made.leaf, 3, made.path, Memory(LEAVES[:699]).note), SIGNER.verifier)


def test_altered_tiles_give_no_proof() -> None:
    """A proof is verified before anybody gets it."""
    for path in ("tile/0/000", "tile/entries/000", "tile/1/000.p/2"):
        with pytest.raises(AuditError):
            proof(3, {**FILES, path: bytes(len(FILES[path]))})
    with pytest.raises(ProofFailed, match="not among the 700"):
        proof(700)
