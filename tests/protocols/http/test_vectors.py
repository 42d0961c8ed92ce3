"""The tables of what must be refused, against our readers and two foreign ones."""

from __future__ import annotations

import pytest

from tests.protocols.http import support as s

REQUESTS, RESPONSES = s.vectors("requests"), s.vectors("responses")


@pytest.mark.parametrize("vector", REQUESTS, ids=str)
def test_a_request_is_refused(vector: s.Vector) -> None:
    """Every request of the table is refused with its status, wherever the bytes are cut in two, and byte by byte."""
    for parts in splits(vector.data):
        outcome = s.ours(parts)
        assert (outcome.end, outcome.status) == (s.REFUSED, vector.status), parts


@pytest.mark.parametrize("vector", RESPONSES, ids=str)
def test_a_response_is_refused(vector: s.Vector) -> None:
    """Every response of the table is refused, wherever the bytes are cut in two, and byte by byte."""
    for parts in splits(vector.data):
        outcome = s.ours_of_response(parts, vector.method, vector.upgrade, vector.closed)
        assert (outcome.end, outcome.status) == (s.REFUSED, 502), parts


def splits(data: bytes) -> list[list[bytes]]:
    places = s.cuts(data) if len(data) < 2_000 else s.cuts(data, 4)
    return [[data], *(s.pieces(data, at) for at in places), *([[bytes([b]) for b in data]] if len(data) < 2_000 else [])]


def test_what_others_make_of_requests() -> None:
    """The table says what h11 and llhttp do with the bytes, so that it is written down where we are stricter."""
    found = {str(v): (s.by_h11(v.data).end, s.by_llhttp(v.data).end) for v in REQUESTS}
    assert found == {str(v): (v.h11, v.llhttp) for v in REQUESTS}


def test_what_others_make_of_responses() -> None:
    """The table says what h11 and llhttp do with the bytes, so that it is written down where we are stricter."""
    found = {str(v): (s.by_h11_of_response(v.data, v.method, v.upgrade, v.closed).end, s.by_llhttp(v.data, response=True).end)
             for v in RESPONSES}
    assert found == {str(v): (v.h11, v.llhttp) for v in RESPONSES}


def test_the_table_holds_real_disagreements() -> None:
    """Of many vectors h11 makes messages and llhttp none, or the other way: that is what smuggling is made of."""
    for table in (REQUESTS, RESPONSES):
        assert {(False, True), (True, False)} <= {(v.h11 == s.REFUSED, v.llhttp == s.REFUSED) for v in table}


def test_names_are_unique() -> None:
    """A vector is known by its name."""
    for table in (REQUESTS, RESPONSES):
        assert len({str(vector) for vector in table}) == len(table)
