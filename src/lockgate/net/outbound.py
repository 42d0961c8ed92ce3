"""One bounded POST to a party outside, whose answer is whatever came of it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from lockgate.audit.outward import Outward, Unanswered
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
        self._outward = Outward(context, timeout, limit)

    def post(self, url: str, body: bytes, kind: str) -> Posted:
        """The answer, whatever its status. Never raises."""
        try:
            answer = self._outward.exchange("POST", url, body, {"Content-Type": kind})
        except Unanswered:
            return Posted(0, "", b"")
        if not answer.is_whole:
            return Posted(0, "", b"")
        return Posted(answer.status, answer.headers.get("content-type", "").partition(";")[0].strip(), answer.body)

    def close(self) -> None:
        """Close its connections."""
        self._outward.close()
