"""The options of COPY … TO STDOUT, read from the parse tree."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import Analyzer, CopyOptions

READ = [
    ("copy t to stdout", CopyOptions()),
    ("copy t to stdout csv", CopyOptions("csv", ",", "", '"', '"')),
    ("copy csv to stdout", CopyOptions()),
    ("copy (select 'csv' as csv) to stdout (format text)", CopyOptions()),
    ("copy t to stdout with delimiter as ';' null 'N' csv header quote '''' force quote a, b",
     CopyOptions("csv", ";", "N", "'", "'", has_header=True)),
    ("copy t to stdout (format csv, quote '''', escape '''')", CopyOptions("csv", ",", "", "'", "'")),
    ("copy t to stdout (delimiter e'|', null 'nix', header)", CopyOptions("text", "|", "nix", has_header=True)),
    ("copy t to stdout (format csv, header false)", CopyOptions("csv", ",", "", '"', '"')),
    ("copy t to stdout (header match)", CopyOptions()),
    ("copy binary t to stdout", CopyOptions("binary")),
    ("copy t to stdout (format binary)", CopyOptions("binary")),
    ("copy t to stdout (format csv, encoding 'UTF-8', force_quote *)", CopyOptions("csv", ",", "", '"', '"')),
]

UNSURE = [
    "copy t to stdout (format 'Csv')",
    "copy t to stdout (format 'json')",
    "copy t to stdout (format csv, format text)",
    "copy t to stdout (delimiter ';', delimiter '|')",
    "copy t to stdout (format csv, escape e'\\\\')",
    "copy t to stdout (format csv, quote 'xx')",
    "copy t to stdout (delimiter 'ä')",
    "copy t to stdout (null 0)",
    "copy t to stdout (encoding 'UTF16')",
    "copy t to stdout (newline 'x')",
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_options_are_those_of_the_tree(text: str, expected: CopyOptions) -> None:
    """Old and new syntax say the same; a table named csv is no format; an escape is the quote unless given."""
    assert Analyzer().statement(text).copies_out == (expected,)


@pytest.mark.parametrize("text", UNSURE)
def test_what_is_unsure_is_a_problem(text: str) -> None:
    """An option that this reading cannot follow is said, not guessed."""
    assert Analyzer().statement(text).copies_out[0].problem is not None


def test_each_copy_of_a_string_has_its_own() -> None:
    """Order is that of the string; COPY FROM and files have none."""
    found = Analyzer().statement("copy a to stdout csv; copy b from stdin; copy c to '/tmp/x'; copy d to stdout")
    assert [copy.format for copy in found.copies_out] == ["csv", "text"]
