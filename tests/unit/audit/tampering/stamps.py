"""Time-stamps made by hand: an authority that signs whatever it is told, with certificates of any form.

`stamp` makes a response in the one form that counts. Each of its words exchanges one part, and what follows from it is
signed anew, so that only the part itself can contradict it. `GOOD` have to verify; each of `BAD` says what the verifier
has to say of it. Who makes those has the authority's key, or a key of his own.
"""

from __future__ import annotations

import calendar
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lockgate.audit.evidence.der import (
    DER_BITS,
    DER_INTEGER,
    DER_OCTETS,
    DER_OID,
    DER_SEQUENCE,
    DER_SET,
    der_oid,
    parse_der,
    write_der,
    write_der_number,
)
from lockgate.audit.evidence.publickeys import DIGESTS, ECDSA_WITH, OID_RSA, RSA_WITH
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.evidence.timestamp import RESPONSE_LIMIT
from lockgate.audit.evidence.trust import TrustedAuthority

STAMPED: Final = b"log.test/one\n42\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n\n\xe2\x80\x94 log.test/one AAAA\n"
AT: Final = "20270115080000"      # when the authority says that it saw it
LIFE: Final = ("20260101000000", "20280101000000")
NULL: Final = b"\5\0"
TRUE, FALSE = b"\1\1\xff", b"\1\1\0"
_HASHES: Final = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
_SIGNED_DATA, _TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
_TYPE, _DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_NAMED_SHA1, _NAMED = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
_USAGE, _STAMPING, _SERVING = "2.5.29.37", "1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.1"


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE."""
    return write_der(DER_SEQUENCE, *parts)


def a_set(*parts: bytes) -> bytes:
    """A SET."""
    return write_der(DER_SET, *parts)


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER."""
    return write_der(DER_OID, der_oid(dotted))


def octets(content: bytes) -> bytes:
    """An OCTET STRING."""
    return write_der(DER_OCTETS, content)


def moment(text: str) -> bytes:
    """A GeneralizedTime."""
    return write_der(0x18, text.encode() + b"Z")


def short_moment(text: str) -> bytes:
    """A UTCTime."""
    return write_der(0x17, text.encode() + b"Z")


def hashed_by(digest: str) -> bytes:
    """The AlgorithmIdentifier of a hash."""
    return sequence(write_der(DER_OID, next(one for one, name in DIGESTS.items() if name == digest)))


# ---------------------------------------------------------------- keys and certificates


@dataclass(frozen=True)
class Holder:
    """Somebody with a key and a name. Always the same key for the same number."""

    name: str
    number: int
    kind: str = "p256"

    @property
    def private(self) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
        """The key."""
        return _private(self.number, self.kind)

    @property
    def public(self) -> bytes:
        """The SubjectPublicKeyInfo."""
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def subject(self) -> bytes:
        """The name as certificates have it."""
        return sequence(a_set(sequence(oid("2.5.4.3"), write_der(0x0C, self.name.encode()))))

    def algorithm(self, digest: str) -> bytes:
        """How a signature of this holder is called, in certificates."""
        table = RSA_WITH if self.kind == "rsa" else ECDSA_WITH
        return sequence(write_der(DER_OID, next(one for one, name in table.items() if name == digest)),
                        *([NULL] if self.kind == "rsa" else []))

    def sign(self, message: bytes, digest: str = "sha256", *, is_high: bool = False) -> bytes:
        """A signature, of ECDSA's two the one with the lower s or the other one."""
        private = self.private
        if isinstance(private, rsa.RSAPrivateKey):
            return private.sign(message, PKCS1v15(), _HASHES[digest])
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(_HASHES[digest], deterministic_signing=True)))
        order = private.curve.group_order
        return scalars(r, max(s, order - s) if is_high else min(s, order - s))


