"""What `lockgate.yaml` may hold, as typed and frozen settings. Unknown keys are errors.

Only shapes and their own validity live here. Reading files and naming lines is `config.load`;
what a rule *means* is `govern.policy`; a protocol's own keys come from its `ProtocolSpec`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")]
Duration = Annotated[str, Field(pattern=r"^\d+(ms|s|m|h|d)$")]


class Strict(BaseModel):
    """Base of all settings: frozen, unknown keys refused, no coercion surprises."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SecretReference(Strict):
    """Where a secret is: exactly one of an environment variable or a file. Never the secret itself."""

    env: str | None = None
    file: Path | None = None


class TlsFiles(Strict):
    """A listener's certificate chain and private key (PEM)."""

    certificate: Path
    key: Path


class Listener(Strict):
    """A port that agents connect to."""

    name: Name
    protocol: str
    address: Address
    tls: TlsFiles | None = None
    plaintext_tokens: Literal["never", "loopback"] = "never"
    connection: Name | None = None


class Provider(Strict):
    """One OIDC issuer that is trusted."""

    name: Name
    issuer: str
    audience: str
    groups_claim: str = "groups"
    agent_claim: str | None = None
    model_claim: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    leeway: Duration = "30s"
    ca: Path | None = None
    unsafe_http: bool = False       # plain http issuer, loopback only (development)


class IdentitySettings(Strict):
    """Who vouches for callers."""

    providers: tuple[Provider, ...]


class BackendTls(Strict):
    """How the gateway's own connection to a backend is protected (libpq's names)."""

    mode: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    ca: Path | None = None
    server_name: str | None = None


class BackendCredential(Strict):
    """The account that the gateway logs in with; the agent never sees it."""

    user: str
    password: SecretReference | None = None


class Connection(Strict):
    """A backend that agents may reach by its name."""

    name: Name
    protocol: str
    address: Address
    credential: BackendCredential
    tls: BackendTls = BackendTls()
    server_names: tuple[str, ...] = ()      # TLS SNI names that route here
    audit: Literal["full", "async"] | None = None
    options: Any = None                     # protocol-specific, validated by its spec's settings


class WhoSettings(Strict):
    """Whom a rule speaks of; nothing given means everyone."""

    groups: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()


class MaskSettings(Strict):
    """One mask: either columns by glob, or detectors by name."""

    columns: tuple[str, ...] = ()
    detect: tuple[str, ...] = ()
    method: Literal["partial", "redact", "null"] = Field(alias="with")


class ReviewSettings(Strict):
    """Who decides, how long a ticket lives, and whether the client waits."""

    by: tuple[str, ...] = Field(min_length=1)
    expires: Duration = "15m"
    mode: Literal["hold", "ticket"] = "hold"


class PolicySettings(Strict):
    """One rule. At least one of allow, deny, review, mask, audit must be there."""

    name: Name
    who: WhoSettings = WhoSettings()
    connections: tuple[str, ...] = ()
    when: str | None = None
    allow: Literal["connect"] | None = None
    deny: str | None = None
    review: ReviewSettings | None = None
    mask: tuple[MaskSettings, ...] = ()
    audit: Literal["full", "async"] | None = None


class AuditSettings(Strict):
    """The log: default mode, its name, and the bound of the queue in front of it."""

    mode: Literal["full", "async"] = "full"
    origin: str = "lockgate.local/log"
    queue: int = Field(default=10_000, ge=1, le=1_000_000)


class ControlSettings(Strict):
    """Where health, metrics and the API listen."""

    address: Address = "127.0.0.1:8470"


class Limits(Strict):
    """Bounds on time, size and number. Bytes and counts unless a unit is given."""

    login_timeout: Duration = "15s"
    drain: Duration = "30s"
    sessions: int = Field(default=10_000, ge=1)
    statement: int = Field(default=1_048_576, ge=1024)         # bytes of one statement
    inspect: int = Field(default=16_777_216, ge=65_536)        # largest row that is inspected
    buffer: int = Field(default=1_048_576, ge=65_536)          # per direction and session


class Settings(Strict):
    """The whole file."""

    state: Path = Path("state")
    listeners: tuple[Listener, ...] = Field(min_length=1)
    control: ControlSettings = ControlSettings()
    audit: AuditSettings = AuditSettings()
    limits: Limits = Limits()
    identity: IdentitySettings
    connections: tuple[Connection, ...] = Field(min_length=1)
    policies: tuple[PolicySettings, ...] = ()
