"""How fast the kernel and content detection are: framing, rewriting, clean and dirty chunks.

Run: ``python -m bench.kernel`` (or with PYTHONPATH=src). Prints which kernel runs; figures are the best of
three over about 32 MB in chunks of 128 KiB.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable
from functools import partial

from lockgate.govern.masking import DETECTORS, DetectPlan
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.columns import row_plan
from lockgate.govern.masking.detection import ClearPlan
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.value_masks import MaskTerms
from lockgate.kernel import frames, rows
from lockgate.model import DetectMask, MaskMethod, Secret

ROWS = 250_000
CHUNK = 131_072
BULK = ord("D")
TYPES = (20, 25, 25, 25, 1184)
SHIPPED = ("credit_card", "ssn", "email", "jwt", "aws_key", "github_token")


def row(index: int, note: bytes) -> bytes:
    values = (
        b"%d" % index,
        b"customer name %d" % index,
        b"some street 12345, somewhere",
        note,
        b"2024-01-01 12:13:14.123456+00",
    )
    body = struct.pack("!H", len(values)) + b"".join(struct.pack("!i", len(item)) + item for item in values)
    return frames.frame(BULK, body)


def chunks(every: int) -> list[bytes]:
    """Rows in chunks of whole frames; one row in `every` holds a card number (0: none)."""
    out: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for index in range(ROWS):
        hit = every and index % every == 0
        part.append(row(index, b"paid with 4111 1111 1111 1111" if hit else b"lorem ipsum dolor sit amet, elit"))
        size += len(part[-1])
        if size >= CHUNK:
            out.append(b"".join(part))
            part, size = [], 0
    return [*out, b"".join(part)]


def best(run: Callable[[], object]) -> float:
    """Seconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def report(name: str, size: int, run: Callable[[], object], rows: int = ROWS) -> None:
    seconds = best(run)
    print(f"{name:<44} {rows / seconds / 1e6:8.2f} M rows/s {size / seconds / 1e6:9.0f} MB/s")


def _applied(plan: ClearPlan, some: list[bytes]) -> None:
    for chunk in some:
        plan.apply(chunk)


def main() -> None:
    print("kernel:", "interpreted" if frames.__file__.endswith(".py") else "compiled", sys.version.split()[0])
    clean, dirty, full = chunks(0), chunks(100), chunks(1)
    size = sum(map(len, clean))

    def plan(names: tuple[str, ...]) -> DetectPlan:
        return DetectPlan((DetectMask(names, MaskMethod.REDACT),), TYPES, (0,) * len(TYPES), "rows", BULK)

    six, every = plan(SHIPPED), plan(tuple(DETECTORS))
    report("scan_replies", size, lambda: [frames.scan_replies(chunk, 0, BULK) for chunk in clean])
    report("split_frames", size, lambda: [frames.split_frames(chunk, 0, 1 << 30) for chunk in clean])
    report("rewrite_rows, one column", size,
           lambda: [rows.rewrite_rows(chunk, BULK, len(TYPES), [1], [lambda _value: b"xxxx"], [None]) for chunk in clean])
    keys = MaskKeys(Secret("5a" * 32))
    for method in MaskMethod:
        masks = row_plan({1: MaskTerms(method, b"task", "name")}, tuple(map(ColumnType, TYPES)), (0,) * len(TYPES), keys,
                         (), BULK)
        some = clean if method in (MaskMethod.REDACT, MaskMethod.NULL, MaskMethod.HASH) else clean[:20]
        part = sum(map(len, some))
        report(f"mask a text column, {method.name.lower()}", part, partial(_applied, masks, some), part * ROWS // size)
    report("detect 6, clean", size, lambda: [six.apply(chunk) for chunk in clean])
    report(f"detect {len(DETECTORS)}, clean", size, lambda: [every.apply(chunk) for chunk in clean])
    report("scan + detect 6, clean", size,
           lambda: [(frames.scan_replies(chunk, 0, BULK), six.apply(chunk)) for chunk in clean])
    report("scan + detect 6, 1 % of rows hit", size,
           lambda: [(frames.scan_replies(chunk, 0, BULK), six.apply(chunk)) for chunk in dirty])
    report(f"scan + detect {len(DETECTORS)}, 1 % of rows hit", size,
           lambda: [(frames.scan_replies(chunk, 0, BULK), every.apply(chunk)) for chunk in dirty])
    report("detect 6, every row hit", size, lambda: [six.apply(chunk) for chunk in full])


if __name__ == "__main__":
    main()
