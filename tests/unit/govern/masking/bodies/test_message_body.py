"""Messages that do not say what they are: which shape each has, and what cannot be looked into."""

from __future__ import annotations

import pytest

from lockgate.govern.masking.bodies import BodyTerms, check_message, message_mask
from lockgate.govern.masking.requests import ContentCheck
from lockgate.model import ColumnMask, DetectMask, MaskMethod, RequestAction, RequestCheck
from tests.conftest import Kernel

CARD = "4111111111111111"
MASKS = (ColumnMask(("*.ssn",), MaskMethod.REDACT),)
DETECTS = (DetectMask(("credit_card",), MaskMethod.REDACT),)


def shown(message: str, masks: tuple[ColumnMask, ...] = MASKS, detects: tuple[DetectMask, ...] = DETECTS) -> list[str]:
    """What goes on in the place of a message, and of what it leaves behind."""
    body = message_mask(BodyTerms(masks, detects))
    return [one.decode() for one in (*body.message(message.encode()), *body.finish())]


@pytest.mark.parametrize(("message", "expected"), [
    ('{"ssn":"1"} ["x"]', '{"ssn":"xxxx"} ["x"]'), (f'  "{CARD}" ', '  "xxxx" '), (f"{CARD}", "xxxx"), ('0{"ssn":"1"}', '0{"ssn":"xxxx"}'),
    ('\ufeff{"ssn":"1"}', '\ufeff{"ssn":"xxxx"}'), ('{"ssn":"1"}\r\n', '{"ssn":"xxxx"}\r\n'), ('"say {hi}"', '"say {hi}"'), ("\n", "\n"),
    (f'{{"a":1}}\n{{"b":"{CARD}"}}\n', '{"a":1}\n{"b":"xxxx"}\n')])
def test_each_shape_is_looked_into(message: str, expected: str) -> None:
    """By names and detectors, by names alone, by detectors alone: what is not hidden stays as it is."""
    assert shown(message) == [expected]
    assert shown(message, detects=()) == [message if CARD in message else expected]
    assert shown(message, masks=()) == [expected if CARD in message else message]


@pytest.mark.parametrize("message", ["{", "a { b", '{"a":1} b', "[1,]", '{"a":\x001}', "[" * 600 + "]" * 600])
def test_what_has_braces_is_json_to_its_end(message: str) -> None:
    """Where masks name members."""
    with pytest.raises(ValueError):
        shown(message)


def test_words_with_braces_are_words_for_detectors() -> None:
    """Unless JSON's escapes stand in them."""
    assert shown(f"a {{ {CARD}", masks=()) == ["a { xxxx"]
    with pytest.raises(ValueError, match="JSON"):
        shown(f"a {{ \\u0034{CARD[1:]}", masks=())
    assert shown("C:\\users {", masks=()) == ["C:\\users {"]


def test_pieces_in_one_message_are_joined_too() -> None:
    """Two documents of one message, and a text that goes on in the next."""
    body = message_mask(BodyTerms(MASKS, DETECTS))
    piece = '{{"type":"x.delta","item_id":"i","delta":"{}"}}'
    first = body.message((piece.format(CARD[:4]) + piece.format(CARD[4:9])).encode())
    rest = [*body.message(piece.format(CARD[9:] + " end").encode()), *body.finish()]
    assert CARD[4:9].encode() not in b"".join((*first, *rest))
    assert b"xxxx" in b"".join(rest)


def test_a_message_that_is_sent_is_looked_at_in_each_shape() -> None:
    """And goes on as it is where nothing is replaced."""
    for message, expected in ((f'3{{"a":"{CARD}"}}', '3{"a":"xxxx"}'), (f"{CARD} {{", "xxxx {"), ("{ so", "{ so")):
        check = ContentCheck((RequestCheck(("credit_card",), RequestAction.MASK),), None, guards=False)
        assert check_message(BodyTerms(), check, message.encode()) == expected.encode()


def test_a_message_is_masked_on_both_builds(kernel: Kernel) -> None:
    """Compiled or not."""
    bodies = kernel.load("lockgate.govern.masking.bodies")
    assert bodies.message_mask(bodies.BodyTerms(MASKS, DETECTS)).message(b'1["x",{"ssn":[2]}]') == [b'1["x",{"ssn":"xxxx"}]']
