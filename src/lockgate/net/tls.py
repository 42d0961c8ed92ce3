"""TLS without a socket: ciphertext in, plaintext out, and the other way round.

Stands apart from the endpoints because a session starts TLS in the middle of a plaintext
conversation, on either side, and with bytes that already arrived. `ssl.MemoryBIO` gives exactly
that; what is sent and when stays with the caller.

Rules: TLS 1.2 at least, no renegotiation, no compression, no tickets; a certificate or key that
cannot be used is a `ConfigError` at start-up that names the file, never a surprise at a handshake.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import SignatureAlgorithmOID

from lockgate.errors import BackendError, ConfigError
from lockgate.govern.identity import CertificateRules

_CHUNK = 65_536
_CONTEXTS = 64
_NO_TLS = "WRONG_VERSION_NUMBER"            # what OpenSSL calls bytes that are no record of TLS


class TlsError(BackendError):
    """A handshake failed or the record layer was broken. The message names the check, no content."""

    code = "tls.failed"


def _hardened(context: ssl.SSLContext, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Show this certificate. Raises `ConfigError` where it cannot be used."""
    for path in (certificate, key):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ConfigError(
                f"cannot read {path}: {error.strerror}",
                advice="Give the user that runs the gateway read access to the file, or correct the path.",
            ) from None
    try:
        context.load_cert_chain(certificate, key, _no_passphrase)
    except ValueError:
        raise ConfigError(
            f"{key} is encrypted", advice="Use a key without a passphrase, readable by the gateway only."
        ) from None
    except ssl.SSLError as error:
        reason = error.reason or ""
        if "MISMATCH" in reason:
            raise ConfigError(
                f"{key} is not the key of {certificate}",
                advice="Point `certificate` and `key` at files that were made together.",
            ) from None
        raise ConfigError(
            f"cannot use {certificate} with {key}: {reason.lower().replace('_', ' ') or 'not PEM'}",
            advice="Both files have to be PEM; the certificate file starts with the own certificate, not with its authority's.",
        ) from None


# ---------------------------------------------------------------- the listener's side


def _capture_server_name(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    connection.lockgate_server_name = name  # type: ignore[attr-defined]


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted")


def server_context(alpn: tuple[str, ...]) -> ssl.SSLContext:
    """A server's context that accepts these application protocols; its certificate is still to be loaded."""
    made = _hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), alpn)
    made.num_tickets = 0
    # The callback is typed for sockets and objects alike; here it is only ever an object.
    made.sni_callback = _capture_server_name
    return made


