"""The rules of `wire.conformance`, applied to this protocol's mediator."""

from __future__ import annotations

import pytest

from lockgate.errors import Unpermitted
from lockgate.model import DetectMask, MaskMethod, Rule
from lockgate.wire.conformance import (
    Case,
    require_fail_closed,
    require_no_canary,
    require_settled,
    require_split_independence,
)
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Hangup, Playbook
from lockgate.wire.steps import Steps, ToServer
from tests.protocols.postgres import support as s

CARD = b"4111111111111111"
RULES = (s.ALLOW, s.NO_DROP, Rule(name="cards", detects=(DetectMask(("credit_card",), MaskMethod.REDACT),)))


def make() -> Playbook:
    return s.World(rules=RULES).session()


SIMPLE = Case(make, [
    Bytes(CLIENT, s.query("select card from t") + s.query("drop table t")),
    Bytes(SERVER, s.columns("card") + s.row(CARD) + s.row(b"x" + CARD) + s.notice() + s.complete("SELECT 2") + s.ready()),
    Bytes(SERVER, s.error() + s.ready()),
    Bytes(CLIENT, s.query("insert into t values (1)")),
    Bytes(SERVER, s.error("23505", "dup", D=f"Key (card)=({CARD.decode()})") + s.ready()),
    Hangup(CLIENT),
], CARD)
EXTENDED = Case(make, [
    Bytes(CLIENT, s.parse("select card from t", "c") + s.bind("c") + s.describe() + s.execute(limit=1) + s.FLUSH),
    Bytes(SERVER, s.PARSED + s.BOUND + s.columns("card") + s.row(CARD) + s.SUSPENDED),
    Bytes(CLIENT, s.execute() + s.parse("drop table t") + s.bind() + s.SYNC),
    Bytes(SERVER, s.row(CARD) + s.complete() + s.error("34000") + s.ready()),
    Bytes(CLIENT, s.bind("c") + s.execute() + s.close("S", "c") + s.SYNC),
    Bytes(SERVER, s.BOUND + s.row(CARD) + s.complete() + s.CLOSED + s.ready()),
    Hangup(SERVER),
], CARD)
COPY = Case(make, [
    Bytes(CLIENT, s.query("copy t to stdout")),
    Bytes(SERVER, b"H\0\0\0\x09\0\0\1\0\0" + s.frame(ord("d"), b"1\t" + CARD[:7]) + s.frame(ord("d"), CARD[7:] + b"\n")
          + b"c\0\0\0\4" + s.complete("COPY 1") + s.ready()),
    Bytes(CLIENT, s.query("copy t from stdin")),
    Bytes(SERVER, b"G\0\0\0\x09\0\0\1\0\0"),
    Bytes(CLIENT, s.frame(ord("d"), b"1\n") + b"c\0\0\0\4"),
    Bytes(SERVER, s.complete("COPY 1") + s.ready()),
    Bytes(CLIENT, s.TERMINATE),
], CARD)
CASES = pytest.mark.parametrize("case", [SIMPLE, EXTENDED, COPY], ids=["simple", "extended", "copy"])


@CASES
def test_any_split_gives_the_same_output(case: Case) -> None:
    """How TCP cut the bytes up is nobody's business."""
    require_split_independence(case)


@CASES
def test_broken_stages_are_refusals(case: Case) -> None:
    """A broken policy, log or mask lets nothing through."""
    require_fail_closed(case)


@CASES
def test_the_canary_stays_here(case: Case) -> None:
    """A value that a detector hides does not reach the client in any split."""
    require_no_canary(case)


@CASES
def test_every_request_is_settled_once(case: Case) -> None:
    """One outcome per request, whatever way it ended."""
    require_settled(case)


def test_bytes_without_a_permit_raise() -> None:
    """A mediator that forwards bytes of its own making is stopped by the driver's rule (I1)."""

    class Rogue:
        def client_data(self, data: bytes) -> Steps[None]:
            yield ToServer(data)  # type: ignore[arg-type]

    book = Playbook(Rogue(), s.World().governor())  # type: ignore[arg-type]
    with pytest.raises(Unpermitted):
        book >> Bytes(CLIENT, b"x")
