"""What no single value shows: names that must exist, settings that must not go together.

Each check yields (location, sentence). None of them raises, so that all problems are told at once.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lockgate.config.document import Location
from lockgate.config.duration import seconds
from lockgate.config.export_checks import check_exports
from lockgate.config.policy_checks import Known, Problem, check_policies, no_connection
from lockgate.config.recording_checks import check_recording
from lockgate.config.settings import BackendTls, Connection, Listener, Provider, SecretReference, Settings
from lockgate.config.wording import closest
from lockgate.errors import ConfigError

ALGORITHMS = frozenset({*(f"{family}{size}" for family in ("RS", "PS", "ES") for size in (256, 384, 512)), "EdDSA"})
_MAX_PORT = 65_535


def check(settings: Settings, known: Known) -> Iterator[Problem]:
    """Every problem of a file whose single values are right."""
    yield from _durations(settings)
    yield from _zone(settings.timezone)
    yield from _twice("listeners", "name", [listener.name for listener in settings.listeners])
    yield from _twice("detectors", "name", [detector.name for detector in settings.detectors])
    yield from _twice("connections", "name", [connection.name for connection in settings.connections])
    yield from _twice("policies", "name", [policy.name for policy in settings.policies])
    yield from _twice(("audit", "export"), "name", [export.name for export in settings.audit.export])
    yield from _twice(("identity", "providers"), "name", [item.name for item in settings.identity.providers])
    yield from _twice(("identity", "providers"), "issuer", [item.issuer for item in settings.identity.providers])
    yield from _twice("listeners", "address", [listener.address for listener in settings.listeners
                                               if not listener.address.endswith(":0")])
    for index, listener in enumerate(settings.listeners):
        yield from _listener(("listeners", index), listener, settings, known)
    for index, provider in enumerate(settings.identity.providers):
        yield from _provider(("identity", "providers", index), provider)
    yield from _erasure(settings)
    yield from _server_names(settings)
    for index, connection in enumerate(settings.connections):
        yield from _connection(("connections", index), connection, known)
    yield from check_policies(settings, known)
    yield from _store(settings)
    yield from check_recording(settings, known)
    yield from check_exports(settings, is_loopback)
    yield from _port(("control", "address"), settings.control.address, least=0)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name (no look-up)."""
    host = host.strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _durations(settings: Settings) -> Iterator[Problem]:
    for key in ("login_timeout", "drain"):
        yield from _duration(("limits", key), getattr(settings.limits, key))
    if settings.telemetry is not None:
        yield from _duration(("telemetry", "metrics"), settings.telemetry.metrics, least=1.0)
    for index, export in enumerate(settings.audit.export):
        if export.age is not None:
            yield from _duration(("audit", "export", index, "age"), export.age, least=1.0)
    for index, provider in enumerate(settings.identity.providers):
        yield from _duration(("identity", "providers", index, "leeway"), provider.leeway, least=0.0)
    for index, policy in enumerate(settings.policies):
        if policy.review is not None:
            yield from _duration(("policies", index, "review", "expires"), policy.review.expires)


def _store(settings: Settings) -> Iterator[Problem]:
    store = settings.audit.store
    if store is None:
        return
    at: Location = ("audit", "store")
    yield from _port((*at, "address"), store.address, least=1)
    for key in ("lease", "fleet_log"):
        yield from _duration((*at, key), getattr(store, key), least=1.0)
    if store.tls.mode == "disable" and not is_loopback(store.address.rpartition(":")[0]):
        yield (*at, "tls", "mode"), ("records would travel without TLS to another machine; write `verify-full`, "
                                     "or an address on loopback")
    if store.tls.ca is not None:
        yield from _file((*at, "tls", "ca"), store.tls.ca)
    if store.password is not None:
        yield from _secret((*at, "password"), store.password)
    if settings.audit.signer is not None and settings.audit.signer.file is not None:
        yield ("audit", "signer", "file"), ("gateways that share a database have the fleet's key as `log.key` in their audit "
                                            "folders; leave `file` out")


def _erasure(settings: Settings) -> Iterator[Problem]:
    erasure, retention = settings.audit.erasure, settings.audit.retention
    yield from _duration(("audit", "erasure", "expires"), erasure.expires)
    for key in ("payloads", "recordings"):
        period = getattr(retention, key)
        if period is not None:
            yield from _duration(("audit", "retention", key), period, least=1.0)
    for key in ("by", "approve"):
        if erasure.approvals == 2 and not getattr(erasure, key):
            yield ("audit", "erasure"), f"`approvals: 2` needs people; write `{key}: [a group]`"


def _zone(name: str) -> Iterator[Problem]:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield ("timezone",), (
            f"`{name}` is no time zone that this machine knows; write something like Europe/Berlin, and see that the "
            "package tzdata is installed")


def _duration(at: Location, text: str, least: float = 0.001) -> Iterator[Problem]:
    try:
        if seconds(text) < least:
            yield at, f"`{at[-1]}` must be longer than nothing; write something like 15m"
    except ConfigError as error:
        yield at, str(error)


def _twice(at: str | tuple[str, ...], key: str, values: list[str]) -> Iterator[Problem]:
    prefix = (at,) if isinstance(at, str) else at
    for index, value in enumerate(values):
        first = values.index(value)
        if first != index:
            yield (*prefix, index, key), f"{key} `{value}` is taken by another of the {prefix[-1]}; choose another"


