"""Throw-away certificate authorities: certificates of servers for loopback, and of agents."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files: the certificate, its key, and the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                       serialization.NoEncryption()))
    path.chmod(0o600)


def make_certificate(folder: Path, *names: str, use_rsa: bool = True) -> Certificate:
    """A new authority and one certificate for `names` (host names or addresses), valid for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    start, end = now - dt.timedelta(hours=1), now + dt.timedelta(days=1)
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throw-away authority")])
    root = (x509.CertificateBuilder().subject_name(root_name).issuer_name(root_name)
            .public_key(root_key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
            .sign(root_key, hashes.SHA256()))
    key = rsa.generate_private_key(65537, 2048) if use_rsa else ec.generate_private_key(ec.SECP256R1())
    subjects: list[x509.GeneralName] = []
    for name in names:
        try:
            subjects.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            subjects.append(x509.DNSName(name))
    leaf = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
            .issuer_name(root_name).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(subjects), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
                           critical=False)
            .sign(root_key, hashes.SHA256()))
    made = Certificate(folder / "server.crt", folder / "server.key", folder / "ca.crt")
    made.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    made.authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    _write_key(made.key, key)
    return made


class AgentAuthority:
    """An authority that gives agents certificates, good ones and others. `file` is its own certificate."""

    def __init__(self, folder: Path, name: str = "agents' authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "agents.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        made = (_certificate(self._name, self._name, self._key.public_key(), now - dt.timedelta(days=2), now + dt.timedelta(days=2))
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .sign(self._key, hashes.SHA256()))
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, *alternatives: x509.GeneralName, common: Sequence[str] = (), units: Sequence[str] = (),
        purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,), is_authority: bool = False,
        begins: dt.timedelta = dt.timedelta(hours=-1), ends: dt.timedelta = dt.timedelta(hours=1),
    ) -> Certificate:
        """A certificate in files called `name`, for these subjectAltNames, common names and organisational units."""
        key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
        subject = x509.Name([*(x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common),
                             *(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units)])
        leaf = _certificate(subject, self._name, key.public_key(), now + begins, now + ends).add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        if alternatives:
            leaf = leaf.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        if purposes is not None:
            leaf = leaf.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        made = Certificate(self.folder / f"{name}.crt", self.folder / f"{name}.key", self.file)
        made.certificate.write_bytes(leaf.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        _write_key(made.key, key)
        return made

    def revoke(self, *revoked: Certificate, ends: dt.timedelta = dt.timedelta(hours=1)) -> Path:
        """The list of its certificates that count no more."""
        now = dt.datetime.now(dt.UTC)
        made = (x509.CertificateRevocationListBuilder().issuer_name(self._name)
                .last_update(now - dt.timedelta(days=1)).next_update(now + ends))
        for one in revoked:
            serial = x509.load_pem_x509_certificate(one.certificate.read_bytes()).serial_number
            made = made.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - dt.timedelta(hours=1)).build())
        path = self.folder / "revoked.pem"
        path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: dt.datetime, end: dt.datetime,
) -> x509.CertificateBuilder:
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end))
