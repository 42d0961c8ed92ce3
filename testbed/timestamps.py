"""A real time-stamping authority: `openssl ts` behind a small HTTP server, with certificates of its own."""

from __future__ import annotations

import datetime as dt
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
KINDS = ("rsa", "p256", "p384")
_CONFIG = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_digest = {digest}
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = {ess}
"""


def _key(kind: str) -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1() if kind == "p256" else ec.SECP384R1())


def _certificate(name: str, key: Key, issuer: tuple[str, Key], *, is_stamping: bool) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name(issuer[0])).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=not is_stamping, path_length=None), critical=True)
    )
    if is_stamping:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return made.sign(issuer[1], hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """One authority with its root and a signing certificate, in a folder."""

    def __init__(self, folder: Path, kind: str = "rsa", *, digest: str = "sha256", ess: str = "sha256") -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        root, own = _key(kind), _key(kind)
        self.root = _certificate("root", root, ("root", root), is_stamping=False)
        self.certificate = _certificate("authority", own, ("root", root), is_stamping=True)
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder, digest=digest, ess=ess))
        (folder / "key.pem").write_bytes(own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        for name, certificates in (("signer.pem", [self.certificate]), ("root.pem", [self.root]),
                                   ("chain.pem", [self.certificate, self.root])):
            (folder / name).write_bytes(b"".join(
                certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates))

    def answer(self, query: bytes) -> bytes:
        """The response to a query."""
        (self.folder / "query").write_bytes(query)
        self._openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-inkey", "key.pem", "-signer",
                      "signer.pem", "-chain", "root.pem", "-out", "response")
        return (self.folder / "response").read_bytes()

    def stamp(self, content: bytes) -> bytes:
        """The response to a query that `openssl` makes for this content."""
        (self.folder / "content").write_bytes(content)
        self._openssl("ts", "-query", "-data", "content", "-sha256", "-cert", "-out", "made")
        return self.answer((self.folder / "made").read_bytes())

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=30)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL, while the block runs."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = outer.answer(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-type", "application/timestamp-reply")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/"
            finally:
                server.shutdown()
                thread.join()
