"""Anchors: RFC 3161 time-stamps over a checkpoint's bytes, by an authority that the trust note pins.

A response has parts that nobody signed: its status, further certificates, how algorithms are named. So only
one form of it counts, `canonical_response`: status *granted* without words, the signing certificate
and, where that is what is pinned, the one that issued it, no revocation lists, no unsigned attributes, every
algorithm in one spelling, ECDSA's lower s. The gateway stores that form; a verifier builds it again from the
signed parts and compares every byte. What is left is covered by the authority's signature, by the hash of
the signing certificate inside of it (RFC 5035), or by the pin.
"""

from __future__ import annotations

import calendar
import hashlib
import re
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from lockgate.audit.evidence.der import (
    DER_BITS,
    DER_OCTETS,
    DER_OID,
    DER_SEQUENCE,
    DER_SET,
    Der,
    der_oid,
    parse_der,
    write_der,
    write_der_number,
)
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.publickeys import (
    DIGESTS,
    ECDSA_WITH,
    OID_RSA,
    RSA_WITH,
    PublicKey,
    read_public_key,
)
from lockgate.audit.evidence.trust import TrustedAuthority

RESPONSE_LIMIT = 65_536
_EXTENSIONS = 0xA3      # of a certificate, in a tag of their own
_SIGNED_DATA = der_oid("1.2.840.113549.1.7.2")
_TST_INFO = der_oid("1.2.840.113549.1.9.16.1.4")
_CONTENT_TYPE = der_oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = der_oid("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE = der_oid("1.2.840.113549.1.9.16.2.12")        # RFC 2634: SHA-1
_SIGNING_CERTIFICATE_V2 = der_oid("1.2.840.113549.1.9.16.2.47")     # RFC 5035: SHA-256 unless it says otherwise
_EXTENDED_USAGE = der_oid("2.5.29.37")
_CRITICAL = b"\x01\x01\xff"
_TIME_STAMPING = der_oid("1.3.6.1.5.5.7.3.8")
_GENERALIZED = re.compile(rb"([0-9]{14})(?:\.[0-9]*[1-9])?Z")
_UTC = re.compile(rb"([0-9]{12})Z")


class Certificate(NamedTuple):
    """What is needed of a certificate (RFC 5280)."""

    raw: bytes
    signed: bytes
    signature: bytes
    digest: str
    serial: Der
    issuer: bytes
    subject: bytes
    valid: tuple[int, int]
    key: PublicKey
    usages: tuple[bytes, ...]

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the whole certificate."""
        return sha256(self.raw).digest()


class SignedToken(NamedTuple):
    """The signed parts of a time-stamp, and the certificates that came with it."""

    info: bytes
    attributes: Der
    digest: str
    signature: bytes
    certificates: tuple[bytes, ...]


class Timestamp(NamedTuple):
    """Who says that the checkpoint was there, and when (Unix seconds, UTC)."""

    authority: str
    time: int


def verify_timestamp(response: bytes, content: bytes, authorities: Sequence[TrustedAuthority]) -> Timestamp:
    """The time at which a pinned authority saw `content`. Raises `EvidenceError` (check ``anchor``)."""
    token = read_response(response)
    signer, authority = _signer(token, authorities)
    if response != canonical_response(token, authorities):
        raise _broken("a time-stamp holds bytes that nobody signed")
    _require_signature(token, signer)
    moment = _require_imprint(token.info, content)
    if not signer.valid[0] <= moment <= signer.valid[1]:
        raise _broken("a time-stamp is from outside its certificate's life")
    return Timestamp(authority, moment)


def canonical_response(token: SignedToken, authorities: Sequence[TrustedAuthority]) -> bytes:
    """The one form of a response that counts, with the certificates that these pins need."""
    signer, _ = _signer(token, authorities)
    pins = {authority.fingerprint for authority in authorities}
    kept = [signer.raw]
    if signer.fingerprint not in pins:
        kept += [raw for raw in token.certificates if sha256(raw).digest() in pins and _has_issued(raw, signer)][:1]
    digest_oid = next(oid for oid, name in DIGESTS.items() if name == token.digest)
    digest = write_der(DER_SEQUENCE, write_der(DER_OID, digest_oid))
    if signer.key.curve is None:
        algorithm = write_der(DER_SEQUENCE, write_der(DER_OID, OID_RSA), b"\x05\0")
    else:
        oid = next(oid for oid, name in ECDSA_WITH.items() if name == token.digest)
        algorithm = write_der(DER_SEQUENCE, write_der(DER_OID, oid))
    signer_info = write_der(
        DER_SEQUENCE, write_der_number(1), write_der(DER_SEQUENCE, signer.issuer, signer.serial.raw), digest,
        write_der(0xA0, token.attributes.content), algorithm,
        write_der(DER_OCTETS, signer.key.canonical(token.signature)))
    signed_data = write_der(
        DER_SEQUENCE, write_der_number(3), write_der(DER_SET, digest),
        write_der(DER_SEQUENCE, write_der(DER_OID, _TST_INFO), write_der(0xA0, write_der(DER_OCTETS, token.info))),
        write_der(0xA0, *sorted(kept)), write_der(DER_SET, signer_info))
    content_info = write_der(DER_SEQUENCE, write_der(DER_OID, _SIGNED_DATA), write_der(0xA0, signed_data))
    return write_der(DER_SEQUENCE, write_der(DER_SEQUENCE, write_der_number(0)), content_info)


def read_response(response: bytes) -> SignedToken:
    """Take a granted TimeStampResp (RFC 3161 §2.4.2) apart. Verifies nothing."""
    if len(response) > RESPONSE_LIMIT:
        raise _broken(f"a time-stamp is longer than {RESPONSE_LIMIT} bytes")
    outer = parse_der(response).items(DER_SEQUENCE)
    status = outer[0].items(DER_SEQUENCE) if outer else []
    if len(outer) != 2 or not status or status[0].number() not in (0, 1):
        raise _broken("the authority did not grant a time-stamp")
    kind, wrapped = _parts(outer[1].items(DER_SEQUENCE), 2)
    if kind.require(DER_OID) != _SIGNED_DATA:
        raise _broken("a time-stamp is not signed data")
    fields = _only(wrapped.items(0xA0)).items(DER_SEQUENCE)
    certificates = tuple(value.raw for field in fields if field.tag == 0xA0 for value in field.items(0xA0))
    kind, content = _parts(_only(fields[2:3]).items(DER_SEQUENCE), 2)
    if kind.require(DER_OID) != _TST_INFO:
        raise _broken("what is signed is not a time-stamp")
    info = _only(content.items(0xA0)).require(DER_OCTETS)
    signer = _only(fields[-1].items(DER_SET)).items(DER_SEQUENCE)
    if len(signer) not in (6, 7):
        raise _broken("a time-stamp is signed in an unknown way")
    digest = _algorithm_name(signer[2], DIGESTS)
    signer[3].require(0xA0)
    _require_algorithm(signer[4], digest)
    return SignedToken(info, signer[3], digest, signer[5].require(DER_OCTETS), certificates)


def read_certificate_der(raw: bytes) -> Certificate:
    """The fields of a certificate. Raises (check ``anchor``)."""
    signed, algorithm, bits = _parts(parse_der(raw).items(DER_SEQUENCE), 3)
    fields = signed.items(DER_SEQUENCE)
    if fields and fields[0].tag == 0xA0:
        fields = fields[1:]
    if len(fields) < 6 or fields[1].raw != algorithm.raw:
        raise _broken("a certificate is malformed")
    signature = bits.require(DER_BITS)
    begin, end = _parts(fields[3].items(DER_SEQUENCE), 2)
    return Certificate(raw, signed.raw, signature[1:], _algorithm_name(algorithm, {**RSA_WITH, **ECDSA_WITH}), fields[0],
                       fields[2].raw, fields[4].raw, (_moment(begin), _moment(end)), read_public_key(fields[5]),
                       _usages(fields))


# ---------------------------------------------------------------- whose signature


def _signer(token: SignedToken, authorities: Sequence[TrustedAuthority]) -> tuple[Certificate, str]:
    """The certificate that the signed attributes name, and the authority that its pin, or its issuer's, stands for."""
    attributes = _attributes(token.attributes)
    signers = [raw for raw in token.certificates if _is_named(attributes, raw)]
    if len(signers) != 1:
        raise _broken("the signing certificate is not there, or not named")
    signer = read_certificate_der(*signers)
    for authority in authorities:
        if authority.fingerprint == signer.fingerprint:
            return signer, authority.name
        for raw in token.certificates:
            if sha256(raw).digest() == authority.fingerprint and _has_issued(raw, signer):
                if _TIME_STAMPING not in signer.usages:
                    raise _broken("the signing certificate is not for time-stamping")
                return signer, authority.name
    raise EvidenceError("anchor", "a time-stamp by an authority that nobody here trusts", verdict="untrusted")


def _has_issued(raw: bytes, certificate: Certificate) -> bool:
    issuer = read_certificate_der(raw)
    return issuer.subject == certificate.issuer and issuer.key.verifies(
        certificate.digest, certificate.signed, certificate.signature)


def _attributes(attributes: Der) -> dict[bytes, Der]:
    found: dict[bytes, Der] = {}
    for attribute in attributes.items(0xA0):
        kind, values = _parts(attribute.items(DER_SEQUENCE), 2)
        name = kind.require(DER_OID)
        if name in found:
            raise _broken("a signed attribute is there twice")
        found[name] = _only(values.items(DER_SET))
    return found


def _is_named(attributes: dict[bytes, Der], raw: bytes) -> bool:
    """Whether the signing-certificate attribute is of this certificate: the first one that it names signs."""
    for kind, default in ((_SIGNING_CERTIFICATE_V2, "sha256"), (_SIGNING_CERTIFICATE, "sha1")):
        if kind in attributes:
            listed = attributes[kind].items(DER_SEQUENCE)
            named = listed[0].items(DER_SEQUENCE) if listed else []
            first = named[0].items(DER_SEQUENCE) if named else []
            digest = default
            if first and first[0].tag == DER_SEQUENCE:
                digest = _algorithm_name(first[0], DIGESTS)
                first = first[1:]
            return bool(first) and first[0].require(DER_OCTETS) == hashlib.new(digest, raw).digest()
    return False


def _require_signature(token: SignedToken, signer: Certificate) -> None:
    attributes = _attributes(token.attributes)
    kind, digest = attributes.get(_CONTENT_TYPE), attributes.get(_MESSAGE_DIGEST)
    if kind is None or digest is None or kind.require(DER_OID) != _TST_INFO:
        raise _broken("a time-stamp's signed attributes are incomplete")
    if digest.require(DER_OCTETS) != hashlib.new(token.digest, token.info).digest():
        raise _broken("a time-stamp is not the one that was signed")
    if not signer.key.verifies(token.digest, write_der(DER_SET, token.attributes.content), token.signature):
        raise _broken("a time-stamp's signature is not by its certificate")


def _require_imprint(info: bytes, content: bytes) -> int:
    """When the authority saw exactly this content."""
    fields = parse_der(info).items(DER_SEQUENCE)
    if len(fields) < 5 or fields[0].number() != 1:
        raise _broken("a time-stamp is of an unknown version")
    algorithm, imprint = _parts(fields[2].items(DER_SEQUENCE), 2)
    if _algorithm_name(algorithm, DIGESTS) != "sha256" or imprint.require(DER_OCTETS) != sha256(content).digest():
        raise _broken("a time-stamp is of something else than this checkpoint")
    return _moment(fields[4])


# ---------------------------------------------------------------- small parts


def _require_algorithm(algorithm: Der, digest: str) -> None:
    oid = _only(algorithm.items(DER_SEQUENCE)[:1]).require(DER_OID)
    if oid != OID_RSA and {**RSA_WITH, **ECDSA_WITH}.get(oid) != digest:
        raise _broken("a time-stamp is signed with another algorithm than it says")


def _algorithm_name(algorithm: Der, names: dict[bytes, str]) -> str:
    parts = algorithm.items(DER_SEQUENCE)
    found = names.get(parts[0].require(DER_OID)) if parts else None
    if found is None or len(parts) > 2 or (len(parts) == 2 and parts[1].raw != b"\x05\0"):
        raise _broken("an algorithm that is not known here")
    return found


def _usages(fields: Sequence[Der]) -> tuple[bytes, ...]:
    """The extended key usages, where the extension is critical, as RFC 3161 §2.3 demands."""
    for field in fields:
        if field.tag == _EXTENSIONS:
            for extension in _only(field.items(_EXTENSIONS)).items(DER_SEQUENCE):
                parts = extension.items(DER_SEQUENCE)
                if len(parts) == 3 and parts[0].require(DER_OID) == _EXTENDED_USAGE and parts[1].raw == _CRITICAL:
                    listed = parse_der(parts[2].require(DER_OCTETS)).items(DER_SEQUENCE)
                    return tuple(usage.require(DER_OID) for usage in listed)
    return ()


def _moment(value: Der) -> int:
    """Unix seconds of a GeneralizedTime or, in certificates, a UTCTime (RFC 5280 §4.1.2.5)."""
    found = (_GENERALIZED if value.tag == 0x18 else _UTC).fullmatch(value.content)
    if found is None or value.tag not in (0x17, 0x18):
        raise _broken("a time is not written as it must be")
    digits = found.group(1).decode()
    if value.tag == 0x17:
        digits = ("19" if int(digits[:2]) >= 50 else "20") + digits
    try:
        return calendar.timegm(time.strptime(digits, "%Y%m%d%H%M%S"))
    except ValueError:
        raise _broken("a time that does not exist") from None


def _parts(values: list[Der], count: int) -> list[Der]:
    if len(values) != count:
        raise _broken("a structure has parts too many or too few")
    return values


def _only(values: list[Der]) -> Der:
    (value,) = _parts(values, 1)
    return value


def _broken(message: str) -> EvidenceError:
    return EvidenceError("anchor", message)
