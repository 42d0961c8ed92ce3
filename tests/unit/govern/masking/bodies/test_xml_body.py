"""XML: elements and attributes that masks name go, the rest stays byte for byte at every split; no document type."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking.bodies import BodyTerms, body_mask
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.bodies.documents import CANARY, cuts, every_split, mask, run

XML = b"application/xml"
TERMS = BodyTerms((mask("people.ssn"),), (DetectMask(("email", "credit_card"), MaskMethod.PARTIAL),), ("crm", "people"))


@pytest.mark.parametrize(("body", "left"), [
    (b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- c --><r a="1>2" SSN = \'9\' b=\'x\'><n:ssn xmlns:n="u:ssn">1</n:ssn> t <ssn/><b/></r>\n',
     b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- c --><r a="1>2" SSN = "xxxx" b=\'x\'><n:ssn xmlns:n="u:ssn">xxxx</n:ssn> t <ssn/><b/></r>\n'),
    (b"<r><ssn><a>1</a>2<!-- 3 --></ssn><ssn> <![CDATA[<5>]]>&#54;</ssn></r>", b"<r><ssn>xxxx</ssn><ssn>xxxx</ssn></r>"),
    (b"<r>mail jane.doe&#64;example.org &amp; more<x>4111<!-- - --> 1111 1111 <![CDATA[1111]]></x></r>",
     b"<r>mail jxxxx@example.org &amp; more<x>xxxx xxxx xxxx 1111</x></r>"),
    (b'<r><!-- jane.doe@example.org --><?p jane.doe@example.org?><j>{"ssn":"1"}</j><k v="&lt;jane.doe@example.org"/></r>',
     b'<r><!-- jxxxx@example.org --><?p jxxxx@example.org?><j>{&quot;ssn&quot;:&quot;xxxx&quot;}</j><k v="&lt;jxxxx@example.org"/></r>'),
    (b"<ssn>1</ssn>", b"<ssn>xxxx</ssn>"), (b"\xef\xbb\xbf<a>\xc3\xa9</a>", b"\xef\xbb\xbf<a>\xc3\xa9</a>"), (b"", b""),
])
def test_documents(body: bytes, left: bytes) -> None:
    """Prefixes, references, sections, comments, attributes, documents in texts."""
    assert every_split(lambda: body_mask(TERMS, XML), body) == left


TEXTS = st.text("ab <>&\"'é]", max_size=6)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> ET.Element:
    made = ET.Element(draw(st.sampled_from(["a", "b", "ssn", "Ssn"])))
    hides = made.tag.lower() == "ssn"
    made.text = (CANARY if hides else "") + draw(TEXTS)
    for name in draw(st.sets(st.sampled_from(["x", "ssn"]))):
        made.set(name, (CANARY if name == "ssn" else "") + draw(TEXTS))
    for _ in range(draw(st.integers(0, 2 if depth else 0))):
        child = draw(elements(depth - 1))
        child.tail = (CANARY if hides else "") + draw(TEXTS)
        made.append(child)
    return made


def _masked(made: ET.Element) -> ET.Element:
    found = ET.Element(made.tag, {name: "xxxx" if name == "ssn" else value for name, value in made.attrib.items()})
    if made.tag.lower() == "ssn":
        found.text = "xxxx"
        return found
    found.text = made.text
    for child in made:
        other = _masked(child)
        other.tail = child.tail
        found.append(other)
    return found


@given(made=elements(), data=st.data())
def test_named_elements_and_attributes_go(made: ET.Element, data: st.DataObject) -> None:
    """In any nesting, at any cut; another reader reads the same rest."""
    body = ET.tostring(made, short_empty_elements=False)
    found = run(body_mask(BodyTerms((mask("ssn"),)), XML), body, data.draw(cuts(len(body))))
    assert CANARY.encode() not in found
    assert ET.canonicalize(found.decode()) == ET.canonicalize(
        ET.tostring(_masked(made), encoding="unicode"))


@pytest.mark.parametrize("body", [
    b"<!DOCTYPE a><a/>", b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', b"<a>&e;</a>",
    b"<a>", b"<a></b>", b"</a>", b"<a/><b/>", b"text", b"<a x=1/>", b'<a x="1" x="2"/>', b"<a>\x00</a>", b"<a>\xff</a>",
    b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>', "<a/>".encode("utf-16"), b"<a><![CDATA[x</a>", b"<a><!-- -- --></a>", b"<a <b/>", b" ",
])
def test_what_is_no_plain_xml_is_refused(body: bytes) -> None:
    """Document types and what they bring, other encodings, what is not well formed; at every split."""
    for cut in range(len(body)):
        with pytest.raises(ValueError):
            run(body_mask(TERMS, XML), body, [cut])


def test_depth_and_length_are_bounded() -> None:
    """512 elements inside each other; a text that is too long to be seen whole, unless it is hidden."""
    with pytest.raises(ValueError, match="too deeply"):
        run(body_mask(TERMS, XML), b"<a>" * 513 + b"</a>" * 513)
    terms = BodyTerms((mask("ssn"),), TERMS.detects, limit=1000)
    long = b"word " * 1000
    assert run(body_mask(terms, XML), b"<r><ssn>" + long + b"</ssn></r>", range(0, 5000, 100)) == b"<r><ssn>xxxx</ssn></r>"
    with pytest.raises(ValueError, match="too long"):
        run(body_mask(terms, XML), b"<r>" + long + b"</r>", range(0, 5000, 100))
