"""Fires every shape every way, and judges what comes back.

Apart from `traces` (which finds) and the protocol's suite (which fires): here is only the order of things.
A shape that holds the canary itself is judged by asking twice, with the right value and with a wrong one: what
comes back may not differ, and of the wrong one's answer nothing may be a trace. Where it differs, the right one
is asked again, because an answer that differs from itself tells nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lockgate.leaktest.traces import Search
from lockgate.leaktest.verdict import Result, Verdict
from lockgate.wire.leaktest import Delivery, Ground, Inside, LeakSession, Shape, Shot

_FORMS = 3          # that are named; one is enough
Connect = Callable[[], LeakSession]


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds` for one shape; `quick`: one way a shape, in turn, instead of all of them; `groups`: of shapes, empty for all."""

    ways: tuple[str, ...]
    seconds: float = 10.0
    quick: bool = False
    groups: tuple[str, ...] = ()


class Campaign:
    """One ground, one side of it (a gateway, or directly)."""

    def __init__(self, ground: Ground, connect: Connect, options: Options, restore: Callable[[], None] | None = None,
                 tell: Callable[[int, int], None] | None = None) -> None:
        self._ground = ground
        self._connect = connect
        self._options = options
        self._restore = restore
        self._tell = tell
        self._search = Search(ground.canaries)
        self._session: LeakSession | None = None

    def close(self) -> None:
        """End the session at hand."""
        if self._session is not None:
            self._session.close()
            self._session = None

    # ---------------------------------------------------------------- runs

    def fire(self) -> tuple[Result, ...]:
        """Every shape, every way of the options."""
        shots = list(self._shots(self._ground.shapes))
        results = []
        for number, (shape, way) in enumerate(shots):
            results.append(self._judge(shape, way))
            if self._tell is not None:
                self._tell(number + 1, len(shots))
            if shape.bare and self._restore is not None:
                self._restore()
        return tuple(results)

    def fire_benign(self) -> tuple[Result, ...]:
        """Every ordinary statement, one way each: what is not answered is an over-refusal."""
        ways = self._options.ways
        return tuple(self._judge(shape, ways[number % len(ways)]) for number, shape in enumerate(self._ground.benign))

    def unmasked(self) -> tuple[str, ...]:
        """Labelled columns whose plainest read shows a canary."""
        way = self._options.ways[0]
        return tuple(name for name, shot in self._ground.probes.items()
                     if self._search.found(self._deliver(Shape(name, "probe", shot), shot, way)))

    def obstacle(self) -> str:
        """Why a plain read of a labelled column brings no rows, so that firing at it would test nothing; "" where all
        bring some."""
        for name, shot in self._ground.probes.items():
            read = self._deliver(Shape(name, "probe", shot), shot, self._options.ways[0])
            if read.rows:
                continue
            if read.code or read.end:
                return f"{name} cannot be read: {read.reason or _ended(read.end)[1]}"
            return f"{name} has no rows to read"
        return ""

    def _shots(self, shapes: Sequence[Shape]) -> Iterator[tuple[Shape, str]]:
        ways = self._options.ways
        wanted = [shape for shape in shapes if not self._options.groups or shape.group in self._options.groups]
        for number, shape in enumerate(wanted):
            for way in (ways[number % len(ways)],) if self._options.quick else ways:
                yield shape, way

    # ---------------------------------------------------------------- one shot

    def _judge(self, shape: Shape, way: str) -> Result:
        started = time.monotonic()
        right = self._deliver(shape, shape.right, way)
        verdict, detail = self._verdict(shape, way, right)
        if verdict is Verdict.LEAK and shape.stated:
            verdict, detail = Verdict.STATED, shape.stated
        return Result(shape.name, shape.group, way, verdict, right.code, detail, time.monotonic() - started)

    def _verdict(self, shape: Shape, way: str, right: Delivery) -> tuple[Verdict, str]:
        if shape.wrong is None:
            return self._plain_verdict(right)
        wrong = self._deliver(shape, shape.wrong, way)
        found = self._search.found(wrong)
        if found:
            return Verdict.LEAK, ", ".join(found[:_FORMS])
        if right.end or wrong.end:
            return _ended(right.end or wrong.end)
        if _answer(right, shape.right, shape.wrong) == _answer(wrong, shape.right, shape.wrong):
            return (Verdict.REFUSED, right.reason) if right.code else (Verdict.ANSWERED, "")
        again = self._deliver(shape, shape.right, way)
        if _answer(again, shape.right, shape.wrong) != _answer(right, shape.right, shape.wrong):
            return Verdict.UNKNOWN, "it answers differently each time"
        return Verdict.LEAK, "a right guess and a wrong one are answered differently"

    def _plain_verdict(self, delivery: Delivery) -> tuple[Verdict, str]:
        found = self._search.found(delivery)
        if found:
            return Verdict.LEAK, ", ".join(found[:_FORMS])
        if delivery.end:
            return _ended(delivery.end)
        return (Verdict.REFUSED, delivery.reason) if delivery.code else (Verdict.ANSWERED, "")

    def _deliver(self, shape: Shape, shot: Shot, way: str) -> Delivery:
        if self._session is None or not self._session.is_usable:
            self.close()
            self._session = self._connect()
        inside = Inside.NOTHING
        if self._ground.is_read_only:
            inside = Inside.READ_ONLY
        elif shape.writes and not shape.bare:
            inside = Inside.BLOCK
        return self._session.deliver(shot, way, inside=inside, seconds=self._options.seconds)


def _ended(end: str) -> tuple[Verdict, str]:
    words = {"timeout": "no whole answer in the time given", "too much": "more bytes than the test takes",
             "held": "it waits for a person's approval", "closed": "the session was ended"}
    verdict = {"held": Verdict.HELD, "closed": Verdict.REFUSED}.get(end, Verdict.UNKNOWN)
    return verdict, words.get(end, end)


def _answer(delivery: Delivery, right: Shot, wrong: Shot) -> list[tuple[int, bytes]]:
    """What an answer says, with both values that were asked for taken out: it may echo the question."""
    echoes = [word for pair in zip(right.guesses, wrong.guesses, strict=True) for word in pair]
    answer = []
    for kind, body in delivery.messages:
        for echo in echoes:
            body = body.replace(echo.encode(), b"?")
        answer.append((kind, body))
    return answer
