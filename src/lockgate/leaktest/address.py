"""Where to test, as a URL: ``scheme://user@host:port/database?sslmode=…&sslrootcert=…``.

Apart from `line` because nothing is opened here. A password in the URL is refused: command lines are seen
by everybody on the machine and kept in histories.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from lockgate.errors import ConfigError
from lockgate.net.address import is_loopback

_MODES: Final = ("disable", "prefer", "require", "verify-ca", "verify-full")
_FORM: Final = "Write it as {scheme}://user@host:5432/database?sslmode=verify-full&sslrootcert=ca.pem"


@dataclass(frozen=True, slots=True)
class Address:
    """A server, an account and a database. `tls` is an sslmode, `ca` the file of authorities to trust."""

    host: str
    port: int
    user: str
    database: str
    tls: str
    ca: Path | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"


def parse_address(url: str, scheme: str, default_port: int) -> Address:
    """The parts of `url`. Raises `ConfigError` that says how to write it.

    Without `sslmode` the server's certificate and name are verified, except on loopback, where TLS is used if
    it is offered.
    """
    advice = _FORM.format(scheme=scheme)
    try:
        parts = urlsplit(url)
        port = parts.port or default_port
    except ValueError:
        raise ConfigError("the address cannot be read", advice=advice) from None
    if parts.scheme != scheme or not parts.hostname or not parts.username:
        raise ConfigError(f"the address is not a {scheme}:// URL with user and host", advice=advice)
    if parts.password is not None:
        raise ConfigError("the address holds a password, which other users of this machine could read",
                          advice="Take it out, and give it in a file or an environment variable.")
    words = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(words) - {"sslmode", "sslrootcert"})
    if unknown:
        raise ConfigError(f"the address has an unknown parameter {unknown[0]}", advice=advice)
    database = unquote(parts.path.removeprefix("/"))
    if not database:
        raise ConfigError("the address names no database", advice=advice)
    mode = words.get("sslmode") or ("prefer" if is_loopback(parts.hostname) else "verify-full")
    if mode not in _MODES:
        raise ConfigError(f"sslmode {mode} is none of {', '.join(_MODES)}", advice=advice)
    ca = Path(words["sslrootcert"]) if words.get("sslrootcert") else None
    return Address(parts.hostname, port, unquote(parts.username), database, mode, ca)
