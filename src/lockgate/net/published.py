"""Reading a published log over HTTP(S): bounded in time and size, without redirects, over verified TLS.

The answers are not trusted, `audit.tiles.verify` checks every byte of them; the bounds are here
because a server may be slow or endless as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import httpx

from lockgate.audit.failures import Absent, MalformedEntry
from lockgate.audit.tiles.reader import Fetch
from lockgate.errors import AuditError
from lockgate.model import Secret
from lockgate.net.address import is_loopback

_STEP: Final = 10.0         # seconds to connect, and for each piece of an answer
_WHOLE: Final = 60.0        # seconds for an answer


@contextmanager
def published_at(prefix: str, token: Secret | None = None) -> Iterator[Fetch]:
    """A `Fetch` from a log's URL prefix, while the block runs.

    A token is sent over https or to loopback only. Raises `AuditError` for a prefix that may not be asked.
    """
    _require_prefix(prefix, with_token=token is not None)
    headers = {"Accept-Encoding": "identity", "User-Agent": "lockgate"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token.reveal()}"
    with httpx.Client(timeout=_STEP, follow_redirects=False, trust_env=False, headers=headers) as client:

        def fetch(path: str, limit: int) -> bytes:
            return _get(client, f"{prefix.rstrip('/')}/{path}", limit)

        yield fetch


def _require_prefix(prefix: str, *, with_token: bool) -> None:
    try:
        parts = urlsplit(prefix)
        _ = parts.port
    except ValueError:
        raise AuditError("this is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise AuditError("a log's URL is http(s)://host/prefix, without credentials, query and fragment")
    if with_token and parts.scheme != "https" and not is_loopback(parts.hostname):
        raise AuditError("a token is sent over https only, or to a loopback address")


def _get(client: httpx.Client, url: str, limit: int) -> bytes:
    content = bytearray()
    deadline = time.monotonic() + _WHOLE
    try:
        with client.stream("GET", url) as answer:
            if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
                raise Absent(f"{url}: is not there")
            if answer.status_code != httpx.codes.OK or "content-encoding" in answer.headers:
                raise AuditError(f"{url}: HTTP {answer.status_code} instead of a plain answer", advice=_advice(answer))
            for piece in answer.iter_raw():
                content += piece
                if len(content) > limit:
                    raise MalformedEntry(f"{url}: longer than {limit} bytes")
                if time.monotonic() > deadline:
                    raise AuditError(f"{url}: no whole answer within {_WHOLE:.0f} seconds")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise AuditError(f"{url}: {type(error).__name__}") from None
    return bytes(content)


def _advice(answer: httpx.Response) -> str:
    denied = answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
    return "give the token of somebody who may read the log with --token-file" if denied else ""
