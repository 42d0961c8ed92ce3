"""Where a fleet's database is and how to log in there, and the pointer file that says so beside a log.

`store.json` lies in the gateway's audit folder so that commands find the log that the gateway writes.
It names the place of the password and never holds the password.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from lockgate.audit.checkpoint import Verifier
from lockgate.audit.keys import VERIFIER_FILE, read_verifier, write_durably
from lockgate.errors import AuditError
from lockgate.model import Secret

POINTER: Final = "store.json"
KIND: Final = "postgresql"
_LIMIT: Final = 65_536
_SHARD: Final = re.compile(r"shard-([1-9][0-9]{0,3})", re.ASCII)
FLEET: Final = 0
"""The number under which the fleet's own log is kept; shards count from 1."""


@dataclass(frozen=True, slots=True)
class Place:
    """A database, the role that uses it, and how the connection is protected."""

    host: str
    port: int
    database: str
    user: str
    password: Secret = field(default_factory=lambda: Secret(""))
    password_env: str | None = None
    password_file: str | None = None
    tls: str = "verify-full"
    """``disable`` (loopback only), ``verify-ca`` or ``verify-full``."""
    ca: str | None = None
    """PEM file of authorities instead of the system's."""

    def require_safe(self) -> None:
        """Raise `AuditError` where records would travel unprotected to another machine.

        Without a verified certificate somebody between could acknowledge what was never stored.
        """
        if self.tls not in ("disable", "verify-ca", "verify-full"):
            raise AuditError(f"{self.address}: tls is disable, verify-ca or verify-full")
        if self.tls == "disable" and not is_loopback(self.host):
            raise AuditError(f"{self.address}: the audit log's database is on another machine, without TLS",
                             advice="set audit.store.tls.mode to verify-full")

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    def context(self) -> ssl.SSLContext | bool:
        """What asyncpg takes for ``ssl``; False is plaintext. Raises `AuditError` for unusable authorities."""
        if self.tls == "disable":
            return False
        try:
            made = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise AuditError(f"{self.ca}: no usable authorities: {error.strerror or 'not PEM'}") from None
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.check_hostname = self.tls == "verify-full"
        return made

    def described(self) -> dict[str, Any]:
        """Everything but the password, as the pointer file holds it."""
        return {"host": self.host, "port": self.port, "database": self.database, "user": self.user,
                "password_env": self.password_env, "password_file": self.password_file, "tls": self.tls,
                "ca": self.ca}

    def terms(self) -> dict[str, Any]:
        """Everything, the password included: for the writer's process, over the socket pair only."""
        return {**self.described(), "password": self.password.reveal()}

    @classmethod
    def from_terms(cls, terms: Mapping[str, Any]) -> Place:
        """The reverse of `terms`."""
        return cls(**{**terms, "password": Secret(terms["password"])})


def place_at(url: str) -> Place:
    """The database that a URL names, as libpq writes one: ``postgresql://user@host:5432/database?sslmode=verify-full``,
    also with ``sslrootcert``. The password is in the environment variable ``PGPASSWORD``, never in the URL.

    Raises `AuditError`.
    """
    parts = urlsplit(url)
    more = dict(parse_qsl(parts.query))
    try:
        port = parts.port or 5432
    except ValueError:
        port = 0
    if parts.scheme != KIND or parts.password or not port or not parts.hostname or set(more) - {"sslmode", "sslrootcert"}:
        raise AuditError("a database's URL is postgresql://user@host:port/database, with sslmode and sslrootcert at most",
                         advice="put the password into the environment, as PGPASSWORD")
    place = Place(parts.hostname, port, unquote(parts.path.removeprefix("/")), unquote(parts.username or ""),
                  password_env="PGPASSWORD" if "PGPASSWORD" in os.environ else None,
                  tls=more.get("sslmode", "verify-full"), ca=more.get("sslrootcert"))
    return replace(place, password=read_password(place))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine whatever the network says."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a folder's log is: the database, the fleet's name and this gateway's place in it."""

    place: Place
    origin: str
    """Of the fleet; its shards are named after it."""
    shard: int
    """The one that this folder's gateway holds or held last, 0 before the first."""
    holder: str
    """The gateway's id among the holders of leases, made once for each folder."""


