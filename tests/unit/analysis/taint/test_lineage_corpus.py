"""Independent cases: what another implementation says of the source columns of each result column.

Their expectations are theirs and no proof; what counts is that none of our answers misses a source that a
statement has. Wherever the answers differ, `lineage-deviations.json` says why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lockgate.analysis.sql.labels import labels_for
from lockgate.analysis.sql.reading import Reader
from tests.unit.analysis.database import Database
from tests.unit.analysis.taint.world import World, parsed

DATA = Path(__file__).parents[3] / "data"


def cases() -> list[dict[str, Any]]:
    lines = (DATA / "lineage-postgres.jsonl").read_text().splitlines()
    return [case for case in map(json.loads, lines) if not case.get("_meta")]


def deviations() -> dict[str, dict[str, str]]:
    return {entry["case"]: entry for entry in json.loads((DATA / "lineage-deviations.json").read_text())["deviations"]}


def world_of(case: dict[str, Any]) -> World:
    """The case's own schema with every column labelled."""
    database = Database()
    for schema in case["schema"]["schemas"]:
        for table in schema.get("tables", ()):
            columns = " ".join(column["name"] for column in table["columns"])
            database.relation(table["name"], columns, schema=schema["name"])
            for function in table.get("functions", schema.get("functions", ())):
                database.function(function["name"], pure=False, schema=schema["name"])
        for function in schema.get("functions", ()):
            database.function(function["name"], pure=False, schema=schema["name"])
    if "information_schema" in case["sql"]:
        database.relation("tables", "", "v", schema="information_schema")
    catalogue = database.catalogue()
    labelled = tuple(f"{relation.schema}.{relation.name}.{column.name}"
                     for relation in catalogue.relations for column in relation.columns)
    return World(catalogue, labelled)


def verdict(case: dict[str, Any]) -> str:
    """exact, conservative (more sources, or refused before it comes to that) or wrong (a source is missed)."""
    world = world_of(case)
    tree = parsed(case["sql"])
    reader = Reader()
    reader.walk(tree, next(iter(tree)))
    if "SelectStmt" in tree and labels_for((), world.catalogue).verdicts.obstacle(
            reader.reading) is not None:
        return "conservative"                   # refused before: what the function reads is not looked into here
    taint = world.taint(case["sql"])
    if taint.is_top:
        return "conservative"
    expected = [{".".join(source) for source in result["src"]} for result in case["results"]]
    if taint.outputs is None:
        found = {world.names[source] for source in taint.data}
        everything = set().union(*expected)
        return "wrong" if everything - found else "exact" if everything == found else "conservative"
    outputs = [{world.names[source] for source in output.sources} for output in taint.outputs]
    if len(outputs) != len(expected):
        return "width"
    if any(theirs - ours for ours, theirs in zip(outputs, expected, strict=True)):
        return "wrong"
    return "exact" if outputs == expected else "conservative"


@pytest.mark.parametrize("number", range(len(cases())))
def test_no_source_is_missed(number: int) -> None:
    """Each case is answered exactly, or its deviation is known with the reason for it."""
    case = cases()[number]
    known = deviations().get(case["sql"])
    assert verdict(case) == ("exact" if known is None else known["verdict"])


def test_the_known_deviations_are_all_there_is() -> None:
    """A deviation is explained, belongs to a case, and is none that leaks."""
    known = deviations()
    assert set(known) <= {case["sql"] for case in cases()}
    assert {entry["verdict"] for entry in known.values()} <= {"conservative", "wrong", "width"}
    for entry in known.values():
        assert len(entry["why"]) > 30
        if entry["verdict"] != "conservative":
            assert entry["theirs_is_wrong"]
