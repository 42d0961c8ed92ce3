"""The detectors against another project's cases (tests/data/pii-cases.jsonl), entity by entity.

Run: ``python -m tests.unit.govern.masking.presidio`` prints the table and every case in which we differ.
Verdicts, by what would be left in a client's hands: `exact` is the same extents; `conservative` covers them
and more; `missed` leaves a byte of one; `false` hides what is none. Overlapping finds count as one, as they
are masked as one. Cases that give a count and no extents are judged by the count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.govern.masking.detectors import DETECTORS

DATA = Path(__file__).parents[3] / "data"
CLAIMED = {
    "CREDIT_CARD": ("credit_card",), "US_SSN": ("ssn",), "EMAIL_ADDRESS": ("email",), "IBAN_CODE": ("iban",),
    "IP_ADDRESS": ("ipv4", "ipv6"), "phone": ("phone",), "ph_mobile_number": ("phone",), "tr_phone_number": ("phone",),
}  # fmt: skip
"""Entities, or recognizers where the case names no entity, that a shipped detector claims."""


@dataclass(frozen=True)
class Judged:
    """One case with its verdict; `claimed` is empty for texts of entities that no detector claims."""

    claimed: str
    text: str
    verdict: str


def cases() -> list[dict[str, Any]]:
    lines = (DATA / "pii-cases.jsonl").read_text(encoding="utf-8").splitlines()
    return [case for case in map(json.loads, lines) if not case.get("_meta")]


def judged() -> Iterator[Judged]:
    """Every case with its verdict."""
    for case in cases():
        names = case.get("entity") or []
        recognizer = case["file"].removeprefix("test_").removesuffix("_recognizer.py")
        claimed = names[0] if len(names) == 1 and names[0] in CLAIMED else recognizer if recognizer in CLAIMED else ""
        text = case["text"]
        if claimed:
            yield Judged(claimed, text, _verdict(case, _found(text, CLAIMED[claimed])))
        else:
            yield Judged("", text, "false" if _found(text, tuple(DETECTORS)) else "exact")


def _found(text: str, names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Merged extents in code points."""
    data = text.encode("utf-8", "surrogatepass")
    merged: list[tuple[int, int]] = []
    for start, end in sorted(span for name in names for span in DETECTORS[name].find(data)):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return [(len(data[:start].decode()), len(data[:end].decode())) for start, end in merged]


def _verdict(case: dict[str, Any], found: list[tuple[int, int]]) -> str:
    due = [(start, end) for start, end in case["spans"]]
    if not due and case["expected_count"]:
        difference = len(found) - case["expected_count"]
        return "exact" if difference == 0 else "missed" if difference < 0 else "false"
    if found == due:
        return "exact"
    if not all(any(start <= first and last <= end for start, end in found) for first, last in due):
        return "missed"
    beside = [span for span in found if not any(span[0] < last and first < span[1] for first, last in due)]
    return "false" if beside else "conservative"


def reasons() -> dict[tuple[str, str], str]:
    """Why we differ, by entity and text."""
    groups = json.loads((DATA / "pii-reasons.json").read_text(encoding="utf-8"))
    return {(group["claimed"], text): group["reason"] for group in groups for text in group["texts"]}


def main() -> None:
    table: dict[str, Counter[str]] = {}
    known = reasons()
    for one in judged():
        table.setdefault(one.claimed or "(no claim)", Counter())[one.verdict] += 1
        if one.verdict in ("missed", "false") and one.claimed:
            print(
                f"{one.verdict:8}{one.claimed:18}{one.text[:70]!r:74}{known.get((one.claimed, one.text), 'NO REASON')}"
            )
    print(f"\n{'':20}" + "".join(f"{verdict:>14}" for verdict in ("exact", "conservative", "missed", "false")))
    for name, counts in table.items():
        print(
            f"{name:20}" + "".join(f"{counts[verdict]:14}" for verdict in ("exact", "conservative", "missed", "false"))
        )


if __name__ == "__main__":
    main()
