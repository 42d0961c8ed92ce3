"""What must go together in `audit.export` and `telemetry`: each target's own keys, and no secret in the clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from lockgate.config.document import Location
from lockgate.config.exports import ExportSettings, TelemetrySettings
from lockgate.config.policy_checks import Problem
from lockgate.config.settings import Settings
from lockgate.config.strict import SecretReference

_NEEDS: Final[Mapping[str, str]] = {"file": "path", "syslog": "address", "https": "url"}
_OWN: Final[Mapping[str, frozenset[str]]] = {
    "file": frozenset({"path", "size", "age", "keep"}),
    "syslog": frozenset({"address", "transport", "facility", "server_name", "ca"}),
    "https": frozenset({"url", "token", "scheme", "gzip", "unsafe_http", "ca"}),
}
_ALL: Final = frozenset().union(*_OWN.values())


def check_exports(settings: Settings, is_loopback: Callable[[str], bool]) -> Iterator[Problem]:
    """Every problem of the targets. `is_loopback` tells whether a host is this machine by its name."""
    for index, export in enumerate(settings.audit.export):
        yield from _export(("audit", "export", index), export, is_loopback)
    if settings.telemetry is not None:
        yield from _telemetry(("telemetry",), settings.telemetry, is_loopback)


def _export(at: Location, export: ExportSettings, is_loopback: Callable[[str], bool]) -> Iterator[Problem]:
    needed = _NEEDS[export.to]
    if getattr(export, needed) is None:
        yield at, f"export `{export.name}` goes to {export.to}; write `{needed}: …`"
    for name in sorted(export.model_fields_set & (_ALL - _OWN[export.to])):
        yield (*at, name), f"`{name}` is not a key of an export to {export.to}; leave it out"
    if export.to == "syslog" and export.transport == "udp" and (export.statements or export.raw):
        yield (*at, "transport"), "statements and entries do not fit datagrams; write `transport: tls`"
    if export.ca is not None and export.to == "syslog" and export.transport != "tls":
        yield (*at, "ca"), "`ca` belongs to `transport: tls`; leave it out"
    if export.url is not None:
        yield from _url((*at, "url"), export.url, export.unsafe_http, is_loopback)
    if export.token is not None:
        yield from _secret((*at, "token"), export.token)
    yield from _ca(at, export.ca)


def _telemetry(at: Location, telemetry: TelemetrySettings, is_loopback: Callable[[str], bool]) -> Iterator[Problem]:
    yield from _url((*at, "otlp"), telemetry.otlp, telemetry.unsafe_http, is_loopback)
    for index, header in enumerate(telemetry.headers):
        yield from _secret((*at, "headers", index, "value"), header.value)
    yield from _ca(at, telemetry.ca)


def _url(at: Location, text: str, is_unsafe: bool, is_loopback: Callable[[str], bool]) -> Iterator[Problem]:
    try:
        url = urlsplit(text)
        sound = url.scheme in ("https", "http") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        yield at, f"`{at[-1]}` must be a URL; write https://…"
        return
    if not sound:
        yield at, f"`{at[-1]}` must be a URL; write https://…"
    elif url.username is not None or url.password is not None:
        yield at, "a URL holds no credential; write the secret's place beside it"
    elif url.scheme == "http" and not (is_unsafe and is_loopback(url.hostname or "")):
        yield at, ("records over plain http can be read by anyone; write https://…, or for development on loopback "
                   "`unsafe_http: true`")


def _secret(at: Location, reference: SecretReference) -> Iterator[Problem]:
    if (reference.env is None) == (reference.file is None):
        yield at, "a secret has one place; write `{env: NAME}` or `{file: path}`"


def _ca(at: Location, path: Path | None) -> Iterator[Problem]:
    if path is not None and not path.is_file():
        yield (*at, "ca"), f"there is no file {path}"
