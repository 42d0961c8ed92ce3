"""Credentials that are made for a request: what the mediator asks for, and what the backend gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockgate.app.configuration import load_configuration
from lockgate.errors import ConfigError
from lockgate.govern.pending import Pending
from lockgate.model import Refusal, RefusalCode, Secret
from lockgate.protocols.http.enforcement import enforce
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Playbook
from lockgate.wire.steps import ClientCredentials, Credential, Disown
from tests.protocols.http import scene as s

OAUTH2 = {"inject": "oauth2", "token_url": "https://login.example/token", "scope": "crm.read", "audience": "crm"}
TERMS = ClientCredentials("https://login.example/token", "crm.read", "crm")


def asked(world: s.World, answer: Callable[[Credential], Any]) -> tuple[Playbook, list[object]]:
    """A conversation in which `answer` is the credential, and what was asked of the driver."""
    book, steps = world.book(), []

    def credential(step: Credential) -> Any:
        steps.append(step.token)
        return answer(step)

    book._answers |= {Credential: credential, Disown: steps.append}
    return book, steps


def test_a_request_waits_for_its_access_token_and_bears_it() -> None:
    """Nothing goes on before the token is there; it is on no record."""
    pending: Pending[Secret | Refusal] = Pending()
    world = s.World(connections=(s.connection(**OAUTH2),))
    book, steps = asked(world, lambda _: pending)
    book >> Bytes(CLIENT, s.request("POST", content=b"{}"))
    assert steps == [TERMS]
    assert not book.sent(SERVER)
    pending.resolve(Secret("tok-1"))
    book.resume()
    assert b"Authorization: Bearer tok-1\r\n" in book.sent(SERVER)
    assert book.sent(SERVER).endswith(b"\r\n\r\n{}")
    assert b"tok-1" not in b"".join(intent.forwarded for intent in world.log.intents)
    book >> Bytes(SERVER, s.answer())
    assert s.status(book) == 200


def test_a_401_of_the_backend_disowns_the_token() -> None:
    """The client gets the answer; who asks next gets a fresh token. Other answers say nothing of it."""
    book, steps = asked(s.World(connections=(s.connection(**OAUTH2),)), lambda _: Secret("tok-1"))
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(status=403))
    assert steps == [TERMS]
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(status=401))
    assert s.status(book) == 401
    assert steps == [TERMS, TERMS, Disown(TERMS)]


def test_without_a_token_the_client_gets_a_502_and_the_connection_goes_on() -> None:
    """Nothing is forwarded, and the next request asks again."""
    refusal = Refusal(RefusalCode.BACKEND_UNAVAILABLE, "the gateway has no access token for connection crm")
    answers: list[Any] = [refusal, Secret("tok-2")]
    book, _ = asked(s.World(connections=(s.connection(**OAUTH2),)), lambda _: answers.pop(0))
    book >> Bytes(CLIENT, s.request())
    assert s.status(book) == 502
    assert "no access token" in s.problem(book)["detail"]
    assert not book.sent(SERVER)
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert s.status(book) == 200


def test_other_credentials_are_never_disowned() -> None:
    """A 401 says nothing of a password that the configuration names."""
    book, steps = asked(s.World(), lambda _: Secret("x"))
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(status=401))
    assert steps == [None]


def test_the_table_says_where_the_token_is_had() -> None:
    """A row of its own in `lockgate check`."""
    connection = s.connection(**OAUTH2)
    row = enforce("crm", connection.options, (), None)[0]
    assert (row.control, row.problem) == ("credential", None)
    assert "https://login.example/token" in row.how


CONFIG = """\
state: state
listeners:
  - {{name: api, protocol: http, address: "127.0.0.1:0", plaintext_tokens: loopback}}
identity:
  providers:
    - {{name: test, issuer: "https://login.example", audience: lockgate}}
audit: {{origin: test.example/log}}
connections:
  - name: crm
    protocol: http
    address: crm.internal:443
    credential: {credential}
    options: {options}
policies:
  - {{name: open, who: {{groups: [agents]}}, allow: connect}}
"""
FULL = "{user: gateway, password: {env: X}}"


@pytest.mark.parametrize(("credential", "options", "expected"), [
    (FULL + "\n    tls: {certificate: '/dev/null/c', key: '/dev/null/k'}", "{}", [
        "13: there is no file /dev/null/c", "13: there is no file /dev/null/k"]),
    (FULL + "\n    tls: {certificate: lockgate.yaml}", "{}", [
        "13: the gateway's own certificate needs its key; write `certificate: …` and `key: …`, or neither"]),
    (FULL + "\n    tls: {mode: disable, certificate: lockgate.yaml, key: lockgate.yaml}", "{}", [
        "13: without TLS nobody is shown a certificate; write another `mode`, or take it away"]),
    ("{}", "{inject: oauth2, token_url: 'https://l.example/t'}", [
        "12: `inject: oauth2` needs its secret; write `credential: {password: {env: NAME}}`",
        "12: `inject: oauth2` needs the client's id at the token server; write `credential: {user: …}`"]),
    (FULL, "{inject: oauth2}", ["13: `inject: oauth2` needs the token server's address; write `token_url: https://…`"]),
    (FULL, "{inject: oauth2, token_url: 'http://l.example/t', unsafe_http: true}", [
        "13: the client's secret would travel without TLS; write https://…, or for development on loopback `unsafe_http: true`"]),
    (FULL, "{inject: oauth2, token_url: 'http://127.0.0.1/t'}", [
        "13: the client's secret would travel without TLS; write https://…, or for development on loopback `unsafe_http: true`"]),
    (FULL, "{inject: oauth2, token_url: 'https://u@l.example/t'}", [
        "13: `token_url` must be a URL without user and fragment; write https://…"]),
    (FULL, "{inject: oauth2, token_url: 'https://l.example/t', token_ca: no.pem}", ["13: there is no file {folder}/no.pem"]),
    (FULL, "{scope: a}", ["13: `scope` goes with `inject: oauth2`"]),
    (FULL, "{inject: oauth2, token_url: 'http://127.0.0.1:1/t', unsafe_http: true}", []),
    (FULL, "{inject: oauth2, token_url: 'https://l.example/t', scope: 'a b'}", []),
], ids=["no-files", "no-key", "no-tls", "account", "no-url", "far-http", "http", "user", "ca", "scope", "loopback", "good"])
def test_what_does_not_go_together_is_told_with_its_line(
    tmp_path: Path, credential: str, options: str, expected: list[str]
) -> None:
    """Each problem names the file and the line, and says what to write."""
    path = tmp_path / "lockgate.yaml"
    path.write_text(CONFIG.format(credential=credential, options=options))
    found: list[str] = []
    try:
        load_configuration(path)
    except ConfigError as error:
        found = str(error).splitlines()
    assert found == [f"{path}:{line.format(folder=tmp_path) if 'folder' in line else line}" for line in expected]
