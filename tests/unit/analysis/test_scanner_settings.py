"""What would change how the backend's scanner reads a text is refused, however it is written; the rest is named."""

from __future__ import annotations

import pytest

from lockgate.analysis.sql import Analyzer
from lockgate.analysis.sql.settings import PINNED
from lockgate.analysis.sql.statement import Statement

_PARAMETERS = ("standard_conforming_strings", "client_encoding", "backslash_quote")


def read(text: str) -> Statement:
    return Analyzer().statement(text)


@pytest.mark.parametrize("parameter", _PARAMETERS)
@pytest.mark.parametrize("form", [
    "SET {0} = {1}", "SET {0} TO {1}", "SET SESSION {0} = {1}", "SET LOCAL {0} = {1}", "set {0} to '{1}'", 'SET "{0}" = \'{1}\'',
    'SET "{2}" = {1}', "SET {2} = {1}", "SET {0} = E'{1}'", "SET {0} = {1}, {1}", "SET {0} FROM CURRENT",
    "SELECT set_config('{0}', '{1}', false)", "SELECT set_config('{0}', '{1}', true)", "SELECT set_config('{2}', '{1}', false)",
    "SELECT pg_catalog.set_config('{0}', '{1}', false)", "SELECT set_config(U&'{3}', '{1}', false)",
    "SELECT set_config('{0}', $1, false)", "SELECT set_config($1, '{1}', false)", "SELECT set_config('{0}', '{1}' || '', false)",
    "SELECT set_config(name, '{1}', false) FROM t", "SELECT set_config('{0}'::text, '{1}', false)",
    "SELECT 1; SET {0} = {1}", "BEGIN; SELECT set_config('{0}', '{1}', true); COMMIT",
    "SELECT * FROM set_config('{0}', '{1}', false)", "SELECT 1 WHERE set_config('{0}', '{1}', false) = ''",
    "WITH x AS (SELECT set_config('{0}', '{1}', false)) SELECT * FROM x", "VALUES (set_config('{0}', '{1}', false))",
    "INSERT INTO t VALUES (set_config('{0}', '{1}', false))", "PREPARE p AS SELECT set_config('{0}', '{1}', false)",
    "DECLARE c CURSOR FOR SELECT set_config('{0}', '{1}', false)", "EXPLAIN ANALYZE SELECT set_config('{0}', '{1}', false)",
    "COPY (SELECT set_config('{0}', '{1}', false)) TO STDOUT",
    "ALTER ROLE app SET {0} = {1}", "ALTER ROLE ALL SET {0} = {1}", "ALTER USER app IN DATABASE d SET {0} = '{1}'",
    "ALTER DATABASE d SET {0} = {1}", "ALTER SYSTEM SET {0} = {1}", "ALTER ROLE app SET {0} FROM CURRENT",
    "UPDATE pg_settings SET setting = '{1}' WHERE name = '{0}'", "UPDATE pg_catalog.pg_settings SET setting = '{1}'",
    "MERGE INTO pg_settings s USING t ON name = '{0}' WHEN MATCHED THEN UPDATE SET setting = '{1}'",
    "WITH x AS (UPDATE pg_settings SET setting = '{1}' WHERE name = '{0}' RETURNING 1) SELECT * FROM x",
    "CREATE VIEW v AS SELECT * FROM pg_settings",
])
def test_no_way_to_change_the_scanner_is_let_through(parameter: str, form: str) -> None:
    """Every statement that could give the parameter another value is forbidden, whatever policy says."""
    value = {"client_encoding": "latin1"}.get(parameter, "off" if parameter.startswith("standard") else "on")
    escaped = "".join(f"\\{ord(char):04x}" for char in parameter)
    assert read(form.format(parameter, value, parameter.upper(), escaped)).forbidden is not None


@pytest.mark.parametrize("text", ["SET NAMES 'latin1'", "SET NAMES 'SJIS'", "SET LOCAL NAMES 'GBK'"])
def test_set_names_is_a_set_of_the_encoding(text: str) -> None:
    """The standard's own word for it."""
    assert read(text).forbidden is not None


@pytest.mark.parametrize("parameter", _PARAMETERS)
@pytest.mark.parametrize("form", [
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET {0} = {1} AS 'SELECT 1'", "ALTER FUNCTION f() SET {0} = {1}",
    "CREATE PROCEDURE f() LANGUAGE plpgsql SET {0} = {1} AS 'BEGIN END'", "ALTER PROCEDURE f() SET {0} TO {1}",
    "DO $$ BEGIN SET {0} = {1}; END $$", "DO 'BEGIN PERFORM set_config(''{0}'', ''{1}'', false); END'", "CALL f()", "SELECT f()",
])
def test_code_that_could_set_it_has_every_effect(parameter: str, form: str) -> None:
    """What runs inside of functions is not seen, so the statement is opaque: it is refused wherever a column is masked, is
    judged as every effect elsewhere, and what follows it in a pipeline must read the same under any scanner."""
    found = read(form.format(parameter, "on"))
    assert found.is_opaque
    assert "drop" in found.verbs


@pytest.mark.parametrize(("text", "sets"), [
    ("RESET standard_conforming_strings", ("standard_conforming_strings",)), ("RESET client_encoding", ("client_encoding",)),
    ("RESET ALL", ("all",)), ("DISCARD ALL", ("all",)), ("SET client_encoding TO DEFAULT", ("client_encoding",)),
    ("SET NAMES DEFAULT", ("client_encoding",)), ("SET NAMES 'utf8'", ("client_encoding",)),
    ("SET client_encoding = 'UTF-8'", ("client_encoding",)), ("SET standard_conforming_strings = on", ("standard_conforming_strings",)),
    ("SET escape_string_warning = off", ("escape_string_warning",)),
    ("SELECT set_config('escape_string_warning', 'off', true)", ("escape_string_warning",)),
    ("ALTER ROLE app RESET ALL", ("all",)), ("ALTER ROLE app RESET client_encoding", ("client_encoding",)),
    ("ALTER SYSTEM RESET ALL", ("all",)),
])
def test_what_leads_back_to_the_pinned_value_is_harmless(text: str, sets: tuple[str, ...]) -> None:
    """RESET restores what the gateway set at start-up, and a warning is only words; policy still sees which."""
    found = read(text)
    assert found.forbidden is None
    assert found.sets == sets


def test_the_parameters_of_the_scanner_are_pinned() -> None:
    """Those that scan.l reads, and the encoding that it reads them in."""
    assert set(_PARAMETERS) <= set(PINNED)
