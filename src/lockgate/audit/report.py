"""What a verification found: the verdict, the findings with their entries, and what was covered.

Apart from `verify` because whoever prints or keeps a verdict needs no verifier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path


class Verdict(IntEnum):
    """The answer, which is also the command's exit code."""

    VERIFIED = 0
    TAMPERED = 1
    INCOMPLETE = 2
    UNTRUSTED = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be. `index` is the first entry concerned, `last` the last one
    that may be meant where it cannot be narrowed down further; None where no entry is.
    """

    check: str
    verdict: Verdict
    message: str
    index: int | None = None
    last: int | None = None


def _position(finding: Finding) -> tuple[int, bool]:
    is_range = finding.last is not None
    return (finding.last if finding.last is not None else finding.index or 0, is_range)


@dataclass(slots=True)
class Report:
    """All checks in their order with what they covered, and all findings."""

    folder: Path
    origin: str = ""
    entries: int = 0
    sessions: int = 0
    open_sessions: int = 0
    intents: int = 0
    payloads: int = 0
    is_key_pinned: bool = True
    cosigned: int = 0
    """Entries under the newest checkpoint that a quorum of witnesses cosigned."""
    cosigned_at: float = 0.0
    """When the last one of that quorum did, in Unix seconds."""
    unsigned: int = 0
    """Entries that the log's own signer has not come to yet."""
    last_time: float = 0.0
    """When the last entry was made, in Unix seconds."""
    covered: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def first(self) -> Finding | None:
        """The finding that decides: no trust before all, then the lowest index. What can only be narrowed
        down to a range yields to an exact finding inside it.
        """
        if not self.findings:
            return None
        untrusted = [found for found in self.findings if found.verdict is Verdict.UNTRUSTED]
        located = [found for found in self.findings if found.index is not None]
        tampered = [found for found in located if found.verdict is Verdict.TAMPERED]
        for group in (untrusted, tampered, located):
            if group:
                return min(group, key=_position)
        return min(self.findings, key=lambda found: found.verdict)

    @property
    def verdict(self) -> Verdict:
        """The verdict on the folder as a whole."""
        if not self.findings:
            return Verdict.VERIFIED
        verdicts = {found.verdict for found in self.findings}
        for verdict in (Verdict.UNTRUSTED, Verdict.TAMPERED):
            if verdict in verdicts:
                return verdict
        return Verdict.INCOMPLETE


def uncosigned(report: Report) -> Iterator[str]:
    """What even a verified log does not prove, as lines to print."""
    tail = report.entries - report.cosigned
    if not report.cosigned:
        yield (f"{tail} of {report.entries} entries are not cosigned by a witness: whoever holds the "
               "log's private key could have rewritten them")
    else:
        seconds = max(0.0, report.last_time - report.cosigned_at) if tail else 0.0
        yield (f"{tail} of {report.entries} entries, of the last {seconds:.0f} seconds, are not cosigned by the "
               "quorum of witnesses: whoever holds the log's private key could have rewritten them")
    if report.unsigned:
        yield f"{report.unsigned} entries are not signed yet: the log's signer is behind"
    if not report.is_key_pinned:
        yield "the verifier key came from the log's own folder: pin a copy with --key"
