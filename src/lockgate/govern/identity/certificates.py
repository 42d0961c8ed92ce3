"""Who an agent is by the certificate that it has shown: what of it is taken for what, by explicit rules only.

Apart from `verification`, which does the same with tokens. That the chain leads to one of the configured authorities, is
valid now, not revoked and meant for clients is found out by TLS at the handshake; what TLS leaves open is checked here. No
header is ever believed: a certificate is what the connection's own handshake brought.

Source: RFC 5280; RFC 8705 section 3 (tokens that are bound to a certificate); X509-SVID (SPIFFE) for `san_uri`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lockgate.govern.identity.claims import GROUP_COUNT, GROUP_LIMIT, SUBJECT_LIMIT, is_plain
from lockgate.govern.identity.failures import Failure, failed
from lockgate.model import Identity

E = TypeVar("E", bound=x509.ExtensionType)
NAMES: Final = ("san_uri", "san_dns", "san_email", "cn")
"""Places of a certificate where a name is."""
NOBODY: Final = "none"
"""In place of them: certificates say nobody's name here, and tokens are bound to them."""
LAST: Final = "last"
"""Of an agent's name: what stands behind the subject's last slash."""


@dataclass(frozen=True, slots=True)
class CertificateRules:
    """One set of authorities whose certificates agents show, and how they are read. `groups` maps patterns of subjects to
    groups; in a pattern `*` stands for anything but a slash. `has_units`: the subject's organisational units are groups too.
    """

    name: str
    ca: Path
    subject: str
    crl: Path | None = None
    required: bool = False
    issuer: str = ""
    agent: str | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_units: bool = False

    @property
    def names_callers(self) -> bool:
        """Whether who shows a certificate is somebody by it."""
        return self.subject != NOBODY


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A client's certificate that TLS has accepted. `fingerprint` is the hex SHA-256 of its DER form, `thumbprint` the same
    as RFC 8705 writes it (`x5t#S256`), `expires_at` in Unix seconds."""

    der: bytes = field(repr=False)
    fingerprint: str
    thumbprint: str
    expires_at: float

    @classmethod
    def of(cls, der: bytes) -> ShownCertificate:
        """Of its DER form. `IdentityError` for one that cannot be read."""
        digest = hashlib.sha256(der).digest()
        thumbprint = base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
        return cls(der, digest.hex(), thumbprint, _read(der).not_valid_after_utc.timestamp())


def identify(rules: CertificateRules, shown: ShownCertificate, now: float) -> Identity:
    """Who it is, at the Unix time `now`. Raises `IdentityError`; returns only if all checks passed."""
    if not rules.names_callers:
        raise failed(Failure.CERTIFICATE, "certificates name nobody here", advice="Send a token.")
    certificate = _read(shown.der)
    # 1. Time: the handshake may be long ago.
    if not now < shown.expires_at:
        raise failed(Failure.EXPIRED, "the client's certificate has expired", advice="Get a new one and connect again.")
    if not now >= certificate.not_valid_before_utc.timestamp():
        raise failed(Failure.NOT_YET_VALID, "the client's certificate is not valid yet")
    # 2. Meant for a client, explicitly: TLS lets one pass that says nothing of its purpose (RFC 5280 section 4.2.1.12).
    verify_purpose(certificate)
    # 3. Exactly one name in the place where it is looked for.
    subject = _name(certificate, rules.subject)
    # 4. What else policies and records speak of.
    return Identity(
        issuer=rules.issuer or f"urn:lockgate:certificates:{rules.name}", subject=subject, provider=rules.name,
        groups=_groups(rules, certificate, subject), expires_at=shown.expires_at, token_hash=shown.fingerprint,
        agent=_agent(rules, certificate, subject),
    )


def verify_purpose(certificate: x509.Certificate) -> None:
    """It is no authority's, and says that it is for clients."""
    try:
        constraints = _extension(certificate, x509.BasicConstraints)
        usage = _extension(certificate, x509.ExtendedKeyUsage)
    except (x509.DuplicateExtension, ValueError):
        raise failed(Failure.CERTIFICATE, "the client's certificate cannot be read") from None
    if constraints is not None and constraints.ca:
        raise failed(Failure.CERTIFICATE, "the client's certificate is an authority's")
    if usage is None or ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise failed(
            Failure.CERTIFICATE, "the client's certificate does not say that it is for clients",
            advice="Its extendedKeyUsage has to name clientAuth (1.3.6.1.5.5.7.3.2).")


