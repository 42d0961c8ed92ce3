"""Writes `src/lockgate/analysis/sql/builtin_names.py` from the `pg_proc` of real servers.

    python -m tests.data.builtin_functions dsn [dsn …]

A name's class is the weakest of all its overloads on all servers given (volatile < stable < immutable).
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import psycopg

QUERY = """
select proname::text, provolatile::text from pg_catalog.pg_proc
where pronamespace = 'pg_catalog'::regnamespace and oid < 16384
"""
TARGET = Path(__file__).parents[2] / "src/lockgate/analysis/sql/builtin_names.py"
HEADER = '''"""Names of PostgreSQL's built-in functions by volatility: data, generated from `pg_proc`.

Servers: {servers}. Made by `tests/data/builtin_functions.py`; do not edit. A name whose overloads
differ is in the weakest class. Which of them may be called is decided in `functions`.
"""

from __future__ import annotations

from typing import Final
'''


def classes(dsns: list[str]) -> tuple[list[str], dict[str, str]]:
    """The servers' versions and, for each name, `i`, `s` or `v`."""
    found: dict[str, str] = {}
    versions = []
    for dsn in dsns:
        with psycopg.connect(dsn) as connection:
            versions.append(str(connection.info.server_version // 10_000))
            for name, volatility in connection.execute(QUERY).fetchall():
                found[name] = max(volatility, found.get(name, "i"))
    return versions, found


def main() -> None:
    versions, found = classes(sys.argv[1:])
    parts = [HEADER.format(servers=", ".join(versions))]
    for kind, title in (("i", "IMMUTABLE"), ("s", "STABLE"), ("v", "VOLATILE")):
        names = " ".join(sorted(name for name, volatility in found.items() if volatility == kind))
        lines = "\n".join(textwrap.wrap(names, 108))
        parts.append(f'\n{title}: Final = frozenset("""\n{lines}\n""".split())\n')
    TARGET.write_text("".join(parts))


if __name__ == "__main__":
    main()
