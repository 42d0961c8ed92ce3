"""POST of a batch over HTTPS: a bearer token, gzip, and what each answer means.

2xx: the batch is the target's. 408, 425, 429 and 5xx: later (`Retry-After` is honoured). 413: with half as much.
Any other status says that this request is not wanted: it is not skipped either, and the operator sees why.
The secret is read anew for every request, so that a rotated one needs no restart; it goes into no message.
"""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from lockgate.audit.export.exporter import Undelivered
from lockgate.model import Secret

if TYPE_CHECKING:
    import httpx

_CONNECT: Final = 5.0       # seconds
_ANSWER: Final = 10.0
_ANSWER_BYTES: Final = 65_536
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT: Final = 3600.0


class HttpsTarget:
    """`write` posts one body. `headers` gives the secret ones, each time anew, and may raise `AuditError`."""

    def __init__(
        self, url: str, content_type: str, headers: Callable[[], Mapping[str, Secret]], *,
        compress: bool = True, tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._content_type = content_type
        self._headers = headers
        self._compress = compress
        self._tls = tls
        self._client: httpx.Client | None = None

    def write(self, body: bytes) -> None:
        """Post the body and return once the target has taken it. Raises `Undelivered`."""
        import httpx  # only where it is configured: nobody else waits for its import

        headers = {"Content-Type": self._content_type}
        if self._compress:
            body = gzip.compress(body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        headers |= {name: secret.reveal() for name, secret in self._headers().items()}
        if self._client is None:
            self._client = httpx.Client(
                verify=self._tls or ssl.create_default_context(), trust_env=False, follow_redirects=False,
                timeout=httpx.Timeout(_ANSWER, connect=_CONNECT), limits=httpx.Limits(max_connections=1))
        try:
            with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                _drain(answer)
                _require_taken(answer.status_code, answer.headers.get("Retry-After", ""))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Undelivered(f"the target cannot be reached: {type(error).__name__}") from None

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _drain(answer: httpx.Response) -> None:
    """Read a short answer, so that the connection can be used again; a long one is not waited for."""
    size = 0
    for chunk in answer.iter_raw():
        size += len(chunk)
        if size > _ANSWER_BYTES:
            return


def _require_taken(status: int, retry_after: str) -> None:
    if 200 <= status < 300:
        return
    if status == 413:
        raise Undelivered("the target takes no body of this size (413)", smaller=True)
    after = min(float(retry_after), _LONGEST_WAIT) if retry_after.isascii() and retry_after.isdigit() else 0.0
    if status in _LATER:
        raise Undelivered(f"the target is busy or broken ({status})", after=after)
    raise Undelivered(f"the target refuses the batch ({status}); nothing is skipped", after=_LONGEST_WAIT)
