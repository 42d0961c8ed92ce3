"""An outcome as lines for a terminal, as JSON and as Markdown.

Apart from `campaign` because it judges nothing. No report holds what came back: where real columns were tested, that
would be the very values. A refusal's words are kept only of answers in which no trace was found.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lockgate.leaktest.verdict import LEAKING, Outcome, Result, Verdict

_WORDS = 160            # characters of a refusal that are kept


@dataclass(frozen=True, slots=True)
class Header:
    """What was tested, when and how."""

    target: str
    mode: str
    begun: str
    ways: tuple[str, ...]
    notes: tuple[str, ...]
    version: str


def summary(outcome: Outcome) -> list[str]:
    """The result in a few lines; the first one is ``leaks: N of M``."""
    lines = [f"leaks: {outcome.count(Verdict.LEAK)} of {len(outcome.results)}"]
    counts = ", ".join(f"{verdict.value} {outcome.count(verdict)}" for verdict in Verdict if verdict is not Verdict.LEAK)
    lines.append(f"the rest: {counts}")
    ordinary = len(outcome.leaks) - outcome.count(Verdict.LEAK)
    if ordinary:
        lines.append(f"ordinary statements that leak: {ordinary} of {len(outcome.benign)}")
    stated = dict.fromkeys(result.detail for result in outcome.results if result.verdict is Verdict.STATED)
    if stated:
        lines.append("stated, and not claimed to be closed: " + "; ".join(stated))
    lines.append(f"over-refusals: {len(outcome.over_refused)} of {len(outcome.benign)}")
    if outcome.control:
        proved = sum(result.verdict in LEAKING for result in outcome.control)
        lines.append(f"control: {proved} of {len(outcome.control)} leak on the direct connection; "
                     f"{len(outcome.unproved)} shapes do in no way")
    return lines


def leaks(outcome: Outcome) -> list[str]:
    """One line for each leak."""
    return [f"{result.group}: {result.shape} ({result.way}): {result.detail}"
            for result in outcome.leaks]


def as_json(header: Header, outcome: Outcome) -> str:
    """Everything, for programs."""
    return json.dumps({
        "target": header.target, "mode": header.mode, "begun": header.begun, "ways": header.ways, "lockgate": header.version,
        "leaks": outcome.count(Verdict.LEAK), "fired": len(outcome.results),
        "verdicts": {verdict.value: outcome.count(verdict) for verdict in Verdict},
        "over_refusals": len(outcome.over_refused), "benign": len(outcome.benign), "unmasked": outcome.unmasked,
        "notes": header.notes, "shapes": [_entry(result) for result in outcome.results],
        "ordinary": [_entry(result) for result in outcome.benign], "control": [_entry(result) for result in outcome.control],
        "unproved": outcome.unproved,
    }, indent=1, ensure_ascii=False) + "\n"


def _entry(result: Result) -> dict[str, object]:
    return {"shape": result.shape, "group": result.group, "way": result.way, "verdict": result.verdict.value,
            "sqlstate": result.code, "detail": result.detail[:_WORDS], "seconds": round(result.seconds, 4)}


def as_markdown(header: Header, outcome: Outcome) -> str:
    """The same, for people."""
    parts = [
        f"# Leak test of {header.target}\n\n{header.begun}, {header.mode}, lockgate {header.version}\n",
        "```text\n" + "\n".join(summary(outcome)) + "\n```\n",
        "Not looked at: " + "; ".join(header.notes) + ".\n",
    ]
    if outcome.unmasked:
        parts.append("Columns that the plainest read showed: " + ", ".join(outcome.unmasked) + "\n")
    parts.append("## Leaks\n\n" + (_table(("group", "shape", "way", "form"), [
        (result.group, result.shape, result.way, result.detail) for result in outcome.leaks]) or "None.\n"))
    parts.append("## Over-refusals\n\n" + (_table(("group", "statement", "way", "SQLSTATE", "words"), [
        (result.group, result.shape, result.way, result.code, result.detail[:_WORDS])
        for result in outcome.over_refused]) or "None.\n"))
    parts.append("## By group\n\n" + _groups(outcome.results))
    parts.append("## Every shape\n\n" + _shapes(outcome.results, header.ways))
    if outcome.control:
        parts.append("## Shapes that show nothing on the direct connection\n\n"
                     "Here a verdict other than leak tells nothing: the server refuses them itself, or has no such "
                     "function.\n\n" + ("\n".join(f"- {name}" for name in outcome.unproved) or "None.") + "\n")
    return "\n".join(parts)


def _groups(results: Sequence[Result]) -> str:
    counts: dict[str, Counter[Verdict]] = {}
    for result in results:
        counts.setdefault(result.group, Counter())[result.verdict] += 1
    return _table(("group", "fired", *(verdict.value for verdict in Verdict)), [
        (group, str(sum(found.values())), *(str(found[verdict]) for verdict in Verdict)) for group, found in counts.items()])


def _shapes(results: Sequence[Result], ways: Sequence[str]) -> str:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for result in results:
        said = result.verdict.value + (f" {result.code}" if result.code else "")
        cells.setdefault((result.group, result.shape), {})[result.way] = said
    return _table(("group", "shape", *ways), [
        (group, shape, *(found.get(way, "–") for way in ways)) for (group, shape), found in cells.items()])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).replace("|", "\\|").replace("<", "&lt;")
