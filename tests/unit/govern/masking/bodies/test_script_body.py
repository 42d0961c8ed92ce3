"""JSONP: a document in a call is a document, and other scripts are text."""

from __future__ import annotations

import pytest

from lockgate.govern.masking.bodies import BodyTerms, body_mask
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.bodies.documents import every_split, mask, run

CARDS = (DetectMask(("credit_card",), MaskMethod.REDACT),)
NAMED = BodyTerms((mask("*.ssn"),), CARDS)
ROW, LEFT = b'{"ssn":"219","n":[1.50]}', b'{"ssn":"xxxx","n":[1.50]}'


@pytest.mark.parametrize("script", [
    b"f(%b)", b"/**/ typeof jQuery_1 === 'function' && jQuery_1(%b);", b"\xef\xbb\xbf a.b['c'] ( [%b] ) ;\r\n", b"var x = %b;",
    b";window.data=%b", b"f(%b);;",
])
@pytest.mark.parametrize("media_type", [b"application/javascript", b"text/javascript"])
def test_a_document_in_a_call_is_masked(media_type: bytes, script: bytes) -> None:
    """By the names of its members, in every split, and the call stays as it is."""
    assert every_split(lambda: body_mask(NAMED, media_type), script.replace(b"%b", ROW)) == script.replace(b"%b", LEFT)


@pytest.mark.parametrize("script", [
    b"", b"f()", b"f(", b'define(["a"], function (a) { return "4111111111111111"; });', b"(function () {})();", b"f([1,2)", b"// x",
    b'f("a", 4111111111111111)',
])
def test_another_script_is_text(script: bytes) -> None:
    """And is searched as text."""
    found = script.replace(b"4111111111111111", b"xxxx")
    assert every_split(lambda: body_mask(NAMED, b"text/javascript"), script) == found


def test_what_is_counted() -> None:
    """Each member once, and nothing of what turned out to be no document."""
    body = body_mask(NAMED, b"text/javascript")
    run(body, b"f(%b)" % ROW)
    assert list(body.masked.values()) == [1]
    body = body_mask(NAMED, b"text/javascript")
    run(body, b'f(["4111111111111111"], x)')
    assert body.masked == {"credit_card": 1}


def test_a_script_is_held_up_to_the_limit() -> None:
    """A longer call is refused, another script goes on as it comes."""
    terms = BodyTerms((mask("*.ssn"),), CARDS, limit=64)
    with pytest.raises(ValueError, match="too large"):
        body_mask(terms, b"text/javascript").feed(b"f(%b)" % (b"[" + b"1," * 40))
    other = body_mask(terms, b"text/javascript")
    assert other.feed(b"let a = 1; " * 10) + other.feed(b"b()") + other.finish() == b"let a = 1; " * 10 + b"b()"
