"""What `lockgate.yaml` may hold, as typed and frozen settings. Unknown keys are errors.

Labels and policies are in `policies`.

Only shapes and their own validity live here. Reading files and naming lines is `config.load`;
what a rule *means* is `govern.policy`; a protocol's own keys come from its `ProtocolSpec`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lockgate.config.endorsement import AnchorSettings, SignerSettings, WitnessSettings
from lockgate.config.exports import ExportSettings, TelemetrySettings
from lockgate.config.policies import DetectorSettings, LabelName, LabelSettings, PolicySettings
from lockgate.config.strict import Address, AddressOrNone, Duration, Name, Strict
from lockgate.config.strict import SecretReference as SecretReference  # noqa: PLC0414  # settings speak of it too


class TlsFiles(Strict):
    """A listener's certificate chain and private key (PEM)."""

    certificate: Path = Field(description="PEM file with the certificate, then its chain.")
    key: Path = Field(description="PEM file with the private key.")
    clients: Name | None = Field(
        default=None, description="Ask clients for a certificate: which of `identity.certificates` says whose.")


class Listener(Strict):
    """A port that agents connect to."""

    name: Name
    protocol: str = Field(description="What agents speak on this port.")
    address: Address = Field(description="Where it listens, host:port.")
    tls: TlsFiles | None = Field(default=None, description="Needed unless the port is for loopback only.")
    plaintext_tokens: Literal["never", "loopback"] = Field(
        default="never", description="`loopback` takes tokens without TLS, on a loopback address only.")
    connection: Name | None = Field(
        default=None, description="The one connection that this port belongs to; else clients choose.")
    proxy: bool = Field(
        default=False, strict=True,
        description="Also serve as a forward proxy (`HTTPS_PROXY`): TLS to hosts that are connections is intercepted with "
                    "the installation's own authority (`lockgate ca`), other hosts are refused.")


class Provider(Strict):
    """One OIDC issuer that is trusted."""

    name: Name
    issuer: str = Field(description="The `iss` of its tokens; discovery starts there. https only.")
    audience: str = Field(min_length=1, description="What must be in the `aud` of a token.")
    groups_claim: str = Field(default="groups", min_length=1, description="Where groups are; dots go deeper.")
    agent_claim: str | None = Field(default=None, description="The claim with the agent's name.")
    model_claim: str | None = Field(default=None, description="The claim with the model's name.")
    algorithms: tuple[str, ...] = Field(
        default=("RS256", "PS256", "ES256", "EdDSA"), min_length=1, description="Signatures that are accepted.")
    leeway: Duration = Field(default="30s", description="How far the clocks may be apart.")
    ca: Path | None = Field(default=None, description="PEM file of authorities instead of the system's.")
    unsafe_http: bool = Field(
        default=False, strict=True, description="Allow a plain http issuer on loopback. For development.")


class CertificateProvider(Strict):
    """Authorities whose certificates agents show in TLS, and what of a certificate says who they are."""

    name: Name
    ca: Path = Field(description="PEM file of the authorities. Only certificates that lead to one of them are accepted.")
    crl: Path | None = Field(
        default=None, description="PEM file of their lists of revoked certificates; read again when it changes.")
    required: bool = Field(
        default=False, strict=True, description="No connection without a certificate, also where a token is sent.")
    subject: Literal["san_uri", "san_dns", "san_email", "cn", "none"] = Field(
        description="Where an agent's name is: the one URI (a SPIFFE id), DNS name or e-mail address of subjectAltName, or the "
                    "common name. `none`: certificates name nobody, and only bind tokens (RFC 8705).")
    issuer: str | None = Field(
        default=None, min_length=1, max_length=255, description="The issuer of these identities in records and for reviews; "
        "that of a provider whose tokens have the same subjects makes them the same callers.")
    agent: Literal["san_uri", "san_dns", "san_email", "cn", "last"] | None = Field(
        default=None, description="Where the agent's name is; `last`: behind the subject's last slash.")
    groups: dict[Annotated[str, Field(min_length=1, max_length=255)], tuple[str, ...]] = Field(
        default={}, max_length=1000, description="Subject → groups; `*` stands for anything but a slash.")
    units: bool = Field(
        default=False, strict=True, description="The organisational units (OU) of the certificate's subject are groups too.")


class IdentitySettings(Strict):
    """Who vouches for callers."""

    providers: tuple[Provider, ...] = Field(min_length=1)
    certificates: tuple[CertificateProvider, ...] = Field(
        default=(), max_length=64, description="Certificates by which agents are known, besides tokens.")


