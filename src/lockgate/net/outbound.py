"""One bounded POST to a party outside: verified TLS, no redirects, no proxy from the environment."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import NamedTuple

import httpx

from lockgate.errors import ConfigError


class Posted(NamedTuple):
    """What came back. `status` is 0, and `body` empty, where nothing did in time."""

    status: int
    kind: str
    body: bytes


class Poster:
    """Posts within `timeout` seconds in all, and reads at most `limit` bytes. `ca` replaces the system's authorities.

    Raises `ConfigError` where `ca` cannot be read.
    """

    def __init__(self, timeout: float, limit: int, ca: Path | None = None) -> None:
        try:
            context = ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise ConfigError(f"{ca}: no authorities can be read: {error.strerror or 'not PEM'}") from None
        self._timeout = timeout
        self._limit = limit
        self._client = httpx.Client(timeout=timeout, verify=context, trust_env=False, follow_redirects=False)

    def post(self, url: str, body: bytes, kind: str) -> Posted:
        """The answer, whatever its status. Never raises."""
        deadline = time.monotonic() + self._timeout
        content = bytearray()
        try:
            with self._client.stream("POST", url, content=body, headers={"content-type": kind}) as answer:
                for part in answer.iter_bytes(8192):
                    content += part
                    if len(content) > self._limit or time.monotonic() > deadline:
                        return Posted(0, "", b"")
        except (httpx.HTTPError, httpx.InvalidURL):
            return Posted(0, "", b"")
        return Posted(answer.status_code, answer.headers.get("content-type", "").partition(";")[0].strip(), bytes(content))

    def close(self) -> None:
        """Close its connections."""
        self._client.close()
