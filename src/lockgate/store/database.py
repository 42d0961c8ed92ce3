"""Opening the database of a state folder: one SQLite file, private to its owner, migrated on the way.

One connection a process, used on the driver's thread only. That also keeps SQLite's WAL mode safe
with the library versions that distributions ship: the WAL-reset corruption that versions up to
3.51.2 have needs two connections.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from lockgate.errors import LockgateError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

NAME = "lockgate.db"


class StoreError(LockgateError):
    """The runtime state cannot be read or written; what depends on it is refused."""

    code = "store.unavailable"


def open_database(folder: Path) -> Engine:
    """The migrated database of a state folder; both are made where they are not there.

    `StoreError` where it cannot be opened, is damaged, or was written by a newer version. Close it
    with `dispose()`.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its -wal and -shm files the mode of the database, so it is set before they exist.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from None
    engine = create_engine(
        f"sqlite:///{path}", poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": 5.0}
    )
    event.listen(engine, "connect", _prepare)
    try:
        migrate(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        raise StoreError(f"cannot use {path}: {type(error).__name__}") from None
    except CommandError:
        engine.dispose()
        raise StoreError(f"{path} was written by a newer version of Lockgate; run that one") from None
    return engine


def migrate(engine: Engine) -> None:
    """Bring the tables to this version's shape, in one transaction."""
    config = Config()
    config.set_main_option("script_location", "lockgate.store:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """WAL for speed, FULL so that a committed transition survives a power loss."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
