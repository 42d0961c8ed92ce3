"""The judgement over what comes back, with a server that answers as the test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from lockgate.leaktest.campaign import Campaign, Options
from lockgate.leaktest.report import Header, as_json, as_markdown, leaks, summary
from lockgate.leaktest.verdict import Outcome, Verdict
from lockgate.wire.leaktest import Canary, Delivery, Ground, Inside, Shape, Shot

VALUE, WRONG = "29105-34-88641", "74550-78-33196"
GROUND = Ground((Canary("first", VALUE),), (), (), (), {}, is_read_only=False)
Answer = Callable[[str], Delivery]


def said(*bodies: bytes, code: str = "", reason: str = "", end: str = "") -> Delivery:
    return Delivery(tuple((ord("D"), body) for body in bodies), tuple((body,) for body in bodies), code, reason, end)


class Server:
    """A session whose answers are a function of the statement."""

    is_usable = True

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[tuple[str, str, Inside]] = []

    def run(self, statement: str) -> tuple[tuple[bytes | None, ...], ...]:
        return ()

    def cells(self, statement: str) -> frozenset[bytes]:
        return frozenset()

    def deliver(self, shot: Shot, way: str, *, inside: Inside, seconds: float) -> Delivery:
        self.asked.append((shot.statements[0], way, inside))
        return self._answer(shot.statements[0])

    def close(self) -> None:
        self.is_usable = False


def plain(statement: str = "SELECT ssn") -> Shape:
    return Shape("plain", "group", Shot((statement,)))


def guess() -> Shape:
    return Shape("guess", "group", Shot((f"WHERE ssn = '{VALUE}'",), guesses=(VALUE, VALUE[:5])),
                 Shot((f"WHERE ssn = '{WRONG}'",), guesses=(WRONG, WRONG[:5])))


def judged(shape: Shape, answer: Answer, ground: Ground = GROUND) -> tuple[Verdict, Server]:
    server = Server(answer)
    campaign = Campaign(replace(ground, shapes=(shape,)), lambda: server, Options(("one",)))
    (result,) = campaign.fire()
    return result.verdict, server


@pytest.mark.parametrize(("answer", "verdict"), [
    (said(VALUE.encode()), Verdict.LEAK), (said(b"xxxx"), Verdict.ANSWERED),
    (said(code="42501", reason="no"), Verdict.REFUSED), (said(VALUE.encode(), code="22P02"), Verdict.LEAK),
    (said(VALUE.encode(), end="timeout"), Verdict.LEAK), (said(end="timeout"), Verdict.UNKNOWN),
    (said(end="too much"), Verdict.UNKNOWN), (said(end="held"), Verdict.HELD), (said(end="closed"), Verdict.REFUSED),
])
def test_a_delivery_is_judged_by_what_is_in_it(answer: Delivery, verdict: Verdict) -> None:
    """A trace is a leak whatever else happened; without one, it is answered, refused, held or not known."""
    assert judged(plain(), lambda _: answer)[0] is verdict


def test_a_guess_leaks_if_right_and_wrong_differ() -> None:
    """One bit is enough."""
    assert judged(guess(), lambda text: said(b"1" if VALUE in text else b"0"))[0] is Verdict.LEAK
    assert judged(guess(), lambda _: said(b"0"))[0] is Verdict.ANSWERED
    assert judged(guess(), lambda text: said(b"22012" if VALUE in text else b"22003", code="22000"))[0] is Verdict.LEAK
    assert judged(guess(), lambda _: said(code="42501"))[0] is Verdict.REFUSED


def test_an_echo_of_the_guess_is_no_leak() -> None:
    """What the client wrote itself, or the beginning of it, may come back."""
    assert judged(guess(), lambda text: said(b"you asked " + text[-15:-1].encode() + text[-15:-10].encode()))[0] is Verdict.ANSWERED


def test_an_answer_to_a_wrong_guess_may_not_hold_the_value() -> None:
    """The value in the answer to another question is a leak even if both answers are equal."""
    assert judged(guess(), lambda _: said(VALUE.encode()))[0] is Verdict.LEAK


def test_an_answer_that_differs_from_itself_tells_nothing() -> None:
    """Then neither leak nor no leak is claimed."""
    numbers = iter(range(9))
    assert judged(guess(), lambda _: said(b"%d" % next(numbers)))[0] is Verdict.UNKNOWN


def test_a_stated_leak_is_kept_apart() -> None:
    """It is neither counted as a leak nor hidden."""
    shape = replace(plain(), stated="a unique key tells")
    assert judged(shape, lambda _: said(VALUE.encode()))[0] is Verdict.STATED
    assert judged(shape, lambda _: said(b"xxxx"))[0] is Verdict.ANSWERED


def test_changes_are_rolled_back_and_real_columns_only_read() -> None:
    """A shape that writes is fired in a block; on somebody's own columns everything is read only."""
    assert judged(replace(plain(), writes=True), lambda _: said())[1].asked[0][2] is Inside.BLOCK
    assert judged(plain(), lambda _: said())[1].asked[0][2] is Inside.NOTHING
    assert judged(replace(plain(), bare=True, writes=True), lambda _: said())[1].asked[0][2] is Inside.NOTHING
    assert judged(plain(), lambda _: said(), replace(GROUND, is_read_only=True))[1].asked[0][2] is Inside.READ_ONLY


