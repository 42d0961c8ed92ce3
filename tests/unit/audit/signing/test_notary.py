"""Signing behind the commit: what is signed, what is asked for again, and when the log has to stop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest

from lockgate.audit.checkpoint import Checkpoint, Verifier, open_note
from lockgate.audit.signing.contract import SignerAway
from lockgate.audit.signing.guard import Guard
from lockgate.audit.signing.notary import Lagging, Tempo
from lockgate.audit.tree import Frontier
from lockgate.errors import AuditError
from tests.unit.audit.signing.trees import ORIGIN, leaves, tree


class Unreliable:
    """A signer with memory behind a line that loses what `losses` says: the request, or the answer."""

    lags = True

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.losses: SimpleQueue[str] = SimpleQueue()
        self.asked: list[int] = []

    @property
    def verifier(self) -> Verifier:
        return self.guard.verifier

    def last(self) -> Checkpoint | None:
        return self.guard.last()

    def sign(self, checkpoint: Checkpoint, proof: Sequence[bytes] = ()) -> str:
        self.asked.append(checkpoint.size)
        loss = "" if self.losses.empty() else self.losses.get()
        if loss == "request":
            raise SignerAway("lost")
        note = self.guard.sign(checkpoint, proof)
        if loss == "answer":
            raise SignerAway("lost")
        return note


@pytest.fixture
def signer(tmp_path: Path) -> Unreliable:
    Guard.begin(tmp_path / "key", tmp_path / "memory", ORIGIN)
    return Unreliable(Guard.open(tmp_path / "key", tmp_path / "memory", ORIGIN))


def grow(notary: Lagging, old: int, new: int) -> None:
    notary.committed(tree(new), leaves(new)[old:])


def test_every_growth_is_proven_from_the_leaves_alone(signer: Unreliable) -> None:
    """The signer with a memory accepts each step: proofs are made without reading the log."""
    notary = Lagging(signer, Frontier(), (), "", Tempo())
    assert notary.note_for(tree(1)) == ""
    assert notary.newest() is None
    size = 0
    for new in (1, 2, 3, 8, 9, 31, 33, 100):
        grow(notary, size, new)
        assert open_note(notary.settle(tree(new)), signer.verifier) == tree(new)
        size = new
    assert notary.newest() == notary.settle(tree(100))
    notary.close()
    signer.guard.close()


@pytest.mark.parametrize("loss", ["request", "answer"])
def test_what_was_lost_is_asked_for_again_before_anything_newer(signer: Unreliable, loss: str) -> None:
    """A signature that was given but never arrived does not stop the log for ever."""
    notary = Lagging(signer, Frontier(), (), "", Tempo())
    signer.losses.put(loss)
    signer.losses.put(loss)
    grow(notary, 0, 5)
    grow(notary, 5, 9)
    assert open_note(notary.settle(tree(9)), signer.verifier) == tree(9)
    assert signer.asked[:3] in ([5, 5, 5], [9, 9, 9])
    notary.close()
    signer.guard.close()


def test_a_refusal_stops_the_log_at_its_next_record(signer: Unreliable) -> None:
    """A signer that has seen another log says so once, and nothing is committed after it."""
    signer.guard.sign(tree(3, "x"))
    notary = Lagging(signer, Frontier(), (), "", Tempo())
    grow(notary, 0, 5)
    with pytest.raises(AuditError, match="not an extension"):
        notary.settle(tree(5))
    with pytest.raises(AuditError, match="not an extension"):
        notary.note_for(tree(6))
    notary.close()
    signer.guard.close()


def test_patience_ends_when_something_durable_has_waited_too_long(signer: Unreliable) -> None:
    """A signer that is away for longer than that closes the log; an idle log waits for nothing."""
    notary = Lagging(signer, Frontier(), (), "", Tempo(0.0, 0.0))
    notary.note_for(tree(1))
    for _ in range(20):
        signer.losses.put("request")
    grow(notary, 0, 1)
    with pytest.raises(AuditError, match="no checkpoint was signed for 0 s"):
        notary.settle(tree(1))
    notary.close()
    signer.guard.close()
