"""JSON that is called something else is JSON, and what only begins like it is what it is called."""

from __future__ import annotations

import pytest

from lockgate.govern.masking.bodies import BodyTerms, body_mask, passing_mask
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.bodies.documents import every_split, mask, run

CARDS = (DetectMask(("credit_card",), MaskMethod.REDACT),)
NAMED = BodyTerms((mask("*.ssn"),), CARDS)
TYPES = (b"text/plain", b"text/html", b"text/csv", b"text/tab-separated-values", b"text/event-stream", b"text/javascript",
         b"application/x-www-form-urlencoded", b"application/yaml")


@pytest.mark.parametrize("media_type", TYPES, ids=bytes.decode)
@pytest.mark.parametrize(("body", "left"), [
    (b'{"a":"b=c&d","ssn":"219"}', b'{"a":"b=c&d","ssn":"xxxx"}'), (b' \r\n[{"ssn":"219"}]', b' \r\n[{"ssn":"xxxx"}]'),
    (b'\xef\xbb\xbf[[ {"ssn":1}]]', b'\xef\xbb\xbf[[ {"ssn":0}]]'), (b'{"a":1}\n{"ssn":"219"}\n', b'{"a":1}\n{"ssn":"xxxx"}\n'),
    (b'[1,{"ssn":"219"}]', b'[1,{"ssn":"xxxx"}]'), (b'"{\\"ssn\\":\\"219\\"}"', b'"{\\"ssn\\":\\"xxxx\\"}"'),
    (b'["\\u0034111111111111111"]', b'["xxxx"]'),
], ids=["object", "array", "mark", "lines", "mixed", "string", "escapes"])
def test_json_of_another_name_is_masked(media_type: bytes, body: bytes, left: bytes) -> None:
    """Whatever its type says, in every split."""
    assert every_split(lambda: body_mask(NAMED, media_type), body) == left


@pytest.mark.parametrize("body", [
    b"", b" ", b"[", b"[2026-01-01 10:00] started, card 4111111111111111\n[x]", b"[1] a note [2] another", b'"quoted" words', b'"{not" json',
    b"words { }", b"[[x]]", b"[1, 2", b'["a", 4111111111111111, oops]', b"\xef\xbb\xbf", b"\xef\xbb\xbfwords",
])
def test_what_only_begins_like_json_is_text(body: bytes) -> None:
    """And is searched as text, in every split."""
    card = b"4111111111111111"
    assert every_split(lambda: body_mask(NAMED, b"text/plain"), body) == body.replace(card, b"xxxx")


@pytest.mark.parametrize("body", [b'{"ssn":"219"', b"{ssn: '219'}", b'[{"ssn":"219"},', b'{"a":1} {"ssn":"219"} end'])
def test_an_object_that_is_none_is_refused_where_masks_name_members(body: bytes) -> None:
    """Its members could be ones that masks name. Without such masks it is text."""
    with pytest.raises(ValueError, match="JSON"):
        run(body_mask(NAMED, b"text/plain"), body)
    assert run(body_mask(BodyTerms(detects=CARDS), b"text/plain"), body) == body


def test_what_was_counted_on_the_way_is_not_counted_twice() -> None:
    """A find in what turned out to be text is one find."""
    body = body_mask(NAMED, b"text/plain")
    run(body, b'["4111111111111111", oops]')
    assert body.masked == {"credit_card": 1}


def test_what_is_held_is_bounded() -> None:
    """Above the limit it stays what it has been so far."""
    terms = BodyTerms((mask("*.ssn"),), CARDS, limit=64)
    body = body_mask(terms, b"text/plain")
    assert body.feed(b"[" + b"1," * 100)
    assert body.feed(b'{"ssn":"219"}]') + body.finish() == b'{"ssn":"xxxx"}]'
    spaces = body_mask(terms, b"text/plain")
    assert spaces.feed(b" " * 100).strip() == b""


def test_what_may_pass_passes_unless_it_is_json() -> None:
    """Images and archives byte for byte; JSON that is called one is masked."""
    for data in (b"\x89PNG\0 4111111111111111", b"{\0\1\2", b"[\0", b""):
        assert every_split(lambda: passing_mask(NAMED), data) == data
    assert every_split(lambda: passing_mask(NAMED), b'{"ssn":"219"}') == b'{"ssn":"xxxx"}'
