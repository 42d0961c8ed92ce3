"""Statements of Debian's `sqlsmith`: random ones over a schema that it reads for itself.

Left alone, most of what it writes is refused or fails at once: it calls every function of the catalogue
and casts NULL to types that take none. So it reads a database made for it, in whose catalogue everything
but immutable functions and operators over ordinary types has been put out of its sight. What it writes is
not run there.
"""

from __future__ import annotations

import itertools
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
update pg_proc set proname = 'ri_fkey_' || oid where proname not in ({_OWN})
    and (pronamespace = 'pg_catalog'::regnamespace or prorettype = 'trigger'::regtype) and not (
    provolatile = 'i' and prokind in ('f', 'a') and not proretset and provariadic = 0
    and prorettype in (select oid from ordinary)
    and not exists (select from unnest(proargtypes) as argument where argument not in (select oid from ordinary)));
update pg_operator set oprresult = 0 where not (
    oprleft in (select oid from ordinary) and oprright in (select oid from ordinary)
    and oprresult in (select oid from ordinary)
    or oprleft in (select oid from needed) or oprright in (select oid from needed));
drop table if exists crm."Mixed Case";
"""
_SAMPLE: Final = re.compile(r" tablesample (?:system|bernoulli) \([0-9.]+\)")
_NULL: Final = re.compile(r'cast\(null as "?(\w+)"?\)')
_CONSTANTS: Final = {
    "bool": ("true", "false"), "int2": ("1", "2", "0"), "int4": ("1", "2", "5", "-1"), "int8": ("2", "40", "0"),
    "numeric": ("1", "99.99", "-5.5"), "float4": ("0.5", "2"), "float8": ("0.25", "-1"), "name": ("ann", "pen"),
    "text": ("ann", "pen", "DE10", "visit", "2"), "varchar": ("bob", "tea"), "bpchar": ("EE", "x"),
    "bytea": ("hello", "\\x00ff"), "date": ("1980-02-03", "2026-01-15"), "time": ("07:00", "12:00"),
    "timestamp": ("2026-01-02 11:30", "2026-02-01"), "timestamptz": ("2026-01-01 00:00+00", "2025-06-01 12:00+00"),
    "interval": ("1 day", "2 hours"), "uuid": ("11111111-1111-1111-1111-111111111111",), "inet": ("10.0.0.1",),
    "jsonb": ('{"age": 40}', "[1, 2]", "7"), "int4range": ("[1,5)", "empty"), "_text": ("{red,blue}", "{}"),
    "_int4": ("{1,2,3}",),
}
"""What is put in place of most of its NULLs: with NULL in every condition, no statement had a row."""

_FALSE: Final = re.compile(r"\bfalse\b")
_OFFSET: Final = re.compile(r"offset (\d+)")
_TOKEN: Final = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|[()]|\s\w+\b|\w+|\s+|.")
_AFTER: Final = frozenset(("limit", "group", "order", "returning", "window", "having"))
_NOISE: Final = re.compile(r"[ \t]*\n\s*")


def is_installed() -> bool:
    return shutil.which("sqlsmith") is not None


class Smith:
    """`sqlsmith` over the schema of `databases`' model."""

    def __init__(self, databases: Databases) -> None:
        self.dsn = databases.copy(f"{databases.model.name}_smith")
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
    """On one line, with conditions that are met, and with samples that can be repeated and are not mostly empty."""
    count = itertools.count(number)

    def constant(found: re.Match[str]) -> str:
        constants, turn = _CONSTANTS.get(found[1], ()), next(count)
        if not constants or turn % 5 == 0:
            return found[0]
        return found[0].replace("null", f"'{constants[turn % len(constants)]}'", 1)

    text = _NULL.sub(constant, _NOISE.sub(" ", text.strip()))
    text = _OFFSET.sub(lambda found: f"offset {int(found[1]) % 4}", text)
    if number % 3:
        text = _lenient(_FALSE.sub("true", text), ") is not false" if number % 3 == 1 else ")::int < 2) is not false")
    return _SAMPLE.sub(" tablesample bernoulli (70) repeatable (1)" if number % 25 == 0 else "", text)


def _lenient(text: str, close: str) -> str:
    """Conditions that let more rows through and are computed all the same: `close` ends what `((` has begun."""
    opened = "(" * close.count(")")
    pieces: list[str] = []
    wheres: list[int] = []          # depths at which a condition was opened
    joins: list[int] = []
    depth, after_on = 0, False
    for token in _TOKEN.findall(text):
        word = token.strip()
        if wheres and wheres[-1] == depth and (token == ")" or word in _AFTER):
            pieces.append(close)
            wheres.pop()
        if after_on and token == "(":
            pieces.append(opened)
            joins.append(depth)
        after_on = word == "on" or (after_on and not word)
        depth += (token == "(") - (token == ")")
        pieces.append(token)
        if joins and joins[-1] == depth and token == ")":
            pieces.append(close)
            joins.pop()
        if word == "where":
            pieces.append(f" {opened}")
            wheres.append(depth)
    return "".join(pieces) + close * len(wheres)
