"""How fast the kernel and content detection are: framing, rewriting, clean and dirty rows, flat memory.

Run: ``python -m bench.kernel`` (or with PYTHONPATH=src). Prints which kernel runs. Times are of the processor,
best of three over about 32 MB in chunks of 128 KiB; detection is measured end to end: framing, prefilter, precise
search and rewriting, with all shipped detectors and the vote, a new plan for each run. The last column compares
with framing alone. Only the ratios travel to another machine.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from lockgate.govern.masking import DETECTORS, DetectPlan, plan_for
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.columns import row_plan
from lockgate.govern.masking.detection import ClearPlan
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.value_masks import MaskTerms
from lockgate.kernel import frames, rows
from lockgate.model import DetectMask, MaskMethod, Secret

ROWS = 250_000
MANY = 10_000_000
CHUNK = 131_072
BULK = ord("D")
TYPES = (20, 25, 1700, 25, 25, 1184)
FEW = ("credit_card", "ssn", "email", "jwt", "aws_key", "github_token")
WORDS = ("delivery left with the neighbour invoice sent on monday customer asked for a hotel near the office "
         "second reminder excellent service open until further notice").split()
HITS = (b"paid with 4111 1111 1111 1111", b"write to jane.doe@example.org", b"call +1 415 555 2671",
        b"ssn 219-09-9999 on file", b"password=hunter2 for the portal")
Values = tuple[bytes, ...]


def ledger(index: int, chance: random.Random) -> Values:
    """An id, a name, an amount, a state, a note, a time."""
    words = chance.choices(WORDS, k=11)
    day = f"2024-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}"
    return (
        b"%d" % (1_000_000 + index), " ".join(words[:2]).encode(), b"%d.%02d" % (index % 9973, index % 100), b"open",
        " ".join(words[2:]).encode()[:48], f"{day} 12:13:14.{chance.randrange(10**6):06d}+00".encode(),
    )


def events(index: int, chance: random.Random) -> Values:
    """What looks like finds and is none: a UUID, an epoch in milliseconds, a decimal, a JSON document."""
    number = f"{chance.getrandbits(128):032x}"
    uuid = "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))
    return (b"%d" % index, uuid.encode(), b"%d" % (1_700_000_000_000 + index), b"%.6f" % (chance.random() * 1e6),
            b'{"state": "open", "at": "2024-01-01T12:13:14.123Z"}', b"delivery note")


def row(values: Values) -> bytes:
    body = struct.pack("!H", len(values)) + b"".join(struct.pack("!i", len(item)) + item for item in values)
    return frames.frame(BULK, body)


def chunks(make: Callable[[int, random.Random], Values], every: int = 0, hits: tuple[bytes, ...] = HITS) -> list[bytes]:
    """Rows in chunks of whole frames; the next to last column of one row in `every` holds a find (0: none)."""
    chance = random.Random(1)
    out: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for index in range(ROWS):
        values = make(index, chance)
        if every and index % every == 0:
            values = (*values[:-2], hits[index // every % len(hits)], values[-1])
        part.append(row(values))
        size += len(part[-1])
        if size >= CHUNK:
            out.append(b"".join(part))
            part, size = [], 0
    return [*out, b"".join(part)]


def best(run: Callable[[], object]) -> float:
    """Processor seconds of the fastest of three runs: others on the machine count less than with a clock."""
    times = []
    for _ in range(3):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def applied(masks: ClearPlan, data: list[bytes]) -> None:
    for chunk in data:
        masks.apply(chunk)


def report(name: str, data: list[bytes], run: Callable[[], object], framing: float | None = None,
           count: int = ROWS) -> None:
    """One line of `count` rows; `framing` is the time of framing alone over the same bytes."""
    seconds = best(run)
    size = sum(map(len, data))
    ratio = "" if framing is None else f"{framing / seconds:8.3f} of framing"
    print(f"{name:<44} {count / seconds / 1e6:8.2f} M rows/s {size / seconds / 1e6:9.0f} MB/s {ratio}")


def plan(names: tuple[str, ...]) -> DetectPlan:
    made = plan_for((DetectMask(names, MaskMethod.REDACT),), TYPES, (0,) * len(TYPES), "rows", BULK)
    assert isinstance(made, DetectPlan)
    return made


def detect(data: list[bytes], names: tuple[str, ...]) -> Callable[[], object]:
    """Framing and detection over one result."""
    def run() -> None:
        masks = plan(names)
        for chunk in data:
            frames.scan_replies(chunk, 0, BULK)
            masks.apply(chunk)
    return run


def kernel_alone(data: list[bytes]) -> float:
    """The loops by themselves → seconds of framing."""
    framing = best(lambda: [frames.scan_replies(chunk, 0, BULK) for chunk in data])
    report("scan_replies (framing)", data, lambda: [frames.scan_replies(chunk, 0, BULK) for chunk in data])
    report("split_frames", data, lambda: [frames.split_frames(chunk, 0, 1 << 30) for chunk in data])
    report("rewrite_rows, one column", data,
           lambda: [rows.rewrite_rows(chunk, BULK, len(TYPES), [1], [lambda _value: b"xxxx"], [None]) for chunk in data])
    return framing


def resident() -> int:
    """Bytes of resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(data: list[bytes]) -> Iterator[tuple[int, int]]:
    """(rows so far, resident bytes) while one plan takes ten million rows."""
    masks = plan(tuple(DETECTORS))
    count = 0
    while count < MANY:
        for chunk in data:
            masks.apply(chunk)
        count += ROWS
        yield count, resident()


def main() -> None:
    print("kernel:", "interpreted" if frames.__file__.endswith(".py") else "compiled", sys.version.split()[0])
    every = tuple(DETECTORS)
    clean = chunks(ledger)
    print(f"{ROWS:,} rows of {sum(map(len, clean)) / ROWS:.0f} bytes; detection: {len(every)} detectors and the vote")
    framing = kernel_alone(clean)
    hundredth, full, mixed = chunks(ledger, 100), chunks(ledger, 1, HITS[:1]), chunks(ledger, 1)
    for name, data, names in (
        ("clean rows", clean, every), ("clean rows, 6 detectors", clean, FEW), ("1 % of rows hit", hundredth, every),
        ("1 % of rows hit, 6 detectors", hundredth, FEW), ("every row hit, one kind (an election)", full, every),
        ("every row hit, five kinds", mixed, every), ("UUIDs, epochs, decimals, JSON", chunks(events), every),
    ):
        report(name, data, detect(data, names), framing)
    for method in MaskMethod:
        some = clean[:20]
        masks = row_plan({1: MaskTerms(method, b"task", "name")}, tuple(map(ColumnType, TYPES)), (0,) * len(TYPES),
                         MaskKeys(Secret("5a" * 32)), (), BULK)
        report(f"mask a text column, {method.name.lower()}", some, partial(applied, masks, some),
               count=len(some) * ROWS // len(clean))
    sizes = dict(memory(hundredth))
    print(f"resident memory after 1 M and {MANY // 1_000_000} M rows through one plan, 1 % hit: "
          f"{sizes[1_000_000] / 1e6:.1f} and {sizes[MANY] / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
