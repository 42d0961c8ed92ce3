"""Why the audit log said no, one class per stable code, so that a caller can tell "busy" from "broken".

All of them are `errors.AuditError`: whoever only needs to fail closed catches that.
"""

from __future__ import annotations

from lockgate.errors import AuditError


class Overload(AuditError):
    """The queue in front of the log is full; nothing was accepted. The next call may succeed."""

    code = "audit.overload"


class Poisoned(AuditError):
    """A write failed, so what is on the disk is unknown. Only a restart with recovery reopens the log."""

    code = "audit.poisoned"


class UnknownSession(AuditError):
    """A record was offered for a session that never began, or has ended."""

    code = "audit.session"


class MalformedEntry(AuditError):
    """A stored leaf is not what this version writes: not canonical, unknown version, missing fields."""

    code = "audit.entry"


class UntrustedNote(AuditError):
    """A checkpoint or a key that nobody here has a reason to trust."""

    code = "audit.untrusted"


class BrokenNote(UntrustedNote):
    """A checkpoint claims the trusted key, but is malformed or not what that key signed."""

    code = "audit.note"


class ProofFailed(AuditError):
    """A Merkle proof does not lead from the entry, or the older tree, to the root."""

    code = "audit.proof"


class Absent(AuditError):
    """Something that a published log must have is not there."""

    code = "audit.absent"


class Undisclosed(AuditError):
    """A payload cannot be opened: it was not kept, its key is gone, or it is not what was committed to."""

    code = "audit.payload"


class Tampered(AuditError):
    """The stored log contradicts itself or its checkpoint. `index` is the first bad entry, `last` the last that may be
    where it is not clear which.
    """

    code = "audit.tampered"

    def __init__(self, message: str, *, index: int, check: str, last: int | None = None) -> None:
        super().__init__(message, advice="run `lockgate audit verify` and keep the folder as evidence")
        self.index = index
        self.last = last
        self.check = check


class Conflict(AuditError):
    """A witness has seen another log under this log's name: it was rolled back or forked."""

    code = "audit.conflict"


class Uncosigned(AuditError):
    """Witnesses are required, and have not cosigned the log recently enough: nothing new is let through."""

    code = "audit.uncosigned"


class Locked(AuditError):
    """Another process has this log's folder open for writing."""

    code = "audit.locked"
