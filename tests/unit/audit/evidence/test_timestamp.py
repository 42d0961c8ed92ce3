"""RFC 3161 time-stamps of a real authority, and whatever can be done to them."""

from __future__ import annotations

import subprocess
import time
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.audit.evidence.der import DER_SEQUENCE, parse_der, write_der, write_der_number
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.publickeys import read_public_key
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.evidence.timestamp import SignedToken, canonical_response, read_response, verify_timestamp
from lockgate.audit.evidence.trust import TrustedAuthority
from testbed.timestamps import KINDS, Authority
from tests.unit.audit.tampering import stamps

NOTE = b"log.test/one\n42\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n\n\xe2\x80\x94 log.test/one AAAA\n"


class Made:
    """An authority, its raw answer, and the form of it that counts, by either pin."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.before = int(time.time())
        self.raw = authority.stamp(NOTE)
        self.after = int(time.time())
        signer = sha256(authority.certificate.public_bytes(Encoding.DER)).digest()
        issuer = sha256(authority.root.public_bytes(Encoding.DER)).digest()
        self.pins = {"signer": [TrustedAuthority("t", signer)], "issuer": [TrustedAuthority("t", issuer)]}
        self.stored = {name: canonical_response(read_response(self.raw), pin) for name, pin in self.pins.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("authorities")
    found = {kind: Made(Authority(folder / kind, kind)) for kind in KINDS}
    found["old"] = Made(Authority(folder / "old", "rsa", digest="sha512", ess="sha1"))
    found["p384 with sha384"] = Made(Authority(folder / "p384with", "p384", digest="sha384"))
    return found


@pytest.mark.parametrize("pin", ["signer", "issuer"])
def test_what_a_real_authority_signed_verifies_by_either_pin(made: dict[str, Made], pin: str) -> None:
    """RSA, P-256 and P-384, several digests, certificate hashes of both kinds: the time is that of the answer."""
    for kind, one in made.items():
        found = verify_timestamp(one.stored[pin], NOTE, one.pins[pin])
        assert found.authority == "t", kind
        assert one.before <= found.time <= one.after, kind
        (one.authority.folder / "content").write_bytes(NOTE)
        (one.authority.folder / "stored").write_bytes(one.stored[pin])
        subprocess.run(["openssl", "ts", "-verify", "-in", "stored", "-data", "content", "-CAfile", "root.pem"],
                       cwd=one.authority.folder, check=True, capture_output=True)


def test_an_answer_as_it_came_is_not_the_form_that_counts(made: dict[str, Made]) -> None:
    """Further certificates and other spellings are bytes that nobody signed."""
    one = made["rsa"]
    with pytest.raises(EvidenceError, match="nobody signed"):
        verify_timestamp(one.raw, NOTE, one.pins["signer"])


def test_another_content_pin_or_authority_is_refused(made: dict[str, Made]) -> None:
    """A time-stamp is of one content, and by somebody who is pinned."""
    one = made["rsa"]
    with pytest.raises(EvidenceError, match="something else"):
        verify_timestamp(one.stored["signer"], NOTE + b"x", one.pins["signer"])
    for other in (made["p256"].pins["issuer"], [], [TrustedAuthority("t", bytes(32))]):
        with pytest.raises(EvidenceError) as caught:
            verify_timestamp(one.stored["issuer"], NOTE, other)
        assert caught.value.verdict == "untrusted"
    with pytest.raises(EvidenceError):      # the pin is its issuer's, and the issuer is not there
        verify_timestamp(one.stored["signer"], NOTE, one.pins["issuer"])


def test_signed_parts_of_two_time_stamps_do_not_mix(made: dict[str, Made]) -> None:
    """Neither another time-stamp's content, attributes nor signature will do, though one key made both."""
    one = made["rsa"]
    second = read_response(one.authority.stamp(b"another"))
    first = read_response(one.raw)
    for mixed in (first._replace(info=second.info), first._replace(signature=second.signature),
                  first._replace(attributes=second.attributes), second._replace(info=first.info)):
        with pytest.raises(EvidenceError):
            verify_timestamp(canonical_response(mixed, one.pins["signer"]), NOTE, one.pins["signer"])


