"""What reading a statement costs, over statements that programs send: cold (parse, read, plan the masks), from
the cache, and "alike", which is a text that differs from an earlier one in its literals.

The statements are those of `tests/data/benign.json` (psql, pg_dump, pgbench, drivers, SQLAlchemy) and more below
that are written like TPC-H's and like an ORM's, all under 500 bytes; the catalogue has 270 relations, ten labels
hide 14 columns of them. Run: `python -m bench.analysis`. With `--json` it prints one JSON object.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from lockgate.analysis.sql import Analyzer, Catalogue, NotUnderstood, SessionNames
from lockgate.model import ColumnMask, MaskMethod, Predicates, Refusal

LONGEST = 500
RELATIONS = 270
ROUNDS = 5

WRITTEN = {
    "TPC-H": [
        ("select l_returnflag, l_linestatus, sum(l_quantity) as sum_qty, sum(l_extendedprice) as sum_base_price, avg(l_discount) as"
        " avg_disc, count(*) as count_order from lineitem where l_shipdate <= date '1998-12-01' - interval '90' day"
        " group by l_returnflag, l_linestatus order by l_returnflag, l_linestatus"),
        ("select l_orderkey, sum(l_extendedprice * (1 - l_discount)) as revenue, o_orderdate, o_shippriority from customer, orders,"
        " lineitem where c_mktsegment = 'BUILDING' and c_custkey = o_custkey and l_orderkey = o_orderkey and o_orderdate <"
        " date '1995-03-15' group by l_orderkey, o_orderdate, o_shippriority order by revenue desc, o_orderdate limit 10"),
        ("select o_orderpriority, count(*) as order_count from orders where o_orderdate >= date '1993-07-01' and o_orderdate <"
        " date '1993-07-01' + interval '3' month and exists (select * from lineitem where l_orderkey = o_orderkey and l_commitdate"
        " < l_receiptdate) group by o_orderpriority order by o_orderpriority"),
        ("select sum(l_extendedprice * l_discount) as revenue from lineitem where l_shipdate >= date '1994-01-01' and l_shipdate <"
        " date '1994-01-01' + interval '1' year and l_discount between 0.06 - 0.01 and 0.06 + 0.01 and l_quantity < 24"),
        ("select c_count, count(*) as custdist from (select c_custkey, count(o_orderkey) from customer left outer join orders on"
        " c_custkey = o_custkey and o_comment not like '%special%requests%' group by c_custkey) as c_orders (c_custkey, c_count)"
        " group by c_count order by custdist desc, c_count desc"),
        ("select 100.00 * sum(case when p_type like 'PROMO%' then l_extendedprice * (1 - l_discount) else 0 end) /"
        " sum(l_extendedprice * (1 - l_discount)) as promo_revenue from lineitem, part where l_partkey = p_partkey and l_shipdate"
        " >= date '1995-09-01' and l_shipdate < date '1995-09-01' + interval '1' month"),
        ("select c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity) from customer, orders, lineitem where"
        " o_orderkey in (select l_orderkey from lineitem group by l_orderkey having sum(l_quantity) > 300) and c_custkey ="
        " o_custkey and o_orderkey = l_orderkey group by c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice limit 100"),
        ("select s_name, s_address from supplier, nation where s_suppkey in (select ps_suppkey from partsupp where ps_partkey in"
        " (select p_partkey from part where p_name like 'forest%') and ps_availqty > 100) and s_nationkey = n_nationkey and"
        " n_name = 'CANADA' order by s_name"),
    ],
    "ORM": [
        ('SELECT "customers"."id", "customers"."name", "customers"."email", "customers"."phone", "customers"."region",'
        ' "customers"."created" FROM "customers" WHERE "customers"."region" = $1 ORDER BY "customers"."id" ASC LIMIT 21'),
        ("SELECT customers.id AS customers_id, customers.name AS customers_name, customers.ssn AS customers_ssn FROM customers"
        " WHERE customers.id = $1::INTEGER"),
        ("SELECT c.id, c.name, count(o.id) AS orders FROM customers AS c LEFT JOIN shop_orders AS o ON o.customer_id = c.id WHERE"
        " c.region = 'north' AND o.total > 5 AND o.placed >= '2026-01-01' GROUP BY c.id, c.name HAVING count(o.id) > 1 ORDER BY"
        " orders DESC LIMIT 10"),
        ('SELECT COUNT(*) AS "__count" FROM "shop_orders" INNER JOIN "customers" ON ("shop_orders"."customer_id" ='
        ' "customers"."id") WHERE ("customers"."region" IN ($1, $2, $3) AND NOT ("shop_orders"."total" < $4))'),
        "INSERT INTO shop_orders (customer_id, total, placed) VALUES ($1::INTEGER, $2::NUMERIC, $3::DATE) RETURNING shop_orders.id",
        "UPDATE shop_orders SET total=$1::NUMERIC WHERE shop_orders.id = $2::INTEGER",
        'DELETE FROM "shop_orders" WHERE "shop_orders"."id" IN ($1, $2, $3)',
        ("SELECT anon_1.customers_id, anon_1.customers_name, shop_orders_1.id AS shop_orders_1_id, shop_orders_1.total AS"
        " shop_orders_1_total FROM (SELECT customers.id AS customers_id, customers.name AS customers_name FROM customers LIMIT"
        " $1::INTEGER) AS anon_1 LEFT OUTER JOIN shop_orders AS shop_orders_1 ON anon_1.customers_id = shop_orders_1.customer_id"),
        ("WITH recent AS (SELECT customer_id, total, row_number() OVER (PARTITION BY customer_id ORDER BY placed DESC) AS place FROM"
        " shop_orders WHERE placed > now() - interval '30 days') SELECT c.name, c.email, r.total FROM customers c JOIN recent r ON"
        " r.customer_id = c.id WHERE r.place = 1 AND c.region IN ('north', 'south')"),
        "SAVEPOINT sa_savepoint_1", "BEGIN", "COMMIT", "SELECT 1", "SET search_path TO public", "SHOW transaction isolation level",
    ],
}
TABLES = {
    "customers": "id name ssn email phone region created card birth", "shop_orders": "id customer_id total placed note",
    "lineitem": "l_orderkey l_partkey l_suppkey l_linenumber l_quantity l_extendedprice l_discount l_tax l_returnflag l_linestatus"
                " l_shipdate l_commitdate l_receiptdate l_shipinstruct l_shipmode l_comment",
    "orders": "o_orderkey o_custkey o_orderstatus o_totalprice o_orderdate o_orderpriority o_clerk o_shippriority o_comment",
    "customer": "c_custkey c_name c_address c_nationkey c_phone c_acctbal c_mktsegment c_comment",
    "part": "p_partkey p_name p_mfgr p_brand p_type p_size p_container p_retailprice p_comment",
    "supplier": "s_suppkey s_name s_address s_nationkey s_phone s_acctbal s_comment",
    "partsupp": "ps_partkey ps_suppkey ps_availqty ps_supplycost ps_comment", "nation": "n_nationkey n_name n_regionkey n_comment",
    "pgbench_accounts": "aid bid abalance filler", "pgbench_branches": "bid bbalance filler",
    "pgbench_tellers": "tid bid tbalance filler", "pgbench_history": "tid bid aid delta mtime filler",
}
LABELS = ("*.ssn", "customers.email", "customers.phone", "customers.card", "customers.birth", "customer.c_phone",
          "customer.c_acctbal", "supplier.s_phone", "filler*.c1", "pgbench_accounts.filler")
MASKS = tuple(ColumnMask((glob,), MaskMethod.REDACT, Predicates.MASKED, label=glob) for glob in LABELS)


def corpus() -> dict[str, list[str]]:
    """Source → its different statements under 500 bytes that can be read."""
    found = {name: list(texts) for name, texts in WRITTEN.items()}
    path = Path(__file__).parent.parent / "tests" / "data" / "benign.json"
    for source, text in json.loads(path.read_text())["statements"]:
        found.setdefault(source, []).append(text)
    analyzer = Analyzer()
    kept: dict[str, list[str]] = {}
    for source, texts in found.items():
        for text in dict.fromkeys(texts):
            try:
                if len(text) < LONGEST and analyzer.statement(text).count:
                    kept.setdefault(source, []).append(text)
            except NotUnderstood:
                continue
    return kept


def catalogue(texts: list[str]) -> Catalogue:
    """The tables above, whatever else the statements name, and fillers, as `Catalogue.QUERIES` would give them."""
    tables = {("public", name): columns.split() for name, columns in TABLES.items()}
    analyzer = Analyzer()
    for text in texts:
        reading = analyzer.statement(text).reading
        for use in () if reading is None else reading.uses:
            is_system = use.schema == "pg_catalog" or (use.schema is None and use.name.startswith("pg_") and "pgbench" not in use.name)
            schema = "pg_catalog" if is_system else use.schema or "public"
            tables.setdefault((schema, use.name), [] if schema in ("pg_catalog", "information_schema") else ["id", "name"])
    number = count()
    while len(tables) < RELATIONS:
        tables["public", f"filler{next(number)}"] = [f"c{column}" for column in range(12)]
    relations, columns = [], []
    for oid, ((schema, name), names) in enumerate(tables.items(), 16_500):
        relations.append((str(oid), schema, name, "r", None, "false"))
        columns += [(str(oid), str(number), column, "text", "text", "b", None, "text")
                    for number, column in enumerate(names, 1)]
    empty: list[tuple[str | None, ...]] = []
    return Catalogue.from_rows({"relations": relations, "columns": columns, "inherits": empty, "functions": empty,
                                "operators": empty, "casts": empty}, 1, "bench")


def timed(run: Callable[[], object]) -> float:
    """Microseconds of one call."""
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1e6


class Bench:
    """Measures single texts: each figure is the best of `ROUNDS`, so that the machine's noise stays out."""

    def __init__(self, known: Catalogue) -> None:
        self._known = known
        self._session = SessionNames()

    def mask(self, analyzer: Analyzer, text: str) -> object:
        return analyzer.mask(analyzer.statement(text), MASKS, self._known, self._session)

    def of(self, text: str) -> dict[str, float]:
        cold, facts, alike = [], [], []
        for _ in range(ROUNDS):
            fresh, other = Analyzer(), Analyzer()
            cold.append(timed(lambda fresh=fresh: self.mask(fresh, text)))  # type: ignore[misc]
            facts.append(timed(lambda other=other: other.statement(text)))  # type: ignore[misc]
        warm = Analyzer()
        self.mask(warm, text)
        cached = [timed(lambda: self.mask(warm, text)) for _ in range(4 * ROUNDS)]
        for number in range(2 * ROUNDS):
            like = re.sub(r"(?<=[ =(])[0-9]+\b(?!')", str(1_000 + number), text)
            alike.append(timed(lambda like=like: self.mask(warm, like)))  # type: ignore[misc]
        return {"cold": min(cold), "facts": min(facts), "alike": min(alike), "cached": min(cached)}


