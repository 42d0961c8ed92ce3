"""What the log makes of each answer of a witness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.evidence.notes import NoteKey, parse_note
from lockgate.audit.witness.client import Cosigned, Declined, Forked, Later, Outcome, offer
from lockgate.audit.witness.exchange import SIZE_TYPE, Answer, parse_submission
from lockgate.audit.witness.memory import Memory
from lockgate.audit.witness.witness import Witness
from tests.unit.audit.evidence.keys import LOG, W1, body
from tests.unit.audit.signing.trees import growth, tree
from tests.unit.audit.witness.test_witness import NOW, ask, note

TEXT = body(9, tree(9).root)


def run(
    answer: Callable[[bytes], Answer], witness: NoteKey = W1.key, old: int = 0, size: int = 9, seed: str = "",
) -> tuple[Outcome, list[int]]:
    """The outcome, and the old sizes that were sent."""
    steps = offer(parse_note(note(size, seed)), witness, old, lambda first, last: growth(first, last, seed), NOW)
    sent: list[int] = []
    try:
        asked = next(steps)
        while True:
            sent.append(parse_submission(asked).old)
            asked = steps.send(answer(asked))
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome, sent


def size_of(size: object) -> Answer:
    return Answer(409, SIZE_TYPE, f"{size}\n".encode())


@pytest.mark.parametrize(("answer", "expected"), [
    (Answer(404, "text/plain", b"what log?"), Declined), (Answer(403), Declined), (Answer(400), Declined),
    (Answer(302), Declined), (Answer(204), Declined), (Answer(429), Later), (Answer(500), Later), (Answer(503), Later),
    (Answer(0), Later), (Answer(422), Declined), (Answer(409), Declined), (Answer(409, "text/plain", b"5\n"), Declined),
    (Answer(409, SIZE_TYPE, b"5"), Declined), (Answer(409, SIZE_TYPE, b"05\n"), Declined), (size_of("\u0665"), Declined),
    (size_of(10), Forked), (size_of(2**62), Forked), (Answer(200), Declined),
    (Answer(200, "", W1.cosign(TEXT, int(NOW) + 10_000).encode()), Declined),
    (Answer(200, "", W1.cosign(body(8), int(NOW)).encode()), Declined), (Answer(200, "", LOG.line(TEXT).encode()), Declined),
    (Answer(200, "", ("x\n" + LOG.line(TEXT) + W1.cosign(TEXT, int(NOW))).encode()), Cosigned),
])
def test_every_answer_has_one_meaning(answer: Answer, expected: type) -> None:
    """Ours is found among other lines; what may pass is asked again; more than we have is a fork; all else is no."""
    assert type(run(lambda _: answer)[0]) is expected


def test_a_size_that_we_have_passed_is_where_we_go_on(tmp_path: Path) -> None:
    """A witness at an older size is asked again from there, with the proof for it; so is one that lost nothing."""
    memory = Memory(tmp_path / "w")
    witness = Witness("w", Ed25519PrivateKey.generate(), [LOG.key], memory, lambda: NOW)
    witness.add_checkpoint(ask(0, 5))
    for old, sent in ((0, [0, 5]), (9, [9]), (3, [3, 9]), (12, [0, 9])):
        outcome, olds = run(witness.add_checkpoint, witness.key, old)
        assert (type(outcome), olds) == (Cosigned, sent)
    memory.close()


@pytest.mark.parametrize(("size", "seed"), [(9, "x"), (12, "x"), (4, ""), (4, "x")])
def test_our_own_fork_and_roll_back_are_found(tmp_path: Path, size: int, seed: str) -> None:
    """A witness that has seen the honest log makes any other log under its name an alarm, never a cosignature."""
    memory = Memory(tmp_path / "w")
    witness = Witness("w", Ed25519PrivateKey.generate(), [LOG.key], memory, lambda: NOW)
    witness.add_checkpoint(ask(0, 9))
    assert type(run(witness.add_checkpoint, witness.key, 0, size, seed)[0]) is Forked
    memory.close()


def test_a_witness_that_leads_us_in_circles_is_left(tmp_path: Path) -> None:
    """Sizes that change with every answer end after three requests."""
    sizes = iter(range(1, 9))
    outcome, sent = run(lambda _: size_of(next(sizes)))
    assert (type(outcome), len(sent)) == (Later, 3)
    assert type(run(lambda _: size_of(0))[0]) is Declined