def shard_origin(origin: str, shard: int) -> str:
    """A shard's name, which never changes: it belongs to the number and not to the gateway that holds it."""
    return f"{origin}/{shard_folder(shard)}"


def shard_folder(shard: int) -> str:
    """The folder, below the gateway's audit folder, of what is kept beside a shard."""
    return "fleet" if shard == FLEET else f"shard-{shard}"


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """Put the pointer beside the log. Raises `AuditError`."""
    content = {"v": 1, "kind": KIND, "origin": pointer.origin, "shard": pointer.shard, "holder": pointer.holder,
               **pointer.place.described()}
    write_durably(folder / POINTER, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n", 0o600)


def read_pointer(folder: Path, *, password: bool = True) -> Pointer | None:
    """Where the log of a folder is; None where the folder points nowhere.

    `<state>/audit/shard-3` means shard 3 also where that folder does not exist. With `password` it is
    read from where the pointer says. Raises `AuditError` for a pointer that cannot be followed.
    """
    for where, shard in ((folder, None), (folder.parent, _named(folder.name))):
        path = where / POINTER
        if path.is_file() and (where == folder or shard is not None):
            return _read(path, shard, password)
    return None


def log_beside(folder: Path) -> Path:
    """The folder of the shard that a gateway's audit folder points to; the same folder where it points nowhere."""
    if not (folder / POINTER).is_file():
        return folder
    pointer = read_pointer(folder, password=False)
    return folder if pointer is None else folder / shard_folder(pointer.shard)


def fleet_folder(folder: Path) -> tuple[Path, int | None] | None:
    """The gateway's audit folder that a folder is, or belongs to as that of one shard, whose number is given
    then. None where no pointer is near.
    """
    if (folder / POINTER).is_file():
        return folder, None
    shard = _named(folder.name)
    return None if shard is None or not (folder.parent / POINTER).is_file() else (folder.parent, shard)


def log_verifier(folder: Path) -> Verifier:
    """The verifier key of the log in a folder. Of a shard that this machine keeps nothing of, the key that the fleet's
    shards begin with. Raises `UntrustedNote`.
    """
    base = fleet_folder(folder)
    if base is None or base[1] is None or (folder / VERIFIER_FILE).exists():
        return read_verifier(folder / VERIFIER_FILE)
    found = read_verifier(base[0] / VERIFIER_FILE)
    return found.named(shard_origin(found.name.rpartition("/")[0], base[1]))


def _named(folder: str) -> int | None:
    if folder == shard_folder(FLEET):
        return FLEET
    found = _SHARD.fullmatch(folder)
    return None if found is None else int(found[1])


def _read(path: Path, shard: int | None, password: bool) -> Pointer:
    try:
        said = orjson.loads(path.read_bytes()[:_LIMIT])
        if (said.pop("v"), said.pop("kind")) != (1, KIND):
            raise AuditError(f"{path}: points to a store that this version does not know")
        origin, own, holder = said.pop("origin"), said.pop("shard"), said.pop("holder")
        place = Place(**said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise AuditError(f"{path}: not a pointer to a log", advice="a gateway's next start writes it again") from None
    if password:
        place = Place(**said, password=read_password(place))
    return Pointer(place, origin, own if shard is None else shard, holder)


def read_password(place: Place) -> Secret:
    """The password now, from where the place says it is; empty where it names none. Raises `AuditError`."""
    if place.password_env is not None:
        text = os.environ.get(place.password_env, "")
        where = f"environment variable {place.password_env}"
    elif place.password_file is not None:
        where = f"file {place.password_file}"
        try:
            descriptor = os.open(place.password_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
                text = file.read(_LIMIT).decode().removesuffix("\n").removesuffix("\r") if regular else ""
        except (OSError, UnicodeDecodeError):
            raise AuditError(f"the {where} with the password of the audit log's database cannot be read") from None
    else:
        return Secret("")
    if not text or "\0" in text:
        raise AuditError(f"the {where} holds no password for the audit log's database")
    return Secret(text)
