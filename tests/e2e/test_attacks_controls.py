"""Attacks on every control other than masks: what runs is what was judged, reviewed and recorded."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from lockgate.analysis.sql import AnalysisLimits, Analyzer, NotUnderstood
from lockgate.analysis.sql import text as sql_text
from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server
from tests.e2e.conftest import HEAD, PASSWORD
from tests.e2e.test_review import call, wait_pending
from tests.steps import lines, matching

# No masks: what a mask would refuse anyway has to be held by the other controls here.
RULES = """\
  - name: deletes-need-a-person
    when: op.verb == "delete"
    review: {{by: [dba], expires: 5m}}
  - name: updates-by-ticket
    connections: [crm]
    when: op.verb == "update"
    review: {{by: [dba], expires: 5m, mode: ticket}}
  - name: never-drop
    connections: [crm]
    when: op.verb == "drop"
    deny: destructive DDL is not allowed through the gateway
"""


@pytest.fixture(scope="module")
def front(backend: Server, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with reviews and denials and no masks."""
    with gateway(tmp_path_factory.mktemp("attacked"), HEAD + RULES, env={"CRM_PASSWORD": PASSWORD},
                 backend=backend.port, issuer=tokens.url) as running:
        yield running


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def query(text: str) -> bytes:
    return message(b"Q", text.encode() + b"\0")


def parse(name: str, text: str, *types: int) -> bytes:
    body = name.encode() + b"\0" + text.encode() + b"\0" + struct.pack(f">H{len(types)}I", len(types), *types)
    return message(b"P", body)


def bind(portal: str, statement: str, *values: bytes, binary: bool = False) -> bytes:
    body = portal.encode() + b"\0" + statement.encode() + b"\0" + (b"\0\1\0\1" if binary else b"\0\0")
    body += struct.pack(">H", len(values)) + b"".join(struct.pack(">I", len(value)) + value for value in values)
    return message(b"B", body + b"\0\0")


def execute(portal: str, limit: int = 0) -> bytes:
    return message(b"E", portal.encode() + b"\0" + struct.pack(">I", limit))


def close(kind: bytes, name: str) -> bytes:
    return message(b"C", kind + name.encode() + b"\0")


SYNC = message(b"S")
FLUSH = message(b"H")


class Raw:
    """A logged-in client that speaks bytes."""

    def __init__(self, front: Gateway, token: str, database: str = "crm", **options: str) -> None:
        self.begin(front, {"user": "agent", "database": database, **options})
        self.read()
        self.socket.sendall(message(b"p", token.encode() + b"\0"))
        self.until_ready()

    def begin(self, front: Gateway, words: dict[str, str]) -> None:
        """Connect and send a StartupMessage with these parameters."""
        self.socket = socket.create_connection(("127.0.0.1", front.port), timeout=10)
        body = b"".join(key.encode() + b"\0" + value.encode() + b"\0" for key, value in words.items()) + b"\0"
        self.socket.sendall(struct.pack(">II", len(body) + 8, 196608) + body)
        self.buffer = b""

    def read(self) -> tuple[bytes, bytes]:
        """One message: (type, body); type b"" where the gateway hung up."""
        while len(self.buffer) < 5 or len(self.buffer) < 1 + struct.unpack_from(">I", self.buffer, 1)[0]:
            try:
                piece = self.socket.recv(65536)
            except (ConnectionError, TimeoutError):
                piece = b""
            if not piece:
                return b"", self.buffer
            self.buffer += piece
        size = 1 + struct.unpack_from(">I", self.buffer, 1)[0]
        frame, self.buffer = self.buffer[:size], self.buffer[size:]
        return frame[:1], frame[5:]

    def until_ready(self, count: int = 1) -> list[tuple[bytes, bytes]]:
        """Everything up to `count` ReadyForQuery messages, or the end."""
        found = []
        while count:
            kind, body = self.read()
            found.append((kind, body))
            count -= kind == b"Z"
            if not kind:
                break
        return found

    def send(self, *messages: bytes, ready: int = 1) -> list[tuple[bytes, bytes]]:
        self.socket.sendall(b"".join(messages))
        return self.until_ready(ready)

    def close(self) -> None:
        self.socket.close()


