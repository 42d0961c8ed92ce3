"""`make fuzz`: random and mutated input against everything that reads what others wrote.

Each target may end in an error of its own kind and in nothing else: no other exception, no hang.
A failure prints the target, the seed and the input as hex, so that it becomes a test.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzz import corpus, crash, flips, kill, mutants, noninterference
from lockgate.analysis.sql import AnalysisLimits, Analyzer
from lockgate.audit import entry
from lockgate.config import document
from lockgate.errors import LockgateError
from lockgate.govern.identity import read_token
from lockgate.govern.masking import (
    DETECTORS,
    ColumnType,
    MaskKeys,
    MaskTerms,
    Tokens,
    plan_for,
    row_plan,
    value_mask,
)
from lockgate.kernel import frames
from lockgate.model import ColumnMask, DetectMask, MaskMethod, Rule, Secret
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.http import scene, sockets
from tests.protocols.http import support as readers
from tests.protocols.mcp.pipes import verify_lines
from tests.protocols.postgres.support import World

_DETECTS = (DetectMask(("credit_card", "email", "ssn", "jwt"), MaskMethod.PARTIAL),)
_COLUMNS = tuple(ColumnType(oid) for oid in (25, 23, 3802, 1700, 1114, 1009, 2950, 17))
_KEYS = MaskKeys(Secret("5a" * 32))
_EVERY = (DetectMask(tuple(DETECTORS), MaskMethod.PARTIAL),)
_TYPES = (25, 17, 20, 114, 869, 1009, 1700, 2249, 3614, 3802, 3926, 4536, 20000)
_FOLDER = Path(tempfile.mkdtemp(prefix="lockgate-fuzz-"))


def statement(data: bytes) -> None:
    """Any text through the SQL analysis."""
    Analyzer(AnalysisLimits()).statement(data.decode("utf-8", "replace"))


def client(data: bytes) -> None:
    """Any bytes from a client, in two pieces, with a backend that answers noise."""
    book = World().session()
    half = len(data) // 2
    for side, piece in ((CLIENT, data[:half]), (CLIENT, data[half:]), (SERVER, data[::-1])):
        if piece:
            book >> Bytes(side, piece)


def server(data: bytes) -> None:
    """Any bytes from a backend after a query."""
    book = World().session()
    book >> Bytes(CLIENT, corpus.QUERY) >> Bytes(SERVER, data)


def framing(data: bytes) -> None:
    """The framing loops."""
    frames.split_frames(data, 0, 1 << 20)
    frames.scan_replies(data, 0, ord("D"))


def detection(data: bytes) -> None:
    """Detectors over what claims to be rows or COPY data."""
    types, formats = (25, 17, 114), (0, 1, 0)
    plan_for(_DETECTS, types, formats, "rows", ord("D")).apply(data)
    plan_for(_DETECTS, types, formats, "copy-text", ord("d")).apply(data)
    plan_for(_DETECTS, types, formats, "copy-csv", ord("d")).apply(data)
    plan_for(_DETECTS, types, formats, "copy-binary", ord("d")).apply(data)


def masks(data: bytes) -> None:
    """Column masks of every method over a value of any type, and over what claims to be rows or COPY data."""
    Tokens(_KEYS, b"task", ("pii",)).find(data)
    for method in MaskMethod:
        terms = MaskTerms(method, b"task", "pii", frozenset(("$..a",)) if len(data) % 2 else frozenset())
        for column in _COLUMNS:
            for binary in (False, True):
                value_mask(terms, column, binary, _KEYS).replace(data)
    terms = MaskTerms(MaskMethod.HASH, b"task", "pii")
    row_plan({1: terms}, _COLUMNS[:3], (0, 1, 0), _KEYS, _DETECTS, ord("D")).apply(data)


def values(data: bytes) -> None:
    """Detectors over one value, which claims to be of each type in each format and holds a find."""
    value = data[: len(data) // 2] + b" 4111111111111111 " + data[len(data) // 2 :]
    row = frames.frame(ord("D"), b"\0\1" + len(value).to_bytes(4, "big") + value)
    for oid in _TYPES:
        for code in (0, 1):
            plan_for(_EVERY, (oid,), (code,), "rows", ord("D")).apply(row)


def token(data: bytes) -> None:
    """Anything that claims to be a token."""
    read_token(data.decode("latin-1"))


def leaf(data: bytes) -> None:
    """Anything that claims to be a log entry."""
    entry.parse(data)


def configuration(data: bytes) -> None:
    """Anything that claims to be a configuration file."""
    path = _FOLDER / "lockgate.yaml"
    path.write_bytes(data)
    document.read(path)


def requests(data: bytes) -> None:
    """Any bytes as requests, in every split; what is taken, h11 takes just so."""
    readers.verify_requests(data[:600])


def responses(data: bytes) -> None:
    """Any bytes as responses, in every split; what is taken, h11 takes just so."""
    method = (b"GET", b"HEAD", b"CONNECT")[len(data) % 3]
    readers.verify_responses(data[:600], method, closed=bool(len(data) % 2))


def socket(data: bytes) -> None:
    """Any bytes over an open WebSocket, of either side and in every split, under masks."""
    for of_client in (True, False):
        sockets.verify_frames(data[:600], of_client=of_client)
    for side in (CLIENT, SERVER):
        book = sockets.opened(scene.World(rules=(scene.ALLOW, Rule("hide", masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),), detects=_DETECTS))))
        book >> Bytes(side, data)


def pipes(data: bytes) -> None:
    """Any bytes as a client's lines, in every split; what a server reads of them is what was judged."""
    verify_lines(data[:600])


