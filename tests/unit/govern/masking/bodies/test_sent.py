"""Bodies that clients send: tokens come back as values, masks are not stored, finds lead to what policy says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from lockgate.govern.masking.bodies import BodyTerms, body_mask, check_body, check_text
from lockgate.govern.masking.requests import ContentCheck
from lockgate.govern.masking.tokens import Tokens
from lockgate.model import ColumnMask, KeyScope, MaskMethod, RequestAction, RequestCheck
from tests.unit.govern.masking.bodies.documents import KEYS, Pair, documents, mask, run

JSON, FORM, TEXT = b"application/json", b"application/x-www-form-urlencoded", b"text/plain"
TOKEN = mask("email", method=MaskMethod.TOKEN, returns=True)


def terms_of(*masks: ColumnMask, task: bytes = b"task") -> BodyTerms:
    return BodyTerms(masks, place=("crm", "people"), scope=b"connection", task_scope=task, keys=KEYS)


def check_of(action: RequestAction | None = None, *, guards: bool = False) -> ContentCheck:
    checks = () if action is None else (RequestCheck(("credit_card", "password_assignment", "ssn"), action),)
    return ContentCheck(checks, Tokens(KEYS, b"any"), guards=guards)


def shown(terms: BodyTerms, document: Any) -> Any:
    return json.loads(run(body_mask(terms, JSON), json.dumps(document).encode()))


SENT = {"a": [{"email": "jane.doe@example.org", "b": 1.50}], "t": '{"email": "x \\" é"}', "n": None}


def test_tokens_come_back_as_values() -> None:
    """What was shown under a mask that returns is sent on as what it stands for, in documents in strings as well."""
    tokens = shown(terms_of(TOKEN), SENT)
    assert tokens["a"][0]["email"].startswith("tok_")
    check = check_of(guards=True)
    found = check_body(terms_of(TOKEN), check, json.dumps(tokens).encode(), JSON)
    assert found is not None
    assert json.loads(found) == SENT
    assert not check.has_mask
    token = tokens["a"][0]["email"].encode()
    assert check_body(terms_of(TOKEN), check, b"x=1&person[email]=" + token, FORM) == b"x=1&person[email]=jane.doe%40example.org"
    assert check_text(terms_of(TOKEN), check, token, "email") == b"jane.doe@example.org"


@pytest.mark.parametrize("terms", [
    terms_of(mask("email", method=MaskMethod.TOKEN)), terms_of(TOKEN, task=b"other"), terms_of(),
    terms_of(TOKEN, mask("people.email", method=MaskMethod.REDACT, returns=True)),
    terms_of(mask("email", method=MaskMethod.TOKEN, returns=True, scope=KeyScope.CONNECTION)),
    terms_of(mask("mail", method=MaskMethod.TOKEN, returns=True)),
])
def test_other_tokens_stay_and_are_masks(terms: BodyTerms) -> None:
    """Of a mask that does not return, of another task, under a stronger mask, of another scope or name."""
    body = json.dumps(shown(terms_of(TOKEN), SENT["a"])).encode()
    check = check_of(guards=True)
    assert check_body(terms, check, body, JSON) == body
    assert check.has_mask
    asking = check_of()
    assert check_body(terms, asking, body, JSON) == body
    assert not asking.has_mask


def test_a_token_of_an_object_does_not_come_back() -> None:
    """Whether it was one, or its text, nobody knows: it is a mask that must not be stored."""
    body = json.dumps(shown(terms_of(TOKEN), {"email": {"a": 1}})).encode()
    check = check_of(guards=True)
    assert check_body(terms_of(TOKEN), check, body, JSON) == body
    assert check.has_mask


@pytest.mark.parametrize(("body", "media"), [
    (b'{"a":"xxxx"}', JSON), (b'{"a":["mail jxxx@example.org"]}', JSON), (b'{"xxxx":1}', JSON), (b'{"t":"{\\"a\\":\\"xxxx\\"}"}', JSON),
    (b'{"a":"x\\u0078xx"}', JSON), (b"a=1&b=xxxx", FORM), (b"a=%78xxx", FORM), (b"a=h_0123456789abcdef", TEXT),
])
def test_masks_are_not_stored(body: bytes, media: bytes) -> None:
    """Wherever one stands, if the request stores."""
    check = check_of(guards=True)
    assert check_body(terms_of(TOKEN), check, body, media) == body
    assert check.has_mask


CASES = [
    (b'{"n" : 4111111111111111, "a":["pay 4111 1111 1111 1111"], "ok":1.0}', b'{"n" : 0, "a":["pay xxxx"], "ok":1.0}', JSON),
    (b'{"password":{"v":"hunter22"}}', b'{"password":{"v":"xxxx"}}', JSON),
    (b'{"ssn":"219099999"}', b'{"ssn":"xxxx"}', JSON),
    (b"a=1&ssn=219099999&c=4111+1111+1111+1111", b"a=1&ssn=xxxx&c=xxxx", FORM),
    (b'a={"c":"4111 1111 1111 1111"}', b"a=%7B%22c%22%3A%22xxxx%22%7D", FORM),
    (b"pay 4111 1111 1111 1111 now", b"pay xxxx now", TEXT),
]


@pytest.mark.parametrize(("body", "masked", "media"), CASES)
def test_finds_lead_to_what_policy_says(body: bytes, masked: bytes, media: bytes) -> None:
    """They are put on record, replaced, or refuse the request."""
    for action in RequestAction:
        check = check_of(action)
        found = check_body(terms_of(TOKEN), check, body, media)
        assert check.action is action
        assert sum(check.found.values()) >= 1
        if action is not RequestAction.BLOCK:
            assert found == (masked if action is RequestAction.MASK else body)


@given(pair=documents())
@settings(max_examples=40, deadline=None)
def test_what_is_clean_stays_byte_for_byte(pair: Pair) -> None:
    """Whatever is looked for, and though a member is one that a mask names."""
    body = pair[0].encode()
    check = check_of(RequestAction.MASK, guards=True)
    assert check_body(terms_of(mask("ssn", method=MaskMethod.TOKEN, returns=True)), check, body, JSON) in (
        body, None) or check.found


def test_what_is_not_what_it_says_is_refused() -> None:
    """And what nothing can look into is told from what is clean."""
    with pytest.raises(ValueError):
        check_body(terms_of(TOKEN), check_of(guards=True), b"{", JSON)
    assert check_body(terms_of(TOKEN), check_of(guards=True), b"\x89PNG", b"image/png") is None
