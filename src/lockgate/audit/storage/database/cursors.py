"""Cursors of exports in a fleet's database, beside the shards that they are of (`export.cursor.Bookmark`)."""

from __future__ import annotations

from typing import Final

from lockgate.audit.export.cursor import Cursor, cursor_bytes, read_cursor
from lockgate.audit.storage.database.connection import Connection
from lockgate.audit.storage.database.place import Place

_LOAD: Final = "SELECT cursor FROM cursors WHERE shard = $1 AND name = $2"
_SAVE: Final = ("INSERT INTO cursors VALUES ($1, $2, $3) ON CONFLICT (shard, name) DO UPDATE SET cursor = excluded.cursor")


class DatabaseCursor:
    """The cursor of one exporter on one shard."""

    def __init__(self, place: Place, shard: int, name: str) -> None:
        self._place = place
        self._key = (shard, name)

    def load(self, origin: str) -> Cursor:
        """As the row has it."""
        with Connection(self._place) as connection:
            found = connection.value(_LOAD, *self._key)
        return Cursor(origin) if found is None else read_cursor(bytes(found), f"export {self._key[1]} of {origin}")

    def save(self, cursor: Cursor) -> None:
        """In place of the row. One that a crash of the server takes back repeats what was sent since."""
        with Connection(self._place) as connection:
            connection.execute(_SAVE, *self._key, cursor_bytes(cursor))