TARGETS: dict[str, tuple[Callable[[bytes], None], Sequence[bytes]]] = {
    "statement": (statement, corpus.STATEMENTS),
    "client": (client, corpus.CLIENT_BYTES),
    "server": (server, corpus.SERVER_BYTES),
    "framing": (framing, corpus.SERVER_BYTES),
    "detection": (detection, corpus.SERVER_BYTES),
    "masks": (masks, corpus.SERVER_BYTES),
    "values": (values, corpus.SERVER_BYTES),
    "token": (token, corpus.TOKENS),
    "leaf": (leaf, corpus.LEAVES),
    "requests": (requests, corpus.REQUESTS),
    "responses": (responses, corpus.RESPONSES),
    "socket": (socket, corpus.FRAMES),
    "pipes": (pipes, corpus.LINES),
    "configuration": (configuration, corpus.CONFIGURATIONS),
}
NONINTERFERENCE, CRASH, KILL, MUTANTS, FLIPS = "noninterference", "crash", "kill", "mutants", "flips"
"""Not targets as those above: they take statements instead of bytes, lose power, kill a gateway, change the verifier, or flip
bytes of evidence.
"""


def mutate(seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """Noise, or a seed with a few bytes changed, cut, doubled, or mixed with another."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.randrange(400))
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(data) + 1)
        choice = dice.randrange(5)
        if choice == 0 and data:
            data[at % len(data)] ^= 1 << dice.randrange(8)
        elif choice == 1:
            data[at:at] = dice.randbytes(dice.randrange(1, 9))
        elif choice == 2:
            del data[at:at + dice.randrange(1, 20)]
        elif choice == 3:
            data[at:at] = data[at:at + dice.randrange(1, 40)] * dice.randrange(1, 4)
        else:
            other = dice.choice(seeds)
            data[at:] = other[dice.randrange(len(other) + 1):]
    return bytes(data[:100_000])


def run(name: str, seconds: float, seed: int) -> int:
    """Fuzz one target. Returns the number of inputs tried; raises SystemExit on a failure."""
    target, seeds = TARGETS[name]
    dice = random.Random(seed)
    end = time.monotonic() + seconds
    tried = 0
    while time.monotonic() < end:
        data = mutate(seeds, dice)
        tried += 1
        try:
            target(data)
        except LockgateError:
            continue
        except BaseException:
            traceback.print_exc()
            sys.exit(f"{name}: seed {seed}, input {tried}: {data.hex()}")
    return tried


def main() -> int:
    runs: dict[str, Callable[[argparse.Namespace], int]] = {
        NONINTERFERENCE: lambda options: noninterference.run(options.seconds, options.statements, options.seed),
        CRASH: lambda options: crash.main(options.crashes, options.seed),
        KILL: lambda options: kill.main(options.times, options.seed),
        MUTANTS: lambda options: mutants.main(options.sample, options.seed),
        FLIPS: lambda options: flips.main(options.sample, options.seed),
    }
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="per target")
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFFFFFF)
    parser.add_argument("--statements", type=int, help="noninterference: compare so many, however long it takes")
    parser.add_argument("--crashes", type=int, default=1_000, help="crash: how often the power fails")
    parser.add_argument("--sample", type=int, help="mutants, flips: try so many of them only")
    parser.add_argument("--times", type=int, default=5, help="kill: how often a gateway is killed")
    parser.add_argument("--record", type=Path, help="noninterference: write a recording of sqlsmith to this file")
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join([*TARGETS, *runs]))
    options = parser.parse_args()
    if options.record is not None:
        noninterference.record(options.record, options.seed)
        return 0
    code = 0
    for name in options.targets or [*TARGETS, *runs]:
        if name in runs:
            code = runs[name](options) or code
        else:
            print(f"{name:14s} {run(name, options.seconds, options.seed):9,d} inputs, seed {options.seed}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
