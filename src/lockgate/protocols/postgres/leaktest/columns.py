"""A ground that is somebody's own: labelled columns of a real database, which are only read.

Apart from `scratch` because nothing is made and nothing is read directly: who tests says which values stand there.
Only shapes that read are fired, each inside a READ ONLY transaction that is rolled back. Names go into statements as
quoted identifiers; the condition is SQL of who runs the test, as the statements are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockgate.errors import ConfigError
from lockgate.protocols.postgres.leaktest.corpus import Template, benign_templates, filled, templates
from lockgate.wire.leaktest import Canary, Ground, Shape, Shot

_LEAST: Final = 6
_MOST: Final = 1_000


def columns(names: Sequence[str], values: Sequence[str], condition: str) -> Ground:
    """The ground for these columns. Raises `ConfigError` for a name or value that is no use."""
    for value in values:
        if len(value) < _LEAST:
            raise ConfigError(f"a canary has {len(value)} characters, and at least {_LEAST} are needed",
                              advice="A shorter value comes back by chance. Take longer ones.")
    if not values:
        raise ConfigError("there is no canary", advice="Give a file with values of the columns, one a line.")
    if len(values) > _MOST:
        raise ConfigError(f"there are more than {_MOST} canaries", advice="A few that certainly stand there are enough.")
    found = [_names(name) for name in names]
    only = f" WHERE {condition}" if condition else ""
    reading = [template for template in templates() if template.is_only_read]
    shapes = tuple(shape for relation, column in found for shape in _shapes(reading, relation, column, only, values[0]))
    relation, column = found[0]
    benign = tuple(_shapes([entry for entry in benign_templates() if not _needs_scratch(entry)], relation, column, only,
                           values[0]))
    return Ground(
        canaries=tuple(Canary(f"line {number}", value) for number, value in enumerate(values, 1)), shapes=shapes,
        benign=benign, opening=(), is_read_only=True,
        probes={name: Shot((f"SELECT {column} FROM {relation}{only}",))  # noqa: S608 - quoted names
                for name, (relation, column) in zip(names, found, strict=True)},
    )


def _shapes(entries: Sequence[Template], relation: str, column: str, only: str, value: str) -> list[Shape]:
    holes = {"rel": relation, "col": column, "only": only}
    return [shape for entry in entries if (shape := filled(entry, holes, value.replace("'", "''"))) is not None]


def _needs_scratch(entry: Template) -> bool:
    return entry.writes or entry.bare or "schema" in entry.holes or any("lk_" in text for text in entry.statements)


def _names(name: str) -> tuple[str, str]:
    """(relation, column) as quoted identifiers, of ``schema.relation.column``."""
    parts = name.split(".")
    if len(parts) != 3 or not all(parts) or "\0" in name:
        raise ConfigError(f"{name} is not a column", advice="Write it as schema.table.column.")
    schema, relation, column = ('"' + part.replace('"', '""') + '"' for part in parts)
    return f"{schema}.{relation}", column
