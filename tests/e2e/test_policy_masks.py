"""Labels, predicates, keyed masks and notices, as a policy file says them, through the real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD, own_database

SCHEMA = """
CREATE SCHEMA hr;
CREATE TABLE hr.people (id int PRIMARY KEY, name text, email text UNIQUE, ssn text, born date, pin int, salary numeric,
                        doc jsonb, home inet, note varchar(8));
INSERT INTO hr.people VALUES
  (1, 'ann', 'ann@example.com', '219-09-9999', '1980-02-03', 47110815, 5000, '{"ssn": "219-09-9999", "a": {"b": "x"}, "ok": 1}',
   '10.1.2.3', 'n1'),
  (2, 'bob', 'bob@example.com', '219-09-9998', '1999-12-31', 81547110, 6000, '{"list": [{"ssn": "219-09-9998"}]}', NULL, 'n2');
CREATE TABLE hr.visits (id int, email text, seen date);
INSERT INTO hr.visits VALUES (7, 'ann@example.com', '2026-01-01'), (8, 'zed@example.com', '2026-01-02');
CREATE VIEW hr.staff AS SELECT id AS no, email AS mail FROM hr.people;
"""
LABELS = """\
labels:
  pii.ssn: {{columns: ["masked.hr.*.ssn"], detect: [ssn]}}
  pii.email: {{names: ["(?i)^e_?mail$"]}}
  pii.address: {{types: ["inet"]}}
policies:
"""
RULES = """\
  - name: hide-ssn
    connections: [masked]
    mask: [{{labels: [pii.ssn], with: redact}}]
    notice: true
  - name: hide-email
    connections: [masked]
    mask: [{{labels: [pii.email], with: token, predicates: equality, lookups: 5/h, key: connection, returns: true}}]
  - name: hide-address
    connections: [masked]
    mask: [{{labels: ["pii.addr*"], with: hash}}]
  - name: hide-rest
    connections: [masked]
    mask:
      - {{columns: ["people.born"], with: date_shift}}
      - {{columns: ["people.pin"], with: fpe, predicates: allow}}
      - {{columns: ["people.salary"], with: hash, predicates: masked}}
      - {{columns: ["people.doc"], with: redact, paths: ["$.ssn", "$.a.b", "$.list[*].ssn"]}}
"""
CANARIES = ("219-09-999", "ann@", "bob@", "47110815", "10.1.2.3", "1980-02-03")


@pytest.fixture(scope="module")
def masked(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with labels and every kind of mask on a database of its own."""
    config = HEAD.replace("name: plain", "name: masked").replace("policies:\n", LABELS) + RULES
    folder: Path = tmp_path_factory.mktemp("masked")
    with own_database(backend, "masked", SCHEMA), \
            gateway(folder, config, env={"CRM_PASSWORD": PASSWORD}, backend=backend.port, issuer=tokens.url) as running:
        yield running


@pytest.fixture
def token(tokens: Issuer, request: pytest.FixtureRequest) -> str:
    """A token of an agent of its own for each test: look-ups are counted by caller."""
    return tokens.token(f"agent-{request.node.name}"[:60], "agents")


def rows(front: Gateway, token: str, statement: str, *, binary: bool = False, task: str = "t") -> list[tuple[Any, ...]]:
    with psycopg.connect(front.dsn(token, "masked", options=f"-clockgate.task={task}"), autocommit=True) as connection:
        found = connection.cursor(binary=binary).execute(statement.encode()).fetchall()
    assert not [canary for canary in CANARIES if canary in str(found)], found
    return found


@pytest.mark.parametrize("binary", [False, True])
def test_every_method_shows_in_both_formats(masked: Gateway, token: str, binary: bool) -> None:
    """Values of every label are hidden by its method, valid for the column's type, in text and in binary."""
    (row,) = rows(masked, token, "SELECT name, email, ssn, born, pin, salary, home FROM hr.people WHERE id = 1", binary=binary)
    name, email, ssn, born, pin, salary, home = row
    assert name == "ann"
    assert email.startswith("tok_")
    assert ssn == "xxxx"
    assert str(born) != "1980-02-03"
    assert pin != 47110815
    assert len(str(pin)) == 8
    assert salary != 5000
    assert str(home) != "10.1.2.3"


def test_equal_values_have_equal_masks_within_their_reach(masked: Gateway, token: str) -> None:
    """A key of the connection makes masks joinable across tasks, one of the task does not."""
    statement = "SELECT email, salary FROM hr.people WHERE id = 1"
    (one,), (same,), (other,) = (rows(masked, token, statement, task=task) for task in ("a", "a", "b"))
    assert one == same
    assert one[0] == other[0]
    assert one[1] != other[1]
    joined = rows(masked, token, "SELECT email FROM hr.visits WHERE id = 7")
    assert joined[0][0] == one[0]