def _listener(at: Location, listener: Listener, settings: Settings, known: Known) -> Iterator[Problem]:
    if known.protocols is not None and listener.protocol not in known.protocols:
        yield (*at, "protocol"), f"unknown protocol `{listener.protocol}`; {closest(listener.protocol, known.protocols)}"
    yield from _port((*at, "address"), listener.address, least=0)
    loopback = is_loopback(listener.address.rpartition(":")[0])
    if listener.plaintext_tokens == "loopback" and not loopback:
        yield (*at, "plaintext_tokens"), (
            "tokens without TLS are for loopback only; write `tls: {certificate: …, key: …}`, "
            "or an address like 127.0.0.1:5432")
    elif listener.tls is None and listener.plaintext_tokens == "never":
        yield at, (
            f"listener `{listener.name}` can take no token; write `tls: {{certificate: …, key: …}}`, "
            "or `plaintext_tokens: loopback` on a loopback address")
    if listener.proxy and listener.protocol not in known.proxies:
        yield (*at, "proxy"), f"{listener.protocol} has no forward proxies; take `proxy` away"
    elif listener.proxy and listener.connection is not None:
        yield (*at, "proxy"), "a forward proxy leads to many connections; take `connection` or `proxy` away"
    if listener.tls is not None:
        yield from _file((*at, "tls", "certificate"), listener.tls.certificate)
        yield from _file((*at, "tls", "key"), listener.tls.key)
    if listener.connection is None:
        return
    connection = next((item for item in settings.connections if item.name == listener.connection), None)
    if connection is None:
        yield (*at, "connection"), no_connection(listener.connection, settings)
    elif connection.protocol != listener.protocol:
        yield (*at, "connection"), (
            f"connection `{connection.name}` speaks {connection.protocol}, this listener {listener.protocol}")


def _provider(at: Location, provider: Provider) -> Iterator[Problem]:
    url = urlsplit(provider.issuer)
    if url.scheme not in ("https", "http") or not url.hostname:
        yield (*at, "issuer"), "`issuer` must be a URL; write https://…"
    elif url.scheme == "http" and not provider.unsafe_http:
        yield (*at, "issuer"), ("an issuer over plain http can be forged; write https://…, or for development "
                                "on loopback `unsafe_http: true`")
    elif url.scheme == "http" and not is_loopback(url.hostname):
        yield (*at, "issuer"), "`unsafe_http` is for loopback only; write https://…"
    for index, algorithm in enumerate(provider.algorithms):
        if algorithm not in ALGORITHMS:
            yield (*at, "algorithms", index), (
                f"`{algorithm}` is not an accepted signature algorithm; {closest(algorithm, ALGORITHMS)}")
    if provider.ca is not None:
        yield from _file((*at, "ca"), provider.ca)


def _server_names(settings: Settings) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for index, connection in enumerate(settings.connections):
        for place, name in enumerate(connection.server_names):
            owner = taken.setdefault(name.lower(), connection.name)
            if owner != connection.name:
                yield ("connections", index, "server_names", place), f"`{name}` leads to connection `{owner}` already"


def _connection(at: Location, connection: Connection, known: Known) -> Iterator[Problem]:
    if known.protocols is not None and connection.protocol not in known.protocols:
        yield (*at, "protocol"), (
            f"unknown protocol `{connection.protocol}`; {closest(connection.protocol, known.protocols)}")
    if not connection.credential.user and connection.protocol not in known.userless:
        yield (*at, "credential"), "a log-in needs an account; write `credential: {user: …}`"
    yield from _port((*at, "address"), connection.address, least=1)
    yield from _backend_tls((*at, "tls"), connection.tls)
    if connection.credential.password is not None:
        yield from _secret((*at, "credential", "password"), connection.credential.password)
    for place, text in () if known.connection is None else known.connection(connection):
        yield (*at, *place), text


def _backend_tls(at: Location, tls: BackendTls) -> Iterator[Problem]:
    for key in ("ca", "certificate", "key"):
        path = getattr(tls, key)
        if path is not None:
            yield from _file((*at, key), path)
    if (tls.certificate is None) != (tls.key is None):
        yield at, "the gateway's own certificate needs its key; write `certificate: …` and `key: …`, or neither"
    elif tls.own is not None and tls.mode == "disable":
        yield (*at, "certificate"), "without TLS nobody is shown a certificate; write another `mode`, or take it away"


def _secret(at: Location, reference: SecretReference) -> Iterator[Problem]:
    if (reference.env is None) == (reference.file is None):
        yield at, "a secret has one place; write `{env: NAME}` or `{file: path}`"


def _port(at: Location, address: str, least: int) -> Iterator[Problem]:
    if not least <= int(address.rpartition(":")[2]) <= _MAX_PORT:
        yield at, f"`{at[-1]}` has no valid port; write one from {least} to {_MAX_PORT}"


def _file(at: Location, path: Path) -> Iterator[Problem]:
    if not path.is_file():
        yield at, f"there is no file {path}"
    elif not os.access(path, os.R_OK):
        yield at, f"the file {path} cannot be read by this user"