def measure() -> dict[str, dict[str, float]]:
    """Source → number of statements, and medians in microseconds; the last row is over all of them."""
    texts = corpus()
    whole = [text for group in texts.values() for text in group]
    bench = Bench(catalogue(whole))
    for text in whole[:40]:
        bench.of(text)              # labels, taint and projections are computed once per catalogue
    found = {source: [bench.of(text) for text in group] for source, group in texts.items()}
    found["all"] = [row for rows in list(found.values()) for row in rows]
    refused = sum(isinstance(bench.mask(Analyzer(), text), Refusal) for text in whole)
    results = {}
    for source, rows in found.items():
        cold = sorted(row["cold"] for row in rows)
        results[source] = {
            "statements": float(len(rows)), "cold": statistics.median(cold), "cold_p95": cold[int(len(cold) * 0.95)],
            **{name: statistics.median(row[name] for row in rows) for name in ("facts", "alike", "cached")}}
    results["all"]["refused"] = float(refused)
    return results


def main() -> None:
    results = measure()
    if "--json" in sys.argv:
        print(json.dumps({"analysis_microseconds": results}))
        return
    print(f"medians in µs over {RELATIONS} relations and {len(MASKS)} labels; aims: cold at most 300, cached at most 5")
    print(f"{'':12} {'number':>7} {'cold':>8} {'(p95)':>8} {'facts':>8} {'alike':>8} {'cached':>8}")
    for name, row in results.items():
        print(f"{name:12} {row['statements']:7.0f} {row['cold']:8.1f} {row['cold_p95']:8.1f} {row['facts']:8.1f} {row['alike']:8.1f}"
              f" {row['cached']:8.2f}")
    print(f"refused by the masks: {results['all']['refused']:.0f}")


if __name__ == "__main__":
    main()
