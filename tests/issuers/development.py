"""Running the development issuer in a thread, for tests whose loop or process is busy elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockgate.control.issuer import Algorithm, UnsafeDevelopmentIssuer, bind_loopback, unsafe_server


@contextmanager
def development_issuer(
    state: Path | None = None, *, algorithm: Algorithm = "ES256"
) -> Iterator[UnsafeDevelopmentIssuer]:
    """The issuer, served over HTTP on a loopback port; `mint` and `rotate` it directly."""
    listening, url = bind_loopback("127.0.0.1:0")
    with listening:
        issuer = UnsafeDevelopmentIssuer(
            url, unsafe_development_only=True, state=state, algorithm=algorithm
        )
        server = unsafe_server(issuer)
        # The socket listens already: a request that comes before the server is ready waits in it.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.should_exit = True
            thread.join(10)
