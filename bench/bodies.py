"""What masks over bodies cost: JSON against parsing and writing it, and the other shapes beside it.

Run: ``python -m bench.bodies`` (or with PYTHONPATH=src). Prints which kernel runs. Times are of the processor, the variants in
turn, best of several; the last column compares with ``orjson.loads`` and ``orjson.dumps`` of the same document, which a
filter that holds whole documents would have to do. Only the ratios travel to another machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import orjson

from lockgate.govern.masking.bodies import BodyTerms, body_mask, decoding, encoding
from lockgate.govern.masking.detectors import DETECTORS
from lockgate.govern.masking.keys import MaskKeys
from lockgate.kernel import json_scan
from lockgate.model import ColumnMask, DetectMask, MaskMethod, Secret

ROWS = 20_000
CHUNK = 65_536
ROUNDS = 5
JSON, EVENTS, TEXT, TABLE, XML = b"application/json", b"text/event-stream", b"text/plain", b"text/csv", b"application/xml"
EVERY = (DetectMask(tuple(DETECTORS), MaskMethod.REDACT),)
Timed = dict[str, tuple[Callable[[], object], int]]


def terms(*masks: ColumnMask, detects: tuple[DetectMask, ...] = ()) -> BodyTerms:
    return BodyTerms(masks, detects, ("crm", "api", "customers"), b"connection", b"task", MaskKeys(Secret("5a" * 32)))


def mask(glob: str, method: MaskMethod = MaskMethod.REDACT) -> ColumnMask:
    return ColumnMask((glob,), method)


def rows() -> list[dict[str, object]]:
    return [{
        "id": index, "name": f"Jane Doe {index}", "ssn": f"219-09-{index % 10_000:04d}", "amount": index * 1.25, "state": "open",
        "note": "delivery left with the neighbour, invoice sent on monday", "created_at": "2024-01-01T12:13:14Z",
    } for index in range(ROWS)]


def masked(of: BodyTerms, media: bytes, data: bytes) -> Callable[[], object]:
    """One body through its mask, in chunks."""
    chunks = [data[at:at + CHUNK] for at in range(0, len(data), CHUNK)]

    def run() -> None:
        body = body_mask(of, media)
        assert body is not None
        for chunk in chunks:
            body.feed(chunk)
        body.finish()
    return run


def small(of: BodyTerms, data: bytes, times: int = 1000) -> Callable[[], object]:
    def run() -> None:
        for _ in range(times):
            body = body_mask(of, JSON)
            assert body is not None
            body.feed(data)
            body.finish()
    return run


def coded(name: bytes, data: bytes) -> Callable[[], object]:
    """Read and written again."""
    packed = encoding([name])
    whole = packed.feed(data) + packed.finish()

    def run() -> None:
        reader, writer = decoding([name]), encoding([name])
        for at in range(0, len(whole), CHUNK):
            writer.feed(reader.feed(whole[at:at + CHUNK]))
        reader.finish()
        writer.finish()
    return run


def measured(variants: Timed) -> dict[str, float]:
    """Processor seconds of the fastest round of each, all in turn."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, (run, _size) in variants.items():
            began = time.process_time()
            run()
            spent = time.process_time() - began
            best[name] = min(spent, best.get(name, spent))
    return best


def variants() -> Timed:
    data = rows()
    document = orjson.dumps(data)
    text = " ".join(str(one["note"]) for one in data).encode()
    table = ("id,name,ssn,note\n" + "".join(f'{one["id"]},{one["name"]},{one["ssn"]},"{one["note"]}"\n' for one in data)).encode()
    xml = ("<rows>" + "".join(f'<row id="{one["id"]}"><ssn>{one["ssn"]}</ssn><note>{one["note"]}</note></row>' for one in data)
           + "</rows>").encode()
    events = b"".join(b'data: {"choices":[{"index":0,"delta":{"content":"%s "}}]}\n\n' % word.encode()
                      for word in " ".join(str(one["note"]) for one in data[:500]).split())
    return {
        "orjson.loads and dumps": (lambda: orjson.dumps(orjson.loads(document)), len(document)),
        "JSON, nothing named": (masked(terms(mask("nothing_here")), JSON, document), len(document)),
        "JSON, one field redacted": (masked(terms(mask("ssn")), JSON, document), len(document)),
        "JSON, a glob with a star": (masked(terms(mask("*.s?n")), JSON, document), len(document)),
        "JSON, one path": (masked(terms(ColumnMask((), MaskMethod.REDACT, paths=("$[*].ssn",))), JSON, document), len(document)),
        "JSON, one field hashed": (masked(terms(mask("ssn", MaskMethod.HASH)), JSON, document), len(document)),
        "JSON, e-mail and card detectors": (masked(terms(detects=(DetectMask(("email", "credit_card"), MaskMethod.REDACT),)),
                                                   JSON, document), len(document)),
        "JSON, all detectors": (masked(terms(detects=EVERY), JSON, document), len(document)),
        "text, all detectors": (masked(terms(detects=EVERY), TEXT, text), len(text)),
        "CSV, one column redacted": (masked(terms(mask("ssn")), TABLE, table), len(table)),
        "XML, one element redacted": (masked(terms(mask("ssn")), XML, xml), len(xml)),
        "events of a language model": (masked(terms(detects=EVERY), EVENTS, events), len(events)),
        "gzip, read and written": (coded(b"gzip", document), len(document)),
        "br, read and written": (coded(b"br", document), len(document)),
        "zstd, read and written": (coded(b"zstd", document), len(document)),
    }


def main() -> None:
    print("kernel:", "interpreted" if json_scan.__file__.endswith(".py") else "compiled", sys.version.split()[0])
    made = variants()
    best = measured(made)
    base = made["orjson.loads and dumps"][1] / best["orjson.loads and dumps"]
    for name, (_run, size) in made.items():
        print(f"{name:<34} {size / best[name] / 1e6:8.0f} MB/s {size / best[name] / base:8.2f} of orjson")
    one = orjson.dumps({"customer": rows()[0], "items": [
        {"sku": f"abc{at}", "title": "some kind of a product title here", "price": 12.5} for at in range(25)]})
    for name, run in (("one field redacted", small(terms(mask("ssn")), one)), ("nothing named", small(terms(mask("other")), one)),
                      ("all detectors", small(terms(detects=EVERY), one))):
        spent = measured({name: (run, len(one))})[name]
        print(f"a document of {len(one)} bytes, {name}: {spent * 1000:.1f} µs")


if __name__ == "__main__":
    main()
