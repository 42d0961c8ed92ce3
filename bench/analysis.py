"""What reading a statement costs: cold (parse, walk, plan) and from the cache, per statement;
"alike" is a text that differs from earlier ones in a literal.

Run: `python -m bench.analysis`. Prints a table and, with `--json`, one JSON object for `make bench`.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count

from lockgate.analysis.sql import Analyzer, Catalogue, SessionNames
from lockgate.model import ColumnMask, MaskMethod

STATEMENTS = {
    "point select (pgbench)": "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
    "masked point select": "SELECT id, name, ssn FROM customers WHERE id = $1",
    "ORM join": (
        "SELECT c.id, c.name, count(o.id) AS orders FROM customers AS c LEFT JOIN orders AS o ON o.customer_id = c.id"
        " WHERE c.region = 'north' AND o.total > 5 AND o.placed >= '2026-01-01' GROUP BY c.id, c.name"
        " HAVING count(o.id) > 1 ORDER BY orders DESC LIMIT 10"),
    "update": "UPDATE customers SET name = $1, region = $2 WHERE id = $3 RETURNING id",
    "CTE and window": (
        "WITH recent AS (SELECT customer_id, total, row_number() OVER (PARTITION BY customer_id ORDER BY placed DESC)"
        " AS place FROM orders WHERE placed > now() - interval '30 days'), best AS (SELECT * FROM recent WHERE place = 1)"
        " SELECT c.name, b.total FROM customers c JOIN best b ON b.customer_id = c.id WHERE c.region IN ('north', 'south')"),
}
MASKS = (ColumnMask(("*.ssn",), MaskMethod.REDACT),)


def catalogue() -> Catalogue:
    """Two tables, as `Catalogue.QUERIES` would give them."""
    tables = {
        "customers": ["id", "name", "ssn", "region"], "orders": ["id", "customer_id", "total", "placed"],
        "pgbench_accounts": ["aid", "bid", "abalance", "filler"],
    }
    relations, columns = [], []
    for oid, (name, names) in enumerate(tables.items(), 16_500):
        relations.append((str(oid), "public", name, "r", None, "false"))
        columns += [(str(oid), str(number), column, "text", "text", "b", None, "text")
                    for number, column in enumerate(names, 1)]
    empty: list[tuple[str | None, ...]] = []
    return Catalogue.from_rows({"relations": relations, "columns": columns, "inherits": empty, "functions": empty,
                                "operators": empty, "casts": empty}, 1, "bench")


def best(run: Callable[[], object], times: int) -> float:
    """Seconds of one call, the best of five rounds."""
    rounds = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(times):
            run()
        rounds.append((time.perf_counter() - started) / times)
    return min(rounds)


def measure() -> dict[str, dict[str, float]]:
    """Microseconds per statement."""
    known, session = catalogue(), SessionNames()
    results = {}
    for name, text in STATEMENTS.items():
        def cold(text: str = text) -> object:
            fresh = Analyzer()
            return fresh.mask(fresh.statement(text), MASKS, known, session)

        def facts(text: str = text) -> object:
            return Analyzer().statement(text)

        warm = Analyzer()

        def cached(text: str = text, warm: Analyzer = warm) -> object:
            return warm.mask(warm.statement(text), MASKS, known, session)

        numbers = count(100_000)

        def alike(text: str = text, warm: Analyzer = warm, numbers: Iterator[int] = numbers) -> object:
            return warm.mask(warm.statement(re.sub(r"\b(4711|5|30)\b", str(next(numbers)), text)), MASKS, known, session)

        results[name] = {"bytes": float(len(text)), "facts": best(facts, 200) * 1e6, "cold": best(cold, 200) * 1e6,
                         "cached": best(cached, 5_000) * 1e6, "alike": best(alike, 1_000) * 1e6}
    return results


def main() -> None:
    results = measure()
    if "--json" in sys.argv:
        print(json.dumps({"analysis_microseconds": results}))
        return
    print(f"{'statement':28} {'bytes':>6} {'facts µs':>9} {'cold µs':>9} {'alike µs':>9} {'cached µs':>9}")
    for name, row in results.items():
        print(f"{name:28} {row['bytes']:6.0f} {row['facts']:9.1f} {row['cold']:9.1f} {row['alike']:9.1f} {row['cached']:9.2f}")


if __name__ == "__main__":
    main()