def verify_binding(identity: Identity, shown: ShownCertificate | None) -> Identity:
    """A token that is bound to a certificate counts with that certificate only, and no longer than it (RFC 8705 section 3).
    `IdentityError` where another one was shown, or none."""
    if identity.bound_to is None:
        return identity
    if shown is None or not hmac.compare_digest(identity.bound_to, shown.thumbprint):
        raise failed(
            Failure.SENDER_CONSTRAINED, "the token is bound to a client certificate that this connection has not shown",
            advice="Connect over TLS with the certificate that the token was issued to.")
    return replace(identity, expires_at=min(identity.expires_at, shown.expires_at))


@lru_cache(maxsize=1024)
def _read(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        raise failed(Failure.CERTIFICATE, "the client's certificate cannot be read") from None


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _alternatives(kind: type[x509.UniformResourceIdentifier | x509.DNSName | x509.RFC822Name]) -> Callable[[x509.Certificate], list[str]]:
    def found(certificate: x509.Certificate) -> list[str]:
        names = _extension(certificate, x509.SubjectAlternativeName)
        return [] if names is None else [str(name) for name in names.get_values_for_type(kind)]
    return found


def _attributes(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> list[str]:
    return [str(one.value) for one in certificate.subject.get_attributes_for_oid(kind)]


_PLACES: Final[Mapping[str, Callable[[x509.Certificate], list[str]]]] = {
    "san_uri": _alternatives(x509.UniformResourceIdentifier), "san_dns": _alternatives(x509.DNSName),
    "san_email": _alternatives(x509.RFC822Name), "cn": lambda certificate: _attributes(certificate, NameOID.COMMON_NAME),
}


def _name(certificate: x509.Certificate, place: str) -> str:
    """The one name in a place. Of several nobody could say which is meant."""
    try:
        found = _PLACES[place](certificate)
    except (x509.DuplicateExtension, ValueError):
        raise failed(Failure.CERTIFICATE, "the client's certificate cannot be read") from None
    if len(found) != 1:
        raise failed(Failure.SUBJECT, f"the client's certificate has {len(found) or 'no'} names as {place}; it needs exactly one")
    name = found[0].lower() if place == "san_dns" else found[0]
    if not is_plain(name, SUBJECT_LIMIT) or (place == "san_dns" and "*" in name):
        raise failed(Failure.SUBJECT, f"the client certificate's {place} is no text of 1 to {SUBJECT_LIMIT} printable characters")
    return name


def _agent(rules: CertificateRules, certificate: x509.Certificate, subject: str) -> str | None:
    if rules.agent is None:
        return None
    if rules.agent != LAST:
        return _name(certificate, rules.agent)
    return subject.rpartition("/")[2] or subject


def _groups(rules: CertificateRules, certificate: x509.Certificate, subject: str) -> frozenset[str]:
    found = {group for pattern, groups in rules.groups.items() if _pattern(pattern).fullmatch(subject) for group in groups}
    if rules.has_units:
        units = _attributes(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
        if len(units) > GROUP_COUNT or not all(is_plain(unit, GROUP_LIMIT) for unit in units):
            raise failed(Failure.GROUPS, "the client certificate's organisational units are not printable texts")
        found.update(units)
    return frozenset(found)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(map(re.escape, text.split("*"))))
