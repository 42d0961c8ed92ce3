"""The words of C2SP tlog-witness: the body of ``POST <prefix>/add-checkpoint``, and what comes back."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import NOTE_LIMIT, decode_base64

PATH: Final = "/add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
BODY_LIMIT: Final = NOTE_LIMIT + 8192
_PROOF: Final = 63          # more lines no client may send
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)
_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,18})\n", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `status` is 0 where none came."""

    status: int
    kind: str = ""
    """Its Content-Type, without parameters."""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint on its way to a witness, with the proof from the size that it should have seen last."""

    old: int
    proof: tuple[bytes, ...]
    note: str


class MalformedSubmission(Exception):
    """A body that is not what the protocol says. Answered with 400."""


def encode_submission(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """The body of a request."""
    lines = "".join(f"{b64encode(node).decode()}\n" for node in proof)
    return f"old {old}\n{lines}\n{note}".encode()


def parse_submission(body: bytes) -> Submission:
    """Read a body. Raises `MalformedSubmission`."""
    if len(body) > BODY_LIMIT:
        raise MalformedSubmission("the request is too long")
    try:
        head, blank, note = body.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise MalformedSubmission("the request is not UTF-8") from None
    lines = head.split("\n")
    old = _OLD.fullmatch(lines[0])
    if old is None or not blank or len(lines) - 1 > _PROOF:
        raise MalformedSubmission("the request is an old size line, at most 63 hashes, an empty line and a checkpoint")
    try:
        proof = tuple(decode_base64(line, "proof") for line in lines[1:])
    except EvidenceError:
        raise MalformedSubmission("a hash of the proof is not base64") from None
    if any(len(node) != 32 for node in proof):
        raise MalformedSubmission("a hash of the proof does not have 32 bytes")
    return Submission(int(old[1]), proof, note)


def parse_size(answer: Answer) -> int | None:
    """The size in a 409 of the type `SIZE_TYPE`; None where it is none."""
    try:
        found = _SIZE.fullmatch(answer.body.decode("ascii")) if answer.kind == SIZE_TYPE else None
    except UnicodeDecodeError:
        return None
    return None if found is None else int(found[1])