@contextmanager
def watched(backend: Server, table: str, database: str = "crm") -> Iterator[psycopg.Connection]:
    """A table of two rows that must still have them at the end."""
    with psycopg.connect(backend.dsn(database), autocommit=True) as admin:
        admin.execute("SET ROLE app")
        admin.execute(f"CREATE TABLE {table} (id int, body text)")
        admin.execute(f"INSERT INTO {table} VALUES (1, 'one'), (2, 'two')")
        try:
            yield admin
            assert admin.execute(f"SELECT count(*) FROM {table}").fetchone() == (2,)
        finally:
            admin.execute(f"DROP TABLE IF EXISTS {table}")


def kinds(replies: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(kind for kind, _ in replies)


def test_a_portal_named_as_the_gateways_own_failing_message(backend: Server, front: Gateway, agent: str) -> None:
    """What stands in for a refused message fails whatever names the client has made."""
    with watched(backend, "prey_portal"), closing(Raw(front, agent)) as raw:
        raw.send(parse("s", "DELETE FROM prey_portal"), bind("lockgate refused a statement", "s"),
                 parse("x", "DROP TABLE prey_portal"), SYNC)


def test_names_that_differ_only_behind_63_bytes(backend: Server, front: Gateway, agent: str) -> None:
    """The backend cuts names at 63 bytes: two names that it takes for one must not be two here."""
    one, two = "n" * 63 + "1", "n" * 63 + "2"
    with watched(backend, "prey_names"), closing(Raw(front, agent)) as raw:
        raw.send(parse(one, "SELECT 1"), SYNC)
        raw.send(close(b"S", two), SYNC)
        raw.send(parse(two, "DELETE FROM prey_names"), SYNC)
        raw.send(bind("", one), execute(""), SYNC)


def test_sql_execute_before_a_prepare_of_the_same_string(backend: Server, front: Gateway, agent: str) -> None:
    """EXECUTE is judged by a PREPARE of its own string only where that runs before it."""
    with watched(backend, "prey_execute"), closing(Raw(front, agent)) as raw:
        raw.send(parse("s", "DELETE FROM prey_execute"), SYNC)
        raw.send(query("EXECUTE s; DEALLOCATE s; PREPARE s AS SELECT 1"))


@pytest.mark.parametrize("verb", ["FETCH ALL FROM", "MOVE ALL FROM"])
def test_sql_fetch_from_a_portal_that_was_never_executed(
    backend: Server, front: Gateway, agent: str, verb: str,
) -> None:
    """FETCH runs a bound statement just as Execute does."""
    with watched(backend, "prey_fetch"), closing(Raw(front, agent)) as raw:
        raw.send(query("BEGIN"))
        raw.send(parse("s", "DELETE FROM prey_fetch RETURNING id"), bind("p", "s"), FLUSH, SYNC)
        raw.send(query(f'{verb} "p"'))
        raw.send(query("COMMIT"))


def test_settings_changed_through_the_view(backend: Server, front: Gateway, agent: str) -> None:
    """UPDATE pg_settings is a SET by another name: what the analysis relies on stays."""
    trick = r"SELECT '\', '; DELETE FROM prey_settings; --'"
    change = "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'"
    for first in (change, f"CREATE TEMP VIEW v AS SELECT * FROM pg_settings; {change.replace('pg_settings', 'v')}"):
        with watched(backend, "prey_settings", "plain"), closing(Raw(front, agent, "plain")) as raw:
            raw.socket.sendall(query(first) + query(trick))
            raw.until_ready(2)


def test_code_that_a_view_runs(backend: Server, front: Gateway, agent: str) -> None:
    """A function of a view runs in the statement that reads the view: the rule about what it does decides."""
    with psycopg.connect(backend.dsn("crm"), autocommit=True) as owner:
        owner.execute("SET ROLE app")
        owner.execute("CREATE TABLE prey_view (id int); CREATE FUNCTION strike() RETURNS int LANGUAGE plpgsql AS 'BEGIN DROP TABLE prey_view;"
                      " RETURN 1; END'; CREATE VIEW strikes AS SELECT strike() AS n; CREATE VIEW over_strikes AS SELECT n FROM strikes")
    with psycopg.connect(front.dsn(agent, "crm"), autocommit=True) as connection:
        connection.execute("CREATE TABLE looks_anew (id int)")
        for statement in ("SELECT strike()", "SELECT * FROM strikes", "SELECT 1 FROM over_strikes", "COPY (TABLE over_strikes) TO STDOUT",
                          "CREATE TABLE looks_again AS SELECT * FROM strikes"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="destructive DDL"):
                connection.execute(statement.encode())
    with psycopg.connect(backend.dsn("crm"), autocommit=True) as owner:
        owner.execute("DROP TABLE prey_view, looks_anew; DROP FUNCTION strike CASCADE")


def test_code_that_hides_behind_the_name_of_a_builtin(backend: Server, front: Gateway, agent: str) -> None:
    """An overload of a built-in function, an operator, a trigger: a definition of code is every effect."""
    body = "LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DELETE FROM prey_code'; RETURN 1; END $$"
    shapes = [
        [f"CREATE FUNCTION lower(int) RETURNS int {body}", "SELECT lower(1)"],
        [f"CREATE FUNCTION evil(int, int) RETURNS int {body}",
         "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = evil)", "SELECT 1 === 1"],
        [f"CREATE FUNCTION evilt() RETURNS trigger {body.replace('RETURN 1', 'RETURN NEW')}",
         "CREATE TABLE bait (id int)",
         "CREATE TRIGGER t BEFORE INSERT ON bait FOR EACH ROW EXECUTE FUNCTION evilt()", "INSERT INTO bait VALUES (1)"],
    ]
    for shape in shapes:
        with watched(backend, "prey_code") as admin:
            try:
                with closing(Raw(front, agent)) as raw:
                    for statement in shape:
                        raw.send(query(statement))
            finally:
                admin.execute("DROP TABLE IF EXISTS bait; DROP OPERATOR IF EXISTS === (int, int); "
                              "DROP FUNCTION IF EXISTS lower(int), evil(int, int), evilt()")


def test_a_query_in_the_middle_of_a_copy(backend: Server, front: Gateway, agent: str) -> None:
    """What the backend reads as a broken COPY is not taken for a statement that ran."""
    with watched(backend, "prey_copy"), closing(Raw(front, agent, "plain")) as raw:
        replies = raw.send(query("CREATE TEMP TABLE c (id int)"), query("COPY c FROM STDIN"), query("SELECT 'second'"),
                           query("SELECT 'third'"), ready=4)
        assert b"third" not in b"".join(body for _, body in replies) or kinds(replies).count(b"Z") == 4


def test_an_approval_is_bound_to_how_parameters_are_read(
    backend: Server, front: Gateway, agent: str, dba: str,
) -> None:
    """A text that spells bytes and those bytes, an int8 and a float8: each needs its own approval."""
    with watched(backend, "prey_binding") as admin, closing(Raw(front, agent)) as raw:
        text = "UPDATE prey_binding SET body = 'changed' WHERE body = $1"
        raw.send(parse("u", text), SYNC)
        assert b"E" in kinds(raw.send(bind("", "u", rb"\x6f6e65"), execute(""), SYNC))
        ticket = wait_pending(front, dba, "prey_binding")["ticket"]
        assert call(front, f"/v1/reviews/{ticket}/approve", dba, {})[0] == 200
        assert b"E" in kinds(raw.send(bind("", "u", b"one", binary=True), execute(""), SYNC))
        raw.send(parse("v", text, 17), SYNC)
        assert b"E" in kinds(raw.send(bind("", "v", rb"\x6f6e65"), execute(""), SYNC))
        assert admin.execute("SELECT count(*) FROM prey_binding WHERE body = 'changed'").fetchone() == (0,)
        assert b"C" in kinds(raw.send(bind("", "u", rb"\x6f6e65"), execute(""), SYNC))


def test_execute_is_not_put_to_a_reviewer(backend: Server, front: Gateway, agent: str) -> None:
    """A reviewer would approve a name, and the name could stand for something else by then."""
    with watched(backend, "prey_shown", "plain"), closing(Raw(front, agent, "plain")) as raw:
        raw.send(parse("s", "DELETE FROM prey_shown"), SYNC)
        assert b"E" in kinds(raw.send(query("EXECUTE s")))


def test_a_cursor_in_the_place_of_a_portal(front: Gateway, agent: str) -> None:
    """What Execute runs is what is on record for it, not the cursor that SQL put under its name."""
    with closing(Raw(front, agent)) as raw:
        raw.send(query("BEGIN"))
        raw.send(parse("s", "SELECT 1"), bind("p", "s"), SYNC)
        raw.send(query('CLOSE "p"'))
        raw.send(query('DECLARE "p" CURSOR FOR SELECT \'another\''))
        replies = raw.send(execute("p"), SYNC)
        assert b"another" not in b"".join(body for _, body in replies)


HEAVY: dict[str, tuple[Callable[[int], str], int, int]] = {
    "or": (lambda n: "DELETE FROM t WHERE " + " OR ".join(f"x{number} = 1" for number in range(n)), 1_000, 4_000),
    "prepare": (lambda n: "PREPARE a AS SELECT 1;" * n + "EXECUTE a;" * n, 30, 8_000),
    "comments": (lambda n: "SELECT " + "/**/" * n + "1", 1_000, 60_000),
    "dollars": (lambda n: "SELECT 1 --\n" + "$a$ $b$ " * n, 1_000, 32_000),
    "nested": (lambda n: "SELECT " + "/*" * n, 1_000, 130_000),
    "with": (lambda n: "WITH " + ",".join(f"a{number} AS (SELECT 1)" for number in range(n)) + " SELECT 1", 200, 12_000),
    "case": (lambda n: "SELECT " + "CASE WHEN " * n + "true" + " THEN 1 END" * n, 30, 200),
}
"""How to write it so many times; how many times the analysis takes twice as much of; what is nearly too long."""


@pytest.mark.parametrize("name", HEAVY)
def test_no_statement_takes_the_process_for_itself(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Reading grows with the length of a statement, not with its square: one session cannot stop the others."""
    make, some, many = HEAVY[name]
    ran, tried = [], []
    for times in (some, 2 * some):
        with lines() as steps, suppress(NotUnderstood):
            Analyzer().statement(make(times))
        ran.append(steps.count)
        with matching(monkeypatch, sql_text) as steps, suppress(NotUnderstood):
            Analyzer().statement(make(times))
        tried.append(steps.count)
    assert ran[1] < 2.5 * ran[0]
    assert tried[1] <= 2.5 * tried[0]
    text = make(many)
    assert len(text) < AnalysisLimits().statement
    with lines(most=10 * len(text)), suppress(NotUnderstood):
        Analyzer().statement(text)


@pytest.mark.parametrize("is_simple", [True, False])
def test_code_that_changes_how_the_next_statement_is_read(
    backend: Server, front: Gateway, agent: str, dba: str, is_simple: bool,
) -> None:
    """What stands behind approved code is not judged under settings that the code has changed."""
    code = "DO $$ BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END $$"
    with watched(backend, "prey_read", "plain") as admin, closing(Raw(front, agent, "plain")) as raw:
        if is_simple:
            raw.socket.sendall(query(code) + query(r"SELECT '\', '; DELETE FROM prey_read; --'"))
        else:
            raw.socket.sendall(parse("", code) + bind("", "") + execute("") + parse(
                "", r"SELECT '\', ' , body FROM prey_read --'") + bind("", "") + execute("") + SYNC)
        ticket = wait_pending(front, dba, "standard_conforming_strings")["ticket"]
        assert call(front, f"/v1/reviews/{ticket}/approve", dba, {})[0] == 200
        replies = raw.until_ready(2 if is_simple else 1)
        assert b"one" not in b"".join(body for _, body in replies)
        assert admin.execute("SELECT 1").fetchone() == (1,)


def test_an_approval_is_bound_to_the_search_path(backend: Server, front: Gateway, agent: str, dba: str) -> None:
    """An approved statement does not run where its names mean something else; in a fresh session it does."""
    text = "UPDATE prey_path SET body = 'changed'"
    with watched(backend, "prey_path") as admin:
        admin.execute("CREATE SCHEMA evil; CREATE TABLE evil.prey_path AS SELECT * FROM prey_path")
        try:
            with closing(Raw(front, agent)) as raw:
                assert b"E" in kinds(raw.send(query(text)))
            ticket = wait_pending(front, dba, "prey_path")["ticket"]
            assert call(front, f"/v1/reviews/{ticket}/approve", dba, {})[0] == 200
            for shape in (["SET search_path = evil, public"], ["SELECT set_config('search_path', 'evil', false)"],
                          ["CREATE TEMP TABLE prey_path (id int, body text)"]):
                with closing(Raw(front, agent)) as raw:
                    raw.send(*(query(statement) for statement in shape), ready=len(shape))
                    assert b"E" in kinds(raw.send(query(text)))
            with closing(Raw(front, agent, search_path="evil")) as raw:
                assert b"E" in kinds(raw.send(query(text)))
            shown = [entry["context"] for entry in call(front, "/v1/reviews?state=pending", dba)[1]]
            assert ["set: SET search_path = evil, public"] in shown
            with closing(Raw(front, agent)) as raw:
                assert b"E" not in kinds(raw.send(query(text)))
            assert admin.execute("SELECT count(*) FROM evil.prey_path WHERE body = 'changed'").fetchone() == (0,)
            assert admin.execute("SELECT count(*) FROM prey_path WHERE body = 'changed'").fetchone() == (2,)
        finally:
            admin.execute("DROP SCHEMA evil CASCADE")


def test_what_was_judged_runs_before_a_person_is_asked(
    backend: Server, front: Gateway, agent: str, dba: str,
) -> None:
    """One packet, an allowed statement and one that is held: the first has run while the second waits."""
    with watched(backend, "prey_packet") as admin, closing(Raw(front, agent)) as raw:
        raw.socket.sendall(query("CREATE TABLE packet_ran (id int)") + query("DELETE FROM prey_packet"))
        try:
            ticket = wait_pending(front, dba, "prey_packet")["ticket"]
            assert kinds(raw.until_ready())[-2:] == b"CZ"
            assert admin.execute("SELECT count(*) FROM packet_ran").fetchone() == (0,)
            assert call(front, f"/v1/reviews/{ticket}/deny", dba, {})[0] == 200
            assert b"E" in kinds(raw.until_ready())
        finally:
            admin.execute("DROP TABLE IF EXISTS packet_ran")


def test_a_client_that_sends_and_does_not_read(front: Gateway, agent: str) -> None:
    """It is stopped: the gateway keeps little for it, and others are served meanwhile."""
    def resident() -> int:
        status = Path(f"/proc/{front.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    before = resident()
    flood = close(b"S", "x") * 10_000
    with closing(Raw(front, agent)) as raw, closing(Raw(front, agent)) as other:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.socket.setblocking(False)
        sent = stopped = rounds = 0
        while stopped < 10:             # sends in a row that take nothing, each after a turn for somebody else
            try:
                sent += raw.socket.send(flood)
                stopped = 0
            except BlockingIOError:
                stopped += 1
            rounds += 1
            assert b"D" in kinds(other.send(query("SELECT 1")))
            assert sent < 50_000_000
        assert resident() - before < 60_000
