"""The two sides differ where they should and nowhere else, or the comparison would prove nothing."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import psycopg
import pytest

from testbed.noninterference.databases import Databases
from testbed.noninterference.models import SIDES

DERIVED = {
    "shapes": {"p.gen.tail", "p.mv.s", "p.mvfun.x", "p.mvjoin.z", "p.mvsub.deep", "p.mvtail.tail"},
    "crm": {"crm.people.tail", "crm.people.worth", "crm.mv_people.ssn", "crm.mv_people.last", "crm.mv_rich.id",
            "crm.mv_rich.name", "crm.mv_levels.level", "crm.mv_levels.many", "crm.mv_many.many", "crm.phones.imei",
            "crm.iban_log.word"},
}
"""Columns that are not named by a mask and differ because they depend on ones that are."""


def masked(databases: Databases, name: str) -> bool:
    """Whether a glob of the model names the column, part by part from the right."""
    parts = [part.strip('"') for part in re.findall(r'"[^"]+"|[^.]+', name)]
    return any(
        all(fnmatchcase(part, pattern) for part, pattern in zip(parts[::-1], glob.split(".")[::-1], strict=False))
        for mask in databases.model.masks for glob in mask.columns)


@pytest.mark.parametrize("name", ["shapes", "crm"])
def test_only_labelled_columns_differ(name: str, models: dict[str, Databases]) -> None:
    """What differs is named by a mask or known to derive from what is."""
    databases = models[name]
    found = {column.name for column in databases.differing.values()}
    assert {column for column in found if not masked(databases, column)} <= DERIVED[name]
    assert len(found) > 15


def test_every_labelled_column_of_the_shop_differs(crm: Databases) -> None:
    """A labelled column that is the same on both sides could be shown without anybody noticing."""
    found = {column.name.replace('"', "").rpartition(".") for column in crm.differing.values()}
    names = {glob.replace("?", " ").split(".")[-1] for mask in crm.model.masks for glob in mask.columns}
    assert names <= {column for _, _, column in found}


def test_the_sides_are_in_step(crm: Databases) -> None:
    """Places of rows, transaction and object ids are the same: they may be compared as they are."""
    query = "select oid::int8, relname::text, relpages, xmin::text from pg_class order by oid"
    rows = "select id, ctid::text, xmin::text from people order by id"
    seen = []
    for side in SIDES:
        crm.restore(side)
        with psycopg.connect(crm.dsn(side)) as connection:
            seen.append((connection.execute(query).fetchall(), connection.execute(rows).fetchall()))
    assert seen[0] == seen[1]
