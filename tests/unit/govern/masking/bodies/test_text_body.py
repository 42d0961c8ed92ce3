"""Running text: no border between pieces tears a find, and no more is held than may become one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.govern.masking.bodies import BodyTerms, body_mask
from lockgate.govern.masking.bodies.shown import ShownValues
from lockgate.govern.masking.detectors import DETECTORS
from lockgate.govern.masking.search import Search
from lockgate.model import CustomDetector, DetectMask, MaskMethod
from tests.unit.govern.masking.bodies.documents import cuts, every_split, run
from tests.unit.govern.masking.shapes import accepted

TEXT = b"text/plain"
EVERY = BodyTerms(detects=(DetectMask(tuple(DETECTORS), MaskMethod.PARTIAL),))
PROSE = st.sampled_from([b"", b"hello ", b"see note:\n", b"\xe2\x80\x9cid\xe2\x80\x9d ", b"a - b ", b"x=", b"(1) ", b"12 ", b", ", b"\r\n"])


@given(parts=st.lists(st.tuples(PROSE, st.sampled_from(sorted(DETECTORS)).flatmap(accepted), PROSE), min_size=1, max_size=3),
       data=st.data())
@settings(max_examples=50, deadline=None)
def test_pieces_are_searched_like_the_whole(parts: list[tuple[bytes, bytes, bytes]], data: st.DataObject) -> None:
    """For what any shipped detector knows, among other words, at any split."""
    text = b"".join(part for three in parts for part in three).replace(b"\0", b"")
    active = tuple((found, MaskMethod.PARTIAL) for _, found in sorted(DETECTORS.items()))
    expected = Search(active, {}).concealed(text)
    assert run(body_mask(EVERY, TEXT), text, data.draw(cuts(len(text)))) == expected


SAMPLE = (
    b"Dear Jane, mail jane.doe@example.org or +1 415 555 2671. Card 4111 1111 1111 1111, again 4111-1111-1111-1111! "
    b"DE89 3704 0044 0532 0130 00 and password: hunter22, identified by 'not a word' then\n"
    b"-----BEGIN RSA PRIVATE KEY-----\nMIIEabc/+=\nQUJD\n-----END RSA PRIVATE KEY-----\nssn 219-09-9999; 10.1.2.3 caf\xc3\xa9 "
)


def test_every_cut_gives_the_same() -> None:
    """One text with a find of most kinds, at every cut."""
    found = every_split(lambda: body_mask(EVERY, TEXT), SAMPLE)
    for secret in (b"jane.doe", b"555 2671", b"4111 1111", b"4111-1111", b"0532", b"hunter22", b"not a word", b"MIIE", b"QUJD", b"219-09"):
        assert secret not in found
    assert found.startswith(b"Dear Jane, mail ")
    assert found.endswith(b" caf\xc3\xa9 ")


def test_words_that_are_none_go_on_at_once() -> None:
    """Of plain prose nothing but the last word is held."""
    search = ShownValues(EVERY).running()
    assert search.feed(b"The order was sent on") == b"The order was sent "
    assert search.feed(b" monday. It") == b"on monday. "
    assert search.finish() == b"It"


def test_a_long_word_is_let_go() -> None:
    """What is held is bounded though nothing ends; a find inside is hidden all the same."""
    search = ShownValues(EVERY).running()
    size = 0
    for _ in range(100):
        size += len(search.feed(b"ab/" * 300))
    assert size > 75_000
    assert b"jane.doe@" not in search.feed(b"!jane.doe@example.org!") + search.finish()


def test_a_find_without_end_is_bounded() -> None:
    """A private key that goes on above the limit is refused, not shown."""
    body = body_mask(BodyTerms(detects=EVERY.detects, limit=10_000), TEXT)
    assert body is not None
    body.feed(b"-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(ValueError, match="too long"):
        for _ in range(100):
            assert b"QUJD" not in body.feed(b"QUJD\n" * 50)


def test_a_policys_own_pattern_may_hold_anything() -> None:
    """Words with blanks between, in pieces; lengths that it asks of a value mean nothing in a text."""
    custom = CustomDetector("project", "project [a-z]+ [a-z]+", max_length=30)
    terms = BodyTerms(detects=(DetectMask(("project",), MaskMethod.NULL, (custom,)),))
    assert every_split(lambda: body_mask(terms, TEXT), b"about project blue whale and so on, " * 3) == b"about xxxx and so on, " * 3


def test_no_character_is_divided() -> None:
    """Where a part of a long word goes on, or a pattern of a policy holds back so many bytes."""
    custom = CustomDetector("project", "project [a-z]+")
    for detects in (EVERY.detects, (DetectMask(("project",), MaskMethod.REDACT, (custom,)),)):
        search = ShownValues(BodyTerms(detects=detects)).running()
        pieces = [search.feed("€".encode() * count) for count in range(1, 200)]
        assert sum(map(len, pieces)) > 10_000
        assert "".join(piece.decode() for piece in pieces) + search.finish().decode() == "€" * sum(range(1, 200))


def test_what_detectors_cannot_read_is_refused() -> None:
    """UTF-16, be it said or shown; NUL bytes."""
    for start in (b"\xff\xfea\0", b"\xfe\xff\0a", b"a\0b\0"):
        body = body_mask(EVERY, TEXT)
        assert body is not None
        with pytest.raises(ValueError):
            body.feed(start)
    with pytest.raises(ValueError):
        body_mask(EVERY, TEXT, b"utf-16le")
    assert body_mask(EVERY, b"text/html", b"ISO-8859-1") is not None
