"""One connection to the database, for callers on threads without an event loop of their own.

asyncpg needs a loop, and must not have the gateway's: a start reads the log while the gateway's loop
waits for it, and the writer's thread never waits for it at all. So each connection has a thread with
a loop of its own, which runs while something is asked for; every call here blocks until that is done,
or the time is up.

Whatever goes wrong is an `AuditError` without rows in it: of a server's message only the first line
is taken, because its details quote stored values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self, TypeVar

import asyncpg

from lockgate.audit.storage.database.place import Place
from lockgate.errors import AuditError

T = TypeVar("T")

_CONNECT: Final = 10.0      # seconds
_STATEMENT: Final = 30.0
_CLOSE: Final = 2.0
FAULTS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError,
                 TimeoutError, ValueError, asyncio.CancelledError)
"""What a driver raises when a server, a network or a value is not as it must be."""
_SETTINGS: Final = {
    "application_name": "lockgate-audit", "search_path": "lockgate_audit", "timezone": "UTC", "jit": "off",
    "default_transaction_isolation": "read committed",
}


class Connection:
    """A logged-in connection. Used by one thread at a time; a context manager that closes it."""

    def __init__(self, place: Place, *, statement: float = _STATEMENT, idle: float = 0.0) -> None:
        """Connect. Raises `AuditError`. `statement` seconds is what any one statement may take, `idle` seconds how
        long a transaction may wait for the next one before the server ends it with its locks (0: for ever).
        """
        place.require_safe()
        self.address = place.address
        self._loop = asyncio.new_event_loop()
        self._thread = ThreadPoolExecutor(1, "audit-database")
        self._raw: Any = None
        try:
            context = place.context()
            self._raw = self.run(asyncpg.connect(
                host=place.host.strip("[]"), port=place.port, user=place.user, database=place.database,
                password=place.password.reveal(), ssl=context, direct_tls=False, timeout=_CONNECT,
                command_timeout=statement,
                server_settings={**_SETTINGS, "idle_in_transaction_session_timeout": str(int(idle * 1000))},
            ))
        except AuditError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def raw(self) -> Any:
        """asyncpg's connection, for coroutines that `run` runs."""
        return self._raw

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        """Carry out and wait. Raises `AuditError`."""
        if self._loop.is_closed():
            doing.close()
            raise AuditError("the connection to the audit log's database is closed")
        try:
            return self._thread.submit(self._loop.run_until_complete, doing).result()
        except AuditError:
            raise
        except FAULTS as error:
            raise AuditError(f"{self.address}: the audit log's database: {said(error)}") from None

    def rows(self, statement: str, *values: object) -> list[Any]:
        """All rows of a statement."""
        return self.run(self._raw.fetch(statement, *values))

    def value(self, statement: str, *values: object) -> Any:
        """The first value of the first row, or None."""
        return self.run(self._raw.fetchval(statement, *values))

    def execute(self, statement: str, *values: object) -> str:
        """Run a statement (without `values` also several); returns the last one's status line."""
        return str(self.run(self._raw.execute(statement, *values)))

    def stream(self, statement: str, *values: object, chunk: int = 2_000) -> Iterator[Any]:
        """Rows, `chunk` at a time, inside a transaction that the caller began."""
        cursor = self.run(self._cursor(statement, values))
        while found := self.run(cursor.fetch(chunk)):
            yield from found

    async def _cursor(self, statement: str, values: tuple[object, ...]) -> Any:
        return await self._raw.cursor(statement, *values)

    def close(self) -> None:
        """Let go of the connection and the thread; an open transaction is rolled back. Idempotent."""
        if self._loop.is_closed():
            return
        if self._raw is not None:
            self._thread.submit(self._loop.run_until_complete, self._part()).result()
        self._thread.shutdown()
        self._loop.close()

    async def _part(self) -> None:
        try:
            await self._raw.close(timeout=_CLOSE)
        except FAULTS:
            self._raw.terminate()
        await asyncio.sleep(0)      # the transport's own last callback


def said(error: BaseException) -> str:
    """What went wrong in one line that quotes no stored value."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{str(error.args[0] if error.args else '').splitlines()[0][:200]} ({error.sqlstate})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
