"""Time-stamps over the newest checkpoint: asks an RFC 3161 authority, verifies its answer twice, keeps it.

`rfc3161-client` builds the request and checks nonce and chain; `evidence.timestamp` checks what every
later verifier will, on the one form of the answer that is stored: `anchors/<size>.checkpoint` holds
the note, `anchors/<size>.tsr` the response.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

import rfc3161_client
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.audit.endorsements import ANCHORS
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.timestamp import (
    RESPONSE_LIMIT,
    canonical_response,
    read_response,
    verify_timestamp,
)
from lockgate.audit.evidence.trust import TrustedAuthority
from lockgate.audit.keys import write_durably
from lockgate.audit.storage.contract import Source
from lockgate.config.duration import seconds
from lockgate.config.endorsement import AnchorSettings
from lockgate.errors import AuditError, ConfigError
from lockgate.net.outbound import Poster

_NAME: Final = re.compile(r"([1-9][0-9]{0,15})\.tsr", re.ASCII)
_CERTIFICATES: Final = 1_048_576


class Anchoring:
    """The gateway's side of one authority. `run` is called from one thread at a time."""

    def __init__(self, settings: AnchorSettings, folder: Path, open_source: Callable[[], Source]) -> None:
        self._url = settings.url
        self._folder = folder / ANCHORS
        self._open_source = open_source
        self._chain = _certificates(settings.certificates)
        self._pin = TrustedAuthority(
            "the authority", sha256(self._chain[0].public_bytes(Encoding.DER)).digest())
        self._poster = Poster(seconds(settings.timeout), RESPONSE_LIMIT, settings.ca)

    def run(self) -> None:
        """Have the newest checkpoint time-stamped, if it has grown. Raises `AuditError`."""
        with self._open_source() as source:
            head = source.head()
        if not head.signed or head.signed <= self._newest():
            return
        content = head.note.encode()
        stored = self._ask(content)
        self._folder.mkdir(mode=0o755, exist_ok=True)
        # The response last: what has one is whole.
        write_durably(self._folder / f"{head.signed}.checkpoint", content, 0o644)
        write_durably(self._folder / f"{head.signed}.tsr", stored, 0o644)

    def close(self) -> None:
        """Close its connections."""
        self._poster.close()

    def _newest(self) -> int:
        names = (_NAME.fullmatch(path.name) for path in self._folder.glob("*.tsr"))
        return max((int(name[1]) for name in names if name), default=0)

    def _ask(self, content: bytes) -> bytes:
        """The verified response in the form that is stored."""
        request = (rfc3161_client.TimestampRequestBuilder().data(content)
                   .hash_algorithm(rfc3161_client.HashAlgorithm.SHA256).nonce(nonce=True)
                   .cert_request(cert_request=True).build())
        answer = self._poster.post(self._url, request.as_bytes(), "application/timestamp-query")
        if answer.status != 200:
            raise AuditError(f"the time-stamping authority answers with status {answer.status}" if answer.status
                             else "the time-stamping authority does not answer")
        verifier = rfc3161_client.VerifierBuilder.from_request(request)
        for certificate in self._chain:
            verifier = (verifier.add_root_certificate(certificate) if certificate.issuer == certificate.subject
                        else verifier.add_intermediate_certificate(certificate))
        try:
            stored = canonical_response(read_response(answer.body), [self._pin])
            verifier.build().verify_message(rfc3161_client.decode_timestamp_response(stored), content)
            verify_timestamp(stored, content, [self._pin])
        except (ValueError, rfc3161_client.VerificationError, EvidenceError) as error:
            raise AuditError(f"the authority's answer does not hold: {error}") from None
        return stored


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes()[:_CERTIFICATES])
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no certificates: {error}") from None
    if not any(certificate.issuer == certificate.subject for certificate in found):
        raise ConfigError(f"{path}: no root is among the certificates",
                          advice="first the certificate that is pinned, then its chain, last its root")
    return found
