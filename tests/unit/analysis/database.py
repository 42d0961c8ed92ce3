"""A small catalogue without a server, in the form that `Catalogue.QUERIES` gives."""

from __future__ import annotations

from lockgate.analysis.sql import Analyzer, Catalogue, Masked, SessionNames
from lockgate.model import ColumnMask, MaskMethod, Predicates, Refusal

Cell = str | None


class Database:
    """Collects relations; `catalogue()` makes the snapshot."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[Cell, ...]]] = {
            name: [] for name in ("relations", "columns", "inherits", "functions", "operators", "casts", "partitions")}
        self.oid = 16_400

    def relation(self, name: str, columns: str, kind: str = "r", definition: str | None = None,
                 schema: str = "p", generated: dict[str, str] | None = None, rules: bool = False) -> int:
        """`columns` are names, each with an optional `:type` (text)."""
        self.oid += 1
        self.rows["relations"].append((str(self.oid), schema, name, kind, definition, "true" if rules else "false"))
        for number, word in enumerate(columns.split(), 1):
            column, _, base = word.partition(":")
            base = base or "text"
            self.rows["columns"].append((str(self.oid), str(number), column, base, base, "b",
                                         (generated or {}).get(column), base))
        return self.oid

    def inherit(self, child: int, parent: int) -> None:
        self.rows["inherits"].append((str(child), str(parent)))

    def partition_key(self, oid: int, *numbers: int) -> None:
        """The attributes by which a partitioned table is split; 0 is an expression."""
        self.rows["partitions"] += [(str(oid), str(number)) for number in numbers]

    def function(self, name: str, pure: bool, schema: str = "p", takes_row: bool = False) -> None:
        self.rows["functions"].append((schema, name, str(pure).lower(), str(takes_row).lower()))

    def routine(self, name: str, arguments: str = "", returns: str = "int", body: str = "", language: str = "sql", *,
                schema: str = "p", least: int = 0, most: int | None = None, kind: str = "f", takes_row: bool = False,
                definition: str | None = None) -> None:
        """A function with its definition, as the server prints it."""
        self.oid += 1
        if definition is None:
            definition = (f"CREATE OR REPLACE FUNCTION {schema}.{name}({arguments}) RETURNS {returns} LANGUAGE {language}"
                          f" AS $function$ {body} $function$")
        self.rows["functions"].append((schema, name, "false", str(takes_row).lower(), str(self.oid), kind, language, str(least),
                                       None if most is None else str(most), definition,
                                       str(returns.lower().startswith(("setof", "table"))).lower()))

    def trigger(self, relation: str, function: str, type: int = 17, when: str | None = None, schema: str = "p",
                arguments: tuple[str, ...] = (), tables: tuple[str | None, str | None] = (None, None)) -> None:
        """A trigger by the bits of `pg_trigger.tgtype`; the default is AFTER UPDATE FOR EACH ROW. `tables` are
        the names of its old and new rows."""
        oid = next(row[0] for row in self.rows["relations"] if row[2] == relation)
        self.rows.setdefault("triggers", []).append(
            (oid, schema, function, str(type), "".join(f"{one}\\000" for one in arguments), when, *tables))

    def wire(self, kind: str, expression: str, relation: str | None = None, number: int = 0, type_name: str = "") -> None:
        """An expression that runs unseen: a default, check, index, policy, domain or event trigger."""
        oid = next((row[0] for row in self.rows["relations"] if row[2] == relation), "0")
        self.rows.setdefault("wired", []).append((kind, oid, str(number), type_name, expression))

    def catalogue(self, version: int = 1) -> Catalogue:
        return Catalogue.from_rows(self.rows, version, f"f{version}")


def standard() -> Database:
    """A protected table, an open one, views, a system relation."""
    database = Database()
    database.relation("t", "id:int4 name ssn")
    database.relation("u", "id:int4 note")
    database.relation("v", "id:int4 s", "v", " SELECT t.id, t.ssn AS s FROM p.t;")
    database.relation("pg_class", "", schema="pg_catalog")
    database.relation("pg_stats", "", "v", schema="pg_catalog")
    return database


MASKS = (ColumnMask(("*.ssn",), MaskMethod.REDACT, Predicates.MASKED),)


def plan(text: str, database: Database | None = None, masks: tuple[ColumnMask, ...] = MASKS,
         session: SessionNames | None = None) -> Masked | Refusal:
    """What becomes of a statement."""
    analyzer = Analyzer()
    return analyzer.mask(analyzer.statement(text), masks, (database or standard()).catalogue(),
                         session or SessionNames())


def text_of(planned: Masked | Refusal) -> str:
    """The text to forward; fails on a refusal."""
    assert isinstance(planned, Masked), planned
    return planned.text
