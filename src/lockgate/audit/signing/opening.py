"""From the settings to the signer of a log, in the gateway and in the writer's process alike.

Settings are plain JSON, because they are handed to that process: ``{}`` or ``{"file": path}``,
``{"socket": path}``, ``{"kms": {"url", "key", "version", "timeout", "token", "ca"}}``, and ``"patience"``
in seconds. None of it is secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from lockgate.audit import keys
from lockgate.audit.checkpoint import Verifier
from lockgate.audit.signing.contract import CheckpointSigner
from lockgate.audit.signing.notary import Tempo
from lockgate.audit.signing.remote import SocketSigner
from lockgate.errors import AuditError

if TYPE_CHECKING:
    from lockgate.audit.signing.kms import KmsSigner

Settings = Mapping[str, Any]
_FILE: Final = "signer.json"
_LIMIT: Final = 65_536
_SOCKET_PACE: Final = 0.1    # seconds between two signatures: the signer's own fsync is on the same disk, often
_KMS_PACE: Final = 1.0       # key services charge and limit by the call


def open_signer(folder: Path, origin: str, settings: Settings, *, may_create: bool) -> CheckpointSigner:
    """The log's signer. Raises `AuditError` that says what to do.

    A key that is elsewhere is pinned in the folder (`log.vkey`) when the log is made; a signer with
    another one is refused from then on. A key service signs with the version that is pinned.
    """
    if "socket" in settings:
        remote = SocketSigner.connect(Path(settings["socket"]), origin)
        keys.pin(folder, remote.verifier, may_create=may_create)
        return remote
    if "kms" in settings:
        signer = open_kms(folder, origin, settings)
        keys.pin(folder, signer.verifier, may_create=may_create)
        return signer
    return keys.load_or_create(folder, origin, may_create=may_create, key=key_path(folder, settings))


def remember(folder: Path, settings: Settings) -> None:
    """Keep in the folder who signs, for commands that open the log of a stopped gateway. Raises `AuditError`."""
    path = folder / _FILE
    if settings:
        keys.write_durably(path, orjson.dumps(dict(settings)) + b"\n", 0o600)
    else:
        path.unlink(missing_ok=True)


def recall(folder: Path) -> Settings:
    """Who signed last. Raises `AuditError` where that is kept and cannot be read."""
    try:
        with (folder / _FILE).open("rb") as file:
            found = orjson.loads(file.read(_LIMIT))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AuditError(f"{folder / _FILE}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise AuditError(f"{folder / _FILE}: does not say who signs")
    return found


def key_path(folder: Path, settings: Settings) -> Path:
    """Where the key file is."""
    return Path(settings["file"]) if settings.get("file") else folder / keys.KEY_FILE


def tempo(settings: Settings) -> Tempo:
    """How often, and how late, a signer that is elsewhere signs."""
    return Tempo(_KMS_PACE if "kms" in settings else _SOCKET_PACE, settings.get("patience", Tempo().patience))


def open_kms(folder: Path, origin: str, settings: Settings, key: Verifier | None = None) -> KmsSigner:
    """The key service's signer, by a key of the log or else by what the folder has pinned. Raises `AuditError`."""
    from lockgate.audit.signing.kms import KmsSigner, Transit  # brings an HTTP client with it

    said, pinned = settings["kms"], folder / keys.VERIFIER_FILE
    if key is None and pinned.exists():
        key = keys.read_verifier(pinned)
    service = Transit(said["url"], Path(said["token"]), timeout=said["timeout"],
                      ca=Path(said["ca"]) if said.get("ca") else None)
    return KmsSigner.connect(service, said["key"], origin, said["version"], key)
