"""Credentials in statements: nothing that is kept shows one, and what is no credential stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.analysis import secrets
from lockgate.analysis.secrets import HIDDEN, Kept, conceal, kept, obscure
from tests.steps import lines, matching

CANARY = "hunter2-canary"

HOLDING = [
    "ALTER ROLE app PASSWORD '{}'",
    "alter role app with encrypted password '{}' valid until 'infinity'",
    "CREATE USER eve PASSWORD E'{}\\'x'",
    "CREATE ROLE eve LOGIN PASSWORD $${}$$",
    "CREATE ROLE eve LOGIN PASSWORD $t${}$t$",
    "CREATE ROLE eve PASSWORD U&'{}'",
    "CREATE ROLE eve PASSWORD /* c */ '{}'",
    "CREATE ROLE eve PASSWORD -- c\n '{}'",
    "CREATE ROLE eve PASSWORD 'a'\n'{}'",
    "CREATE ROLE eve PASSWORD 'it''s {}'",
    "CREATE ROLE eve PASSWORD 'SCRAM-SHA-256$4096:{}'",
    "CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'u', password '{}')",
    "CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'u', \"password\" '{}', sslpassword '{}')",
    "ALTER SERVER s OPTIONS (SET password '{}')",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h user=u password={} dbname=d' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password=''{}'' dbname=d' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION 'postgresql://u:{}@h/d' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION 'postgresql://h/d?user=u&password={}&sslmode=require' PUBLICATION p",
    "SELECT * FROM dblink('host=h password={}', 'SELECT 1') AS t(x int)",
    "SELECT dblink_connect('c', 'postgres://u:{}@h')",
    "SELECT set_config('app.api_key', '{}', true)",
    "SET app.password = '{}'",
    "SET app.auth_token TO '{}'",
    "SELECT * FROM users WHERE password = crypt('{}', password)",
    "SELECT * FROM users WHERE api_key IN ('{}')",
    "UPDATE users SET passwd = '{}' WHERE id = 1",
    "UPDATE s SET doc = '{{\"user\": \"u\", \"password\": \"{}\"}}'",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE app PASSWORD ''{}'''; END $$",
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'ALTER ROLE app PASSWORD ''{}'''",
    "ALTER ROEL app PASSWORD '{}'",
    "ALTER ROLE app PASSWORD '{}",
    "COPY t FROM PROGRAM 'curl https://u:{}@h/'",
    "COPY t FROM PROGRAM 'curl -H \"Authorization: Bearer {}\"'",
    "SELECT 'eyJhbGciOiJFUzI1NiJ9.{}.c2ln'",
    "SELECT '-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----'",
]


@pytest.mark.parametrize("form", HOLDING)
def test_a_credential_is_replaced_wherever_it_stands(form: str) -> None:
    """In DDL, options, connection strings, URLs, bodies, JSON, broken statements; also in bytes on the wire."""
    text = form.format(CANARY, CANARY)
    sent = b"Q\x00\x00'\x27" + text.encode() + b"\0"
    found = kept(text, (), sent)
    assert CANARY not in found.text
    assert HIDDEN in found.text
    assert CANARY.encode() not in found.forwarded
    assert found.forwarded.startswith(b"Q\x00\x00'")
    recorded = obscure(sent)
    assert CANARY.encode() not in recorded
    assert len(recorded) == len(sent)


@pytest.mark.parametrize("text", [
    "SELECT 1", "SELECT password FROM users WHERE name = 'ann'", "SELECT id, 'secretary' FROM t",
    "SELECT * FROM tokens", "INSERT INTO notes VALUES (1, 'the key is under the mat')", "SELECT 'https://host/path'",
    "SELECT 'a@b', '://x'", "SELECT key, 'x' FROM t", "ALTER ROLE app PASSWORD NULL", "SELECT 'eyJ'",
    "SELECT bearer FROM t WHERE x = 'y'", "SELECT \"password\", \"x\" FROM t", "SET search_path = 'public'",
])
def test_what_is_no_credential_stays(text: str) -> None:
    """The record shows what was asked for: a word alone hides nothing."""
    assert kept(text, ("x", None), text.encode()) == Kept(text, ("x", None), text.encode())


def test_a_parameter_behind_such_a_name_is_one() -> None:
    """A bound value is hidden where its name says so, and where it is one by itself, on the wire as well."""
    text = "SELECT dblink_connect($1), $2, * FROM users WHERE password = $3 AND id = $4"
    values = (f"host=h password={CANARY}-1", None, f"{CANARY}-3", "17")
    sent = b"B" + b"\0".join(value.encode() for value in values if value) + b"E"
    found = kept(text, values, sent)
    assert found.parameters == (f"host=h password={HIDDEN}", None, HIDDEN, "17")
    assert found.text == text
    assert CANARY.encode() not in found.forwarded
    assert b"17" in found.forwarded


@given(st.text(alphabet="pasword ='\"\\$(),:@/\n-*eyJ.bx1", max_size=200))
def test_any_text_is_taken(text: str) -> None:
    """No text makes it fail, and what was concealed once stays so."""
    once = conceal(text)
    assert isinstance(once, str)
    assert CANARY not in conceal(f"ALTER ROLE a PASSWORD '{CANARY}'; {text}")


@pytest.mark.parametrize("unit", [
    "password ", "password='", "password (((", "password '\\", "password $a$", "eyJaaaaaaaaa.", "://a:", "password/*",
    "password 'a'\n", "password::", "password--", "password" + " " * 120, "passwordpassword", "-----BEGIN PRIVATE KEY-----", "password = ''", 'password "\\', "password  ", "bearer ",
])
def test_hostile_texts_cost_no_more_than_their_length(monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    """A text that is made to go back and forth costs twice as much where it is twice as long, not four times."""
    tried = []
    for length in (1_024, 2_048):
        with matching(monkeypatch, secrets) as steps:
            conceal("password " + unit * (length // len(unit)))
        tried.append(steps.count)
    assert tried[1] < 2.5 * tried[0]
    text = "password " + unit * (262_144 // len(unit))
    with lines(most=2 * len(text)):
        conceal(text)
