"""The gateway's end of a writer in another process: what `Writer` and its store are otherwise.

The gateway checks and reopens the log itself, then hands it over: the child continues at exactly that
size and epoch, or refuses. Any failure there, its death included, comes out of `collect` as an
`AuditError`, which poisons the log like a failed write. The child holds the folder's lock as well:
a gateway that is started after a `kill -9` cannot open the log before the old writer is done with it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lockgate.audit import leaves
from lockgate.audit.apart import frames
from lockgate.audit.apart.frames import Packed
from lockgate.audit.bell import Bell
from lockgate.errors import AuditError

SETTLE: Final = "settle"
"""Sent instead of a batch: have everything signed before the answer."""
_AHEAD: Final = 2       # batches
_START: Final = 30.0    # seconds until the child must have opened the log
_END: Final = 60.0      # seconds that it has to finish
_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "TZ")


class Link:
    """Commits by proxy. Used by one thread, closed by another one after it."""

    def __init__(
        self, child: subprocess.Popen[bytes], connection: socket.socket, pseudonyms: bytes,
        size: int, note: str,
    ) -> None:
        self._child = child
        self._connection = connection
        self._pseudonyms = pseudonyms
        self.size = size
        """How many entries are durable."""
        self.note = note
        """The newest signed checkpoint that is durable."""

    @classmethod
    def start(cls, terms: Mapping[str, Any], pseudonyms: bytes, lock: int) -> Link:
        """Start the child and hand the log over (`Writer.terms`). Raises `AuditError`."""
        here, there = socket.socketpair()
        try:
            with there:
                # Nothing of the gateway's environment is needed over there, least of all its secrets.
                child = subprocess.Popen(
                    [sys.executable, "-P", "-m", "lockgate.audit.apart", str(there.fileno())],
                    pass_fds=(there.fileno(), lock), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                )
        except OSError as error:
            here.close()
            raise AuditError(f"the audit writer cannot be started: {error.strerror}") from None
        link = cls(child, here, pseudonyms, int(terms["size"]), "")
        here.settimeout(_START)
        try:
            link._exchange(terms)
        except AuditError:
            child.kill()
            link.close()
            raise
        here.settimeout(None)
        return link

    @property
    def process(self) -> int:
        """The child's process id."""
        return self._child.pid

    def prepare(self, sid: str | None, number: int, now: float, value: object) -> tuple[Packed, int]:
        """The record in bytes, and how many.

        Made when the record is admitted, not when it is sent: what waits is then bytes, which the
        garbage collector does not walk, and the thread that sends hardly needs the interpreter's lock.
        """
        packed = frames.pack(sid, number, now, leaves.draft(value, self._pseudonyms))
        return packed, len(packed[0]) + len(packed[1])

    @property
    def ahead(self) -> int:
        """Two batches: while one is being committed the next one is already over there."""
        return _AHEAD

    def submit(self, items: Sequence[Packed]) -> None:
        """Send a batch. Raises `AuditError` where nobody takes it."""
        self._sent(frames.send_records, items)

    def wait_settled(self, bell: Bell) -> bool:
        """Whether an answer came before the bell was rung. Its end is an answer too."""
        return bell.wait_beside(self._connection.fileno())

    def collect(self) -> None:
        """Wait until the oldest batch that was sent is durable. Raises `AuditError`."""
        self._receive()

    def _exchange(self, value: object) -> None:
        self._sent(frames.send, value)
        self._receive()

    def _sent(self, send: Callable[[socket.socket, Any], None], what: object) -> None:
        try:
            send(self._connection, what)
        except OSError:
            self._receive()     # it may have said why it ended
            raise AuditError("the audit writer's process ended") from None

    def _receive(self) -> None:
        try:
            frame = frames.receive(self._connection)
        except OSError:
            frame = None
        if frame is None:
            raise AuditError("the audit writer's process ended")
        answer = frame.value
        if "error" in answer:
            raise AuditError(answer["error"])
        self.size = answer["size"]
        self.note = answer["note"]

    def settle(self) -> None:
        """As `Writer.settle`."""
        self._exchange(SETTLE)

    def finish(self) -> None:
        """Let the child copy its write-ahead log into the file, and wait until it has ended."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
            self._child.wait(_END)
        except (OSError, subprocess.TimeoutExpired):
            pass    # everything is durable: the write-ahead log keeps what was not copied

    def close(self) -> None:
        """Let go of the child; one that does not end by itself is ended."""
        self._connection.close()
        try:
            self._child.wait(_END)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
