"""Statements of Debian's `sqlsmith`: random ones over a schema that it reads for itself.

Left alone, most of what it writes is refused or fails at once: it calls every function of the catalogue
and casts NULL to types that take none. So it reads a database made for it, in whose catalogue everything
but immutable functions and operators over ordinary types has been put out of its sight. What it writes is
not run there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

import psycopg

from testbed.noninterference.databases import Databases
from testbed.noninterference.statements import Statement

_TYPES: Final = """
'bool', 'int2', 'int4', 'int8', 'numeric', 'float4', 'float8', 'text', 'varchar', 'bpchar', 'bytea', 'date', 'time',
'timestamp', 'timestamptz', 'interval', 'uuid', 'jsonb', 'inet', 'int4range', '_text', '_int4'
"""
_OWN: Final = "'format', 'quote_ident', 'version', 'unnest'"
"""What sqlsmith calls by name to read the schema."""

# Functions are looked up by OID once a statement is parsed: a name that sqlsmith skips hides one from it
# and from nothing else. An operator without a result is a shell to it.
_STEER: Final = f"""
set allow_system_table_mods = on;
create temp table ordinary as select oid from pg_type where typname in ({_TYPES})
    and typnamespace = 'pg_catalog'::regnamespace;
create temp table needed as select oid from pg_type where typname in ('name', 'oid', 'char', 'regtype', 'regnamespace');
update pg_proc set proname = 'ri_fkey_' || oid where proname not in ({_OWN}) and not (
    provolatile = 'i' and prokind in ('f', 'a') and not proretset and provariadic = 0
    and prorettype in (select oid from ordinary)
    and not exists (select from unnest(proargtypes) as argument where argument not in (select oid from ordinary)));
update pg_operator set oprresult = 0 where not (
    oprleft in (select oid from ordinary) and oprright in (select oid from ordinary)
    and oprresult in (select oid from ordinary)
    or oprleft in (select oid from needed) or oprright in (select oid from needed));
"""  # noqa: S608 - constants of this file
_SAMPLE: Final = re.compile(r" tablesample (?:system|bernoulli) \([0-9.]+\)")
_NOISE: Final = re.compile(r"[ \t]*\n\s*")


def is_installed() -> bool:
    return shutil.which("sqlsmith") is not None


class Smith:
    """`sqlsmith` over the schema of `databases`' model."""

    def __init__(self, databases: Databases) -> None:
        self.dsn = databases.copy(f"{databases.model.name}_smith", "one")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(_STEER.encode())

    def statements(self, seed: int, count: int) -> Iterator[Statement]:
        """`count` statements; the same seed gives the same ones as long as sqlsmith and the schema stay."""
        done = subprocess.run(
            ["sqlsmith", f"--target={self.dsn}", "--exclude-catalog", "--dry-run",
             f"--max-queries={count}", f"--seed={seed}"],
            capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(f"sqlsmith ended with {done.returncode}: {done.stderr[-2000:]}")
        for number, text in enumerate(re.split(r";\n", done.stdout)):
            if text.strip():
                yield Statement(_settled(text, number), f"sqlsmith {seed}/{number}")


def _settled(text: str, number: int) -> str:
    """On one line, and with samples that can be repeated: without, the sample of a small table is mostly empty."""
    text = _NOISE.sub(" ", text.strip())
    return _SAMPLE.sub(" tablesample bernoulli (70) repeatable (1)" if number % 25 == 0 else "", text)
