"""Where the record goes: `audit.export` and `telemetry`.

Apart from `settings` because each target has keys of its own; which belong to which is `export_checks`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from lockgate.config.strict import Address, Duration, Name, SecretReference, Strict


class ExportSettings(Strict):
    """One target of the record as OCSF 1.6 events, one JSON object each, in the log's order."""

    name: Name
    to: Literal["file", "syslog", "https"] = Field(description="What kind of target it is.")
    names: bool = Field(
        default=False, strict=True,
        description="Send names, groups, agents and addresses too; otherwise opaque ids only.")
    statements: bool = Field(default=False, strict=True, description="Send the texts of statements too.")
    raw: bool = Field(default=False, strict=True, description="Send the entry itself in `raw_data`.")
    path: Path | None = Field(default=None, description="`file`: where the lines go.")
    size: int = Field(
        default=100_000_000, ge=1_000, strict=True, description="`file`: bytes from which on it is rotated.")
    age: Duration | None = Field(default=None, description="`file`: how long until it is rotated.")
    keep: int = Field(default=0, ge=0, strict=True, description="`file`: rotated files that stay; 0 keeps all.")
    address: Address | None = Field(default=None, description="`syslog`: the receiver, host:port.")
    transport: Literal["tls", "tcp", "udp"] = Field(
        default="tls", description="`syslog`: RFC 5425, 6587 or 5426. What udp loses is lost.")
    facility: int = Field(default=13, ge=0, le=23, strict=True, description="`syslog`: 13 is log audit.")
    server_name: str | None = Field(
        default=None, description="`syslog`: the name in the receiver's certificate, if not the host.")
    url: str | None = Field(default=None, description="`https`: where batches are posted as JSON lines.")
    token: SecretReference | None = Field(default=None, description="`https`: goes into the Authorization header.")
    scheme: Literal["Bearer", "Splunk"] = Field(default="Bearer", description="`https`: the word before the token.")
    gzip: bool = Field(default=True, strict=True, description="`https`: compress bodies.")
    unsafe_http: bool = Field(
        default=False, strict=True, description="`https`: allow plain http on loopback. For development.")
    ca: Path | None = Field(default=None, description="PEM file of authorities instead of the system's.")


class HeaderSettings(Strict):
    """A header of every request to a collector, with a secret value."""

    name: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$", description="The header's name.")
    value: SecretReference


class TelemetrySettings(Strict):
    """A collector that speaks OTLP over HTTP (protobuf)."""

    otlp: str = Field(description="Its base URL, like https://collector:4318; /v1/metrics and /v1/traces are added.")
    headers: tuple[HeaderSettings, ...] = Field(default=(), max_length=16, description="What it wants to see.")
    metrics: Duration = Field(default="30s", description="How often metrics are sent.")
    traces: bool = Field(default=True, strict=True, description="A trace for each session, a span for each request.")
    names: bool = Field(default=False, strict=True, description="Subject and agent as attributes of spans.")
    statements: bool = Field(default=False, strict=True, description="Texts of statements as attributes of spans.")
    gzip: bool = Field(default=True, strict=True, description="Compress bodies.")
    unsafe_http: bool = Field(default=False, strict=True, description="Allow plain http on loopback.")
    ca: Path | None = Field(default=None, description="PEM file of authorities instead of the system's.")
