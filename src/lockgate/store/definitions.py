"""Definitions of tools in the database: `wire.spec.Definitions`.

All of them are kept in memory too, because every call of a tool asks: the process owns its database, so nobody else
changes them.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from lockgate.model import Definition
from lockgate.store.database import StoreError
from lockgate.store.tables import definitions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine


class SqlDefinitions:
    """Every write is one short transaction; `StoreError` where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[str, dict[str, Definition]] = {}
        try:
            with engine.begin() as connection:
                rows = connection.execute(select(definitions)).mappings().all()
        except SQLAlchemyError as error:
            raise StoreError(f"the definitions cannot be read: {type(error).__name__}") from None
        for row in rows:
            values = {name: value for name, value in row.items() if name != "connection"}
            self._kept.setdefault(row["connection"], {})[row["name"]] = Definition(**values)

    def of(self, connection: str) -> Mapping[str, Definition]:
        """Those of one connection, by name."""
        return self._kept.get(connection, {})

    def put(self, connection: str, definition: Definition) -> None:
        """Keep this one in the place of the one that has its name."""
        values = {"connection": connection, **asdict(definition)}
        changed = {name: value for name, value in values.items() if name not in ("connection", "name")}
        query = insert(definitions).values(values).on_conflict_do_update(
            index_elements=[definitions.c.connection, definitions.c.name], set_=changed)
        try:
            with self._engine.begin() as one:
                one.execute(query)
        except SQLAlchemyError as error:
            raise StoreError(f"a definition cannot be kept: {type(error).__name__}") from None
        self._kept.setdefault(connection, {})[definition.name] = definition
