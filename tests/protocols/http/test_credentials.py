"""Credentials that are made for a request: what the mediator asks for, and what the backend gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockgate.app.configuration import load_configuration
from lockgate.errors import ConfigError
from lockgate.govern.pending import Pending
from lockgate.model import ColumnMask, MaskMethod, Refusal, RefusalCode, Rule, Secret
from lockgate.protocols.http.enforcement import enforce
from lockgate.protocols.http.signing import Key, authorization
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


AWS = {"inject": "aws", "region": "us-east-1", "service": "s3"}
NOW = 1_369_353_600.0       # 2013-05-24T00:00:00Z


def signed(content: bytes | None = None, **options: Any) -> tuple[Playbook, s.World]:
    """A conversation whose backend wants signatures."""
    made = s.connection(**{**AWS, "host": "examplebucket.s3.amazonaws.com"}, **options)
    made = made.model_copy(update={"credential": made.credential.model_copy(update={"user": "AKIAIOSFODNN7EXAMPLE"})})
    world = s.World(connections=(made,), secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", now=lambda: NOW)
    return world.book(), world


def test_a_request_is_signed_as_it_is_sent() -> None:
    """The signature is over method, target, host and content; what a client writes in its place does not go on."""
    book, world = signed()
    book >> Bytes(CLIENT, s.request("PUT", "/test%24file.text?b=2&a=1", b"Welcome to Amazon S3.", X_Amz_Date="forged",
                                    X_Amz_Content_Sha256="forged", X_Amz_Security_Token="forged",
                                    X_Amz_Storage_Class="REDUCED_REDUNDANCY"))
    sent = book.sent(SERVER)
    digest = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
    expected = authorization(KEY, b"PUT", b"/test%24file.text?b=2&a=1", [
        (b"host", b"examplebucket.s3.amazonaws.com"), (b"x-amz-content-sha256", digest.encode()),
        (b"x-amz-date", b"20130524T000000Z"), (b"x-amz-storage-class", b"REDUCED_REDUNDANCY")], digest, "20130524T000000Z")
    assert b"Authorization: " + expected + b"\r\n" in sent
    assert b"X-Amz-Date: 20130524T000000Z\r\n" in sent
    assert b"X-Amz-Content-Sha256: " + digest.encode() in sent
    assert b"forged" not in sent
    assert sent.endswith(b"\r\n\r\nWelcome to Amazon S3.")
    assert b"Signature=" not in b"".join(intent.forwarded for intent in world.log.intents)


def test_large_content_is_held_to_be_signed_unless_the_service_takes_it_unsigned() -> None:
    """A content that could go on as it comes is whole before anything goes on; with `unsigned_payload` it streams."""
    large = s.request("POST", content=b"x" * 100_000)
    book, _ = signed()
    book >> Bytes(CLIENT, large[:-1])
    assert not book.sent(SERVER)
    book >> Bytes(CLIENT, large[-1:])
    assert b"UNSIGNED" not in book.sent(SERVER)
    book, _ = signed(unsigned_payload=True)
    book >> Bytes(CLIENT, large[:-1])
    assert b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n" in book.sent(SERVER)
    book >> Bytes(CLIENT, large[-1:])
    assert book.sent(SERVER).endswith(b"x" * 100_000)


def test_a_temporary_key_brings_its_session_token() -> None:
    """It is read where the connection says, sent and signed; one that cannot be read is a 502."""
    book, _ = signed(session_token={"env": "SESSION"})
    book._answers[Credential] = lambda step: Secret("k" if step.reference is None else f"token-of-{step.reference.env}")
    book >> Bytes(CLIENT, s.request())
    assert b"X-Amz-Security-Token: token-of-SESSION\r\n" in book.sent(SERVER)
    assert b"SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token," in book.sent(SERVER)
    book, _ = signed(session_token={"env": "SESSION"})
    for unusable in (Refusal(RefusalCode.BACKEND_UNAVAILABLE, "no credential"), Secret("a\r\nHost: evil")):
        book._answers[Credential] = lambda step, found=unusable: Secret("k") if step.reference is None else found
        book >> Bytes(CLIENT, s.request())
        assert s.status(book) == 502
        assert not book.sent(SERVER)


KEY = Key("AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "us-east-1", "s3")
SUITE = Key("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), "us-east-1", "service")
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("method", "target", "more", "expected"), [
    (b"GET", b"/", [], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    (b"POST", b"/", [], "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (b"GET", b"/?Param2=value2&Param1=value1", [], "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    (b"POST", b"/", [(b"my-header1", b"VALUE1")], "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"),
], ids=["get-vanilla", "post-vanilla", "get-vanilla-query-order-key-case", "post-header-value-case"])
def test_signatures_are_those_of_the_published_suite(
    method: bytes, target: bytes, more: list[tuple[bytes, bytes]], expected: str
) -> None:
    """AWS, aws-sig-v4-test-suite: the cases of these names."""
    fields = [(b"host", b"example.amazonaws.com"), (b"x-amz-date", b"20150830T123600Z"), *more]
    found = authorization(SUITE, method, target, fields, EMPTY, "20150830T123600Z").decode()
    assert found.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ")
    assert found.endswith(f"Signature={expected}")


def test_the_signature_is_that_of_the_published_example_of_s3() -> None:
    """Amazon S3 API Reference, "Signature Calculations for the Authorization Header", example GET Object."""
    found = authorization(KEY, b"GET", b"/test.txt", [
        (b"host", b"examplebucket.s3.amazonaws.com"), (b"range", b"bytes=0-9"), (b"x-amz-content-sha256", EMPTY.encode()),
        (b"x-amz-date", b"20130524T000000Z")], EMPTY, "20130524T000000Z")
    assert found.endswith(b"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


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
    (FULL, "{inject: aws}", [
        "13: `inject: aws` needs a region; write `region: eu-central-1`", "13: `inject: aws` needs a service; write `service: s3`"]),
    (FULL + "\n    tls: {mode: disable}", "{inject: aws, region: r, service: s3, unsigned_payload: true}", [
        "14: content that nobody signs needs TLS; write another `tls: {mode: …}`"]),
    (FULL, "{inject: aws, region: r, service: s3, session_token: {}}", [
        "13: a secret has one place; write `{env: NAME}` or `{file: path}`"]),
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
], ids=["aws", "unsigned", "session", "no-files", "no-key", "no-tls", "account", "no-url", "far-http", "http", "user", "ca", "scope", "loopback", "good"])
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


@pytest.mark.parametrize("name", ["X_Internal_Key", "x_client_cert", "X_SSL.Client_Verify", "Client_Cert", "X_Host", "True_Client_IP", "X_Agent"])
def test_a_field_that_stays_here_does_so_in_another_spelling(name: str) -> None:
    """Many servers read `_` as `-`: it would be the credential's field, or what a proxy says of a client's certificate."""
    crm = s.connection(inject="header", name="X-Internal-Key", token_header="x-agent")
    sent = s.request(X_Mark="evil").replace(b"X-Mark", name.encode()).replace(b"\r\n\r\n", b"\r\nmy_own: 1\r\n\r\n")
    book = s.World(connections=(crm,)).book() >> Bytes(CLIENT, sent)
    assert b"evil" not in book.sent(SERVER)
    assert b"\r\nmy_own: 1\r\n" in book.sent(SERVER)
    assert book.sent(SERVER).count(s.SECRET.encode()) == 1


def test_changes_to_a_document_are_not_asked_for_where_masks_are_due() -> None:
    """Nor are parts of it (RFC 3229 section 10.5.3): nothing can be found in them."""
    hide = Rule(name="hide", masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),))
    for rules, is_there in (((s.ALLOW, hide), False), ((s.ALLOW,), True)):
        book = s.World(rules=rules).book() >> Bytes(CLIENT, s.request(A_IM="vcdiff, range"))
        assert (b"A-IM: vcdiff" in book.sent(SERVER)) is is_there


@pytest.mark.parametrize("query", ["key=mine", "a=1&key=mine", "a=1&%6bey=mine", "KEY=mine", "a=1;key=mine", "key", "key=1&key=2"])
def test_a_client_writes_nothing_where_the_credential_is_in_the_query(query: str) -> None:
    """Of two parameters of a name servers take the first or the last: the client's could stand for the gateway's."""
    world = s.World(connections=(s.connection(inject="query", name="key"),))
    book = world.book() >> Bytes(CLIENT, s.request("GET", f"/a?{query}"))
    assert (s.status(book), book.sent(SERVER)) == (400, b"")
    book = world.book() >> Bytes(CLIENT, s.request("GET", "/a?keys=1&a=key"))
    assert book.sent(SERVER).startswith(f"GET /a?keys=1&a=key&key={s.SECRET} ".encode())
