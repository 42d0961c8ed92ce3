"""Statements made to hurt: each is refused, nothing of it reaches the backend, and the same process serves others.

The backend writes every statement that it gets into its log (`log_statement`), which is what is searched.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway
from testbed.hostile import INPUTS, MARK
from testbed.postgres import Server, embedded
from tests.e2e.conftest import HEAD, PASSWORD, POLICIES, SCHEMA
from tests.e2e.test_attacks_controls import SYNC, Raw, execute, message, parse, query

HELD = """\
  - name: only-look
    connections: [plain]
    when: op.verb != "select" && op.verb != "set" && op.verb != "show" && op.verb != "discard"
    deny: nothing but reading here
"""


class Backend:
    """A server and what it has been sent since the last look."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._log = server.folder.parent / "log"
        self._read = 0

    def sent(self) -> str:
        """The log since the last call. Take it after a reply: what came before is written by then."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        self._read += len(new)
        return new.decode("utf-8", "replace")


@pytest.fixture(scope="module")
def logged() -> Iterator[Backend]:
    """PostgreSQL 18 that logs every statement, with the databases of the other tests."""
    with embedded({"log_statement": "all"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
            for database in ("crm", "plain"):
                admin.execute(f"CREATE DATABASE {database} OWNER app")
                with psycopg.connect(server.dsn(database), autocommit=True) as made:
                    made.execute("SET ROLE app")
                    made.execute(SCHEMA)
        yield Backend(server)


@pytest.fixture(scope="module")
def attacked(logged: Backend, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in front of it, with masks on `crm` and the rule above on `plain`."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    with gateway(folder, HEAD + POLICIES + HELD, env={"CRM_PASSWORD": PASSWORD}, backend=logged.server.port,
                 issuer=tokens.url) as running:
        yield running


@pytest.fixture(scope="module")
def bystander(attacked: Gateway, agent: str) -> Iterator[Raw]:
    """Another client's session, open all the time."""
    with closing(Raw(attacked, agent)) as raw:
        yield raw


def states(answer: list[tuple[bytes, bytes]]) -> list[str]:
    """The SQLSTATEs of the errors in an answer."""
    found = []
    for kind, body in answer:
        if kind == b"E":
            found += [field[1:].decode() for field in body.split(b"\0") if field[:1] == b"C"]
    return found


def require_served(attacked: Gateway, bystander: Raw, logged: Backend, hidden: str) -> None:
    """The process lives, another session is served by it, and the backend has not been sent `hidden`."""
    assert attacked.process.poll() is None
    answer = bystander.send(query("SELECT 'bystander'"))
    assert [kind for kind, _ in answer] == [b"T", b"D", b"C", b"Z"]
    sent = logged.sent()
    assert "SELECT 'bystander'" in sent
    assert hidden not in sent
    assert MARK not in sent


@pytest.mark.parametrize("name", INPUTS)
def test_a_hostile_statement_is_refused_and_not_passed_on(
    attacked: Gateway, logged: Backend, bystander: Raw, agent: str, name: str
) -> None:
    """By both protocols: an error with the right SQLSTATE, nothing at the backend, the same process serves on."""
    statement, expected = INPUTS[name]
    hidden = statement[:64].decode("utf-8", "replace")
    with closing(Raw(attacked, agent)) as raw:
        found = states(raw.send(message(b"Q", statement + b"\0")))
        assert found in [[state] for state in expected]
        require_served(attacked, bystander, logged, hidden)
        assert raw.send(query("SELECT 1"))[-1] == (b"Z", b"I")
    with closing(Raw(attacked, agent)) as raw:
        body = b"hostile\0" + statement + b"\0\0\0"
        found = states(raw.send(message(b"P", body), SYNC))
        if b"\0" in statement:
            assert found == ["08P01"]               # the string ends at the NUL, so the message does not add up
        else:
            assert found in [[state] for state in expected]
            require_served(attacked, bystander, logged, hidden)
            assert raw.send(query("SELECT 1"))[-1] == (b"Z", b"I")
    require_served(attacked, bystander, logged, hidden)


def test_what_is_let_through_is_in_the_log(attacked: Gateway, logged: Backend, agent: str) -> None:
    """The search can fail: an ordinary statement of the same form is found in the backend's log."""
    with closing(Raw(attacked, agent)) as raw:
        logged.sent()
        assert states(raw.send(query(f"SELECT 1 AS {MARK}"))) == []
        assert MARK in logged.sent()
        assert states(raw.send(parse("p", f"SELECT 2 AS {MARK}"), message(b"B", b"\0p\0" + b"\0" * 6), execute(""), SYNC)) == []
        assert MARK in logged.sent()