class ServerCertificate:
    """A listener's certificate and key, loaded once. Contexts are kept per ALPN list and authorities of clients."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._contexts: dict[tuple[object, ...], ssl.SSLContext] = {}
        self.context(())
        self.end_point = server_end_point(x509.load_pem_x509_certificate(certificate.read_bytes()))

    def context(self, alpn: tuple[str, ...], clients: CertificateRules | None = None) -> ssl.SSLContext:
        """The context that accepts these application protocols, and asks for the certificates of `clients`. Their files are
        read again when they have changed. Raises `ConfigError` for files that cannot be used."""
        key = (alpn, *(() if clients is None else (clients.ca, clients.crl, clients.required, _stamps(clients.ca, clients.crl))))
        found = self._contexts.get(key)
        if found is None:
            found = server_context(alpn)
            _load(found, self._certificate, self._key)
            if clients is not None:
                _trust(found, clients)
            if len(self._contexts) >= _CONTEXTS:
                self._contexts.clear()
            self._contexts[key] = found
        return found


def _trust(context: ssl.SSLContext, clients: CertificateRules) -> None:
    """Ask clients for certificates that lead to these authorities, are for clients, and are not revoked."""
    context.verify_mode = ssl.CERT_REQUIRED if clients.required else ssl.CERT_OPTIONAL
    for path, what in ((clients.ca, "certificate authority"), (clients.crl, "list of revoked certificates")):
        if path is None:
            continue
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot use {path} as a {what}: {type(error).__name__}") from None
    counts = context.cert_store_stats()
    if not counts["x509_ca"]:
        raise ConfigError(f"there is no certificate authority in {clients.ca}")
    if clients.crl is not None:
        if not counts["crl"]:
            raise ConfigError(f"there is no list of revoked certificates in {clients.crl}")
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _stamps(*paths: Path | None) -> tuple[int, ...]:
    """When files were changed. `ConfigError` for one that cannot be looked at."""
    stamps = []
    for path in paths:
        try:
            stamps.append(0 if path is None else path.stat().st_mtime_ns)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    return tuple(stamps)


# ---------------------------------------------------------------- the backend's side


def client_context(
    mode: str, ca: Path | None, alpn: tuple[str, ...], own: tuple[Path, Path] | None = None,
) -> ssl.SSLContext:
    """A context for libpq's modes: ``require`` encrypts (and verifies the chain where `ca` is given,
    as libpq does), ``verify-ca`` verifies the chain, ``verify-full`` the name as well. `own`: certificate and key for a
    server that asks for them. Raises `ConfigError` for files that cannot be used; changed ones are read again.
    """
    return _client_context(mode, ca, alpn, own, _stamps(ca, *(own or ())))


@lru_cache(maxsize=256)
def _client_context(
    mode: str, ca: Path | None, alpn: tuple[str, ...], own: tuple[Path, Path] | None, _stamps: tuple[int, ...],
) -> ssl.SSLContext:
    context = _hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), alpn)
    if own is not None:
        _load(context, *own)
    context.check_hostname = mode == "verify-full"
    if mode == "require" and ca is None:
        context.verify_mode = ssl.CERT_NONE
        return context
    context.verify_mode = ssl.CERT_REQUIRED
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use {ca} as a certificate authority: {type(error).__name__}") from None
    return context


# ---------------------------------------------------------------- channel binding


def server_end_point(certificate: x509.Certificate) -> bytes | None:
    """RFC 5929 section 4.1: the certificate's hash, by its signature's hash function, with SHA-256 in
    place of MD5 and SHA-1. None where that is undefined: Ed25519 names no hash function, and for
    RSASSA-PSS implementations disagree.
    """
    if certificate.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
        return None
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:
        return None
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)


# ---------------------------------------------------------------- one connection


class TlsStream:
    """One TLS connection. After a `TlsError` it refuses further use.

    `outgoing()` has to be sent after every call of `handshake`, `unseal` and `close`.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "is_closed")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name)
        self.is_closed = False

    def handshake(self, data: bytes = b"") -> bool:
        """Go on with the handshake; True when it is done. `TlsError` when it failed."""
        self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            raise TlsError(f"certificate not accepted: {error.verify_message}") from None
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "handshake failure"
            words = reason.lower().replace("_", " ")
            raise TlsError(f"{words} (the other side does not speak TLS)" if reason == _NO_TLS else words) from None
        return True

    def unseal(self, data: bytes) -> bytes:
        """Plaintext of what arrived; `is_closed` is set when the peer said close_notify."""
        self._incoming.write(data)
        pieces = []
        try:
            while True:
                piece = self._object.read(_CHUNK)
                if not piece:
                    self.is_closed = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_closed = True
        except ssl.SSLError as error:
            raise TlsError((error.reason or "broken record").lower().replace("_", " ")) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seal(self, data: bytes) -> bytes:
        """Ciphertext of `data`, together with whatever else waits to be sent."""
        try:
            view = memoryview(data)
            while view:
                view = view[self._object.write(view):]
        except ssl.SSLError as error:
            raise TlsError((error.reason or "broken record").lower().replace("_", " ")) from None
        return self._outgoing.read()

    def outgoing(self) -> bytes:
        """Bytes that wait to be sent."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """Say close_notify; returns what is to be sent."""
        try:
            self._object.unwrap()
        except (ssl.SSLError, ValueError):
            pass    # the peer's own close_notify is not waited for
        return self._outgoing.read()

    @property
    def server_name(self) -> str | None:
        """The SNI name that the client asked for (server side)."""
        return getattr(self._object, "lockgate_server_name", None)

    @property
    def alpn(self) -> str | None:
        """The application protocol that both sides agreed on."""
        return self._object.selected_alpn_protocol()

    def peer_certificate(self) -> bytes | None:
        """The certificate that the peer showed and that was verified, in DER form."""
        return self._object.getpeercert(binary_form=True)

    def peer_end_point(self) -> bytes | None:
        """RFC 5929 data of the certificate that the peer showed."""
        shown = self._object.getpeercert(binary_form=True)
        return server_end_point(x509.load_der_x509_certificate(shown)) if shown else None


class TlsWithin(TlsStream):
    """TLS inside of TLS: to a host through a proxy that is itself reached over TLS. Used as its parent is."""

    __slots__ = ("_early", "_inner", "_outer")

    def __init__(self, outer: TlsStream, inner: TlsStream, early: bytes) -> None:
        """`early` are bytes of the inner handshake that came out of the outer connection already."""
        self._outer = outer
        self._inner = inner
        self._early = early
        self.is_closed = False

    def handshake(self, data: bytes = b"") -> bool:
        """As its parent."""
        early, self._early = self._early, b""
        return self._inner.handshake(early + self._outer.unseal(data))

    def unseal(self, data: bytes) -> bytes:
        """As its parent."""
        plain = self._inner.unseal(self._outer.unseal(data))
        self.is_closed = self._inner.is_closed or self._outer.is_closed
        return plain

    def seal(self, data: bytes) -> bytes:
        """As its parent."""
        return self._outer.seal(self._inner.seal(data))

    def outgoing(self) -> bytes:
        """As its parent."""
        waiting = self._inner.outgoing()
        return self._outer.seal(waiting) if waiting else self._outer.outgoing()

    def close(self) -> bytes:
        """As its parent."""
        return self._outer.seal(self._inner.close()) + self._outer.close()

    @property
    def server_name(self) -> str | None:
        """As its parent, of the inner one."""
        return self._inner.server_name

    @property
    def alpn(self) -> str | None:
        """As its parent, of the inner one."""
        return self._inner.alpn

    def peer_certificate(self) -> bytes | None:
        """As its parent, of the inner one."""
        return self._inner.peer_certificate()

    def peer_end_point(self) -> bytes | None:
        """As its parent, of the inner one."""
        return self._inner.peer_end_point()
