"""Settings of who vouches for the audit log: its signer, its witnesses, and time-stamping authorities."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lockgate.config.duration import seconds
from lockgate.config.strict import Duration, Strict


class KeyServiceSettings(Strict):
    """A key in a key service with the transit API of HashiCorp Vault or OpenBao."""

    url: str = Field(pattern=r"^https?://", description="Where the transit engine is: `https://vault.example/v1/transit`.")
    key: str = Field(min_length=1, description="The key's name there, of type ed25519.")
    version: int = Field(default=1, ge=1, strict=True, description="The version of the key that a new log begins with. Then it is signed by the version that is pinned in `log.vkey`.")
    token: Path = Field(description="File with the token. Read for every call, so that an agent may renew it.")
    timeout: Duration = Field(default="5s", description="How long one call may take.")
    ca: Path | None = Field(default=None, description="PEM file of authorities instead of the system's.")


class SignerSettings(Strict):
    """Who signs the log's checkpoints: exactly one of the three."""

    file: Path | None = Field(default=None, description="The key file; default: `log.key` beside the log.")
    socket: Path | None = Field(default=None, description="The Unix socket of `lockgate audit signer`.")
    kms: KeyServiceSettings | None = Field(default=None, description="A key service.")
    patience: Duration = Field(
        default="10s", description="How long records may wait for a signer that is elsewhere. Then nothing is recorded or let "
                                   "through any more, until a restart.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.file, self.socket, self.kms)) != 1:
            raise ValueError("give exactly one of `file`, `socket` and `kms`")
        return self

    def terms(self) -> dict[str, Any]:
        """As `audit.signing.opening` takes them: plain JSON."""
        if self.file is not None:
            return {"file": str(self.file.absolute())}
        waits = {"patience": seconds(self.patience)}
        if self.socket is not None:
            return {"socket": str(self.socket.absolute()), **waits}
        kms = self.kms
        assert kms is not None
        said = {"url": kms.url, "key": kms.key, "version": kms.version, "token": str(kms.token.absolute()),
                "timeout": seconds(kms.timeout), "ca": None if kms.ca is None else str(kms.ca.absolute())}
        return {"kms": said, **waits}


class WitnessSettings(Strict):
    """Witnesses outside that cosign the log, so that it cannot be rewritten unseen."""

    policy: Path = Field(description="C2SP tlog-policy file: witnesses with their URLs, groups and the quorum.")
    mode: Literal["warn", "require"] = Field(
        default="warn", description="`require` lets nothing new through before the first quorum, and while the newest "
                                    "one is older than `max_lag`.")
    every: Duration = Field(default="30s", description="How often the newest checkpoint is offered to the witnesses.")
    max_lag: Duration = Field(default="10m", description="How old the newest cosigned checkpoint may be.")
    timeout: Duration = Field(default="10s", description="How long one request to a witness may take.")
    ca: Path | None = Field(default=None, description="PEM file of authorities instead of the system's.")


class AnchorSettings(Strict):
    """Time-stamps of an RFC 3161 authority over the newest checkpoint."""

    url: str = Field(pattern=r"^https?://", description="The authority's URL.")
    every: Duration = Field(default="1h", description="How often a new checkpoint is time-stamped.")
    certificates: Path = Field(
        description="PEM file: first the certificate that the trust note pins, which is the one that signs time-stamps or the "
                    "one that issued that; then its chain up to a root.")
    timeout: Duration = Field(default="10s", description="How long one request may take.")
    ca: Path | None = Field(default=None, description="PEM file of authorities for https instead of the system's.")
