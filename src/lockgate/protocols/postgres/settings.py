"""The protocol's own keys of a connection (`options` in the configuration)."""

from __future__ import annotations

from pydantic import Field

from lockgate.config.strict import Strict


class PostgresSettings(Strict):
    """What a PostgreSQL connection may say besides address, credential and TLS."""

    database: str | None = Field(
        default=None, min_length=1, max_length=63,
        description="The database on the backend; the connection's name where it is not given.",
    )
    application_name: str = Field(
        default="lockgate", pattern=r"^[A-Za-z0-9_.-]{1,24}$",
        description="Shown in pg_stat_activity in front of the session's id.",
    )
    known_columns: tuple[str, ...] | None = Field(
        default=None, max_length=100_000,
        description="Columns that somebody has classified, as globs over schema.relation.column, for rules with "
                    "`new_columns: mask`. `lockgate columns` prints the list of a database.",
    )


def settings_of(options: object) -> PostgresSettings:
    """A connection's options, whether they were validated before or not."""
    if isinstance(options, PostgresSettings):
        return options
    return PostgresSettings() if options is None else PostgresSettings.model_validate(options)
