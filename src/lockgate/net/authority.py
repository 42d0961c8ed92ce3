"""The installation's own certificate authority: certificates for the hosts that a forward proxy stands in for.

Apart from `tls`, which uses certificates and makes none. The authority's key is a file that nobody else may read; the keys
of hosts live in memory only. A certificate is made when its host is first asked for, kept, and made anew before it ends.

Source: RFC 5280; CA/Browser Forum Baseline Requirements for what clients ask of a server's certificate (a name in
subjectAltName, a server's purpose, a short life).
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import stat
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lockgate.errors import ConfigError
from lockgate.net.tls import server_context

KEY_FILE: Final = "ca.key"
CERTIFICATE_FILE: Final = "ca.pem"
_LIFE: Final = timedelta(days=3650)
_LEAF_LIFE: Final = timedelta(days=7)
_RENEWED: Final = timedelta(days=1)
"""Before its end, a host's certificate is made anew."""
_BACKDATED: Final = timedelta(hours=12)
"""Clocks of clients may be behind."""
_MOST: Final = 512
"""Hosts whose certificates are kept."""
_NAME: Final = "Lockgate interception CA"


class Authority:
    """Makes certificates. `certificate` is its own, for clients to trust."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: OrderedDict[tuple[str, tuple[str, ...]], tuple[datetime, ssl.SSLContext]] = OrderedDict()

    def context(self, host: str, alpn: tuple[str, ...]) -> ssl.SSLContext:
        """TLS for a server of this name (a DNS name or an IP address). ValueError for what is neither."""
        now = datetime.now(UTC)
        found = self._contexts.get((host, alpn))
        if found is not None and now < found[0]:
            self._contexts.move_to_end((host, alpn))
            return found[1]
        made = server_context(alpn)
        _load(made, self._leaf(host, now), self._leaf_key)
        self._contexts[host, alpn] = (now + _LEAF_LIFE - _RENEWED, made)
        if len(self._contexts) > _MOST:
            self._contexts.popitem(last=False)
        return made

    def _leaf(self, host: str, now: datetime) -> x509.Certificate:
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            name = x509.DNSName(host)
        public = self._leaf_key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(min(now + _LEAF_LIFE, self.certificate.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(
                digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
                key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
            ), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def pem(self) -> str:
        """The authority's certificate, for clients to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def open_authority(folder: Path) -> Authority:
    """The authority whose key and certificate are in `folder`, made where they are not there. `ConfigError` for a key that
    others may read, for files that do not belong together, and for an authority that has expired."""
    key_file, certificate_file = folder / KEY_FILE, folder / CERTIFICATE_FILE
    try:
        if not key_file.exists() and not certificate_file.exists():
            _create(key_file, certificate_file)
        key, certificate = _read(key_file, certificate_file)
    except OSError as error:
        raise ConfigError(f"cannot use {error.filename or folder}: {error.strerror}") from None
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise ConfigError(f"the authority in {certificate_file} has expired",
                          advice=f"Remove {key_file} and {certificate_file}, start again, and give clients the new one.")
    return Authority(certificate, key)


def _read(key_file: Path, certificate_file: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    descriptor = os.open(key_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or stat.S_IMODE(mode) & 0o077:
            raise ConfigError(f"{key_file}: others may read or change the authority's key",
                              advice=f"chmod 600 {key_file}, and consider the key disclosed.")
        data = file.read(16_384)
    try:
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except (ValueError, TypeError):
        key = certificate = None  # type: ignore[assignment]
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate is None \
            or certificate.public_key() != key.public_key():
        raise ConfigError(f"{key_file} and {certificate_file} are no authority that was made together",
                          advice="Restore both from a backup, or remove both to have a new one made.")
    return key, certificate


def _create(key_file: Path, certificate_file: Path) -> None:
    """A new key and its certificate, the key first: what is there of only one of them is found out by `_read`."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{_NAME} {x509.random_serial_number():x}"[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED).not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        ), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, data, mode in (
        (key_file, _pem(key), 0o600), (certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644),
    ):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _load(context: ssl.SSLContext, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Give a context a certificate and key out of memory: the standard library loads files only, so they are files of
    memory that have no name."""
    descriptor = os.memfd_create("lockgate-leaf", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate.public_bytes(serialization.Encoding.PEM) + _pem(key))
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