@pytest.mark.parametrize(("written", "instead"), [
    ("SELECT id FROM hr.people WHERE lower(ssn) = 'x'", "SELECT id FROM hr.people WHERE lower(name) = 'x'"),
    ("SELECT id, ssn, count(*) FROM hr.people GROUP BY id, ssn", "SELECT id, count(*) FROM hr.people GROUP BY id"),
    ("SELECT DISTINCT id, ssn FROM hr.people", "SELECT DISTINCT ON (id) * FROM hr.people"),
    ("SELECT id, ssn FROM hr.people ORDER BY ssn", "SELECT id, ssn FROM hr.people ORDER BY id"),
    ("INSERT INTO hr.people (id) VALUES (1) ON CONFLICT DO NOTHING",
     "INSERT INTO hr.people (id) VALUES (1) ON CONFLICT (id) DO NOTHING"),
])
def test_what_object_mappers_write_is_refused_and_can_be_written(
    masked: Gateway, token: str, written: str, instead: str
) -> None:
    """As the table in docs/howto/policies.md says."""
    with psycopg.connect(masked.dsn(token, "masked"), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not use a masked column"):
            connection.execute(written.encode())
        connection.execute(instead.encode())


def test_paths_of_json_are_hidden_and_the_rest_is_shown(masked: Gateway, token: str) -> None:
    """Where the paths cannot be written in SQL, the result is masked; an expression gets the whole value redacted."""
    first, second = rows(masked, token, "SELECT doc FROM hr.people ORDER BY id")
    assert first[0] == {"ssn": "xxxx", "a": {"b": "xxxx"}, "ok": 1}
    assert second[0] == {"list": [{"ssn": "xxxx"}]}
    assert rows(masked, token, "SELECT doc ->> 'ssn' FROM hr.people WHERE id = 1") == [(None,)]


@pytest.mark.parametrize("statement", [
    "SELECT id FROM hr.people WHERE ssn = '219-09-9999'", "SELECT id FROM hr.people ORDER BY ssn",
    "SELECT email FROM hr.people WHERE email LIKE 'ann%'", "SELECT count(*) FROM hr.people GROUP BY born",
    "SELECT p.id FROM hr.people p JOIN hr.visits v ON p.email = v.email", "DELETE FROM hr.people WHERE salary = 1",
])
def test_conditions_are_refused_with_a_way_forward(masked: Gateway, token: str, statement: str) -> None:
    """The refusal says which clause it is and what to do."""
    with psycopg.connect(masked.dsn(token, "masked"), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
            connection.execute(statement.encode())
        assert caught.value.diag.message_hint
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_look_up_finds_the_row_and_is_limited(masked: Gateway, token: str) -> None:
    """Equality works on real values, by literal and by parameter, five times an hour; the mask stays a mask."""
    with psycopg.connect(masked.dsn(token, "masked"), autocommit=True) as connection:
        for _ in range(2):
            found = connection.execute("SELECT id, email FROM hr.people WHERE email = 'ann@example.com'").fetchall()
            assert found[0][0] == 1
            assert found[0][1].startswith("tok_")
            assert connection.execute("SELECT id FROM hr.people WHERE email = %s", ("bob@example.com",)).fetchall() == [(2,)]
        assert connection.execute("SELECT id FROM hr.people WHERE email = %s", ("no@example.com",)).fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="looked up"):
            connection.execute("SELECT id FROM hr.people WHERE email = %s", ("bob@example.com",))
        assert connection.execute("SELECT id FROM hr.people WHERE id = 1").fetchall() == [(1,)]


def test_allowed_predicates_use_real_values_and_show_masks(masked: Gateway, token: str) -> None:
    """A range over the real values; the column and what is computed from it are masked in the result."""
    found = rows(masked, token, "SELECT id, pin, pin + 1 FROM hr.people WHERE pin < 50000000 ORDER BY pin")
    assert [row[0] for row in found] == [1]
    assert found[0][1] != 47110815
    assert found[0][2] == 0


def test_masked_predicates_compare_with_the_mask(masked: Gateway, token: str) -> None:
    """`masked`: no row equals the real value, every row equals the mask."""
    assert rows(masked, token, "SELECT id FROM hr.people WHERE salary = 5000") == []
    assert len(rows(masked, token, "SELECT id FROM hr.people WHERE salary = 0")) == 2


def test_a_notice_says_what_is_masked(masked: Gateway, token: str) -> None:
    """Once for each result, with labels and rules; a result without masks has none."""
    notices: list[tuple[str | None, str | None]] = []
    with psycopg.connect(masked.dsn(token, "masked"), autocommit=True) as connection:
        connection.add_notice_handler(lambda said: notices.append((said.message_primary, said.message_detail)))
        connection.execute("SELECT id, ssn, upper(ssn) AS u FROM hr.people").fetchall()
        assert notices == [("masked columns: ssn (pii.ssn), u (pii.ssn)", "rules: hide-ssn")]
        connection.execute("SELECT id, name FROM hr.people").fetchall()
        assert len(notices) == 1


def test_returning_shows_masks(masked: Gateway, token: str) -> None:
    """What an INSERT or UPDATE gives back is masked, and the row holds what was written."""
    with psycopg.connect(masked.dsn(token, "masked")) as connection:
        row = connection.execute(
            "INSERT INTO hr.people (id, name, ssn, email) VALUES (9, 'eve', '333-22-4444', 'eve@example.com') RETURNING *").fetchone()
        assert row is not None
        assert "333" not in str(row)
        assert "eve@" not in str(row)
        changed = connection.execute("UPDATE hr.people SET ssn = '333-22-5555' WHERE id = 9 RETURNING id, ssn").fetchone()
        assert changed == (9, "xxxx")
        connection.rollback()


def test_asyncpg_reads_masks_in_binary(masked: Gateway, token: str) -> None:
    """A client that asks for binary results and prepares its statements gets valid values."""
    async def read() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(host="127.0.0.1", port=masked.port, user="agent", password=token,
                                           database="masked", ssl=False)
        try:
            found = []
            for _ in range(3):
                found += await connection.fetch("SELECT email, born, pin, salary, doc, home FROM hr.people WHERE id = $1", 1)
            return found
        finally:
            await connection.close()

    found = asyncio.run(read())
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert not [canary for canary in CANARIES if canary in str(found)]


def test_check_says_how_each_label_is_held(masked: Gateway) -> None:
    """`lockgate check` names the columns of labels, patterns and types; `lockgate columns` all of them."""
    shown = run("check", "-c", str(masked.folder / "lockgate.yaml"), env={"CRM_PASSWORD": PASSWORD})
    for words in ("hr.people.ssn", "hr.visits.email", "hr.people.home"):
        assert words in shown
    listed = run("columns", "masked", "-c", str(masked.folder / "lockgate.yaml"), env={"CRM_PASSWORD": PASSWORD})
    assert listed.startswith("known_columns:\n")
    assert '  - "hr.people.ssn"\n' in listed


UNION = "SELECT email FROM hr.people UNION ALL SELECT email FROM hr.people"


def test_values_are_not_fetched_by_another_way(masked: Gateway, token: str) -> None:
    """A portal or statement made by message that shows real values to be masked is not run by SQL: there the backend
    names no origin of the column, and no plan belongs to the result."""
    with psycopg.connect(masked.dsn(token, "masked")) as connection:
        connection.execute("SELECT 1")
        raw = connection.pgconn
        assert raw.prepare(b"shown", UNION.encode()).status == psycopg.pq.ExecStatus.COMMAND_OK
        result = raw.exec_prepared(b"shown", None)
        assert result.ntuples == 4
        assert (result.get_value(0, 0) or b"").startswith(b"tok_")
        result = raw.exec_(b"EXECUTE shown")
        assert result.status == psycopg.pq.ExecStatus.FATAL_ERROR
        assert "masked" in str(result.error_message)


def test_a_name_given_anew_in_the_same_string_hides_no_execute(masked: Gateway, token: str) -> None:
    """EXECUTE runs what the name means where it stands, which is not what the string prepares under it later."""
    with psycopg.connect(masked.dsn(token, "masked"), autocommit=True) as connection:
        raw = connection.pgconn
        assert raw.prepare(b"shown", UNION.encode()).status == psycopg.pq.ExecStatus.COMMAND_OK
        raw.send_query(b"EXECUTE shown; DEALLOCATE shown; PREPARE shown AS SELECT 1")
        results = []
        while (result := raw.get_result()) is not None:
            results.append(result)
        said = b" ".join(one.get_value(0, 0) or b"" for one in results if one.ntuples)
        assert b"@" not in said
        assert [one.status for one in results] == [psycopg.pq.ExecStatus.FATAL_ERROR]


def test_looking_up_by_execute_counts(masked: Gateway, token: str) -> None:
    """A statement prepared by SQL is a look-up each time that it runs."""
    with psycopg.connect(masked.dsn(token, "masked"), autocommit=True) as connection:
        connection.execute("PREPARE look AS SELECT id FROM hr.people WHERE email = $1")
        found = 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="looked up"):
            for _ in range(8):
                connection.execute("EXECUTE look('ann@example.com')")
                found += 1
        assert found <= 5


@pytest.mark.parametrize("guesses", [
    " UNION ALL ".join(f"SELECT {number} FROM hr.people WHERE email = 'g{number}'" for number in range(300)),
    "SELECT id FROM hr.people WHERE email IN ('a', 'b', 'c', 'd', 'e', 'f')",
    "SELECT id FROM hr.people WHERE email = ANY (ARRAY['a', 'b', 'c', 'd', 'e', 'f'])",
])
def test_many_guesses_in_one_statement_are_many(masked: Gateway, tokens: Issuer, guesses: str) -> None:
    """More than the hour has are refused, and nothing of the hour is spent by that."""
    fresh = tokens.token(f"guesser-{len(guesses)}", "agents")
    with psycopg.connect(masked.dsn(fresh, "masked"), autocommit=True) as connection:
        for _ in range(2):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="looked up"):
                connection.execute(guesses.encode())
        look = "SELECT id FROM hr.people WHERE email IN ('ann@example.com', 'a', 'b')"
        assert connection.execute(look.encode()).fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="looked up"):
            connection.execute(look.encode())
