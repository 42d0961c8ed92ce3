"""What a verification found: the verdict, the findings with their entries, and what each check covered.

Apart from the checks because whoever prints or keeps a verdict needs none of them. The thirteen checks
are the same for a package, a folder and a URL; a check that its source has nothing for says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from lockgate.audit.evidence.failures import EvidenceError

CHECKS = (
    "manifest",      # 1: the container holds what it says, and nothing else
    "trust",         # 2: which keys, and who vouches for them
    "checkpoint",    # 3: signatures of the log and of enough witnesses
    "consistency",   # 4: every other checkpoint is of the same log
    "leaves",        # 5: every leaf, hashed again, leads to the signed root
    "grammar",       # 6: every leaf is one, in the only way to write it
    "sessions",      # 7: begin, end, gapless, chained, one outcome each, reviews bound and by somebody else
    "clocks",        # 8: time does not run backwards
    "commitments",   # 9: payloads are those that were committed to; erased, withheld and missing told apart
    "recordings",    # 10: recorded streams are those that the log marked
    "anchors",       # 11: time-stamps of authorities outside
    "holds",         # 12: nothing was erased that was held
    "uncosigned",    # 13: how much no witness has seen
)
_PART_OF = {
    "store": "manifest", "schema": "manifest", "write-ahead log": "manifest", "archive": "manifest",
    "key": "trust", "note": "checkpoint", "quorum": "checkpoint", "cosignature": "checkpoint",
    "policy": "trust", "rotation": "trust", "published checkpoint": "consistency", "kept checkpoint": "consistency",
    "cosigned checkpoint": "consistency", "fleet log": "consistency",
    "entries": "leaves", "tiles": "leaves", "leaf hash": "leaves", "tree": "leaves",
    "proof": "leaves", "head": "leaves", "leaf grammar": "grammar", "position": "sessions",
    "epoch": "sessions", "session": "sessions", "gapless": "sessions", "chain": "sessions",
    "outcome": "sessions", "session root": "sessions", "review": "sessions", "binding": "sessions",
    "clock": "clocks", "payloads": "commitments", "recording": "recordings", "anchor": "anchors",
    "erasure": "holds", "hold": "holds",
}
_SHOWN = 20     # findings that are printed one by one


class Verdict(IntEnum):
    """The answer, which is also the command's exit code."""

    VERIFIED = 0
    TAMPERED = 1
    INCOMPLETE = 2
    UNTRUSTED = 3


@dataclass(frozen=True)
class Finding:
    """Something that is not as it must be. `index` is the first entry concerned, `last` the last one
    that may be meant where it cannot be narrowed down further; None where no entry is.
    """

    check: str
    verdict: Verdict
    message: str
    index: int | None = None
    last: int | None = None

    @property
    def number(self) -> int:
        """Which of the thirteen checks it belongs to."""
        return CHECKS.index(_PART_OF.get(self.check, self.check)) + 1

    @property
    def where(self) -> str:
        """The entries concerned in words, or an empty string."""
        if self.index is None:
            return ""
        if self.last is not None and self.last > self.index:
            return f"index {self.index} to {self.last}"
        return f"index {self.index}"