@pytest.mark.parametrize("statement", [
    "RESET standard_conforming_strings", "RESET client_encoding", "RESET ALL", "DISCARD ALL",
    "SET standard_conforming_strings TO DEFAULT", "SET client_encoding TO DEFAULT", "SET NAMES DEFAULT", "SET NAMES 'UTF-8'",
    "SET LOCAL client_encoding = utf8", "SET escape_string_warning = off", "SET backslash_quote = safe_encoding",
    "SELECT set_config('escape_string_warning', 'off', false)", "SELECT set_config('standard_conforming_strings', 'on', false)",
    "SET standard_conforming_strings = 1", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
])
def test_what_is_let_through_leaves_the_scanner_as_it_is(attacked: Gateway, agent: str, statement: str) -> None:
    """Settings that may be set or reset leave the backend's scanner where the gateway has pinned it."""
    with psycopg.connect(attacked.dsn(agent, "plain"), autocommit=True) as session:
        session.execute(statement)
        found = session.execute("SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN "
                                "('client_encoding', 'standard_conforming_strings', 'backslash_quote') ORDER BY name").fetchall()
        assert found == [("backslash_quote", "safe_encoding"), ("client_encoding", "UTF8"), ("standard_conforming_strings", "on")]


@pytest.mark.parametrize("options", [
    {"client_encoding": "LATIN1"}, {"options": "-c client_encoding=sjis"}, {"options": "-c standard_conforming_strings=off"},
    {"options": "--standard-conforming-strings=off"}, {"standard_conforming_strings": "off"}, {"backslash_quote": "on"},
    {"options": "-c backslash_quote=on"}, {"options": "-c escape_string_warning=off"}, {"escape_string_warning": "off"},
    {"options": "-c role=postgres"}, {"STANDARD_CONFORMING_STRINGS": "off"},
])
def test_no_start_up_option_changes_the_scanner(attacked: Gateway, logged: Backend, options: dict[str, str]) -> None:
    """A start-up message that asks for another scanner is refused before anybody logs in."""
    logged.sent()
    with closing(Raw.__new__(Raw)) as raw:
        raw.begin(attacked, {"user": "agent", "database": "crm", **options})
        assert states([raw.read()]) == ["0A000"]
    assert "crm" not in logged.sent()


MANY: list[tuple[str, bytes, list[str]]] = [
    ("as many empty parameters as there can be", b"\0\0" + b"\xff\xff" + b"\0\0\0\0" * 65_535 + b"\0\0", ["08P01"]),
    ("as many NULLs as there can be", b"\0\0" + b"\xff\xff" + b"\xff\xff\xff\xff" * 65_535 + b"\0\0", ["08P01"]),
    ("a format for each of them", b"\xff\xff" + b"\0\1" * 65_535 + b"\xff\xff" + b"\0\0\0\0" * 65_535 + b"\0\0", ["08P01"]),
    ("as many result formats as there can be", b"\0\0\0\0" + b"\xff\xff" + b"\0\1" * 65_535, ["08P01"]),
    ("one parameter of eight megabytes", b"\0\0" + b"\0\1" + struct.pack(">I", 1 << 23) + b"x" * (1 << 23) + b"\0\0", ["08P01"]),
    ("a negative length", b"\0\0" + b"\0\1" + b"\xff\xff\xff\xfe" + b"\0\0", ["08P01"]),
    ("a length of two gigabytes", b"\0\0" + b"\0\1" + b"\x7f\xff\xff\xff" + b"x\0\0", ["08P01"]),
    ("formats without parameters", b"\xff\xff" + b"\0\1" * 65_535 + b"\0\0\0\0", ["08P01"]),
    ("a format that does not exist", b"\0\1\0\2" + b"\0\0\0\0", ["08P01"]),
    ("more parameters than there are bytes", b"\0\0" + b"\xff\xff" + b"\0\0\0\0" * 10 + b"\0\0", ["08P01"]),
    ("more result formats than there are bytes", b"\0\0\0\0" + b"\xff\xff\0\1", ["08P01"]),
]


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body, _ in MANY])
def test_a_hostile_bind_is_refused(attacked: Gateway, logged: Backend, bystander: Raw, agent: str, body: bytes) -> None:
    """Counts and lengths of a Bind that are wrong or immense end in an error, and others are served on."""
    with closing(Raw(attacked, agent, "plain")) as raw:
        found = states(raw.send(parse("p", "SELECT 1"), message(b"B", b"\0p\0" + body), execute(""), SYNC))
        assert found == ["08P01"]
    require_served(attacked, bystander, logged, "\0")


def test_statements_of_the_largest_message_are_refused(attacked: Gateway, logged: Backend, bystander: Raw, agent: str) -> None:
    """A message as long as messages may be is taken in, refused in an error, and the session goes on."""
    with closing(Raw(attacked, agent)) as raw:
        for _ in range(2):
            found = states(raw.send(message(b"Q", f"SELECT {MARK}".encode() + b"x" * ((1 << 24) - 100) + b"\0")))
            assert found == ["54000"]
            require_served(attacked, bystander, logged, MARK)
        assert raw.send(query("SELECT 1"))[-1] == (b"Z", b"I")
