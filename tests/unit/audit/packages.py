"""Evidence packages for tests: taken apart, changed, and put together again with a manifest that fits."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from lockgate.audit.entry import canonical
from lockgate.audit.evidence.archive import ARCHIVE_END, archive_members, member_header, member_padding
from lockgate.audit.evidence.package import verify_package
from lockgate.audit.evidence.report import Report
from lockgate.audit.evidence.signatures import Pins
from lockgate.audit.packaging.asking import Asked
from lockgate.audit.packaging.export import export_package


def exported(folder: Path, **asked: Any) -> bytes:
    """The package of a question about a log's folder."""
    target = folder.parent / "evidence.tar"
    export_package(folder, Asked(**asked), target)
    return target.read_bytes()


def check(package: bytes, key: str | None = None, **pins: str | None) -> Report:
    """The verifier's report on it."""
    return verify_package(io.BytesIO(package), Pins(key, **pins), "evidence.tar")


def members(package: bytes) -> dict[str, bytes]:
    """The files in a package, in their order."""
    return {one.name: package[one.offset:one.offset + one.size] for one in archive_members(io.BytesIO(package))}


def packed(files: Mapping[str, bytes]) -> bytes:
    """An archive of files as they are."""
    parts = [member_header(name, len(data)) + data + member_padding(len(data)) for name, data in files.items()]
    return b"".join(parts) + ARCHIVE_END


def listed(files: Mapping[str, bytes], **fields: Any) -> bytes:
    """A package of the files whose manifest fits them, with some of its other fields replaced."""
    manifest = orjson.loads(files["manifest.json"]) | fields
    rest = {name: data for name, data in files.items() if name != "manifest.json"}
    manifest["files"] = [{"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                         for name, data in rest.items()]
    return packed({"manifest.json": canonical(manifest), **rest})


def changed(package: bytes, name: str, change: Callable[[bytes], bytes], **fields: Any) -> bytes:
    """The package with one file changed, and a manifest that fits."""
    files = members(package)
    return listed({**files, name: change(files[name])}, **fields)
