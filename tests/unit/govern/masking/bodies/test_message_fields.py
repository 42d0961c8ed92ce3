"""Header fields and trailers: what masks name, what detectors find, and what is never meant."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.govern.masking.bodies import BodyTerms, mask_fields, telling_names
from lockgate.govern.masking.bodies.shown import ShownValues
from lockgate.govern.masking.detectors import DETECTORS
from lockgate.model import CustomDetector, DetectMask, MaskMethod
from tests.unit.govern.masking.bodies.documents import KEYS, mask
from tests.unit.govern.masking.bodies.test_text_body import EVERY, PROSE
from tests.unit.govern.masking.shapes import accepted

CARDS = (DetectMask(("credit_card",), MaskMethod.REDACT),)
HIDE = BodyTerms((mask("*.ssn", "customers.*"),), CARDS, ("crm", "orders", "7"))
NAMED = BodyTerms((mask("*.ssn", "*.customer_id"),), CARDS)


def shown(terms: BodyTerms, name: str, value: str) -> str:
    """What becomes of one field among others."""
    fields = [(b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"), (name.lower().encode(), value.encode())]
    values, _ = mask_fields(terms, fields)
    if values is None:
        return value
    assert values[0] == fields[0][1]
    return values[1].decode()


@pytest.mark.parametrize(("name", "value", "left"), [
    ("ssn", "219-09-9999", "xxxx"), ("X-SSN", "219-09-9999", "xxxx"), ("X-Customer-Id", "12", "xxxx"), ("customer_id", "12", "xxxx"),
    ("Location", "/a?b=1&ssn=219-09-9999#c", "/a?b=1&ssn=xxxx#c"), ("Location", "https://e.example/?%73sn=219", "https://e.example/?%73sn=xxxx"),
    ("Content-Location", "/a?x=1;ssn=2", "/a?x=1;ssn=xxxx"), ("Link", '</a?ssn=1>; rel="next", </b?ssn=2>', '</a?ssn=xxxx>; rel="next", </b?ssn=xxxx>'),
    ("Refresh", "5; url=/a?ssn=219", "5; url=/a?ssn=xxxx"), ("Set-Cookie", "ssn=219-09-9999; Path=/", "ssn=xxxx; Path=/"),
    ("Set-Cookie", "a=ssn; ssn=1", "a=ssn; ssn=1"), ("X-Info", 'a=1, ssn="219 09", b', 'a=1, ssn="xxxx", b'), ("X-Info", "ssn=1", "ssn=xxxx"),
    ("Location", "/a#ssn=219&b=1", "/a#ssn=xxxx&b=1"), ("X-Next", "/a#ssn=219", "/a#ssn=xxxx"),
    ("X-User", '{"ssn":"219","n":1.50}', '{"ssn":"xxxx","n":1.50}'), ("X-Users", ' [{"ssn":"219"}]', '[{"ssn":"xxxx"}]'),
    ("X-User", '{"user":{"ssn":"21\u00e9"}}', '{"user":{"ssn":"xxxx"}}'), ("X-User", '{"a":"219"}', '{"a":"219"}'), ("X-User", "{ssn: 1}", "{ssn: 1}"),
    ("Set-Cookie", "u=%7B%22ssn%22%3A%22219%22%7D; Path=/", "u=%7B%22ssn%22%3A%22xxxx%22%7D; Path=/"),
    ("Set-Cookie", 'u=j%3A{"ssn":219}; Path=/', "u=j%3A%7B%22ssn%22%3A0%7D; Path=/"),
    ("Location", "/a?b=%5B%7B%22ssn%22%3A1%7D%5D&c=%7B%22d%22%3A1%7D", "/a?b=%5B%7B%22ssn%22%3A0%7D%5D&c=%7B%22d%22%3A1%7D"),
    ("Content-Type", "text/plain; charset=utf-8; ssn=219", "text/plain; charset=utf-8; ssn=xxxx"),
    ("Content-Disposition", 'attachment; filename="a, ssn=1.pdf"; ssn="21\\" 9"', 'attachment; filename="a, ssn=1.pdf"; ssn="xxxx"'),
    ("Content-Disposition", "attachment; ssn*=UTF-8''219%2009", "attachment; ssn*=UTF-8''xxxx"),
    ("WWW-Authenticate", 'Bearer realm="crm", customer_id = "12", SSN=219', 'Bearer realm="crm", customer_id="xxxx", SSN=xxxx'),
    ("WWW-Authenticate", 'Basic ssn="219 09 9999', 'Basic ssn="xxxx"'), ("Proxy-Authenticate", "Digest ssn=1,qop=auth", "Digest ssn=xxxx,qop=auth"),
    ("X-Info", "", ""), ("ssn", "", ""), ("X-Info", "assn=1 ssnx=2", "assn=1 ssnx=2"), ("X-Info", "=1&ssn", "=1&ssn"),
])
def test_what_a_mask_names_is_hidden(name: str, value: str, left: str) -> None:
    """A field, a parameter of a URL, a cookie, and what looks like a parameter in fields that no standard knows."""
    assert shown(NAMED, name, value) == left


@pytest.mark.parametrize(("name", "value", "left"), [
    ("X-Card", "4111 1111 1111 1111 ok", "xxxx ok"), ("Location", "/a?c=4111%201111%201111%201111&d=1", "/a?c=xxxx&d=1"),
    ("Location", "/a?c=4111+1111+1111+1111", "/a?c=xxxx"), ("X", "%3411111111111111%31", "xxxx"), ("ETag", '"4111111111111111"', '"xxxx"'),
    ("Content-Disposition", "attachment; filename*=UTF-8''4111%201111%201111%201111.pdf", "attachment; filename*=UTF-8''xxxx.pdf"),
    ("X", "4111 1111%201111 1111", "xxxx"), ("X", "100%", "100%"), ("X", "a%20b+c", "a%20b+c"), ("Content-Type", "a/b+json", "a/b+json"),
])
def test_what_detectors_find_is_hidden_behind_escapes_too(name: str, value: str, left: str) -> None:
    """What has no find stays as it was written."""
    assert shown(NAMED, name, value) == left


@pytest.mark.parametrize(("name", "value"), [
    ("Content-Type", "text/plain; charset=utf-8"), ("ETag", '"a"'), ("Cache-Control", "max-age=5"), ("Link", "</a>; rel=next"),
    ("Content-Disposition", 'form-data; name="a"'), ("Content-Type", "multipart/mixed; boundary=a"),
    ("WWW-Authenticate", 'Bearer realm="a", error="invalid_token", scope="x y"'),
    ("Server", "x"), ("Access-Control-Allow-Origin", "*"), ("WWW-Authenticate", 'Basic realm="a"'),
])
def test_fields_of_the_protocol_are_not_hidden_by_name(name: str, value: str) -> None:
    """`customers.*` means what stands in an answer, not what the answer needs to be one."""
    terms = BodyTerms((mask("customers.*"),), CARDS, ("crm", "customers", "7"))
    assert shown(terms, name, value) == value
    assert shown(terms, "X-Name", "ann") == "xxxx"
    assert shown(HIDE, "X-Name", "ann") == "ann"


def test_every_method_writes_a_field() -> None:
    """Whatever a mask makes of a value, it ends no field and begins none."""
    for method in MaskMethod:
        terms = BodyTerms((mask("*.ssn", method=method),), (), (), b"scope", b"scope", KEYS)
        values, _ = mask_fields(terms, [(b"ssn", b"219-09-9999 \xe9"), (b"x", b"ssn=219-09-9999")])
        assert values is not None
        assert b"219-09-9999" not in b"".join(values)
        assert not any(byte < 32 for value in values for byte in value)


@given(texts=st.lists(st.tuples(PROSE, st.sampled_from(sorted(DETECTORS)).flatmap(accepted) | st.just(b"plain"), PROSE), max_size=4))
@settings(max_examples=50, deadline=None)
def test_fields_together_are_searched_like_each_alone(texts: list[tuple[bytes, bytes, bytes]]) -> None:
    """For what any shipped detector knows, among other texts, and at the ends of one."""
    fields = [(b"x", b"".join(parts).replace(b"\0", b"").replace(b"%", b"").replace(b"+", b"")) for parts in texts]
    found, masked = mask_fields(EVERY, fields)
    alone = [ShownValues(EVERY) for _ in fields]
    expected = []
    for values, (_, value) in zip(alone, fields, strict=True):
        running = values.running()
        expected.append(running.feed(value) + running.finish())
    assert (found if found is not None else [value for _, value in fields]) == expected
    assert sum(masked.values()) == sum(sum(values.masked.values()) for values in alone)


def test_an_anchored_pattern_is_found_in_one_field_of_several() -> None:
    """The ends of a value are its own, whatever is looked at with it."""
    custom = CustomDetector("badge", "^b[0-9]{4}$")
    terms = BodyTerms(detects=(DetectMask(("badge",), MaskMethod.REDACT, (custom,)),))
    found, masked = mask_fields(terms, [(b"x", b"a"), (b"x", b"b1234"), (b"x", b"c")])
    assert found is not None
    assert (found[0::2], b"1234" in found[1], masked) == ([b"a", b"c"], False, {"badge": 1})


def test_names_that_hold_a_find_are_told() -> None:
    """As they are written, since a key's letters have their case, and behind percent signs; and how often which was found."""
    detects = (DetectMask(("credit_card", "aws_key"), MaskMethod.REDACT),)
    key = b"AKIAQ3EGRQ7N5J2PLX4M"
    names = (b"X-4111111111111111", b"Date", b"X-" + key, b"x-%3411111111111111%31", b"X-Card")
    found, masked = telling_names(detects, names)
    assert found == {0, 2, 3}
    assert dict(masked)["aws_key"] == 1
    assert telling_names((), names) == (frozenset(), ())
