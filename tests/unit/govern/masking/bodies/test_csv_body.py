"""Tables: columns that masks name go, what detectors find goes, the rest stays byte for byte at every split."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking.bodies import BodyTerms, body_mask
from lockgate.model import DetectMask, MaskMethod
from tests.unit.govern.masking.bodies.documents import CANARY, cuts, every_split, mask, run

CSV, TABS = b"text/csv", b"text/tab-separated-values"
TERMS = BodyTerms((mask("people.ssn"),), (DetectMask(("email", "credit_card"), MaskMethod.PARTIAL),), ("crm", "people"))
CELLS = st.text("ab,\"\n\r ;'é", max_size=6)


@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5), place=st.integers(0, 2), data=st.data(),
       end=st.sampled_from(["\n", "\r\n", "\r"]), delimiter=st.sampled_from(",;\t|"), name=st.sampled_from(["ssn", "SSN", " Ssn"]))
def test_named_columns_go_and_the_rest_stays(
    rows: list[list[str]], place: int, data: st.DataObject, end: str, delimiter: str, name: str,
) -> None:
    """However fields are quoted and lines end, wherever it is cut."""
    head = ["a", "b", "c"]
    head[place] = name
    sent = [[CANARY + cell if at == place else cell for at, cell in enumerate(row)] for row in rows]
    body = _written([head, *sent], delimiter, end)
    found = run(body_mask(TERMS, CSV), body, data.draw(cuts(len(body))))
    assert CANARY.encode() not in found
    left = [["xxxx" if at == place else cell for at, cell in enumerate(row)] for row in rows]
    assert list(csv.reader(io.StringIO(found.decode(), newline=""), delimiter=delimiter)) == [head, *left]


def _written(rows: list[list[str]], delimiter: str, end: str) -> bytes:
    sink = io.StringIO(newline="")
    has_lines = any(mark in cell for row in rows for cell in row for mark in "\r\n")
    csv.writer(sink, lineterminator=end, delimiter=delimiter, quoting=csv.QUOTE_ALL if has_lines else csv.QUOTE_MINIMAL).writerows(rows)
    return sink.getvalue().encode()


@pytest.mark.parametrize(("body", "left"), [
    (b'id,ssn,note\r\n1,"2 ""x""",mail jane.doe@example.org\r\n\r\n2,,"a\r\nb"\r\n3,4', b'id,ssn,note\r\n1,"xxxx",mail jxxxx@example.org\r\n\r\n2,xxxx,"a\r\nb"\r\n3,xxxx'),
    (b"\xef\xbb\xbfssn;b;c,d\n1;2\n", b"\xef\xbb\xbfssn;b;c,d\nxxxx;2\n"), (b"", b""), (b"ssn", b"ssn"), (b'"ssn"\n1\n', b'"ssn"\nxxxx\n'),
    (b"a,jane.doe@example.org\n", b"a,jxxxx@example.org\n"), (b'x,y\n"{""ssn"":1}",2\n', b'x,y\n"{""ssn"":0}",2\n'),
])
def test_tables(body: bytes, left: bytes) -> None:
    """Quotes, empty lines, marks in front, documents in fields, no end at the end."""
    assert every_split(lambda: body_mask(TERMS, CSV), body) == left


def test_tabs_have_no_quotes() -> None:
    """What looks like one is a letter."""
    assert every_split(lambda: body_mask(TERMS, TABS), b'a\tssn\n"x\t1"\n') == b'a\tssn\n"x\txxxx\n'


@pytest.mark.parametrize("body", [b'a,ssn\n1,2"3\n', b'a,ssn\n1,"2"3\n', b'a,ssn\n1,"2', b"a,ssn\n1,2,3\n", b"a,ssn\n\x001,2\n"])
def test_what_others_could_read_in_another_way_is_refused(body: bytes) -> None:
    """Quotes inside fields, fields without a name; at every split."""
    for cut in range(len(body)):
        with pytest.raises(ValueError):
            run(body_mask(TERMS, CSV), body, [cut])


def test_a_table_without_names_is_refused() -> None:
    """Nothing says which column is which; without masks of columns nothing has to."""
    with pytest.raises(ValueError):
        body_mask(TERMS, CSV, parameters={b"header": b"absent"})
    only = BodyTerms(detects=TERMS.detects)
    assert run(body_mask(only, CSV, parameters={b"header": b"absent"}), b'1,"jane.doe@example.org') == b'1,"jxxxx@example.org'


def test_a_long_record_is_refused() -> None:
    """What is held is bounded."""
    body = body_mask(BodyTerms((mask("ssn"),), limit=100), CSV)
    assert body is not None
    with pytest.raises(ValueError, match="too long"):
        for _ in range(20):
            body.feed(b"0123456789")
