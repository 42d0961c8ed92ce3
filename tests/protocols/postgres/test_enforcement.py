"""The enforcement table says how limits and estimates are held."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.model import (
    ColumnMask,
    KeyScope,
    MaskMethod,
    Predicates,
    Rate,
    RequestAction,
    RequestCheck,
    RowLimits,
    Rule,
)
from lockgate.protocols.postgres.enforcement import enforce
from lockgate.wire.spec import Enforcement
from tests.unit.analysis.database import Database


def test_every_bound_has_a_row() -> None:
    """Each says what is counted; none is silently left out."""
    found = enforce("crm", None, [Rule("r", limits=RowLimits(1, 2, 3), when="op.x")], None)
    assert {row.control for row in found} == {"limit rows 1", "limit task_rows 2", "limit changed 3"}
    assert all(row.problem is None and row.how.endswith("where op.x") for row in found)


def test_bounds_of_http_stop_the_connection() -> None:
    """Requests and bytes are not counted here, and nobody should believe that they were."""
    found = enforce("crm", None, [Rule("r", limits=RowLimits(bytes=1, rates=(Rate(1, 1),)))], None)
    assert {row.control for row in found} == {"limit requests", "limit bytes"}
    assert all(row.problem is not None for row in found)


def test_a_rule_that_makes_the_gateway_ask_says_so() -> None:
    """A question to the backend that nobody sent is no surprise."""
    for when in ("op.estimated_rows > 5", 'op["estimated_cost"] > 5.0'):
        assert "estimate" in {row.control for row in enforce("crm", None, [Rule("r", deny="no", when=when)], None)}
    assert [row.control for row in enforce("crm", None, [Rule("r", deny="no", when="op.tables == []")], None)] == ["deny"]


def database() -> Any:
    found = Database()
    found.relation("customers", "id:int4 email ssn born:date score:numeric ok:bool tags:_text doc:jsonb")
    found.rows["columns"].append((str(found.oid), "9", "mood", "mood", None, "e", None, "mood"))
    return found.catalogue()


def row_of(mask: ColumnMask) -> Enforcement:
    (row,) = enforce("crm", None, [Rule("r", masks=(mask,))], database())
    assert row.problem is None
    return row


@pytest.mark.parametrize(("mask", "how"), [
    (ColumnMask(("*.ssn",), MaskMethod.REDACT),
     "redact, spliced at the source into every read; conditions: refused: p.customers.ssn"),
    (ColumnMask(("*.ssn",), MaskMethod.PARTIAL, Predicates.MASKED),
     "partial, spliced at the source into every read; conditions: on the masks: p.customers.ssn"),
    (ColumnMask(("*.ssn",), MaskMethod.TOKEN, Predicates.EQUALITY, lookups=60),
     ("token, one key for each task, put on the result where the column is only shown, else redacted at the source; "
     "conditions: equality with constants on the real value, 60 an hour, and then the result is masked: p.customers.ssn")),
    (ColumnMask(("*.born",), MaskMethod.DATE_SHIFT, Predicates.ALLOW, scope=KeyScope.CONNECTION),
     ("date_shift, one key for each connection, put on the result where the column is only shown, else redacted at the "
     "source; conditions: on the real value, and then the result is masked: p.customers.born")),
    (ColumnMask(("*.doc",), MaskMethod.REDACT, paths=("$.a", "$.b")),
     ("redact of $.a, $.b, put on the result where the column is only shown, else hidden at the source; conditions: "
     "refused: p.customers.doc")),
])
def test_a_mask_says_what_is_shown_and_how_it_is_held(mask: ColumnMask, how: str) -> None:
    """The kind of mask, its key and what conditions may do are in its row."""
    assert row_of(mask).how == how


@pytest.mark.parametrize(("column", "method", "note"), [
    ("email", MaskMethod.DATE_SHIFT, " (date_shift does not fit text: redacted)"),
    ("born", MaskMethod.DATE_SHIFT, ""), ("born", MaskMethod.FPE, " (fpe does not fit date: redacted)"),
    ("ok", MaskMethod.HASH, " (hash does not fit bool: redacted)"), ("id", MaskMethod.HASH, ""),
    ("score", MaskMethod.FAKE, " (fake does not fit numeric: redacted)"), ("tags", MaskMethod.FAKE, ""),
    ("tags", MaskMethod.PARTIAL, " (partial does not fit _text: redacted)"),
    ("mood", MaskMethod.HASH, " (hash does not fit mood: NULL)"), ("mood", MaskMethod.NULL, ""),
    ("mood", MaskMethod.REDACT, " (no constant fits mood: NULL)"),
])
def test_a_mask_that_does_not_fit_the_type_is_said(column: str, method: MaskMethod, note: str) -> None:
    """What the value masks cannot work on is redacted; whoever reads the table knows it before the agent does."""
    assert row_of(ColumnMask((f"customers.{column}",), method)).how.endswith(f": p.customers.{column}{note}")


def test_a_column_that_does_not_fit_is_shown_among_many() -> None:
    """Of a long list the first few are shown; one that is redacted must not be behind them."""
    how = row_of(ColumnMask(("customers.*",), MaskMethod.FPE)).how
    assert how.count("does not fit") == 4
    assert how.endswith(" and 4 more")


def test_paths_are_for_json() -> None:
    """Of another type there are no parts."""
    assert row_of(ColumnMask(("*.email",), MaskMethod.REDACT, paths=("$.a",))).how.endswith(
        "p.customers.email (paths do not fit text: hidden as a whole)")


def test_what_agents_send_has_rows() -> None:
    """Each detector with what a find comes to."""
    rule = Rule("r", requests=(RequestCheck(("email", "jwt"), RequestAction.BLOCK), RequestCheck(("iban",), RequestAction.RECORD)))
    found = {row.control: row.how for row in enforce("crm", None, [rule], None)}
    assert set(found) == {"requests email", "requests jwt", "requests iban"}
    assert "refused with 42501" in found["requests jwt"]
    assert "goes on record" in found["requests iban"]


@pytest.mark.parametrize(("when", "doubt"), [
    ('"p.custmers" in op.tables', "there is no relation p.custmers; write `p.customers`"),
    ('op.columns.exists(c, c == "p.customers.snn")', "there is no column p.customers.snn; write `p.customers.ssn`"),
    ('"p.customers" in op.tables && "pg_catalog.pg_class" in op.tables', None), ('"p.nowhere" in op.relations', None),
])
def test_a_name_that_the_database_does_not_have_is_doubted(when: str, doubt: str | None) -> None:
    """A rule on a misspelt relation is never met; it may be made later, so it is no error."""
    rows = enforce("crm", None, [Rule("r", deny="no", when=when)], database())
    assert [row.doubt for row in rows if row.doubt] == ([] if doubt is None else [doubt])
    assert all(row.problem is None for row in rows)
