"""Forms: fields that masks name go, what detectors find goes, the rest stays byte for byte at every split."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking.bodies import BodyTerms, body_mask
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.bodies.documents import CANARY, cuts, every_split, mask, run

FORM = b"application/x-www-form-urlencoded"
TERMS = BodyTerms((mask("people.ssn"),), (DetectMask(("email", "ssn"), MaskMethod.PARTIAL),), ("crm", "people"))


@given(fields=st.lists(st.tuples(st.sampled_from(["ssn", "SSN", "a[ssn]", "b.ssn", "c", "ssn2", "é"]), st.text(max_size=8)), max_size=5),
       data=st.data())
def test_named_fields_go_and_the_rest_stays(fields: list[tuple[str, str]], data: st.DataObject) -> None:
    """However names and values are escaped, wherever it is cut."""
    hidden = [name.lower().rstrip("]").endswith("ssn") for name, _ in fields]
    sent = [(name, CANARY + value if hides else value) for (name, value), hides in zip(fields, hidden, strict=True)]
    body = urlencode(sent).encode()
    terms = BodyTerms((mask("people.ssn"),), (), ("crm", "people"))
    found = run(body_mask(terms, FORM), body, data.draw(cuts(len(body))))
    assert CANARY.encode() not in found
    expected = [(name, "xxxx" if hides else value) for (name, value), hides in zip(sent, hidden, strict=True)]
    assert parse_qsl(found.decode(), keep_blank_values=True, strict_parsing=bool(sent)) == expected
    if not any(hidden):
        assert found == body


@pytest.mark.parametrize(("body", "left"), [
    (b"%73sn=1&x=2", b"%73sn=xxxx&x=2"), (b"x=1;ssn=2;y", b"x=1;ssn=xxxx;y"), (b"&&a=&=b&", b"&&a=&=b&"), (b"", b""),
    (b"m=jane.doe%40example.org&n=a+b%2", b"m=jxxxx%40example.org&n=a+b%2"), (b"jane.doe@example.org", b"jxxxx%40example.org"),
    (quote_plus('j={"ssn":1, "b":2}', safe="=").encode(), b"j=%7B%22ssn%22%3A0%2C+%22b%22%3A2%7D"),
    (b"customer[ssn][]=1", b"customer[ssn][]=xxxx"),
])
def test_fields(body: bytes, left: bytes) -> None:
    """Escaped names, semicolons, empty fields, documents in a field, names in brackets."""
    assert every_split(lambda: body_mask(TERMS, FORM), body) == left


def test_a_long_field_is_refused() -> None:
    """What is held is bounded."""
    body = body_mask(BodyTerms((mask("ssn"),), limit=100), FORM)
    assert body is not None
    assert body.feed(b"a=" + b"x" * 200 + b"&") == b"a=" + b"x" * 200 + b"&"
    with pytest.raises(ValueError, match="too long"):
        for _ in range(20):
            body.feed(b"0123456789")
