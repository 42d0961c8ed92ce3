"""How often and how much a task may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.model import Effect, Rate, RowLimits, Rule
from lockgate.protocols.http.enforcement import enforce
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.http import scene as s
from tests.protocols.world import Clock

TWO_A_MINUTE = Rule(name="few", limits=RowLimits(rates=(Rate(2, 60),)))


@dataclass
class Moved(Clock):
    """A clock that a test moves."""

    time: float = 0.0

    def monotonic(self) -> float:
        return self.time


def test_above_the_rate_a_request_is_refused_until_its_time_has_come() -> None:
    """429 with the rule and Retry-After, on record; after so many seconds it goes through, and one alone."""
    world = s.World(rules=(s.ALLOW, TWO_A_MINUTE), clock=(clock := Moved()))
    book = world.book()
    for _ in range(2):
        book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
        assert s.status(book) == 200
    book >> Bytes(CLIENT, s.request())
    assert s.status(book) == 429
    assert b"\r\nRetry-After: 30\r\n" in book.sent(CLIENT)
    assert (s.problem(book)["code"], s.problem(book)["rule"]) == ("limited", "few")
    assert (world.log.intents[-1].decision, world.log.intents[-1].refusal) == (Effect.DENY, "limited")
    clock.time = 29.5
    book >> Bytes(CLIENT, s.request())
    assert book.sent(CLIENT).count(b"\r\nRetry-After: 1\r\n") == 1
    clock.time = 30.0
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer())
    assert s.status(book) == 200
    book >> Bytes(CLIENT, s.request())
    assert s.status(book) == 429


def test_a_rate_counts_what_its_rule_matches_and_once() -> None:
    """Content that is judged beforehand, then for itself and then for its facts, is one request; what is denied is none."""
    rate = Rule(name="payments", when="op.json.sum > 5", limits=RowLimits(rates=(Rate(1, 60),)))
    world = s.World(rules=(s.ALLOW, rate, Rule(name="no", when='op.verb == "post" && op.json.sum == 7', deny="no")))
    book = world.book()

    def pay(total: int) -> int:
        content = b'{"sum":%d}' % total
        before = len(book.sent(SERVER))
        book >> Bytes(CLIENT, s.request("POST", "/pay", Content_Type="application/json", Expect="100-continue",
                                        Content_Length=str(len(content))))
        book >> Bytes(CLIENT, content)
        if len(book.sent(SERVER)) > before:
            book >> Bytes(SERVER, s.answer())
        return s.status(book)

    assert [pay(7), pay(1), pay(1), pay(6), pay(1), pay(6)] == [403, 200, 200, 200, 200, 429]


def test_content_that_goes_on_as_it_comes_counts_once() -> None:
    """It is judged when its head has come and when it begins to go on."""
    world = s.World(rules=(s.ALLOW, TWO_A_MINUTE))
    book = world.book()
    for expected in (200, 200, 429):
        book >> Bytes(CLIENT, s.request("PUT", "/large", Content_Length="100000"))
        if expected == 200:
            book >> Bytes(CLIENT, b"x" * 100_000) >> Bytes(SERVER, s.answer())
        assert s.status(book) == expected


def test_what_was_answered_is_one_account_of_a_task() -> None:
    """The answer that passes the bound arrives whole, the next request is refused: no time to wait for is named. Other
    tokens of the same agent are the same task."""
    bound = Rule(name="little", limits=RowLimits(bytes=10))
    world = s.World(rules=(s.ALLOW, bound))
    world.identities["eyJ.token.2"] = s.IDENTITY
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(b"123456789", media_type="text/plain"))
    book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(b"x" * 50, media_type="text/plain"))
    assert book.sent(CLIENT).endswith(b"x" * 50)
    for token in (s.TOKEN, b"eyJ.token.2"):
        book >> Bytes(CLIENT, s.request(token=token))
        assert s.status(book) == 429
        assert s.problem(book)["rule"] == "little"
    assert b"Retry-After" not in book.sent(CLIENT)


def test_content_counts_as_it_leaves() -> None:
    """A client that leaves before an answer's end has got what it has got."""
    world = s.World(rules=(s.ALLOW, Rule(name="little", limits=RowLimits(bytes=10))))
    book = world.book() >> Bytes(CLIENT, s.request())
    book >> Bytes(SERVER, b"HTTP/1.1 200 Fine\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 5000)
    task = book.governor._task
    assert task.bytes == 5000
    book >> Bytes(SERVER, b"x" * 5000)
    assert task.bytes == 10_000


def test_check_says_how_limits_are_held() -> None:
    """Both here, and neither on rows."""
    rule = Rule(name="r", limits=RowLimits(bytes=5, rates=(Rate(2, 60),)))
    rows = enforce("crm", None, [rule], None)
    assert {row.control: row.problem for row in rows if row.rule == "r"} == {"limit requests 2 in 60 s": None, "limit bytes 5": None}