class BackendTls(Strict):
    """How the gateway's own connection to a backend is protected (libpq's names)."""

    mode: Literal["disable", "require", "verify-ca", "verify-full"] = Field(
        default="verify-full", description="How much is checked; `require` encrypts and checks nothing.")
    ca: Path | None = Field(default=None, description="PEM file of authorities instead of the system's.")
    server_name: str | None = Field(default=None, description="The name in the certificate, if not the host.")
    certificate: Path | None = Field(
        default=None, description="PEM file with the gateway's own certificate, then its chain, for a backend that asks for one.")
    key: Path | None = Field(default=None, description="PEM file with that certificate's private key.")

    @property
    def own(self) -> tuple[Path, Path] | None:
        """Certificate and key, where there are both."""
        return None if self.certificate is None or self.key is None else (self.certificate, self.key)


class BackendCredential(Strict):
    """The account that the gateway logs in with; the agent never sees it."""

    user: str = Field(default="", description="The account's name, where the protocol has one.")
    password: SecretReference | None = None


class Connection(Strict):
    """A backend that agents may reach by its name."""

    name: Name
    protocol: str
    address: AddressOrNone = Field(
        default="", description="Where it is, host:port. Left out: it is a program that is started for each session and "
                                "speaks on its standard streams.")
    credential: BackendCredential = BackendCredential()
    tls: BackendTls = BackendTls()
    server_names: tuple[str, ...] = Field(default=(), description="TLS server names (SNI) that lead here.")
    audit: Literal["full", "async"] | None = Field(
        default=None, description="Instead of audit.mode. Policies can raise it to `full`, never lower it.")
    record: bool | None = Field(
        default=None, strict=True, description="Instead of audit.recording.record. Policies can switch it on, never off.")
    options: Any = Field(default=None, description="Keys of the protocol.")


class DatabaseTls(Strict):
    """How the way to the log's database is protected (libpq's names)."""

    mode: Literal["disable", "verify-ca", "verify-full"] = Field(
        default="verify-full", description="`disable` is for a database on loopback only.")
    ca: Path | None = Field(default=None, description="PEM file of authorities instead of the system's.")


class DatabaseSettings(Strict):
    """A PostgreSQL database that holds the logs of a fleet of gateways, as shards that they lease."""

    kind: Literal["postgresql"] = Field(description="What the database is.")
    address: Address = Field(description="host:port. Directly, not through a pooler.")
    database: str = Field(min_length=1, max_length=63, description="Its tables are in the schema `lockgate_audit`.")
    user: str = Field(min_length=1, max_length=63, description="A role with the rights of `lockgate audit sql`.")
    password: SecretReference | None = None
    tls: DatabaseTls = DatabaseTls()
    shards: int = Field(default=1, ge=1, le=1000, strict=True,
                        description="Logs that there are to take: at least one for each gateway.")
    lease: Duration = Field(default="30s", description="After how long without a sign of life a shard is free.")
    fleet_log: Duration = Field(
        default="60s", description="How often the shards' checkpoints go into the fleet's own log.")


class ErasureSettings(Strict):
    """Who may have payloads of the log erased. People on the gateway's own machine may where one is enough."""

    by: tuple[str, ...] = Field(
        default=(), description="Groups whose members may erase through the control API.")
    approve: tuple[str, ...] = Field(
        default=(), description="Groups of those who approve what somebody else asks to erase.")
    approvals: Literal[1, 2] = Field(
        default=1, description="Persons that an erasure takes. With 2 the local command is refused.")
    expires: Duration = Field(default="1h", description="How long a request to erase waits for approval.")


class RetentionSettings(Strict):
    """How long what the log holds beside its records is kept. The records themselves stay for ever."""

    payloads: Duration | None = Field(
        default=None, description="Statements, parameters and names: destroyed when their record is this old.")
    recordings: Duration | None = Field(
        default=None, description="Recordings: deleted when their session ended so long ago.")


class RecordingSettings(Strict):
    """Recordings of sessions: for whom they are encrypted, and what happens where one cannot go on."""

    recipients: tuple[str, ...] = Field(
        default=(), max_length=16, description="age public keys (`age1…`) of those who may play recordings. Their "
                                               "identities stay with them. None: nothing is recorded.")
    record: bool = Field(
        default=False, strict=True, description="Record sessions of every connection that does not say otherwise.")
    max_bytes: int | None = Field(
        default=None, ge=65_536, strict=True, description="Bytes of one session that are recorded; none means all.")
    max_content: int = Field(
        default=1 << 20, ge=0, strict=True, description="Bytes that are recorded of a content, where requests and answers have "
                                                        "some. More is left out, with its size and SHA-256.")
    max_binary: int = Field(
        default=4_096, ge=0, strict=True, description="The same of contents that are no text.")
    on_limit: Literal["end", "mark"] = Field(
        default="end", description="At `max_bytes`: end the session, or put on record that the rest is not recorded.")
    on_error: Literal["end", "mark"] = Field(
        default="end", description="The same where a recording cannot be written.")


