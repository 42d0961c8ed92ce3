"""A key that never leaves a key service: "sign these bytes with this key", over HTTPS.

`KeyService` is all that a service has to offer; `Transit` speaks the transit engine's HTTP API of
HashiCorp Vault and OpenBao. The service keeps no memory of the log, so it refuses no fork: that is
what the signer's process and the witnesses are for.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Protocol, Self

import orjson

from lockgate.audit.checkpoint import Checkpoint, Verifier
from lockgate.audit.evidence.notes import SignatureLine
from lockgate.audit.outward import Outward, Unanswered
from lockgate.audit.signing.contract import SignerAway, SignerRefused
from lockgate.audit.signing.remote import checked
from lockgate.errors import AuditError
from lockgate.model import Secret

_LIMIT: Final = 65_536
_TOKEN: Final = 4096
_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_BUSY: Final = frozenset({408, 412, 425, 429, 472, 473})    # timeouts, limits, and a standby that lags


class KeyService(Protocol):
    """Signs by key id. Both calls raise `SignerAway` (try again) or `SignerRefused`."""

    def public_keys(self, key: str) -> Mapping[int, bytes]:
        """The public halves (32 bytes) of an Ed25519 key's versions, by their numbers."""

    def sign(self, key: str, version: int, message: bytes) -> bytes:
        """An Ed25519 signature (64 bytes) over the message, by this version of the key."""


class KmsSigner:
    """A version of a key in a key service. Every signature is verified before it is used."""

    lags = True

    def __init__(self, service: KeyService, key: str, origin: str, versions: Mapping[int, bytes], version: int) -> None:
        self._service = service
        self._key = key
        self._versions = versions
        self._version = version
        self._verifier = Verifier(origin, versions[version])

    @classmethod
    def connect(cls, service: KeyService, key: str, origin: str, first: int, pinned: Verifier | None = None) -> Self:
        """The version whose public half is pinned; without one, or where there is none, the version `first`, by the
        service's word on it: compare it with what is pinned. Raises `SignerAway` or `SignerRefused`.
        """
        versions = service.public_keys(key)
        found = [number for number, public in versions.items() if pinned is not None and public == pinned.key.public]
        version = max(found, default=first)
        if version not in versions:
            raise SignerRefused(f"the key {key} has no version {version}")
        return cls(service, key, origin, versions, version)

    def successor(self) -> Self:
        """The newest version of the key. Raises `SignerRefused` where that is this one."""
        newest = max(self._versions)
        if newest <= self._version:
            raise SignerRefused(f"the key {self._key} has no version after {self._version}, which signs this log",
                                advice="make a new version in the key service, then ask again")
        return type(self)(self._service, self._key, self._verifier.name, self._versions, newest)

    @property
    def verifier(self) -> Verifier:
        """The key."""
        return self._verifier

    def last(self) -> None:
        """A key service has no memory of the log."""

    def sign(self, checkpoint: Checkpoint, proof: Sequence[bytes] = ()) -> str:
        """The signed note. The proof has no reader."""
        text = checkpoint.body()
        signature = self._service.sign(self._key, self._version, text.encode())
        line = SignatureLine(self._verifier.name, self._verifier.id, signature).line
        return checked(f"{text}\n{line}", checkpoint, self._verifier)


class Transit:
    """Vault's and OpenBao's transit engine: ``POST <url>/sign/<key>``, ``GET <url>/keys/<key>``.

    `url` ends in the engine's mount, such as ``https://vault.example/v1/transit``. `token` is a file that is
    read for every call, since an agent renews it. `ca` is a PEM file of authorities instead of the system's.
    """

    def __init__(self, url: str, token: Path, *, timeout: float = 5.0, ca: Path | None = None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        try:
            self._context = ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise AuditError(f"{ca}: no authorities can be read: {error.strerror or 'not PEM'}") from None

    def public_keys(self, key: str) -> Mapping[int, bytes]:
        """The public halves of the versions that the service still has."""
        data = self._call("GET", f"keys/{_name(key)}", None)
        versions = data.get("keys")
        if data.get("type") != "ed25519" or not isinstance(versions, dict):
            raise SignerRefused(f"the key {key} is not of type ed25519")
        found = {int(number): _base64(said.get("public_key")) for number, said in versions.items()
                 if _VERSION.fullmatch(number) and isinstance(said, dict)}
        return {number: public for number, public in found.items() if len(public) == 32}

    def sign(self, key: str, version: int, message: bytes) -> bytes:
        """Sign with one version."""
        data = self._call("POST", f"sign/{_name(key)}", {
            "input": base64.b64encode(message).decode(), "key_version": version})
        said = data.get("signature")
        prefix = f"vault:v{version}:"
        if not isinstance(said, str) or not said.startswith(prefix):
            raise SignerRefused("the key service signed with another version of the key")
        return _base64(said[len(prefix):])

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        headers = {"X-Vault-Token": _secret(self._token).reveal(), "Content-Type": "application/json"}
        content = None if body is None else orjson.dumps(body)
        try:
            with closing(Outward(self._context, self._timeout, _LIMIT)) as outward:
                answer = outward.exchange(method, f"{self._url}/{path}", content, headers)
        except Unanswered as error:
            raise SignerAway(f"the key service does not answer ({error})") from None
        if answer.status >= 500 or answer.status in _BUSY:
            raise SignerAway(f"the key service answers with status {answer.status}")
        if answer.status != 200:
            raise SignerRefused(f"the key service refuses (status {answer.status})",
                                advice="check the token's policy and the key's name")
        if not answer.is_whole:
            raise SignerRefused("the key service's answer is too long, or encoded")
        try:
            data = orjson.loads(answer.body)["data"]
        except (ValueError, KeyError, TypeError):
            data = None
        if not isinstance(data, dict):
            raise SignerRefused("the key service's answer is not understood")
        return data


def _secret(path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            token = file.read(_TOKEN + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token or len(token) > _TOKEN or not token.isprintable():
        raise SignerAway(f"{path}: there is no token for the key service")
    return Secret(token)


def _name(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise SignerRefused("a key's name is letters, digits, dots, dashes and underscores")
    return key


def _base64(encoded: object) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
    except (binascii.Error, ValueError):
        return b""

