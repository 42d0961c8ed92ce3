"""Signed notes, checkpoints and cosignatures."""

from __future__ import annotations

import base64

import pytest

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import (
    LOG_KEY,
    WITNESS_KEY,
    open_checkpoint,
    parse_note,
    parse_tree,
    parse_vkey,
    verify_cosignature,
)
from tests.unit.audit.evidence.keys import LOG, ROOT, W1, W2, NoteSigner, body, note

# The examples of C2SP tlog-witness and tlog-cosignature; their signatures are by keys that nobody published.
PUBLISHED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""


def test_the_published_example_is_read() -> None:
    """The specification's own example has an origin, a size, a log's and a witness's signature."""
    signed = parse_note(PUBLISHED)
    assert parse_tree(signed.text).size == 20_852_163
    assert [(line.name, len(line.signature)) for line in signed.signatures] == [
        ("example.com/behind-the-sofa", 64), ("witness.example.com/w1", 72)]
    assert "".join([signed.text, "\n", *(line.line for line in signed.signatures)]) == PUBLISHED


def test_a_checkpoint_opens_with_the_key_that_signed_it() -> None:
    """Log signature and cosignature verify, each by its own key and over its own message."""
    signed = parse_note(note(W1, W2))
    assert tuple(open_checkpoint(signed, LOG.key)) == ("log.test/one", 42, ROOT)
    assert verify_cosignature(signed.text, signed.signatures[2], W2.key) == 1_700_000_000
    with pytest.raises(EvidenceError):
        verify_cosignature(signed.text, signed.signatures[1], W2.key)
    with pytest.raises(EvidenceError) as caught:
        open_checkpoint(signed, NoteSigner("log.test/two").key)
    assert caught.value.verdict == "untrusted"


def test_no_altered_byte_goes_unnoticed() -> None:
    """Every byte of a cosigned checkpoint, changed in every single bit, is refused by form or signature."""
    whole = note(W1).encode()
    for at in range(len(whole)):
        for bit in range(8):
            altered = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
            with pytest.raises((EvidenceError, UnicodeDecodeError)):
                signed = parse_note(altered.decode())
                open_checkpoint(signed, LOG.key)
                verify_cosignature(signed.text, signed.signatures[1], W1.key)


@pytest.mark.parametrize("altered", [
    "", "\n", "\n\n", "text\n", note()[:-1], note() + "\n", note().replace("\n", "\r\n"), note() + "— x AAAA\n",
    note() + "— x y\n", note() + "- x AAAAAAAA\n", note() + note().split("\n\n")[1], body() + "\n" + body(),
    note().replace("\n\n", "\n\n\n"), "\n" + note(), "\0" + note(), note() + "— \ud800 AAAAAAAA\n",
    note() + "— x " + base64.b64encode(bytes(40)).decode()[:-1] + "\n", note() + "— x AAAAAAB=\n",
    note() + "".join(f"— x{number} AAAAAAAA\n" for number in range(64)), note() + "— x" * 30_000 + "\n",
])
def test_what_is_not_exactly_a_note_is_refused(altered: str) -> None:
    """Other line ends, blanks, controls, repeated keys, bad base64, too many or too long: all malformed."""
    with pytest.raises(EvidenceError):
        parse_note(altered)


@pytest.mark.parametrize("text", [
    body() + "extension\n", body().replace("42", "042"), body().replace("42", "-1"), body().replace("42", "٤٢"),
    body(2**63), body(root=ROOT[:31]), body().rstrip("\n"), "a\n1\n", "",
])
def test_a_checkpoint_has_three_lines(text: str) -> None:
    """Extension lines, padded, foreign or huge numbers and short roots are refused."""
    with pytest.raises(EvidenceError):
        parse_tree(text)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    """The log's key signs no other log's checkpoints, even if it did."""
    other = body(origin="log.test/two")
    with pytest.raises(EvidenceError, match="another log"):
        open_checkpoint(parse_note(note(text=other)), LOG.key)


def test_a_verifier_key_is_of_the_type_that_is_asked_for() -> None:
    """A log's key is no witness's, though both are Ed25519; another implementation's key is read the same."""
    vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert parse_vkey(vkey, LOG_KEY).vkey == vkey
    assert parse_vkey(W1.vkey, WITNESS_KEY) == W1.key
    for text, kind in ((vkey, WITNESS_KEY), (W1.vkey, LOG_KEY), (vkey + "\n", LOG_KEY), (vkey[:-1], LOG_KEY),
                       (vkey.replace("033", "034"), LOG_KEY), ("", LOG_KEY), ("a\ud800+00+AAAA", LOG_KEY)):
        with pytest.raises(EvidenceError) as caught:
            parse_vkey(text, kind)
        assert caught.value.verdict == "untrusted"


def test_a_time_beyond_the_specification_is_refused() -> None:
    """A cosignature's time fits into 63 bits, whoever signed it."""
    text = body()
    signed = parse_note(f"{text}\n{LOG.line(text)}{W1.cosign(text, 2**63)}")
    with pytest.raises(EvidenceError):
        verify_cosignature(text, signed.signatures[1], W1.key)