class AuditSettings(Strict):
    """The log: default mode, its name, and the bound of the queue in front of it."""

    mode: Literal["full", "async"] = Field(
        default="full", description="Records are durable before a request goes on, or follow it.")
    origin: str = Field(default="lockgate.local/log", min_length=1, description="The log's name, for ever.")
    queue: int = Field(default=10_000, ge=1, le=1_000_000, strict=True, description="Records that may wait.")
    store: DatabaseSettings | None = Field(
        default=None, description="A database for a fleet of gateways; else the log is a file in the state folder.")
    signer: SignerSettings | None = Field(default=None, description="Who signs checkpoints; default: a key file.")
    witness: WitnessSettings | None = Field(default=None, description="Witnesses that cosign the log.")
    anchor: AnchorSettings | None = Field(default=None, description="Time-stamps over checkpoints.")
    erasure: ErasureSettings = ErasureSettings()
    retention: RetentionSettings = RetentionSettings()
    recording: RecordingSettings = RecordingSettings()
    publish: str | None = Field(
        default="10s", pattern=r"^[1-9]\d{0,5}(s|m|h|d)$",
        description="How often the log is published as tiles into `<state>/audit/tiles`; null for never.")
    serve: Literal["off", "reviewers", "everyone"] = Field(
        default="reviewers",
        description="Who may read the published log from the control address, below `/log/`: nobody, whoever may see "
                    "requests under review, or everybody who reaches the address.")
    export: tuple[ExportSettings, ...] = Field(
        default=(), max_length=16, description="Who gets the record as OCSF events, at least once.")


class ControlSettings(Strict):
    """Where health, metrics and the API listen."""

    address: Address = Field(default="127.0.0.1:8470", description="host:port.")


class Limits(Strict):
    """Bounds on time, size and number. Bytes and counts unless a unit is given."""

    login_timeout: Duration = Field(default="15s", description="From the first byte to an open session.")
    drain: Duration = Field(default="30s", description="How long running requests may finish at shutdown.")
    sessions: int = Field(default=10_000, ge=1, strict=True, description="Sessions at a time.")
    session_idle: Duration = Field(
        default="60s", description="How long a session that connections of the same caller share waits for the next one. "
                                   "`0s`: it ends with the last one.")
    statement: int = Field(
        default=262_144, ge=1024, strict=True,
        description="Bytes of one statement. What it is made of is bounded as well, by 7 units of work for 40 bytes of "
                    "this limit (a word, bracket or operator is two, a value or comma one): reading one takes up to "
                    "about 50 ms, planning its masks as long again and more, in which no other session is served. "
                    "Bulk data belongs into parameters or COPY.")
    inspect: int = Field(
        default=16_777_216, ge=65_536, strict=True, description="Bytes of the largest row that is inspected.")
    buffer: int = Field(
        default=1_048_576, ge=65_536, strict=True, description="Bytes held per direction and session.")


class Settings(Strict):
    """The whole file."""

    state: Path = Field(default=Path("state"), description="Folder of the log and of tickets.")
    listeners: tuple[Listener, ...] = Field(
        default=(), description="Needed unless every connection is a program, without an address.")
    control: ControlSettings = ControlSettings()
    audit: AuditSettings = AuditSettings()
    limits: Limits = Limits()
    identity: IdentitySettings
    connections: tuple[Connection, ...] = Field(min_length=1)
    detectors: tuple[DetectorSettings, ...] = Field(
        default=(), max_length=64, description="Content that only you know the look of.")
    telemetry: TelemetrySettings | None = Field(
        default=None, description="Metrics and traces by OpenTelemetry's protocol; off without it.")
    timezone: str = Field(
        default="UTC", description="Whose clocks `time.local_hour` and its like follow, summer time included: "
                                   "`Europe/Berlin`.")
    labels: dict[LabelName, LabelSettings] = Field(
        default={}, description="What is sensitive, by name (`pii.ssn`), for masks on every connection.")
    policies: tuple[PolicySettings, ...] = ()
