"""From `audit.export` and `telemetry` to running exporters: the targets, their secrets, and their chores.

Secrets are read when a batch goes out and once at start-up, so that one that is missing is found before
anything is served.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import orjson

from lockgate.audit.export.cursor import Bookmark, CursorFile
from lockgate.audit.export.exporter import Deliver, Exporter, Undelivered, gently
from lockgate.audit.export.files import JsonLinesFile
from lockgate.audit.export.https import HttpsTarget
from lockgate.audit.export.syslog import Message, SyslogTarget
from lockgate.audit.export.told import Teller, Told
from lockgate.audit.ocsf import Mapper
from lockgate.audit.storage.contract import Source
from lockgate.audit.storage.database.cursors import DatabaseCursor
from lockgate.audit.storage.database.place import Place
from lockgate.audit.storage.database.source import DatabaseSource
from lockgate.audit.storage.sqlite import open_source
from lockgate.config.duration import seconds
from lockgate.config.exports import ExportSettings, TelemetrySettings
from lockgate.config.secrets import read_secret
from lockgate.config.settings import Settings
from lockgate.config.strict import SecretReference
from lockgate.errors import ConfigError
from lockgate.model import Exported, Secret
from lockgate.net.address import split_address
from lockgate.protocols import discover

TRACES: Final = "otlp.traces"
"""The name of the exporter of traces. No name in the configuration holds a dot."""
_CURSORS: Final = "export"


def version() -> str:
    """Of the installed package."""
    try:
        return metadata.version("lockgate")
    except metadata.PackageNotFoundError:
        return "unknown"


def protocols() -> Mapping[str, Exported]:
    """How each protocol's requests are told to others."""
    return {name: spec.exported for name, spec in discover().items()}


@dataclass(frozen=True, slots=True)
class LogAt:
    """The log that is exported: its name and its folder, where the cursors are; of a shard they are with it in the
    database, so that whoever has it goes on where the others left off.
    """

    origin: str
    folder: Path
    place: Place | None = None
    shard: int = 0

    def open(self) -> Source:
        """A snapshot. Raises `AuditError`."""
        return open_source(self.folder) if self.place is None else DatabaseSource(self.place, self.shard)

    def bookmark(self, name: str) -> Bookmark:
        """Where the cursor of an exporter is."""
        if self.place is None:
            return CursorFile(self.folder / _CURSORS / f"{name}.cursor")
        return DatabaseCursor(self.place, self.shard, name)


def exporters(settings: Settings, log: LogAt) -> list[Exporter]:
    """Every exporter that the settings ask for. Raises `ConfigError` for a secret or an authority that is not there."""
    made = [_exporter(export, log) for export in settings.audit.export]
    if settings.telemetry is not None and settings.telemetry.traces:
        made.append(_tracing(settings.telemetry, log))
    return made


def _exporter(export: ExportSettings, log: LogAt) -> Exporter:
    mapper = Mapper(log.origin, version(), protocols(), raw=export.raw)
    return Exporter(export.name, log.open, _deliver(export, mapper), log.bookmark(export.name),
                    Teller(names=export.names, statements=export.statements))


def _deliver(export: ExportSettings, mapper: Mapper) -> Deliver:
    if export.to == "file":
        assert export.path is not None
        file = JsonLinesFile(export.path, size=export.size, keep=export.keep,
                             age=0.0 if export.age is None else seconds(export.age))
        return lambda batch: file.write(lines(mapper, batch))
    if export.to == "https":
        assert export.url is not None
        target = HttpsTarget(export.url, "application/x-ndjson", _authorization(export), compress=export.gzip,
                             tls=_context(export.ca))

        def post(batch: Sequence[Told]) -> None:
            body = b"".join(line + b"\n" for line in lines(mapper, batch))
            if body:
                target.write(body)

        return post
    assert export.address is not None
    syslog = SyslogTarget(
        split_address(export.address), export.transport, facility=export.facility,
        tls=_context(export.ca) if export.transport == "tls" else None, server_name=export.server_name or "")
    return lambda batch: syslog.write(messages(mapper, batch))


def lines(mapper: Mapper, batch: Sequence[Told]) -> list[bytes]:
    """The events of a batch as JSON, one a line."""
    return [orjson.dumps(event) for told in gently(batch) for event in mapper.events(told)]


def messages(mapper: Mapper, batch: Sequence[Told]) -> list[Message]:
    """The events of a batch for syslog: JSON in ASCII, so that no receiver has to guess an encoding."""
    found = []
    for told in gently(batch):
        for event in mapper.events(told):
            text = orjson.dumps(event)
            if not text.isascii():
                text = _escaped(text.decode())
            found.append(Message(event["time"], event["severity_id"], f"OCSF-{event['class_uid']}", text))
    return found


def _escaped(text: str) -> bytes:
    """JSON's own escapes for everything beyond ASCII (RFC 8259, 7: UTF-16 code units)."""
    return "".join(
        char if char.isascii() else "".join(
            f"\\u{int.from_bytes(unit, 'big'):04x}"
            for unit in (char.encode("utf-16-be")[at : at + 2] for at in range(0, len(char.encode("utf-16-be")), 2)))
        for char in text
    ).encode("ascii")


def _authorization(export: ExportSettings) -> Callable[[], Mapping[str, Secret]]:
    if export.token is None:
        return dict
    return _secret_headers({"Authorization": (f"{export.scheme} ", export.token)})


def _secret_headers(named: Mapping[str, tuple[str, SecretReference]]) -> Callable[[], Mapping[str, Secret]]:
    for _, reference in named.values():
        read_secret(reference)

    def headers() -> Mapping[str, Secret]:
        try:
            return {name: Secret(before + read_secret(reference).reveal())
                    for name, (before, reference) in named.items()}
        except ConfigError as error:
            raise Undelivered(str(error)) from None

    return headers


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot read the CA file {ca} ({error})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def collector(telemetry: TelemetrySettings, signal: str) -> HttpsTarget:
    """Where one signal (``traces`` or ``metrics``) goes."""
    return HttpsTarget(
        f"{telemetry.otlp.rstrip('/')}/v1/{signal}", "application/x-protobuf",
        _secret_headers({header.name: ("", header.value) for header in telemetry.headers}),
        compress=telemetry.gzip, tls=_context(telemetry.ca))


def _tracing(telemetry: TelemetrySettings, log: LogAt) -> Exporter:
    from lockgate.audit.telemetry import spans  # only where it is configured: its import takes long

    tracer = spans.Tracer(log.origin, version(), protocols())
    target = collector(telemetry, "traces")

    def post(batch: Sequence[Told]) -> None:
        found = [span for told in gently(batch) for span in tracer.spans(told)]
        if found:
            target.write(spans.encoded(found))

    return Exporter(TRACES, log.open, post, log.bookmark(TRACES),
                    Teller(names=telemetry.names, statements=telemetry.statements))
