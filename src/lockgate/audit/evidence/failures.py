"""The one exception of everything that verifies evidence.

Apart from the checks so that whoever only reports a verdict needs none of them.
"""

from __future__ import annotations


class EvidenceError(Exception):
    """Evidence that does not hold. `check` names the check, `index` the first entry concerned or None, `last` the
    last one where it is not clear which of them.

    `verdict` is what it means: ``tampered`` (contradicts itself or a signature), ``untrusted`` (nobody
    who is trusted says so), ``incomplete`` (something is missing).
    """

    def __init__(
        self, check: str, message: str, index: int | None = None, verdict: str = "tampered", last: int | None = None
    ) -> None:
        super().__init__(message)
        self.check = check
        self.message = message
        self.index = index
        self.last = last
        self.verdict = verdict