def test_a_certificate_that_is_not_for_time_stamping_is_refused(tmp_path: Path) -> None:
    """Where the issuer is pinned, not every certificate of it may say what time it was."""
    authority = Authority(tmp_path / "a")
    one = Made(authority)
    tokens = read_response(one.raw)
    root = one.authority.root.public_bytes(Encoding.DER)
    assert SignedToken(*tokens).certificates[-1] == root or root in tokens.certificates
    altered = one.stored["issuer"].replace(bytes.fromhex("06082b06010505070308"), bytes.fromhex("06082b06010505070309"))
    with pytest.raises(EvidenceError):
        verify_timestamp(altered, NOTE, one.pins["issuer"])


def test_no_altered_byte_goes_unnoticed(made: dict[str, Made]) -> None:
    """Every byte of a stored time-stamp, by either pin, in three ways: none is accepted, none is a traceback."""
    for kind, pin in (("rsa", "issuer"), ("rsa", "signer")):
        one = made[kind]
        stored = one.stored[pin]
        for at in range(len(stored)):
            for change in (0x01, 0x80, 0xFF):
                altered = stored[:at] + bytes([stored[at] ^ change]) + stored[at + 1 :]
                with pytest.raises(EvidenceError):
                    verify_timestamp(altered, NOTE, one.pins[pin])
        for altered in (stored + b"\0", stored[:-1], b"", stored * 2):
            with pytest.raises(EvidenceError):
                verify_timestamp(altered, NOTE, one.pins[pin])


def test_no_altered_byte_of_an_elliptic_one_goes_unnoticed(made: dict[str, Made]) -> None:
    """The same for ECDSA, whose second signature of the same value is refused as well."""
    one = made["p256"]
    stored = one.stored["signer"]
    for at in range(len(stored)):
        altered = stored[:at] + bytes([stored[at] ^ 0x01]) + stored[at + 1 :]
        with pytest.raises(EvidenceError):
            verify_timestamp(altered, NOTE, one.pins["signer"])
    token = read_response(stored)
    key = read_public_key(parse_der(one.authority.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo)))
    assert key.curve is not None
    assert key.canonical(token.signature) == token.signature


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_rubbish_is_refused_and_never_a_traceback(data: bytes) -> None:
    """Whatever the bytes are, the answer is a finding."""
    with pytest.raises(EvidenceError):
        verify_timestamp(data, NOTE, [TrustedAuthority("t", bytes(32))])


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_signatures_are_judged_as_a_library_judges_them(digest: str) -> None:
    """RSA and both curves against signatures made by OpenSSL, right ones and wrong ones."""
    algorithm = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}[digest]
    for private in (rsa.generate_private_key(public_exponent=65537, key_size=2048),
                    ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())):
        key = read_public_key(parse_der(private.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo)))
        signature = (private.sign(b"message", PKCS1v15(), algorithm) if isinstance(private, rsa.RSAPrivateKey)
                     else private.sign(b"message", ec.ECDSA(algorithm)))
        assert key.verifies(digest, b"message", signature)
        assert not key.verifies(digest, b"massage", signature)
        assert not key.verifies("sha256" if digest != "sha256" else "sha512", b"message", signature)


def test_a_signature_outside_its_curve_is_a_finding(made: dict[str, Made]) -> None:
    """Numbers that are no scalars: a hostile answer is refused like any other, and is no traceback."""
    one = made["p256"]
    token = read_response(one.raw)
    for r, s in ((1, 2**300), (2**300, 1), (0, 1), (1, 0)):
        odd = token._replace(signature=write_der(DER_SEQUENCE, write_der_number(r), write_der_number(s)))
        with pytest.raises(EvidenceError, match="order of its curve"):
            canonical_response(odd, one.pins["signer"])


# ---------------------------------------------------------------- made by hand


@pytest.mark.parametrize("case", stamps.GOOD, ids=lambda case: case.name)
def test_every_form_that_an_authority_may_choose_verifies(case: stamps.Stamped) -> None:
    """Hashes, curves, certificates and attributes of all kinds, at the edges of what is allowed."""
    stamp = case.make(stamps.STAMPED)
    assert verify_timestamp(stamp, stamps.STAMPED, case.authorities).time == case.said
    assert canonical_response(read_response(stamp), case.authorities) == stamp


@pytest.mark.parametrize("case", stamps.BAD, ids=lambda case: case.name)
def test_what_an_authority_or_a_stranger_should_not_have_signed_is_refused(case: stamps.Stamped) -> None:
    """Each differs from a good one in one thing, and everything else was signed to fit."""
    with pytest.raises(EvidenceError) as caught:
        verify_timestamp(case.make(stamps.STAMPED), stamps.STAMPED, case.authorities)
    assert (caught.value.check, Verdict[caught.value.verdict.upper()]) == ("anchor", case.said)