def counted(number: int, one: str, many: str = "") -> str:
    """A number and what it counts, in the singular where it is one."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _decisive(finding: Finding) -> tuple[int, bool]:
    is_range = finding.last is not None
    return (finding.last if finding.last is not None else finding.index or 0, is_range)


@dataclass
class Report:
    """All checks with what they covered, and all findings. Counts are of what was looked at."""

    source: str
    origin: str = ""
    size: int = 0
    entries: int = 0
    sessions: int = 0
    open_sessions: int = 0
    intents: int = 0
    payloads: int = 0
    withheld: int = 0
    unkept: int = 0
    cosigned: int = 0
    uncosigned_seconds: int | None = None
    unsigned: int = 0
    """Entries that the log's own signer has not come to yet."""
    is_key_pinned: bool = True
    erased: dict[int, int] = field(default_factory=dict)
    """How many payloads each erasure destroyed of those that were looked at, by the index of its record."""
    covered: dict[str, list[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def cover(self, check: str, detail: str) -> None:
        """A check looked at something and found nothing wrong with it."""
        self.covered.setdefault(_PART_OF.get(check, check), []).append(detail)

    def cover_tail(self) -> None:
        """How much no witness has seen, which is known once the size is."""
        tail = self.size - self.cosigned
        self.cover("uncosigned", f"{tail} of {counted(self.size, 'entry', 'entries')}" if tail
                   else "no entry: all are cosigned")

    def find(
        self, check: str, verdict: Verdict, message: str, index: int | None = None, last: int | None = None
    ) -> None:
        """Something is not as it must be."""
        self.findings.append(Finding(check, verdict, message, index, last))

    def blame(self, error: EvidenceError) -> None:
        """The same for what a check raised."""
        self.find(error.check, Verdict[error.verdict.upper()], error.message, error.index, error.last)

    @property
    def first(self) -> Finding | None:
        """The finding that decides: no trust before all, then the lowest index. What can only be narrowed
        down to a range yields to an exact finding inside it.
        """
        if not self.findings:
            return None
        untrusted = [found for found in self.findings if found.verdict is Verdict.UNTRUSTED]
        tampered = [found for found in self.findings if found.verdict is Verdict.TAMPERED]
        for group in (untrusted, tampered, self.findings):
            located = [found for found in group if found.index is not None]
            if located:
                return min(located, key=_decisive)
            if group:
                return group[0]
        return None

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole."""
        verdicts = {found.verdict for found in self.findings}
        for verdict in (Verdict.UNTRUSTED, Verdict.TAMPERED, Verdict.INCOMPLETE):
            if verdict in verdicts:
                return verdict
        return Verdict.VERIFIED


def checklist(report: Report) -> Iterator[tuple[int, str, str, str]]:
    """For each of the thirteen checks: number, name, status (``ok``, ``FAIL``, ``none``), and one line."""
    for number, name in enumerate(CHECKS, 1):
        found = [finding for finding in report.findings if finding.number == number]
        if found:
            located = [finding for finding in found if finding.index is not None]
            worst = min(located, key=_decisive) if located else found[0]
            yield number, name, "FAIL", f"{worst.where}: {worst.message}" if worst.where else worst.message
        elif name in report.covered:
            yield number, name, "ok", "; ".join(report.covered[name])
        else:
            yield number, name, "none", "nothing here to check"


def uncosigned(report: Report) -> Iterator[str]:
    """What even a verified log does not prove, as lines to print."""
    tail = report.size - report.cosigned
    if tail:
        seconds = "" if report.uncosigned_seconds is None else f" (the newest {report.uncosigned_seconds} seconds)"
        yield (f"{tail} of {report.size} entries are not cosigned by a witness{seconds}: whoever holds the "
               "log's private key could have rewritten them")
    if report.unsigned:
        yield f"{report.unsigned} entries are not signed yet: the log's signer is behind"
    if not report.is_key_pinned and report.verdict is not Verdict.UNTRUSTED:
        yield "the verifier key came from the log's own folder: pin a copy with --key"
    yield from report.notes


def conclusion(report: Report) -> str:
    """The last line: the verdict, and what decided it."""
    first = report.first
    if first is None:
        return (f"VERIFIED  {counted(report.entries, 'entry', 'entries')}, {counted(report.sessions, 'session')}, "
                f"{counted(report.intents, 'request')}")
    place = f" at {first.where}" if first.where else ""
    return f"{report.verdict.name}{place} ({first.check}): {first.message}"


def text_lines(report: Report) -> Iterator[tuple[str, str]]:
    """The report for people: a tag (``ok``, ``FAIL``, ``none``, ``note`` or empty) and a line each."""
    for number, name, status, line in checklist(report):
        yield status, f"{number:>2} {name}: {line}"
    if len(report.findings) > 1:
        for finding in report.findings[:_SHOWN]:
            place = f"{finding.where}: " if finding.where else ""
            yield "", f"   {finding.verdict.name.lower()}  {finding.check}: {place}{finding.message}"
        if len(report.findings) > _SHOWN:
            yield "", f"   … and {len(report.findings) - _SHOWN} more"
    for line in uncosigned(report):
        yield "note", line


def report_json(report: Report) -> dict[str, Any]:
    """The report for programs."""
    first = report.first
    return {
        "verdict": report.verdict.name.lower(), "origin": report.origin, "size": report.size,
        "entries": report.entries, "sessions": report.sessions, "open_sessions": report.open_sessions,
        "requests": report.intents, "key_pinned": report.is_key_pinned,
        "payloads": {"opened": report.payloads, "erased": sum(report.erased.values()),
                     "erased_by": {str(by): count for by, count in sorted(report.erased.items())},
                     "withheld": report.withheld,
                     "not_kept": report.unkept},
        "cosigned": report.cosigned, "uncosigned": report.size - report.cosigned,
        "uncosigned_seconds": report.uncosigned_seconds,
        "index": None if first is None else first.index, "check": None if first is None else first.check,
        "checks": [
            {"number": number, "name": name, "status": status.lower(), "detail": line}
            for number, name, status, line in checklist(report)
        ],
        "findings": [
            {"check": finding.check, "number": finding.number, "verdict": finding.verdict.name.lower(),
             "index": finding.index, "last": finding.last, "message": finding.message}
            for finding in report.findings
        ],
        "notes": list(uncosigned(report)),
    }
