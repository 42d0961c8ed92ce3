"""Who is asking: what a verified token or certificate says, and nothing that was merely claimed on the wire."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller. Every field comes from a token whose signature and claims were checked, or from a certificate
    that TLS has verified.

    `expires_at` is in Unix seconds; `token_hash` is the hex SHA-256 of the token's `jti`, or of
    the whole token where it has none, so that a record can name the token without holding it; of a caller without a token
    it is the certificate's. `bound_to` is the certificate (`x5t#S256`) with which alone the token counts.
    """

    issuer: str
    subject: str
    provider: str
    groups: frozenset[str]
    expires_at: float
    token_hash: str
    client_id: str | None = None
    agent: str | None = None
    model: str | None = None
    bound_to: str | None = None

    @property
    def principal(self) -> tuple[str, str]:
        """What makes two identities the same person or workload: issuer and subject."""
        return (self.issuer, self.subject)
