"""What is data in a statement, and what decides."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import data_of, literals, settings_of


@pytest.mark.parametrize(("text", "data", "compared"), [
    ("SELECT 'a', upper('b'), $1 FROM t WHERE x = 'c' AND y = $2", ["a", "b", "$1"], ["c", "$2"]),
    ("INSERT INTO t VALUES ('a', $1), ('b' || 'c', f('d'))", ["a", "$1", "b", "c"], []),
    ("INSERT INTO t (x, y) VALUES ('a', 'b') ON CONFLICT (x) DO UPDATE SET y = 'c' WHERE t.y = 'd'", ["b", "c"], ["d"]),
    ("INSERT INTO t VALUES ('a') ON CONFLICT DO NOTHING", [], []),
    ("UPDATE t SET x = 'a', (y, z) = ('b', CASE WHEN q = 'c' THEN 'd' ELSE 'e' END) WHERE z = 'f'", ["a", "b", "d", "e"], ["f"]),
    ("UPDATE t SET x = x + 7, y = (SELECT z FROM u WHERE w = 'a')", [], ["a"]),
    ("SELECT 'a' EXCEPT SELECT x FROM t", [], []), ("SELECT x FROM t UNION SELECT 'a'", ["a"], []),
    ("SELECT x FROM (SELECT 'a' AS x) s LIMIT 5", [], []), ("SELECT $1 FROM t WHERE x = $1", [], []),
    ("WITH w AS (INSERT INTO t VALUES ('a')) SELECT x FROM u JOIN v ON u.y = 'b'", ["a"], ["b"]),
    ("MERGE INTO t USING u ON t.x = 'a' WHEN MATCHED THEN UPDATE SET y = 'b' WHEN NOT MATCHED THEN INSERT VALUES ('c')",
     ["b", "c"], ["a"]),
    ("EXPLAIN SELECT 'a'", ["a"], []), ("EXECUTE p('a')", [], []), ("COMMENT ON TABLE t IS 'a'", [], []),
])
def test_uses(text: str, data: list[str], compared: list[str]) -> None:
    """What is not surely data is not called so; a parameter has to be it wherever it stands."""
    constants, found = literals(text), data_of(text)

    def shown(uses: object) -> list[str]:
        return [constants[index].value for index in sorted(uses.literals)] + [  # type: ignore[attr-defined]
            f"${number}" for number in sorted(uses.parameters)]  # type: ignore[attr-defined]

    assert sorted(shown(found.data)) == sorted(data)
    assert sorted(shown(found.compared)) == sorted(compared)


def test_settings() -> None:
    """Names in quotes are values of SET as well."""
    assert sorted(settings_of("SET a.b = 'x'; SET c.d = \"Y\", z; SELECT 'no'")) == ["Y", "x", "z"]
