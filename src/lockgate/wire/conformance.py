"""A public test tool: the rules that every protocol's mediator keeps, as functions to call in a test.

Apart from `playbook`, which plays one session. Each rule takes a `Case`: how to make a session, and a
script of what its two sides send. A protocol's tests apply them to scripts of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lockgate.model import Refusal, RefusalCode
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Hangup, Playbook
from lockgate.wire.steps import Side

Event = Bytes | Hangup | Refusal


@dataclass(frozen=True, slots=True)
class Case:
    """`make()` gives a fresh session; `script` is played into it; `canary` is a value in its results
    that a mask has to hide (empty: none). `meaning` is what of the bytes that leave must not depend on a split, where
    that is not the bytes themselves (HTTP's chunks)."""

    make: Callable[[], Playbook]
    script: Sequence[Event]
    canary: bytes = b""
    meaning: Callable[[Side, bytes], object] = lambda _, data: data


def play(case: Case, split: Callable[[bytes], list[bytes]] = lambda data: [data]) -> Playbook:
    """The script, each piece of it cut up by `split`."""
    book = case.make()
    for event in case.script:
        if isinstance(event, Bytes):
            for piece in split(event.data):
                book >> Bytes(event.side, piece)
        else:
            book >> event
    return book


def require_split_independence(case: Case) -> None:
    """Any split of the bytes gives the same output: whole, in pieces of one size, and once anywhere."""
    whole = play(case)
    longest = max((len(event.data) for event in case.script if isinstance(event, Bytes)), default=0)
    splits = [partial(_in_pieces, size) for size in (1, 2, 3, 5, 7, 11, 64)]
    splits += [partial(_once, at) for at in range(1, longest)]
    for split in splits:
        other = play(case, split)
        for side in (CLIENT, SERVER):
            if case.meaning(side, other.sent(side)) != case.meaning(side, whole.sent(side)):
                raise AssertionError(f"towards the {side.value} the output depends on how the input was split")


def _in_pieces(size: int, data: bytes) -> list[bytes]:
    return [data[at:at + size] for at in range(0, len(data), size)]


def _once(at: int, data: bytes) -> list[bytes]:
    return [piece for piece in (data[:at], data[at:]) if piece]


class Broken:
    """A governor of which one stage always fails, as the pipeline reports it: a refusal."""

    def __init__(self, governor: Any, stage: str) -> None:
        self._governor = governor
        self.stage = stage

    def __getattr__(self, name: str) -> Any:
        if name != self.stage:
            return getattr(self._governor, name)
        code = RefusalCode.AUDIT_UNAVAILABLE if name == "record" else RefusalCode.INTERNAL
        return lambda *_: Refusal(code, "this stage is broken")


def require_fail_closed(case: Case) -> None:
    """A broken policy or log lets nothing through to the backend that carries a request; a broken
    mask lets no row through to the client."""
    for stage in ("judge", "record"):
        book = case.make()
        book.governor = Broken(book.governor, stage)
        for event in case.script:
            if isinstance(event, Bytes) and event.side is CLIENT:
                book >> event
        if any(step.operation.text.encode() in book.sent(SERVER) for step in book.judged if step.operation.text):
            raise AssertionError(f"with a broken {stage} a request reached the backend")
        if stage == "record" and book.sent(SERVER):
            raise AssertionError("with a broken log bytes reached the backend")
    book = case.make()
    book.governor = Broken(book.governor, "clear")
    for event in case.script:
        book >> event
    if case.canary and case.canary in book.sent(CLIENT):
        raise AssertionError("with a broken mask a value reached the client")


def require_no_canary(case: Case) -> None:
    """The value that a mask hides does not reach the client, however the results are split."""
    if not case.canary:
        raise ValueError("a case without a canary shows nothing")
    for size in (1, 7, 1 << 30):
        if case.canary in play(case, partial(_in_pieces, size)).sent(CLIENT):
            raise AssertionError("a masked value reached the client")


def require_settled(case: Case) -> None:
    """Every recorded request is settled exactly once by the end of the script."""
    book = play(case)
    grants = [id(step.grant) for step in book.settled]
    if len(grants) != len(set(grants)):
        raise AssertionError("a request was settled twice")


__all__ = [
    "Broken", "Case", "play", "require_fail_closed", "require_no_canary", "require_settled",
    "require_split_independence",
]