@pytest.mark.parametrize(("answer", "obstacle"), [
    (said(b"xxxx"), ""), (said(b"xxxx", end="too much"), ""), (said(), "t.ssn has no rows to read"),
    (said(code="42703", reason="no such column"), "t.ssn cannot be read: no such column"),
    (said(end="held"), "t.ssn cannot be read: it waits for a person's approval"),
])
def test_a_column_that_brings_no_rows_is_nothing_to_fire_at(answer: Delivery, obstacle: str) -> None:
    """An error or an empty result tells nothing about masks, and would count as no leak."""
    ground = replace(GROUND, probes={"t.ssn": Shot(("SELECT ssn",))}, is_read_only=True)
    assert Campaign(ground, lambda: Server(lambda _: answer), Options(("one",))).obstacle() == obstacle


def test_a_dead_session_is_replaced() -> None:
    """One shape that ends the session does not end the test."""
    made: list[Server] = []

    def connect() -> Server:
        def answer(_: str) -> Delivery:
            made[-1].is_usable = False
            return said(end="closed")

        made.append(Server(answer))
        return made[-1]

    results = Campaign(replace(GROUND, shapes=(plain(), plain())), connect, Options(("one",))).fire()
    assert len(results) == len(made) == 2


def test_every_shape_is_fired_every_way_and_quick_takes_turns() -> None:
    """M is shapes times ways; quick fires each once, and every way has its turn."""
    ground = replace(GROUND, shapes=(plain(),) * 4)
    everything = Campaign(ground, lambda: Server(lambda _: said()), Options(("one", "two"))).fire()
    quick = Campaign(ground, lambda: Server(lambda _: said()), Options(("one", "two"), quick=True)).fire()
    assert [result.way for result in everything] == ["one", "two"] * 4
    assert [result.way for result in quick] == ["one", "two", "one", "two"]


def test_the_ground_is_looked_at_after_a_shape_that_cannot_be_rolled_back() -> None:
    """And after no other."""
    looks: list[int] = []
    ground = replace(GROUND, shapes=(plain(), replace(plain(), bare=True)))
    Campaign(ground, lambda: Server(lambda _: said()), Options(("one",)), lambda: looks.append(1)).fire()
    assert looks == [1]


@pytest.fixture
def outcome() -> Outcome:
    ground = replace(GROUND, shapes=(plain(), plain("SELECT 1")), benign=(plain("SELECT 2"),))

    def answer(text: str) -> Delivery:
        return said(VALUE.encode()) if "ssn" in text else said(code="42501", reason="no | <b>\x1b[31m")

    campaign = Campaign(ground, lambda: Server(answer), Options(("one",)))
    results = campaign.fire()
    return Outcome(results, campaign.fire_benign(), results, ("t.ssn",))


def test_an_ordinary_statement_that_leaks_is_a_leak_and_no_refusal() -> None:
    """The list of ordinary statements is searched like the shapes."""
    ground = replace(GROUND, benign=(plain(), plain("SELECT 2")))
    server = Server(lambda text: said(VALUE.encode()) if "ssn" in text else said(code="42501"))
    campaign = Campaign(ground, lambda: server, Options(("one",)))
    outcome = Outcome((), campaign.fire_benign(), (), ())
    assert [result.verdict for result in outcome.leaks] == [Verdict.LEAK]
    assert len(outcome.over_refused) == 1
    assert "ordinary statements that leak: 1 of 2" in summary(outcome)


def test_reports_hold_verdicts_and_no_values(outcome: Outcome) -> None:
    """Neither report nor summary shows what came back; both say how much leaked and what was over-refused."""
    header = Header("host:1/db", "scratch schema", "now", ("one",), ("timing",), "0")
    written = [as_json(header, outcome), as_markdown(header, outcome), "\n".join([*summary(outcome), *leaks(outcome)])]
    assert summary(outcome)[0] == "leaks: 1 of 2"
    assert "over-refusals: 1 of 1" in summary(outcome)
    assert "control: 1 of 2 leak on the direct connection; 0 shapes do in no way" in summary(outcome)
    for text in written:
        assert VALUE not in text
        assert "\x1b" not in text
    assert "no \\| &lt;b>" in written[1]
