"""Offering a checkpoint to one witness, as a generator: requests out, answers in, a verdict at the end.

200  cosignature lines: ours is verified, others are ignored
409  the witness is at another size: asked again from there, unless that is ahead of us or disputes
our root: then somebody has seen another log under this name
422  our own proof does not lead from what the witness has seen: the same
400 403 404  it will not cosign this log: a mistake in somebody's configuration
429 5xx, or no answer: later
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import (
    NoteKey,
    SignatureLine,
    SignedNote,
    parse_signature,
    parse_tree,
    verify_cosignature,
)
from lockgate.audit.witness.exchange import Answer, encode_submission, parse_size

Prove = Callable[[int, int], list[bytes]]
"""The consistency proof from an older size to a newer one of our own log."""
_TRIES: Final = 3
_AHEAD: Final = 300     # seconds that a witness's clock may be ahead of ours
_REASON: Final = 200    # characters of an answer that are repeated
_BUSY: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The witness vouches for this tree since `timestamp` (Unix seconds)."""

    line: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing came of it this time. Ask again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The witness does not cosign this log. Asking again is of no use before somebody changed something."""

    reason: str


@dataclass(frozen=True, slots=True)
class Forked:
    """The witness has seen another log under this name, or more of it: a roll-back, a fork, or a false witness."""

    reason: str
    size: int


Outcome = Cosigned | Later | Declined | Forked


def offer(
    signed: SignedNote, witness: NoteKey, old: int, prove: Prove, now: float,
) -> Generator[bytes, Answer, Outcome]:
    """Have a witness cosign a checkpoint. Yields bodies to post and takes the answers.

    `old` is the size that it is believed to be at, 0 where that is not known. `signed` is the log's own note.
    """
    tree = parse_tree(signed.text)
    note = f"{signed.text}\n{signed.signatures[0].line}"
    old = old if old <= tree.size else 0
    for _ in range(_TRIES):
        answer = yield encode_submission(old, prove(old, tree.size), note)
        if answer.status == 200:
            return _cosigned(answer, signed.text, witness, now)
        if answer.status == 422 and old:
            return Forked(f"it does not accept that our {tree.size} entries begin with the {old} that it cosigned", old)
        if answer.status != 409:
            return _declined(answer)
        size = parse_size(answer)
        if size is None:
            return Declined("it answers 409 without the size that it is at")
        if size > tree.size:
            return Forked(f"it has cosigned {size} entries, we have {tree.size}", size)
        if size == old:
            if size == tree.size:
                return Forked(f"it has cosigned another log of {size} entries", size)
            return Declined(f"it is at size {size} and does not accept that we say so")
        old = size
    return Later("its size changed with every answer")


def _cosigned(answer: Answer, text: str, witness: NoteKey, now: float) -> Outcome:
    for line in _lines(answer.body):
        if line.is_by(witness):
            try:
                timestamp = verify_cosignature(text, line, witness)
            except EvidenceError as error:
                return Declined(error.message)
            if timestamp > now + _AHEAD:
                return Declined("its cosignature is from the future")
            return Cosigned(line.line, timestamp)
    return Declined(f"its answer has no cosignature by {witness.name}")


def _lines(body: bytes) -> list[SignatureLine]:
    found = []
    for line in body.decode("utf-8", "replace").split("\n")[:64]:
        try:
            found.append(parse_signature(line))
        except EvidenceError:
            continue    # by somebody else, in a way that we need not understand
    return found


def _declined(answer: Answer) -> Outcome:
    if answer.status == 0:
        return Later("no answer")
    said = "".join(char for char in answer.body.decode("utf-8", "replace")[:_REASON] if char.isprintable())
    reason = f"status {answer.status}" + (f": {said}" if said else "")
    if answer.status >= 500 or answer.status in _BUSY:
        return Later(reason)
    known = {404: "it does not know this log", 403: "it does not know the log's key"}.get(answer.status)
    return Declined(f"{known} ({reason})" if known else reason)
