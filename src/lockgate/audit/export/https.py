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
    from lockgate.audit.outward import Outward

_STEP: Final = 10.0         # seconds to connect, and for each read
_WHOLE: Final = 60.0        # seconds for a batch and its answer
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
        self._outward: Outward | None = None

    def write(self, body: bytes) -> None:
        """Post the body and return once the target has taken it. Raises `Undelivered`."""
        # Only where it is configured: nobody else waits for the import of what it needs.
        from lockgate.audit.outward import Outward, Unanswered

        headers = {"Content-Type": self._content_type}
        if self._compress:
            body = gzip.compress(body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        headers |= {name: secret.reveal() for name, secret in self._headers().items()}
        if self._outward is None:
            self._outward = Outward(self._tls or ssl.create_default_context(), _WHOLE, _ANSWER_BYTES, _STEP)
        try:
            answer = self._outward.exchange("POST", self._url, body, headers)
        except Unanswered as error:
            raise Undelivered(f"the target cannot be reached: {error}") from None
        _require_taken(answer.status, answer.headers.get("retry-after", ""))    # what it says beside that is not read

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        if self._outward is not None:
            self._outward.close()
            self._outward = None


def _require_taken(status: int, retry_after: str) -> None:
    if 200 <= status < 300:
        return
    if status == 413:
        raise Undelivered("the target takes no body of this size (413)", smaller=True)
    after = min(float(retry_after), _LONGEST_WAIT) if retry_after.isascii() and retry_after.isdigit() else 0.0
    if status in _LATER:
        raise Undelivered(f"the target is busy or broken ({status})", after=after)
    raise Undelivered(f"the target refuses the batch ({status}); nothing is skipped", after=_LONGEST_WAIT)
