"""Bodies in parts: each part is masked by its own type and name; what two readers could read differently is refused."""

from __future__ import annotations

import pytest

from lockgate.govern.masking.bodies import BodyTerms, body_mask
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.bodies.documents import CANARY, every_split, mask, run

FORM = b"multipart/form-data"
TERMS = BodyTerms((mask("people.ssn"),), (DetectMask(("email", "ssn"), MaskMethod.PARTIAL),), ("crm", "people"))
BOUNDARY = {b"boundary": b"XyZ"}


def part(content: bytes, name: bytes = b"a", more: bytes = b"", disposition: bytes = b"") -> bytes:
    return b'--XyZ\r\nContent-Disposition: form-data; name="' + name + b'"' + disposition + b"\r\n" + more + b"\r\n" + content + b"\r\n"


END = b"--XyZ--\r\n"


def test_parts_are_masked_by_name_and_type() -> None:
    """Fields, documents, texts; at every split."""
    body = (part(b"1") + part(CANARY.encode(), b"SSN") + part(b'{"ssn":1,"b":1.0}', b"j", b"Content-Type: application/json\r\n")
            + part(b"mail jane.doe@example.org\r\n--Xy", b"t", b"content-type: text/plain; charset=utf-8\r\nContent-Length: 7\r\n", b'; filename="f.txt"')
            + part(b"") + part(b"ssn=1&b", b"f", b"Content-Type: application/x-www-form-urlencoded\r\n") + part(b'{"ssn":2}', b"d") + END)
    left = (part(b"1") + part(b"xxxx", b"SSN") + part(b'{"ssn":0,"b":1.0}', b"j", b"Content-Type: application/json\r\n")
            + part(b"mail jxxxx@example.org\r\n--Xy", b"t", b"content-type: text/plain; charset=utf-8\r\n", b'; filename="f.txt"')
            + part(b"") + part(b"ssn=xxxx&b", b"f", b"Content-Type: application/x-www-form-urlencoded\r\n") + part(b'{"ssn":0}', b"d") + END)
    assert every_split(lambda: body_mask(TERMS, FORM, parameters=BOUNDARY), body) == left


def test_what_is_no_part_does_not_go_on() -> None:
    """In front, behind, and a part without content whose only line end is the delimiter's."""
    body = b"jane.doe@example.org\r\n" + part(b"1") + b"--XyZ \t\r\n\r\n--XyZ\r\nX: y\r\n\r\n--XyZ--\r\njane.doe@example.org"
    assert every_split(lambda: body_mask(TERMS, FORM, parameters=BOUNDARY), body) == (
        part(b"1") + b"--XyZ\r\n\r\n\r\n--XyZ\r\nX: y\r\n\r\n\r\n--XyZ--\r\n")


@pytest.mark.parametrize("body", [
    part(b"1"), b"no parts", part(b"1") + b"--XyZ", part(b"1") + b"--XyZa\r\n\r\n" + END, part(b"1")[:-2] + b"--XyZ-\r\n",
    part(b"1", more=b"Content-Disposition: form-data; name=ssn\r\n") + END, part(b"1", disposition=b'; name="b"') + END,
    part(b"1", disposition=b"; name*=utf-8''ssn") + END, part(b"MQ==", more=b"Content-Transfer-Encoding: base64\r\n") + END,
    part(b"1", more=b" folded\r\n") + END, part(b"1", more=b"X: a\nY: b\r\n") + END, part(b"1", disposition=b'; filename="a') + END,
    part(b"\x89PNG", more=b"Content-Type: image/png\r\n") + END, part(b"{", more=b"Content-Type: application/json\r\n") + END,
    part(b"1", more=b"X: " + b"y" * 20_000) + END, part(b"1", more=b"Content-Type: multipart/mixed; boundary=a\r\n") + END,
])
def test_what_two_could_read_differently_is_refused(body: bytes) -> None:
    """And what is not whole, or holds what nothing can look into."""
    for at in range(0, len(body), 7):
        with pytest.raises(ValueError):
            run(body_mask(TERMS, FORM, parameters=BOUNDARY), body, [at])


def test_what_nothing_can_look_into_may_pass_if_that_is_said() -> None:
    """The caller's settings decide."""
    body = part(b"\x89PNG\r\n", more=b"Content-Type: image/png\r\n") + END
    assert every_split(lambda: body_mask(BodyTerms(TERMS.masks, passes_binary=True), FORM, parameters=BOUNDARY), body) == body


def test_a_boundary_is_needed() -> None:
    """Without one, or with one that is none, nobody knows the parts; ranges are parts of a whole that is not there."""
    for found in ({}, {b"boundary": b""}, {b"boundary": b"a" * 71}, {b"boundary": b"a\r\n"}):
        with pytest.raises(ValueError):
            body_mask(TERMS, FORM, parameters=found)
    with pytest.raises(ValueError):
        body_mask(TERMS, b"multipart/byteranges", parameters=BOUNDARY)


def test_a_hidden_part_may_be_of_any_length() -> None:
    """A field that is only searched may not."""
    terms = BodyTerms((mask("ssn"),), TERMS.detects, limit=1000)
    assert run(body_mask(terms, FORM, parameters=BOUNDARY), part(b"x" * 5000, b"ssn") + END, range(0, 5000, 100)) == part(b"xxxx", b"ssn") + END
    with pytest.raises(ValueError, match="too long"):
        run(body_mask(terms, FORM, parameters=BOUNDARY), part(b"x" * 5000) + END, range(0, 5000, 100))