@cache
def _private(number: int, kind: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.derive_private_key(number, ec.SECP256R1() if kind == "p256" else ec.SECP384R1())


def scalars(*numbers: int) -> bytes:
    """An ECDSA signature of these numbers."""
    return sequence(*(write_der_number(number) for number in numbers))


ROOT: Final = Holder("root", 1_001)
AUTHORITY: Final = Holder("authority", 1_002)
STRANGER: Final = Holder("stranger", 1_003)
LARGE: Final = Holder("large authority", 1_004, "p384")
RSA: Final = Holder("old authority", 0, "rsa")


def usage(*purposes: str, critical: bytes = TRUE) -> bytes:
    """The extension of extended key usages."""
    return sequence(oid(_USAGE), critical, octets(sequence(*map(oid, purposes))))


_BASIC: Final = sequence(oid("2.5.29.19"), TRUE, octets(sequence()))
_KEY_ID: Final = sequence(oid("2.5.29.14"), octets(octets(bytes(20))))      # not critical: two parts


def certificate(
    holder: Holder = AUTHORITY, issuer: Holder = ROOT, *, extensions: Sequence[bytes] | None = (_BASIC, _KEY_ID, usage(_STAMPING)),
    issued_in_the_name_of: Holder | None = None, version: bytes = write_der(0xA0, write_der_number(2)), digest: str = "sha256",
    life: Sequence[bytes] = (moment(LIFE[0]), moment(LIFE[1])), algorithm: bytes | None = None, outer: bytes | None = None,
    more: bytes = b"", without_key: bool = False, without_anything: bool = False,
) -> bytes:
    """A certificate (RFC 5280 §4.1). `outer` is the algorithm beside the signature, where it is not the signed one."""
    named = algorithm or issuer.algorithm(digest)
    signed = sequence(
        version, write_der_number(holder.number + 7), named, (issued_in_the_name_of or issuer).subject, sequence(*life),
        holder.subject, b"" if without_key else holder.public,
        b"" if extensions is None else write_der(0xA3, sequence(*extensions)))
    if without_anything:
        signed = sequence()
    return sequence(signed, outer or named, write_der(DER_BITS, b"\0", issuer.sign(signed, digest)), more)


ROOTS: Final = certificate(ROOT, ROOT, extensions=[_BASIC])
OWN: Final = certificate()


# ---------------------------------------------------------------- responses


def named(raw: bytes, *, digest: str = "sha256", is_said: bool = False, issued: bytes = b"", others: Sequence[bytes] = (),
          behind: bytes = b"") -> bytes:
    """The attribute that names the certificate (RFC 5035 §3), with the hash's name, issuer and serial, and others behind."""
    first = sequence(hashed_by(digest) if is_said else b"", octets(hashlib.new(digest, raw).digest()), issued)
    return attribute(_NAMED_SHA1 if digest == "sha1" else _NAMED, sequence(sequence(first, *others), behind))


def attribute(kind: str, *values: bytes) -> bytes:
    """A signed attribute."""
    return sequence(oid(kind), a_set(*values))


def info(content: bytes = STAMPED, *, at: bytes = moment(AT), version: int = 1, digest: str = "sha256",
         behind: bytes = b"") -> bytes:
    """What the authority says (RFC 3161 §2.4.2): policy, imprint, serial number, time, and what may follow."""
    return sequence(write_der_number(version), oid("1.2.3.4.1"),
                    sequence(hashed_by(digest), octets(hashlib.sha256(content).digest())), write_der_number(5), at, behind)


def stamp(
    content: bytes = STAMPED, *, said: bytes | None = None, own: bytes = OWN, certificates: Sequence[bytes] | None = None,
    by: Holder = AUTHORITY, digest: str = "sha256", attributes: Callable[[bytes, bytes], list[bytes]] | None = None,
    status: bytes = sequence(write_der_number(0)), kind: str = _SIGNED_DATA, inner: str = _TST_INFO, algorithm: bytes | None = None,
    hashing: bytes | None = None, revoked: bytes = b"", unsigned: bytes = b"", tag: int = 0xA0, signature: bytes | None = None,
    signers: int = 1, is_high: bool = False, token: bool = True, issuer: Holder = ROOT,
) -> bytes:
    """A TimeStampResp over `content`, in DER. `own` is the certificate that the attributes name; `attributes` makes them
    of it and of what is said."""
    said = info(content) if said is None else said
    listed = b"".join((attributes or usual)(own, hashlib.new(digest, said).digest()))
    hashing = hashing or hashed_by(digest)
    if algorithm is None:
        algorithm = sequence(write_der(DER_OID, OID_RSA), NULL) if by.kind == "rsa" else by.algorithm(digest)
    signer = sequence(
        write_der_number(1), sequence(issuer.subject, serial_of(own)), hashing, write_der(tag, listed), algorithm,
        octets(by.sign(write_der(DER_SET, listed), digest, is_high=is_high) if signature is None else signature), unsigned)
    kept = sorted([own, ROOTS]) if certificates is None else certificates
    data = sequence(
        write_der_number(3), a_set(hashing), sequence(oid(inner), write_der(0xA0, octets(said))),
        write_der(0xA0, *kept) if kept else b"", revoked, a_set(*[signer] * signers))
    return sequence(status, sequence(oid(kind), write_der(0xA0, data)) if token else b"")


def usual(own: bytes, digest: bytes) -> list[bytes]:
    """The signed attributes of an ordinary time-stamp."""
    return [attribute(_TYPE, oid(_TST_INFO)), attribute(_DIGEST, octets(digest)), named(own)]


def serial_of(raw: bytes) -> bytes:
    """The certificate's serial number as the signer is named by it; any, where there is none."""
    fields = parse_der(raw).items(DER_SEQUENCE)[0].items(DER_SEQUENCE)
    return next((one.raw for one in fields if one.tag == DER_INTEGER), write_der_number(1))


def pin(raw: bytes, name: str = "t") -> TrustedAuthority:
    """A certificate as a trust note pins it."""
    return TrustedAuthority(name, hashlib.sha256(raw).digest())


def seconds(text: str) -> int:
    """Unix seconds of a time in a time-stamp."""
    return calendar.timegm((int(text[:4]), *(int(text[at:at + 2]) for at in range(4, 14, 2)), 0, 0, 0))


class Stamped(NamedTuple):
    """A response over any content, the certificate that is pinned, and what has to be said: Unix seconds, or a verdict."""

    name: str
    make: Callable[[bytes], bytes]
    said: int | Verdict
    pinned: Callable[[], bytes]

    @property
    def authorities(self) -> list[TrustedAuthority]:
        """Who is pinned."""
        return [pin(self.pinned())]


GOOD: list[Stamped] = []
BAD: list[Stamped] = []


def good(name: str, make: Callable[[bytes], bytes], *, at: str = AT, pinned: Callable[[], bytes] = lambda: ROOTS) -> None:
    """One that has to verify."""
    GOOD.append(Stamped(name, make, seconds(at), pinned))


def bad(name: str, make: Callable[[bytes], bytes], verdict: Verdict = Verdict.TAMPERED, *, pinned: Callable[[], bytes] = lambda: ROOTS) -> None:
    """One that must not."""
    BAD.append(Stamped(name, make, verdict, pinned))


def with_own(own: bytes, content: bytes, *, by: Holder = AUTHORITY, digest: str = "sha256") -> bytes:
    """The stamp of another certificate of an authority."""
    return stamp(content, own=own, by=by, digest=digest)


def alone(own: bytes, content: bytes) -> bytes:
    """The stamp of an authority that is pinned itself."""
    return stamp(content, own=own, certificates=[own])


def instead(number: int, *others: bytes) -> Callable[[bytes, bytes], list[bytes]]:
    """The usual attributes with others in the place of one of them."""
    def made(own: bytes, digest: bytes) -> list[bytes]:
        found = usual(own, digest)
        return [*found[:number], *others, *found[number + 1:]]
    return made


@cache
def rsa_root() -> bytes:
    """The certificate of an issuer with an RSA key."""
    return certificate(RSA, RSA, extensions=[_BASIC])


def filled(content: bytes, size: int) -> bytes:
    """A response of so many bytes, most of them in its certificate."""
    def of(filling: int) -> bytes:
        own = certificate(extensions=[usage(_STAMPING), sequence(oid("1.2.3.4"), octets(bytes(filling)))])
        return stamp(content, own=own)
    least = 2 * size - 4_000 - len(of(size - 4_000)) - 8      # signatures differ by some bytes
    return next(made for made in map(of, range(least, size)) if len(made) == size)


good("by_the_issuer", stamp)
good("by_the_signer", lambda content: alone(OWN, content), pinned=lambda: OWN)
good("in_the_first_second_of_its_certificate", lambda content: stamp(content, said=info(content, at=moment(LIFE[0]))), at=LIFE[0])
good("in_the_last_second_of_its_certificate", lambda content: stamp(content, said=info(content, at=moment(LIFE[1]))), at=LIFE[1])
good("at_a_part_of_a_second", lambda content: stamp(content, said=info(content, at=moment(AT + ".25"))))
good("with_accuracy_and_nonce", lambda content: stamp(content, said=info(
    content, behind=sequence(write_der_number(1)) + write_der_number(77))))
good("named_by_sha1", lambda content: stamp(content, attributes=instead(2, named(OWN, digest="sha1"))))
good("named_by_a_hash_that_is_said", lambda content: stamp(content, attributes=instead(2, named(OWN, digest="sha512", is_said=True))))
good("named_by_issuer_and_serial_too", lambda content: stamp(content, attributes=instead(2, named(
    OWN, digest="sha384", is_said=True, issued=sequence(ROOT.subject, serial_of(OWN)), others=[sequence(octets(bytes(32)))],
    behind=sequence(sequence(oid("1.2.3")))))))
for _digest in ("sha384", "sha512"):
    good(f"hashed_by_{_digest}", lambda content, digest=_digest: stamp(content, digest=digest))     # type: ignore[misc]
    good(f"issued_with_{_digest}", lambda content, digest=_digest: with_own(certificate(digest=digest), content))     # type: ignore[misc]
    good(f"of_p384_by_{_digest}", lambda content, digest=_digest: with_own(     # type: ignore[misc]
        certificate(LARGE), content, by=LARGE, digest=digest))
    good(f"of_rsa_by_{_digest}", lambda content, digest=_digest: with_own(certificate(RSA), content, by=RSA, digest=digest))     # type: ignore[misc]
    good(f"issued_by_rsa_with_{_digest}", lambda content, digest=_digest: stamp(     # type: ignore[misc]
        content, own=certificate(issuer=RSA, digest=digest), issuer=RSA, certificates=sorted([
            certificate(issuer=RSA, digest=digest), rsa_root()])), pinned=rsa_root)
for _name, _bare in (("of_a_certificate_of_the_first_version", certificate(version=b"", extensions=None)),
                     ("of_a_certificate_without_extensions", certificate(extensions=None))):
    good(_name, lambda content, bare=_bare: alone(bare, content), pinned=lambda bare=_bare: bare)     # type: ignore[misc]
good("of_a_certificate_with_a_short_time", lambda content: with_own(certificate(
    life=[short_moment("260101000000"), moment(LIFE[1])]), content))
good("of_a_certificate_from_the_last_century", lambda content: with_own(certificate(
    life=[short_moment("500101000000"), short_moment("491231235959")]), content))
good("as_long_as_it_can_be", lambda content: filled(content, RESPONSE_LIMIT))

bad("rejected", lambda content: stamp(content, status=sequence(write_der_number(2))))
bad("without_a_status", lambda content: stamp(content, status=sequence()))
bad("without_a_token", lambda content: stamp(content, token=False))
bad("of_another_content_type", lambda content: stamp(content, kind="1.2.840.113549.1.7.1"))
bad("of_something_else_than_a_time_stamp", lambda content: stamp(content, inner="1.2.840.113549.1.7.1"))
bad("of_two_signers", lambda content: stamp(content, signers=2))
bad("of_no_signer", lambda content: stamp(content, signers=0))
bad("without_certificates", lambda content: stamp(content, certificates=[]))
bad("with_unsigned_attributes", lambda content: stamp(content, unsigned=write_der(0xA1)))
bad("with_two_kinds_of_unsigned_attributes", lambda content: stamp(content, unsigned=write_der(0xA1) * 2))
bad("with_revocation_lists", lambda content: stamp(content, revoked=write_der(0xA1, octets(b"x"))))
bad("with_attributes_in_another_tag", lambda content: stamp(content, tag=DER_SET))
bad("with_another_algorithm_than_it_says", lambda content: stamp(content, algorithm=AUTHORITY.algorithm("sha384")))
bad("with_an_algorithm_of_three_parts", lambda content: stamp(content, hashing=sequence(oid("2.16.840.1.101.3.4.2.1"), NULL, NULL)))
bad("with_an_algorithm_of_its_own", lambda content: stamp(content, hashing=sequence(oid("2.16.840.1.101.3.4.2.1"), octets(b"x"))))
bad("with_a_null_where_none_belongs", lambda content: stamp(content, hashing=sequence(oid("2.16.840.1.101.3.4.2.1"), NULL)))
bad("with_an_algorithm_without_a_name", lambda content: stamp(content, hashing=sequence()))
bad("with_words_beside_its_status", lambda content: stamp(content, status=sequence(
    write_der_number(0), sequence(write_der(0x0C, b"granted")))))
bad("granted_with_changes", lambda content: stamp(content, status=sequence(write_der_number(1))))
bad("with_a_further_certificate", lambda content: stamp(content, certificates=sorted([OWN, ROOTS, certificate(STRANGER)])))
bad("with_certificates_in_disorder", lambda content: stamp(content, certificates=sorted([OWN, ROOTS], reverse=True)))
bad("with_the_higher_scalar", lambda content: stamp(content, is_high=True))
bad("longer_than_it_can_be", lambda content: filled(content, RESPONSE_LIMIT + 1))
bad("from_before_its_certificate", lambda content: stamp(content, said=info(content, at=moment("20251231235959"))))
bad("from_after_its_certificate", lambda content: stamp(content, said=info(content, at=moment("20280101000001"))))
bad("without_a_content_type_attribute", lambda content: stamp(content, attributes=instead(0)))
bad("without_a_digest_attribute", lambda content: stamp(content, attributes=instead(1)))
bad("with_another_content_type_attribute", lambda content: stamp(content, attributes=instead(0, attribute(_TYPE, oid(_SIGNED_DATA)))))
bad("with_the_digest_of_something_else", lambda content: stamp(content, attributes=instead(1, attribute(_DIGEST, octets(bytes(32))))))
bad("with_an_attribute_twice", lambda content: stamp(content, attributes=instead(
    0, attribute(_TYPE, oid(_TST_INFO)), attribute(_TYPE, oid(_TST_INFO)))))
bad("with_two_values_of_an_attribute", lambda content: stamp(content, attributes=instead(0, attribute(
    _TYPE, oid(_TST_INFO), oid(_TST_INFO)))))
bad("that_names_no_certificate", lambda content: stamp(content, attributes=instead(2)))
bad("that_does_not_name_its_only_certificate", lambda content: stamp(content, certificates=[OWN], attributes=instead(2)), pinned=lambda: OWN)
bad("that_names_an_empty_list", lambda content: stamp(content, attributes=instead(2, attribute(_NAMED, sequence(sequence())))))
bad("that_names_nothing", lambda content: stamp(content, attributes=instead(2, attribute(_NAMED, sequence(sequence(sequence()))))))
bad("that_lists_nothing", lambda content: stamp(content, attributes=instead(2, attribute(_NAMED, sequence()))))
bad("that_names_another_certificate_first", lambda content: stamp(content, attributes=instead(2, named(
    certificate(STRANGER), others=[sequence(octets(hashlib.sha256(OWN).digest()))]))))
bad("whose_first_word_decides", lambda content: stamp(content, attributes=instead(
    2, named(certificate(STRANGER)), named(OWN, digest="sha1"))))
bad("of_an_imprint_by_another_hash", lambda content: stamp(content, said=info(content, digest="sha384")))
bad("of_another_version", lambda content: stamp(content, said=info(content, version=2)))
bad("without_a_time", lambda content: stamp(content, said=info(content, at=b"")))
bad("of_a_month_that_does_not_exist", lambda content: stamp(content, said=info(content, at=moment("20271315080000"))))
bad("of_a_time_with_a_zero_behind_it", lambda content: stamp(content, said=info(content, at=moment(AT + ".50"))))
bad("of_a_local_time", lambda content: stamp(content, said=info(content, at=write_der(0x18, AT.encode()))))
bad("of_a_time_in_another_tag", lambda content: stamp(content, said=info(content, at=write_der(0x16, b"270115080000Z"))))
bad("signed_by_a_stranger", lambda content: stamp(content, by=STRANGER))
bad("of_a_certificate_for_something_else", lambda content: with_own(certificate(extensions=[usage(_SERVING)]), content))
bad("of_a_certificate_for_nothing", lambda content: with_own(certificate(extensions=[_BASIC]), content))
bad("of_a_certificate_without_any_extension", lambda content: with_own(certificate(extensions=None), content))
bad("of_a_usage_that_is_not_critical", lambda content: with_own(certificate(extensions=[usage(_STAMPING, critical=b"")]), content))
bad("of_a_usage_that_says_it_is_not_critical", lambda content: with_own(certificate(
    extensions=[usage(_STAMPING, critical=FALSE)]), content))
bad("of_a_certificate_that_somebody_else_issued", lambda content: with_own(certificate(
    issuer=STRANGER, issued_in_the_name_of=ROOT), content), Verdict.UNTRUSTED)
bad("of_a_certificate_in_another_name", lambda content: stamp(content, own=certificate(issued_in_the_name_of=STRANGER), issuer=STRANGER),
    Verdict.UNTRUSTED)
bad("of_a_stranger_beside_the_pinned_issuer", lambda content: stamp(
    content, own=certificate(STRANGER, STRANGER), by=STRANGER, issuer=STRANGER), Verdict.UNTRUSTED)
bad("of_a_certificate_with_two_algorithms", lambda content: with_own(certificate(outer=ROOT.algorithm("sha384")), content))
bad("of_a_certificate_with_an_algorithm_of_three_parts", lambda content: with_own(certificate(
    algorithm=sequence(oid("1.2.840.10045.4.3.2"), NULL, NULL)), content))
bad("of_a_certificate_with_an_unknown_algorithm", lambda content: with_own(certificate(
    algorithm=sequence(oid("1.3.101.112"))), content))
bad("of_a_certificate_with_four_parts", lambda content: with_own(certificate(more=NULL), content))
bad("of_a_certificate_without_a_key", lambda content: with_own(certificate(without_key=True, extensions=None), content))
bad("of_a_certificate_without_anything", lambda content: with_own(certificate(without_anything=True), content))
bad("of_a_certificate_with_three_times", lambda content: with_own(certificate(life=[moment(one) for one in (*LIFE, LIFE[1])]), content))
bad("of_a_certificate_with_a_time_in_another_tag", lambda content: with_own(certificate(
    life=[write_der(0x16, b"260101000000Z"), moment(LIFE[1])]), content))
bad("of_a_certificate_from_the_century_after", lambda content: with_own(certificate(
    life=[short_moment("500101000000"), short_moment("501231235959")]), content))
bad("of_scalars_that_are_none", lambda content: stamp(content, signature=scalars(0, 1)))
bad("of_three_scalars", lambda content: stamp(content, signature=scalars(1, 1, 1)))
