"""DECLARE sections: row types become records, and a record's default is never overlooked."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql.routines import declarations
from lockgate.analysis.sql.routines.declarations import has_alias, hides_default, with_record, with_records
from tests.steps import lines, matching


@pytest.mark.parametrize("body", [
    "DECLARE r record := f(); BEGIN END", "DECLARE r RECORD=f(); BEGIN END", "DECLARE r record DEFAULT f(); BEGIN END",
    "DECLARE r CONSTANT record := f(); BEGIN END", "DECLARE r record NOT NULL := f(); BEGIN END",
    "DECLARE\n  x int; -- the row\n  r\n record\n\t:= f(); BEGIN END", "DECLARE r /* a /* nested */ b */ record := f(); BEGIN END",
    "DECLARE r -- c\n record := f(); BEGIN END", 'DECLARE "r" record := f(); BEGIN END', "DECLARE R record := f(); BEGIN END",
    "DECLARE r rec := f(); BEGIN END", "DECLARE r r := f(); BEGIN END", "DECLARE r record /* x */ collate \"C\" := f(); BEGIN END",
    'DECLARE U&"\\0072" record := f(); BEGIN END', "BEGIN DECLARE r record := f(); BEGIN END; END",
])
def test_a_default_of_a_record_is_seen_in_every_spelling(body: str) -> None:
    """The parser's tree leaves it out, so a body with one must not be read."""
    if "/* x */" in body:
        assert not hides_default(body, ["r"])       # with a comment there, the parser takes it for a scalar and shows it
    else:
        assert hides_default(body, ["r"])


@pytest.mark.parametrize("body", [
    "DECLARE r record; BEGIN r := 1; END", "DECLARE r record; x text := 'r record'; BEGIN END",
    "DECLARE x int := 1; -- r\n r record; BEGIN r := ROW(1); END", "DECLARE rr record; BEGIN END", "BEGIN FOR r IN SELECT 1 LOOP END LOOP; END",
])
def test_ordinary_records_have_no_default(body: str) -> None:
    """An assignment is no declaration, and a variable's name inside another is another."""
    assert not hides_default(body, ["r"])


@pytest.mark.parametrize(("body", "expected", "gone"), [
    ("DECLARE r t%ROWTYPE; BEGIN END", "DECLARE r record; BEGIN END", {"t"}),
    ('DECLARE r CONSTANT p . "T" % rowtype ; s text; BEGIN END', "DECLARE r CONSTANT record; s text; BEGIN END", {"p", "T"}),
    ("DECLARE r t%ROWTYPE := f(); BEGIN END", "DECLARE r t%ROWTYPE := f(); BEGIN END", set()),
    ("BEGIN x := 'r t%ROWTYPE;'; END", "BEGIN x := 'r t%ROWTYPE;'; END", set()),
    ("BEGIN PERFORM f%rowtype; END", "BEGIN PERFORM f%rowtype; END", set()),
    ("DECLARE a int; BEGIN x := b; perform c%rowtype; END", "DECLARE a int; BEGIN x := b; perform c%rowtype; END", set()),
    ("DECLARE -- r t%ROWTYPE;\n a int; BEGIN END", "DECLARE -- r t%ROWTYPE;\n a int; BEGIN END", set()),
])
def test_row_types_become_records(body: str, expected: str, gone: set[str]) -> None:
    """Only declarations are changed, never a literal, a comment or an expression."""
    assert with_records(body) == (expected, frozenset(gone))


@pytest.mark.parametrize(("body", "expected"), [
    ("DECLARE r p.t; BEGIN r.a := 1; END", "DECLARE r record; BEGIN r.a := 1; END"),
    ("DECLARE a int; r constant t; BEGIN END", "DECLARE a int; r constant record; BEGIN END"),
    ("DECLARE s p.t; BEGIN END", None), ("BEGIN PERFORM 1 FROM r p; END", None), ("DECLARE r p.t := 1; BEGIN END", None),
])
def test_one_variable_becomes_a_record(body: str, expected: str | None) -> None:
    """The declaration of that variable is found, or none."""
    changed = with_record(body, "r")
    assert (None if changed is None else changed[0]) == expected


def test_a_command_is_no_declaration() -> None:
    """`truncate customers;` stays a statement where another block has a variable of that name."""
    body = "BEGIN; truncate customers; DECLARE truncate p.t; BEGIN truncate.x := 1; END; END"
    changed = with_record(body, "truncate")
    assert changed is None or "truncate customers" in changed[0]


@pytest.mark.parametrize(("body", "expected"), [
    ("DECLARE n ALIAS FOR NEW; BEGIN END", True), ("DECLARE n alias -- x\n for $1; BEGIN END", True),
    ("DECLARE alias int; BEGIN x := 'alias for'; END", False)])
def test_second_names_are_seen(body: str, *, expected: bool) -> None:
    """The tree does not show them, so whoever follows names has to know that there are some."""
    assert has_alias(body) is expected


@pytest.mark.parametrize("piece", [";/*", "r /*", "r -- \n", "$a$", "'", '"r ', "r.r.", "; r p.t;", "; r t%rowtype;", "r constant ", "E'\\"])
def test_hostile_text_costs_no_more_than_its_length(monkeypatch: pytest.MonkeyPatch, piece: str) -> None:
    """Nothing here is quadratic in what a client can send: twice the text is twice the steps."""
    def read(body: str) -> None:
        with_records(body)
        with_record(body, "r")
        hides_default(body, ["r"])
        has_alias(body)

    tried, ran = [], []
    for times in (150, 300):
        with matching(monkeypatch, declarations) as steps:
            read(piece * times)
        tried.append(steps.count)
    for times in (1_000, 2_000):
        with lines() as steps:
            read(piece * times)
        ran.append(steps.count)
    assert tried[1] < 2.5 * tried[0]
    assert ran[1] < 2.5 * ran[0]
